"""Fuse: find what one requantisation on the chip closes.

A `Group` is a linear op on a quantised input, its bias, clamps and pools, up to the quantize op
whose scale the chip requantises to. Clamping and taking maxima commute with quantising, because
both are monotonic, so the int8 result is that of the quantised operators one by one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.tpu import numerics
from sw.compiler.tpu.support import LINEAR
from sw.graph.build import constant_value
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor


@dataclass(frozen=True)
class Scaled:
    """An int8 tensor (behind views) with the scale and zero point that give its real values."""

    tensor: Tensor
    scale: float
    zero_point: int


@dataclass(frozen=True, eq=False)
class Weights:
    """int8 `codes` (any shape, channels last) and their float32 `scale` `[channels]`."""

    codes: NDArray[np.int8]
    scale: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Group:
    """`linear` is None where pools and views stand alone between dequantize and quantize."""

    source: Scaled
    linear: Operation | None
    bias: Tensor | None
    clamps: tuple[str, ...]
    pools: tuple[Operation, ...]
    quantise: Operation


def parameters(op: Operation) -> tuple[float, int] | None:
    """Scale and zero point of a per-tensor quantize or dequantize op, None if it is another."""
    scale, zero = (constant_value(tensor) for tensor in op.inputs[1:3])
    if scale is None or zero is None or scale.size != 1 or zero.size != 1:
        return None
    return float(scale.ravel()[0]), int(zero.ravel()[0])


def scaled(tensor: Tensor) -> Scaled | None:
    """The int8 tensor that `tensor` dequantises, through reshapes, also through those between
    a dequantize and a quantize op of one scale; None if it is not quantised."""
    while tensor.op.type == "reshape":
        tensor = tensor.op.inputs[0]
    op = tensor.op
    if op.type != "dequantize_linear" or op.inputs[0].dtype.name != "int8":
        return None
    found = parameters(op)
    if found is None:
        return None
    before = round_trip(op.inputs[0].op)
    if before is not None and (before.scale, before.zero_point) == found:
        return before
    return Scaled(op.inputs[0], *found)


def round_trip(op: Operation) -> Scaled | None:
    """What a quantize op only reshapes: the int8 tensor whose values it quantises again with the
    scale that they have; None if it does something."""
    if op.type != "quantize_linear":
        return None
    before = scaled(op.inputs[0])
    same = before is not None and parameters(op) == (before.scale, before.zero_point)
    return before if same else None


def weights_of(op: Operation) -> Weights | None:
    """The constant weights of a linear op, quantised here if the graph did not; None if they are
    known only at run time or quantised in a way that the core does not multiply."""
    value = constant_value(op.inputs[1])
    if value is not None:
        if not np.isfinite(value).all():
            return None
        scale = numerics.weight_scales(value)
        return Weights(numerics.quantize(value, scale), scale)
    source = op.inputs[1].op
    if source.type != "dequantize_linear":
        return None
    codes, scales, zero = (constant_value(tensor) for tensor in source.inputs)
    if codes is None or scales is None or zero is None or codes.dtype != np.int8 or zero.any():
        return None
    if scales.size != 1 and source.attrs["axis"] not in (-1, codes.ndim - 1):
        return None
    scale = np.broadcast_to(scales.astype(np.float32).ravel(), codes.shape[-1:])
    return Weights(codes, np.ascontiguousarray(scale))


def fuse(graph: Graph) -> dict[Operation, Group]:
    """The groups of a legalised graph by their quantize ops."""
    uses = Counter(tensor for op in graph.get_operations() for tensor in op.inputs)
    found = {}
    for op in graph.get_operations():
        if op.type == "quantize_linear" and parameters(op) is not None:
            group = _group(op, uses)
            if group is not None:
                found[op] = group
    return found


def _group(quantise: Operation, uses: Counter[Tensor]) -> Group | None:
    """The group that ends at `quantise`, looking backwards along tensors with a single use."""
    clamps: list[str] = []
    pools: list[Operation] = []
    bias = None
    tensor = quantise.inputs[0]
    while uses[tensor] == 1 and tensor.op.type not in LINEAR:
        op = tensor.op
        if op.type in ("relu", "relu6") and bias is None:
            clamps.append(op.type)
        elif op.type == "max_pool" and bias is None:
            pools.append(op)
        elif op.type == "bias_add" and bias is None:
            bias = op.inputs[1]
        elif op.type != "reshape":
            break
        tensor = op.inputs[0]
    op, pools = tensor.op, pools[::-1]
    if op.type in LINEAR and uses[tensor] == 1:
        source = scaled(op.inputs[0])
        known = weights_of(op) is not None and (bias is None or bias_codes(bias) is not None)
        if bias is not None and bias.shape != tensor.shape[-1:]:
            return None
        if source is None or not known or not _shapes_fit(tensor, pools):
            return None
        return Group(source, op, bias, tuple(clamps), tuple(pools), quantise)
    source = scaled(tensor)
    alone = pools and not clamps and bias is None
    if source is None or not alone or parameters(quantise) != (source.scale, source.zero_point):
        return None
    return Group(source, None, None, (), tuple(pools), quantise)


def _shapes_fit(tensor: Tensor, pools: list[Operation]) -> bool:
    """Whether each pool reads the image as it was made, whatever reshapes lie between."""
    for pool in pools:
        if pool.inputs[0].shape != tensor.shape:
            return False
        tensor = pool.outputs[0]
    return 0 not in tensor.shape.sizes()


def bias_codes(bias: Tensor) -> tuple[NDArray[np.generic], NDArray[np.float32] | None] | None:
    """A constant bias: float32 values and None, or int32 codes and their scale; else None."""
    value = constant_value(bias)
    if value is not None:
        return (value, None) if np.isfinite(value).all() else None
    op = bias.op
    if op.type != "dequantize_linear":
        return None
    codes, scale, zero = (constant_value(tensor) for tensor in op.inputs)
    if codes is None or scale is None or zero is None or codes.dtype != np.int32 or zero.any():
        return None
    return codes, scale.astype(np.float32)
