"""Adadelta (Zeiler, 2012)."""

from __future__ import annotations

from typing import Any

from sw.graph.graph import Graph
from sw.graph.ops.variables import Variable
from sw.graph.train.optimizer import Optimizer


class AdadeltaOptimizer(Optimizer):
    """Steps scaled by the ratio of running averages of past steps and gradients. Slots: "accum"
    and "accum_update"."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: Any = 0.95,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "Adadelta",
    ) -> None:
        super().__init__(use_locking, name)
        self._rate, self._rho, self._epsilon = learning_rate, rho, epsilon

    def _make_slots(self, var: Variable) -> None:
        self._slot(var, "accum")
        self._slot(var, "accum_update")

    def _apply(self, graph: Graph, grad: Any, var: Variable, prepared: Any) -> Any:
        numbers = (self._rate, self._rho, self._epsilon)
        return self._update("adadelta", var, grad, ("accum", "accum_update"), numbers)
