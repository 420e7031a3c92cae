"""Pooling of NHWC images. Padding never wins a maximum and never counts in an average."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, register_op
from sw.graph.dtypes import DType, as_dtype
from sw.graph.errors import DTypeError, InvalidArgumentError
from sw.graph.ops.helpers import require_rank, shape_of
from sw.graph.ops.windows import (
    Padding,
    Pair,
    Window,
    padded,
    patches,
    scatter_patches,
    spatial_padding,
    spatial_pair,
)
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor

_ATTRS = {"ksize": REQUIRED, "strides": REQUIRED, "padding": REQUIRED}


def _window(ksize: Pair, strides: Pair, padding: Padding) -> Window:
    return Window(ksize, strides, (1, 1), padding)


def _type(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    require_rank(inputs[0], 4, "the image [N, H, W, C]")
    n, h, w, c = inputs[0].shape.dims or (None,) * 4
    window = _window(**attrs)
    return TensorType(inputs[0].dtype, Shape((n, window.out(0, h), window.out(1, w), c)))


def _average_type(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    if not inputs[0].dtype.is_floating:
        raise DTypeError(f"floating-point values are needed, not {inputs[0].dtype}")
    return _type(inputs, **attrs)


def _lowest(dtype: Any) -> Any:
    kind: DType = as_dtype(dtype)
    return -np.inf if kind.is_floating else kind.min


def _taps(x: Any, window: Window) -> Any:
    """The window's taps one after the other, each a strided view [N, OH, OW, C] of `x`: a
    reduction over these is several times faster than over the last axes of `patches`."""
    views = patches(x, window)
    for i in range(window.size[0]):
        for j in range(window.size[1]):
            yield i, j, views[:, :, :, i, j]


def _max(xp: Any, x: Any, **attrs: Any) -> Any:
    window = _window(**attrs)
    taps = _taps(padded(x, window, _lowest(x.dtype)), window)
    out = next(taps)[2].copy()
    for _, _, tap in taps:
        np.maximum(out, tap, out=out)
    return out


def _max_grad(xp: Any, x: Any, y: Any, g: Any, **attrs: Any) -> Any:
    window = _window(**attrs)
    image = padded(x, window, _lowest(x.dtype))
    values = np.zeros((*g.shape[:3], *window.size, g.shape[3]), g.dtype)
    left = np.ones(y.shape, np.bool_)  # the first maximum of a window takes the whole gradient
    for i, j, tap in _taps(image, window):
        hit = left & (tap == y)
        values[:, :, :, i, j] = np.where(hit, g, g.dtype.type(0))
        left &= ~hit
    return scatter_patches(values, x.shape, window)


def _counts(h: int, w: int, window: Window, dtype: Any) -> Any:
    ones = padded(np.ones((1, h, w, 1), np.float32), window)
    return patches(ones, window).sum(axis=(3, 4)).astype(dtype)


def _average(xp: Any, x: Any, **attrs: Any) -> Any:
    window = _window(**attrs)
    taps = _taps(padded(x, window), window)
    total = next(taps)[2].copy()
    for _, _, tap in taps:
        total += tap
    return total / _counts(x.shape[1], x.shape[2], window, x.dtype)


def _average_grad(xp: Any, shape: Any, g: Any, **attrs: Any) -> Any:
    window = _window(**attrs)
    sizes = tuple(int(s) for s in shape)
    share = g / _counts(sizes[1], sizes[2], window, g.dtype)
    spread = (*g.shape[:3], *window.size, g.shape[3])
    return scatter_patches(np.broadcast_to(share[:, :, :, None, None], spread), sizes, window)


register_op(
    "max_pool_grad",
    kernel=_max_grad,
    infer=lambda inputs, **attrs: TensorType(inputs[2].dtype, inputs[0].shape),
    attrs=_ATTRS,
    doc="Gradient of max_pool: inputs are its input, its output and the output's gradient.",
)
register_op(
    "avg_pool_grad",
    kernel=_average_grad,
    infer=lambda inputs, **attrs: TensorType(inputs[1].dtype, Shape((None,) * 4)),
    gradient=lambda op, g: [None, apply("avg_pool", g, **op.attrs)],
    attrs=_ATTRS,
    doc="Gradient of avg_pool with respect to its input, of shape inputs[0].",
)
register_op(
    "max_pool",
    kernel=_max,
    infer=_type,
    gradient=lambda op, g: [apply("max_pool_grad", op.inputs[0], op.outputs[0], g, **op.attrs)],
    attrs=_ATTRS,
    doc="The largest value in each window; also of int8.",
)
register_op(
    "avg_pool",
    kernel=_average,
    infer=_average_type,
    gradient=lambda op, g: [apply("avg_pool_grad", shape_of(op.inputs[0]), g, **op.attrs)],
    attrs=_ATTRS,
    doc="The mean of each window's elements, padding not counted.",
)


def _pool(op: str, value: Any, ksize: Any, strides: Any, padding: Any, form: str, name: Any) -> Any:
    if form != "NHWC":
        raise InvalidArgumentError(f"data_format {form!r}: only NHWC is supported")
    return apply(
        op,
        value,
        name=name,
        ksize=spatial_pair(ksize, "ksize"),
        strides=spatial_pair(strides, "strides"),
        padding=spatial_padding(padding),
    )


def max_pool(
    value: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    name: str | None = None,
) -> Tensor:
    """The maximum over windows of `ksize` [1, h, w, 1] moved by `strides`; floats or integers."""
    out: Tensor = _pool("max_pool", value, ksize, strides, padding, data_format, name)
    return out


def avg_pool(
    value: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    name: str | None = None,
) -> Tensor:
    """The mean over windows of `ksize` [1, h, w, 1] moved by `strides`; padding does not count."""
    out: Tensor = _pool("avg_pool", value, ksize, strides, padding, data_format, name)
    return out
