"""What is built of gradients: second derivatives, and values computed again instead of kept."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.errors import ShapeError
from sw.graph.gradients import gradients
from sw.graph.nest import flatten
from sw.graph.ops.differentiation import custom_gradient
from sw.graph.ops.variables import Variable
from sw.graph.tensor import Tensor


class UnconnectedGradients:
    """What `gradients` gives for what no y depends on: None, or zeros."""

    NONE, ZERO = "none", "zero"


def hessians(
    ys: Any,
    xs: Any,
    name: str = "hessians",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: bool = False,
    aggregation_method: Any = None,
) -> list[Tensor]:
    """For each x the second derivatives [*x.shape, *x.shape] of the sum of `ys`. The static shape
    of x must be known: one gradient is made for each of its elements."""
    out = []
    with graph_of(flatten(ys)).name_scope(name):
        for x in xs if isinstance(xs, (list, tuple)) else [xs]:
            if not x.shape.known:
                raise ShapeError(f"hessians need the shape of {x!r}")
            first = gradients(ys, x, colocate_gradients_with_ops=colocate_gradients_with_ops)[0]
            flat = apply("reshape", first, np.asarray([-1], np.int32))
            sizes = x.shape.sizes()
            rows = [
                gradients(flat[i], x, unconnected_gradients=UnconnectedGradients.ZERO)[0]
                for i in range(int(np.prod(sizes)))
            ]
            whole = np.asarray((*sizes, *sizes), np.int32)
            out.append(apply("reshape", apply("stack", *rows, axis=0), whole))
    return out


def recompute_grad(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: the gradient of `f(*tensors)` computes `f` again, so that its inner values need
    not be kept from the forward pass until then (Chen et al., "Training deep nets with sublinear
    memory cost", 2016). `f` must give the same outputs both times: no new variables, no random
    numbers."""

    def with_rule(*args: Any, **options: Any) -> Any:
        def rule(*grads: Tensor, variables: Any = None) -> Any:
            graph = graph_of(grads)
            # what is computed again waits for the incoming gradient, and so is another value
            with graph.control_dependencies(grads):
                again = [graph.apply("identity", a) for a in args]
                outputs = flatten(f(*again, **options))
            wanted = [*again, *_variables(graph, variables or [])]
            found = gradients(outputs, wanted, list(grads))
            split = len(again)
            return found[:split] if variables is None else (found[:split], found[split:])

        return f(*args, **options), rule

    return functools.wraps(f)(custom_gradient(with_rule))


def _variables(graph: Any, handles: list[Tensor]) -> list[Variable]:
    from_handle = {v.handle: v for v in graph.root.get_collection("variables")}
    return [from_handle[h] for h in handles]
