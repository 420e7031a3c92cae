"""Exponential moving averages of variables and tensors."""

from __future__ import annotations

from typing import Any

from sw.graph.build import graph_of
from sw.graph.dtypes import float32
from sw.graph.errors import DTypeError, InvalidArgumentError
from sw.graph.graph import GraphKeys
from sw.graph.operation import Operation
from sw.graph.ops.arithmetic import cast, minimum
from sw.graph.ops.creation import zeros
from sw.graph.ops.variables import Variable, global_variables, trainable_variables
from sw.graph.tensor import Tensor


class ExponentialMovingAverage:
    """Shadow variables that follow `shadow = decay * shadow + (1 - decay) * value`.

    With `num_updates` the decay is at most `(1 + num_updates) / (10 + num_updates)`, so that the
    averages move faster in the beginning. The average of a variable starts at its initial value,
    that of another tensor at zero; `zero_debias` divides the latter's bias out.
    """

    def __init__(
        self,
        decay: Any,
        num_updates: Any = None,
        zero_debias: bool = False,
        name: str = "ExponentialMovingAverage",
    ) -> None:
        self._decay, self._updates = decay, num_updates
        self._debias, self._name = zero_debias, name
        self._averages: dict[Any, Variable] = {}
        self._weights: dict[Any, Variable] = {}

    def apply(self, var_list: Any = None) -> Operation:
        """An operation that moves the averages of `var_list` (default: the trainable variables)."""
        items = trainable_variables() if var_list is None else list(var_list)
        if not items:
            raise InvalidArgumentError("no variables to average")
        graph = items[0].graph
        for item in items:
            if not item.dtype.is_floating:
                raise DTypeError(f"{item.name!r} is {item.dtype}: only floats are averaged")
            self._shadow(item)
        updates = []
        with graph.name_scope(self._name):
            decay: Any = graph.convert(self._decay, float32)
            if self._updates is not None:
                count = cast(graph.convert(self._updates), float32)
                decay = minimum(decay, (1.0 + count) / (10.0 + count))
            for item in items:
                keep = 1.0 - cast(decay, item.dtype)
                average, value = self._averages[item], graph.convert(item)
                updates.append(average.assign_sub((average.read_value() - value) * keep))
                if item in self._weights:
                    weight = self._weights[item]
                    updates.append(weight.assign_sub((weight.read_value() - 1.0) * keep))
            with graph.control_dependencies(updates):
                op: Operation = graph.apply("no_op", name="update")
        return op

    def _shadow(self, item: Any) -> None:
        if item in self._averages:
            return
        variable = isinstance(item, Variable)
        graph = graph_of((item,)).root
        with graph.control_dependencies(None), graph.name_scope(None):
            if not variable and not item.shape.known:
                raise InvalidArgumentError(
                    f"the shape of {item.name!r} must be known to average it"
                )
            start = item.initialized_value() if variable else zeros(item.shape, item.dtype)
            self._averages[item] = Variable(
                start, trainable=False, name=self.average_name(item).removesuffix(":0")
            )
            if self._debias and not variable:
                self._weights[item] = Variable(
                    zeros([], item.dtype),
                    trainable=False,
                    name=f"{item.op.name}/{self._name}/weight",
                )
        graph.add_to_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, item)

    def average(self, var: Any) -> Any:
        """The average of a variable or tensor that `apply` was given, else None."""
        average = self._averages.get(var)
        if average is None or var not in self._weights:
            return average
        weight = self._weights[var].read_value()
        out: Tensor = average.read_value() / weight
        return out

    def average_name(self, var: Any) -> str:
        """The name of the variable that holds the average of `var`."""
        name = var.op.attrs["shared_name"] if isinstance(var, Variable) else var.op.name
        return f"{name}/{self._name}"

    def variables_to_restore(self, moving_avg_variables: Any = None) -> dict[str, Variable]:
        """Names in a checkpoint to variables: averaged ones are restored from their averages."""
        chosen = trainable_variables() if moving_avg_variables is None else moving_avg_variables
        names = {self.average_name(v): v for v in chosen}
        taken = set(names.values())
        rest = {v.op.attrs["shared_name"]: v for v in global_variables() if v not in taken}
        return {**{n: v for n, v in rest.items() if n not in names}, **names}
