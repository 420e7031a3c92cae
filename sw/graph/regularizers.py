"""Penalties on weights: callables `f(weights) -> scalar Tensor`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sw.graph.build import apply, graph_of
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import GraphKeys, get_default_graph
from sw.graph.tensor import Tensor

Regularizer = Callable[[Any], Tensor | None]


def _check(scale: float) -> float:
    if isinstance(scale, int) and not isinstance(scale, bool):
        raise InvalidArgumentError(f"the scale is a float, not the integer {scale}")
    if scale < 0:
        raise InvalidArgumentError(f"the scale must not be negative: {scale}")
    return scale


def l1_regularizer(scale: float, scope: str | None = None) -> Regularizer:
    """`scale * sum(|w|)`; a scale of 0.0 gives None."""
    _check(scale)

    def penalty(weights: Any) -> Tensor | None:
        if scale == 0.0:
            return None
        with graph_of((weights,)).name_scope(scope or "l1_regularizer"):
            out: Tensor = apply("reduce_sum", apply("abs", weights)) * scale
            return out

    return penalty


def l2_regularizer(scale: float, scope: str | None = None) -> Regularizer:
    """`scale * sum(w**2) / 2`; a scale of 0.0 gives None."""
    _check(scale)

    def penalty(weights: Any) -> Tensor | None:
        if scale == 0.0:
            return None
        with graph_of((weights,)).name_scope(scope or "l2_regularizer"):
            out: Tensor = apply("l2_loss", weights) * scale
            return out

    return penalty


def l1_l2_regularizer(
    scale_l1: float = 1.0, scale_l2: float = 1.0, scope: str | None = None
) -> Regularizer:
    """The sum of both."""
    return sum_regularizer([l1_regularizer(scale_l1), l2_regularizer(scale_l2)], scope)


def sum_regularizer(regularizer_list: Iterable[Any], scope: str | None = None) -> Regularizer:
    """The sum of several, None entries left out."""
    parts = [r for r in regularizer_list if r is not None]

    def penalty(weights: Any) -> Tensor | None:
        with graph_of((weights,)).name_scope(scope or "sum_regularizer"):
            terms = [t for r in parts if (t := r(weights)) is not None]
            return None if not terms else apply("add_n", *terms)

    return penalty


def apply_regularization(regularizer: Regularizer, weights_list: Any = None) -> Tensor:
    """The penalty summed over `weights_list` (default: the collection "weights"), added to the
    regularisation losses."""
    graph = get_default_graph()
    weights = graph.get_collection(GraphKeys.WEIGHTS) if weights_list is None else weights_list
    if not weights:
        raise InvalidArgumentError("no weights to regularise")
    terms = [t for w in weights if (t := regularizer(w)) is not None]
    total: Tensor = apply("add_n", *terms) if terms else graph.convert(0.0)
    graph.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, total)
    return total
