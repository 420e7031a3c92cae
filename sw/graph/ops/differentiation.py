"""Gradients by the user's own rule."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from sw.graph.build import graph_of, register_op
from sw.graph.dtypes import resource
from sw.graph.errors import InvalidArgumentError
from sw.graph.nest import flatten, is_nested, pack
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.tensor import Tensor


def _back(op: Any, *grads: Tensor) -> list[Any]:
    given = op.attrs["rule"](*grads)
    return [None] * op.attrs["count"] + list(given)


register_op(
    "own_gradient",
    kernel=lambda xp, *inputs, count, rule: inputs[:count] if count > 1 else inputs[0],
    infer=lambda inputs, count, rule: [TensorType(t.dtype, t.shape) for t in inputs[:count]],
    gradient=_back,
    attrs={"count": REQUIRED, "rule": REQUIRED},
    host_only=True,
    doc="Its first `count` inputs, whose gradients with respect to the others `rule` gives.",
)


def handles_used(ops: Any) -> list[Tensor]:
    """The handles of the variables that the operations read, each once."""
    found: dict[Tensor, None] = {}
    for op in ops:
        for tensor in op.inputs:
            shared = tensor.op.type == "read_variable"  # the read that all uses may share
            handle = tensor.op.inputs[0] if shared else tensor
            if handle.dtype is resource:
                found[handle] = None
    return list(found)


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: `f(*tensors)` returns (outputs, rule), and `rule(*output_grads)` the gradients of
    the tensors in place of the automatic ones.

    If `f` reads variables, `rule` takes `variables=` (their handles) and returns (gradients of the
    tensors, gradients of the variables). Raises `InvalidArgumentError` when it does not.
    """

    @functools.wraps(f)
    def decorated(*args: Any, **options: Any) -> Any:
        graph = graph_of(args)
        given = [graph.convert(a) for a in args]
        # a copy of each: what `f` does to it is told from other uses of the same tensor
        own = [graph.apply("identity", t) for t in given]
        first = len(graph.get_operations())
        outputs, rule = f(*own, **options)
        values = [graph.convert(v) for v in flatten(outputs)]
        handles = handles_used(graph.get_operations()[first:])
        if handles and "variables" not in inspect.signature(rule).parameters:
            names = [h.op.attrs["shared_name"] for h in handles]
            raise InvalidArgumentError(
                f"{f.__name__} uses the variables {names}: its gradient function must take "
                "variables= and give their gradients too"
            )

        def gradients(*grads: Tensor) -> list[Any]:
            if handles:
                found, others = rule(*grads, variables=handles)
                every = [*_listed(found), *_listed(others)]
            else:
                every = _listed(rule(*grads))
            if len(every) != len(given) + len(handles):
                raise InvalidArgumentError(
                    f"the gradient function of {f.__name__} gave {len(every)} values for "
                    f"{len(given)} tensors and {len(handles)} variables"
                )
            return every

        made = graph.apply(
            "own_gradient", *values, *given, *handles, count=len(values), rule=gradients
        )
        made = made if isinstance(made, list) else [made]
        return pack(outputs, made) if is_nested(outputs) else made[0]

    return decorated


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def grad_pass_through(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f` whose gradient is that of the identity: for rounding and the like, straight through."""

    def with_rule(*args: Any, **options: Any) -> Any:
        def rule(*grads: Tensor, variables: Any = None) -> Any:
            return (grads, [None] * len(variables)) if variables is not None else grads

        return f(*args, **options), rule

    return functools.wraps(f)(custom_gradient(with_rule))
