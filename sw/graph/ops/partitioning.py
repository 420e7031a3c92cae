"""Spreading rows over several tensors and putting them together again."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, constant_value, graph_of, register_op
from sw.graph.dtypes import int32
from sw.graph.errors import DTypeError, InvalidArgumentError, ShapeError
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor


def _partition(xp: Any, data: Any, partitions: Any, num_partitions: int) -> Any:
    outside = (partitions < 0) | (partitions >= num_partitions)
    if np.any(outside):
        bad = np.asarray(partitions)[outside].flat[0]
        raise IndexError(f"partition {bad} is outside [0, {num_partitions})")
    parts = tuple(data[partitions == i] for i in range(num_partitions))
    return parts if num_partitions > 1 else parts[0]


def _partition_type(inputs: tuple[Tensor, ...], num_partitions: int) -> list[TensorType]:
    data, partitions = inputs
    if partitions.dtype is not int32:
        raise DTypeError(f"partitions are int32, not {partitions.dtype}")
    if num_partitions < 1:
        raise InvalidArgumentError(f"num_partitions must be positive, not {num_partitions}")
    rank = partitions.shape.rank
    if data.shape.dims is None or rank is None:
        return [TensorType(data.dtype, Shape(None))] * num_partitions
    if not Shape(data.shape.dims[:rank]).compatible(partitions.shape):
        raise ShapeError(f"partitions {partitions.shape} do not begin data {data.shape}")
    return [TensorType(data.dtype, Shape((None, *data.shape.dims[rank:])))] * num_partitions


def _partition_grad(op: Any, *grads: Tensor) -> list[Any]:
    data, partitions = op.inputs
    flat = apply("reshape", partitions, np.asarray([-1], np.int32))
    places = apply("range", np.int32(0), apply("size", flat), np.int32(1))
    where = apply("dynamic_partition", places, flat, **op.attrs)
    where = where if isinstance(where, list) else [where]
    joined = apply("dynamic_stitch", *where, *grads)
    return [apply("reshape", joined, apply("shape", data)), None]


def _stitch(xp: Any, *inputs: Any) -> Any:
    count = len(inputs) // 2
    indices, data = inputs[:count], inputs[count:]
    size = max((int(i.max()) + 1 for i in map(np.asarray, indices) if i.size), default=0)
    rest = data[0].shape[np.ndim(indices[0]) :]
    out = np.zeros((size, *rest), data[0].dtype)
    for where, rows in zip(indices, data, strict=True):
        out[where] = rows
    return out


def _stitch_type(inputs: tuple[Tensor, ...]) -> TensorType:
    count = len(inputs) // 2
    if not count or len(inputs) % 2:
        raise InvalidArgumentError("as many index tensors as data tensors are needed")
    indices, data = inputs[:count], inputs[count:]
    rest = Shape(None)
    for where, rows in zip(indices, data, strict=True):
        if not where.dtype.is_integer:
            raise DTypeError(f"indices must be integers, not {where.dtype}")
        if where.shape.rank is not None and rows.shape.rank is not None:
            if not rows.shape[: where.shape.rank].compatible(where.shape):
                raise ShapeError(f"indices {where.shape} do not begin data {rows.shape}")
            rest = rest.merge(rows.shape[where.shape.rank :])
    values = [constant_value(i) for i in indices]
    size = None
    if all(v is not None for v in values):
        size = max((int(v.max()) + 1 for v in values if v is not None and v.size), default=0)
    return TensorType(data[0].dtype, Shape((size,)).concatenate(rest))


def _stitch_grad(op: Any, g: Tensor) -> list[Any]:
    """Of the rows for one place, the last is the result and alone has a gradient."""
    count = len(op.inputs) // 2
    places = op.inputs[:count]
    known = [np.ravel(v) for v in map(constant_value, places) if v is not None]
    if len(known) == count and len(np.unique(np.concatenate(known))) == sum(map(len, known)):
        return [None] * count + [apply("gather", g, i, axis=0) for i in places]
    numbers: list[Tensor] = []
    start: Any = np.int32(0)
    for i in places:
        end = start + apply("size", i)
        numbers.append(apply("reshape", apply("range", start, end, np.int32(1)), apply("shape", i)))
        start = end
    last = apply("dynamic_stitch", *places, *numbers)
    grads = []
    for i, number in zip(places, numbers, strict=True):
        wins = apply("equal", apply("gather", last, i, axis=0), number)
        where = apply("where", wins, i, apply("ones_like", i) * -1)
        grads.append(apply("gather_or_zero", g, where))
    return [None] * count + grads


register_op(
    "dynamic_partition",
    kernel=_partition,
    infer=_partition_type,
    gradient=_partition_grad,
    attrs={"num_partitions": REQUIRED},
    host_only=True,
    doc="The slices of inputs[0], each in the output whose number inputs[1] gives.",
)
register_op(
    "dynamic_stitch",
    kernel=_stitch,
    infer=_stitch_type,
    gradient=_stitch_grad,
    host_only=True,
    doc="The slices of the second half of its inputs at the places that the first half lists.",
)


def dynamic_partition(
    data: Any, partitions: Any, num_partitions: int, name: str | None = None
) -> list[Tensor]:
    """`num_partitions` tensors: `data[i]` goes to number `partitions[i]` (int32), in order."""
    number = partitions if hasattr(partitions, "_operand") else np.asarray(partitions, np.int32)
    out = apply("dynamic_partition", data, number, name=name, num_partitions=int(num_partitions))
    return out if isinstance(out, list) else [out]


def dynamic_stitch(indices: Any, data: Any, name: str | None = None) -> Tensor:
    """A tensor whose slice `indices[m][i]` is `data[m][i]`; later ones win, gaps are zero."""
    graph = graph_of([*indices, *data])
    where = [i if hasattr(i, "_operand") else np.asarray(i, np.int32) for i in indices]
    out: Tensor = graph.apply("dynamic_stitch", *where, *data, name=name)
    return out
