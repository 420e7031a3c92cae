"""`st.metrics`: measures over many batches, as in TensorFlow 1.x's `tf.metrics`.

Each returns `(value, update_op)`: the measure of all batches so far, and the tensor that takes one
batch in and gives the measure after it. What is counted lives in local variables: run
`st.local_variables_initializer()` to start over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.dtypes import float32, int32
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph, GraphKeys
from sw.graph.ops.creation import zeros
from sw.graph.ops.helpers import shape_of
from sw.graph.ops.variables import Variable
from sw.graph.tensor import Tensor

Metric = tuple[Tensor, Tensor]


class _Counters:
    """Local variables, and what one batch adds to each."""

    def __init__(self, name: str | None, default: str, values: Any) -> None:
        self.graph: Graph = graph_of(values)
        self.title = name or default
        self.variables: list[Variable] = []
        self.deltas: list[Any] = []

    def add(self, name: str, shape: Any, delta: Any) -> None:
        """A counter of `shape` to which a batch adds `delta`."""
        keys = [GraphKeys.LOCAL_VARIABLES, GraphKeys.METRIC_VARIABLES]
        root = self.graph.root
        with root.as_default(), root.name_scope(f"{self.title}_"):
            start = zeros(shape, float32)
            self.variables.append(Variable(start, trainable=False, collections=keys, name=name))
        self.deltas.append(delta)

    def finish(
        self, measure: Callable[..., Tensor], metrics_collections: Any, updates_collections: Any
    ) -> Metric:
        """The measure of the counters, and of the counters after this batch."""
        with self.graph.name_scope(f"{self.title}/value"):
            value = measure(*(v.read_value() for v in self.variables))
        with self.graph.name_scope(f"{self.title}/update"):
            both = zip(self.variables, self.deltas, strict=True)
            update = measure(*(v.assign_add(d) for v, d in both))
        for keys, item in ((metrics_collections, value), (updates_collections, update)):
            for key in [keys] if isinstance(keys, str) else keys or ():
                self.graph.root.add_to_collection(key, item)
        return value, update


def _float(value: Any) -> Tensor:
    tensor = graph_of((value,)).convert(value)
    return tensor if tensor.dtype is float32 else apply("cast", tensor, dtype=float32)


def _divide(a: Tensor, b: Tensor) -> Tensor:
    """a / b, and 0 where b is 0."""
    empty = apply("equal", b, apply("zeros_like", b))
    safe = apply("where", empty, apply("ones_like", b), b)
    out: Tensor = apply("where", empty, apply("zeros_like", a), a / safe)
    return out


def _weighted(values: Tensor, weights: Any) -> tuple[Tensor, Tensor]:
    """(sum of weighted values, sum of weights)."""
    if weights is None:
        return (
            apply("reduce_sum", values),
            apply("cast", apply("size", values), dtype=float32),
        )
    factor = apply("broadcast_to", _float(weights), shape_of(values))
    return apply("reduce_sum", values * factor), apply("reduce_sum", factor)


def _mean(
    default: str,
    values: Any,
    weights: Any,
    collections: tuple[Any, Any],
    name: str | None,
    after: Callable[[Tensor], Tensor] | None = None,
) -> Metric:
    counters = _Counters(name, default, (values,))
    with counters.graph.name_scope(counters.title):
        total, count = _weighted(_float(values), weights)
    counters.add("total", [], total)
    counters.add("count", [], count)

    def measure(t: Tensor, c: Tensor) -> Tensor:
        return _divide(t, c) if after is None else after(_divide(t, c))

    return counters.finish(measure, *collections)


def mean(
    values: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """The mean of all values, weighted."""
    return _mean("mean", values, weights, (metrics_collections, updates_collections), name)


def accuracy(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """The share of predictions that equal their labels."""
    graph = graph_of((predictions, labels))
    given, wanted = graph.convert(predictions), graph.convert(labels)
    if wanted.dtype is not given.dtype:
        wanted = apply("cast", wanted, dtype=given.dtype)
    right = _float(apply("equal", given, wanted))
    return _mean("accuracy", right, weights, (metrics_collections, updates_collections), name)


def _error(default: str, element: Any, after: Any, doc: str) -> Any:
    def function(
        labels: Any,
        predictions: Any,
        weights: Any = None,
        metrics_collections: Any = None,
        updates_collections: Any = None,
        name: str | None = None,
    ) -> Metric:
        value = element(_float(labels), _float(predictions))
        where = (metrics_collections, updates_collections)
        return _mean(default, value, weights, where, name, after)

    function.__name__ = function.__qualname__ = default
    function.__doc__ = doc
    return function


mean_absolute_error = _error(
    "mean_absolute_error", lambda y, p: abs(p - y), None, "The mean of |labels - predictions|."
)
mean_squared_error = _error(
    "mean_squared_error",
    lambda y, p: apply("squared_difference", p, y),
    None,
    "The mean of (labels - predictions)**2.",
)
root_mean_squared_error = _error(
    "root_mean_squared_error",
    lambda y, p: apply("squared_difference", p, y),
    lambda m: apply("sqrt", m),
    "The root of the mean squared error.",
)


def mean_relative_error(
    labels: Any,
    predictions: Any,
    normalizer: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """The mean of |labels - predictions| / normalizer (0 where that is 0)."""
    value = _divide(abs(_float(predictions) - _float(labels)), _float(normalizer))
    where = (metrics_collections, updates_collections)
    return _mean("mean_relative_error", value, weights, where, name)


def percentage_below(
    values: Any,
    threshold: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """The share of values below `threshold`."""
    below = _float(apply("less", values, threshold))
    where = (metrics_collections, updates_collections)
    return _mean("percentage_below_threshold", below, weights, where, name)


def _count(hit: Tensor, weights: Any) -> Tensor:
    total, _ = _weighted(_float(hit), weights)
    return total


def _flags(labels: Any, predictions: Any) -> tuple[Tensor, Tensor]:
    return (apply("not_equal", _float(labels), 0.0), apply("not_equal", _float(predictions), 0.0))


def _outcome(name_: str, wanted_label: bool, wanted_prediction: bool) -> Any:
    def function(
        labels: Any,
        predictions: Any,
        weights: Any = None,
        metrics_collections: Any = None,
        updates_collections: Any = None,
        name: str | None = None,
    ) -> Metric:
        counters = _Counters(name, name_, (predictions, labels))
        y, p = _flags(labels, predictions)
        hit = apply("logical_and", y if wanted_label else ~y, p if wanted_prediction else ~p)
        counters.add("count", [], _count(hit, weights))
        return counters.finish(
            lambda c: apply("identity", c), metrics_collections, updates_collections
        )

    function.__name__ = function.__qualname__ = name_
    function.__doc__ = f"The (weighted) number of {name_.replace('_', ' ')}."
    return function


true_positives = _outcome("true_positives", True, True)
true_negatives = _outcome("true_negatives", False, False)
false_positives = _outcome("false_positives", False, True)
false_negatives = _outcome("false_negatives", True, False)


def _rate(name_: str, other_label: bool, other_prediction: bool) -> Any:
    def function(
        labels: Any,
        predictions: Any,
        weights: Any = None,
        metrics_collections: Any = None,
        updates_collections: Any = None,
        name: str | None = None,
    ) -> Metric:
        counters = _Counters(name, name_, (predictions, labels))
        y, p = _flags(labels, predictions)
        counters.add("true_positives", [], _count(apply("logical_and", y, p), weights))
        other = apply("logical_and", y if other_label else ~y, p if other_prediction else ~p)
        counters.add("others", [], _count(other, weights))
        return counters.finish(
            lambda t, o: _divide(t, t + o), metrics_collections, updates_collections
        )

    function.__name__ = function.__qualname__ = name_
    return function


precision = _rate("precision", False, True)
precision.__doc__ = "True positives over all predicted positives."
recall = _rate("recall", True, False)
recall.__doc__ = "True positives over all real positives."


def auc(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    num_thresholds: int = 200,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    curve: str = "ROC",
    name: str | None = None,
) -> Metric:
    """The area under the ROC (or "PR") curve of probabilities, by trapezoids between
    `num_thresholds` thresholds."""
    if curve not in ("ROC", "PR"):
        raise InvalidArgumentError(f"curve {curve!r} is not ROC or PR")
    steps = np.linspace(0, 1, num_thresholds)
    steps[0], steps[-1] = -1e-7, 1 + 1e-7
    counters = _Counters(name, "auc", (predictions, labels))
    line = np.asarray([1, -1], np.int32)
    y = apply("reshape", _flags(labels, predictions)[0], line)
    p = apply("reshape", _float(predictions), line)
    above = apply("greater", p, steps.astype(np.float32)[:, None])
    factor = 1.0
    if weights is not None:
        factor = apply(
            "reshape", apply("broadcast_to", _float(weights), shape_of(predictions)), line
        )
    for title, label, prediction in (("tp", 1, 1), ("fn", 1, 0), ("fp", 0, 1), ("tn", 0, 0)):
        hit = apply("logical_and", y if label else ~y, above if prediction else ~above)
        delta = apply("reduce_sum", _float(hit) * factor, axis=(1,))
        counters.add(title, [num_thresholds], delta)

    def area(tp: Tensor, fn: Tensor, fp: Tensor, tn: Tensor) -> Tensor:
        tiny = 1e-6
        hits = (tp + tiny) / (tp + fn + tiny)
        if curve == "ROC":
            across, up = fp / (fp + tn + tiny), hits
        else:
            across, up = hits, (tp + tiny) / (tp + fp + tiny)
        out: Tensor = apply("reduce_sum", (across[:-1] - across[1:]) * (up[:-1] + up[1:]) * 0.5)
        return out

    return counters.finish(area, metrics_collections, updates_collections)


def confusion(labels: Any, predictions: Any, num_classes: int, weights: Any = None) -> Tensor:
    """float32 [classes, classes]: how often label i met prediction j."""
    graph = graph_of((predictions, labels))
    flat = np.asarray([-1], np.int32)
    hot = [
        apply(
            "one_hot",
            apply("reshape", apply("cast", graph.convert(v), dtype=int32), flat),
            depth=int(num_classes),
            dtype=float32,
        )
        for v in (labels, predictions)
    ]
    if weights is not None:
        hot[0] = hot[0] * apply("expand_dims", apply("reshape", _float(weights), flat), axis=1)
    out: Tensor = apply("matmul", hot[0], hot[1], transpose_a=True)
    return out


def mean_iou(
    labels: Any,
    predictions: Any,
    num_classes: int,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """The mean over classes of intersection over union."""
    counters = _Counters(name, "mean_iou", (predictions, labels))
    matrix = confusion(labels, predictions, num_classes, weights)
    counters.add("total_confusion_matrix", [num_classes, num_classes], matrix)

    def measure(total: Tensor) -> Tensor:
        both = apply("matrix_diag_part", total)
        rows, columns = (apply("reduce_sum", total, axis=(a,)) for a in (0, 1))
        union = rows + columns - both
        seen = _float(apply("greater", union, 0.0))
        out: Tensor = _divide(apply("reduce_sum", _divide(both, union)), apply("reduce_sum", seen))
        return out

    return counters.finish(measure, metrics_collections, updates_collections)


def mean_per_class_accuracy(
    labels: Any,
    predictions: Any,
    num_classes: int,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> Metric:
    """The mean over classes of the share of each class that was predicted."""
    counters = _Counters(name, "mean_accuracy", (predictions, labels))
    matrix = confusion(labels, predictions, num_classes, weights)
    counters.add("total", [num_classes], apply("reduce_sum", matrix, axis=(1,)))
    counters.add("right", [num_classes], apply("matrix_diag_part", matrix))
    return counters.finish(
        lambda t, r: apply("reduce_mean", _divide(r, t)), metrics_collections, updates_collections
    )
