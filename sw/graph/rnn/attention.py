"""Attention: a decoder's cell that looks back at the encoder's outputs.

Additive: Bahdanau, Cho and Bengio, ICLR 2015. Multiplicative: Luong, Pham and Manning, EMNLP 2015.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.errors import ShapeError
from sw.graph.ops.creation import zeros
from sw.graph.ops.nn import softmax
from sw.graph.ops.rearranging import sequence_mask
from sw.graph.rnn.cells import RNNCell
from sw.graph.tensor import Tensor
from sw.graph.variable_scope import AUTO_REUSE, get_variable, variable_scope


class AttentionMechanism:
    """What both kinds share: the memory [batch, time, depth] and its keys [batch, time, units].

    Positions past `memory_sequence_length` [batch] get no attention. A mechanism is a function of
    a query [batch, size] to weights [batch, time] that sum to 1.
    """

    def __init__(
        self,
        num_units: int,
        memory: Any,
        memory_sequence_length: Any,
        probability_fn: Callable[[Any], Any] | None,
        name: str,
    ) -> None:
        self._units, self._probability = int(num_units), probability_fn or softmax
        graph = graph_of((memory,))
        self.values: Tensor = graph.convert(memory)
        if self.values.shape.rank != 3 or self.values.shape[2] is None:
            raise ShapeError(f"the memory is [batch, time, depth], not {self.values!r}")
        self._mask: Any = None
        if memory_sequence_length is not None:
            longest = apply("shape", self.values)[1]
            self._mask = sequence_mask(memory_sequence_length, longest)
            flags = apply("cast", self._mask, dtype=self.values.dtype)
            self.values = self.values * apply("expand_dims", flags, axis=2)
        with variable_scope(name) as scope:
            self._scope = scope
            kernel = get_variable(
                "memory_kernel", [self.values.shape[2], self._units], self.values.dtype
            )
            self.keys: Tensor = apply("matmul", self.values, kernel)

    @property
    def depth(self) -> int:
        """Size of what attention gives."""
        size: int = self.values.shape[2]
        return size

    def score(self, query: Tensor) -> Tensor:
        """How well each position answers the query [batch, time]."""
        raise NotImplementedError

    def __call__(self, query: Any, previous_alignments: Any = None) -> Tensor:
        with variable_scope(self._scope, reuse=AUTO_REUSE):
            score = self.score(query)
        if self._mask is not None:
            low = np.asarray(-1e9 if score.dtype.size > 2 else -6e4, score.dtype.numpy)
            score = apply("where", self._mask, score, apply("zeros_like", score) + low)
        out: Tensor = self._probability(score)
        return out


class LuongAttention(AttentionMechanism):
    """Score: the product of query and key; the query has `num_units` elements. `scale`: times a
    number that is learnt."""

    def __init__(
        self,
        num_units: int,
        memory: Any,
        memory_sequence_length: Any = None,
        scale: bool = False,
        probability_fn: Callable[[Any], Any] | None = None,
        name: str = "luong_attention",
    ) -> None:
        super().__init__(num_units, memory, memory_sequence_length, probability_fn, name)
        self._scale = scale

    def score(self, query: Tensor) -> Tensor:
        if query.shape[-1] != self._units:
            raise ShapeError(f"a query of {self._units} elements is needed, not {query!r}")
        product = apply("matmul", self.keys, apply("expand_dims", query, axis=2))
        flat: Tensor = apply("squeeze", product, axis=(2,))
        if not self._scale:
            return flat
        factor = get_variable("query_scale", [], query.dtype, np.ones((), query.dtype.numpy))
        return flat * factor


class BahdanauAttention(AttentionMechanism):
    """Score: `v . tanh(W query + key)`; `normalize` gives v a length that is learnt, and a bias
    (Salimans and Kingma, NIPS 2016)."""

    def __init__(
        self,
        num_units: int,
        memory: Any,
        memory_sequence_length: Any = None,
        normalize: bool = False,
        probability_fn: Callable[[Any], Any] | None = None,
        name: str = "bahdanau_attention",
    ) -> None:
        super().__init__(num_units, memory, memory_sequence_length, probability_fn, name)
        self._normalize = normalize

    def score(self, query: Tensor) -> Tensor:
        n, kind = self._units, query.dtype
        kernel = get_variable("query_kernel", [query.shape[-1], n], kind)
        processed = apply("expand_dims", apply("matmul", query, kernel), axis=1)
        v: Any = get_variable("attention_v", [n], kind)
        total = self.keys + processed
        if self._normalize:
            start = np.asarray(np.sqrt(1 / n), kind.numpy)
            length = get_variable("attention_g", [], kind, start)
            bias = get_variable("attention_b", [n], kind, np.zeros(n, kind.numpy))
            norm = apply("rsqrt", apply("reduce_sum", apply("square", v)))
            v, total = v * norm * length, total + bias
        out: Tensor = apply("reduce_sum", v * apply("tanh", total), axis=(2,), keepdims=False)
        return out


class AttentionWrapperState(NamedTuple):
    """The wrapped cell's state, the last attention, the step, the last weights [batch, time]."""

    cell_state: Any
    attention: Any
    time: Any
    alignments: Any

    def clone(self, **changes: Any) -> AttentionWrapperState:
        """The same with other parts."""
        return self._replace(**changes)


