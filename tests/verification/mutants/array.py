"""Mutants of the processing elements and their skew registers, against integer products."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Mux, Signal

from hw.tpu import array
from hw.tpu.array import SystolicArray
from hw.tpu.numerics import wrap_int32
from tests.verification.formal.sizes import SMALL
from tests.verification.mutants.block import Block, Field

N = SMALL.array
INPUTS = [
    Field("row", 8 * N),
    Field("valid", 1),
    Field("switch", 1),
    Field("tile_row", 8 * N),
    Field("shift", 1),
    Field("shift_first", 1),
    Field("clear", 1),
]
CYCLES = 4000
LATENCY = array.latency(SMALL)


def connect(m, unit, given):
    for name in ("row", "switch", "tile_row", "shift", "shift_first"):
        m.d.comb += getattr(unit, name).eq(given[name])
    # a product has a meaning when its row did
    valid = given["valid"]
    for stage in range(LATENCY):
        later = Signal(name=f"valid_{stage}")
        m.d.sync += later.eq(valid & ~given["clear"])
        valid = later
    return {"valid": valid, "result": Mux(valid, unit.result, 0)}


def stimulus(rng):
    """Tiles that follow each other closely and rarely, rows in most cycles, all kinds of values."""
    found = {field.name: np.zeros(CYCLES, np.int64) for field in INPUTS}
    for name in ("row", "tile_row"):
        lanes = rng.integers(0, 256, (CYCLES, N))
        extreme = rng.choice([0, 1, 0x7F, 0x80, 0xFF], (CYCLES, N))
        lanes = np.where(rng.random((CYCLES, N)) < 0.3, extreme, lanes)
        found[name] = (lanes << 8 * np.arange(N)).sum(axis=1)
    cycle = 2
    switched = False
    complete = 0
    while cycle < CYCLES - 40:
        if rng.random() < 0.02:
            found["clear"][cycle] = 1
            cycle, switched = cycle + LATENCY + 3, False
        # shifting may begin in the very cycle in which the tile before it is switched in
        for step in range(N):
            found["shift"][cycle + step] = 1
            found["shift_first"][cycle + step] = step == 0
        complete = cycle + N
        use = complete + (0 if rng.random() < 0.6 else int(rng.integers(0, 6)))
        if switched:
            found["valid"][cycle:use] = rng.random(use - cycle) < 0.8
        found["switch"][use] = 1
        found["valid"][use] = 1
        switched = True
        cycle = use + (0 if rng.random() < 0.6 else int(rng.integers(1, 8)))
        found["valid"][use + 1 : cycle + 1] = 1
    return found


def check(stimulus, response):
    def lanes(values):
        return (values[..., None] >> 8 * np.arange(N) & 255).astype(np.uint8).view(np.int8)

    rows, tile_rows = lanes(stimulus["row"]), lanes(stimulus["tile_row"])
    tile, shadow, expected = np.zeros((N, N)), [], {}
    for cycle in range(CYCLES):
        if stimulus["switch"][cycle]:
            tile = np.array(shadow[::-1], np.int64)
        if stimulus["shift_first"][cycle]:
            shadow = []
        if stimulus["shift"][cycle]:
            shadow.append(tile_rows[cycle])
        if stimulus["clear"][cycle]:
            expected = {at: product for at, product in expected.items() if at <= cycle}
        elif stimulus["valid"][cycle]:
            expected[cycle + LATENCY] = wrap_int32(rows[cycle].astype(np.int64) @ tile)
    found = response["valid"].nonzero()[0]
    assert sorted(at for at in expected if at < CYCLES) == list(found)
    for at in found:
        word = int(response["result"][at])
        got = np.array([word >> 32 * lane & 0xFFFFFFFF for lane in range(N)], np.uint32)
        assert (got.view(np.int32) == expected[at]).all(), f"product in cycle {at}"


BLOCK = Block(
    "processing element",
    f"SystolicArray of {N} x {N} elements with its skew registers",
    lambda: SystolicArray(SMALL),
    INPUTS,
    connect,
    stimulus,
    check,
    count=400,
    response_bits=96,
)
