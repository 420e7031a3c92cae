"""Adagrad with dual averaging (Duchi, Hazan and Singer, JMLR 2011, section 1.3): weights are
computed anew in each step from the sum of all gradients, so that l1 makes many exactly zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply
from sw.graph.graph import Graph
from sw.graph.ops.variables import Variable
from sw.graph.train.optimizer import Optimizer


class AdagradDAOptimizer(Optimizer):
    """`g = sum of gradients; var = -sign(g) max(|g| - l1 t, 0) / (l2 t + sqrt(sum g**2) / rate)`,
    t the global step."""

    def __init__(
        self,
        learning_rate: Any,
        global_step: Variable,
        initial_gradient_squared_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "AdagradDA",
    ) -> None:
        super().__init__(use_locking, name)
        self._rate, self._step = learning_rate, global_step
        self._start = initial_gradient_squared_accumulator_value
        self._l1, self._l2 = l1_regularization_strength, l2_regularization_strength

    def _make_slots(self, var: Variable) -> None:
        self._slot(var, "gradient", 0.0)
        self._slot(var, "squares", self._start)

    def _apply(self, graph: Graph, grad: Any, var: Variable, prepared: Any) -> Any:
        dense = graph.convert(grad, var.dtype)
        total = self._slot(var, "gradient").assign_add(dense)
        squares = self._slot(var, "squares").assign_add(apply("square", dense))
        step = apply("cast", self._step.read_value(), dtype=var.dtype) + 1
        size = apply(
            "maximum", apply("abs", total) - self._l1 * step, np.asarray(0, var.dtype.numpy)
        )
        scale = self._l2 * step + apply("sqrt", squares) / self._constant(graph, self._rate, var)
        return var.assign(-apply("sign", total) * size / scale)
