"""Operators that move elements, where our own ops say the same: shapes that are known now."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.dtypes import int64
from sw.graph.errors import ModelError
from sw.graph.onnx.node import Node
from sw.graph.onnx.registry import handles
from sw.graph.onnx.value import Flat, Value, from_last, to_last
from sw.graph.shapes import Shape

_PLAIN = np.dtype(np.object_)


@handles("Shape")
def shape(node: Node) -> Any:
    value = node.value(0)
    known = value.tensor.shape
    if known.dims is not None and value.last:
        known = Shape(tuple(known.dims[i] for i in from_last(len(known))))
    rank = known.rank
    start, end = node.attr("start", 0), node.attr("end")
    if known.known:
        return node.constant(np.asarray(known.sizes()[start:end], np.int64))
    out = node.main("shape", node.x(0), out_type=int64)
    if (start or end is not None) and rank is not None:
        out = node.make("strided_slice", out, spec=((start, end, None),))
    elif start or end is not None:
        return NotImplemented
    return out


@handles("Size")
def size(node: Node) -> Any:
    return node.main("size", node.value(0).tensor, out_type=int64)


@handles("Reshape")
def reshape(node: Node) -> Any:
    value = node.value(0)
    sizes = node.ints("shape", 1)
    dims = value.tensor.shape.dims
    if sizes is None or value.tensor.dtype.numpy == _PLAIN:
        return NotImplemented
    if 0 in sizes and not node.attr("allowzero", 0):
        plain = node.x(0).shape.dims
        if plain is None or any(plain[i] is None for i, s in enumerate(sizes) if s == 0):
            return NotImplemented
        if any(s == 0 and i >= len(plain) for i, s in enumerate(sizes)):
            raise ModelError(f"shape {list(sizes)} copies a size that {list(plain)} does not have")
        sizes = tuple(plain[i] if s == 0 else s for i, s in enumerate(sizes))  # type: ignore[misc] # unknown ones are ruled out above
    if dims is not None and -1 in sizes and 0 in sizes:
        return NotImplemented
    if (found := _flat(node, value, sizes)) is not None:
        return found
    tensor = value.held(node.graph, False, value.shifted)
    out = node.main("reshape", tensor, np.asarray(sizes, np.int64))
    return Value(out, shifted=value.shifted)


def _flat(node: Node, value: Value, sizes: tuple[int, ...]) -> Flat | None:
    """Images that become vectors, one for each; None for any other change of shape."""
    if not value.last or value.shifted or value.rank != 4 or not value.shape.known:
        return None
    n, h, w, c = value.shape.sizes()
    if h * w == 1 or len(sizes) != 2 or sizes[0] not in (n, -1) or sizes[1] not in (h * w * c, -1):
        return None
    return Flat(node.graph, node.name, value)


@handles("Flatten")
def flatten(node: Node) -> Any:
    value = node.value(0)
    if node.attr("axis", 1) == 1 and (found := _flat(node, value, (-1, -1))) is not None:
        return found
    tensor = value.held(node.graph, False, value.shifted)
    dims, axis = tensor.shape.dims, int(node.attr("axis", 1))
    if dims is None or tensor.dtype.numpy == _PLAIN:
        return NotImplemented
    if not -len(dims) <= axis <= len(dims):
        raise ModelError(f"axis {axis} is outside a value of rank {len(dims)}")
    axis = axis + len(dims) if axis < 0 else axis
    before, after = dims[:axis], dims[axis:]
    sizes = []
    for part in (before, after):
        sizes.append(-1 if None in part else int(np.prod([d or 0 for d in part], dtype=np.int64)))
    if sizes == [-1, -1]:
        return NotImplemented
    out = node.main("reshape", tensor, np.asarray(sizes, np.int64))
    return Value(out, shifted=value.shifted)


@handles("Transpose")
def transpose(node: Node) -> Any:
    value = node.value(0)
    rank = value.rank
    if rank is None or value.tensor.dtype.numpy == _PLAIN:
        return NotImplemented
    perm = tuple(p % rank if rank else p for p in node.attr("perm", tuple(range(rank))[::-1]))
    if sorted(perm) != list(range(rank)):
        raise ModelError(f"perm {list(perm)} is not an order of {rank} axes")
    if value.last and perm == to_last(rank):  # it is held so already
        return Value(value.tensor, shifted=value.shifted)
    if not value.last and rank >= 3 and perm == from_last(rank):
        return Value(value.tensor, last=True, shifted=value.shifted)
    tensor = value.held(node.graph, False, value.shifted)
    codes = value.codes
    if codes is not None:
        turned = np.ascontiguousarray(np.transpose(codes.value, perm))
        axis = perm.index(codes.axis)
        codes = codes._replace(value=turned, axis=axis)
        attr = axis if codes.scale.ndim else -1
        out = node.main("dequantize_linear", turned, codes.scale, codes.zero, axis=attr)
        return Value(out, codes=codes)
    return Value(node.main("transpose", tensor, perm=perm), shifted=value.shifted)


@handles("Squeeze")
def squeeze(node: Node) -> Any:
    value = node.value(0)
    axes = node.ints("axes", 1)
    tensor = value.held(node.graph, False, value.shifted)
    if tensor.dtype.numpy == _PLAIN or axes is None and not tensor.shape.known:
        return NotImplemented
    out = node.main("squeeze", tensor, axis=None if axes is None else tuple(axes))
    return Value(out, shifted=value.shifted)


@handles("Unsqueeze")
def unsqueeze(node: Node) -> Any:
    value = node.value(0)
    axes = node.ints("axes", 1) or ()
    tensor = value.held(node.graph, False, value.shifted)
    if tensor.shape.rank is None or tensor.dtype.numpy == _PLAIN:
        return NotImplemented
    rank = tensor.shape.rank + len(axes)
    places = sorted(a % rank if -rank <= a < rank else rank for a in axes)
    if len(set(places)) != len(places) or places and places[-1] >= rank:
        raise ModelError(f"axes {list(axes)} do not fit a result of rank {rank}")
    for index, axis in enumerate(places):
        put = node.main if index == len(places) - 1 else node.make
        tensor = put("expand_dims", tensor, axis=axis)
    return Value(tensor, shifted=value.shifted)


@handles("Concat")
def concat(node: Node) -> Any:
    values = [node.value(i) for i in range(len(node))]
    axis, rank = int(node.attr("axis", 1)), values[0].rank
    if rank is None or any(v.rank != rank for v in values):
        return NotImplemented
    if not -rank <= axis < rank:
        raise ModelError(f"axis {axis} is outside values of rank {rank}")
    axis %= rank
    last = any(v.last for v in values)
    shifted = all(v.is_uint8 for v in values) and any(v.shifted for v in values)
    tensors = [v.held(node.graph, last, shifted and v.is_uint8) for v in values]
    at = to_last(rank).index(axis) if last else axis
    return Value(node.main("concat", *tensors, axis=at), last=last, shifted=shifted)


@handles("Split")
def split(node: Node) -> Any:
    value, axis = node.value(0), int(node.attr("axis", 0))
    rank = value.rank
    sizes = node.ints("split", 1)
    if rank is None or value.shifted:
        return NotImplemented
    axis %= rank
    at = to_last(rank).index(axis) if value.last else axis
    length = value.tensor.shape.dims[at] if value.tensor.shape.dims else None
    if sizes is None:
        if length is None:
            return NotImplemented
        count = int(node.attr("num_outputs", node.outputs))
        if count != node.outputs:
            raise ModelError(f"num_outputs {count}, but it has {node.outputs} outputs")
        part = -(-length // count)
        sizes = tuple(max(min(part, length - i * part), 0) for i in range(count))
    if any(s < 0 for s in sizes):
        raise ModelError(f"sizes {list(sizes)} of a split are negative")
    out = node.main("split", value.tensor, axis=at, sizes=sizes)
    parts = out if isinstance(out, list) else [out]
    return [Value(p, last=value.last) for p in parts]


@handles("Pad")
def pad(node: Node) -> Any:
    value, mode = node.value(0), node.attr("mode", "constant")
    name = "paddings" if "paddings" in node.attrs else "pads"
    pads, rank = node.ints(name, 1), value.rank
    if pads is None or rank is None or node.has(3) or mode not in ("constant", "reflect"):
        return NotImplemented
    if min(pads, default=0) < 0 or value.shifted or value.tensor.dtype.numpy == _PLAIN:
        return NotImplemented
    if len(pads) != 2 * rank:
        raise ModelError(f"pads {list(pads)} do not fit a value of rank {rank}")
    fill: Any = node.attr("value", 0)
    if node.has(2):
        given = node.const(2)
        if given is None:
            return NotImplemented
        fill = given.reshape(()).item()
    pairs = list(zip(pads[:rank], pads[rank:], strict=True))
    if mode == "reflect":
        dims = node.x(0).shape.dims or ()
        if any(d is None or max(p) >= d for d, p in zip(dims, pairs, strict=True)):
            return NotImplemented
    if value.last:
        pairs = [pairs[i] for i in to_last(rank)]
    out = node.main("pad", value.tensor, paddings=tuple(pairs), mode=mode.upper(), constant=fill)
    return Value(out, last=value.last)


@handles("Slice")
def slice_(node: Node) -> Any:
    value, rank = node.value(0), node.value(0).rank
    starts, ends = node.ints("starts", 1), node.ints("ends", 2)
    axes, steps = node.ints("axes", 3), node.ints("steps", 4)
    if rank is None or starts is None or ends is None or value.tensor.dtype.numpy == _PLAIN:
        return NotImplemented
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise ModelError("starts, ends, axes and steps do not fit each other")
    spec: list[Any] = [(None, None, None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if not -rank <= axis < rank:
            raise ModelError(f"axis {axis} is outside a value of rank {rank}")
        spec[axis % rank] = _bounds(start, end, step)
    if value.last:
        spec = [spec[i] for i in to_last(rank)]
    out = node.main("strided_slice", value.tensor, spec=tuple(spec))
    return Value(out, last=value.last, shifted=value.shifted)


def _bounds(start: int, end: int, step: int) -> tuple[int | None, int | None, int]:
    """Python's slice for the standard's, whose far ends are huge numbers."""
    far = 1 << 31
    if step < 0 and end < -far:
        return (None if start >= far - 1 else start, None, step)
    return (start, None if step > 0 and end >= far - 1 else end, step)


@handles("Gather")
def gather(node: Node) -> Any:
    value, rank = node.value(0), node.value(0).rank
    if rank is None or value.tensor.dtype.numpy == _PLAIN or rank < 1:
        return NotImplemented
    indices = node.const(1)
    if indices is None:
        return NotImplemented
    axis = int(node.attr("axis", 0)) % rank
    tensor = node.x(0)
    length = tensor.shape.dims[axis] if tensor.shape.dims else None
    if indices.size and indices.min() < 0:
        if length is None:
            return NotImplemented
        indices = np.where(indices < 0, indices + length, indices)
    if length is not None and indices.size and not 0 <= indices.min() <= indices.max() < length:
        raise ModelError(f"an index is outside axis {axis} of size {length}")
    return node.main("gather", tensor, node.constant(indices), axis=axis)


@handles("Expand")
def expand(node: Node) -> Any:
    sizes = node.ints("shape", 1)
    tensor = node.x(0)
    if sizes is None or not tensor.shape.known or tensor.dtype.numpy == _PLAIN:
        return NotImplemented
    try:
        target = np.broadcast_shapes(tensor.shape.sizes(), tuple(sizes))
    except ValueError as error:
        raise ModelError(str(error)) from None
    return node.main("broadcast_to", tensor, np.asarray(target, np.int64))


@handles("Constant")
def constant(node: Node) -> Any:
    found = [(k, v) for k, v in node.attrs.items() if k.startswith("value")]
    if len(found) != 1:
        raise ModelError("a constant has exactly one value (dense)")
    name, value = found[0]
    kinds = {
        "value_float": np.float32,
        "value_floats": np.float32,
        "value_int": np.int64,
        "value_ints": np.int64,
    }
    if name.startswith("value_string"):
        return node.main("const", value=np.asarray(value, np.object_))
    return node.main("const", value=np.asarray(value, kinds.get(name)))


@handles("ConstantOfShape")
def constant_of_shape(node: Node) -> Any:
    sizes = node.ints("shape", 0)
    if sizes is None or min(sizes, default=0) < 0:
        raise ModelError(f"shape {sizes} has a negative size")
    value = np.asarray(node.attr("value", np.zeros(1, np.float32))).reshape(())
    # a view that repeats one element: no file makes the importer use much memory
    return node.main("const", value=np.broadcast_to(value, sizes))


@handles("Softmax", "LogSoftmax")
def softmax(node: Node) -> Any:
    value = node.value(0)
    op = "softmax" if node.proto.op_type == "Softmax" else "log_softmax"
    if value.rank is None or not value.rank:
        return NotImplemented
    if node.version >= 13:
        axis = int(node.attr("axis", -1)) % value.rank
        at = to_last(value.rank).index(axis) if value.last else axis
        return Value(node.main(op, value.tensor, axis=at), last=value.last)
    # before, everything from the axis on was one
    axis = int(node.attr("axis", 1)) % value.rank
    tensor = node.x(0)
    if axis == value.rank - 1:
        return node.main(op, tensor, axis=-1)
    if not tensor.shape.known:
        return NotImplemented
    sizes = tensor.shape.sizes()
    wide = (int(np.prod(sizes[:axis])), int(np.prod(sizes[axis:])))
    out = node.make(op, node.make("reshape", tensor, np.asarray(wide, np.int64)), axis=-1)
    return node.main("reshape", out, np.asarray(sizes, np.int64))


REDUCTIONS = {
    "ReduceMean": "reduce_mean",
    "ReduceSum": "reduce_sum",
    "ReduceMax": "reduce_max",
    "ReduceMin": "reduce_min",
    "ReduceProd": "reduce_prod",
}


@handles(*REDUCTIONS)
def reduce(node: Node) -> Any:
    value, rank = node.value(0), node.value(0).rank
    axes = node.ints("axes", 1)
    if rank is None or value.tensor.dtype.name not in ("float32", "float64", "int32", "int64"):
        return NotImplemented
    if axes is None or not axes:
        if node.attr("noop_with_empty_axes", 0):
            return Value(node.main("identity", value.tensor), last=value.last)
        axes = tuple(range(rank))
    if not value.tensor.shape.known or 0 in value.tensor.shape.sizes():
        return NotImplemented
    keep = bool(node.attr("keepdims", 1))
    tensor, last = value.tensor, value.last and keep
    axes = tuple(a % rank if rank else a for a in axes)
    if value.last:
        tensor = value.tensor if keep else node.x(0)
        axes = tuple(to_last(rank).index(a) for a in axes) if keep else axes
    op = REDUCTIONS[node.proto.op_type]
    return Value(node.main(op, tensor, axis=axes, keepdims=keep), last=last)
