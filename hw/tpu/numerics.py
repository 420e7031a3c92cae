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
