"""LaneMemory: rows in under a mask; rows of weights and entries of tables out."""

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge

from hw.tb.layouts import bench_config
from hw.tb.streams import start_clock
from hw.tpu.config import PRESETS
from hw.tpu.vector.lane_memory import LaneMemory

CASES = {
    name: (lambda name=name: LaneMemory(PRESETS[name]), {"config": name})
    for name in ("tiny", "default")
}


@cocotb.test
async def both_readers_see_what_was_written(dut: Any) -> None:
    """Breaks if a row, lane or table lands elsewhere, a mask is ignored, or the copies differ."""
    config = bench_config()
    n, rng = config.array, np.random.default_rng(cocotb.RANDOM_SEED)
    rows = np.zeros((config.lane_rows, n), np.uint8)
    lanes, whole = np.arange(n), (1 << n) - 1
    dut.weights__valid.value = dut.table__valid.value = 0
    await start_clock(dut)
    wanted: tuple[int, int] | None = None
    for number in range(config.lane_rows + 1500):
        await FallingEdge(dut.clk)
        if wanted is not None:
            assert wanted == (int(dut.weights__data.value), int(dut.table__data.value))
        first = number < config.lane_rows
        row = number if first else random.randrange(config.lane_rows)
        mask = whole if first else random.getrandbits(n)
        data = rng.integers(0, 256, n, dtype=np.uint8)
        dut.write__valid.value = writing = int(first or random.random() < 0.6)
        dut.write__row.value, dut.write__mask.value = row, mask
        dut.write__data.value = int.from_bytes(data.tobytes(), "little")
        if not first:
            wants, table = random.randrange(config.lane_rows), random.randrange(len(rows) // 256)
            entries = rng.integers(0, 256, n, dtype=np.uint8)
            dut.weights__valid.value = dut.table__valid.value = 1
            dut.weights__row.value, dut.table__number.value = wants, table
            dut.table__entries.value = int.from_bytes(entries.tobytes(), "little")
            weights, mapped = rows[wants], rows[256 * table + entries.astype(int), lanes]
            wanted = tuple(int.from_bytes(x.tobytes(), "little") for x in (weights, mapped))
        if writing:
            taken = [lane for lane in range(n) if mask >> lane & 1]
            rows[row, taken] = data[taken]
