"""Integer arithmetic of the quantised operations: the one definition, as pure NumPy functions.

Activations are asymmetric int8 per tensor, weights symmetric int8 per output channel, sums int32.
Rescaling is float32 with round-half-even, which is what the ONNX standard's QuantizeLinear
(opset 21) prescribes and what ONNX Runtime's QLinearConv and QLinearMatMul compute. The core's
requantiser, the functional simulator, the compiler and the CPU's integer kernels all follow
this file bit for bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

INT8_MIN = -128
INT8_MAX = 127
ADD_FRACTION_BITS = 32
ADD_RATIO_BITS = 36
ADD_SUM_BITS = 48
"""A residual add's fixed point: its ratios are below 16, its sums wrap at +-2**15."""


def wrap_int32(values: ArrayLike) -> NDArray[np.int32]:
    """`values` (any integers) modulo 2**32, as the accumulators keep them."""
    return np.asarray(values, dtype=np.int64).astype(np.uint32).view(np.int32)


def effective_scale(
    input_scale: ArrayLike, weight_scale: ArrayLike, output_scale: ArrayLike
) -> NDArray[np.float32]:
    """`fl32(fl32(s_x * s_w) / s_y)`: the factor from accumulator to output, per channel.

    Raises `ValueError` if a factor is not a positive finite float32: such a layer has no meaning.
    """
    product = np.float32(input_scale) * np.asarray(weight_scale, np.float32)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        scale = np.asarray(product / np.float32(output_scale), np.float32)
    if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
        raise ValueError(
            f"scale {scale.ravel()[~(np.isfinite(scale) & (scale > 0)).ravel()][0]} of a "
            "requantisation must be a positive finite float32"
        )
    return scale


def pool_scale(input_scale: float, output_scale: float, count: int) -> np.float32:
    """`fl32(s_x / fl32(s_y * count))`: the factor of an average over `count` positions.

    With it and bias `-count * zero_point`, `requantise` of the integer sum is ONNX Runtime's
    QLinearGlobalAveragePool (x86, 1.32: no mismatch in 200,000 outputs). Its QLinearAveragePool
    adds float32 products instead, in window order, so that ties fall either way there: where the
    scales are equal a few per cent of its outputs differ from the exact mean by one step.
    """
    scale = np.float32(input_scale) / (np.float32(output_scale) * np.float32(count))
    if not np.isfinite(scale) or scale <= 0:
        raise ValueError(f"scale {scale} of a pooling must be a positive finite float32")
    return np.float32(scale)


def requantise(
    accumulator: ArrayLike,
    scale: ArrayLike,
    zero_point: int,
    low: int = INT8_MIN,
    high: int = INT8_MAX,
) -> NDArray[np.int8]:
    """`clamp(zp + rne(fl32(fl32(acc) * scale)), low, high)`.

    `accumulator` is int32 of any shape, `scale` float32 broadcast against it (last axis: channels).
    """
    real = np.asarray(accumulator, np.int32).astype(np.float32) * np.asarray(scale, np.float32)
    # the clamp comes first only so that the conversion to an integer cannot overflow
    steps = np.rint(np.clip(real, np.float32(-512), np.float32(511))).astype(np.int32)
    return np.clip(steps + np.int32(zero_point), low, high).astype(np.int8)


def round_significant(values: ArrayLike, bits: int = 24) -> NDArray[np.int64]:
    """int64 `values` below 2**52 rounded half-even to `bits` significant bits, as float32 does."""
    exact = np.asarray(values, np.int64)
    cut = np.maximum(np.frexp((exact ^ (exact >> 63)).astype(np.float64))[1] - bits, 0)
    cut = cut.astype(np.int64)
    below_half = (np.int64(1) << cut >> 1) - (cut > 0)
    odd = np.where(cut > 0, exact >> cut & 1, 0)
    return (exact + below_half + odd) >> cut << cut


def add_constants(
    scales: tuple[float, float, float], zero_points: tuple[int, int, int]
) -> tuple[int, int, int]:
    """(a, b, offset) with which `residual_add` is QLinearAdd of quantised A and B to C.

    ONNX Runtime on x86 with FMA computes `rne(fma(A, r_a, fma(B, r_b, f)))` in float32, where
    `r_a = s_a / s_c`, `r_b = s_b / s_c` and `f = fl32(z_c - fma(r_a, z_a, fl32(r_b * z_b)))` (1.32:
    no mismatch in all 65,536 pairs of 150 random quantisations). Raises `ValueError` where a
    constant has no exact 32-bit fraction, as for a ratio below 2**-9, or a ratio reaches 16.
    """
    (z_a, z_b, z_c), deep = (int(z) for z in zero_points), 64

    def float32(exact: int) -> int:
        cut = max(abs(exact).bit_length() - 24, 0)
        half = (1 << cut) >> 1
        return (exact + half - (half > 0) + (exact >> cut & (half > 0))) >> cut << cut

    def fixed(scale: float) -> int:
        numerator, denominator = float(np.float32(scale) / np.float32(scales[2])).as_integer_ratio()
        if (numerator << deep) % denominator:
            raise ValueError(f"ratio {scale} / {scales[2]} of a residual add is too small")
        return (numerator << deep) // denominator

    a, b = fixed(scales[0]), fixed(scales[1])
    offset = float32((z_c << deep) - float32(a * z_a + float32(b * z_b)))
    below = (1 << deep - ADD_FRACTION_BITS) - 1
    ratios, reach = max(a, b) >> deep - ADD_FRACTION_BITS, abs(offset) >> deep - ADD_FRACTION_BITS
    inexact = (a | b | offset) & below
    if inexact or ratios >> ADD_RATIO_BITS or reach >> ADD_SUM_BITS - 2:
        raise ValueError(f"an add of scales {scales}, zero points {zero_points} is not exact")
    drop = deep - ADD_FRACTION_BITS
    return a >> drop, b >> drop, offset >> drop


