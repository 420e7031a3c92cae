"""Assertions about tensors: those that can be decided while the graph is built are, the others are
ops that fail when they run; and the predicates behind them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from sw.graph.build import apply, constant_value, graph_of
from sw.graph.dtypes import DType, as_dtype
from sw.graph.errors import DTypeError, InvalidArgumentError, ShapeError
from sw.graph.operation import Operation
from sw.graph.ops.basic import no_op
from sw.graph.ops.checks import assert_, check_numerics
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor


def _compare(name_: str, op: str, words: str) -> Any:
    def function(
        x: Any,
        y: Any,
        data: Any = None,
        summarize: int | None = None,
        message: str | None = None,
        name: str | None = None,
    ) -> Operation:
        graph = graph_of((x, y))
        with graph.name_scope(name or name_):
            left = graph.convert(x)
            right = graph.convert(y, left.dtype)
            a, b = constant_value(left), constant_value(right)
            text = f"{message or ''} {left.name} {words} {right.name} is not true".strip()
            if a is not None and b is not None and not np.all(_NUMPY[op](a, b)):
                raise InvalidArgumentError(f"{text}: {a} and {b} ({left.op.source})")
            shown = [left, right] if data is None else list(data)
            holds = apply("reduce_all", apply(op, left, right), axis=None, keepdims=False)
            return assert_(holds, shown, summarize)

    function.__name__ = function.__qualname__ = name_
    function.__doc__ = (
        f"An operation that fails unless x {words} y everywhere; constants that are not raise "
        "`InvalidArgumentError` at once."
    )
    return function


_NUMPY: dict[str, Any] = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
}
assert_equal = _compare("assert_equal", "equal", "is equal to")
assert_none_equal = _compare("assert_none_equal", "not_equal", "differs everywhere from")
assert_less = _compare("assert_less", "less", "is less than")
assert_less_equal = _compare("assert_less_equal", "less_equal", "is at most")
assert_greater = _compare("assert_greater", "greater", "is greater than")
assert_greater_equal = _compare("assert_greater_equal", "greater_equal", "is at least")


def assert_near(
    x: Any,
    y: Any,
    rtol: Any = None,
    atol: Any = None,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that fails unless |x - y| <= atol + rtol |y| everywhere; both tolerances are by
    default ten times the distance of 1 to the next number of the dtype."""
    graph = graph_of((x, y))
    with graph.name_scope(name or "assert_near"):
        left = graph.convert(x)
        right = graph.convert(y, left.dtype)
        fine = 10 * float(ml_dtypes.finfo(left.dtype.real_dtype.numpy).eps)
        kind = left.dtype.real_dtype
        relative, absolute = (graph.convert(fine if t is None else t, kind) for t in (rtol, atol))
        shown = [left, right] if data is None else data
        distance, limit = apply("abs", left - right), absolute + relative * apply("abs", right)
        near = apply("less_equal", distance, limit)
        holds = apply("reduce_all", near, axis=None, keepdims=False)
        return assert_(holds, list(shown), summarize)


def _against_zero(name_: str, compare: Any, words: str) -> Any:
    def function(
        x: Any,
        data: Any = None,
        summarize: int | None = None,
        message: str | None = None,
        name: str | None = None,
    ) -> Operation:
        tensor = graph_of((x,)).convert(x)
        zero = np.zeros((), tensor.dtype.numpy)
        done: Operation = compare(tensor, zero, data, summarize, message, name or name_)
        return done

    function.__name__ = function.__qualname__ = name_
    function.__doc__ = f"An operation that fails unless x is {words} everywhere."
    return function


assert_negative = _against_zero("assert_negative", assert_less, "below 0")
assert_positive = _against_zero("assert_positive", assert_greater, "above 0")
assert_non_negative = _against_zero("assert_non_negative", assert_greater_equal, "at least 0")
assert_non_positive = _against_zero("assert_non_positive", assert_less_equal, "at most 0")


def _rank(x: Any, rank: int, at_least: bool, message: str | None, name: str | None) -> Operation:
    graph = graph_of((x,))
    tensor = graph.convert(x)
    words = f"rank {'at least ' if at_least else ''}{rank}"
    have = tensor.shape.rank
    if have is not None:
        if have < rank if at_least else have != rank:
            raise ShapeError(
                f"{message or ''} {tensor.name!r} ({tensor.op.source}) must have {words}, it has "
                f"shape {tensor.shape}".strip()
            )
        return no_op(name)
    op = "greater_equal" if at_least else "equal"
    measured = apply("size", apply("shape", tensor))
    return assert_(apply(op, measured, np.int32(rank)), [measured], name=name)


