"""Candidate samplers with a distribution of their own: given counts, learnt counts, or all classes;
and which candidates are true classes by accident."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.dtypes import float32, int32, int64
from sw.graph.errors import InvalidArgumentError
from sw.graph.ops.random import Seeds, generator, op_seeds
from sw.graph.ops.sampling import Candidates
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.state import OpState
from sw.graph.tensor import Tensor


def _pick(stream: Any, share: Any, count: int, unique: bool) -> tuple[Any, int]:
    """(classes, number of draws that it took)."""
    if not unique:
        return stream.choice(len(share), count, p=share), count
    found: dict[int, None] = {}
    tries = 0
    while len(found) < count:
        for value in stream.choice(len(share), count, p=share):
            tries += 1
            found[int(value)] = None
            if len(found) == count:
                break
    return np.asarray(list(found), np.int64), tries


def _given(
    xp: Any, state: OpState, true: Any, weights: Any, count: int, unique: bool, seeds: Seeds,
    learns: bool,
) -> Any:  # fmt: skip
    if learns:
        name = f"{state.name}/counts"
        with state.container.lock:
            seen = state.container.values.get(name, weights)
            seen = seen + np.bincount(true.ravel(), minlength=len(weights))
            state.container.write(name, seen)
        weights = seen
    share = np.asarray(weights, np.float64) / np.sum(weights)
    if unique and np.count_nonzero(share) < count:
        raise InvalidArgumentError(f"{count} different classes out of {np.count_nonzero(share)}")
    drawn, tries = _pick(generator(state, seeds), share, count, unique)

    def expected(classes: Any) -> Any:
        p = share[classes]
        out = -np.expm1(tries * np.log1p(-np.minimum(p, 1 - 1e-12))) if unique else p * tries
        return out.astype(np.float32)

    return drawn.astype(np.int64), expected(true), expected(drawn)


register_op(
    "weighted_candidate_sampler",
    kernel=_given,
    infer=lambda inputs, count, **attrs: [
        TensorType(int64, Shape((count,))),
        TensorType(float32, inputs[0].shape),
        TensorType(float32, Shape((count,))),
    ],
    gradient=NOT_DIFFERENTIABLE,
    attrs={**dict.fromkeys(("weights", "count", "unique", "seeds"), REQUIRED), "learns": False},
    stateful=True,
    host_only=True,
    doc="Random classes with probabilities in proportion to weights; with `learns` the weights "
    "are the counts of the true classes so far.",
)


def _sampler(
    true: Any, weights: Any, count: int, unique: bool, seed: Any, learns: bool, name: Any
) -> Any:
    parts = apply(
        "weighted_candidate_sampler",
        true,
        name=name,
        weights=np.asarray(weights, np.float64),
        count=int(count),
        unique=bool(unique),
        seeds=op_seeds(seed),
        learns=learns,
    )
    return Candidates(*parts)


def fixed_unigram_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    vocab_file: str = "",
    distortion: float = 1.0,
    num_reserved_ids: int = 0,
    num_shards: int = 1,
    shard: int = 0,
    unigrams: Any = (),
    seed: int | None = None,
    name: str | None = None,
) -> Candidates:
    """`num_sampled` classes below `range_max` with probabilities in proportion to
    `unigrams ** distortion` (or the last column of the lines of `vocab_file`). The first
    `num_reserved_ids` are never drawn, nor those of other shards."""
    if bool(vocab_file) == bool(len(unigrams)):
        raise InvalidArgumentError("give one of vocab_file and unigrams")
    counts = list(unigrams)
    if vocab_file:
        with open(vocab_file, encoding="utf-8") as lines:
            counts = [float(line.rsplit(",", 1)[-1]) for line in lines if line.strip()]
    weights = np.r_[np.zeros(num_reserved_ids), np.asarray(counts, np.float64) ** distortion]
    if len(weights) != range_max:
        raise InvalidArgumentError(f"{len(weights)} weights for {range_max} classes")
    weights[np.arange(range_max) % num_shards != shard] = 0
    title = name or "fixed_unigram_candidate_sampler"
    found: Candidates = _sampler(true_classes, weights, num_sampled, unique, seed, False, title)
    return found


def learned_unigram_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: int | None = None,
    name: str | None = None,
) -> Candidates:
    """`num_sampled` classes below `range_max`, distributed as the true classes seen so far (every
    class counts once to begin with)."""
    if unique and num_sampled > range_max:
        raise InvalidArgumentError(f"{num_sampled} different classes out of {range_max}")
    title = name or "learned_unigram_candidate_sampler"
    ones = np.ones(int(range_max))
    found: Candidates = _sampler(true_classes, ones, num_sampled, unique, seed, True, title)
    return found


def all_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    seed: int | None = None,
    name: str | None = None,
) -> Candidates:
    """All classes below `num_sampled`, each expected once: for tests of sampled losses."""
    graph = graph_of((true_classes,))
    with graph.name_scope(name or "all_candidate_sampler"):
        true = graph.convert(true_classes)
        ones = apply("cast", apply("ones_like", true), dtype=float32)
        every = np.arange(int(num_sampled), dtype=np.int64)
        return Candidates(
            graph.convert(every), ones, graph.convert(np.ones(len(every), np.float32))
        )


def _hits(xp: Any, true: Any, sampled: Any) -> Any:
    rows, _, columns = np.nonzero(true[:, :, None] == sampled)
    weight = np.full(len(rows), np.finfo(np.float32).min, np.float32)
    return rows.astype(np.int32), columns.astype(np.int64), weight


register_op(
    "compute_accidental_hits",
    kernel=_hits,
    infer=lambda inputs: [
        TensorType(int32, Shape((None,))),
        TensorType(int64, Shape((None,))),
        TensorType(float32, Shape((None,))),
    ],
    gradient=NOT_DIFFERENTIABLE,
    host_only=True,
    doc="(rows, candidates, the smallest float) where a candidate is a true class of the row.",
)


def compute_accidental_hits(
    true_classes: Any,
    sampled_candidates: Any,
    num_true: int,
    seed: int | None = None,
    name: str | None = None,
) -> list[Tensor]:
    """(indices of rows, positions of candidates, weights to add to their logits) where a candidate
    is one of the row's true classes."""
    out: list[Tensor] = apply(
        "compute_accidental_hits", true_classes, sampled_candidates, name=name
    )
    return out
