"""Place: give every op the full name of the device that it will run on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sw.compiler.unit import Fallback, Unit, rebuild
from sw.graph.device import DeviceSpec, parse
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor


class Places(Protocol):
    """The devices to choose from; the first name is the CPU that takes everything."""

    @property
    def names(self) -> Sequence[str]:
        """Full names, the host's CPU first."""

    def supports(self, name: str, op: Operation) -> str | None:
        """None when the named device takes `op`, else the reason why not."""


def _choose(op: Operation, names: Sequence[str], specs: dict[str, DeviceSpec]) -> str:
    wanted = parse(op.device)
    for name in names:
        if wanted.matches(specs[name]):
            return name
    raise InvalidArgumentError(
        f"op {op.where()} asks for the unknown device {op.device!r}; "
        f"this session has {', '.join(names)}",
        op,
    )


def place(unit: Unit, places: Places) -> Unit:
    """Resolve each op's partial device name against the session's devices. Ops without a name run
    on the CPU, and so do ops that only the host has; an op that its device does not take falls
    back to the CPU and is recorded in `unit.fallback` with the reason.

    Raises `InvalidArgumentError` for an unknown device, listing those that exist.

    >>> from sw.compiler.unit import render
    >>> class Two:
    ...     names = ("/cpu:0", "/tpu:0")
    ...     def supports(self, name, op):
    ...         return None if op.type == "neg" else "it only negates"
    >>> g = Graph()
    >>> with g.device("/tpu:0"):
    ...     y = g.apply("exp", g.apply("neg", [1.0], name="n"), name="y")
    >>> placed = place(Unit(g, fetches=(y,)), Two())
    >>> [(op.name, op.device) for op in placed.graph.get_operations()]
    [('Const', '/cpu:0'), ('n', '/tpu:0'), ('y', '/cpu:0')]
    >>> placed.fallback
    (Fallback(op='exp', name='y', reason='it only negates'),)
    """
    specs = {name: parse(name) for name in places.names}
    host = places.names[0]
    fallback: list[Fallback] = list(unit.fallback)

    def make(
        op: Operation, graph: Graph, inputs: tuple[Tensor, ...], controls: tuple[Operation, ...]
    ) -> Operation | None:
        name = _choose(op, places.names, specs) if op.device else host
        if name != host:
            if op.op_def.host_only:
                name = host
            else:
                reason = places.supports(name, op)
                if reason is not None:
                    fallback.append(Fallback(op.type, op.name, reason))
                    name = host
        return graph.copy_op(op, inputs, controls, name)

    placed = rebuild(unit, None, make)
    return Unit(placed.graph, placed.feeds, placed.fetches, placed.targets, tuple(fallback))
