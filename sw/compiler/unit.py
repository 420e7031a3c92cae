"""`Unit`: what passes work on, and how they rebuild it.

A unit is a graph together with what is fed to it and wanted of it. Passes never change a unit:
they make a new one with `rebuild`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor


@dataclass(frozen=True)
class Fallback:
    """An op that was asked to run on a device that cannot: `op` is its kind, `name` its name."""

    op: str
    name: str
    reason: str


@dataclass(frozen=True)
class Unit:
    """`feeds` are tensors of the graph whose values come from outside, `fetches` those that are
    wanted, `targets` ops to run; `fallback` what placement had to move to the CPU."""

    graph: Graph
    feeds: tuple[Tensor, ...] = ()
    fetches: tuple[Tensor, ...] = ()
    targets: tuple[Operation, ...] = ()
    fallback: tuple[Fallback, ...] = ()


Replace = Callable[[Operation, Graph, tuple[Tensor, ...], tuple[Operation, ...]], Operation | None]


def rebuild(unit: Unit, keep: set[Operation] | None, make: Replace | None = None) -> Unit:
    """A copy of the unit with only the ops in `keep` (None: all), each made by
    `make(op, new_graph, new_inputs, new_controls)`, which returns the op that stands for it
    in the new graph (None: the plain copy)."""
    graph = Graph()
    graph.seed = unit.graph.seed
    ops: dict[Operation, Operation] = {}
    for op in unit.graph.get_operations():
        if keep is not None and op not in keep:
            continue
        inputs = tuple(ops[t.op].outputs[t.index] for t in op.inputs)
        controls = tuple(dict.fromkeys(ops[c] for c in op.control_inputs if c in ops))
        new = make(op, graph, inputs, controls) if make else None
        ops[op] = graph.copy_op(op, inputs, controls) if new is None else new
    graph.finalize()

    def moved(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(ops[t.op].outputs[t.index] for t in tensors)

    kept_feeds = tuple(t for t in unit.feeds if t.op in ops)
    return Unit(
        graph,
        moved(kept_feeds),
        moved(unit.fetches),
        tuple(ops[t] for t in unit.targets),
        unit.fallback,
    )


def render(unit: Unit) -> str:
    """The unit as text, one op a line: for `--dump-passes` and the doctests."""
    lines = []
    for op in unit.graph.get_operations():
        outputs = ", ".join(f"{t.dtype}{t.shape}" for t in op.outputs)
        inputs = ", ".join(t.op.name if t.index == 0 else t.name for t in op.inputs)
        after = (
            f" after {', '.join(c.name for c in op.control_inputs)}" if op.control_inputs else ""
        )
        where = f" @ {op.device}" if op.device else ""
        lines.append(f"{op.name} = {op.type}({inputs}){after} -> {outputs or 'nothing'}{where}")
    if not (unit.fetches or unit.targets):
        return "\n".join(lines)
    wanted = [t.name for t in unit.fetches] + [op.name for op in unit.targets]
    return "\n".join([*lines, f"want {', '.join(wanted)}"])
