"""Sequence-to-sequence models of 2015, unrolled: `st.nn.seq2seq`. Inputs are lists of tensors, one
per step; ids are int32 [batch]. `feed_previous` (a bool or a bool tensor): the decoder gets what it
said last instead of its inputs, but the first.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from sw.graph.build import apply, graph_of
from sw.graph.dtypes import float32
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.nest import flatten
from sw.graph.ops.embedding import embedding_lookup
from sw.graph.ops.loss import sparse_softmax_cross_entropy_with_logits
from sw.graph.ops.nn import softmax
from sw.graph.rnn.cells import RNNCell, linear
from sw.graph.rnn.unrolling import static_rnn
from sw.graph.rnn.wrappers import EmbeddingWrapper, OutputProjectionWrapper
from sw.graph.tensor import Operators, Tensor
from sw.graph.variable_scope import AUTO_REUSE, get_variable, variable_scope

Loop = Callable[[Any, int], Any]
Decoded = tuple[list[Tensor], Any]


def fresh(cell: RNNCell) -> RNNCell:
    """A copy of the cell that makes variables of its own where it is called first."""
    twin = copy.copy(cell)
    twin._scope = None
    inner: Any = vars(twin)
    if isinstance(inner.get("_cell"), RNNCell):
        inner["_cell"] = fresh(inner["_cell"])
    if isinstance(inner.get("_cells"), list):
        inner["_cells"] = [fresh(c) for c in inner["_cells"]]
    return twin


def _fed(loop: Loop | None, outputs: list[Any], given: Any, step: int) -> Any:
    return given if loop is None or not outputs else loop(outputs[-1], step)


def rnn_decoder(
    decoder_inputs: Any,
    initial_state: Any,
    cell: RNNCell,
    loop_function: Loop | None = None,
    scope: Any = None,
) -> Decoded:
    """(outputs, last state) from `initial_state`; with `loop_function(last output, step)` its
    result is the input instead of the one given (but the first)."""
    with variable_scope(scope or "rnn_decoder"):
        state: Any = initial_state
        outputs: list[Tensor] = []
        for step, given in enumerate(decoder_inputs):
            output, state = cell(_fed(loop_function, outputs, given, step), state)
            outputs.append(output)
    return outputs, state


def basic_rnn_seq2seq(
    encoder_inputs: Any, decoder_inputs: Any, cell: RNNCell, dtype: Any = float32, scope: Any = None
) -> Decoded:
    """An encoder whose last state begins the decoder, each with variables of its own."""
    with variable_scope(scope or "basic_rnn_seq2seq"):
        _, state = static_rnn(fresh(cell), encoder_inputs, dtype=dtype)
        return rnn_decoder(decoder_inputs, state, fresh(cell))


def tied_rnn_seq2seq(
    encoder_inputs: Any,
    decoder_inputs: Any,
    cell: RNNCell,
    loop_function: Loop | None = None,
    dtype: Any = float32,
    scope: Any = None,
) -> Decoded:
    """`basic_rnn_seq2seq` whose encoder and decoder share their variables."""
    with variable_scope(scope or "tied_rnn_seq2seq"):
        shared = fresh(cell)
        _, state = static_rnn(shared, encoder_inputs, dtype=dtype)
        return rnn_decoder(decoder_inputs, state, shared, loop_function)


def _said(embedding: Any, projection: Any, update: bool, feed: Any, inputs: list[Any]) -> Any:
    """The loop function that looks up the likeliest id of the last output."""
    if feed is False:
        return None

    def loop(last: Any, step: int) -> Any:
        logits = last
        if projection is not None:
            logits = apply("bias_add", apply("matmul", last, projection[0]), projection[1])
        found = embedding_lookup(embedding, apply("argmax", logits, axis=1))
        found = found if update else apply("stop_gradient", found)
        if not isinstance(feed, Operators):
            return found
        flag = apply("broadcast_to", feed, apply("shape", found))
        return apply("where", flag, found, inputs[step])

    return loop


def embedding_rnn_decoder(
    decoder_inputs: Any,
    initial_state: Any,
    cell: RNNCell,
    num_symbols: int,
    embedding_size: int,
    output_projection: Any = None,
    feed_previous: Any = False,
    update_embedding_for_previous: bool = True,
    scope: Any = None,
) -> Decoded:
    """`rnn_decoder` of ids. `output_projection`: (weights, biases) from an output to logits, used
    to know what was said; None when outputs are logits."""
    with variable_scope(scope or "embedding_rnn_decoder"):
        table = get_variable("embedding", [num_symbols, embedding_size])
        inputs = [embedding_lookup(table, i) for i in decoder_inputs]
        loop = _said(table, output_projection, update_embedding_for_previous, feed_previous, inputs)
        return rnn_decoder(inputs, initial_state, cell, loop)


def embedding_rnn_seq2seq(
    encoder_inputs: Any,
    decoder_inputs: Any,
    cell: RNNCell,
    num_encoder_symbols: int,
    num_decoder_symbols: int,
    embedding_size: int,
    output_projection: Any = None,
    feed_previous: Any = False,
    dtype: Any = float32,
    scope: Any = None,
) -> Decoded:
    """From ids to logits [batch, num_decoder_symbols] (to the cell's outputs with
    `output_projection`)."""
    with variable_scope(scope or "embedding_rnn_seq2seq"):
        reader = EmbeddingWrapper(fresh(cell), num_encoder_symbols, embedding_size)
        _, state = static_rnn(reader, encoder_inputs, dtype=dtype)
        writer = fresh(cell)
        if output_projection is None:
            writer = OutputProjectionWrapper(writer, num_decoder_symbols)
        return embedding_rnn_decoder(
            decoder_inputs, state, writer, num_decoder_symbols, embedding_size,
            output_projection, feed_previous,
        )  # fmt: skip


def embedding_tied_rnn_seq2seq(
    encoder_inputs: Any,
    decoder_inputs: Any,
    cell: RNNCell,
    num_symbols: int,
    embedding_size: int,
    num_decoder_symbols: int | None = None,
    output_projection: Any = None,
    feed_previous: Any = False,
    dtype: Any = float32,
    scope: Any = None,
) -> Decoded:
    """`tied_rnn_seq2seq` of ids, which share one table too."""
    with variable_scope(scope or "embedding_tied_rnn_seq2seq"):
        table = get_variable("embedding", [num_symbols, embedding_size])
        before = [embedding_lookup(table, i) for i in encoder_inputs]
        after = [embedding_lookup(table, i) for i in decoder_inputs]
        shared = fresh(cell)
        if output_projection is None:
            shared = OutputProjectionWrapper(shared, num_decoder_symbols or num_symbols)
        loop = _said(table, output_projection, True, feed_previous, after)
        _, state = static_rnn(shared, before, dtype=dtype)
        return rnn_decoder(after, state, shared, loop)


def attention_decoder(
    decoder_inputs: Any,
    initial_state: Any,
    attention_states: Any,
    cell: RNNCell,
    output_size: int | None = None,
    num_heads: int = 1,
    loop_function: Loop | None = None,
    dtype: Any = float32,
    scope: Any = None,
    initial_state_attention: bool = False,
) -> Decoded:
    """`rnn_decoder` that looks at `attention_states` [batch, length, size] in each step, with
    `num_heads` additive attentions (Vinyals et al., "Grammar as a foreign language", 2015)."""
    steps = list(decoder_inputs)
    if not steps or num_heads < 1:
        raise InvalidArgumentError("attention_decoder needs inputs and at least one head")
    graph = graph_of(steps)
    with variable_scope(scope or "attention_decoder"):
        memory = graph.convert(attention_states)
        if memory.shape.rank != 3 or memory.shape[2] is None:
            raise ShapeError(f"attention_states are [batch, length, size], not {memory!r}")
        depth = memory.shape[2]
        size = output_size or cell.output_size
        keys = [
            apply("matmul", memory, get_variable(f"attention_{h}/keys", [depth, depth]))
            for h in range(num_heads)
        ]

        def attend(state: Any) -> list[Any]:
            parts = [s for s in flatten(state) if s.shape.rank == 2]
            query = parts[0] if len(parts) == 1 else apply("concat", *parts, axis=1)
            found = []
            for head, key in enumerate(keys):
                with variable_scope(f"attention_{head}", reuse=AUTO_REUSE):
                    asked = apply("expand_dims", linear([query], depth), axis=1)
                    v = get_variable("v", [depth])
                score = apply(
                    "reduce_sum", v * apply("tanh", key + asked), axis=(2,), keepdims=False
                )
                row = apply("expand_dims", softmax(score), axis=1)
                found.append(apply("squeeze", apply("matmul", row, memory), axis=(1,)))
            return found

        state: Any = initial_state
        outputs: list[Tensor] = []
        if initial_state_attention:
            seen = attend(state)
        else:
            blank = apply("zeros_like", memory[:, 0])
            seen = [blank] * num_heads
        for step, given in enumerate(steps):
            inputs = _fed(loop_function, outputs, given, step)
            width = graph.convert(inputs).shape[-1]
            with variable_scope("inputs", reuse=AUTO_REUSE):
                mixed = linear([inputs, *seen], width)
            said, state = cell(mixed, state)
            seen = attend(state)
            with variable_scope("output", reuse=AUTO_REUSE):
                outputs.append(linear([said, *seen], size))
    return outputs, state


def embedding_attention_decoder(
    decoder_inputs: Any,
    initial_state: Any,
    attention_states: Any,
    cell: RNNCell,
    num_symbols: int,
    embedding_size: int,
    num_heads: int = 1,
    output_size: int | None = None,
    output_projection: Any = None,
    feed_previous: Any = False,
    update_embedding_for_previous: bool = True,
    dtype: Any = float32,
    scope: Any = None,
    initial_state_attention: bool = False,
) -> Decoded:
    """`attention_decoder` of ids."""
    with variable_scope(scope or "embedding_attention_decoder"):
        table = get_variable("embedding", [num_symbols, embedding_size])
        inputs = [embedding_lookup(table, i) for i in decoder_inputs]
        loop = _said(table, output_projection, update_embedding_for_previous, feed_previous, inputs)
        return attention_decoder(
            inputs, initial_state, attention_states, cell, output_size, num_heads, loop,
            dtype, initial_state_attention=initial_state_attention,
        )  # fmt: skip


def embedding_attention_seq2seq(
    encoder_inputs: Any,
    decoder_inputs: Any,
    cell: RNNCell,
    num_encoder_symbols: int,
    num_decoder_symbols: int,
    embedding_size: int,
    num_heads: int = 1,
    output_projection: Any = None,
    feed_previous: Any = False,
    dtype: Any = float32,
    scope: Any = None,
    initial_state_attention: bool = False,
) -> Decoded:
    """From ids to logits, the decoder looking back at all of the encoder's outputs."""
    with variable_scope(scope or "embedding_attention_seq2seq"):
        reader = EmbeddingWrapper(fresh(cell), num_encoder_symbols, embedding_size)
        outputs, state = static_rnn(reader, encoder_inputs, dtype=dtype)
        memory = apply("stack", *outputs, axis=1)
        size = num_decoder_symbols if output_projection is None else None
        return embedding_attention_decoder(
            decoder_inputs, state, memory, fresh(cell), num_decoder_symbols, embedding_size,
            num_heads, size, output_projection, feed_previous,
            initial_state_attention=initial_state_attention,
        )  # fmt: skip


