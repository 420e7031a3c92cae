"""The ops behind `cond` and `while_loop`, and their gradients.

Both call functions (`sw.graph.function`). Besides the results they have one more output, the
history: what the functions saved for the gradient, of each turn that ran. It costs nothing until
a gradient asks for something in it, and holds references, not copies.
"""

from __future__ import annotations

from typing import Any

from sw.graph.build import apply, register_op
from sw.graph.dtypes import resource, variant
from sw.graph.function import Function
from sw.graph.gradients import gradients
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.shapes import SCALAR, Shape
from sw.graph.tensor import Tensor

HISTORY = TensorType(variant, SCALAR)


def joined(a: Shape, b: Shape) -> Shape:
    """What is known of a shape that is `a` or `b`."""
    if a.dims is None or b.dims is None or len(a.dims) != len(b.dims):
        return Shape(None)
    return Shape(tuple(x if x == y else None for x, y in zip(a.dims, b.dims, strict=True)))


def differentiable(tensor: Tensor) -> bool:
    """Whether a gradient may flow to it."""
    return tensor.dtype.differentiable or tensor.dtype in (variant, resource)


def _zero(tensor: Tensor) -> Tensor:
    name = {variant: "flow_zero", resource: "zeros_of_variable"}.get(tensor.dtype, "zeros_like")
    out: Tensor = apply(name, *(() if tensor.dtype is variant else (tensor,)))
    return out


class Backward:
    """The gradient of one function: a function of the results' gradients and of saved values."""

    def __init__(self, forward: Function, ys: list[Tensor], xs: list[Tensor]) -> None:
        self.function = Function(forward, f"{forward.name}/gradient{len(forward.saved)}")
        given = [self.function.parameter(y) for y in ys]

        def body() -> list[Any]:
            found = gradients(ys, xs, given) if ys else [None] * len(xs)
            return [_zero(x) if g is None else g for x, g in zip(xs, found, strict=True)]

        self.function.finish(self.function.trace(body))
        self.positions = tuple(forward.save(t) for t in self.function.captures)


def grads_in(op: Any, grads: tuple[Any, ...], which: list[int]) -> list[Any]:
    """The gradients of the outputs `which`, zeros for those that have none."""
    return [(_zero(op.outputs[i]) if grads[i] is None else grads[i]) for i in which]


# --- cond -----------------------------------------------------------------------------------------


def _cond(
    xp: Any, state: Any, predicate: Any, *captures: Any, then_branch: Any, else_branch: Any
) -> Any:
    chosen = then_branch if predicate else else_branch
    values = chosen(*captures)
    return (*values[: chosen.results], values[chosen.results :])


def _cond_type(
    inputs: tuple[Tensor, ...], then_branch: Function, else_branch: Function
) -> list[TensorType]:
    pairs = zip(then_branch.results, else_branch.results, strict=True)
    return [TensorType(a.dtype, joined(a.shape, b.shape)) for a, b in pairs] + [HISTORY]


def _cond_grad(op: Any, *grads: Any) -> list[Any]:
    branches = (op.attrs["then_branch"], op.attrs["else_branch"])
    results = [i for i, t in enumerate(op.outputs[:-1]) if differentiable(t)]
    inputs = [i for i, t in enumerate(op.inputs[1:]) if differentiable(t)]
    back = [
        Backward(b, [b.results[i] for i in results], [b.arguments[i] for i in inputs])
        for b in branches
    ]
    if not inputs:
        return [None] * len(op.inputs)
    found = apply(
        "cond_grad",
        op.inputs[0],
        op.outputs[-1],
        *grads_in(op, grads, results),
        then_branch=back[0].function,
        else_branch=back[1].function,
        saved=(back[0].positions, back[1].positions),
    )
    found = found if isinstance(found, list) else [found]
    out: list[Any] = [None] * len(op.inputs)
    for index, grad in zip(inputs, found, strict=True):
        out[1 + index] = grad
    return out


def _cond_grad_kernel(
    xp: Any,
    state: Any,
    predicate: Any,
    history: Any,
    *grads: Any,
    then_branch: Any,
    else_branch: Any,
    saved: Any,
) -> Any:
    chosen, positions = (then_branch, saved[0]) if predicate else (else_branch, saved[1])
    values = chosen(*grads, *(history[i] for i in positions))
    return values if len(values) > 1 else values[0]


