"""Losses over many classes by looking at a few: NCE and sampled softmax, with their samplers.

NCE: Gutmann and Hyvarinen, AISTATS 2010; Mnih and Teh, ICML 2012. Sampled softmax: Jean et al.,
ACL 2015.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.dtypes import float32, int64
from sw.graph.errors import InvalidArgumentError
from sw.graph.ops.embedding import embedding_lookup
from sw.graph.ops.loss import sigmoid_cross_entropy_with_logits, softmax_cross_entropy_with_logits
from sw.graph.ops.random import generator, op_seeds
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.state import OpState
from sw.graph.tensor import Tensor


class Candidates(NamedTuple):
    """What a sampler gives: classes [S], how often each true class [N, T] and each of them [S] is
    expected among S draws."""

    sampled_candidates: Tensor
    true_expected_count: Tensor
    sampled_expected_count: Tensor


def _log_uniform(classes: Any, limit: int) -> Any:
    c = np.asarray(classes, np.float64)
    return np.log((c + 2) / (c + 1)) / np.log(limit + 1)


def _probability(kind: str, classes: Any, limit: int) -> Any:
    if kind == "log_uniform":
        return _log_uniform(classes, limit)
    return np.full(np.shape(classes), 1 / limit)


def _draw(stream: Any, kind: str, count: int, limit: int) -> Any:
    if kind == "uniform":
        return stream.integers(0, limit, count)
    # by the inverse of the distribution function log(c + 2) / log(limit + 1)
    drawn = np.exp(stream.random(count) * np.log(limit + 1)).astype(np.int64) - 1
    return np.minimum(drawn, limit - 1)


def _sample(
    xp: Any, state: OpState, true: Any, kind: str, count: int, unique: bool, limit: int, seeds: Any
) -> Any:
    stream = generator(state, seeds)
    if not unique:
        drawn, tries = _draw(stream, kind, count, limit), count
    else:
        found: dict[int, None] = {}
        tries = 0
        while len(found) < count:
            for value in _draw(stream, kind, count, limit):
                tries += 1
                found[int(value)] = None
                if len(found) == count:
                    break
        drawn = np.asarray(list(found), np.int64)

    def expected(classes: Any) -> Any:
        share = _probability(kind, classes, limit)
        out = -np.expm1(tries * np.log1p(-share)) if unique else share * tries
        return out.astype(np.float32)

    return drawn, expected(true), expected(drawn)


def _sample_type(inputs: tuple[Tensor, ...], count: int, **attrs: Any) -> list[TensorType]:
    return [
        TensorType(int64, Shape((count,))),
        TensorType(float32, inputs[0].shape),
        TensorType(float32, Shape((count,))),
    ]


register_op(
    "candidate_sampler",
    kernel=_sample,
    infer=_sample_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs=dict.fromkeys(("kind", "count", "unique", "limit", "seeds"), REQUIRED),
    stateful=True,
    host_only=True,
    doc="Random classes, and how often they and the true classes inputs[0] are expected.",
)


def _sampler(kind: str, title: str) -> Any:
    def sampler(
        true_classes: Any,
        num_true: int,
        num_sampled: int,
        unique: bool,
        range_max: int,
        seed: int | None = None,
        name: str | None = None,
    ) -> Candidates:
        if unique and num_sampled > range_max:
            raise InvalidArgumentError(f"{num_sampled} different classes out of {range_max}")
        parts = apply(
            "candidate_sampler",
            true_classes,
            name=name or title,
            kind=kind,
            count=int(num_sampled),
            unique=bool(unique),
            limit=int(range_max),
            seeds=op_seeds(seed),
        )
        return Candidates(*parts)

    sampler.__name__ = sampler.__qualname__ = title
    sampler.__doc__ = f"`num_sampled` classes below `range_max`, {kind.replace('_', '-')}."
    return sampler


log_uniform_candidate_sampler = _sampler("log_uniform", "log_uniform_candidate_sampler")
uniform_candidate_sampler = _sampler("uniform", "uniform_candidate_sampler")


def _logits(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int,
    sampled_values: Any,
    subtract_log_q: bool,
    remove_accidental_hits: bool,
    strategy: str,
) -> tuple[Tensor, Tensor]:
    """Logits of the true and the sampled classes [N, T + S], and their labels."""
    graph = graph_of((weights, inputs, labels))
    true = graph.convert(labels)
    true = true if true.dtype is int64 else apply("cast", true, dtype=int64)
    if true.shape.rank == 1:
        true = apply("expand_dims", true, axis=1)
    if sampled_values is None:
        sampled_values = log_uniform_candidate_sampler(
            true, num_true, num_sampled, True, num_classes
        )
    sampled, true_count, sampled_count = (apply("stop_gradient", v) for v in sampled_values)
    flat = apply("reshape", true, np.asarray([-1], np.int32))
    both = apply("concat", flat, sampled, axis=0)
    w = embedding_lookup(weights, both, strategy)
    b = embedding_lookup(biases, both, strategy)
    rows = apply("shape", flat)[0]
    x = graph.convert(inputs)
    width = x.shape[-1]
    spec = apply("stack", np.int32(-1), np.int32(num_true), np.int32(width), axis=0)
    true_w = apply("reshape", _slice(w, 0, rows), spec)
    true_logits = apply("reduce_sum", true_w * apply("expand_dims", x, axis=1), axis=(2,)) + apply(
        "reshape", _slice(b, 0, rows), np.asarray([-1, num_true], np.int32)
    )
    size = np.int32(num_sampled)
    sampled_logits = apply("matmul", x, _slice(w, rows, size), transpose_b=True) + _slice(
        b, rows, size
    )
    if remove_accidental_hits:
        hit = apply("equal", apply("expand_dims", true, axis=2), sampled)
        mask = apply("cast", apply("reduce_any", hit, axis=(1,), keepdims=False), dtype=x.dtype)
        sampled_logits = sampled_logits - mask * 1e9
    if subtract_log_q:
        true_logits = true_logits - apply("log", true_count)
        sampled_logits = sampled_logits - apply("log", sampled_count)
    logits = apply("concat", true_logits, sampled_logits, axis=1)
    ones = apply("ones_like", true_logits) / float(num_true)
    return logits, apply("concat", ones, apply("zeros_like", sampled_logits), axis=1)


def _slice(value: Tensor, start: Any, size: Any) -> Tensor:
    """`size` rows from `start`."""
    index = apply("range", np.int32(0), size, np.int32(1)) + start
    out: Tensor = apply("gather_rows", value, index)
    return out


register_op(
    "gather_rows",
    kernel=lambda xp, x, index: x[index],
    infer=lambda inputs: TensorType(
        inputs[0].dtype, inputs[1].shape.concatenate(inputs[0].shape[1:])
    ),
    gradient=lambda op, g: [
        apply("gather_grad", g, op.inputs[1], apply("shape", op.inputs[0]), axis=0),
        None,
    ],
    host_only=True,
    doc="The rows inputs[1] of inputs[0], with a dense gradient.",
)


def nce_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = False,
    partition_strategy: str = "mod",
    name: str = "nce_loss",
) -> Tensor:
    """Per example, the loss of telling its true classes from `num_sampled` noise classes.

    `weights` [num_classes, D], `biases` [num_classes], `labels` [N, num_true], `inputs` [N, D].
    """
    with graph_of((inputs, weights)).name_scope(name):
        logits, targets = _logits(
            weights, biases, labels, inputs, num_sampled, num_classes, num_true,
            sampled_values, True, remove_accidental_hits, partition_strategy,
        )  # fmt: skip
        loss = sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
        out: Tensor = apply("reduce_sum", loss, axis=(1,))
        return out


def sampled_softmax_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = True,
    partition_strategy: str = "mod",
    name: str = "sampled_softmax_loss",
) -> Tensor:
    """Per example, the softmax cross entropy over its true and `num_sampled` other classes."""
    with graph_of((inputs, weights)).name_scope(name):
        logits, targets = _logits(
            weights, biases, labels, inputs, num_sampled, num_classes, num_true,
            sampled_values, True, remove_accidental_hits, partition_strategy,
        )  # fmt: skip
        return softmax_cross_entropy_with_logits(labels=targets, logits=logits)
