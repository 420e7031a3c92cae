"""Proximal gradient descent (Duchi and Singer, JMLR 2009)."""

from __future__ import annotations

from typing import Any

from sw.graph.graph import Graph
from sw.graph.ops.variables import Variable
from sw.graph.train.optimizer import Optimizer


class ProximalGradientDescentOptimizer(Optimizer):
    """A gradient step followed by the proximal step of an l1 and l2 penalty."""

    def __init__(
        self,
        learning_rate: Any,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "ProximalGradientDescent",
    ) -> None:
        super().__init__(use_locking, name)
        self._rate = learning_rate
        self._l1, self._l2 = l1_regularization_strength, l2_regularization_strength

    def _apply(self, graph: Graph, grad: Any, var: Variable, prepared: Any) -> Any:
        numbers = (self._rate, self._l1, self._l2)
        return self._update("proximal_gradient_descent", var, grad, (), numbers)
