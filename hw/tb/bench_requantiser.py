"""Requantiser against `numerics.requantise` and against exact integer arithmetic."""

import itertools
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge

from hw.tb.streams import start_clock
from hw.tpu import numerics
from hw.tpu.vector.requantiser import LATENCY, Requantiser

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


CASES = {"lane": (Requantiser, {})}


def half_even(number: int, shift: int) -> int:
    """`number / 2**shift` rounded to an integer, ties to even."""
    if shift <= 0:
        return number << -shift
    whole, rest = number >> shift, number & ((1 << shift) - 1)
    return whole + ((rest << 1, whole & 1) > (1 << shift, 0))


def to_float32(number: int, exponent: int) -> tuple[int, int]:
    """`number * 2**exponent` as significand and exponent of the nearest float32."""
    cut = max(number.bit_length() - 24, -149 - exponent, 0)
    return half_even(number, cut), exponent + cut


def exact(accumulator: int, scale: int, zero_point: int) -> int:
    """The ISA's formula on integers of any size; `scale` is the float32's bits."""
    sign = (accumulator < 0) ^ (scale >> 31)
    biased, fraction = scale >> 23 & 0xFF, scale & 0x7FFFFF
    factor, power = fraction | (biased > 0) << 23, max(biased, 1) - 150
    value, exponent = to_float32(abs(accumulator), 0)
    value, exponent = to_float32(value * factor, exponent + power)
    steps = half_even(value, -exponent)
    return max(-128, min(127, zero_point + (-steps if sign else steps)))


