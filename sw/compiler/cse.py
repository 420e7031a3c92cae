"""Common subexpressions: an op that repeats another is that other."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.compiler.unit import Unit, rebuild
from sw.graph.function import Function
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

# Comparing large constants byte by byte costs more than a second copy of the work saves.
COMPARE_BYTES = 1 << 16


def _hashable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.nbytes > COMPARE_BYTES or value.dtype == np.object_:
            return id(value)
        return (value.dtype.name, value.shape, value.tobytes())
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, *map(_hashable, value))
    # 1, 1.0 and True are equal in Python but not as attributes
    return (type(value).__name__, value)


def eliminate_common(unit: Unit) -> Unit:
    """Merge ops of one kind with the same inputs, attributes, control inputs and device. Stateful
    ops (random numbers, writes of variables) are all kept, and so are reads of a variable between
    which anything stateful stands; other reads of it are one, which crosses to a device once.

    >>> from sw.compiler.unit import render
    >>> g = Graph()
    >>> x = g.apply("placeholder", dtype=g.convert(1.0).dtype, shape=(2,), name="x")
    >>> y = g.apply("add", g.apply("exp", x, name="a"), g.apply("exp", x, name="b"), name="y")
    >>> print(render(eliminate_common(Unit(g, fetches=(y,)))).splitlines()[-2])
    y = add(a, a) -> float32(2,)
    """
    seen: dict[Any, Operation] = {}
    changes = 0  # ops so far that may have changed state

    def make(
        op: Operation, graph: Graph, inputs: tuple[Tensor, ...], controls: tuple[Operation, ...]
    ) -> Operation | None:
        nonlocal changes
        reads = op.type == "read_variable"
        if any(isinstance(value, Function) for value in op.attrs.values()):
            changes += 1  # its body may write
        if op.op_def.stateful and not reads:
            changes += op.type != "variable"
            return None
        key = (
            changes if reads else None,
            op.type,
            op.device,
            tuple(map(id, inputs)),
            frozenset(map(id, controls)),
            tuple((name, _hashable(value)) for name, value in op.attrs.items()),
        )
        try:
            twin = seen.get(key)
        except TypeError:
            return None  # an attribute of a user's op that cannot be compared
        if twin is None:
            twin = seen[key] = graph.copy_op(op, inputs, controls)
        return twin

    return rebuild(unit, None, make)
