"""Beam search over what a cell says (Sutskever, Vinyals and Le, NIPS 2014)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.dtypes import int32
from sw.graph.nest import map_structure
from sw.graph.ops.embedding import embedding_lookup
from sw.graph.registry import NOT_DIFFERENTIABLE, TensorType
from sw.graph.rnn.cells import RNNCell
from sw.graph.rnn.decoding import Decoder
from sw.graph.tensor import Tensor


class BeamSearchDecoderState(NamedTuple):
    """The cell's state [batch * beam, ...]; log probabilities, finished flags and lengths [batch,
    beam]."""

    cell_state: Any
    log_probs: Any
    finished: Any
    lengths: Any


class BeamSearchDecoderOutput(NamedTuple):
    """Of one step: scores, ids and which beam each continues [batch, beam]."""

    scores: Any
    predicted_ids: Any
    parent_ids: Any


class FinalBeamSearchDecoderOutput(NamedTuple):
    """`predicted_ids` [batch, time, beam], the best beam first; past its end a beam says the end
    token. `scores` [batch, time, beam] after each step: the last ones are the sequences'."""

    predicted_ids: Any
    scores: Any


def _gather_tree(xp: Any, ids: Any, parents: Any, lengths: Any, end: Any) -> Any:
    """Follow each last beam back to its beginning; ids and parents [time, batch, beam]."""
    out = np.full(ids.shape, end, ids.dtype)
    rows = np.arange(ids.shape[1])[:, None]
    beam = np.broadcast_to(np.arange(ids.shape[2]), ids.shape[1:])
    for time in range(len(ids) - 1, -1, -1):
        out[time] = ids[time][rows, beam]
        beam = parents[time][rows, beam]
    over = np.cumsum(np.cumsum(out == end, 0) > 0, 0) > 1
    out[over] = end
    return out


register_op(
    "gather_tree",
    kernel=_gather_tree,
    infer=lambda inputs: TensorType(inputs[0].dtype, inputs[0].shape),
    gradient=NOT_DIFFERENTIABLE,
    host_only=True,
    doc="The sequences [time, batch, beam] that end in each beam, from the ids and parents of each "
    "step; inputs[3] is said past the end.",
)