def halfway_products(rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Sums and scales with a product next to halfway between a tie and its float32 neighbour."""
    factors = np.arange(1 << 23, 1 << 24, dtype=np.int64)
    for odd in 2 * rng.integers(0, 128, 5) + 1:
        left = 24 - int(odd).bit_length()
        for cut, side in itertools.product((23, 24), (-1, 1)):
            halfway = (int(odd) << left + cut) + (side << cut - 1)
            distance = (halfway + (1 << 22)) % factors - (1 << 22)
            best = np.argpartition(np.abs(distance), 100)[:100]
            significand = (halfway - distance[best]) // factors[best]
            fits = significand < 1 << 24
            scale = np.ldexp(factors[best].astype(np.float64), -1 - left - cut)
            yield significand[fits], scale[fits].astype(np.float32)


def cases(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums, bits of scales and zero points, each int64 [n]."""
    sums, scales = [], []

    def add(accumulator, scale) -> None:
        accumulator, scale = np.broadcast_arrays(accumulator, np.float32(scale))
        sums.append(np.clip(accumulator, INT32_MIN, INT32_MAX).astype(np.int64).ravel())
        scales.append(scale.ravel().copy())

    def some_sums(n: int) -> np.ndarray:
        return rng.integers(INT32_MIN, INT32_MAX, n, endpoint=True) >> rng.integers(0, 32, n)

    def some_scales(n: int) -> np.ndarray:
        return np.exp2(rng.uniform(-32, 2, n)).astype(np.float32)

    add(some_sums(30_000), some_scales(30_000))
    # every exponent, subnormals included, with sums at the edges of int32 and of 24 bits
    near_powers = [s + d for s in (1 << 23, 1 << 24, 1 << 25, 1 << 30) for d in (-1, 0, 1)]
    edges = [0, 1, INT32_MAX, *near_powers]
    edges = np.array([*edges, *(-e for e in edges), INT32_MIN, INT32_MIN + 1, -128, 127, 255, 256])
    exponents = np.arange(255, dtype=np.uint32)
    for fraction in (0, 1, 0x400000, 0x7FFFFF):
        bits = (exponents << np.uint32(23)) | np.uint32(fraction)
        add(edges[:, None], bits.view(np.float32))
    # exact ties: odd sums times powers of two
    powers = rng.integers(1, 24, 10_000)
    odd = (2 * rng.integers(-300, 300, 10_000) + 1) << (powers - 1)
    add(odd, np.exp2(-powers.astype(np.float64)))
    # sums that lie halfway between two float32, or next to that
    cut = rng.integers(1, 8, 20_000)
    halfway = (rng.integers(1 << 23, 1 << 24, 20_000) << cut) + (1 << (cut - 1))
    halfway = (halfway + rng.integers(-1, 2, 20_000)) * rng.choice([-1, 1], 20_000)
    add(halfway, np.exp2(-rng.uniform(16, 31, 20_000)))
    # products next to a tie between two integers: by the scale's last bits ...
    target, sums_here = rng.integers(0, 260, 40_000) + 0.5, np.abs(some_sums(40_000)) + 1
    near = (target / sums_here).astype(np.float32).view(np.uint32)
    near = (near + rng.integers(-2, 3, 40_000)).astype(np.uint32).view(np.float32)
    add(sums_here * rng.choice([-1, 1], 40_000), near)
    # ... and every boundary of a few scales, by the sum
    for scale in some_scales(24):
        add(np.rint((np.arange(-257, 258) + 0.5) / scale)[:, None] + np.arange(-1, 2), scale)
    for significand, factor in halfway_products(rng):
        add(significand, factor)
    add(some_sums(5_000), -some_scales(5_000))
    add(some_sums(5_000), np.exp2(rng.uniform(-149, 127, 5_000)))
    add(some_sums(500), 0.0)
    total = np.concatenate(sums)
    bits = np.concatenate(scales).view(np.uint32).astype(np.int64)
    zero_points = rng.integers(-128, 128, len(total))
    zero_points[::5] = 0
    return total, bits, zero_points


@cocotb.test
async def every_rounding(dut: Any) -> None:
    """Full rate and random gaps; every result equals both references."""
    rng = np.random.default_rng(cocotb.RANDOM_SEED)
    total, scale, zero_point = cases(rng)
    with np.errstate(over="ignore"):
        factor = scale.astype(np.uint32).view(np.float32)
        wanted = np.zeros(len(total), np.int8)
        for point in range(-128, 128):
            at = zero_point == point
            wanted[at] = numerics.requantise(total[at], factor[at], point)
    columns = zip(total.tolist(), scale.tolist(), zero_point.tolist(), strict=True)
    assert wanted.tolist() == [exact(*case) for case in columns]
    assert len(wanted) >= 100_000

    bias = rng.integers(INT32_MIN, INT32_MAX, len(total), endpoint=True)
    accumulator = (total - bias) & 0xFFFFFFFF
    operands = list(
        zip(accumulator.tolist(), (bias & 0xFFFFFFFF).tolist(), scale.tolist(), strict=True)
    )
    points = (zero_point & 0xFF).tolist()
    gaps = rng.random(len(total)) < 0.1
    gaps[: len(total) // 2] = False

    dut.enable.value = 0
    await start_clock(dut)
    entering, number, cycles = None, 0, 0
    in_flight: list[int | None] = [None] * LATENCY
    results: list[int] = []
    while len(results) < len(operands):
        await FallingEdge(dut.clk)
        if in_flight[-1] is not None:
            results.append(dut.result.value.to_signed())
        entering = None
        if number < len(operands) and not gaps[number]:
            entering, number = number, number + 1
            dut.accumulator.value, dut.bias.value, dut.scale.value = operands[entering]
        elif number < len(operands):
            gaps[number] = False
        in_flight = [entering, *in_flight[:-1]]
        dut.enable.value = sum((at is not None) << i for i, at in enumerate(in_flight))
        if in_flight[-1] is not None:
            dut.zero_point.value = points[in_flight[-1]]
        cycles += 1
        assert cycles < 2 * len(operands)
    wrong = [i for i, result in enumerate(results) if result != wanted[i]]
    assert not wrong, (
        f"{len(wrong)} wrong, first: sum {total[wrong[0]]}, scale {scale[wrong[0]]:#x}, zero point "
        f"{zero_point[wrong[0]]}: {results[wrong[0]]}, not {wanted[wrong[0]]}"
    )
    dut._log.info("%d results equal", len(results))
