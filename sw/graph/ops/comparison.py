"""Comparisons, logic and selection."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, register_op
from sw.graph.dtypes import int64, to_array
from sw.graph.errors import DTypeError, ShapeError
from sw.graph.ops.helpers import BOOL, predicate_type, unbroadcast
from sw.graph.registry import NOT_DIFFERENTIABLE, TensorType
from sw.graph.shapes import Shape, broadcast
from sw.graph.tensor import Operators, Tensor


def _logical_type(inputs: tuple[Tensor, ...]) -> TensorType:
    for tensor in inputs:
        if tensor.dtype is not BOOL:
            raise DTypeError(f"bool is needed, not {tensor.dtype}")
    return predicate_type(inputs)


def _comparison(name: str, function: str) -> Any:
    register_op(
        name,
        kernel=function,
        infer=predicate_type,
        gradient=NOT_DIFFERENTIABLE,
        share_dtype=True,
        doc=f"{name}(x, y), element by element, as bool.",
    )

    op = name

    def compare(x: Any, y: Any, name: str | None = None) -> Tensor:
        if not isinstance(x, Operators) and not isinstance(y, Operators):
            x = to_array(x)
            y = to_array(y, x.dtype)
        out: Tensor = apply(op, x, y, name=name)
        return out

    compare.__name__ = compare.__qualname__ = op
    compare.__doc__ = f"`{op}` of x and y, element by element, broadcasting; bool."
    return compare


equal = _comparison("equal", "equal")
not_equal = _comparison("not_equal", "not_equal")
less = _comparison("less", "less")
less_equal = _comparison("less_equal", "less_equal")
greater = _comparison("greater", "greater")
greater_equal = _comparison("greater_equal", "greater_equal")


def _logical(name: str) -> Any:
    return register_op(
        name,
        kernel=name,
        infer=_logical_type,
        gradient=NOT_DIFFERENTIABLE,
        doc=f"{name} of bools, element by element.",
    )


logical_and = _logical("logical_and")
logical_or = _logical("logical_or")
logical_xor = _logical("logical_xor")
logical_not = _logical("logical_not")
is_nan = register_op(
    "is_nan", "isnan", predicate_type, NOT_DIFFERENTIABLE, doc="Whether each element is NaN."
)
is_finite = register_op(
    "is_finite",
    "isfinite",
    predicate_type,
    NOT_DIFFERENTIABLE,
    doc="Whether each element is finite.",
)


is_inf = register_op(
    "is_inf",
    "isinf",
    predicate_type,
    NOT_DIFFERENTIABLE,
    host_only=True,
    doc="Whether each element is infinite.",
)


def _where_type(inputs: tuple[Tensor, ...]) -> TensorType:
    condition, x, y = inputs
    if condition.dtype is not BOOL:
        raise DTypeError(f"the condition must be bool, not {condition.dtype}")
    if x.dtype is not y.dtype:
        raise DTypeError(f"x is {x.dtype}, y is {y.dtype}")
    return TensorType(x.dtype, broadcast(condition.shape, broadcast(x.shape, y.shape)))


def _where_grad(op: Any, g: Tensor) -> list[Tensor | None]:
    condition, x, y = op.inputs
    zero = apply("zeros_like", g)
    return [
        None,
        unbroadcast(apply("where", condition, g, zero), x),
        unbroadcast(apply("where", condition, zero, g), y),
    ]


register_op(
    "where", kernel="where", infer=_where_type, gradient=_where_grad, doc="x where true, else y."
)
_indices = register_op(
    "where_indices",
    kernel=lambda xp, c: np.argwhere(c),
    infer=lambda inputs: TensorType(int64, Shape((None, inputs[0].shape.rank))),
    gradient=NOT_DIFFERENTIABLE,
    host_only=True,
    doc="The positions of the true elements, one row each.",
)


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """`x` where `condition`, else `y`; without both, the positions of the true elements.

    A vector condition beside matrices chooses rows, as in TensorFlow 1.x.
    """
    if (x is None) != (y is None):
        raise ShapeError("where needs both x and y, or neither")
    if x is None:
        out: Tensor = _indices(condition, name=name)
        return out
    if not isinstance(x, Operators):
        x = to_array(x, y._operand().dtype if isinstance(y, Operators) else None)
    kind = x._operand().dtype if isinstance(x, Operators) else x.dtype
    if not isinstance(y, Operators):
        y = to_array(y, kind)
    rank = len(x._operand().shape.dims or ()) if isinstance(x, Operators) else np.ndim(x)
    if isinstance(condition, Operators) and condition._operand().shape.rank == 1 and rank > 1:
        for axis in range(1, rank):
            condition = apply("expand_dims", condition, axis=axis)
    out = apply("where", condition, x, y, name=name)
    return out


def where_v2(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """`where` with NumPy's broadcasting: a vector condition goes along the last axis."""
    if x is None or y is None:
        return where(condition, x, y, name)
    left: Any = x if isinstance(x, Operators) else to_array(x, getattr(y, "dtype", None))
    right: Any = y if isinstance(y, Operators) else to_array(y, left.dtype)
    out: Tensor = apply("where", condition, left, right, name=name)
    return out


def select(condition: Any, t: Any, e: Any, name: str | None = None) -> Tensor:
    """`where` by its older name."""
    return where(condition, t, e, name)