class BeamSearchDecoder(Decoder):
    """Keeps the `beam_width` most probable sequences of each row, from `start_tokens` [batch] until
    `end_token`. `initial_state` and a wrapped attention's memory are those of `tile_batch(...,
    beam_width)`. Scores are log probabilities divided by ((5 + length) / 6) **
    length_penalty_weight (Wu et al., 2016)."""

    tracks_own_finished = True

    def __init__(
        self,
        cell: RNNCell,
        embedding: Any,
        start_tokens: Any,
        end_token: int,
        initial_state: Any,
        beam_width: int,
        output_layer: Callable[[Any], Any] | None = None,
        length_penalty_weight: float = 0.0,
    ) -> None:
        self._cell, self._layer, self._width = cell, output_layer, int(beam_width)
        self._look: Callable[[Any], Any] = (
            embedding if callable(embedding) else lambda ids: embedding_lookup(embedding, ids)
        )
        self._start = graph_of((start_tokens,)).convert(start_tokens, int32)
        self._end, self._state = int(end_token), initial_state
        self._penalty = float(length_penalty_weight)

    @property
    def batch_size(self) -> Any:
        size = self._start.shape[0]
        return size if size is not None else apply("shape", self._start)[0]

    def initialize(self) -> tuple[Any, Any, Any]:
        tokens = apply("tile", apply("expand_dims", self._start, axis=1),
                       multiples=(1, self._width))  # fmt: skip
        inputs = self._look(apply("reshape", tokens, np.asarray([-1], np.int32)))
        finished = apply("less", tokens, apply("zeros_like", tokens))
        # all beams begin alike: only the first may be continued
        first = np.where(np.arange(self._width) == 0, 0, -1e9).astype(np.float32)
        scores = apply("cast", apply("zeros_like", tokens), dtype=inputs.dtype) + first
        state = BeamSearchDecoderState(self._state, scores, finished, apply("zeros_like", tokens))
        return finished, inputs, state

    def _flat(self, ids: Tensor) -> Tensor:
        """Positions [batch, beam] within a row as positions in [batch * beam]."""
        rows = apply("range", np.int32(0), apply("shape", ids)[0], np.int32(1))
        base = apply("expand_dims", rows * np.int32(self._width), axis=1)
        out: Tensor = apply("reshape", ids + base, np.asarray([-1], np.int32))
        return out

    def step(self, time: Any, inputs: Any, state: Any) -> tuple[Any, Any, Any, Any]:
        outputs, cell_state = self._cell(inputs, state.cell_state)
        if self._layer is not None:
            outputs = self._layer(outputs)
        classes = outputs.shape[-1]
        shape = np.asarray([-1, self._width, classes], np.int32)
        step = apply("reshape", apply("log_softmax", outputs, axis=-1), shape)
        # a finished beam says the end token, at no cost
        only_end = np.where(np.arange(classes) == self._end, 0, -1e9).astype(step.dtype.numpy)
        ended = apply("expand_dims", state.finished, axis=2)
        step = apply("where", ended, apply("zeros_like", step) + only_end, step)
        total = apply("expand_dims", state.log_probs, axis=2) + step
        grown = apply("cast", apply("logical_not", state.finished), dtype=int32) + state.lengths
        length = apply("cast", grown, dtype=total.dtype)
        penalty = apply("pow", (5.0 + length) / 6.0, self._penalty)
        scores = total / apply("expand_dims", penalty, axis=2)
        flat = apply("reshape", scores, np.asarray([-1, self._width * classes], np.int32))
        best, places = apply("top_k", flat, k=self._width)
        parents, ids = places // np.int32(classes), places % np.int32(classes)
        where = self._flat(parents)

        def pick(value: Tensor) -> Tensor:
            if value.shape.rank == 0:
                return value
            chosen: Tensor = apply("gather", value, where, axis=0)
            chosen.set_shape(value.shape)
            return chosen

        def pick_beam(value: Tensor) -> Tensor:
            kept = pick(apply("reshape", value, np.asarray([-1], np.int32)))
            out: Tensor = apply("reshape", kept, np.asarray([-1, self._width], np.int32))
            return out

        probability = apply("reshape", total, np.asarray([-1, self._width * classes], np.int32))
        order = self._positions(places, classes)
        logs = apply("gather", apply("reshape", probability, np.asarray([-1], np.int32)), order)
        done = pick_beam(state.finished)
        finished = apply("logical_or", done, apply("equal", ids, np.int32(self._end)))
        lengths = pick_beam(state.lengths) + apply("cast", apply("logical_not", done), dtype=int32)
        new = BeamSearchDecoderState(
            map_structure(pick, cell_state),
            apply("reshape", logs, np.asarray([-1, self._width], np.int32)),
            finished,
            lengths,
        )
        following = self._look(apply("reshape", ids, np.asarray([-1], np.int32)))
        return BeamSearchDecoderOutput(best, ids, parents), new, following, finished

    def _positions(self, places: Tensor, classes: int) -> Tensor:
        rows = apply("range", np.int32(0), apply("shape", places)[0], np.int32(1))
        base = apply("expand_dims", rows * np.int32(self._width * classes), axis=1)
        out: Tensor = apply("reshape", places + base, np.asarray([-1], np.int32))
        return out

    def finalize(self, outputs: Any, state: Any, lengths: Any) -> tuple[Any, Any]:
        ids = apply(
            "gather_tree",
            outputs.predicted_ids,
            outputs.parent_ids,
            state.lengths,
            np.int32(self._end),
        )
        return FinalBeamSearchDecoderOutput(ids, outputs.scores), state
