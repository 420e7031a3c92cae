"""Constant folding: compute at plan time what depends on constants alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.compiler.unit import Unit, rebuild
from sw.graph.device import parse
from sw.graph.dtypes import sequence, variant
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

# A folded array is kept for as long as the plan: larger results are computed when they are needed.
LIMIT_BYTES = 16 << 20


# Ops that look at their input's shape and dtype, never at its elements.
SHAPE_ONLY = ("ones_like", "rank", "shape", "size", "zeros_like")


def _value(tensor: Tensor) -> Any:
    """The constant, or, for ops that see only its shape, an array that stands for it."""
    if tensor.op.type == "const":
        return tensor.op.attrs["value"]
    return np.broadcast_to(np.zeros((), tensor.dtype.numpy), tensor.shape.sizes())


def _foldable(op: Operation, inputs: tuple[Tensor, ...], controls: tuple[Operation, ...]) -> bool:
    if op.op_def.stateful or controls or len(op.outputs) != 1 or op.type == "const":
        return False
    if op.outputs[0].dtype in (sequence, variant):  # not an array
        return False
    if op.op_def.kernel is None or parse(op.device).kind not in (None, "cpu"):
        return False
    if op.type in SHAPE_ONLY and not inputs[0].shape.known:
        return False
    size = op.outputs[0].shape.num_elements()
    if size is not None and size * op.outputs[0].dtype.size > LIMIT_BYTES:
        return False
    return op.type in SHAPE_ONLY or bool(inputs) and all(t.op.type == "const" for t in inputs)


def fold(unit: Unit) -> Unit:
    """Replace ops of constants by constants, and ops that need only a known shape. Stateful ops,
    ops under control dependencies and ops that were put on an accelerator stay.

    >>> from sw.compiler.unit import render
    >>> g = Graph()
    >>> s = g.apply("add", [1.0], [2.0], name="s")
    >>> print(render(fold(Unit(g, fetches=(s,)))).splitlines()[-2])
    s = const() -> float32(1,)
    """

    def make(
        op: Operation, graph: Graph, inputs: tuple[Tensor, ...], controls: tuple[Operation, ...]
    ) -> Operation | None:
        if not _foldable(op, inputs, controls):
            return None
        try:
            with np.errstate(all="ignore"):
                kernel = op.op_def.bind(np, op.attrs)
                value = np.asarray(kernel(*map(_value, inputs)))
        except Exception:
            # whatever a kernel raises, it raises again when it runs, with name and line
            return None
        if value.nbytes > LIMIT_BYTES:
            return None
        new = graph.create_op("const", (), {"value": value}, op.name + "/")
        new.device, new.source = op.device, op.source
        return new

    return rebuild(unit, None, make)
