"""`SparseTensor`: a tensor given by the coordinates and values of its nonzero elements."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sw.graph.build import constant_shape, constant_value, graph_of
from sw.graph.dtypes import as_dtype, int64
from sw.graph.errors import DTypeError, InvalidArgumentError
from sw.graph.graph import Graph
from sw.graph.of_values import OfValues
from sw.graph.ops.basic import placeholder
from sw.graph.ops.helpers import require_rank
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor


class SparseTensorValue(NamedTuple):
    """What a session gives for a `SparseTensor`, and what can be fed for one: arrays."""

    indices: Any
    values: Any
    dense_shape: Any

    @property
    def shape(self) -> Any:
        """`dense_shape` under its name of 2015."""
        return self.dense_shape


class SparseTensor(OfValues):
    """The tensor of shape `dense_shape` [rank] with `values[i]` at `indices[i]` and zeros (or
    nothing) elsewhere. `indices`: int64 [N, rank], in the order of the rows as most ops need it;
    `values`: [N].
    """

    def __init__(
        self, indices: Any, values: Any, dense_shape: Any = None, shape: Any = None
    ) -> None:
        sizes = shape if dense_shape is None else dense_shape
        if sizes is None:
            raise InvalidArgumentError("a SparseTensor needs its dense_shape")
        graph = graph_of((indices, values, sizes))
        self.indices = _whole(graph, indices, "indices")
        self.values = graph.convert(values)
        self.dense_shape = _whole(graph, sizes, "dense_shape")
        require_rank(self.indices, 2, "the indices [N, rank]")
        require_rank(self.values, 1, "the values [N]")
        require_rank(self.dense_shape, 1, "dense_shape")
        self.indices.shape[:1].merge(self.values.shape)
        self.indices.shape[1:].merge(self.dense_shape.shape)

    @classmethod
    def from_value(cls, value: Any) -> SparseTensor:
        """A `SparseTensor` itself, or one of the constants of a `SparseTensorValue`."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, tuple) or len(value) != 3:
            raise DTypeError(f"a SparseTensor is needed, not {type(value).__name__}")
        return cls(*value)

    @property
    def shape(self) -> Tensor:
        """`dense_shape` under its name of 2015."""
        return self.dense_shape

    def get_shape(self) -> Shape:
        """What is known of the shape."""
        return constant_shape(self.dense_shape)

    @property
    def rank(self) -> int:
        """The number of axes; raises `InvalidArgumentError` when it is not known."""
        size = self.dense_shape.shape.dims
        second = self.indices.shape.dims
        known = size[0] if size else None
        known = second[1] if known is None and second else known
        if known is None:
            raise InvalidArgumentError(f"the rank of sparse tensor {self.name!r} is not known")
        return known

    def with_values(self, values: Any) -> SparseTensor:
        """Other values at the same places."""
        return SparseTensor(self.indices, values, self.dense_shape)

    def static_shape(self) -> tuple[int, ...]:
        """The sizes; raises `InvalidArgumentError` when they are not constant."""
        value = constant_value(self.dense_shape)
        if value is None:
            raise InvalidArgumentError(f"the shape of {self.name!r} is not constant")
        return tuple(int(v) for v in value)

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        """Its `SparseTensorValue`, computed by `session` or the default session."""
        return self.graph.session_for(session).run(self, feed_dict)

    def fetch_parts(self) -> list[Tensor]:
        """What a session computes for it, and is fed for it."""
        return [self.indices, self.values, self.dense_shape]

    @staticmethod
    def from_parts(indices: Any, values: Any, dense_shape: Any) -> SparseTensorValue:
        """The session's values of `fetch_parts` as one."""
        return SparseTensorValue(indices, values, dense_shape)

    def __repr__(self) -> str:
        return f"<st.SparseTensor {self.name!r} shape={self.get_shape()} dtype={self.dtype}>"


def _whole(graph: Graph, value: Any, what: str) -> Tensor:
    tensor = graph.convert(
        value if hasattr(value, "_operand") or _mixed(value) else np.asarray(value, np.int64)
    )
    if not tensor.dtype.is_integer:
        raise DTypeError(f"{what} are integers, not {tensor.dtype}")
    if tensor.dtype is int64:
        return tensor
    out: Tensor = graph.apply("cast", tensor, dtype=int64)
    return out


def _mixed(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any(
        hasattr(v, "_operand") or _mixed(v) for v in value
    )


def sparse_placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> SparseTensor:
    """A `SparseTensor` that every run must feed, with a `SparseTensorValue` or a triple."""
    rank = None if shape is None else len(Shape(shape))
    title = name or "SparsePlaceholder"
    kind = as_dtype(dtype)
    return SparseTensor(
        placeholder(int64, [None, rank], f"{title}/indices"),
        placeholder(kind, [None], f"{title}/values"),
        placeholder(int64, [rank], f"{title}/shape")
        if shape is None or not Shape(shape).known
        else np.asarray(Shape(shape).sizes(), np.int64),
    )
