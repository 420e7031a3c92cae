"""`Optimizer`: what all optimisers share. A new one overrides `_apply` (and `_prepare`,
`_finish`), and asks for state per variable with `_slot`."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.errors import InvalidArgumentError
from sw.graph.gradients import gradients
from sw.graph.graph import Graph, GraphKeys
from sw.graph.indexed_slices import IndexedSlices
from sw.graph.operation import Operation
from sw.graph.ops.variables import Variable
from sw.graph.tensor import Tensor


class Optimizer:
    """Base of the optimisers. `name` prefixes the names of the ops it makes."""

    GATE_NONE, GATE_OP, GATE_GRAPH = 0, 1, 2
    takes_rows = True  # False: a gradient of some rows is made dense first

    def __init__(self, use_locking: bool, name: str) -> None:
        if not name:
            raise InvalidArgumentError("an optimizer needs a name")
        self._name = name
        self._slots: dict[str, dict[Variable, Variable]] = {}

    def get_name(self) -> str:
        """The optimiser's name."""
        return self._name

    def minimize(
        self,
        loss: Tensor,
        global_step: Variable | None = None,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        name: str | None = None,
        grad_loss: Any = None,
    ) -> Operation:
        """An operation that updates `var_list` (default: all trainable variables) one step towards
        a smaller `loss`, and adds 1 to `global_step`.

        Raises `InvalidArgumentError` when no variable has a gradient.
        """
        pairs = self.compute_gradients(
            loss,
            var_list,
            colocate_gradients_with_ops=colocate_gradients_with_ops,
            grad_loss=grad_loss,
        )
        if all(g is None for g, _ in pairs):
            names = [v.name for _, v in pairs]
            raise InvalidArgumentError(f"the loss {loss.name!r} depends on no variable of {names}")
        return self.apply_gradients(pairs, global_step, name)

    def compute_gradients(
        self,
        loss: Tensor,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        grad_loss: Any = None,
    ) -> list[tuple[Any, Variable]]:
        """(gradient or None, variable) for each variable."""
        chosen = (
            loss.graph.get_collection(GraphKeys.TRAINABLE_VARIABLES)
            if var_list is None
            else list(var_list)
        )
        if not chosen:
            raise InvalidArgumentError("no variables to optimize")
        for variable in chosen:
            if not isinstance(variable, Variable):
                raise InvalidArgumentError(f"{variable!r} is not a Variable")
        grads = gradients(
            loss, chosen, grad_loss, colocate_gradients_with_ops=colocate_gradients_with_ops
        )
        return list(zip(grads, chosen, strict=True))

    def apply_gradients(
        self, grads_and_vars: Any, global_step: Variable | None = None, name: str | None = None
    ) -> Operation:
        """An operation that applies the (gradient, variable) pairs; None gradients are skipped."""
        pairs = [(g, v) for g, v in grads_and_vars if g is not None]
        if not pairs:
            raise InvalidArgumentError("no gradients to apply")
        root: Graph = pairs[0][1].graph
        graph = root.building()  # in a branch or a loop, updates belong there and slots do not
        title = name or self._name
        with root.control_dependencies(None):
            for _, variable in pairs:
                self._make_slots(variable)
            self._make_shared(root)
        with graph.name_scope(title):
            prepared = self._prepare(graph)
            updates: list[Any] = []
            for grad, variable in pairs:
                if not (isinstance(grad, IndexedSlices) and self.takes_rows):
                    grad = graph.convert(grad, variable.dtype)
                with graph.device(variable.device or None):
                    short = variable.op.attrs["shared_name"].replace("/", "_")
                    with graph.name_scope(f"update_{short}"):
                        updates.append(self._apply(graph, grad, variable, prepared))
            updates += self._finish(graph, updates)
            with graph.control_dependencies(updates):
                if global_step is not None:
                    step = global_step.assign_add(1)
                    with graph.control_dependencies([step]):
                        done = graph.apply("no_op", name="train")
                else:
                    done = graph.apply("no_op", name="train")
        root.add_to_collection(GraphKeys.TRAIN_OP, done)
        return done

    def get_slot(self, var: Variable, name: str) -> Variable | None:
        """The slot variable `name` of `var`, or None."""
        return self._slots.get(name, {}).get(var)

    def get_slot_names(self) -> list[str]:
        """The names of the slots."""
        return sorted(self._slots)

    def _slot(self, var: Variable, name: str, fill: float = 0.0) -> Variable:
        slots = self._slots.setdefault(name, {})
        if var not in slots:
            graph = var.graph
            title = f"{var.op.attrs['shared_name']}/{self._name}/{name}"
            with graph.name_scope(None):
                start = self._filled(graph, var, fill)
                slots[var] = Variable(start, trainable=False, name=title)
        return slots[var]

    @staticmethod
    def _filled(graph: Graph, var: Variable, fill: float) -> Tensor:
        """`fill` in the shape of `var`, without computing the initial value where possible."""
        value = np.asarray(fill, var.dtype.numpy)
        if var.shape.known:
            return graph.apply("fill", np.asarray(var.shape.sizes(), np.int32), value)
        return graph.apply("zeros_like", var.initial_value) + value

    def _update(
        self, op: str, var: Variable, grad: Any, slots: Any, numbers: Any, **attrs: Any
    ) -> Any:
        """The op `apply_OP`, or `sparse_apply_OP` for a gradient of some rows."""
        graph = var.graph.building()
        rest = [self._slot(var, s).handle for s in slots]
        rest += [self._constant(graph, n, var) for n in numbers]
        if isinstance(grad, IndexedSlices):
            rows = (grad.values, grad.indices)
            return graph.apply(f"sparse_apply_{op}", var.handle, *rows, *rest, **attrs)
        return graph.apply(f"apply_{op}", var.handle, grad, *rest, **attrs)

    def _constant(self, graph: Graph, value: Any, like: Variable) -> Tensor:
        """A hyperparameter (number, tensor or variable) in the dtype of `like`."""
        if hasattr(value, "_operand"):
            tensor: Tensor = graph.convert(value)
            if tensor.dtype is like.dtype:
                return tensor
            return graph.apply("cast", tensor, dtype=like.dtype)
        return graph.convert(value, like.dtype)

    def _make_slots(self, var: Variable) -> None:
        """Make the slots that `var` needs."""

    def _make_shared(self, graph: Graph) -> None:
        """Make the variables that are not per variable."""

    def _prepare(self, graph: Graph) -> Any:
        """Make what all updates share; handed to each `_apply`."""
        return None

    def _apply(self, graph: Graph, grad: Any, var: Variable, prepared: Any) -> Any:
        """The op that updates `var`."""
        raise NotImplementedError

    def _finish(self, graph: Graph, updates: list[Any]) -> list[Any]:
        """Further ops of the step, to run after `updates`."""
        return []
