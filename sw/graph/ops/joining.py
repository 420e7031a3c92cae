"""Joining tensors and taking them apart: concat, split, stack, unstack."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, register_op
from sw.graph.dtypes import int32
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.ops.helpers import shape_of
from sw.graph.ops.shaping import static_ints
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.shapes import Shape, normalise_axis
from sw.graph.tensor import Operators, Tensor


def _concat_type(inputs: tuple[Tensor, ...], axis: int) -> TensorType:
    if not inputs:
        raise InvalidArgumentError("at least one tensor is needed")
    known = [t.shape for t in inputs if t.shape.dims is not None]
    if not known:
        return TensorType(inputs[0].dtype, Shape(None))
    at = normalise_axis(axis, known[0].rank)
    total: int | None = 0
    merged = Shape(tuple(None if i == at else d for i, d in enumerate(known[0])))
    for shape in known:
        if len(shape) != len(merged):
            raise ShapeError("the inputs must have the same rank")
        merged = merged.merge(tuple(None if i == at else d for i, d in enumerate(shape)))
    for tensor in inputs:
        size = None if tensor.shape.dims is None else tensor.shape.dims[at]
        total = None if total is None or size is None else total + size
    dims = tuple(total if i == at else d for i, d in enumerate(merged))
    return TensorType(inputs[0].dtype, Shape(dims))


def _concat_grad(op: Any, g: Tensor) -> list[Tensor]:
    axis = op.attrs["axis"]
    sizes = [t.shape.dims[axis] if t.shape.dims is not None else None for t in op.inputs]
    if None not in sizes:
        parts = apply("split", g, axis=axis, sizes=tuple(sizes))
        return parts if isinstance(parts, list) else [parts]
    pieces, offset = [], np.asarray(0, np.int32)
    for tensor in op.inputs:
        part = apply("concat_grad", g, offset, shape_of(tensor), axis=axis)
        part.set_shape(tensor.shape)
        pieces.append(part)
        offset = offset + apply("shape", tensor, out_type=int32)[axis]
    return pieces


def _cut(xp: Any, g: Any, offset: Any, shape: Any, axis: int) -> Any:
    index = [slice(None)] * g.ndim
    index[axis] = slice(int(offset), int(offset) + int(shape[axis]))
    return g[tuple(index)]


register_op(
    "concat_grad",
    kernel=_cut,
    infer=lambda inputs, axis: TensorType(inputs[0].dtype, Shape(None)),
    attrs={"axis": REQUIRED},
    doc="The part of a concatenation that starts at inputs[1] and has shape inputs[2].",
)
register_op(
    "concat",
    kernel=lambda xp, *values, axis: xp.concatenate(values, axis=axis),
    infer=_concat_type,
    gradient=_concat_grad,
    attrs={"axis": REQUIRED},
    share_dtype=True,
    doc="Its inputs one after the other along `axis`.",
)


def _split_type(inputs: tuple[Tensor, ...], axis: int, sizes: tuple[int, ...]) -> list[TensorType]:
    shape = inputs[0].shape
    if shape.dims is None:
        return [TensorType(inputs[0].dtype, Shape(None))] * len(sizes)
    at = normalise_axis(axis, shape.rank)
    if shape.dims[at] is not None and sum(sizes) != shape.dims[at]:
        raise ShapeError(f"sizes {list(sizes)} do not add up to {shape.dims[at]} (axis {at})")
    return [
        TensorType(
            inputs[0].dtype, Shape(tuple(s if i == at else d for i, d in enumerate(shape.dims)))
        )
        for s in sizes
    ]


def _split(xp: Any, x: Any, axis: int, sizes: tuple[int, ...]) -> Any:
    return _several(np.split(x, np.cumsum(sizes)[:-1], axis=axis))


def _several(parts: Any) -> Any:
    """One output is an array, several are a tuple."""
    return tuple(parts) if len(parts) > 1 else parts[0]


register_op(
    "split",
    kernel=_split,
    infer=_split_type,
    gradient=lambda op, *gs: [apply("concat", *gs, axis=op.attrs["axis"])],
    attrs={"axis": REQUIRED, "sizes": REQUIRED},
    doc="Its input cut along `axis` into parts of the given sizes.",
)


def _stack_type(inputs: tuple[Tensor, ...], axis: int) -> TensorType:
    if not inputs:
        raise InvalidArgumentError("at least one tensor is needed")
    shape = inputs[0].shape
    for tensor in inputs[1:]:
        shape = shape.merge(tensor.shape)
    if shape.dims is None:
        return TensorType(inputs[0].dtype, shape)
    at = normalise_axis(axis, len(shape.dims) + 1)
    return TensorType(inputs[0].dtype, Shape((*shape.dims[:at], len(inputs), *shape.dims[at:])))


def _stack_grad(op: Any, g: Tensor) -> list[Tensor]:
    parts = apply("unstack", g, axis=op.attrs["axis"], num=len(op.inputs))
    return parts if isinstance(parts, list) else [parts]


register_op(
    "stack",
    kernel=lambda xp, *values, axis: xp.stack(values, axis=axis),
    infer=_stack_type,
    gradient=_stack_grad,
    attrs={"axis": 0},
    share_dtype=True,
    doc="Its inputs along a new axis.",
)


def _unstack_type(inputs: tuple[Tensor, ...], axis: int, num: int) -> list[TensorType]:
    shape = inputs[0].shape
    if shape.dims is None:
        return [TensorType(inputs[0].dtype, shape)] * num
    at = normalise_axis(axis, len(shape.dims))
    if shape.dims[at] not in (None, num):
        raise ShapeError(f"axis {at} has size {shape.dims[at]}, not {num}")
    rest = Shape(shape.dims[:at] + shape.dims[at + 1 :])
    return [TensorType(inputs[0].dtype, rest)] * num


register_op(
    "unstack",
    kernel=lambda xp, x, axis, num: _several(xp.moveaxis(x, axis, 0)),
    infer=_unstack_type,
    gradient=lambda op, *gs: [apply("stack", *gs, axis=op.attrs["axis"])],
    attrs={"axis": 0, "num": REQUIRED},
    doc="Its input taken apart along `axis`.",
)


def concat(values: Any, axis: Any, name: str | None = None) -> Tensor:
    """Join tensors along `axis`; they agree in every other size."""
    items = values if isinstance(values, (list, tuple)) else [values]
    at = int(static_ints(axis, "axis"))
    out: Tensor = apply("concat", *items, name=name or "concat", axis=at)
    return out


def split(
    value: Any, num_or_size_splits: Any, axis: Any = 0, num: Any = None, name: str | None = None
) -> list[Tensor]:
    """Cut `value` along `axis` into that many equal parts, or into parts of the given sizes."""
    tensor = value._operand() if isinstance(value, Operators) else apply("identity", value)
    at = int(static_ints(axis, "axis"))
    splits = static_ints(num_or_size_splits, "num_or_size_splits")
    dims = tensor.shape.dims
    length = None if dims is None else dims[normalise_axis(at, len(dims))]
    if splits.ndim == 0:
        parts = int(splits)
        if length is None or parts <= 0 or length % parts:
            raise ShapeError(
                f"axis {at} of {tensor!r} cannot be split into {parts} equal parts; "
                "its size must be known and divisible"
            )
        sizes = [length // parts] * parts
    else:
        sizes = [int(s) for s in splits]
        if -1 in sizes and length is not None:
            sizes[sizes.index(-1)] = length - sum(s for s in sizes if s != -1)
    out = apply("split", tensor, name=name, axis=at, sizes=tuple(sizes))
    return out if isinstance(out, list) else [out]


def stack(values: Any, axis: int = 0, name: str | None = None) -> Tensor:
    """Join tensors of one shape along a new axis."""
    out: Tensor = apply("stack", *values, name=name, axis=int(axis))
    return out


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str | None = None) -> Any:
    """The list of slices of `value` along `axis`; `num` is needed if its size is unknown."""
    dims = value._operand().shape.dims
    count = num if num is not None or dims is None else dims[normalise_axis(axis, len(dims))]
    if count is None:
        raise ShapeError(f"the size of axis {axis} of {value!r} is unknown: give num")
    out = apply("unstack", value, name=name, axis=int(axis), num=int(count))
    return out if isinstance(out, list) else [out]
