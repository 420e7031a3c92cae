"""CTC under its later names, and label sequences made smaller."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.dtypes import int32, int64
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.ops.arithmetic import cast
from sw.graph.ops.ctc import ctc_beam_search_decoder, ctc_loss
from sw.graph.ops.helpers import require_rank
from sw.graph.ops.rearranging import boolean_mask, sequence_mask
from sw.graph.registry import NOT_DIFFERENTIABLE, TensorType
from sw.graph.sparse_tensor import SparseTensor
from sw.graph.tensor import Tensor


def _unique(xp: Any, labels: Any) -> Any:
    found, index = np.zeros(labels.shape, np.int64), np.zeros(labels.shape, np.int32)
    for row, out, at in zip(labels, found, index, strict=True):
        values, first, inverse = np.unique(row, return_index=True, return_inverse=True)
        order = np.argsort(first)  # in the order of first appearance
        out[: len(order)] = values[order]
        at[:] = np.argsort(order)[inverse]
    return found, index


def _unique_type(inputs: tuple[Tensor, ...]) -> list[TensorType]:
    require_rank(inputs[0], 2, "the labels [batch, length]")
    return [TensorType(int64, inputs[0].shape), TensorType(int32, inputs[0].shape)]


register_op(
    "ctc_unique_labels",
    kernel=_unique,
    infer=_unique_type,
    gradient=NOT_DIFFERENTIABLE,
    host_only=True,
    doc="Each row's different labels in order of appearance, zeros after them; for each label its "
    "place among these.",
)


def ctc_unique_labels(labels: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
    """(int64: each row's different labels in order of appearance, zeros after them; int32: for each
    of `labels` [batch, length] its place among these), both [batch, length]."""
    first, second = apply("ctc_unique_labels", labels, name=name)
    return first, second


def collapse_repeated(
    labels: Any, seq_length: Any, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """(`labels` [batch, length] with equal neighbours made one, zeros after them; the new lengths
    [batch]); of row b the first `seq_length[b]` labels count."""
    graph = graph_of((labels, seq_length))
    with graph.name_scope(name or "collapse_repeated_labels"):
        rows, lengths = graph.convert(labels), graph.convert(seq_length)
        require_rank(rows, 2, "the labels [batch, length]")
        changes = apply("not_equal", rows[:, 1:], rows[:, :-1])
        first = apply("fill", apply("shape", rows[:, :1]), np.bool_(True))
        counted = sequence_mask(lengths, apply("shape", rows)[1])
        kept = apply("logical_and", apply("concat", first, changes, axis=1), counted)
        size = apply("reduce_sum", cast(kept, lengths.dtype), axis=(1,), keepdims=False)
        most = apply("reduce_max", size, axis=None, keepdims=False)
        places = apply("where_indices", sequence_mask(size, most))
        shape = apply("stack", apply("shape", rows)[0], cast(most, int32), axis=0)
        out: Tensor = apply("scatter_nd", places, boolean_mask(rows, kept), shape)
        return out, size


def _sparse_labels(labels: Any, lengths: Any) -> SparseTensor:
    graph = graph_of((labels, lengths))
    dense = graph.convert(labels)
    require_rank(dense, 2, "the labels [batch, length]")
    inside = sequence_mask(graph.convert(lengths), apply("shape", dense)[1])
    places = apply("where_indices", inside)
    return SparseTensor(places, boolean_mask(dense, inside), apply("shape", dense, out_type=int64))


def ctc_loss_v2(
    labels: Any,
    logits: Any,
    label_length: Any,
    logit_length: Any,
    logits_time_major: bool = True,
    unique: Any = None,
    blank_index: int | None = None,
    name: str | None = None,
) -> Tensor:
    """`ctc_loss` [batch] of dense `labels` [batch, length] with their `label_length` [batch], or of
    a `SparseTensor` (`label_length` is None). `blank_index`: the class that is the blank (negative:
    from the end), 0 for dense labels, to be given for sparse ones."""
    sparse = isinstance(labels, SparseTensor)
    if sparse and blank_index is None:
        raise InvalidArgumentError("ctc_loss_v2 of sparse labels needs blank_index")
    if not sparse and label_length is None:
        raise InvalidArgumentError("ctc_loss_v2 of dense labels needs label_length")
    graph = graph_of((logits,))
    with graph.name_scope(name or "ctc_loss_dense"):
        scores = graph.convert(logits)
        require_rank(scores, 3, "the logits [time, batch, classes]")
        classes = scores.shape[2]
        if classes is None:
            raise ShapeError(f"the number of classes of {scores!r} must be known")
        blank = (blank_index or 0) % classes
        # our loss has its blank at the end
        order = [c for c in range(classes) if c != blank] + [blank]
        moved = apply("gather", scores, np.asarray(order, np.int32), axis=2)
        given = labels if sparse else _sparse_labels(labels, label_length)
        values = cast(given.values, int32)
        values = values - cast(apply("greater", values, np.int32(blank)), int32)
        return ctc_loss(
            given.with_values(values), moved, logit_length, time_major=logits_time_major
        )


def ctc_beam_search_decoder_v2(
    inputs: Any, sequence_length: Any, beam_width: int = 100, top_paths: int = 1
) -> tuple[list[SparseTensor], Tensor]:
    """`ctc_beam_search_decoder` that keeps equal neighbours of a decoding."""
    return ctc_beam_search_decoder(inputs, sequence_length, beam_width, top_paths, False)