def one2many_rnn_seq2seq(
    encoder_inputs: Any,
    decoder_inputs_dict: dict[str, Any],
    cell: RNNCell,
    num_encoder_symbols: int,
    num_decoder_symbols_dict: dict[str, int],
    embedding_size: int,
    feed_previous: Any = False,
    dtype: Any = float32,
    scope: Any = None,
) -> tuple[dict[str, list[Tensor]], dict[str, Any]]:
    """One encoder and several decoders by name: their logits and last states."""
    outputs, states = {}, {}
    with variable_scope(scope or "one2many_rnn_seq2seq"):
        reader = EmbeddingWrapper(fresh(cell), num_encoder_symbols, embedding_size)
        _, state = static_rnn(reader, encoder_inputs, dtype=dtype)
        for name, inputs in decoder_inputs_dict.items():
            symbols = num_decoder_symbols_dict[name]
            with variable_scope(f"decoder_{name}"):
                writer = OutputProjectionWrapper(fresh(cell), symbols)
                outputs[name], states[name] = embedding_rnn_decoder(
                    inputs, state, writer, symbols, embedding_size, feed_previous=feed_previous
                )
    return outputs, states


def sequence_loss_by_example(
    logits: Any,
    targets: Any,
    weights: Any,
    average_across_timesteps: bool = True,
    softmax_loss_function: Any = None,
    name: str | None = None,
) -> Tensor:
    """Weighted cross entropy of each row [batch], summed or averaged over the steps (lists)."""
    if not len(logits) == len(targets) == len(weights):
        raise InvalidArgumentError(
            f"{len(logits)} logits, {len(targets)} targets and {len(weights)} weights"
        )
    graph = graph_of(logits)
    with graph.name_scope(name or "sequence_loss_by_example"):
        parts = []
        for scores, target, weight in zip(logits, targets, weights, strict=True):
            if softmax_loss_function is None:
                loss = sparse_softmax_cross_entropy_with_logits(labels=target, logits=scores)
            else:
                loss = softmax_loss_function(scores, target)
            parts.append(loss * weight)
        total: Tensor = apply("add_n", *parts)
        if average_across_timesteps:
            steps = apply("add_n", *[graph.convert(w) for w in weights])
            total = total / (steps + 1e-12)
        return total


