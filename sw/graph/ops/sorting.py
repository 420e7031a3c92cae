"""The largest elements, unique ones, membership of the top, and set differences."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, register_op
from sw.graph.dtypes import DType, as_dtype, int32
from sw.graph.errors import DTypeError, InvalidArgumentError, ShapeError
from sw.graph.ops.cumulative import require_vector
from sw.graph.ops.helpers import BOOL, shape_of
from sw.graph.ops.shaping import static_ints
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor


def _top_k(xp: Any, x: Any, k: int, sorted: bool) -> Any:
    if x.shape[-1] < k:
        raise InvalidArgumentError(f"top_k of {k} among {x.shape[-1]} elements")
    # a stable sort of the negated ranks: the lower index wins a tie
    order = np.argsort(-x if x.dtype.kind == "f" else -x.astype(np.int64), -1, kind="stable")
    index = order[..., :k]
    return np.take_along_axis(x, index, -1), index.astype(np.int32)


def _top_k_type(inputs: tuple[Tensor, ...], k: int, sorted: bool) -> list[TensorType]:
    dims = inputs[0].shape.dims
    if dims == ():
        raise ShapeError("top_k needs at least one axis")
    if dims is not None and dims[-1] is not None and dims[-1] < k:
        raise ShapeError(f"top_k of {k} among {dims[-1]} elements")
    shape = Shape(None if dims is None else (*dims[:-1], k))
    return [TensorType(inputs[0].dtype, shape), TensorType(int32, shape)]


def _put_along(xp: Any, g: Any, index: Any, shape: Any) -> Any:
    out = np.zeros(tuple(int(s) for s in shape), g.dtype)
    np.put_along_axis(out, index, g, -1)
    return out


register_op(
    "put_along_last",
    kernel=_put_along,
    infer=lambda inputs: TensorType(inputs[0].dtype, Shape(None)),
    host_only=True,
    doc="Zeros of shape inputs[2] with inputs[0] at the positions inputs[1] of the last axis.",
)
register_op(
    "top_k",
    kernel=_top_k,
    infer=_top_k_type,
    gradient=lambda op, g, _: [apply("put_along_last", g, op.outputs[1], shape_of(op.inputs[0]))],
    attrs={"k": REQUIRED, "sorted": True},
    host_only=True,
    doc="The k largest elements of the last axis, falling, and their positions.",
)


def _in_top_k(xp: Any, predictions: Any, targets: Any, k: int) -> Any:
    classes = predictions.shape[1]
    inside = (targets >= 0) & (targets < classes)
    own = predictions[np.arange(len(targets)), np.where(inside, targets, 0)]
    better = np.sum(predictions > own[:, None], 1)
    return inside & np.isfinite(own) & (better < k)


def _in_top_k_type(inputs: tuple[Tensor, ...], k: int) -> TensorType:
    if inputs[0].shape.rank not in (None, 2):
        raise ShapeError(f"predictions are a matrix, not of shape {inputs[0].shape}")
    require_vector(inputs[1], "targets")
    return TensorType(BOOL, inputs[0].shape[:1].merge(inputs[1].shape))


register_op(
    "in_top_k",
    kernel=_in_top_k,
    infer=_in_top_k_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"k": REQUIRED},
    host_only=True,
    doc="Whether each row's target is among its k largest predictions.",
)


def _unique(xp: Any, x: Any, out_idx: DType) -> Any:
    values, first, inverse = np.unique(x, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")  # in the order of first appearance
    rank = np.empty(len(order), out_idx.numpy)
    rank[order] = np.arange(len(order))
    return (
        values[order],
        rank[inverse.ravel()],
        np.bincount(inverse.ravel())[order].astype(out_idx.numpy),
    )


def _unique_type(inputs: tuple[Tensor, ...], out_idx: DType) -> list[TensorType]:
    require_vector(inputs[0], "x")
    some = Shape((None,))
    return [
        TensorType(inputs[0].dtype, some),
        TensorType(out_idx, inputs[0].shape),
        TensorType(out_idx, some),
    ]


register_op(
    "unique_with_counts",
    kernel=_unique,
    infer=_unique_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"out_idx": int32},
    host_only=True,
    doc="Distinct values in order of appearance, the number of each element's, and counts.",
)


def _difference(xp: Any, x: Any, y: Any, index_dtype: DType) -> Any:
    kept = ~np.isin(x, y)
    return x[kept], np.flatnonzero(kept).astype(index_dtype.numpy)


def _difference_type(inputs: tuple[Tensor, ...], index_dtype: DType) -> list[TensorType]:
    some = Shape((None,))
    return [TensorType(inputs[0].dtype, some), TensorType(index_dtype, some)]


register_op(
    "setdiff1d",
    kernel=_difference,
    infer=_difference_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"index_dtype": int32},
    share_dtype=True,
    host_only=True,
    doc="The elements of inputs[0] that inputs[1] does not have, and their positions.",
)
register_op(
    "invert_permutation",
    kernel=lambda xp, x: np.argsort(x).astype(x.dtype),
    gradient=NOT_DIFFERENTIABLE,
    host_only=True,
    doc="The permutation that undoes inputs[0].",
)


def top_k(input: Any, k: Any = 1, sorted: bool = True, name: str | None = None) -> list[Tensor]:
    """(values, int32 indices) of the `k` largest elements of the last axis, largest first; of
    equal ones the first."""
    number = int(static_ints(k, "k"))
    if number < 0:
        raise InvalidArgumentError(f"k must not be negative: {number}")
    out: list[Tensor] = apply("top_k", input, name=name, k=number, sorted=bool(sorted))
    return out


def in_top_k(predictions: Any, targets: Any, k: int, name: str | None = None) -> Tensor:
    """Whether `predictions[i, targets[i]]` is among the `k` largest of row i."""
    out: Tensor = apply("in_top_k", predictions, targets, name=name, k=int(k))
    return out


def unique(x: Any, out_idx: Any = int32, name: str | None = None) -> list[Tensor]:
    """(distinct values in order of appearance, for each element the number of its value)."""
    parts: list[Tensor] = unique_with_counts(x, out_idx, name)
    return parts[:2]


def unique_with_counts(x: Any, out_idx: Any = int32, name: str | None = None) -> list[Tensor]:
    """`unique` and how often each value stands."""
    kind = as_dtype(out_idx)
    if not kind.is_integer:
        raise DTypeError(f"out_idx is an integer type, not {kind}")
    out: list[Tensor] = apply("unique_with_counts", x, name=name, out_idx=kind)
    return out


def setdiff1d(x: Any, y: Any, index_dtype: Any = int32, name: str | None = None) -> list[Tensor]:
    """(the elements of `x` that are not in `y`, their positions)."""
    kind = as_dtype(index_dtype)
    out: list[Tensor] = apply("setdiff1d", x, y, name=name, index_dtype=kind)
    return out


def invert_permutation(x: Any, name: str | None = None) -> Tensor:
    """y with y[x[i]] = i."""
    out: Tensor = apply("invert_permutation", x, name=name)
    return out