def assert_rank(
    x: Any,
    rank: int,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that fails unless `x` has `rank` axes; raises `ShapeError` at once when the
    static shape says so."""
    return _rank(x, int(rank), False, message, name)


def assert_rank_at_least(
    x: Any,
    rank: int,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """`assert_rank` for `rank` or more axes."""
    return _rank(x, int(rank), True, message, name)


def assert_rank_in(
    x: Any,
    ranks: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """`assert_rank` for any of several `ranks`."""
    graph = graph_of((x,))
    tensor, wanted = graph.convert(x), [int(r) for r in ranks]
    have = tensor.shape.rank
    if have is not None:
        if have not in wanted:
            raise ShapeError(
                f"{message or ''} {tensor.name!r} ({tensor.op.source}) must have a rank among "
                f"{wanted}, it has shape {tensor.shape}".strip()
            )
        return no_op(name)
    measured = apply("size", apply("shape", tensor))
    hit = apply("equal", measured, np.asarray(wanted, np.int32))
    fine = apply("reduce_any", hit, axis=None, keepdims=False)
    return assert_(fine, [measured], summarize, name)


def assert_same_float_dtype(tensors: Any = None, dtype: Any = None) -> DType:
    """The common dtype of `tensors`, and `dtype` if it is given (float32 without either). Raises
    `DTypeError` when they differ or are no floating-point numbers."""
    want = None if dtype is None else as_dtype(dtype)
    for tensor in tensors or ():
        kind = graph_of((tensor,)).convert(tensor).dtype
        if want is not None and kind is not want:
            raise DTypeError(f"{tensor!r} is {kind}, not {want}")
        want = kind
    found = as_dtype("float32") if want is None else want
    if not found.is_floating:
        raise DTypeError(f"floating-point numbers are needed, not {found}")
    return found


def assert_type(
    tensor: Any, tf_type: Any, message: str | None = None, name: str | None = None
) -> Operation:
    """Raises `DTypeError` unless `tensor` is of that type; the operation does nothing."""
    x, want = graph_of((tensor,)).convert(tensor), as_dtype(tf_type)
    if x.dtype is not want:
        raise DTypeError(
            f"{message or ''} {x.name!r} ({x.op.source}) must be {want}, it is {x.dtype}".strip()
        )
    return no_op(name)


def assert_integer(x: Any, message: str | None = None, name: str | None = None) -> Operation:
    """Raises `DTypeError` unless `x` holds integers; the operation does nothing."""
    tensor = graph_of((x,)).convert(x)
    if not tensor.dtype.is_integer:
        raise DTypeError(
            f"{message or ''} {tensor.name!r} ({tensor.op.source}) must hold integers, it is "
            f"{tensor.dtype}".strip()
        )
    return no_op(name)


def assert_proper_iterable(values: Any) -> None:
    """Raises `DTypeError` for a tensor, an array or a string, which are no lists of values."""
    if isinstance(values, (Tensor, np.ndarray, bytes, str)) or not hasattr(values, "__iter__"):
        raise DTypeError(f"a list or tuple is needed, not {type(values).__name__}")


def is_numeric_tensor(tensor: Any) -> bool:
    """Whether `tensor` is a tensor of numbers."""
    kind: DType | None = getattr(tensor, "dtype", None) if isinstance(tensor, Tensor) else None
    return kind is not None and (kind.differentiable or kind.is_integer)


def _steps(x: Any, op: str, name: str) -> Tensor:
    graph = graph_of((x,))
    with graph.name_scope(name):
        flat = apply("reshape", x, np.asarray([-1], np.int32))
        rises = apply(op, flat[1:], flat[:-1])
        out: Tensor = apply("reduce_all", rises, axis=None, keepdims=False)
        return out


def is_non_decreasing(x: Any, name: str | None = None) -> Tensor:
    """Whether each element of the flattened `x` is at least the one before."""
    return _steps(x, "greater_equal", name or "is_non_decreasing")


def is_strictly_increasing(x: Any, name: str | None = None) -> Tensor:
    """Whether each element of the flattened `x` is more than the one before."""
    return _steps(x, "greater", name or "is_strictly_increasing")


def verify_tensor_all_finite(t: Any, msg: str, name: str | None = None) -> Tensor:
    """`t`; fails with `msg` if it holds NaN or Inf."""
    return check_numerics(t, msg, name)


def assert_scalar(tensor: Any, name: str | None = None) -> Tensor:
    """`tensor`; raises `ShapeError` if it is statically no scalar."""
    x = graph_of((tensor,)).convert(tensor)
    x.shape.merge(Shape(()))
    return x
