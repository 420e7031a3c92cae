"""Gradient descent with momentum."""

from __future__ import annotations

from typing import Any

from sw.graph.graph import Graph
from sw.graph.ops.variables import Variable
from sw.graph.train.optimizer import Optimizer


class MomentumOptimizer(Optimizer):
    """`accum = momentum * accum + grad; var -= learning_rate * accum` (with `use_nesterov`:
    `var -= learning_rate * (grad + momentum * accum)`). Slot: "momentum"."""

    def __init__(
        self,
        learning_rate: Any,
        momentum: Any,
        use_locking: bool = False,
        name: str = "Momentum",
        use_nesterov: bool = False,
    ) -> None:
        super().__init__(use_locking, name)
        self._rate, self._momentum = learning_rate, momentum
        self._nesterov = bool(use_nesterov)

    def _make_slots(self, var: Variable) -> None:
        self._slot(var, "momentum")

    def _apply(self, graph: Graph, grad: Any, var: Variable, prepared: Any) -> Any:
        numbers = (self._rate, self._momentum)
        return self._update(
            "momentum", var, grad, ("momentum",), numbers, use_nesterov=self._nesterov
        )
