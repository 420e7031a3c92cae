"""WeightFifo against a list of tiles: order, exact timing towards the array, back-pressure."""

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge

from hw.tb.layouts import bench_config, join, lanes
from hw.tb.streams import StreamDriver, start_clock
from hw.tpu.config import PRESETS
from hw.tpu.weights import WeightFifo

CASES = {
    name: (lambda name=name: WeightFifo(PRESETS[name]), {"config": name})
    for name in ("tiny", "default")
}
FEED_LATENCY = 2
"""Cycles from `take` to the `switch` that it announces; see `WeightFifo`."""


class ShadowMonitor:
    """What the array would see: whole tiles, each shifted in N cycles, when they are complete."""

    def __init__(self, dut: Any, n: int) -> None:
        self.dut, self.n, self.cycle = dut, n, 0
        self.tiles: list[np.ndarray] = []
        self.begins: list[int] = []
        self.takes: list[int] = []
        self._rows: list[list[int]] = []

    async def next(self, take: bool) -> bool:
        """Advance by one cycle, taking a tile if `take` and there is one; whether it was taken."""
        dut, n = self.dut, self.n
        await FallingEdge(dut.clk)
        self.cycle += 1
        if int(dut.shift.value):
            first = bool(int(dut.shift_first.value))
            assert first == (not self._rows), "a tile is N consecutive rows from shift_first on"
            if first:
                assert len(self.begins) == len(self.takes), "shadow overwritten before its take"
                self.begins.append(self.cycle)
                if self.takes:
                    assert self.cycle >= self.takes[-1] + FEED_LATENCY
            self._rows.insert(0, lanes(int(dut.tile_row.value), n, 8))
            if len(self._rows) == n:
                self.tiles.append(np.array(self._rows))
                self._rows = []
        else:
            assert not self._rows, "a shift must not pause within a tile"
        taken = take and bool(int(dut.ready.value))
        dut.take.value = int(taken)
        if taken:
            self.takes.append(self.cycle)
            begin = self.begins[len(self.takes) - 1]
            assert self.cycle + FEED_LATENCY >= begin + n, "switch before the tile is complete"
        return taken


def random_tiles(n: int, count: int) -> np.ndarray:
    return np.random.default_rng(cocotb.RANDOM_SEED).integers(-128, 128, (count, n, n))


def rows_of(tiles: np.ndarray) -> list[int]:
    return [join(row.tolist(), 8) for tile in tiles for row in tile]


@cocotb.test
@cocotb.parametrize(("stall", [0.0, 0.5]), ("reluctance", [0.0, 0.7, 0.97]))
async def tiles_in_order(dut: Any, stall: float, reluctance: float) -> None:
    """Breaks if a row is lost, doubled or reversed, or a tile replaced before it is taken."""
    n = bench_config().array
    tiles = random_tiles(n, 30)
    dut.take.value = 0
    await start_clock(dut)
    driver = StreamDriver(dut, "rows", stall=stall)
    cocotb.start_soon(driver.send(rows_of(tiles)))
    monitor = ShadowMonitor(dut, n)
    while len(monitor.takes) < len(tiles):
        await monitor.next(random.random() >= reluctance)
        assert monitor.cycle < 200 * n * len(tiles)
    for _ in range(2 * n):
        assert not await monitor.next(True), "a take without a tile"
    np.testing.assert_array_equal(monitor.tiles, tiles)
    if reluctance == 0 and stall == 0:
        # one row arrives a cycle: tiles can follow each other every N cycles, and must
        assert set(np.diff(monitor.takes)) == {n}


@cocotb.test
async def full_fifo_pushes_back(dut: Any) -> None:
    """Exactly `weight_tiles` tiles and the one in the shadow weights fit; then one out, one in."""
    config = bench_config()
    n = config.array
    tiles = random_tiles(n, config.weight_tiles + 5)
    dut.take.value = 0
    await start_clock(dut)
    rows = rows_of(tiles)
    monitor = ShadowMonitor(dut, n)
    accepted = 0

    async def feed(cycles: int) -> None:
        nonlocal accepted
        for _ in range(cycles):
            dut.rows__valid.value = int(accepted < len(rows))
            dut.rows__payload.value = rows[min(accepted, len(rows) - 1)]
            ready = int(dut.rows__ready.value)  # registered: it holds for this whole cycle
            await monitor.next(False)
            accepted += ready and accepted < len(rows)

    dut.rows__valid.value = 0
    await FallingEdge(dut.clk)
    await feed(10 * config.weight_tiles * n)
    assert accepted == (config.weight_tiles + 1) * n
    for more in range(2, 5):
        assert await monitor.next(True)
        await feed(4 * n)
        assert accepted == (config.weight_tiles + more) * n
    # a steady consumer of a full FIFO gets a tile every N cycles
    monitor.takes = monitor.takes[:]
    seen = len(monitor.takes)
    while len(monitor.takes) < seen + config.weight_tiles:
        await monitor.next(True)
    assert set(np.diff(monitor.takes[seen:])) == {n}
    np.testing.assert_array_equal(monitor.tiles, tiles[: len(monitor.tiles)])
