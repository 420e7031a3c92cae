"""Accumulators against two NumPy arrays: adding, overwriting and draining at full rate."""

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, RisingEdge

from hw.tb.layouts import bench_config, join, lanes, pack
from hw.tb.streams import start_clock
from hw.tpu.accumulators import Accumulators
from hw.tpu.config import PRESETS
from hw.tpu.matmul import Landing
from hw.tpu.numerics import wrap_int32

CASES = {
    name: (lambda name=name: Accumulators(PRESETS[name]), {"config": name})
    for name in ("tiny", "default")
}


def random_row(rows: int, recent: list[int]) -> int:
    """Often a row of just now, so that reads meet writes; else the ends or anywhere."""
    choice = random.random()
    if recent and choice < 0.6:
        return random.choice(recent[-3:])
    return random.choice((0, rows // 2 - 1, rows // 2, rows - 1, random.randrange(rows)))


@cocotb.test
@cocotb.parametrize(("landing", [1.0, 0.6]), ("draining", [0.9, 0.3]))
async def adds_and_drains(dut: Any, landing: float, draining: float) -> None:
    """Breaks if a row added to in consecutive cycles, or drained in between, misses a product."""
    config = bench_config()
    n, rows = config.array, config.accumulator_total_rows
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    layout = Landing.as_shape()
    totals: dict[int, np.ndarray] = {}  # after every landing so far
    recent: list[int] = []
    dut.landing.value = 0
    dut.drain__valid.value = 0
    await start_clock(dut)
    product = [0] * n
    asking: int | None = None
    wanted: list[int] | None = None
    refused = drained = 0
    for _ in range(3000 if n < 8 else 800):
        # the product of the landing announced one cycle ago, garbage otherwise
        dut.product.value = join(product, 32)
        product = rng.integers(-(1 << 31), 1 << 31, n).tolist()
        lands = random.random() < landing
        row = random_row(rows, recent)
        overwrite = lands and (row not in totals or random.random() < 0.25)
        if not lands:
            overwrite = bool(random.getrandbits(1))
        dut.landing.value = pack(
            layout, valid=lands, row=row, overwrite=overwrite, signal=random.getrandbits(16)
        )
        if asking is None and totals and random.random() < draining:
            known = [at for at in recent[-4:] if at in totals] or list(totals)
            asking = random.choice(known)
        dut.drain__valid.value = int(asking is not None)
        dut.drain__row.value = asking or 0
        await FallingEdge(dut.clk)
        if wanted is not None:
            assert lanes(int(dut.drain__data.value), n, 32) == wanted
            drained, wanted = drained + 1, None
        if asking is not None:
            conflict = lands and not overwrite and row * 2 // rows == asking * 2 // rows
            assert int(dut.drain__ready.value) == (not conflict)
            refused += conflict
            if not conflict:
                wanted, asking = totals[asking].tolist(), None
        if lands:
            before = 0 if overwrite else totals[row]
            totals[row] = wrap_int32(before + np.array(product))
            recent.append(row)
        await RisingEdge(dut.clk)
    assert refused > 20 and drained > 100
