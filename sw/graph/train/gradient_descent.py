"""Plain gradient descent."""

from __future__ import annotations

from typing import Any

from sw.graph.graph import Graph
from sw.graph.ops.variables import Variable
from sw.graph.train.optimizer import Optimizer


class GradientDescentOptimizer(Optimizer):
    """`var -= learning_rate * grad`; the learning rate may be a tensor."""

    def __init__(
        self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent"
    ) -> None:
        super().__init__(use_locking, name)
        self._rate = learning_rate

    def _apply(self, graph: Graph, grad: Any, var: Variable, prepared: Any) -> Any:
        return self._update("gradient_descent", var, grad, (), (self._rate,))
