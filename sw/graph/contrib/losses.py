"""`st.contrib.losses`: the losses with their arguments in the order of 2016, predictions first."""

from __future__ import annotations

from typing import Any

from sw.graph import losses
from sw.graph.losses import (
    add_loss,
    get_losses,
    get_regularization_losses,
    get_total_loss,
)
from sw.graph.tensor import Tensor

__all__ = [
    "absolute_difference",
    "add_loss",
    "cosine_distance",
    "get_losses",
    "get_regularization_losses",
    "get_total_loss",
    "hinge_loss",
    "log_loss",
    "mean_pairwise_squared_error",
    "mean_squared_error",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
]


def _swapped(function: Any) -> Any:
    def loss(
        predictions: Any, targets: Any, weight: Any = 1.0, scope: str | None = None, **options: Any
    ) -> Tensor:
        out: Tensor = function(targets, predictions, weights=weight, scope=scope, **options)
        return out

    loss.__name__ = loss.__qualname__ = function.__name__
    loss.__doc__ = f"`st.losses.{function.__name__}` with the predictions first."
    return loss


absolute_difference = _swapped(losses.absolute_difference)
hinge_loss = _swapped(losses.hinge_loss)
log_loss = _swapped(losses.log_loss)
mean_pairwise_squared_error = _swapped(losses.mean_pairwise_squared_error)
mean_squared_error = _swapped(losses.mean_squared_error)
sigmoid_cross_entropy = _swapped(losses.sigmoid_cross_entropy)
softmax_cross_entropy = _swapped(losses.softmax_cross_entropy)


def cosine_distance(
    predictions: Any, targets: Any, dim: int, weight: Any = 1.0, scope: str | None = None
) -> Tensor:
    """`st.losses.cosine_distance` along `dim`, with the predictions first."""
    out: Tensor = losses.cosine_distance(targets, predictions, dim, weights=weight, scope=scope)
    return out
