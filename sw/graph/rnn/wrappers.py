"""Cells with a layer before or behind: embeddings of inputs, projections of inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sw.graph.build import apply
from sw.graph.initializers import RandomUniform
from sw.graph.ops.embedding import embedding_lookup
from sw.graph.rnn.cells import RNNCell, linear
from sw.graph.variable_scope import get_variable, variable_scope


class _Around(RNNCell):
    """A cell around another, with variables of its own."""

    def __init__(self, cell: RNNCell, reuse: Any = None) -> None:
        super().__init__(reuse)
        self._cell = cell

    @property
    def state_size(self) -> Any:
        return self._cell.state_size

    @property
    def output_size(self) -> int:
        return self._cell.output_size

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        return self._cell.zero_state(batch_size, dtype)


class EmbeddingWrapper(_Around):
    """A cell whose inputs are ids [batch], looked up in a table that is learnt."""

    def __init__(
        self,
        cell: RNNCell,
        embedding_classes: int,
        embedding_size: int,
        initializer: Any = None,
        reuse: Any = None,
    ) -> None:
        super().__init__(cell, reuse)
        self._shape = (int(embedding_classes), int(embedding_size))
        self._start = initializer or RandomUniform(-(3**0.5), 3**0.5)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        table = get_variable("embedding", self._shape, initializer=self._start)
        flat = apply("reshape", inputs, [-1])
        return self._cell(embedding_lookup(table, flat), state)


class InputProjectionWrapper(_Around):
    """A cell whose inputs go through a linear layer of `num_proj` first."""

    def __init__(
        self,
        cell: RNNCell,
        num_proj: int,
        activation: Callable[[Any], Any] | None = None,
        reuse: Any = None,
    ) -> None:
        super().__init__(cell, reuse)
        self._size, self._activation = int(num_proj), activation

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        with variable_scope("projection"):
            projected: Any = linear([inputs], self._size)
        return self._cell(self._activation(projected) if self._activation else projected, state)


class OutputProjectionWrapper(_Around):
    """A cell whose outputs go through a linear layer of `output_size`."""

    def __init__(
        self,
        cell: RNNCell,
        output_size: int,
        activation: Callable[[Any], Any] | None = None,
        reuse: Any = None,
    ) -> None:
        super().__init__(cell, reuse)
        self._size, self._activation = int(output_size), activation

    @property
    def output_size(self) -> int:
        return self._size

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        output, new = self._cell(inputs, state)
        with variable_scope("projection"):
            projected: Any = linear([output], self._size)
        return (self._activation(projected) if self._activation else projected), new
