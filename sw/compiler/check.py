"""Type check: infer every op's types again in the unit and compare."""

from __future__ import annotations

from sw.compiler.unit import Unit
from sw.graph.errors import InternalError, InvalidArgumentError, OpError
from sw.graph.registry import TensorType


def check_types(unit: Unit) -> Unit:
    """The unit itself; raises `InvalidArgumentError` when an op's inputs no longer fit it (a feed
    whose static shape was changed), naming the op and its line.

    >>> from sw.graph.graph import Graph
    >>> g = Graph()
    >>> a = g.apply("neg", [1.0], name="a")
    >>> check_types(Unit(g, fetches=(a,))).fetches[0] is a
    True
    """
    for op in unit.graph.get_operations():
        try:
            types = op.op_def.infer(op.inputs, **op.attrs)
        except (OpError, TypeError, ValueError) as error:
            raise InvalidArgumentError(f"op {op.where()}: {error}", op) from None
        inferred = [types] if isinstance(types, TensorType) else list(types)
        if len(inferred) != len(op.outputs):
            raise InternalError(
                f"op {op.where()}: its type rule gives {len(inferred)} outputs, it was made with "
                f"{len(op.outputs)}",
                op,
            )
        for (dtype, shape), tensor in zip(inferred, op.outputs, strict=True):
            if dtype is not tensor.dtype or not shape.compatible(tensor.shape):
                raise InvalidArgumentError(
                    f"op {op.where()}: output {tensor.name!r} is {tensor.dtype}{tensor.shape}, "
                    f"its type rule says {dtype}{shape}",
                    op,
                )
    return unit
