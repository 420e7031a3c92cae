"""RMSProp (Tieleman and Hinton, "Neural networks for machine learning", lecture 6.5, 2012)."""

from __future__ import annotations

from typing import Any

from sw.graph.graph import Graph
from sw.graph.ops.variables import Variable
from sw.graph.train.optimizer import Optimizer


class RMSPropOptimizer(Optimizer):
    """Steps divided by the root of a running mean of squared gradients; `centered` subtracts the
    squared mean gradient. Slots: "rms" (starts at one), "momentum", and "mg" if centered."""

    def __init__(
        self,
        learning_rate: Any,
        decay: Any = 0.9,
        momentum: Any = 0.0,
        epsilon: Any = 1e-10,
        use_locking: bool = False,
        centered: bool = False,
        name: str = "RMSProp",
    ) -> None:
        super().__init__(use_locking, name)
        self._numbers = (learning_rate, decay, momentum, epsilon)
        self._centered = centered

    def _make_slots(self, var: Variable) -> None:
        self._slot(var, "rms", 1.0)
        self._slot(var, "momentum")
        if self._centered:
            self._slot(var, "mg")

    def _apply(self, graph: Graph, grad: Any, var: Variable, prepared: Any) -> Any:
        if self._centered:
            slots = ("rms", "momentum", "mg")
            return self._update("centered_rms_prop", var, grad, slots, self._numbers)
        return self._update("rms_prop", var, grad, ("rms", "momentum"), self._numbers)
