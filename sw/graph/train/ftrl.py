"""FTRL-Proximal (McMahan et al., "Ad click prediction: a view from the trenches", KDD 2013)."""

from __future__ import annotations

from typing import Any

from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph
from sw.graph.ops.variables import Variable
from sw.graph.train.optimizer import Optimizer


class FtrlOptimizer(Optimizer):
    """Follow the regularised leader: weights are exactly zero where l1 outweighs the gradients.
    Slots: "accum" and "linear"."""

    def __init__(
        self,
        learning_rate: Any,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "Ftrl",
    ) -> None:
        for label, value, good in (
            ("learning_rate_power", learning_rate_power, learning_rate_power <= 0),
            ("initial_accumulator_value", initial_accumulator_value, initial_accumulator_value > 0),
            (
                "l1_regularization_strength",
                l1_regularization_strength,
                l1_regularization_strength >= 0,
            ),
            (
                "l2_regularization_strength",
                l2_regularization_strength,
                l2_regularization_strength >= 0,
            ),
        ):
            if not good:
                raise InvalidArgumentError(f"{label}={value} is out of range")
        super().__init__(use_locking, name)
        self._start = initial_accumulator_value
        self._numbers = (
            learning_rate,
            l1_regularization_strength,
            l2_regularization_strength,
            learning_rate_power,
        )

    def _make_slots(self, var: Variable) -> None:
        self._slot(var, "accum", self._start)
        self._slot(var, "linear")

    def _apply(self, graph: Graph, grad: Any, var: Variable, prepared: Any) -> Any:
        return self._update("ftrl", var, grad, ("accum", "linear"), self._numbers)
