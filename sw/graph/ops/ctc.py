"""Connectionist temporal classification (Graves et al., ICML 2006): the loss with its gradient, and
two decoders. The last class is the blank."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.dtypes import float32, int32, int64
from sw.graph.errors import InvalidArgumentError
from sw.graph.ops.helpers import floating_type, require_rank
from sw.graph.registry import NOT_DIFFERENTIABLE, TensorType
from sw.graph.shapes import Shape
from sw.graph.sparse_tensor import SparseTensor
from sw.graph.tensor import Tensor


def _log_softmax(x: Any) -> Any:
    moved = x - x.max(-1, keepdims=True)
    return moved - np.log(np.exp(moved).sum(-1, keepdims=True))


def _labels(indices: Any, values: Any, batch: int, classes: int, collapse: bool) -> tuple[Any, Any]:
    """(labels [B, L] padded with the blank, lengths [B])."""
    rows: list[list[int]] = [[] for _ in range(batch)]
    for (row, _), value in zip(indices, values, strict=True):
        if not 0 <= value < classes - 1:
            raise InvalidArgumentError(f"label {int(value)} is outside [0, {classes - 1})")
        if not 0 <= row < batch:
            raise InvalidArgumentError(f"labels of row {int(row)} in a batch of {batch}")
        if not (collapse and rows[row] and rows[row][-1] == value):
            rows[row].append(int(value))
    lengths = np.asarray([len(r) for r in rows])
    padded = np.full((batch, max(1, int(lengths.max(initial=0)))), classes - 1, np.int64)
    for at, row in enumerate(rows):
        padded[at, : len(row)] = row
    return padded, lengths


def _loss(
    xp: Any, logits: Any, indices: Any, values: Any, lengths: Any,
    collapse: bool, merge: bool, longer: bool,
) -> Any:  # fmt: skip
    """Forward and backward variables of the whole batch at once, in logarithms."""
    time, batch, classes = logits.shape
    if (lengths > time).any() or (lengths < 0).any():
        raise InvalidArgumentError(f"sequence_length {lengths.tolist()} with {time} steps")
    labels, sizes = _labels(indices, values, batch, classes, collapse)
    rows = np.arange(batch)
    # states: blank, first label, blank, second label, ...
    states = np.full((batch, 2 * labels.shape[1] + 1), classes - 1, np.int64)
    states[:, 1::2] = labels
    count = 2 * sizes + 1
    exists = np.arange(states.shape[1]) < count[:, None]
    skips = np.zeros(states.shape, np.bool_)
    skips[:, 2:] = (states[:, 2:] != classes - 1) & (states[:, 2:] != states[:, :-2])
    if not merge:  # repeated labels in the output stand for several: the blank may be skipped
        skips[:, 3::2] = True
    needed = sizes + (np.sum(labels[:, 1:] == labels[:, :-1], 1, where=labels[:, 1:] < classes - 1)
                      if merge else 0)  # fmt: skip
    short = needed > lengths
    if short.any() and not longer:
        at = int(np.argmax(short))
        raise InvalidArgumentError(
            f"row {at} has {int(sizes[at])} labels, for which {int(lengths[at])} steps are not "
            "enough; use ignore_longer_outputs_than_inputs=True"
        )
    probability = _log_softmax(logits.astype(np.float64))
    emitted = np.take_along_axis(probability, np.broadcast_to(states, (time, *states.shape)), 2)
    stays = np.full((batch, states.shape[1]), True)
    if not merge:
        stays[:, 1::2] = False
    forward = np.full(emitted.shape, -np.inf)
    forward[0, :, 0] = emitted[0, :, 0]
    forward[0, sizes > 0, 1] = emitted[0, sizes > 0, 1]
    for t in range(1, time):
        before = forward[t - 1]
        total = np.where(stays, before, -np.inf)
        total[:, 1:] = np.logaddexp(total[:, 1:], before[:, :-1])
        total[:, 2:] = np.where(
            skips[:, 2:], np.logaddexp(total[:, 2:], before[:, :-2]), total[:, 2:]
        )
        forward[t] = np.where(exists, total + emitted[t], -np.inf)
    backward = np.full(emitted.shape, -np.inf)
    for t in range(time - 1, -1, -1):
        last = lengths - 1 == t
        backward[t, rows[last], count[last] - 1] = 0
        has = last & (count > 1)
        backward[t, rows[has], count[has] - 2] = 0
        if t + 1 < time:
            after = backward[t + 1] + emitted[t + 1]
            total = np.where(stays, after, -np.inf)
            total[:, :-1] = np.logaddexp(total[:, :-1], after[:, 1:])
            total[:, :-2] = np.where(
                skips[:, 2:], np.logaddexp(total[:, :-2], after[:, 2:]), total[:, :-2]
            )
            running = (t < lengths - 1)[:, None]
            backward[t] = np.where(running, total, backward[t])
    both = forward + backward
    empty = lengths == 0
    at_end = np.where(empty[:, None], 0.0, both[np.maximum(lengths - 1, 0), rows])
    likelihood = np.where(empty, 0.0, np.logaddexp.reduce(at_end, 1))
    usable = ~short & ~empty
    occupied = np.exp(np.where(usable[:, None], both - np.where(usable, likelihood, 0.0)[:, None],
                               -np.inf))  # fmt: skip
    share = np.zeros(logits.shape)
    for state in range(states.shape[1]):
        share[:, rows, states[:, state]] += occupied[:, :, state]
    inside = (np.arange(time)[:, None] < lengths) & usable
    gradient = np.where(inside[..., None], np.exp(probability) - share, 0.0)
    loss = np.where(usable, -likelihood, 0.0)
    return loss.astype(logits.dtype), gradient.astype(logits.dtype)


def _loss_type(inputs: tuple[Tensor, ...], **attrs: Any) -> list[TensorType]:
    floating_type(inputs)
    require_rank(inputs[0], 3, "the logits [time, batch, classes]")
    dims = inputs[0].shape.dims
    batch = Shape((dims[1] if dims else None,)).merge(inputs[3].shape)
    return [TensorType(inputs[0].dtype, batch), TensorType(inputs[0].dtype, inputs[0].shape)]


def _loss_grad(op: Any, g: Tensor, _: Any) -> list[Any]:
    spread = apply("expand_dims", apply("expand_dims", g, axis=1), axis=0)
    return [spread * op.outputs[1], None, None, None]


register_op(
    "ctc_loss",
    kernel=_loss,
    infer=_loss_type,
    gradient=_loss_grad,
    attrs={"collapse": False, "merge": True, "longer": False},
    host_only=True,
    doc="inputs logits [T, B, C], labels (coordinates and values), lengths; outputs the loss per "
    "row and its gradient.",
)


def _sparse(rows: list[list[int]], time: int) -> tuple[Any, Any, Any]:
    places = [(i, j) for i, row in enumerate(rows) for j in range(len(row))]
    longest = max((len(r) for r in rows), default=0)
    return (
        np.asarray(places, np.int64).reshape(-1, 2),
        np.asarray([v for row in rows for v in row], np.int64),
        np.asarray([len(rows), longest], np.int64),
    )


def _greedy(xp: Any, logits: Any, lengths: Any, merge: bool) -> Any:
    blank = logits.shape[2] - 1
    best = np.argmax(logits, 2)
    rows = []
    score = np.zeros((logits.shape[1], 1), logits.dtype)
    for row, length in enumerate(lengths):
        path = best[: int(length), row]
        kept = path != blank
        if merge:
            kept[1:] &= path[1:] != path[:-1]
        rows.append([int(v) for v in path[kept]])
        score[row, 0] = -logits[np.arange(int(length)), row, path].sum()
    return *_sparse(rows, len(logits)), score


def _decoded(count: int) -> list[TensorType]:
    one = [
        TensorType(int64, Shape((None, 2))),
        TensorType(int64, Shape((None,))),
        TensorType(int64, Shape((2,))),
    ]
    return one * count


def _greedy_type(inputs: tuple[Tensor, ...], merge: bool) -> list[TensorType]:
    require_rank(inputs[0], 3, "the logits [time, batch, classes]")
    batch = inputs[0].shape.dims[1] if inputs[0].shape.dims else None
    return [*_decoded(1), TensorType(inputs[0].dtype, Shape((batch, 1)))]


register_op(
    "ctc_greedy_decoder",
    kernel=_greedy,
    infer=_greedy_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"merge": True},
    host_only=True,
    doc="The best class of each step without repetitions and blanks: coordinates, values, shape, "
    "and the negated sum of the logits taken.",
)


def _beams(probability: Any, width: int) -> list[tuple[tuple[int, ...], float]]:
    """Prefix beam search (Hannun et al., 2014): prefixes by falling log probability."""
    blank = probability.shape[1] - 1
    beams: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -np.inf)}
    for step in probability:
        found: dict[tuple[int, ...], list[float]] = {}
        for prefix, (ended, open_) in beams.items():
            total = np.logaddexp(ended, open_)
            same = found.setdefault(prefix, [-np.inf, -np.inf])
            same[0] = np.logaddexp(same[0], total + step[blank])
            if prefix:
                same[1] = np.logaddexp(same[1], open_ + step[prefix[-1]])
            for label in range(blank):
                before = ended if prefix and prefix[-1] == label else total
                longer = found.setdefault((*prefix, label), [-np.inf, -np.inf])
                longer[1] = np.logaddexp(longer[1], before + step[label])
        order = sorted(found.items(), key=lambda item: -np.logaddexp(item[1][0], item[1][1]))
        beams = {prefix: (scores[0], scores[1]) for prefix, scores in order[:width]}
    return [(prefix, float(np.logaddexp(*scores))) for prefix, scores in beams.items()]


def _beam(xp: Any, logits: Any, lengths: Any, width: int, paths: int, merge: bool) -> Any:
    probability = _log_softmax(logits.astype(np.float64))
    rows: list[list[list[int]]] = [[] for _ in range(paths)]
    scores = np.empty((logits.shape[1], paths), np.float32)
    for row, length in enumerate(lengths):
        found = _beams(probability[: int(length), row], width)
        if len(found) < paths:
            raise InvalidArgumentError(f"{paths} paths asked for, {len(found)} were found")
        for path in range(paths):
            prefix, scores[row, path] = found[path]
            kept = [v for i, v in enumerate(prefix) if not (merge and i and prefix[i - 1] == v)]
            rows[path].append(kept)
    parts = [part for path in rows for part in _sparse(path, len(logits))]
    return *parts, scores


def _beam_type(inputs: tuple[Tensor, ...], width: int, paths: int, merge: bool) -> list[TensorType]:
    require_rank(inputs[0], 3, "the logits [time, batch, classes]")
    batch = inputs[0].shape.dims[1] if inputs[0].shape.dims else None
    return [*_decoded(paths), TensorType(float32, Shape((batch, paths)))]


register_op(
    "ctc_beam_search_decoder",
    kernel=_beam,
    infer=_beam_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"width": 100, "paths": 1, "merge": True},
    host_only=True,
    doc="The most probable label sequences: coordinates, values, shape of each, and their log "
    "probabilities.",
)


def ctc_loss(
    labels: Any,
    inputs: Any,
    sequence_length: Any,
    preprocess_collapse_repeated: bool = False,
    ctc_merge_repeated: bool = True,
    ignore_longer_outputs_than_inputs: bool = False,
    time_major: bool = True,
) -> Tensor:
    """Loss [batch] of `labels`, an int32 `SparseTensor` [batch, length], under logits `inputs`
    [time, batch, classes] (or [batch, time, classes]), of which the first `sequence_length` [batch]
    steps count. The last class is the blank.

    Raises `InvalidArgumentError` when it runs for a label that is no class, and for a sequence too
    short for its labels unless `ignore_longer_outputs_than_inputs` (its loss is then 0).
    """
    sparse = SparseTensor.from_value(labels)
    graph = graph_of((inputs, sparse.values))
    logits = graph.convert(inputs)
    if not time_major:
        logits = apply("transpose", logits, perm=(1, 0, 2))
    loss, _ = apply(
        "ctc_loss",
        logits,
        sparse.indices,
        sparse.values,
        graph.convert(sequence_length, int32),
        collapse=bool(preprocess_collapse_repeated),
        merge=bool(ctc_merge_repeated),
        longer=bool(ignore_longer_outputs_than_inputs),
    )
    out: Tensor = loss
    return out


def ctc_greedy_decoder(
    inputs: Any, sequence_length: Any, merge_repeated: bool = True
) -> tuple[list[SparseTensor], Tensor]:
    """([the decoded int64 `SparseTensor` [batch, length]], the negated sum of the logits taken
    [batch, 1]) from logits [time, batch, classes]."""
    *parts, score = apply("ctc_greedy_decoder", inputs, sequence_length, merge=bool(merge_repeated))
    return [SparseTensor(*parts)], score


def ctc_beam_search_decoder(
    inputs: Any,
    sequence_length: Any,
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
) -> tuple[list[SparseTensor], Tensor]:
    """(the `top_paths` best decodings, their log probabilities [batch, top_paths]). With
    `merge_repeated` equal neighbours in a decoding become one, as in TensorFlow."""
    if not 1 <= top_paths <= beam_width:
        raise InvalidArgumentError(f"top_paths {top_paths} is not in [1, {beam_width}]")
    *parts, scores = apply(
        "ctc_beam_search_decoder",
        inputs,
        sequence_length,
        width=int(beam_width),
        paths=int(top_paths),
        merge=bool(merge_repeated),
    )
    return [SparseTensor(*parts[3 * i : 3 * i + 3]) for i in range(top_paths)], scores
