"""Adam (Kingma and Ba, ICLR 2015)."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.graph import Graph
from sw.graph.ops.variables import Variable
from sw.graph.train.optimizer import Optimizer


class AdamOptimizer(Optimizer):
    """Adam with bias correction folded into the step, as TensorFlow. Slots: "m" and "v"."""

    takes_rows = False  # the averages of rows without a gradient decay, too

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        use_locking: bool = False,
        name: str = "Adam",
    ) -> None:
        super().__init__(use_locking, name)
        self._rate, self._beta1, self._beta2 = learning_rate, beta1, beta2
        self._epsilon = epsilon
        self._powers: dict[Graph, tuple[Variable, Variable]] = {}

    def _make_slots(self, var: Variable) -> None:
        self._slot(var, "m")
        self._slot(var, "v")

    def _make_shared(self, graph: Graph) -> None:
        if graph not in self._powers:
            with graph.as_default(), graph.name_scope(None):
                self._powers[graph] = (
                    Variable(np.float64(self._beta1), trainable=False, name="beta1_power"),
                    Variable(np.float64(self._beta2), trainable=False, name="beta2_power"),
                )

    def _prepare(self, graph: Graph) -> Any:
        return [power.read_value() for power in self._powers[graph.root]]

    def _apply(self, graph: Graph, grad: Any, var: Variable, prepared: Any) -> Any:
        numbers = (self._rate, *prepared, self._beta1, self._beta2, self._epsilon)
        return self._update("adam", var, grad, ("m", "v"), numbers)

    def _finish(self, graph: Graph, updates: list[Any]) -> list[Any]:
        powers = zip(self._powers[graph.root], (self._beta1, self._beta2), strict=True)
        with graph.control_dependencies(updates):
            return [power.assign(power.read_value() * beta) for power, beta in powers]
