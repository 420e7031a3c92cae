"""Bodies of branches and loops whose ops stand on several devices: a plan of their own, run with
Sends and Recvs in every turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sw.compiler.passes import compile_unit
from sw.compiler.unit import Fallback, Unit, rebuild
from sw.graph import deadline
from sw.graph.device import parse
from sw.graph.function import Function
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.state import Container
from sw.graph.tensor import Tensor
from sw.runtime.executor import Executor
from sw.runtime.watch import Watch, current

_PLAIN = Watch()


@dataclass(frozen=True)
class Home:
    """Where the op stands that calls a body: its device, the session's container and devices (None:
    there are no others)."""

    device: str
    resources: Container
    devices: Any = None


def spread(function: Function, home: Home) -> Callable[..., tuple[Any, ...]] | None:
    """The body as a function of `function.arguments`, None if all of it can run at home."""
    if home.devices is None:
        return None
    here = parse(home.device)
    if all(parse(op.device).matches(here) for op in function.get_operations()):
        return None

    def make(
        op: Operation, graph: Graph, inputs: tuple[Tensor, ...], controls: tuple[Operation, ...]
    ) -> Operation:
        return graph.copy_op(op, inputs, controls, op.device or home.device)

    wanted = (*function.results, *function.saved)
    unit = rebuild(Unit(function, tuple(function.arguments), wanted), None, make)
    plan = compile_unit(unit, home.devices)
    _tell(home.devices.fallback, plan.fallback)
    executables = [home.devices.get(part.device).compile(part) for part in plan.partitions]
    executor = Executor(plan, executables)

    def run(*values: Any) -> tuple[Any, ...]:
        outer, end = current() or _PLAIN, deadline.current()
        watched = outer is not _PLAIN or end is not None
        return tuple(executor.run(values, outer.inner(end) if watched else None))

    return run


def _tell(known: list[Fallback], new: tuple[Fallback, ...]) -> None:
    known.extend(item for item in new if item not in known)
