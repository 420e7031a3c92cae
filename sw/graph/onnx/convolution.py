"""Conv and ConvTranspose as our own channels-last convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.errors import ModelError
from sw.graph.onnx.geometry import Geometry, geometry
from sw.graph.onnx.node import Node
from sw.graph.onnx.registry import handles
from sw.graph.onnx.value import Stored, Value, permute, turn
from sw.graph.tensor import Tensor


def weights(node: Node, index: int, perm: tuple[int, ...]) -> Tensor:
    """An operand of weights with its axes permuted: constants are permuted now, quantised ones
    before they are dequantised."""
    value = node.value(index)
    if value.codes is not None:
        codes = value.codes
        turned = turn(codes.value, perm)
        axis = perm.index(codes.axis % codes.value.ndim) if codes.scale.ndim else -1
        out: Tensor = node.graph.apply(
            "dequantize_linear",
            turned,
            codes.scale,
            codes.zero,
            name=f"{value.tensor.op.name}/turned/",
            axis=axis,
        )
        return out
    array: Any
    if isinstance(value, Stored):
        array = value.array()
    else:
        array = None if value.last or value.shifted else node.static(value.tensor)
    if array is not None:
        if perm == tuple(range(len(perm))):
            return value.plain(node.graph)
        return node.graph.convert(turn(array, perm), value.dtype, name=f"{value.name}/turned/")
    return permute(node.graph, value.plain(node.graph), perm)


def image_of(node: Node, index: int = 0) -> tuple[Tensor, int]:
    """An image as [N, H, W, C] and its number of spatial axes; one axis becomes W."""
    value = node.value(index)
    if value.rank not in (3, 4):
        raise ModelError(f"images of rank {value.rank} are not supported here")
    image = value.channels_last(node.graph)
    if value.rank == 3:
        image = node.make("expand_dims", image, axis=1)
    return image, value.rank - 2


def flat(node: Node, result: Tensor, spatial: int, name: str = "squeeze") -> Value:
    """The result of an op on [N, H, W, C] for an image of that many spatial axes."""
    if spatial == 1:
        result = node.make("squeeze", result, axis=(1,))
    return Value(result, last=True)


def pair(values: tuple[Any, ...], filler: Any) -> tuple[Any, ...]:
    """Per-axis values for H and W; one axis is W."""
    return values if len(values) == 2 else (filler, *values)


def attributes(found: Geometry) -> dict[str, Any]:
    """The attributes of our convolution ops."""
    padding: Any = found.padding
    if not isinstance(padding, str):
        padding = pair(padding, (0, 0))
    return {
        "strides": pair(found.strides, 1),
        "padding": padding,
        "dilations": pair(found.dilations, 1),
    }


def window_sizes(node: Node, index: int = 1) -> tuple[int, ...] | None:
    """The spatial sizes of the weights, and what the node says of them."""
    dims = node.value(index).shape.dims
    if dims is None or None in dims[2:]:
        return None
    sizes = tuple(int(d) for d in dims[2:] if d is not None)
    stated = node.attr("kernel_shape")
    if stated is not None and tuple(stated) != sizes:
        raise ModelError(f"kernel_shape {tuple(stated)} is not that of the weights, {sizes}")
    return sizes


@handles("Conv")
def conv(node: Node) -> Any:
    value, rank = node.value(0), node.value(0).rank
    dims = node.value(1).shape.dims
    sizes = window_sizes(node)
    if rank not in (3, 4) or sizes is None or dims is None or dims[0] is None or dims[1] is None:
        return NotImplemented
    if value.tensor.dtype.name not in ("float32", "float64", "float16", "bfloat16"):
        return NotImplemented
    if len(dims) != rank:
        raise ModelError(f"weights of shape {list(dims)} do not fit an image of rank {rank}")
    plain = value.tensor.shape
    spatial = (plain[1:-1] if value.last else plain[2:]) if plain.dims is not None else None
    found = geometry(node, sizes, spatial)
    if found is None or any(min(p) < 0 for p in found.pads):
        return NotImplemented
    groups, outputs, per_group = int(node.attr("group", 1)), dims[0], dims[1]
    channels = (plain[-1] if value.last else plain[1]) if plain.dims is not None else None
    if groups < 1 or outputs % groups or channels is not None and channels != groups * per_group:
        raise ModelError(
            f"group {groups}, weights of shape {list(dims)} and {channels} channels do not fit"
        )
    image, axes = image_of(node)
    bias = node.has(2)
    put = node.make if bias or axes == 1 else node.main
    attrs = attributes(found)
    if groups > 1 and per_group == 1:
        # [C*M, 1, h, w] -> [h, w, C, M]: the outputs of a channel stand together
        result = put("depthwise_conv2d", image, _depthwise(node, groups), **attrs)
    elif groups == 1:
        result = put("conv2d", image, _hwio(node, axes), **attrs)
    else:
        result = _grouped(node, image, groups, axes, attrs)
    if bias:
        result = (node.make if axes == 1 else node.main)("bias_add", result, node.x(2))
    return flat(node, result, axes)


def _hwio(node: Node, axes: int) -> Tensor:
    if axes == 2:
        return weights(node, 1, (2, 3, 1, 0))
    turned = weights(node, 1, (2, 1, 0))
    out: Tensor = _expand(node, turned)
    return out


def _expand(node: Node, turned: Tensor) -> Tensor:
    if turned.op.type == "const" and turned.op.graph is node.graph:
        return node.constant(turned.op.attrs["value"][None], turned.dtype)
    out: Tensor = node.make("expand_dims", turned, axis=0)
    return out


def _depthwise(node: Node, groups: int) -> Tensor:
    value = node.value(1)
    rank = value.rank or 4
    shape = value.shape.sizes()
    spatial = shape[2:] if rank == 4 else (1, *shape[2:])
    target = (*spatial, groups, shape[0] // groups)
    if value.codes is not None:
        codes = value.codes
        grouped = np.moveaxis(codes.value[:, 0], 0, -1).reshape(target)
        if codes.scale.size == 1:
            scale, zero, axis = codes.scale.reshape(()), codes.zero.reshape(()), -1
        elif shape[0] == groups and codes.axis % rank == 0:
            scale, zero, axis = codes.scale, codes.zero, 2
        else:
            raise ModelError("depthwise weights with several outputs per channel have one scale")
        out: Tensor = node.make("dequantize_linear", grouped, scale, zero, axis=axis)
        return out
    perm = (2, 3, 1, 0) if rank == 4 else (2, 1, 0)
    turned = weights(node, 1, perm)
    if turned.op.type == "const" and turned.op.graph is node.graph:
        return node.constant(np.reshape(turned.op.attrs["value"], target), turned.dtype)
    out = node.make("reshape", turned, np.asarray(target, np.int64))
    return out


def _grouped(node: Node, image: Tensor, groups: int, axes: int, attrs: dict[str, Any]) -> Tensor:
    kernel = _hwio(node, axes)
    inputs = kernel.shape.sizes()[2]
    images = node.make("split", image, axis=3, sizes=(inputs,) * groups)
    kernels = _split(node, kernel, groups)
    parts = [node.make("conv2d", part, k, **attrs) for part, k in zip(images, kernels, strict=True)]
    out: Tensor = node.make("concat", *parts, axis=3)
    return out


def _split(node: Node, kernel: Tensor, groups: int) -> Any:
    """Weights of four axes in `groups` parts along the last one; constants are cut now."""
    if kernel.op.type == "const" and kernel.op.graph is node.graph:
        return [
            node.constant(np.ascontiguousarray(part), kernel.dtype)
            for part in np.split(kernel.op.attrs["value"], groups, axis=3)
        ]
    if kernel.op.type != "dequantize_linear":
        size = kernel.shape.sizes()[3] // groups
        return node.make("split", kernel, axis=3, sizes=(size,) * groups)
    codes, scale, zero = (node.static(t) for t in kernel.op.inputs)
    axis, out = kernel.op.attrs["axis"] % 4, []
    for index, part in enumerate(np.split(codes, groups, axis=3)):
        cut = slice(index * part.shape[3], (index + 1) * part.shape[3])
        s, z = (v[cut] if v.ndim and axis == 3 else v for v in (scale, zero))
        out.append(node.make("dequantize_linear", np.ascontiguousarray(part), s, z, axis=axis))
    return out


@handles("ConvTranspose")
def conv_transpose(node: Node) -> Any:
    value, dims = node.value(0), node.value(1).shape.dims
    sizes = window_sizes(node)
    plain = value.tensor.shape
    if value.rank not in (3, 4) or sizes is None or not plain.known or dims is None:
        return NotImplemented
    groups = int(node.attr("group", 1))
    if None in dims or groups < 1 or int(dims[0] or 0) % groups:
        return NotImplemented
    spatial = plain[1:-1] if value.last else plain[2:]
    found = transposed(node, sizes, spatial.sizes())
    if found is None:
        return NotImplemented
    geometry_, output = found
    image, axes = image_of(node)
    # [I, O, h, w] is already a transpose of ours: [h, w, O, I]
    kernel = weights(node, 1, (2, 3, 1, 0) if axes == 2 else (2, 1, 0))
    if axes == 1:
        kernel = _expand(node, kernel)
    shape = np.asarray((plain.sizes()[0], *pair(output, 1), dims[1]), np.int32)
    bias, attrs = node.has(2), attributes(geometry_)
    put = node.make if bias or axes == 1 else node.main
    if groups == 1:
        result = put("conv2d_backprop_input", shape, kernel, image, **attrs)
    else:
        each = int(dims[0] or 0) // groups
        images = node.make("split", image, axis=3, sizes=(each,) * groups)
        kernels = _split(node, kernel, groups)
        parts = [
            node.make("conv2d_backprop_input", shape, k, part, **attrs)
            for part, k in zip(images, kernels, strict=True)
        ]
        result = put("concat", *parts, axis=3)
    if bias:
        result = (node.make if axes == 1 else node.main)("bias_add", result, node.x(2))
    return flat(node, result, axes)


def transposed(
    node: Node, sizes: tuple[int, ...], spatial: tuple[int, ...]
) -> tuple[Geometry, tuple[int, ...]] | None:
    """The geometry of the convolution that this one transposes, and its image's sizes; None when
    our op cannot say it (an image longer than the windows reach)."""
    rank = len(sizes)
    strides = tuple(node.attr("strides", (1,) * rank))
    dilations = tuple(node.attr("dilations", (1,) * rank))
    extra = tuple(node.attr("output_padding", (0,) * rank))
    pads = tuple(node.attr("pads", (0,) * (2 * rank)))
    auto, wanted = node.attr("auto_pad", "NOTSET"), node.attr("output_shape")
    pairs, output = [], []
    for i in range(rank):
        window = (sizes[i] - 1) * dilations[i] + 1
        reach = strides[i] * (spatial[i] - 1) + window
        if wanted is not None or auto.startswith("SAME"):
            size = wanted[i - rank] if wanted is not None else spatial[i] * strides[i]
            total = reach + extra[i] - size
            small = total // 2
            both = (total - small, small) if auto != "SAME_UPPER" else (small, total - small)
        else:
            both = (0, 0) if auto == "VALID" else (pads[i], pads[i + rank])
            size = reach + extra[i] - sum(both)
        last = both[1] - extra[i]
        if last < 0 and (size + both[0] - window) // strides[i] + 1 == spatial[i]:
            last = 0  # results that no window reaches, fewer than a step
        pairs.append((both[0], last))
        output.append(size)
    if any(min(p) < 0 for p in pairs):
        return None
    return Geometry(sizes, strides, dilations, tuple(pairs), False), tuple(output)
