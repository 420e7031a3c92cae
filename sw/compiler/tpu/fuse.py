"""Fuse: find what one requantisation on the chip closes.

A `Group` is an op on quantised inputs, its bias, clamps and pools, up to the quantize op whose
scale the chip requantises to. Clamping and taking maxima commute with quantising, because
both are monotonic, so the int8 result is that of the quantised operators one by one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.tpu import numerics
from sw.compiler.tpu.operands import Scaled, operand, parameters, scaled
from sw.compiler.tpu.support import LINEAR, TRANSPOSED, WEIGHTED, data_inputs, vector_reason
from sw.compiler.tpu.tables import evaluate, map_to
from sw.graph.build import constant_value
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

ROOTS = (*WEIGHTED, "avg_pool", "add", "mul", "concat")
"""Ops that begin a group."""


@dataclass(frozen=True, eq=False)
class Weights:
    """int8 `codes` (any shape, channels last) and their float32 `scale` `[channels]`."""

    codes: NDArray[np.int8]
    scale: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Group:
    """Work on int8 `sources` up to a quantize op, in this order: `root`, the op that the sources
    feed (a linear or windowed one, an addition, a product, a concatenation; None if there is
    none), `bias`, `clamps` and `pools` by their ops, then `table` (only where there is no root).
    `start` is the float tensor that the first op reads."""

    sources: tuple[Scaled, ...]
    root: Operation | None
    bias: Tensor | None
    clamps: tuple[str, ...]
    pools: tuple[Operation, ...]
    quantise: Operation
    start: Tensor
    table: NDArray[np.int8] | None = None
    mapped: frozenset[Operation] = frozenset()
    """The ops that the table stands for."""

    @property
    def source(self) -> Scaled:
        """The first source."""
        return self.sources[0]


def weights_of(op: Operation) -> Weights | None:
    """The constant weights of an op, its output channels last, quantised here if the graph did
    not; None if they are known only at run time or quantised in a way that the core does not
    multiply."""
    found = _weights(op)
    if found is None or op.type != TRANSPOSED:
        return found
    return Weights(found.codes.swapaxes(2, 3), found.scale)


def _weights(op: Operation) -> Weights | None:
    """The same in the order of the op."""
    value = constant_value(op.inputs[1])
    if value is not None:
        if not np.isfinite(value).all():
            return None
        if op.type == TRANSPOSED:
            turned = value.swapaxes(2, 3)
            scale = numerics.weight_scales(turned)
            return Weights(numerics.quantize(turned, scale).swapaxes(2, 3), scale)
        kept = value.reshape(*value.shape[:2], -1) if op.type == "depthwise_conv2d" else value
        scale = numerics.weight_scales(kept)
        return Weights(numerics.quantize(kept, scale).reshape(value.shape), scale)
    source = op.inputs[1].op
    if source.type != "dequantize_linear":
        return None
    codes, scales, zero = (constant_value(tensor) for tensor in source.inputs)
    if codes is None or scales is None or zero is None or codes.dtype != np.int8 or zero.any():
        return None
    scales, axis = scales.astype(np.float32).ravel(), source.attrs["axis"] % codes.ndim
    shape, last = codes.shape[-1:], codes.ndim - 1
    if op.type == TRANSPOSED:
        shape, last = codes.shape[2:3], 2
    elif op.type == "depthwise_conv2d":
        shape = (codes.shape[2] * codes.shape[3],)
        if scales.size != 1 and axis == 2:
            scales = np.repeat(scales, codes.shape[3])
        elif scales.size != 1:
            scales = np.tile(scales, codes.shape[2])
        axis = codes.ndim - 1 if axis == 2 else axis
    if scales.size != 1 and axis != last:
        return None
    return Weights(codes, np.ascontiguousarray(np.broadcast_to(scales, shape)))


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
    while uses[tensor] == 1 and tensor.op.type not in ROOTS:
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
    root, pools = tensor.op, pools[::-1]
    if root.type in ROOTS and uses[tensor] == 1:
        sources = _sources(root, quantise)
        if sources is None and root.type in ("add", "mul"):
            return _mapped(quantise, pools, uses)
        if sources is None or not _shapes_fit(tensor, pools):
            return None
        if bias is not None and (
            root.type not in WEIGHTED
            or len(sources) > 1
            or bias.shape != tensor.shape[-1:]
            or bias_codes(bias) is None
        ):
            return None
        start = data_inputs(root)[0]
        return Group(sources, root, bias, tuple(clamps), tuple(pools), quantise, start)
    return _mapped(quantise, pools, uses)


def _sources(root: Operation, quantise: Operation) -> tuple[Scaled, ...] | None:
    """The int8 tensors that a root computes with; None if it cannot be done exactly."""
    if root.type == "matmul" and weights_of(root) is None:
        return product_sources(root)
    found = [scaled(tensor) for tensor in data_inputs(root)]
    sources = tuple(item for item in found if item is not None)
    target = parameters(quantise)
    if len(sources) < len(found) or target is None:
        return None
    if root.type in WEIGHTED and weights_of(root) is None:
        return None
    if root.type not in LINEAR and vector_reason(root) is not None:
        return None
    if root.type == "mul" and (
        sources[0].zero_point or sources[1].zero_point or sources[0] == sources[1]
    ):
        return None
    if root.type == "add":
        scales = (sources[0].scale, sources[1].scale, target[0])
        zeros = (sources[0].zero_point, sources[1].zero_point, target[1])
        try:
            numerics.add_constants(scales, zeros)
        except ValueError:
            return None
    return sources


def product_sources(op: Operation) -> tuple[Scaled, ...] | None:
    """The two int8 tensors that a matmul multiplies matrix by matrix; None if they are others."""
    first, second = (operand(tensor) for tensor in op.inputs)
    if first is None or second is None or first.transposed or first.images != second.images:
        return None
    fits = first.images == int(np.prod(op.outputs[0].shape.sizes()[:-2]))
    return (first.source, second.source) if fits else None


def _mapped(quantise: Operation, pools: list[Operation], uses: Counter[Tensor]) -> Group | None:
    """A group without a root: pools, or ops that a table stands for, or only other scales."""
    target, found = parameters(quantise), map_to(quantise.inputs[0])
    if found is None or target is None:
        return None
    first = pools[0].inputs[0] if pools else found.start
    source = scaled(first)
    if source is None or 0 in first.shape.sizes() or first.shape.rank == 0:
        return None
    if pools and (found.start is not pools[-1].outputs[0] or not _shapes_fit(first, pools)):
        return None
    if any(uses[pool.outputs[0]] != 1 for pool in pools):
        return None
    given = source.scale, source.zero_point
    table = None
    if found.ops or given != target:
        table = evaluate(found, given, target)
        if table is None or table.ndim == 2 and table.shape[1] != first.shape.sizes()[-1]:
            return None
    elif not pools:
        return None
    ops = frozenset(found.ops)
    return Group((source,), None, None, (), tuple(pools), quantise, first, table, ops)


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
