"""Specialise: give a partition the shapes that its inputs have in this run."""

from __future__ import annotations

from collections.abc import Mapping

from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor

SOURCES = ("recv", "placeholder")


def like(
    graph: Graph,
    op: Operation,
    kind: str,
    inputs: tuple[Tensor, ...],
    attrs: Mapping[str, object],
    name: str = "",
) -> Operation:
    """A new op in the place of `op`: its device and line, its types inferred anew."""
    new = graph.create_op(kind, inputs, attrs, (name or op.name) + "/")
    new.device, new.source = op.device, op.source
    return new


def specialise(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> Graph:
    """`graph` with the sources (recv, placeholder ops) named in `shapes` of those shapes, and
    every other shape inferred from them. Raises `ShapeError` where they do not fit.

    >>> from sw.graph.dtypes import float32
    >>> g = Graph()
    >>> x = g.apply("placeholder", dtype=float32, shape=(None, 2), name="x")
    >>> y = g.apply("matmul", x, [[1.0], [2.0]], name="y")
    >>> specialise(g, {"x": (3, 2)}).get_tensor_by_name("y:0").shape
    (3, 1)
    """
    new = Graph()
    made: dict[Tensor, Tensor] = {}
    for op in graph.get_operations():
        inputs = tuple(made[tensor] for tensor in op.inputs)
        if op.type == "const":
            copy = new.copy_op(op, inputs)
        elif op.type in SOURCES:
            shape = Shape(shapes.get(op.name, op.outputs[0].shape))
            copy = like(new, op, op.type, (), {**op.attrs, "shape": shape})
        else:
            copy = like(new, op, op.type, inputs, op.attrs)
        made.update(zip(op.outputs, copy.outputs, strict=True))
    return new
