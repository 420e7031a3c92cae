"""`Tensor`: one output of an operation, with Python's operators.

An operator only asks the tensor's graph for the op of that name, so that this file knows no op.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sw.graph.dtypes import DType, as_dtype
from sw.graph.errors import InvalidArgumentError
from sw.graph.shapes import Shape

if TYPE_CHECKING:
    from sw.graph.graph import Graph
    from sw.graph.operation import Operation


class Operators:
    """Python's operators over anything that `_operand()` turns into a tensor."""

    __slots__ = ()
    __array_priority__ = 100  # NumPy leaves `array * tensor` to us
    __array_ufunc__ = None

    def _operand(self) -> Tensor:
        raise NotImplementedError

    def _apply(self, op: str, *inputs: Any, **attrs: Any) -> Any:
        return self._operand().op.graph.building().apply(op, *inputs, **attrs)

    def __add__(self, other: Any) -> Tensor:
        return self._apply("add", self, other)

    def __radd__(self, other: Any) -> Tensor:
        return self._apply("add", other, self)

    def __sub__(self, other: Any) -> Tensor:
        return self._apply("sub", self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return self._apply("sub", other, self)

    def __mul__(self, other: Any) -> Tensor:
        return self._apply("mul", self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return self._apply("mul", other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return self._apply("div", self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return self._apply("div", other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return self._apply("floordiv", self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return self._apply("floordiv", other, self)

    def __mod__(self, other: Any) -> Tensor:
        return self._apply("mod", self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return self._apply("mod", other, self)

    def __pow__(self, other: Any) -> Tensor:
        return self._apply("pow", self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return self._apply("pow", other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return self._apply("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return self._apply("matmul", other, self)

    def __neg__(self) -> Tensor:
        return self._apply("neg", self)

    def __abs__(self) -> Tensor:
        return self._apply("abs", self)

    def __invert__(self) -> Tensor:
        return self._apply("logical_not", self)

    def __and__(self, other: Any) -> Tensor:
        return self._apply("logical_and", self, other)

    def __rand__(self, other: Any) -> Tensor:
        return self._apply("logical_and", other, self)

    def __or__(self, other: Any) -> Tensor:
        return self._apply("logical_or", self, other)

    def __ror__(self, other: Any) -> Tensor:
        return self._apply("logical_or", other, self)

    def __xor__(self, other: Any) -> Tensor:
        return self._apply("logical_xor", self, other)

    def __lt__(self, other: Any) -> Tensor:
        return self._apply("less", self, other)

    def __le__(self, other: Any) -> Tensor:
        return self._apply("less_equal", self, other)

    def __gt__(self, other: Any) -> Tensor:
        return self._apply("greater", self, other)

    def __ge__(self, other: Any) -> Tensor:
        return self._apply("greater_equal", self, other)

    def __getitem__(self, key: Any) -> Tensor:
        keys = key if isinstance(key, tuple) else (key,)
        if any(isinstance(k, Operators) for k in keys):
            if len(keys) != 1:
                raise InvalidArgumentError(
                    "an index that is a tensor stands alone (t[i]); use st.gather or st.slice"
                )
            return self._apply("gather", self, key, axis=0)
        return self._apply("strided_slice", self, spec=tuple(_static_index(k) for k in keys))

    def __bool__(self) -> bool:
        raise InvalidArgumentError(
            f"{self!r} has no truth value while the graph is being built; "
            "run it in a Session, or use st.where"
        )

    def __iter__(self) -> Any:
        raise InvalidArgumentError(f"{self!r} cannot be iterated over; use st.unstack or st.split")


def _static_index(key: Any) -> Any:
    """An index as hashable data: int, None (new axis), "..." or a (start, stop, step) triple."""
    if isinstance(key, slice):
        return tuple(None if v is None else v.__index__() for v in (key.start, key.stop, key.step))
    if key is Ellipsis:
        return "..."
    if key is None:
        return None
    if isinstance(key, bool) or not hasattr(key, "__index__"):
        raise InvalidArgumentError(f"{key!r} is not an index: use ints, slices, ... or None")
    return key.__index__()


class Tensor(Operators):
    """Output `index` of `op`: a `dtype` and a static `shape`, no value."""

    __slots__ = ("dtype", "index", "op", "shape")

    def __init__(self, op: Operation, index: int, dtype: DType, shape: Shape) -> None:
        self.op = op
        self.index = index
        self.dtype = as_dtype(dtype)
        self.shape = shape

    def _operand(self) -> Tensor:
        return self

    @property
    def name(self) -> str:
        """`op_name:index`."""
        return f"{self.op.name}:{self.index}"

    @property
    def graph(self) -> Graph:
        """The graph that the op belongs to."""
        return self.op.graph

    @property
    def device(self) -> str:
        """The device asked for, possibly partial or empty."""
        return self.op.device

    def get_shape(self) -> Shape:
        """Same as `shape` (TensorFlow's spelling)."""
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """Tell what is known of the shape; raises `ShapeError` when it contradicts."""
        self.shape = self.shape.merge(shape)

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        """The value, computed by `session` or the default session."""
        return self.op.graph.session_for(session).run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<st.Tensor {self.name!r} shape={self.shape} dtype={self.dtype}>"
