"""ResidualAdd against `numerics.residual_add`, with constants of adds and of nothing at all."""

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge

from hw.tb.streams import start_clock
from hw.tpu import numerics
from hw.tpu.vector.residual import LATENCY, ResidualAdd

CASES = {"lane": (ResidualAdd, {})}


def quantisations(rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """Constants of adds with ties everywhere, of others, and of none at all."""
    found = []
    for scales in (
        (0.5, 0.5, 1.0),
        (0.3, 0.2, 1.0),
        (1.0, 0.125, 0.25),
        *rng.uniform(0.1, 1, (3, 3)),
    ):
        found.append(numerics.add_constants(tuple(scales), tuple(rng.integers(-128, 128, 3))))
    ratio, reach = 1 << numerics.ADD_RATIO_BITS, 1 << numerics.ADD_SUM_BITS - 1
    for _ in range(4):
        a, b = (int(rng.integers(ratio)) >> int(rng.integers(30)) for _ in range(2))
        found.append((a, b, int(rng.integers(-reach, reach)) >> int(rng.integers(40))))
    return [*found, (1 << numerics.ADD_FRACTION_BITS, 0, 0), (ratio - 1, ratio - 1, reach - 1)]


@cocotb.test
async def random_pairs(dut: Any) -> None:
    """Full rate and random gaps; every result equals the definition."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    dut.enable.value = 0
    await start_clock(dut)
    for constants in quantisations(rng):
        first, second = rng.integers(-128, 128, (2, 6000))
        wanted = numerics.residual_add(first, second, constants).tolist()
        dut.a.value, dut.b.value, dut.offset.value = (
            constants[0], constants[1], constants[2] % (1 << numerics.ADD_SUM_BITS),
        )  # fmt: skip
        in_flight = [False] * LATENCY
        results: list[int] = []
        number = 0
        gaps = rng.random(2 * len(first)) < 0.1
        for gap in gaps:
            await FallingEdge(dut.clk)
            if in_flight[-1]:
                results.append(dut.result.value.to_signed())
            entering = not gap and number < len(first)
            if entering:
                dut.outer.value = int(first[number]) & 0xFF
                dut.inner.value = int(second[number]) & 0xFF
                number += 1
            in_flight = [entering, *in_flight[:-1]]
            dut.enable.value = sum(valid << i for i, valid in enumerate(in_flight))
        assert results == wanted, constants