def _cond_grad_type(inputs: tuple[Tensor, ...], **attrs: Any) -> list[TensorType]:
    return _cond_type(inputs, attrs["then_branch"], attrs["else_branch"])[:-1]


register_op(
    "cond",
    kernel=_cond,
    infer=_cond_type,
    gradient=_cond_grad,
    attrs={"then_branch": REQUIRED, "else_branch": REQUIRED},
    stateful=True,
    host_only=True,
    doc="One of two functions of its other inputs, as inputs[0] says.",
)
register_op(
    "cond_grad",
    kernel=_cond_grad_kernel,
    infer=_cond_grad_type,
    gradient=None,
    attrs={"then_branch": REQUIRED, "else_branch": REQUIRED, "saved": REQUIRED},
    stateful=True,
    host_only=True,
    doc="The gradient of the branch that ran.",
)


# --- while ----------------------------------------------------------------------------------------


def _while(
    xp: Any,
    state: Any,
    *inputs: Any,
    predicate: Any,
    body: Any,
    carried: int,
    limit: int | None,
) -> Any:
    values, captures = inputs[:carried], inputs[carried:]
    history: list[Any] = []
    while (limit is None or len(history) < limit) and predicate(*values, *captures)[0]:
        done = body(*values, *captures)
        values = done[:carried]
        history.append(done[carried:])
    return (*values, history)


def _while_type(
    inputs: tuple[Tensor, ...], body: Function, carried: int, **attrs: Any
) -> list[TensorType]:
    arguments = body.arguments[:carried]
    return [TensorType(a.dtype, a.shape) for a in arguments] + [HISTORY]


def _while_grad(op: Any, *grads: Any) -> list[Any]:
    body, carried = op.attrs["body"], op.attrs["carried"]
    loop = [i for i in range(carried) if differentiable(op.outputs[i])]
    captures = [i for i in range(carried, len(op.inputs)) if differentiable(op.inputs[i])]
    if not loop:
        return [None] * len(op.inputs)
    back = Backward(
        body, [body.results[i] for i in loop], [body.arguments[i] for i in (*loop, *captures)]
    )
    zeros = [_zero(op.inputs[i]) for i in captures]
    found = apply(
        "while_grad",
        op.outputs[-1],
        *grads_in(op, grads, loop),
        *zeros,
        body=back.function,
        carried=len(loop),
        saved=back.positions,
    )
    found = found if isinstance(found, list) else [found]
    out: list[Any] = [None] * len(op.inputs)
    for index, grad in zip((*loop, *captures), found, strict=True):
        if index < carried:
            grad.set_shape(op.inputs[index].shape)
        out[index] = grad
    return out


def _while_grad_kernel(
    xp: Any, state: Any, history: Any, *inputs: Any, body: Any, carried: int, saved: Any
) -> Any:
    grads, totals = list(inputs[:carried]), list(inputs[carried:])
    for turn in reversed(history):
        values = body(*grads, *(turn[i] for i in saved))
        grads = list(values[:carried])
        for index, share in enumerate(values[carried:]):
            totals[index] = _sum(totals[index], share)
    values = (*grads, *totals)
    return values if len(values) > 1 else values[0]


def _sum(total: Any, share: Any) -> Any:
    if not isinstance(share, dict):
        return total + share
    merged = dict(total)
    for at, grad in share.items():
        merged[at] = merged[at] + grad if at in merged else grad
    return merged


def _while_grad_type(inputs: tuple[Tensor, ...], carried: int, **attrs: Any) -> list[TensorType]:
    given = inputs[1 : 1 + carried]
    loop = [TensorType(t.dtype, Shape(None) if t.dtype.differentiable else SCALAR) for t in given]
    return loop + [TensorType(t.dtype, t.shape) for t in inputs[1 + carried :]]


register_op(
    "while",
    kernel=_while,
    infer=_while_type,
    gradient=_while_grad,
    attrs={"predicate": REQUIRED, "body": REQUIRED, "carried": REQUIRED, "limit": None},
    stateful=True,
    host_only=True,
    doc="`body` of the first `carried` inputs and the others, again and again while `predicate`.",
)
register_op(
    "while_grad",
    kernel=_while_grad_kernel,
    infer=_while_grad_type,
    gradient=None,
    attrs={"body": REQUIRED, "carried": REQUIRED, "saved": REQUIRED},
    stateful=True,
    host_only=True,
    doc="The turns of a loop backwards: gradients of what it carried, then of what it captured.",
)