class AttentionWrapper(RNNCell):
    """A cell that sees its inputs and the last attention, and whose output asks for the next.

    With `attention_layer_size` the attention is a linear layer of [output, context], else the
    context. With `output_attention` the cell's output is the attention (Luong), else the inner
    cell's output (Bahdanau).
    """

    def __init__(
        self,
        cell: RNNCell,
        attention_mechanism: AttentionMechanism,
        attention_layer_size: int | None = None,
        cell_input_fn: Callable[[Any, Any], Any] | None = None,
        output_attention: bool = True,
        initial_cell_state: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__()
        self._cell, self._mechanism = cell, attention_mechanism
        self._layer, self._outputs = attention_layer_size, output_attention
        self._join = cell_input_fn or (lambda x, a: apply("concat", x, a, axis=-1))
        self._initial = initial_cell_state

    @property
    def _attention_size(self) -> int:
        return self._layer or self._mechanism.depth

    @property
    def output_size(self) -> int:
        return self._attention_size if self._outputs else self._cell.output_size

    @property
    def state_size(self) -> Any:
        times = self._mechanism.values.shape[1]
        return AttentionWrapperState(self._cell.state_size, self._attention_size, (), times)

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        inner = self._initial
        if inner is None:
            inner = self._cell.zero_state(batch_size, dtype)
        memory = self._mechanism.keys
        weights = apply("zeros_like", apply("reduce_sum", memory, axis=(2,), keepdims=False))
        return AttentionWrapperState(
            inner,
            zeros([batch_size, self._attention_size], dtype),
            graph_of((memory,)).convert(np.int32(0)),
            weights,
        )

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        output, inner = self._cell(self._join(inputs, state.attention), state.cell_state)
        weights = self._mechanism(output, state.alignments)
        row = apply("expand_dims", weights, axis=1)
        context = apply("squeeze", apply("matmul", row, self._mechanism.values), axis=(1,))
        attention = context
        if self._layer is not None:
            joined = apply("concat", output, context, axis=1)
            kernel = get_variable("attention_kernel", [joined.shape[1], self._layer], joined.dtype)
            attention = apply("matmul", joined, kernel)
        weights.set_shape(state.alignments.shape)
        new = AttentionWrapperState(inner, attention, state.time + 1, weights)
        return (attention if self._outputs else output), new


def tile_batch(structure: Any, multiplier: int) -> Any:
    """Each row of each tensor `multiplier` times, one after the other: memory and states for a
    beam search."""
    from_ = structure
    if isinstance(from_, tuple) and hasattr(from_, "_fields"):
        return type(from_)(*(tile_batch(v, multiplier) for v in from_))
    if isinstance(from_, (list, tuple)):
        return type(from_)(tile_batch(v, multiplier) for v in from_)
    tensor = graph_of((from_,)).convert(from_)
    if tensor.shape.rank == 0:
        return tensor
    spread = apply("expand_dims", tensor, axis=1)
    rank = tensor.shape.rank or 1
    many = apply("tile", spread, multiples=(1, multiplier, *[1] * (rank - 1)))
    dims = tensor.shape.as_list()
    rest = [-1 if d is None else d for d in dims[1:]]
    if -1 not in rest:
        sizes: Any = np.asarray([-1, *rest], np.int32)
    else:
        sizes = apply("concat", [-1], apply("shape", tensor)[1:], axis=0)
    out: Tensor = apply("reshape", many, sizes)
    out.set_shape([None if dims[0] is None else dims[0] * multiplier, *dims[1:]])
    return out
