"""Reductions of rows that belong together: sorted segments, unsorted and sparse ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, constant_value, graph_of, register_op
from sw.graph.dtypes import as_dtype
from sw.graph.errors import DTypeError, InvalidArgumentError, ShapeError
from sw.graph.ops.arithmetic import cast
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor


def _ids(tensor: Tensor, what: str, vector: bool = True) -> None:
    if not tensor.dtype.is_integer:
        raise DTypeError(f"{what} are integers, not {tensor.dtype}")
    if vector and tensor.shape.rank not in (None, 1):
        raise ShapeError(f"{what} are a vector, not of shape {tensor.shape}")


def _type(inputs: tuple[Tensor, ...], how: str) -> TensorType:
    data, ids = inputs
    _ids(ids, "segment ids")
    if data.shape.dims is None:
        return TensorType(data.dtype, Shape(None))
    if data.shape.rank == 0 or not data.shape[:1].compatible(ids.shape):
        raise ShapeError(f"{data.shape} has not one row for each of the ids {ids.shape}")
    known = constant_value(ids)
    size = None if known is None else int(known[-1]) + 1 if known.size else 0
    return TensorType(data.dtype, Shape((size, *data.shape.dims[1:])))


def _check_sorted(ids: Any) -> None:
    if len(ids) and (ids[0] < 0 or (np.diff(ids) < 0).any()):
        raise InvalidArgumentError("segment ids must not be negative and must be sorted")


_START = {"sum": 0, "mean": 0, "sqrt_n": 0, "prod": 1, "max": 0, "min": 0}
_REDUCE: dict[str, Any] = {
    "sum": np.add, "mean": np.add, "sqrt_n": np.add,
    "prod": np.multiply, "max": np.maximum, "min": np.minimum,
}  # fmt: skip


def _reduce(data: Any, ids: Any, size: int, how: str, empty: Any = None) -> Any:
    """One row per segment; those without a member hold `empty`, by default the neutral element
    (zero for extremes)."""
    flat, rows = np.ravel(ids), data.reshape(-1, *data.shape[np.ndim(ids) :])
    kept = flat >= 0
    flat, rows = flat[kept], rows[kept]
    start = _START[how] if empty is None else empty
    out = np.full((size, *rows.shape[1:]), start, data.dtype)
    if how in ("max", "min"):
        unique, first = np.unique(flat, return_index=True)
        out[unique] = rows[first]
    _REDUCE[how].at(out, flat, rows)
    if how in ("mean", "sqrt_n"):
        count = np.maximum(np.bincount(flat, minlength=size), 1).astype(data.dtype)
        count = count if how == "mean" else np.sqrt(count)
        out = (out / count.reshape(-1, *[1] * (out.ndim - 1))).astype(data.dtype)
    return out


def _sorted(xp: Any, data: Any, ids: Any, how: str) -> Any:
    _check_sorted(ids)
    return _reduce(data, ids, int(ids[-1]) + 1 if len(ids) else 0, how)


def _spread(g: Tensor, ids: Tensor, how: str) -> Tensor:
    """Each row's share of its segment's gradient, for sums and means."""
    out: Tensor = apply("gather", g, ids, axis=0)
    if how == "sum":
        return out
    share: Tensor = apply("segment_share", out, ids, how=how)
    return share


def _sorted_grad(op: Any, g: Tensor) -> list[Any]:
    data, ids = op.inputs
    how = op.attrs["how"]
    if how in ("sum", "mean"):
        return [_spread(g, ids, how), None]
    total = apply("gather", op.outputs[0], ids, axis=0)
    up = apply("gather", g, ids, axis=0)
    if how == "prod":
        return [up * apply("segment_others", data, ids), None]
    hit = apply("cast", apply("equal", data, total), dtype=data.dtype)
    ties = apply("gather", apply("segment_reduce", hit, ids, how="sum"), ids, axis=0)
    return [up * hit / ties, None]


def _others(xp: Any, data: Any, ids: Any) -> Any:
    flat, parts = np.ravel(ids), data.reshape(-1, *data.shape[np.ndim(ids) :])
    out = np.ones_like(parts)
    for segment in np.unique(flat):
        rows = np.flatnonzero(flat == segment)
        for row in rows:
            out[row] = np.prod(parts[rows[rows != row]], axis=0)
    return out.reshape(data.shape)


def _share(xp: Any, g: Any, ids: Any, how: str) -> Any:
    flat = np.ravel(ids)
    count = np.bincount(flat)[flat].astype(g.dtype)
    count = count if how == "mean" else np.sqrt(count)
    return g / count.reshape(-1, *[1] * (g.ndim - 1))


register_op(
    "segment_reduce",
    kernel=_sorted,
    infer=_type,
    gradient=_sorted_grad,
    attrs={"how": REQUIRED},
    host_only=True,
    doc="The rows of inputs[0] with equal (sorted) ids reduced to one: sum, mean, prod, max, min.",
)
register_op(
    "segment_share",
    kernel=_share,
    gradient=lambda op, g: [apply("segment_share", g, op.inputs[1], **op.attrs), None],
    attrs={"how": REQUIRED},
    host_only=True,
    doc="inputs[0] divided by (the root of) the number of rows of its segment.",
)
register_op(
    "segment_others",
    kernel=_others,
    host_only=True,
    doc="For each row the product of the other rows of its segment.",
)


def _unsorted_type(inputs: tuple[Tensor, ...], how: str) -> TensorType:
    data, ids, size = inputs
    _ids(ids, "segment ids", vector=False)
    if data.shape.dims is None or ids.shape.rank is None:
        return TensorType(data.dtype, Shape(None))
    if not data.shape[: ids.shape.rank].compatible(ids.shape):
        raise ShapeError(f"ids {ids.shape} do not begin data {data.shape}")
    count = constant_value(size)
    rows = None if count is None else int(count)
    return TensorType(data.dtype, Shape((rows, *data.shape.dims[ids.shape.rank :])))


_OTHER_END = {"max": "min", "min": "max"}


def _unsorted(xp: Any, data: Any, ids: Any, size: Any, how: str) -> Any:
    if np.size(ids) and np.max(ids) >= int(size):
        raise IndexError(f"segment id {int(np.max(ids))} is outside [0, {int(size)})")
    # as TensorFlow: the extreme of nothing is the dtype's other end
    empty = getattr(as_dtype(data.dtype), _OTHER_END[how]) if how in _OTHER_END else None
    return _reduce(data, np.asarray(ids), int(size), how, empty)


def _or_zero_grad(op: Any, g: Tensor) -> list[Any]:
    rows = apply("shape", op.inputs[0])[0]
    return [apply("unsorted_segment_reduce", g, op.inputs[1], rows, how="sum"), None]


def _unsorted_grad(op: Any, g: Tensor) -> list[Any]:
    data, ids, size = op.inputs
    if op.attrs["how"] == "sum":
        return [apply("gather_or_zero", g, ids), None, None]
    if op.attrs["how"] == "prod":
        return [apply("gather_or_zero", g, ids) * apply("segment_others", data, ids), None, None]
    total = apply("gather_or_zero", op.outputs[0], ids)
    hit = apply("cast", apply("equal", data, total), dtype=data.dtype)
    ties = apply("gather_or_zero", apply("unsorted_segment_reduce", hit, ids, size, how="sum"), ids)
    ties = apply("maximum", ties, apply("ones_like", ties))
    return [apply("gather_or_zero", g, ids) * hit / ties, None, None]


register_op(
    "gather_or_zero",
    kernel=lambda xp, g, ids: np.where(
        np.reshape(ids >= 0, (*np.shape(ids), *[1] * (g.ndim - 1))), g[np.maximum(ids, 0)], 0
    ).astype(g.dtype),
    infer=lambda inputs: TensorType(
        inputs[0].dtype, inputs[1].shape.concatenate(inputs[0].shape[1:])
    ),
    gradient=_or_zero_grad,
    host_only=True,
    doc="The rows of inputs[0] at inputs[1]; zeros for negative ones.",
)
register_op(
    "unsorted_segment_reduce",
    kernel=_unsorted,
    infer=_unsorted_type,
    gradient=_unsorted_grad,
    attrs={"how": REQUIRED},
    host_only=True,
    doc="`segment_reduce` of ids in any order into inputs[2] rows; negative ids are left out.",
)


def _segment(name_: str, how: str) -> Any:
    def function(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
        out: Tensor = apply("segment_reduce", data, segment_ids, name=name or name_, how=how)
        return out

    function.__name__ = function.__qualname__ = name_
    function.__doc__ = f"The {how} of the rows of `data` with equal `segment_ids`, which rise."
    return function


segment_sum = _segment("segment_sum", "sum")
segment_mean = _segment("segment_mean", "mean")
segment_prod = _segment("segment_prod", "prod")
segment_max = _segment("segment_max", "max")
segment_min = _segment("segment_min", "min")


_EMPTY = {
    "sum": "A segment without rows is 0.",
    "prod": "A segment without rows is 1.",
    "max": "A segment without rows is the lowest number of the dtype.",
    "min": "A segment without rows is the highest number of the dtype.",
}


def _unsorted_segment(name_: str, how: str) -> Any:
    def function(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
        out: Tensor = apply(
            "unsorted_segment_reduce", data, segment_ids, num_segments, name=name or name_, how=how
        )
        return out

    function.__name__ = function.__qualname__ = name_
    function.__doc__ = (
        f"The {how} of the rows of `data` with equal `segment_ids`, in any order, into "
        f"`num_segments` rows; negative ids are left out. {_EMPTY[how]}"
    )
    return function


unsorted_segment_sum = _unsorted_segment("unsorted_segment_sum", "sum")
unsorted_segment_max = _unsorted_segment("unsorted_segment_max", "max")
unsorted_segment_min = _unsorted_segment("unsorted_segment_min", "min")
unsorted_segment_prod = _unsorted_segment("unsorted_segment_prod", "prod")


def _shared(data: Any, segment_ids: Any, num_segments: Any, root: bool, name: str) -> Tensor:
    graph = graph_of((data, segment_ids, num_segments))
    with graph.name_scope(name):
        x, ids = graph.convert(data), graph.convert(segment_ids)
        if not x.dtype.differentiable:
            raise DTypeError(f"means are of floating-point numbers, not {x.dtype}")
        if x.shape.rank is None or ids.shape.rank is None:
            raise ShapeError("the ranks of data and segment ids must be known")
        one = cast(apply("ones_like", ids), x.dtype)
        count = apply("unsorted_segment_reduce", one, ids, num_segments, how="sum")
        count = apply("maximum", cast(count, x.dtype.real_dtype), 1.0)
        count = cast(apply("sqrt", count) if root else count, x.dtype)
        wide = [-1] + [1] * (x.shape.rank - ids.shape.rank)
        total = apply("unsorted_segment_reduce", x, ids, num_segments, how="sum")
        out: Tensor = total / apply("reshape", count, np.asarray(wide, np.int32))
        return out


def unsorted_segment_mean(
    data: Any, segment_ids: Any, num_segments: Any, name: str | None = None
) -> Tensor:
    """`unsorted_segment_sum` divided by the number of each segment's rows; 0 without rows."""
    return _shared(data, segment_ids, num_segments, False, name or "UnsortedSegmentMean")


def unsorted_segment_sqrt_n(
    data: Any, segment_ids: Any, num_segments: Any, name: str | None = None
) -> Tensor:
    """`unsorted_segment_sum` divided by the root of the number of each segment's rows."""
    return _shared(data, segment_ids, num_segments, True, name or "UnsortedSegmentSqrtN")


def _sparse_segment(name_: str, how: str) -> Any:
    def function(data: Any, indices: Any, segment_ids: Any, name: str | None = None) -> Tensor:
        rows = apply("gather", data, indices, axis=0)
        if how == "sqrt_n":
            shared = apply("segment_share", rows, segment_ids, how=how)
            out: Tensor = apply("segment_reduce", shared, segment_ids, name=name, how="sum")
            return out
        out = apply("segment_reduce", rows, segment_ids, name=name or name_, how=how)
        return out

    function.__name__ = function.__qualname__ = name_
    function.__doc__ = f"The {how} by segments of the rows `indices` of `data`."
    return function


sparse_segment_sum = _sparse_segment("sparse_segment_sum", "sum")
sparse_segment_mean = _sparse_segment("sparse_segment_mean", "mean")
sparse_segment_sqrt_n = _sparse_segment("sparse_segment_sqrt_n", "sqrt_n")