def residual_add(
    first: ArrayLike, second: ArrayLike, constants: tuple[int, int, int]
) -> NDArray[np.int8]:
    """`clamp8(rne(round24(round24(offset + second*b) + first*a) / 2**32))`, sums modulo 2**48."""
    a, b, offset = constants

    def wrap(values: NDArray[np.int64]) -> NDArray[np.int64]:
        unused = 64 - ADD_SUM_BITS
        return values << unused >> unused

    total = wrap(np.asarray(second, np.int64) * b + offset)
    total = wrap(wrap(round_significant(total)) + np.asarray(first, np.int64) * a)
    total = wrap(round_significant(total))
    below_half = (np.int64(1) << ADD_FRACTION_BITS - 1) - 1
    steps = (total + below_half + (total >> ADD_FRACTION_BITS & 1)) >> ADD_FRACTION_BITS
    return np.clip(steps, INT8_MIN, INT8_MAX).astype(np.int8)


def pack_add_constants(constants: tuple[int, int, int]) -> bytes:
    """The 16 bytes of lanes 0 and 1 of an add's parameter entry."""
    a, b, offset = constants
    return (a | b << 40 | (offset % (1 << ADD_SUM_BITS)) << 80).to_bytes(16, "little")


def unpack_add_constants(packed: bytes) -> tuple[int, int, int]:
    """Inverse of `pack_add_constants`; the four bits above each ratio are ignored."""
    word = int.from_bytes(packed, "little")
    ratio, offset = (1 << ADD_RATIO_BITS) - 1, word >> 80
    return word & ratio, word >> 40 & ratio, offset - (offset >> ADD_SUM_BITS - 1 << ADD_SUM_BITS)


def quantize(values: ArrayLike, scale: ArrayLike, zero_point: ArrayLike = 0) -> NDArray[np.int8]:
    """Float to int8: `clamp(rne(fl32(x / scale)) + zp)`; NaN is a `ValueError`."""
    real = np.asarray(values, np.float32)
    if np.isnan(real).any():
        raise ValueError(
            f"NaN at index {tuple(int(i) for i in np.argwhere(np.isnan(real))[0])} "
            "cannot be quantised to int8"
        )
    with np.errstate(over="ignore"):
        steps = np.rint(np.clip(real / np.asarray(scale, np.float32), -1024, 1024))
    shifted = steps.astype(np.int32) + np.asarray(zero_point, np.int32)
    return np.clip(shifted, INT8_MIN, INT8_MAX).astype(np.int8)


def dequantize(
    values: ArrayLike, scale: ArrayLike, zero_point: ArrayLike = 0
) -> NDArray[np.float32]:
    """Integers (int8 or int32) to float32: `(q - zp) * scale`."""
    centred = np.asarray(values, np.int32) - np.asarray(zero_point, np.int32)
    return centred.astype(np.float32) * np.asarray(scale, np.float32)


def activation_quantization(low: float, high: float) -> tuple[np.float32, int]:
    """Scale and zero point of an int8 activation whose values lie in `[low, high]`.

    The range is widened to hold zero, which must be exact because padding is zero. An empty range
    gives scale 1. Raises `ValueError` if a bound is not finite.
    """
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"range [{low}, {high}] of an activation must be finite")
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    scale = np.float32((high - low) / (INT8_MAX - INT8_MIN))
    if scale < np.finfo(np.float32).tiny:
        return np.float32(1.0), 0
    zero_point = int(np.clip(np.rint(INT8_MIN - low / float(scale)), INT8_MIN, INT8_MAX))
    return scale, zero_point


def weight_scales(weights: ArrayLike, axis: int = -1) -> NDArray[np.float32]:
    """Symmetric int8 scale, `[channels]`, of each output channel (`axis`) of float `weights`."""
    real = np.asarray(weights, np.float32)
    magnitude = np.abs(np.moveaxis(real, axis, -1)).reshape(-1, real.shape[axis])
    largest = magnitude.max(axis=0, initial=0.0)
    if not np.isfinite(largest).all():
        raise ValueError("weights must be finite to be quantised to int8")
    scale = (largest / np.float32(INT8_MAX)).astype(np.float32)
    return np.where(scale < np.finfo(np.float32).tiny, np.float32(1.0), scale)
