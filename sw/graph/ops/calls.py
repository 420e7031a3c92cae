"""The op that calls a graph function, and its gradient."""

from __future__ import annotations

import weakref
from typing import Any

from sw.graph.build import apply, register_op
from sw.graph.function import Function
from sw.graph.ops.branches import HISTORY, Backward, differentiable, grads_in
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.tensor import Tensor

_BACKWARDS: weakref.WeakKeyDictionary[Function, dict[Any, Backward]] = weakref.WeakKeyDictionary()


def _call(xp: Any, state: Any, *inputs: Any, function: Any) -> Any:
    values = function(*inputs)
    return (*values[: function.results], values[function.results :])


def _call_type(inputs: tuple[Tensor, ...], function: Function) -> list[TensorType]:
    return [TensorType(t.dtype, t.shape) for t in function.results] + [HISTORY]


def _call_grad(op: Any, *grads: Any) -> list[Any]:
    function = op.attrs["function"]
    results = [i for i, t in enumerate(op.outputs[:-1]) if differentiable(t)]
    inputs = [i for i, t in enumerate(op.inputs) if differentiable(t)]
    if not inputs or not results:
        return [None] * len(op.inputs)
    known = _BACKWARDS.setdefault(function, {})  # calls of one function share its gradient
    key = (tuple(results), tuple(inputs))
    if key not in known:
        ys = [function.results[i] for i in results]
        known[key] = Backward(function, ys, [function.arguments[i] for i in inputs])
    back = known[key]
    given = grads_in(op, grads, results)
    found = apply("call_grad", op.outputs[-1], *given, function=back.function, saved=back.positions)
    out: list[Any] = [None] * len(op.inputs)
    for index, grad in zip(inputs, found if isinstance(found, list) else [found], strict=True):
        out[index] = grad
    return out


def _call_grad_kernel(
    xp: Any, state: Any, history: Any, *grads: Any, function: Any, saved: Any
) -> Any:
    values = function(*grads, *(history[i] for i in saved))
    return values if len(values) > 1 else values[0]


register_op(
    "call",
    kernel=_call,
    infer=_call_type,
    gradient=_call_grad,
    attrs={"function": REQUIRED},
    stateful=True,
    host_only=True,
    doc="A graph function of its inputs.",
)
register_op(
    "call_grad",
    kernel=_call_grad_kernel,
    infer=lambda inputs, function, saved: _call_type(inputs, function)[:-1],
    gradient=None,
    attrs={"function": REQUIRED, "saved": REQUIRED},
    stateful=True,
    host_only=True,
    doc="The gradient of a call.",
)
