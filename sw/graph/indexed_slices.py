"""`IndexedSlices`: a tensor of which only some rows are given, the gradient of a lookup."""

from __future__ import annotations

from typing import Any, NamedTuple

from sw.graph.build import apply
from sw.graph.dtypes import int64, variant
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph
from sw.graph.of_values import OfValues
from sw.graph.shapes import Shape
from sw.graph.tensor import Operators, Tensor


class IndexedSlicesValue(NamedTuple):
    """What a session gives for an `IndexedSlices`: arrays."""

    values: Any
    indices: Any
    dense_shape: Any


class IndexedSlices(OfValues, Operators):
    """Row `indices[i]` of a tensor of `dense_shape` is the sum of all `values[j]` with that index;
    every other row is zero. `values`: [N, ...], `indices`: integers [N].

    Used where a tensor is needed it becomes dense, which needs `dense_shape`.
    """

    def __init__(self, values: Tensor, indices: Tensor, dense_shape: Any = None) -> None:
        self.values = values
        self.indices = indices
        self.dense_shape = dense_shape
        self._dense: dict[Graph, Tensor] = {}
        self._parts: list[Tensor] = []

    @property
    def shape(self) -> Shape:
        """What is known of the dense shape."""
        if self.dense_shape is not None and not isinstance(self.dense_shape, Operators):
            return Shape(tuple(int(s) for s in self.dense_shape))
        dims = self.values.shape.dims
        return Shape(None if dims is None else (None, *dims[1:]))

    def with_values(self, values: Tensor) -> IndexedSlices:
        """The same rows with other values."""
        return IndexedSlices(values, self.indices, self.dense_shape)

    def _operand(self) -> Tensor:
        graph = self.graph.building()
        if graph not in self._dense:
            if self.dense_shape is None:
                raise InvalidArgumentError(f"{self!r} has no dense_shape and cannot become dense")
            self._dense[graph] = graph.apply(
                "gather_grad", self.values, self.indices, self.dense_shape, axis=0
            )
        return self._dense[graph]

    def fetch_parts(self) -> list[Tensor]:
        """What a session computes for it."""
        if not self._parts:
            shape = () if self.dense_shape is None else (self.graph.convert(self.dense_shape),)
            self._parts = [self.values, self.indices, *shape]
        return self._parts

    @staticmethod
    def from_parts(values: Any, indices: Any, dense_shape: Any = None) -> IndexedSlicesValue:
        """The session's values of `fetch_parts` as one."""
        return IndexedSlicesValue(values, indices, dense_shape)

    def __repr__(self) -> str:
        return f"<st.IndexedSlices {self.name!r} shape={self.shape} dtype={self.dtype}>"


def add_up(parts: list[Any]) -> Any:
    """The sum of tensors and indexed slices: indexed slices if all are, else a tensor."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(p, IndexedSlices) for p in parts):
        indices = [p.indices for p in parts]
        if any(i.dtype is not indices[0].dtype for i in indices):  # int32 here, int64 there
            indices = [i if i.dtype is int64 else apply("cast", i, dtype=int64) for i in indices]
        return IndexedSlices(
            apply("concat", *(p.values for p in parts), axis=0),
            apply("concat", *indices, axis=0),
            parts[0].dense_shape,
        )
    if parts[0].dtype is variant:
        return apply("flow_merge", *parts)
    return apply("add_n", *parts)
