"""Convolutions made of others: transposed, separable, one-dimensional, dilated."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.ops.conv import conv2d, depthwise_conv2d
from sw.graph.ops.creation import sizes_vector
from sw.graph.ops.windows import spatial_padding, spatial_pair
from sw.graph.tensor import Tensor


def conv2d_transpose(
    value: Any,
    filter: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str = "NHWC",
    name: str | None = None,
) -> Tensor:
    """The transpose (gradient) of a `conv2d` that maps `output_shape` [N, H, W, O] to `value`.

    `filter`: [KH, KW, O, I], I the channels of `value`. Raises `ShapeError` when the channels of
    `output_shape` are not the filter's.
    """
    if data_format != "NHWC":
        raise InvalidArgumentError(f"data_format {data_format!r}: only NHWC is supported")
    graph = graph_of((value, filter))
    kernel = graph.convert(filter)
    shape = sizes_vector(output_shape)
    if not hasattr(shape, "_operand") and kernel.shape.rank == 4:
        if kernel.shape[2] not in (None, int(shape[3])):
            raise ShapeError(f"output_shape {list(shape)}: the filter makes {kernel.shape[2]}")
    out: Tensor = apply(
        "conv2d_backprop_input",
        shape,
        kernel,
        value,
        name=name or "conv2d_transpose",
        strides=spatial_pair(strides, "strides"),
        padding=spatial_padding(padding),
    )
    return out


def separable_conv2d(
    input: Any,
    depthwise_filter: Any,
    pointwise_filter: Any,
    strides: Any,
    padding: Any,
    rate: Any = None,
    name: str | None = None,
) -> Tensor:
    """`depthwise_conv2d` with [KH, KW, C, M], then a 1x1 convolution [1, 1, C*M, O]."""
    with graph_of((input,)).name_scope(name or "separable_conv2d"):
        middle = depthwise_conv2d(input, depthwise_filter, strides, padding, rate)
        return conv2d(middle, pointwise_filter, 1, "VALID")


def conv1d(
    value: Any,
    filters: Any,
    stride: int,
    padding: str,
    use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC",
    name: str | None = None,
) -> Tensor:
    """Convolution of [N, W, C] with [K, C, O]."""
    graph = graph_of((value, filters))
    with graph.name_scope(name or "conv1d"):
        image = apply("expand_dims", value, axis=1)
        kernel = apply("expand_dims", filters, axis=0)
        out = conv2d(image, kernel, [1, 1, int(stride), 1], padding)
        flat: Tensor = apply("squeeze", out, axis=(1,))
        return flat


def atrous_conv2d(
    value: Any, filters: Any, rate: int, padding: str, name: str | None = None
) -> Tensor:
    """Convolution whose taps are `rate` pixels apart."""
    if rate < 1:
        raise InvalidArgumentError(f"rate must be at least 1, not {rate}")
    return conv2d(value, filters, 1, padding, dilations=int(rate), name=name or "atrous_conv2d")


def atrous_conv2d_transpose(
    value: Any,
    filters: Any,
    output_shape: Any,
    rate: int,
    padding: str,
    name: str | None = None,
) -> Tensor:
    """The transpose of `atrous_conv2d`."""
    out: Tensor = apply(
        "conv2d_backprop_input",
        sizes_vector(output_shape),
        filters,
        value,
        name=name or "atrous_conv2d_transpose",
        strides=(1, 1),
        padding=spatial_padding(padding),
        dilations=spatial_pair(rate, "rate"),
    )
    return out


def convolution(
    input: Any,
    filter: Any,
    padding: str,
    strides: Any = None,
    dilation_rate: Any = None,
    name: str | None = None,
    data_format: str | None = None,
) -> Tensor:
    """Convolution of [N, W, C] or [N, H, W, C]; `strides` and `dilation_rate` have one number per
    spatial axis."""
    graph = graph_of((input, filter))
    image, kernel = graph.convert(input), graph.convert(filter)
    spatial = (kernel.shape.rank or 0) - 2
    if spatial not in (1, 2):
        raise ShapeError(f"a filter of rank 3 or 4 is needed, not shape {kernel.shape}")
    steps = [int(v) for v in np.broadcast_to(1 if strides is None else strides, spatial)]
    rates = [
        int(v) for v in np.broadcast_to(1 if dilation_rate is None else dilation_rate, spatial)
    ]
    if spatial == 2:
        return conv2d(image, kernel, steps, padding, dilations=rates, name=name)
    with graph.name_scope(name or "convolution"):
        image, kernel = apply("expand_dims", image, axis=1), apply("expand_dims", kernel, axis=0)
        out = conv2d(image, kernel, [1, *steps], padding, dilations=[1, *rates])
        flat: Tensor = apply("squeeze", out, axis=(1,))
        return flat


def conv2d_backprop_input(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    name: str | None = None,
) -> Tensor:
    """The gradient of `conv2d` with respect to its input of shape `input_sizes`."""
    return conv2d_transpose(out_backprop, filter, input_sizes, strides, padding, name=name)


def conv2d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    name: str | None = None,
) -> Tensor:
    """The gradient of `conv2d` with respect to its filter of shape `filter_sizes`."""
    out: Tensor = apply(
        "conv2d_backprop_filter",
        input,
        sizes_vector(filter_sizes),
        out_backprop,
        name=name,
        strides=spatial_pair(strides, "strides"),
        padding=spatial_padding(padding),
    )
    return out
