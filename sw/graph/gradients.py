"""Symbolic differentiation: `gradients` adds the ops that compute dy/dx to the graph."""

from __future__ import annotations

from typing import Any

from sw.graph.errors import DTypeError, InvalidArgumentError, NotFoundError, ShapeError
from sw.graph.graph import Graph
from sw.graph.indexed_slices import IndexedSlices, add_up
from sw.graph.operation import Operation
from sw.graph.ops.variables import Variable
from sw.graph.tensor import Tensor

# Their gradients pass rows on as rows; every other op gets a dense gradient.
_SPARSE_THROUGH = ("identity", "read_variable")


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _source(graph: Graph, x: Any) -> Tensor:
    """What the gradient flows to: the tensor, or a variable's handle, which all reads share."""
    element = x.handle if isinstance(x, Variable) else x._operand() if _outer(graph, x) else None
    if element is None:
        element = graph.as_graph_element(x)
    elif element.graph is not graph:
        element = graph.adopt(element)
    if not isinstance(element, Tensor):
        raise InvalidArgumentError(f"{x!r} is an operation: gradients are of and by tensors")
    if element.op.type == "read_variable":
        return element.op.inputs[0] if isinstance(x, Variable) else element
    return element


def _outer(graph: Graph, x: Any) -> bool:
    """Whether `x` is a tensor outside the function's body that is being differentiated."""
    return isinstance(x, Tensor) and x.graph is not graph and graph.sees(x.graph)


def _reached_from(xs: list[Tensor], graph: Graph, stop: set[Tensor]) -> set[Operation]:
    """The ops whose value depends on one of `xs` (their own ops included)."""
    wanted = set(xs)
    reached: set[Operation] = {x.op for x in xs}
    moving = {t for x in xs for t in (x,)}
    for op in graph.get_operations():
        if any(t in moving and t not in stop for t in op.inputs):
            reached.add(op)
            moving.update(op.outputs)
        elif op in reached:
            moving.update(t for t in op.outputs if t in wanted)
    return reached


def _needed_for(ys: list[Tensor]) -> set[Operation]:
    """The ops that `ys` depend on."""
    seen: set[Operation] = set()
    stack = [y.op for y in ys]
    while stack:
        op = stack.pop()
        if op not in seen:
            seen.add(op)
            stack.extend(t.op for t in op.inputs)
    return seen


def _check_grad(op: Operation, tensor: Tensor, grad: Any) -> None:
    if not tensor.dtype.differentiable:  # handles and flows
        return
    if grad.dtype is not tensor.dtype or not grad.shape.compatible(tensor.shape):
        raise ShapeError(
            f"the gradient of op {op.where()} gives {grad.dtype}{grad.shape} for its input "
            f"{tensor.name!r}, which is {tensor.dtype}{tensor.shape}",
            op,
        )


def _start(graph: Graph, ys: list[Tensor], grad_ys: list[Any]) -> dict[Tensor, list[Any]]:
    pending: dict[Tensor, list[Any]] = {}
    for y, given in zip(ys, grad_ys, strict=True):
        if y.dtype.is_bool or y.dtype.is_integer:
            raise DTypeError(f"{y.name!r} ({y.op.source}) is {y.dtype}: only floats have gradients")
        make = graph.building()
        grad = make.apply("ones_like", y) if given is None else _given(make, given, y)
        if y.dtype.differentiable and not grad.shape.compatible(y.shape):
            raise ShapeError(f"grad_ys {grad.shape} for {y.name!r} of shape {y.shape}")
        pending.setdefault(y, []).append(grad)
    return pending


