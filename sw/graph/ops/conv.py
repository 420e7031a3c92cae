"""Convolutions (NHWC images, HWIO filters): im2col by views and one GEMM, gradients likewise."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, constant_shape, register_op
from sw.graph.errors import InvalidArgumentError, ShapeError
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

_ATTRS = {"strides": REQUIRED, "padding": REQUIRED, "dilations": (1, 1)}


def window_of(filter_shape: Any, strides: Pair, padding: Padding, dilations: Pair) -> Window:
    """The window of a convolution with a filter [KH, KW, ...]."""
    return Window((int(filter_shape[0]), int(filter_shape[1])), strides, dilations, padding)


def conv_shape(
    inputs: tuple[Tensor, ...], strides: Pair, padding: Padding, dilations: Pair, depthwise: bool
) -> Shape:
    """The static shape of a convolution of `inputs` = (image, filter)."""
    image, kernel = inputs[0], inputs[1]
    require_rank(image, 4, "the image [N, H, W, C]")
    require_rank(kernel, 4, "the filter [KH, KW, I, O]")
    n, h, w, c = image.shape.dims or (None,) * 4
    kh, kw, i, o = kernel.shape.dims or (None,) * 4
    if c is not None and i is not None and c != i:
        raise ShapeError(f"the image has {c} channels, the filter expects {i}")
    channels = o
    if depthwise:
        channels = None if i is None or o is None else i * o
    if kh is None or kw is None:
        return Shape((n, None, None, channels))
    window = window_of((kh, kw), strides, padding, dilations)
    return Shape((n, window.out(0, h), window.out(1, w), channels))


def conv_gemm(x: Any, w: Any, window: Window) -> Any:
    """The convolution of the already padded `x` as one matrix product, in `x`'s dtype."""
    kh, kw, ci, co = w.shape
    if kh == kw == 1 and window.strides == (1, 1):
        return np.matmul(x, w[0, 0])
    views = patches(x, window)
    n, oh, ow = views.shape[:3]
    return (views.reshape(n * oh * ow, kh * kw * ci) @ w.reshape(-1, co)).reshape(n, oh, ow, co)


def _widen(function: Any) -> Any:
    """Half-precision convolutions are summed in float32, as hardware does."""

    def kernel(xp: Any, a: Any, b: Any, *rest: Any, **attrs: Any) -> Any:
        small = [v.dtype for v in (a, b, *rest) if v.dtype.itemsize == 2 and v.dtype.kind in "fV"]
        if not small:
            return function(a, b, *rest, **attrs)
        wide = [v.astype(np.float32) if v.dtype == small[0] else v for v in (a, b, *rest)]
        return function(*wide, **attrs).astype(small[0])

    return kernel


def _conv(x: Any, w: Any, **attrs: Any) -> Any:
    window = window_of(w.shape, **attrs)
    return conv_gemm(padded(x, window), w, window)


def _conv_input(shape: Any, w: Any, g: Any, **attrs: Any) -> Any:
    kh, kw, ci, co = w.shape
    columns = g.reshape(-1, co) @ w.reshape(-1, co).T
    values = columns.reshape(*g.shape[:3], kh, kw, ci)
    return scatter_patches(values, tuple(int(s) for s in shape), window_of(w.shape, **attrs))


def _conv_filter(x: Any, shape: Any, g: Any, **attrs: Any) -> Any:
    sizes = tuple(int(s) for s in shape)
    window = window_of(sizes, **attrs)
    views = patches(padded(x, window), window)
    rows = views.reshape(-1, sizes[0] * sizes[1] * sizes[2])
    return (rows.T @ g.reshape(-1, sizes[3])).reshape(sizes)


def _depthwise(x: Any, w: Any, **attrs: Any) -> Any:
    window = window_of(w.shape, **attrs)
    views = patches(padded(x, window), window)
    out = np.einsum("nhwijc,ijcm->nhwcm", views, w, optimize=True)
    return out.reshape(*out.shape[:3], -1)


def _depthwise_input(shape: Any, w: Any, g: Any, **attrs: Any) -> Any:
    grad = g.reshape(*g.shape[:3], *w.shape[2:])
    values = np.einsum("nhwcm,ijcm->nhwijc", grad, w, optimize=True)
    return scatter_patches(values, tuple(int(s) for s in shape), window_of(w.shape, **attrs))


