"""`st.losses`: weighted losses that also join a collection, as in TensorFlow 1.x's `tf.losses`.

Every loss has a value per element or row, `weights` that broadcast to it (0 leaves an element out)
and a `reduction`; the result joins `loss_collection`, whose sum is `get_total_loss`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.errors import DTypeError, InvalidArgumentError
from sw.graph.graph import Graph, GraphKeys, get_default_graph
from sw.graph.ops import loss as nn_loss
from sw.graph.ops.arithmetic import cast
from sw.graph.ops.helpers import shape_of
from sw.graph.tensor import Tensor


class Reduction:
    """How a weighted loss becomes one number."""

    NONE = "none"
    SUM = "weighted_sum"
    MEAN = "weighted_mean"
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"
    SUM_BY_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"
    ALL = (NONE, SUM, MEAN, SUM_OVER_BATCH_SIZE, SUM_BY_NONZERO_WEIGHTS)


_DEFAULT = Reduction.SUM_BY_NONZERO_WEIGHTS


def add_loss(loss: Any, loss_collection: str | None = GraphKeys.LOSSES) -> None:
    """Add `loss` to the collection of losses."""
    if loss_collection is not None:
        get_default_graph().root.add_to_collection(loss_collection, loss)


def get_losses(scope: str | None = None, loss_collection: str = GraphKeys.LOSSES) -> list[Any]:
    """The losses so far."""
    return get_default_graph().root.get_collection(loss_collection, scope)


def get_regularization_losses(scope: str | None = None) -> list[Any]:
    """The penalties of the regularisers so far."""
    return get_default_graph().root.get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


def get_regularization_loss(
    scope: str | None = None, name: str = "total_regularization_loss"
) -> Tensor:
    """The sum of the penalties; 0 without any."""
    parts = get_regularization_losses(scope)
    graph = get_default_graph()
    out: Tensor = graph.apply("add_n", *parts, name=name) if parts else graph.convert(0.0)
    return out


def get_total_loss(add_regularization_losses: bool = True, name: str = "total_loss") -> Tensor:
    """The sum of all losses (and penalties)."""
    parts = get_losses() + (get_regularization_losses() if add_regularization_losses else [])
    if not parts:
        raise InvalidArgumentError("there is no loss to add up")
    out: Tensor = graph_of(parts).apply("add_n", *parts, name=name)
    return out


def _ratio(total: Tensor, count: Tensor) -> Tensor:
    """total / count, 0 where nothing counts."""
    zero = apply("equal", count, apply("zeros_like", count))
    safe = apply("where", zero, apply("ones_like", count), count)
    out: Tensor = apply("where", zero, apply("zeros_like", total), total / safe)
    return out


def compute_weighted_loss(
    losses: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Tensor:
    """`losses * weights` reduced to a number, and added to the collection."""
    if reduction not in Reduction.ALL:
        raise InvalidArgumentError(f"reduction {reduction!r} is not one of {Reduction.ALL}")
    graph = graph_of((losses, weights))
    with graph.name_scope(scope or "weighted_loss"):
        value = graph.convert(losses)
        factor = _weights(graph, weights, value)
        weighted = value * factor
        full = apply("broadcast_to", factor, shape_of(value))
        total = apply("reduce_sum", weighted)
        if reduction == Reduction.NONE:
            out = weighted
        elif reduction == Reduction.SUM:
            out = total
        elif reduction == Reduction.MEAN:
            out = _ratio(total, apply("reduce_sum", full))
        elif reduction == Reduction.SUM_OVER_BATCH_SIZE:
            out = _ratio(total, apply("cast", apply("size", value), dtype=value.dtype))
        else:
            counted = apply("not_equal", full, apply("zeros_like", full))
            out = _ratio(total, apply("reduce_sum", apply("cast", counted, dtype=value.dtype)))
    add_loss(out, loss_collection)
    return out


def _weights(graph: Graph, weights: Any, value: Tensor) -> Tensor:
    """`weights` in the dtype and, by axes of size 1 at the end, the rank of `value`."""
    factor = graph.convert(weights)
    if factor.dtype is not value.dtype:
        factor = apply("cast", factor, dtype=value.dtype)
    rank, have = value.shape.rank, factor.shape.rank
    if rank is not None and have is not None and have == rank + 1:
        return apply("squeeze", factor, axis=(-1,))
    while rank is not None and have and have < rank:
        factor, have = apply("expand_dims", factor, axis=-1), have + 1
    return factor


def _pair(graph: Graph, labels: Any, predictions: Any) -> tuple[Tensor, Tensor]:
    given = graph.convert(predictions)
    wanted = graph.convert(labels)
    if wanted.dtype is not given.dtype:
        wanted = apply("cast", wanted, dtype=given.dtype)
    given.shape.merge(wanted.shape)
    return wanted, given


def _loss(name: str, elements: Any, doc: str) -> Any:
    def function(
        labels: Any,
        predictions: Any,
        weights: Any = 1.0,
        scope: str | None = None,
        loss_collection: str | None = GraphKeys.LOSSES,
        reduction: str = _DEFAULT,
    ) -> Tensor:
        graph = graph_of((predictions, labels))
        with graph.name_scope(scope or name):
            value = elements(*_pair(graph, labels, predictions))
            return compute_weighted_loss(value, weights, None, loss_collection, reduction)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc} See the module for `weights` and `reduction`."
    return function


absolute_difference = _loss("absolute_difference", lambda y, p: abs(p - y), "|labels - p|.")
mean_squared_error = _loss(
    "mean_squared_error", lambda y, p: apply("squared_difference", p, y), "(labels - p)**2."
)


def hinge_loss(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Tensor:
    """max(0, 1 - s * logits), s = -1 or 1 for `labels` 0 or 1."""
    graph = graph_of((logits, labels))
    with graph.name_scope(scope or "hinge_loss"):
        wanted, given = _pair(graph, labels, logits)
        value = apply("relu", 1.0 - (2.0 * wanted - 1.0) * given)
        return compute_weighted_loss(value, weights, None, loss_collection, reduction)


def huber_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    delta: float = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Tensor:
    """Half the squared error up to `delta`, linear beyond (Huber, 1964)."""
    graph = graph_of((predictions, labels))
    with graph.name_scope(scope or "huber_loss"):
        wanted, given = _pair(graph, labels, predictions)
        error = abs(given - wanted)
        inner = apply("minimum", error, delta)
        value = 0.5 * inner * inner + delta * (error - inner)
        return compute_weighted_loss(value, weights, None, loss_collection, reduction)


def log_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    epsilon: float = 1e-7,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Tensor:
    """Cross entropy of probabilities."""
    graph = graph_of((predictions, labels))
    with graph.name_scope(scope or "log_loss"):
        y, p = _pair(graph, labels, predictions)
        value = -y * apply("log", p + epsilon) - (1.0 - y) * apply("log", 1.0 - p + epsilon)
        return compute_weighted_loss(value, weights, None, loss_collection, reduction)


def cosine_distance(
    labels: Any,
    predictions: Any,
    axis: int = -1,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
    dim: int | None = None,
) -> Tensor:
    """1 - the inner product over `axis`, of vectors of unit length."""
    graph = graph_of((predictions, labels))
    at = axis if dim is None else dim
    with graph.name_scope(scope or "cosine_distance"):
        y, p = _pair(graph, labels, predictions)
        value = 1.0 - apply("reduce_sum", y * p, axis=(at,), keepdims=True)
        return compute_weighted_loss(value, weights, None, loss_collection, reduction)


def mean_pairwise_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
) -> Tensor:
    """For each row the mean, over pairs of its elements, of the squared difference between the
    pair's differences in `predictions` and in `labels`."""
    graph = graph_of((predictions, labels))
    with graph.name_scope(scope or "mean_pairwise_squared_error"):
        y, p = _pair(graph, labels, predictions)
        error = apply("reshape", p - y, apply("stack", apply("shape", p)[0], np.int32(-1), axis=0))
        count = apply("cast", apply("shape", error)[1], dtype=error.dtype)
        squares = apply("reduce_sum", error * error, axis=(1,))
        total = apply("reduce_sum", error, axis=(1,))
        pairs = apply("maximum", count * (count - 1.0), 1.0)
        value = 2.0 * (count * squares - total * total) / pairs
        return compute_weighted_loss(value, weights, None, loss_collection)


