"""Parameters: byte planes in, whole entries of bias and scale out."""

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, RisingEdge

from hw.tb.layouts import bench_config
from hw.tb.streams import start_clock
from hw.tpu.config import PARAMETER_SUBROWS, PRESETS
from hw.tpu.parameters import Parameters

CASES = {
    name: (lambda name=name: Parameters(PRESETS[name]), {"config": name})
    for name in ("tiny", "default")
}


@cocotb.test
async def planes_become_entries(dut: Any) -> None:
    """Breaks if a byte plane lands in another entry, lane or byte, or a mask is ignored."""
    config = bench_config()
    n = config.array
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    planes = np.zeros((config.parameter_subrows, n), np.uint8)
    written = set()
    dut.write__valid.value = 0
    dut.read__entry.value = 0
    await start_clock(dut)
    order = [*range(config.parameter_subrows), *rng.integers(0, config.parameter_subrows, 1500)]
    wanted: int | None = None
    checked = 0
    for number, subrow in enumerate(map(int, order)):
        writing = number < config.parameter_subrows or random.random() < 0.6
        mask = (1 << n) - 1 if number < config.parameter_subrows else random.getrandbits(n)
        row = rng.integers(0, 256, n, dtype=np.uint8)
        dut.write__valid.value = int(writing)
        dut.write__subrow.value = subrow
        dut.write__data.value = int.from_bytes(row.tobytes(), "little")
        dut.write__mask.value = mask
        entry = random.randrange(config.parameter_entries)
        dut.read__entry.value = entry
        await FallingEdge(dut.clk)
        if wanted is not None:
            assert int(dut.read__data.value) == wanted
            checked += 1
        wanted = None
        # an entry written in the very cycle of its read is nobody's contract
        if entry in written and not (writing and subrow // PARAMETER_SUBROWS == entry):
            whole = planes[entry * PARAMETER_SUBROWS : (entry + 1) * PARAMETER_SUBROWS]
            wanted = int.from_bytes(whole.tobytes(), "little")
        if writing:
            lanes = [lane for lane in range(n) if mask >> lane & 1]
            planes[subrow, lanes] = row[lanes]
            written.add(subrow // PARAMETER_SUBROWS)
        await RisingEdge(dut.clk)
    assert checked > 500
