"""Freeze: a graph for inference alone, its variables made constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sw.compiler.prune import prune
from sw.compiler.unit import Unit, rebuild
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

KEPT = ("placeholder_with_default", "dequantize_linear")
"""Ops of constants that stay: what can still be fed, and how a quantised weight is stored."""


def freeze(unit: Unit, values: Mapping[str, Any]) -> Unit:
    """What the fetches need, with each `read_variable` op a constant from `values` (by op name)
    and what depends on constants alone computed. Names and devices stay, and so do the ops of
    `KEPT`.

    >>> from sw.compiler.unit import render
    >>> g = Graph()
    >>> h = g.apply("variable", value_dtype=g.convert(1.0).dtype, shape=(2,), shared_name="v")
    >>> y = g.apply("neg", g.apply("read_variable", h, name="v/read"), name="y")
    >>> print(render(freeze(Unit(g, fetches=(y,)), {"v/read": np.ones(2, np.float32)})))
    y = const() -> float32(2,)
    want y:0
    """

    def make(
        op: Operation, graph: Graph, inputs: tuple[Tensor, ...], controls: tuple[Operation, ...]
    ) -> Operation | None:
        if op.type == "read_variable":
            value = values[op.name]
        elif _constant(op, inputs, controls):
            with np.errstate(all="ignore"):
                kernel = op.op_def.bind(np, op.attrs)
                value = kernel(*(tensor.op.attrs["value"] for tensor in inputs))
        else:
            return None
        new = graph.create_op("const", (), {"value": np.asarray(value)}, op.name + "/")
        new.device, new.source = op.device, op.source
        return new

    return prune(rebuild(prune(unit), None, make))


def _constant(op: Operation, inputs: tuple[Tensor, ...], controls: tuple[Operation, ...]) -> bool:
    pure = not (op.op_def.stateful or controls or op.type in KEPT)
    computable = op.op_def.kernel is not None and len(op.outputs) == 1
    return pure and computable and bool(inputs) and all(t.op.type == "const" for t in inputs)