def sigmoid_cross_entropy(
    multi_class_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Tensor:
    """`st.nn.sigmoid_cross_entropy_with_logits`; smoothing moves labels towards one half."""
    graph = graph_of((logits, multi_class_labels))
    with graph.name_scope(scope or "sigmoid_cross_entropy_loss"):
        y, z = _pair(graph, multi_class_labels, logits)
        if label_smoothing:
            y = y * (1.0 - label_smoothing) + 0.5 * label_smoothing
        value = nn_loss.sigmoid_cross_entropy_with_logits(labels=y, logits=z)
        return compute_weighted_loss(value, weights, None, loss_collection, reduction)


def softmax_cross_entropy(
    onehot_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Tensor:
    """`st.nn.softmax_cross_entropy_with_logits`; smoothing moves labels towards 1 / classes."""
    graph = graph_of((logits, onehot_labels))
    with graph.name_scope(scope or "softmax_cross_entropy_loss"):
        y, z = _pair(graph, onehot_labels, logits)
        if label_smoothing:
            classes = apply("cast", apply("shape", z)[-1], dtype=z.dtype)
            y = y * (1.0 - label_smoothing) + label_smoothing / classes
        y = apply("stop_gradient", y)
        value = nn_loss.softmax_cross_entropy_with_logits(labels=y, logits=z)
        return compute_weighted_loss(value, weights, None, loss_collection, reduction)


def sparse_softmax_cross_entropy(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Tensor:
    """`st.nn.sparse_softmax_cross_entropy_with_logits` of class numbers [N] or [N, 1]."""
    graph = graph_of((logits, labels))
    with graph.name_scope(scope or "sparse_softmax_cross_entropy_loss"):
        z, y = graph.convert(logits), graph.convert(labels)
        if y.shape.rank is not None and y.shape.rank == z.shape.rank:
            y = apply("squeeze", y, axis=(-1,))
        value = nn_loss.sparse_softmax_cross_entropy_with_logits(labels=y, logits=z)
        return compute_weighted_loss(value, weights, None, loss_collection, reduction)


def compute_average_loss(
    per_example_loss: Any, sample_weight: Any = None, global_batch_size: Any = None
) -> Tensor:
    """The sum of the (weighted) losses divided by the number of examples, or by
    `global_batch_size` when this is a part of a larger batch."""
    graph = graph_of((per_example_loss, sample_weight))
    with graph.name_scope("compute_average_loss"):
        losses = graph.convert(per_example_loss)
        if not losses.dtype.is_floating:
            raise DTypeError(f"losses are floating-point numbers, not {losses.dtype}")
        if sample_weight is not None:
            losses = losses * graph.convert(sample_weight, losses.dtype)
        size: Any = apply("shape", losses)[0] if global_batch_size is None else global_batch_size
        count = cast(graph.convert(size), losses.dtype)
        out: Tensor = apply("reduce_sum", losses, axis=None, keepdims=False) / count
        return out


def scale_regularization_loss(regularization_loss: Any) -> Tensor:
    """The sum of the penalties: there is one replica of the variables, by which TensorFlow would
    divide."""
    out: Tensor = apply("reduce_sum", regularization_loss, axis=None, keepdims=False)
    return out
