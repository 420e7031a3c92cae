"""Pools as our own channels-last pools."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.dtypes import int8
from sw.graph.onnx import pools_by_products
from sw.graph.onnx.convolution import flat, image_of, pair
from sw.graph.onnx.geometry import geometry, with_ceiling
from sw.graph.onnx.node import Node
from sw.graph.onnx.registry import handles
from sw.graph.onnx.value import Value
from sw.graph.tensor import Tensor


def _spatial(value: Value) -> Any:
    shape = value.tensor.shape
    return None if shape.dims is None else shape[1:-1] if value.last else shape[2:]


@handles("MaxPool", "AveragePool")
def pool(node: Node) -> Any:
    if node.importer.for_tpu:
        made = pools_by_products.pool(node)
        if made is not None:
            return made
    value = node.value(0)
    average = node.proto.op_type == "AveragePool"
    kind = value.tensor.dtype
    sizes = tuple(node.attr("kernel_shape", ()))
    if value.rank not in (3, 4) or node.outputs > 1 or len(sizes) != (value.rank or 0) - 2:
        return NotImplemented
    if kind.size < 4 and (average or kind.name not in ("int8", "uint8")):
        return NotImplemented
    found = geometry(node, sizes, _spatial(value))
    if found is not None and node.attr("ceil_mode", 0):
        grown = with_ceiling(found, _spatial(value))
        counted = node.attr("count_include_pad", 0)
        if grown is not None and average and counted and grown.pads != found.pads:
            return NotImplemented  # the ceiling's own padding does not count
        found = grown
    if found is None or any(d != 1 for d in found.dilations) or any(min(p) < 0 for p in found.pads):
        return NotImplemented
    if any(max(p) >= k for p, k in zip(found.pads, sizes, strict=True)):
        return NotImplemented  # a window of padding alone
    shifted = value.is_uint8 and (value.shifted or node.importer.for_tpu)
    if shifted:  # the order of uint8 values and of the int8 that stand for them is the same
        image, axes = value.held(node.graph, True, True), value.rank - 2
        image = node.make("expand_dims", image, axis=1) if axes == 1 else image
    else:
        image, axes = image_of(node)
    if node.importer.for_tpu and image.dtype is int8:
        image = _through_a_product(node, image)
    padding: Any = found.padding
    if not isinstance(padding, str):
        padding = pair(padding, (0, 0))
        if average and node.attr("count_include_pad", 0):
            image = node.make("pad", image, paddings=((0, 0), *padding, (0, 0)))
            padding = "VALID"
    elif average and padding == "SAME" and node.attr("count_include_pad", 0):
        return NotImplemented
    put = node.make if axes == 1 else node.main
    result = put(
        "avg_pool" if average else "max_pool",
        image,
        ksize=pair(sizes, 1),
        strides=pair(found.strides, 1),
        padding=padding,
    )
    out = flat(node, result, axes)
    out.shifted = shifted
    return out


def _through_a_product(node: Node, image: Tensor) -> Tensor:
    """The same int8 image out of a product with the identity: the TPU pools behind products."""
    channels = image.shape[-1]
    if channels is None or image.op.type in ("qlinear_conv", "qlinear_matmul"):
        return image
    one = (np.float32(1), np.int8(0))
    same = np.eye(channels, dtype=np.int8)[None, None]
    attrs = {"strides": (1, 1), "padding": "VALID", "dilations": (1, 1)}
    out: Tensor = node.make("qlinear_conv", image, *one, same, *one, *one, **attrs)
    return out


@handles("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: Node) -> Any:
    value = node.value(0)
    average = node.proto.op_type == "GlobalAveragePool"
    if value.rank is None or value.rank < 3 or value.shifted and average:
        return NotImplemented
    tensor = value.held(node.graph, True, value.shifted)
    if node.importer.for_tpu and not average and tensor.shape.rank == 4:
        source = tensor.op
        if source.type == "dequantize_linear" and source.inputs[1].shape.rank == 0:
            # the largest number has the largest code
            codes = _whole(node, _through_a_product(node, source.inputs[0]), False)
            back = node.make("dequantize_linear", codes, *source.inputs[1:], **source.attrs)
            return Value(back, last=True)
        if tensor.dtype is int8:
            tensor = _through_a_product(node, tensor)
    return Value(_whole(node, tensor, average), last=True, shifted=value.shifted)


def _whole(node: Node, tensor: Tensor, average: bool) -> Tensor:
    spatial = tensor.shape[1:-1]
    if tensor.shape.rank == 4 and spatial.known and tensor.dtype.name in ("float32", "int8"):
        sizes = spatial.sizes()
        out: Tensor = node.main(
            "avg_pool" if average else "max_pool",
            tensor,
            ksize=sizes,
            strides=sizes,
            padding="VALID",
        )
        return out
    axes = tuple(range(1, len(tensor.shape) - 1))
    out = node.main("reduce_mean" if average else "reduce_max", tensor, axis=axes, keepdims=True)
    return out


@handles("LRN")
def lrn(node: Node) -> Any:
    value, size = node.value(0), int(node.attr("size"))
    if size % 2 == 0 or value.rank != 4 or value.tensor.dtype.name != "float32":
        return NotImplemented
    out = node.main(
        "lrn",
        value.channels_last(node.graph),
        depth_radius=size // 2,
        bias=float(node.attr("bias", 1.0)),
        alpha=float(node.attr("alpha", 1e-4)) / size,
        beta=float(node.attr("beta", 0.75)),
    )
    return Value(out, last=True)


@handles("BatchNormalization")
def batch_normalization(node: Node) -> Any:
    value = node.value(0)
    if node.outputs > 1 or node.attr("training_mode", 0) or value.rank is None or value.shifted:
        return NotImplemented
    if not node.attr("spatial", 1) or value.rank < 2:
        return NotImplemented
    epsilon = float(node.attr("epsilon", 1e-5))
    arrays = [node.const(i) for i in range(1, 5)]
    tensor = value.channels_last(node.graph)
    kind = tensor.dtype
    if all(a is not None for a in arrays):
        gamma, beta, centre, spread = (np.asarray(a, np.float64) for a in arrays)
        factor = gamma / np.sqrt(spread + epsilon)
        a = node.constant(factor.astype(kind.numpy), kind)
        b = node.constant((beta - centre * factor).astype(kind.numpy), kind)
    else:
        scale, shift, mean, variance = (node.x(i) for i in range(1, 5))
        if any(t.dtype is not kind for t in (scale, shift, mean, variance)):
            return NotImplemented
        widened = node.make("add", variance, node.constant(epsilon, kind))
        a = node.make("mul", scale, node.make("rsqrt", widened))
        b = node.make("sub", shift, node.make("mul", mean, a))
    return Value(node.main("add", node.make("mul", tensor, a), b), last=value.rank >= 3)
