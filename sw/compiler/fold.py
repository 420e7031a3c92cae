"""Constant folding: compute at plan time what depends on constants alone."""

from __future__ import annotations

import numpy as np

from sw.compiler.unit import Unit, rebuild
from sw.graph.device import parse
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

# A folded array is kept for as long as the plan: larger results are computed when they are needed.
LIMIT_BYTES = 16 << 20


def _foldable(op: Operation, inputs: tuple[Tensor, ...], controls: tuple[Operation, ...]) -> bool:
    if op.op_def.stateful or controls or len(op.outputs) != 1 or op.type == "const":
        return False
    if op.op_def.kernel is None or parse(op.device).kind not in (None, "cpu"):
        return False
    if op.type == "shape":
        return inputs[0].shape.known
    size = op.outputs[0].shape.num_elements()
    if size is not None and size * op.outputs[0].dtype.size > LIMIT_BYTES:
        return False
    return bool(inputs) and all(t.op.type == "const" for t in inputs)


def fold(unit: Unit) -> Unit:
    """Replace ops of constants by constants, and `shape` of known shapes. Stateful ops, ops under
    control dependencies and ops that were put on an accelerator stay.

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
        if op.type == "shape":
            value = np.asarray(inputs[0].shape.sizes(), op.outputs[0].dtype.numpy)
        else:
            try:
                with np.errstate(all="ignore"):
                    kernel = op.op_def.bind(np, op.attrs)
                    value = np.asarray(kernel(*(t.op.attrs["value"] for t in inputs)))
            except Exception:
                # whatever a kernel raises, it raises again when it runs, with name and line
                return None
        if value.nbytes > LIMIT_BYTES:
            return None
        new = graph.create_op("const", (), {"value": value}, op.name + "/")
        new.device, new.source = op.device, op.source
        return new

    return rebuild(unit, None, make)