def _depthwise_filter(x: Any, shape: Any, g: Any, **attrs: Any) -> Any:
    sizes = tuple(int(s) for s in shape)
    window = window_of(sizes, **attrs)
    views = patches(padded(x, window), window)
    return np.einsum(
        "nhwijc,nhwcm->ijcm", views, g.reshape(*g.shape[:3], *sizes[2:]), optimize=True
    )


def _register(name: str, depthwise: bool, forward: Any, to_input: Any, to_filter: Any) -> None:
    """A convolution and its two transposes; each is linear in both operands, so the three are
    each other's gradients."""
    image_op, filter_op = f"{name}_backprop_input", f"{name}_backprop_filter"

    def infer(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
        return TensorType(inputs[0].dtype, conv_shape(inputs, depthwise=depthwise, **attrs))

    def gradient(op: Any, g: Tensor) -> list[Tensor]:
        x, w = op.inputs
        return [
            apply(image_op, shape_of(x), w, g, **op.attrs),
            apply(filter_op, x, shape_of(w), g, **op.attrs),
        ]

    def input_gradient(op: Any, g: Tensor) -> list[Tensor | None]:
        _, w, up = op.inputs
        return [
            None,
            apply(filter_op, g, shape_of(w), up, **op.attrs),
            apply(name, g, w, **op.attrs),
        ]

    def filter_gradient(op: Any, g: Tensor) -> list[Tensor | None]:
        x, _, up = op.inputs
        return [
            apply(image_op, shape_of(x), g, up, **op.attrs),
            None,
            apply(name, x, g, **op.attrs),
        ]

    register_op(
        name,
        kernel=_widen(forward),
        infer=infer,
        gradient=gradient,
        attrs=_ATTRS,
        share_dtype=True,
        doc="Convolution of an image NHWC with a filter HWIO.",
    )
    register_op(
        image_op,
        kernel=_widen(to_input),
        infer=lambda inputs, **attrs: TensorType(inputs[2].dtype, constant_shape(inputs[0])),
        gradient=input_gradient,
        attrs=_ATTRS,
        doc="Gradient of the convolution with respect to its image, of shape inputs[0].",
    )
    register_op(
        filter_op,
        kernel=_widen(to_filter),
        infer=lambda inputs, **attrs: TensorType(inputs[2].dtype, constant_shape(inputs[1])),
        gradient=filter_gradient,
        attrs=_ATTRS,
        doc="Gradient of the convolution with respect to its filter, of shape inputs[1].",
    )


_register("conv2d", False, _conv, _conv_input, _conv_filter)
_register("depthwise_conv2d", True, _depthwise, _depthwise_input, _depthwise_filter)


def geometry(strides: Any, padding: Any, dilations: Any, data_format: str) -> dict[str, Any]:
    """The attributes of a convolution; raises `InvalidArgumentError` naming what is wrong."""
    if data_format != "NHWC":
        raise InvalidArgumentError(f"data_format {data_format!r}: only NHWC is supported")
    return {
        "strides": spatial_pair(strides, "strides"),
        "padding": spatial_padding(padding),
        "dilations": spatial_pair(dilations, "dilations"),
    }


def conv2d(
    input: Any,
    filter: Any,
    strides: Any,
    padding: Any,
    use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
) -> Tensor:
    """Convolution of `input` [N, H, W, C] with `filter` [KH, KW, C, O].

    `strides`, `dilations`: `[1, h, w, 1]` (or `[h, w]`, or one number); `padding`: "SAME", "VALID"
    or explicit pairs. Result [N, OH, OW, O]. Raises `ShapeError` for shapes that do not fit.
    """
    attrs = geometry(strides, padding, dilations, data_format)
    out: Tensor = apply("conv2d", input, filter, name=name or "Conv2D", **attrs)
    return out


def depthwise_conv2d(
    input: Any,
    filter: Any,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,
    data_format: str = "NHWC",
) -> Tensor:
    """Each channel convolved by its own filters: `filter` [KH, KW, C, M], result C*M channels."""
    attrs = geometry(strides, padding, 1 if rate is None else rate, data_format)
    out: Tensor = apply("depthwise_conv2d", input, filter, name=name or "depthwise", **attrs)
    return out