def sequence_loss(
    logits: Any,
    targets: Any,
    weights: Any,
    average_across_timesteps: bool = True,
    average_across_batch: bool = True,
    softmax_loss_function: Any = None,
    name: str | None = None,
) -> Tensor:
    """`sequence_loss_by_example`, summed or averaged over the batch."""
    rows = sequence_loss_by_example(
        logits, targets, weights, average_across_timesteps, softmax_loss_function, name
    )
    op = "reduce_mean" if average_across_batch else "reduce_sum"
    out: Tensor = apply(op, rows, axis=None, keepdims=False)
    return out


def model_with_buckets(
    encoder_inputs: Any,
    decoder_inputs: Any,
    targets: Any,
    weights: Any,
    buckets: Any,
    seq2seq: Callable[[Any, Any], Decoded],
    softmax_loss_function: Any = None,
    per_example_loss: bool = False,
    name: str | None = None,
) -> tuple[list[list[Tensor]], list[Tensor]]:
    """(outputs, losses), one per bucket (encoder steps, decoder steps): `seq2seq(encoder inputs,
    decoder inputs)` unrolled to each, all sharing their variables. Buckets rise."""
    longest = max(b[0] for b in buckets), max(b[1] for b in buckets)
    if len(encoder_inputs) < longest[0] or min(len(decoder_inputs), len(targets)) < longest[1]:
        raise InvalidArgumentError(f"fewer inputs than the largest bucket {longest}")
    outputs, losses = [], []
    loss = sequence_loss_by_example if per_example_loss else sequence_loss
    with variable_scope(name or "model_with_buckets") as scope:
        for reads, writes in buckets:
            with variable_scope(scope, reuse=AUTO_REUSE):
                found, _ = seq2seq(encoder_inputs[:reads], decoder_inputs[:writes])
            outputs.append(found)
            losses.append(
                loss(
                    found,
                    targets[:writes],
                    weights[:writes],
                    softmax_loss_function=softmax_loss_function,
                )
            )
    return outputs, losses
