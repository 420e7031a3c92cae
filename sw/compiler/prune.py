"""Prune: keep only what the fetches need, and let fed values in."""

from __future__ import annotations

from sw.compiler.unit import Unit
from sw.graph.dtypes import OF_HANDLES, resource
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor


def prune(unit: Unit) -> Unit:
    """Replace each fed tensor by a `feed` op and drop every op that no fetch or target needs.

    >>> from sw.compiler.unit import render
    >>> g = Graph()
    >>> a = g.apply("identity", [1.0], name="a")
    >>> b = g.apply("exp", a, name="b")
    >>> c = g.apply("neg", b, name="c")
    >>> unused = g.apply("exp", c, name="unused")
    >>> print(render(prune(Unit(g, feeds=(b,), fetches=(c,)))))
    b = feed() -> float32(1,)
    c = neg(b) -> float32(1,)
    want c:0
    """
    fed = dict.fromkeys(unit.feeds)
    needed: set[Operation] = set()
    stack = [t.op for t in unit.fetches if t not in fed] + list(unit.targets)
    while stack:
        op = stack.pop()
        if op in needed:
            continue
        needed.add(op)
        stack.extend(t.op for t in op.inputs if t not in fed)
        stack.extend(op.control_inputs)
    graph = Graph()
    graph.seed = unit.graph.seed
    moved: dict[Tensor, Tensor] = {}
    ops: dict[Operation, Operation] = {}
    sources = {t.op for t in fed}
    for op in unit.graph.get_operations():
        if op in sources and op.type == "feed":  # pruned before: the name it was fed by stays
            moved[op.outputs[0]] = graph.copy_op(op, ()).outputs[0]
            continue
        if op in sources:
            for tensor in op.outputs:
                if tensor in fed:
                    name = op.name if op not in needed else f"{op.name}/feed"
                    attrs = {"dtype": tensor.dtype, "shape": tensor.shape, "tensor": tensor.name}
                    if tensor.dtype is resource:
                        attrs.update((k, op.attrs[k]) for k in OF_HANDLES if k in op.attrs)
                    feed = graph.create_op("feed", (), attrs, name + "/")
                    feed.device = op.device
                    moved[tensor] = feed.outputs[0]
        if op in needed:
            controls = tuple(ops[c] for c in op.control_inputs)
            new = graph.copy_op(op, tuple(moved[t] for t in op.inputs), controls)
            ops[op] = new
            for old, copy in zip(op.outputs, new.outputs, strict=True):
                moved.setdefault(old, copy)
    graph.finalize()
    return Unit(
        graph,
        tuple(moved[t] for t in unit.feeds),
        tuple(moved[t] for t in unit.fetches),
        tuple(ops[t] for t in unit.targets),
        unit.fallback,
    )
