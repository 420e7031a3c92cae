"""Mutants of the requantiser, against `numerics.requantise`."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import Cat, Mux, Signal

from hw.tpu import numerics
from hw.tpu.vector.requantiser import LATENCY, Requantiser
from tests.verification.mutants.block import Block, Field

INPUTS = [
    Field("accumulator", 32),
    Field("bias", 32),
    Field("scale", 32),
    Field("zero_point", 8),
    Field("valid", 1),
]
CYCLES = 60000


# fmt: off
PRODUCTS = (
    (8753347, 11116523, 7), (8918818, 14947697, 8), (9833521, 10957636, 5),
    (8594697, 12569032, 8), (8606353, 15394576, 7), (9007250, 15441808, 7),
    (9373360, 13431052, 7), (9825936, 10406600, 6), (8559680, 11721284, 8),
    (8536108, 15585664, 6), (9534080, 10898152, 7), (8861108, 14207488, 7),
    (8682792, 15227392, 8), (9150464, 14539253, 6), (8778894, 13557760, 8),
    (8622830, 15843328, 8), (8884576, 10426368, 8), (8839168, 9578096, 6), (8558080, 9250304, 3),
    (8666802, 12845056, 8), (10795567, 11534336, 8), (8540160, 16125440, 8),
    (8463219, 16759227, 6), (12341094, 14344059, 6), (13953740, 14025851, 5),
    (13875432, 15729461, 7), (11908372, 15234612, 6), (11472027, 16724576, 7),
    (10838592, 16281785, 7), (12686368, 15687044, 6), (11818528, 15676040, 7),
    (14992056, 14997952, 7), (12346240, 16074680, 7), (15793888, 16150976, 3),
    (14677760, 16555120, 6), (13131776, 15573611, 5), (14485154, 16130048, 7),
    (16176839, 16482304, 7), (11608064, 14870984, 6), (13326864, 13901824, 7),
    (12222464, 16192488, 4), (16111454, 16515072, 5), (12320768, 16643356, 7),
    (16305568, 16318464, 5), (14123008, 15726208, 5),
)
# fmt: on
"""(significand, significand of the scale, exponent): products that are a tie of the last rounding
but for one bit behind the first rounding, another one each: 0 to 21, then 0 to 22 for those with
48 bits. Found by trial division."""


def connect(m, unit, given):
    moving = Signal(LATENCY)
    m.d.sync += moving.eq(Cat(given["valid"], moving))
    enable = Cat(given["valid"], moving[:-1])
    for name in ("accumulator", "bias", "scale", "zero_point"):
        m.d.comb += getattr(unit, name).eq(given[name])
    m.d.comb += unit.enable.eq(enable)
    # a result stays until the next one
    once = Signal()
    m.d.sync += once.eq(once | moving[-2])
    return {"fresh": moving[-1], "result": Mux(once, unit.result, 0)}


def stimulus(rng):
    """Every magnitude of sum and product; ties of both roundings; results near every bound."""
    bits = rng.integers(0, 33, CYCLES)
    total = rng.integers(0, 1 << 32, CYCLES) >> (32 - bits)
    half = rng.random(CYCLES) < 0.3  # sums that lie between two floats, or beside that
    cut = np.maximum(bits - 24, 0)
    tie = ((total >> cut << cut) | (1 << cut >> 1)) + rng.integers(-1, 2, CYCLES) * (cut > 1)
    total = np.where(half & (cut > 0), tie, total) * rng.choice([-1, 1], CYCLES)
    bias = np.where(
        rng.random(CYCLES) < 0.5, 0, rng.integers(0, 1 << 32, CYCLES) >> rng.integers(0, 32, CYCLES)
    )
    bias = bias * rng.choice([-1, 1], CYCLES)
    # scales that bring the sum near a small number of steps
    steps = rng.choice(
        [0.25, 0.5, 1, 1.5, 2.5, 100, 127, 128, 129, 255, 256, 300, 511, 512, 5000], CYCLES
    )
    steps = steps * np.where(rng.random(CYCLES) < 0.5, 1, rng.uniform(0.4, 1.7, CYCLES))
    with np.errstate(divide="ignore"):
        scale = (steps / np.maximum(np.abs(total), 1)).astype(np.float32)
    powers = np.float32(2) ** rng.integers(-40, 8, CYCLES).astype(np.float32)
    kind = rng.random(CYCLES)
    scale = np.where(kind < 0.25, powers * rng.choice([1, 1.5, 1.25, 0.75], CYCLES), scale)
    words = scale.astype(np.float32).view(np.uint32).astype(np.int64)
    anything = rng.integers(0, 255, CYCLES) << 23 | rng.integers(0, 1 << 23, CYCLES)
    words = np.where(kind > 0.85, anything, words)
    short = rng.random(CYCLES) < 0.2  # few bits in the fraction: exact products, ties
    words = np.where(short, words & ~((1 << rng.integers(0, 24, CYCLES)) - 1), words)
    words |= (rng.random(CYCLES) < 0.2).astype(np.int64) << 31
    # ties of the last rounding, alone or with one bit behind: X.1, X.10...010...
    steps, shift = rng.integers(0, 256, CYCLES), rng.integers(1, 25, CYCLES)
    behind = np.where(rng.random(CYCLES) < 0.8, 1 << rng.integers(0, 24, CYCLES), 0)
    mean = rng.random(CYCLES) < 0.25
    exact = (steps << shift | 1 << shift - 1) | behind % (1 << shift - 1)
    total = np.where(mean, exact * rng.choice([-1, 1], CYCLES), total)
    words = np.where(mean, (127 - shift) << 23, words)
    # the same with one bit behind the product's rounding
    chosen = np.array(PRODUCTS)[rng.integers(0, len(PRODUCTS), CYCLES)]
    scales = (127 - 24 + chosen[:, 2]) << 23 | chosen[:, 1] & 0x7FFFFF
    product = rng.random(CYCLES) < 0.1
    total = np.where(product, chosen[:, 0] * rng.choice([-1, 1], CYCLES), total)
    words = np.where(product, scales, words)
    subnormal = rng.random(CYCLES) < 0.02
    words = np.where(subnormal, words & 0x807FFFFF, words)
    return {
        "accumulator": (total - bias) & 0xFFFFFFFF,
        "bias": bias & 0xFFFFFFFF,
        "scale": words,
        "zero_point": np.where(
            rng.random(CYCLES) < 0.3,
            rng.choice([0, 1, 127, 128, 255], CYCLES),
            rng.integers(0, 256, CYCLES),
        ),
        "valid": (rng.random(CYCLES) < 0.8).astype(np.int64),
    }


def check(stimulus, response):
    valid = stimulus["valid"].astype(bool)
    at = valid.nonzero()[0]
    at = at[at + LATENCY < CYCLES]
    total = numerics.wrap_int32(stimulus["accumulator"] + stimulus["bias"])
    scale = stimulus["scale"].astype(np.uint32).view(np.float32)
    zero = stimulus["zero_point"].astype(np.uint8).view(np.int8)
    assert (response["fresh"].nonzero()[0] == at + LATENCY).all()
    for point in range(-128, 128):
        # the zero point belongs to the last stage
        mine = at[zero[at + LATENCY - 1] == point]
        with np.errstate(over="ignore"):
            expected = numerics.requantise(total[mine], scale[mine], point)
        got = response["result"][mine + LATENCY].astype(np.uint8).view(np.int8)
        assert (got == expected).all(), f"zero point {point}"


BLOCK = Block(
    "requantiser",
    "Requantiser, one lane",
    Requantiser,
    INPUTS,
    connect,
    stimulus,
    check,
    count=400,
    response_bits=96,
)
