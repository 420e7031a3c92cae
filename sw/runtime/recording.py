"""What a session that profiles keeps of each run of a TPU program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from sw.compiler.tpu.support import TRANSPOSED, WEIGHTED, original_name
from sw.graph.operation import Operation


@dataclass(frozen=True)
class LayerFacts:
    """A layer of a program as its user knows it: the graph's op, the shape of its result, its
    useful multiply-accumulates."""

    name: str
    op: str
    shape: tuple[int, ...]
    macs: int


@dataclass(frozen=True, eq=False)
class Recording:
    """One run: `layers` by tag; `result` is the engine's, with a trace."""

    program: Any
    layers: tuple[LayerFacts, ...]
    result: Any


def facts(op: Operation) -> LayerFacts:
    """What `op`, of known shapes, is and how much there is to do."""
    shape = op.outputs[0].shape
    sizes = tuple(shape.sizes()) if shape.known else ()
    return LayerFacts(original_name(op), op.type, sizes, _macs(op, sizes))


def _macs(op: Operation, result: tuple[int, ...]) -> int:
    if op.type not in WEIGHTED or not all(tensor.shape.known for tensor in op.inputs):
        return 0
    kernel = op.inputs[1].shape.sizes()
    if op.type == TRANSPOSED:
        return prod(op.inputs[2].shape.sizes()) * prod(kernel[:3])
    if op.type == "conv2d":
        return prod(result) * prod(kernel[:3])
    if op.type == "depthwise_conv2d":
        return prod(result) * prod(kernel[:2])
    return prod(result) * kernel[-1 if op.attrs.get("transpose_b") else -2]


def layers_of(tags: Mapping[int, str], ops: Iterable[Operation]) -> tuple[LayerFacts, ...]:
    """The facts of a program's layers by tag: a layer bears the name of an op, or begins with it
    and "/" where the compiler made several of one."""
    known = {original_name(op): op for op in ops}
    found = []
    for tag in range(1 + max(tags, default=-1)):
        name = tags.get(tag, "")
        whole = name
        while whole not in known and "/" in whole:
            whole = whole.rpartition("/")[0]
        op = known.get(whole)
        if op is None or whole != name:  # what is made beside an op does none of its work
            found.append(LayerFacts(name, op.type if op is not None else "", (), 0))
        else:
            found.append(facts(op))
    return tuple(found)
