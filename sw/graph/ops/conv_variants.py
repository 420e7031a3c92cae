"""Convolutions made of others: transposed, separable, one-dimensional, dilated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sw.graph.build import apply, constant_value, graph_of
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.ops.conv import conv2d, depthwise_conv2d, geometry
from sw.graph.ops.creation import sizes_vector
from sw.graph.ops.rearranging import batch_to_space_nd, space_to_batch_nd
from sw.graph.ops.shaping import static_ints
from sw.graph.ops.volumes import conv3d, conv3d_transpose
from sw.graph.ops.windows import line_size, spatial_padding, spatial_pair
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
    """Convolution of [N, W, C], [N, H, W, C] or [N, D, H, W, C]; `strides` and `dilation_rate` have
    one number per spatial axis. Volumes have no dilation."""
    graph = graph_of((input, filter))
    image, kernel = graph.convert(input), graph.convert(filter)
    spatial = (kernel.shape.rank or 0) - 2
    if spatial not in (1, 2, 3):
        raise ShapeError(f"a filter of rank 3 to 5 is needed, not shape {kernel.shape}")
    steps = [int(v) for v in np.broadcast_to(1 if strides is None else strides, spatial)]
    rates = [
        int(v) for v in np.broadcast_to(1 if dilation_rate is None else dilation_rate, spatial)
    ]
    if spatial == 3:
        if max(rates) > 1:
            raise InvalidArgumentError(f"dilation_rate {rates}: volumes have none here")
        return conv3d(image, kernel, steps, padding, name=name)
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


def conv1d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: str = "SAME",
    data_format: str = "NWC",
    name: str | None = None,
) -> Tensor:
    """The transpose of a `conv1d` that maps `output_shape` [N, W, O] to `input`; `filters`: [K, O,
    I]."""
    if data_format not in ("NWC", "NHWC"):
        raise InvalidArgumentError(f"data_format {data_format!r}: only NWC is supported")
    graph = graph_of((input, filters, output_shape))
    with graph.name_scope(name or "conv1d_transpose"):
        sizes = graph.convert(sizes_vector(output_shape))
        one = np.asarray([1], np.int32)
        whole = apply("concat", sizes[:1], one, sizes[1:], axis=0)
        image = apply("expand_dims", input, axis=1)
        kernel = apply("expand_dims", filters, axis=0)
        known = constant_value(sizes)
        shape = whole if known is None else [int(known[0]), 1, *(int(v) for v in known[1:])]
        out = conv2d_transpose(image, kernel, shape, [1, line_size(strides, "strides")], padding)
        flat: Tensor = apply("squeeze", out, axis=(1,))
        return flat


def conv_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: str = "SAME",
    data_format: str | None = None,
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """`conv1d_transpose`, `conv2d_transpose` or `conv3d_transpose`, by the rank of `filters`."""
    rank = graph_of((filters,)).convert(filters).shape.rank
    if rank not in (3, 4, 5):
        raise ShapeError(f"filters of rank 3 to 5 are needed, not {rank}")
    if dilations is not None and np.max(dilations) > 1:
        raise InvalidArgumentError("conv_transpose has no dilation; use atrous_conv2d_transpose")
    chosen: Any = {3: conv1d_transpose, 4: conv2d_transpose, 5: conv3d_transpose}[rank]
    out: Tensor = chosen(input, filters, output_shape, strides, padding, name=name)
    return out


def depthwise_conv2d_backprop_input(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
) -> Tensor:
    """The gradient of `depthwise_conv2d` with respect to its input of shape `input_sizes`."""
    how = geometry(strides, padding, dilations, data_format)
    sizes = sizes_vector(input_sizes)
    out: Tensor = apply(
        "depthwise_conv2d_backprop_input", sizes, filter, out_backprop, name=name, **how
    )
    return out


def depthwise_conv2d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
) -> Tensor:
    """The gradient of `depthwise_conv2d` with respect to its filter of shape `filter_sizes`."""
    how = geometry(strides, padding, dilations, data_format)
    sizes = sizes_vector(filter_sizes)
    out: Tensor = apply(
        "depthwise_conv2d_backprop_filter", input, sizes, out_backprop, name=name, **how
    )
    return out


def with_space_to_batch(
    input: Any,
    dilation_rate: Any,
    padding: str,
    op: Callable[..., Any],
    filter_shape: Any = None,
    spatial_dims: Any = None,
    data_format: str | None = None,
) -> Tensor:
    """`op(blocks, number of spatial axes, padding)` of an input whose pixels, `dilation_rate`
    apart, were made neighbours: dilation for an op that has none. Sizes must be known; "SAME"
    needs `filter_shape`, one number per spatial axis."""
    rates = [int(r) for r in np.atleast_1d(dilation_rate)]
    axes = list(range(1, len(rates) + 1))
    if padding not in ("SAME", "VALID") or min(rates) < 1:
        raise InvalidArgumentError(f"padding {padding!r} and dilation_rate {rates} do not fit")
    if spatial_dims is not None and [int(d) for d in spatial_dims] != axes:
        raise InvalidArgumentError(f"spatial_dims {spatial_dims!r}: only {axes} are supported")
    graph = graph_of((input,))
    x = graph.convert(input)
    if max(rates) == 1:
        plain: Tensor = op(x, len(rates), padding)
        return plain
    if not x.shape[1 : len(rates) + 1].known:
        raise ShapeError(f"the spatial sizes of {x!r} must be known")
    if padding == "SAME":
        if filter_shape is None:
            raise InvalidArgumentError("padding SAME needs filter_shape")
        sides = static_ints(filter_shape, "filter_shape")[: len(rates)]
        extra = [(int(k) - 1) * r for k, r in zip(sides, rates, strict=True)]
        base = [(e // 2, e - e // 2) for e in extra]
    else:
        base = [(0, 0)] * len(rates)
    sizes = x.shape[1 : len(rates) + 1].sizes()
    pads = [(a, b + (-(n + a + b)) % r) for (a, b), n, r in zip(base, sizes, rates, strict=True)]
    crops = [(0, (-(n + a + b)) % r) for (a, b), n, r in zip(base, sizes, rates, strict=True)]
    blocks = space_to_batch_nd(x, rates, pads)
    return batch_to_space_nd(op(blocks, len(rates), "VALID"), rates, crops)
