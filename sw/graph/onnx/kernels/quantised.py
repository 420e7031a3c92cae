"""Quantised operators of every element type that the standard has for them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from sw.graph.dtypes import as_dtype
from sw.graph.onnx.kernels.casting import cast_array
from sw.graph.onnx.kernels.windows import convolve, window
from sw.graph.onnx.registry import kernel

Array = Any


def _spread(parameter: Array, x: Array, axis: int, block_size: int) -> Array:
    """A scale or zero point in the shape of `x`, or one that broadcasts to it."""
    if parameter.size == 1 and not block_size:
        return parameter.reshape(())
    if block_size:
        wide = np.repeat(parameter, block_size, axis=axis)
        return np.take(wide, np.arange(x.shape[axis]), axis=axis)
    shape = [1] * x.ndim
    shape[axis] = -1
    return parameter.reshape(shape)


@kernel("QuantizeLinear")
def quantize_linear(
    x: Array,
    scale: Array,
    zero: Array = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
    types: Any,
) -> Array:
    x, scale = np.asarray(x), np.asarray(scale)
    axis = axis % x.ndim if x.ndim else 0
    kind = types[0].dtype
    wide = np.result_type(np.float32, x.dtype) if x.dtype.kind == "f" else np.dtype(np.float32)
    steps = x.astype(wide) / _spread(scale, x, axis, block_size).astype(wide)
    if kind.is_floating:
        return cast_array(steps, kind.numpy, bool(saturate))
    offset = 0 if zero is None else _spread(np.asarray(zero), x, axis, block_size).astype(np.int32)
    limits = ml_dtypes.iinfo(kind.numpy)
    rounded = np.rint(np.clip(steps, -(2.0**20), 2.0**20)).astype(np.int32) + offset
    return np.clip(rounded, int(limits.min), int(limits.max)).astype(kind.numpy)


@kernel("DequantizeLinear")
def dequantize_linear(
    x: Array,
    scale: Array,
    zero: Array = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    types: Any,
) -> Array:
    x, scale = np.asarray(x), np.asarray(scale)
    axis = axis % x.ndim if x.ndim else 0
    factor = _spread(scale, x, axis, block_size).astype(np.float32)
    if as_dtype(x.dtype).is_floating:
        steps = x.astype(np.float32)
    else:
        steps = x.astype(np.int64)
        if zero is not None:
            steps = steps - _spread(np.asarray(zero), x, axis, block_size).astype(np.int64)
        steps = steps.astype(np.float32)
    return (steps * factor).astype(types[0].dtype.numpy)


@kernel("DynamicQuantizeLinear")
def dynamic_quantize_linear(x: Array) -> Any:
    low, high = min(float(x.min(initial=0)), 0.0), max(float(x.max(initial=0)), 0.0)
    scale = np.float32((np.float32(high) - np.float32(low)) / np.float32(255))
    safe = scale if scale > 0 else np.float32(1)
    zero = np.uint8(np.clip(np.rint(-np.float32(low) / safe), 0, 255))
    y = np.clip(np.rint(x / safe) + np.float32(zero), 0, 255).astype(np.uint8)
    return y, np.asarray(scale), np.asarray(zero)


def _less(x: Array, zero: Array | None, axis: int | None = None) -> Array:
    """`x - zero` as int32; `axis`: along which a vector of zero points goes."""
    out = np.asarray(x).astype(np.int32)
    if zero is None:
        return out
    zero = np.asarray(zero).astype(np.int32)
    if zero.size == 1:
        return out - zero.reshape(())
    if axis is not None and zero.ndim == 1:
        shape = [1] * out.ndim
        shape[axis] = -1
        zero = zero.reshape(shape)
    return out - zero


def _exact(function: Any, a: Array, b: Array, *rest: Any) -> Array:
    """Integer sums through float64, which is exact below 2**53 and has a fast product."""
    return function(a.astype(np.float64), b.astype(np.float64), *rest).astype(np.int64)


@kernel("ConvInteger")
def conv_integer(
    x: Array,
    w: Array,
    x_zero: Array = None,
    w_zero: Array = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Array:
    found = window(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    # the padding is real zero, which is 0 once the zero point is taken off
    return _exact(convolve, _less(x, x_zero), _less(w, w_zero, 0), found, group).astype(np.int32)


@kernel("MatMulInteger")
def matmul_integer(a: Array, b: Array, a_zero: Array = None, b_zero: Array = None) -> Array:
    left = _less(a, a_zero, -2 if np.ndim(a) > 1 else None)
    return _exact(np.matmul, left, _less(b, b_zero, -1)).astype(np.int32)


def _finish(total: Array, factor: Array, zero: Array, kind: Any) -> Array:
    """ONNX Runtime's requantisation: a float32 product, half to even, saturated."""
    limits = ml_dtypes.iinfo(kind)
    real = total.astype(np.float32) * factor
    steps = np.rint(np.clip(real, -(2.0**20), 2.0**20)).astype(np.int64) + zero
    return np.clip(steps, int(limits.min), int(limits.max)).astype(kind)


def _factor(x_scale: Array, w_scale: Array, y_scale: Array) -> Array:
    product = np.float32(x_scale) * np.asarray(w_scale, np.float32)
    return (product / np.asarray(y_scale, np.float32)).astype(np.float32)


@kernel("QLinearConv")
def qlinear_conv(
    x: Array,
    x_scale: Array,
    x_zero: Array,
    w: Array,
    w_scale: Array,
    w_zero: Array,
    y_scale: Array,
    y_zero: Array,
    b: Array = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Array:
    found = window(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    total = _exact(convolve, _less(x, x_zero), _less(w, w_zero, 0), found, group)
    channel = (-1, *(1,) * (x.ndim - 2))
    if b is not None:
        total = total + b.reshape(channel)
    factor = _factor(np.reshape(x_scale, ()), w_scale, np.reshape(y_scale, ()))
    factor = factor.reshape(channel) if factor.size > 1 else factor.reshape(())
    return _finish(total, factor, int(np.reshape(y_zero, ())), np.asarray(y_zero).dtype)


def _rows(parameter: Array, matrix: Array) -> Array:
    """A scale per row of `matrix`, so that it broadcasts over the product."""
    value = np.asarray(parameter)
    return value.reshape(-1, 1) if value.ndim == 1 and value.size > 1 else value


@kernel("QLinearMatMul")
def qlinear_matmul(
    a: Array,
    a_scale: Array,
    a_zero: Array,
    b: Array,
    b_scale: Array,
    b_zero: Array,
    y_scale: Array,
    y_zero: Array,
) -> Array:
    left = _less(a, a_zero, -2 if np.ndim(a) > 1 else None)
    total = _exact(np.matmul, left, _less(b, b_zero, -1))
    product = _rows(a_scale, a).astype(np.float32) * np.asarray(b_scale, np.float32)
    factor = (product / _rows(y_scale, a).astype(np.float32)).astype(np.float32)
    zero = _rows(y_zero, a).astype(np.int64)
    return _finish(total, factor, zero, np.asarray(y_zero).dtype)