def gradients(
    ys: Any,
    xs: Any,
    grad_ys: Any = None,
    name: str = "gradients",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: bool = False,
    aggregation_method: Any = None,
    stop_gradients: Any = None,
    unconnected_gradients: str = "none",
) -> list[Any]:
    """The sum over `ys` of dy/dx for each x in `xs` (tensors or variables).

    The gradient of a lookup (`gather`, `embedding_lookup`) is an `IndexedSlices`. `grad_ys`: the
    incoming gradients (default: ones). `stop_gradients`: tensors held constant.
    An x that no y depends on gives None, or zeros with `unconnected_gradients="zero"`.
    Raises `NotFoundError` naming an op on the way that has no gradient.
    """
    if unconnected_gradients not in ("none", "zero"):
        raise InvalidArgumentError(
            f"unconnected_gradients={unconnected_gradients!r} should be 'none' or 'zero'"
        )
    ys, xs = _as_list(ys), _as_list(xs)
    if not ys:
        raise InvalidArgumentError("gradients needs at least one y")
    targets = [y._operand() for y in ys]
    graph: Graph = targets[0].graph
    sources = [_source(graph, x) for x in xs]
    stop = {_source(graph, s) for s in _as_list(stop_gradients)} if stop_gradients else set()
    given = [None] * len(ys) if grad_ys is None else _as_list(grad_ys)
    with graph.building().name_scope(name):
        path = _reached_from(sources, graph, stop) & _needed_for(targets)
        order = [op for op in graph.get_operations() if op in path]
        pending = _start(graph, targets, given)
        done: dict[Tensor, Any] = {}
        for op in reversed(order):
            grads = [_collect(pending, t) for t in op.outputs]
            for tensor, grad in zip(op.outputs, grads, strict=True):
                if grad is not None:
                    done[tensor] = grad
            if not any(t.op in path and t not in stop for t in op.inputs):
                continue
            if all(g is None for g in grads):
                continue
            _through(graph, op, grads, path, pending, stop, colocate_gradients_with_ops)
        return [
            _result(graph, x, done.get(s), unconnected_gradients)
            for x, s in zip(xs, sources, strict=True)
        ]


def _through(
    graph: Graph,
    op: Operation,
    grads: list[Any],
    path: set[Operation],
    pending: dict[Tensor, list[Any]],
    stop: set[Tensor],
    colocate: bool,
) -> None:
    """Carry the gradients of `op`'s outputs to its inputs."""
    rule = op.op_def.gradient
    if rule is None:
        raise NotFoundError(f"no gradient is defined for op {op.where()}", op)
    if op.type not in _SPARSE_THROUGH:
        grads = [g._operand() if isinstance(g, IndexedSlices) else g for g in grads]
    graph = graph.building()
    full = [
        graph.apply("zeros_like", t) if g is None and t.dtype.differentiable else g
        for t, g in zip(op.outputs, grads, strict=True)
    ]
    with graph.name_scope(f"{op.name}_grad".replace("/", "_")):
        if colocate:
            with graph.device(None), graph.device(op.device):  # op may be of an outer graph
                results = rule(op, *full)
        else:
            results = rule(op, *full)
    results = _as_list(results)
    if len(results) != len(op.inputs):
        raise InvalidArgumentError(
            f"the gradient of op {op.where()} gave {len(results)} values for "
            f"{len(op.inputs)} inputs",
            op,
        )
    for tensor, grad in zip(op.inputs, results, strict=True):
        if grad is not None and tensor not in stop and tensor.op in path:
            _check_grad(op, tensor, grad)
            pending.setdefault(tensor, []).append(grad)


def _given(graph: Graph, value: Any, y: Tensor) -> Any:
    return value if isinstance(value, IndexedSlices) else graph.convert(value, y.dtype)


def _collect(pending: dict[Tensor, list[Any]], tensor: Tensor) -> Any:
    parts = pending.pop(tensor, None)
    return add_up(parts) if parts else None


def _result(graph: Graph, x: Any, grad: Any, unconnected: str) -> Any:
    if grad is not None or unconnected == "none":
        return grad
    zero: Tensor = graph.building().apply("zeros_like", x)
    return zero
