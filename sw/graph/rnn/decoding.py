"""Decoders: a cell fed with the truth (training) or with what it said itself (inference), until
every row is finished."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.control_flow import while_loop
from sw.graph.dtypes import int32
from sw.graph.nest import flatten, map_structure, pack
from sw.graph.ops.distributions import multinomial
from sw.graph.ops.embedding import embedding_lookup
from sw.graph.rnn.cells import RNNCell
from sw.graph.rnn.unrolling import choose_rows
from sw.graph.tensor import Tensor
from sw.graph.tensor_array import TensorArray
from sw.graph.variable_scope import variable_scope


class BasicDecoderOutput(NamedTuple):
    """What a step says: the output (logits), and the id that was chosen."""

    rnn_output: Any
    sample_id: Any


class Helper:
    """Where a decoder's inputs come from.

    `initialize() -> (finished, first inputs)`, `sample(time, outputs, state) -> ids`,
    `next_inputs(time, outputs, state, sample_ids) -> (finished, next inputs, state)`.
    """

    batch_size: Any

    def initialize(self) -> tuple[Tensor, Any]:
        """Before the first step."""
        raise NotImplementedError

    def sample(self, time: Any, outputs: Tensor, state: Any) -> Tensor:
        """The id of the largest output."""
        ids = apply("argmax", outputs, axis=-1)
        out: Tensor = apply("cast", ids, dtype=int32)
        return out

    def next_inputs(self, time: Any, outputs: Any, state: Any, sample_ids: Any) -> Any:
        """After a step."""
        raise NotImplementedError


class TrainingHelper(Helper):
    """The true inputs [batch, time, ...], `sequence_length` [batch] of them."""

    def __init__(self, inputs: Any, sequence_length: Any, time_major: bool = False) -> None:
        graph = graph_of((inputs,))
        x = graph.convert(inputs)
        swap = (1, 0, *range(2, x.shape.rank or 3))
        x = x if time_major else apply("transpose", x, perm=swap)
        self._rows = TensorArray(x.dtype, apply("shape", x)[0]).unstack(x)
        self._shape, self._x = x.shape[1:], x
        self._lengths = graph.convert(sequence_length, int32)
        self.batch_size = x.shape[1] if x.shape[1] is not None else apply("shape", x)[1]

    def initialize(self) -> tuple[Tensor, Any]:
        return apply("less_equal", self._lengths, np.int32(0)), self._x[0]

    def next_inputs(self, time: Any, outputs: Any, state: Any, sample_ids: Any) -> Any:
        after = time + 1
        finished = apply("greater_equal", after, self._lengths)
        last = apply("minimum", after, apply("reduce_max", self._lengths) - 1)
        inputs = self._rows.read(last)
        inputs.set_shape(self._shape)
        return finished, inputs, state


class GreedyEmbeddingHelper(Helper):
    """What was said, looked up in `embedding` (a table or a function), from `start_tokens` [batch]
    until `end_token`."""

    def __init__(self, embedding: Any, start_tokens: Any, end_token: int) -> None:
        self._look: Callable[[Any], Any] = (
            embedding if callable(embedding) else lambda ids: embedding_lookup(embedding, ids)
        )
        self._start = graph_of((start_tokens,)).convert(start_tokens, int32)
        self._end = np.int32(end_token)
        size = self._start.shape[0]
        self.batch_size = size if size is not None else apply("shape", self._start)[0]

    def initialize(self) -> tuple[Tensor, Any]:
        return apply("less", self._start, apply("zeros_like", self._start)), self._look(self._start)

    def next_inputs(self, time: Any, outputs: Any, state: Any, sample_ids: Any) -> Any:
        return apply("equal", sample_ids, self._end), self._look(sample_ids), state


class SampleEmbeddingHelper(GreedyEmbeddingHelper):
    """`GreedyEmbeddingHelper` that draws an id by the softmax instead of taking the best."""

    def __init__(
        self, embedding: Any, start_tokens: Any, end_token: int, seed: int | None = None
    ) -> None:
        super().__init__(embedding, start_tokens, end_token)
        self._seed = seed

    def sample(self, time: Any, outputs: Tensor, state: Any) -> Tensor:
        drawn = multinomial(outputs, 1, self._seed)
        out: Tensor = apply("cast", apply("squeeze", drawn, axis=(1,)), dtype=int32)
        return out


class Decoder:
    """One step at a time: `initialize()` and `step(time, inputs, state)`; `finalize` at the end."""

    @property
    def batch_size(self) -> Any:
        """Rows."""
        raise NotImplementedError

    def initialize(self) -> tuple[Any, Any, Any]:
        """(finished, first inputs, first state)."""
        raise NotImplementedError

    def step(self, time: Any, inputs: Any, state: Any) -> tuple[Any, Any, Any, Any]:
        """(outputs, state, next inputs, finished)."""
        raise NotImplementedError

    def finalize(self, outputs: Any, state: Any, lengths: Any) -> tuple[Any, Any]:
        """(outputs, state) as the caller gets them."""
        return outputs, state

    tracks_own_finished = False


class BasicDecoder(Decoder):
    """A cell with a helper and, if given, an output layer; its outputs are
    `BasicDecoderOutput`s."""

    def __init__(
        self,
        cell: RNNCell,
        helper: Helper,
        initial_state: Any,
        output_layer: Callable[[Any], Any] | None = None,
    ) -> None:
        self._cell, self._helper, self._state = cell, helper, initial_state
        self._layer = output_layer

    @property
    def batch_size(self) -> Any:
        return self._helper.batch_size

    def initialize(self) -> tuple[Any, Any, Any]:
        finished, inputs = self._helper.initialize()
        return finished, inputs, self._state

    def step(self, time: Any, inputs: Any, state: Any) -> tuple[Any, Any, Any, Any]:
        outputs, new = self._cell(inputs, state)
        if self._layer is not None:
            outputs = self._layer(outputs)
        ids = self._helper.sample(time, outputs, new)
        finished, following, new = self._helper.next_inputs(time, outputs, new, ids)
        return BasicDecoderOutput(outputs, ids), new, following, finished


def _template(decoder: Decoder, inputs: Any, state: Any) -> Any:
    """Zeros of what one step gives: run once outside the loop, where it also makes the
    variables."""
    outputs, *_ = decoder.step(np.int32(0), inputs, state)
    return map_structure(lambda t: apply("zeros_like", t), outputs)


def dynamic_decode(
    decoder: Decoder,
    output_time_major: bool = False,
    impute_finished: bool = False,
    maximum_iterations: Any = None,
    parallel_iterations: int = 32,
    swap_memory: bool = False,
    scope: Any = None,
) -> tuple[Any, Any, Tensor]:
    """(outputs [batch, time, ...], last state, lengths [batch]) of a decoder run until all rows
    are finished, at most `maximum_iterations` steps. `impute_finished`: a finished row's outputs
    are zero and its state stays."""
    with variable_scope(scope or "decoder"):
        finished, inputs, state = decoder.initialize()
        graph = graph_of(flatten(inputs))
        state = map_structure(graph.convert, state)
        zero = _template(decoder, inputs, state)
        arrays = map_structure(
            lambda t: TensorArray(t.dtype, 0, dynamic_size=True, element_shape=t.shape), zero
        )
        lengths = apply("cast", apply("zeros_like", finished), dtype=int32)
        limit = None if maximum_iterations is None else graph.convert(maximum_iterations, int32)

        def running(time: Any, done: Any, *rest: Any) -> Any:
            going = apply("logical_not", apply("reduce_all", done, axis=None, keepdims=False))
            return going if limit is None else apply("logical_and", going, time < limit)

        def turn(time: Any, done: Any, given: Any, now: Any, out: Any, counted: Any) -> Any:
            said, new, following, ended = decoder.step(time, given, now)
            alive = apply("logical_not", done)
            now_done = ended if decoder.tracks_own_finished else apply("logical_or", ended, done)
            for a, b in zip(flatten(new), flatten(now), strict=True):
                a.set_shape(b.shape)
            if impute_finished:
                blank = map_structure(lambda t: apply("zeros_like", t), said)
                said, new = choose_rows(alive, said, blank), choose_rows(alive, new, now)
            steps = apply("where", alive, apply("zeros_like", counted) + time + 1, counted)
            writes = [a.write(time, t) for a, t in zip(flatten(out), flatten(said), strict=True)]
            for a, b in zip(flatten(following), flatten(given), strict=True):
                a.set_shape(b.shape)
            return (
                time + 1,
                now_done,
                pack(given, flatten(following)),
                pack(now, flatten(new)),
                pack(out, writes),
                steps,
            )

        start = [graph.convert(np.int32(0)), finished, inputs, state, arrays, lengths]
        _, _, _, last, written, counts = while_loop(running, turn, start)
        outputs = map_structure(lambda a: a.stack(), written)
        outputs, last = decoder.finalize(outputs, last, counts)
        if not output_time_major:
            outputs = map_structure(
                lambda t: apply("transpose", t, perm=(1, 0, *range(2, t.shape.rank))), outputs
            )
        return outputs, last, counts
