"""Sorting along an axis, places in sorted rows, and lookups row by row."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.dtypes import DType, as_dtype, int32
from sw.graph.errors import DTypeError, InvalidArgumentError, ShapeError
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import normalise_axis
from sw.graph.tensor import Tensor


def _argsort(xp: Any, x: Any, descending: bool) -> Any:
    if not descending:
        return np.argsort(x, -1, kind="stable").astype(np.int32)
    # backwards twice, so that of equal elements the first stays the first
    order = np.flip(np.argsort(np.flip(x, -1), -1, kind="stable"), -1)
    return (x.shape[-1] - 1 - order).astype(np.int32)


def _argsort_type(inputs: tuple[Tensor, ...], descending: bool) -> TensorType:
    if inputs[0].shape.rank == 0:
        raise ShapeError("a scalar cannot be sorted")
    if inputs[0].dtype.is_complex:
        raise DTypeError(f"{inputs[0].dtype} numbers have no order")
    return TensorType(int32, inputs[0].shape)


register_op(
    "argsort",
    kernel=_argsort,
    infer=_argsort_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"descending": False},
    host_only=True,
    doc="The positions that sort the last axis; equal elements keep their order.",
)


def _search(xp: Any, rows: Any, values: Any, right: bool, dtype: DType) -> Any:
    if rows.shape[:-1] != values.shape[:-1]:
        raise InvalidArgumentError(f"{rows.shape} and {values.shape} differ before the last axis")
    side: Literal["left", "right"] = "right" if right else "left"
    pairs = zip(rows.reshape(-1, rows.shape[-1]), values.reshape(-1, values.shape[-1]), strict=True)
    found = [np.searchsorted(row, value, side) for row, value in pairs]
    return np.asarray(found, dtype.numpy).reshape(values.shape)


def _search_type(inputs: tuple[Tensor, ...], right: bool, dtype: DType) -> TensorType:
    rows, values = inputs[0].shape, inputs[1].shape
    if 0 in (rows.rank, values.rank):
        raise ShapeError("sorted rows and values need at least one axis")
    if rows.dims is not None and values.dims is not None:
        rows[:-1].merge(values[:-1])
    return TensorType(dtype, values)


register_op(
    "searchsorted",
    kernel=_search,
    infer=_search_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"right": False, "dtype": REQUIRED},
    share_dtype=True,
    host_only=True,
    doc="Where in the sorted last axis of inputs[0] each of inputs[1] belongs.",
)


def _to_last(x: Tensor, axis: int) -> tuple[Tensor, tuple[int, ...] | None]:
    """(`x` with `axis` last, the permutation that is its own inverse), None when nothing moves."""
    if axis in (-1, (x.shape.rank or 0) - 1):
        return x, None
    if x.shape.rank is None:
        raise ShapeError(f"axis {axis} of {x!r}, whose rank is not known")
    order = list(range(x.shape.rank))
    at = normalise_axis(axis, x.shape.rank)
    order[at], order[-1] = order[-1], order[at]
    return apply("transpose", x, perm=tuple(order)), tuple(order)


def _direction(direction: str) -> bool:
    if direction not in ("ASCENDING", "DESCENDING"):
        raise InvalidArgumentError(f"direction {direction!r} is not ASCENDING or DESCENDING")
    return direction == "DESCENDING"


def argsort(
    values: Any,
    axis: int = -1,
    direction: str = "ASCENDING",
    stable: bool = False,
    name: str | None = None,
) -> Tensor:
    """int32 positions that sort `values` along `axis`; equal elements keep their order."""
    graph = graph_of((values,))
    with graph.name_scope(name or "argsort"):
        x, order = _to_last(graph.convert(values), int(axis))
        at: Tensor = apply("argsort", x, descending=_direction(direction))
        return at if order is None else apply("transpose", at, perm=order)


def sort(
    values: Any, axis: int = -1, direction: str = "ASCENDING", name: str | None = None
) -> Tensor:
    """`values` sorted along `axis`."""
    graph = graph_of((values,))
    with graph.name_scope(name or "sort"):
        x, order = _to_last(graph.convert(values), int(axis))
        out = batch_gather(x, apply("argsort", x, descending=_direction(direction)))
        return out if order is None else apply("transpose", out, perm=order)


def searchsorted(
    sorted_sequence: Any,
    values: Any,
    side: str = "left",
    out_type: Any = int32,
    name: str | None = None,
) -> Tensor:
    """For each of `values` [..., M] the position in its row of `sorted_sequence` [..., N] before
    which ("left"; "right": after the equal ones) it can be put."""
    if side not in ("left", "right"):
        raise InvalidArgumentError(f"side {side!r} is not left or right")
    how = {"right": side == "right", "dtype": as_dtype(out_type)}
    out: Tensor = apply("searchsorted", sorted_sequence, values, name=name, **how)
    return out


def batch_places(indices: Tensor) -> Tensor:
    """[..., depth]: for each index its place in the axes before the last, then itself."""
    rank = indices.shape.rank
    if not rank:
        raise ShapeError(f"indices of known rank, at least 1, are needed, not {indices!r}")
    sizes = apply("shape", indices)
    parts = []
    for axis in range(rank - 1):
        count = apply("range", np.int32(0), sizes[axis], np.int32(1))
        count = apply("cast", count, dtype=indices.dtype) if indices.dtype is not int32 else count
        shaped = apply("reshape", count, np.asarray([-1] + [1] * (rank - 1 - axis), np.int32))
        parts.append(apply("broadcast_to", shaped, sizes))
    out: Tensor = apply("stack", *parts, indices, axis=-1)
    return out


def batch_gather(params: Any, indices: Any, name: str | None = None) -> Tensor:
    """`params[b..., indices[b..., i]]` for every index `i`; the axes of `indices` before its last
    are those of `params` too. Outside indices are an error."""
    graph = graph_of((params, indices))
    with graph.name_scope(name or "BatchGather"):
        at = graph.convert(indices)
        if not at.dtype.is_integer:
            raise DTypeError(f"indices must be integers, not {at.dtype}")
        out: Tensor = apply("gather_nd", params, batch_places(at))
        return out


def repeat(input: Any, repeats: Any, axis: Any = None, name: str | None = None) -> Tensor:
    """Slice i along `axis` (default: of the flat `input`) `repeats[i]` times; one number: all as
    often."""
    graph = graph_of((input, repeats))
    with graph.name_scope(name or "Repeat"):
        x, many = graph.convert(input), graph.convert(repeats)
        if not many.dtype.is_integer:
            raise DTypeError(f"repeats must be integers, not {many.dtype}")
        if many.shape.rank not in (0, 1):
            raise ShapeError(f"repeats are a number or a vector, not of shape {many.shape}")
        if axis is None:
            x, axis = apply("reshape", x, np.asarray([-1], np.int32)), 0
        length = apply("shape", x)[int(axis)]
        size = None if x.shape.dims is None else x.shape.dims[int(axis)]
        if many.shape.rank == 1 and None not in (size, many.shape[0]):
            if many.shape[0] not in (1, size):
                raise ShapeError(f"{many.shape[0]} repeats for {size} slices")
        counts = apply("broadcast_to", many, apply("stack", length, axis=0))
        ends = apply("cumsum", counts, axis=0)
        total = apply("reduce_sum", counts)
        zero, one = (np.asarray(v, many.dtype.numpy) for v in (0, 1))
        places = apply("range", zero, total, one)
        at = apply("searchsorted", ends, places, right=True, dtype=int32)
        out: Tensor = apply("gather", x, at, axis=int(axis))
        if many.op.type == "const" and size is not None:
            dims = list(x.shape)
            value = many.op.attrs["value"]
            dims[int(axis)] = int(np.broadcast_to(value, size).sum())
            out.set_shape(dims)
        return out
