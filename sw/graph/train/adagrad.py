"""Adagrad (Duchi, Hazan and Singer, JMLR 2011), plain and with a proximal step."""

from __future__ import annotations

from typing import Any

from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph
from sw.graph.ops.variables import Variable
from sw.graph.train.optimizer import Optimizer


class AdagradOptimizer(Optimizer):
    """`accumulator += grad**2; var -= learning_rate * grad / sqrt(accumulator)`."""

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        use_locking: bool = False,
        name: str = "Adagrad",
    ) -> None:
        if initial_accumulator_value <= 0:
            raise InvalidArgumentError(
                f"initial_accumulator_value must be positive, not {initial_accumulator_value}"
            )
        super().__init__(use_locking, name)
        self._rate, self._start = learning_rate, initial_accumulator_value

    def _make_slots(self, var: Variable) -> None:
        self._slot(var, "accumulator", self._start)

    def _apply(self, graph: Graph, grad: Any, var: Variable, prepared: Any) -> Any:
        return self._update("adagrad", var, grad, ("accumulator",), (self._rate,))


class ProximalAdagradOptimizer(AdagradOptimizer):
    """Adagrad followed by the proximal step of an l1 and l2 penalty (Duchi and Singer, 2009)."""

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "ProximalAdagrad",
    ) -> None:
        super().__init__(learning_rate, initial_accumulator_value, use_locking, name)
        self._l1, self._l2 = l1_regularization_strength, l2_regularization_strength

    def _apply(self, graph: Graph, grad: Any, var: Variable, prepared: Any) -> Any:
        numbers = (self._rate, self._l1, self._l2)
        return self._update("proximal_adagrad", var, grad, ("accumulator",), numbers)
