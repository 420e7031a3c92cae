"""What stands for a tensor by its `values` and where they belong."""

from __future__ import annotations

from sw.graph.dtypes import DType
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor


class OfValues:
    """The properties that are those of `values`."""

    values: Tensor

    @property
    def dtype(self) -> DType:
        """Element type of the values."""
        return self.values.dtype

    @property
    def graph(self) -> Graph:
        """The graph of the values."""
        return self.values.op.graph

    @property
    def op(self) -> Operation:
        """The operation that makes the values."""
        return self.values.op

    @property
    def name(self) -> str:
        """The name of the values."""
        return self.values.name

    @property
    def device(self) -> str:
        """The device asked for."""
        return self.values.op.device
