"""SystolicArray against NumPy: every row of every cycle, under every legal overlap of tiles."""

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, RisingEdge

from hw.tb.layouts import bench_config, join, lanes
from hw.tb.streams import start_clock
from hw.tpu.array import SystolicArray, latency
from hw.tpu.config import PRESETS

CASES = {
    name: (lambda name=name: SystolicArray(PRESETS[name]), {"config": name})
    for name in ("tiny", "default")
}


def schedule(n: int, passes: int) -> tuple[list[int], list[int]]:
    """Cycles at which each tile begins to shift and at which rows switch to it.

    A third of the tiles as tight as allowed (shift in the cycle of the last switch, switch N
    cycles later), so that passes of exactly N rows follow each other; the others with pauses.
    """
    shifts, switches, free = [], [], 3
    for _ in range(passes):
        tight = random.random() < 0.4
        shifts.append(free + (0 if tight else random.choice((0, 1, 2, n, 3 * n))))
        switches.append(shifts[-1] + n + (0 if tight else random.choice((0, 1, n - 1, n, n + 1))))
        free = switches[-1]
    return shifts, switches


@cocotb.test
async def every_row_meets_its_tile(dut: Any) -> None:
    """Breaks if a switch, a shift or a skew register is a cycle off, or a sum loses a bit."""
    n = bench_config().array
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    passes = 120 if n < 8 else 40
    tiles = rng.integers(-128, 128, (passes, n, n))
    tiles[1], tiles[2] = -128, 127
    shifts, switches = schedule(n, passes)
    shifting = {at + i: (tile, i) for tile, at in enumerate(shifts) for i in range(n)}
    end = switches[-1] + 2 * n
    rows = rng.integers(-128, 128, (end, n))
    rows[rng.random(end) < 0.1] = -128
    depth = latency(bench_config())

    await start_clock(dut)
    results = []
    for cycle in range(end + depth):
        dut.row.value = join(rows[min(cycle, end - 1)].tolist(), 8)
        dut.switch_o.value = int(cycle in switches)
        tile, i = shifting.get(cycle, (None, 0))
        dut.shift.value = int(tile is not None)
        dut.shift_first.value = int(tile is not None and i == 0)
        row = rng.integers(-128, 128, n) if tile is None else tiles[tile, n - 1 - i]
        dut.tile_row.value = join(row.tolist(), 8)
        await FallingEdge(dut.clk)
        results.append(dut.result.value)
        await RisingEdge(dut.clk)
    working = np.searchsorted(switches, np.arange(end), side="right") - 1
    for cycle in range(switches[0], end):
        got = lanes(results[cycle + depth].to_unsigned(), n, 32)
        wanted = (rows[cycle] @ tiles[working[cycle]]).tolist()
        assert got == wanted, f"row of cycle {cycle}, tile {working[cycle]}: {got}, not {wanted}"
    tight = sum(b - a == n for a, b in zip(switches, switches[1:], strict=False))
    assert tight > 3, "the bench must contain passes of exactly N rows"
