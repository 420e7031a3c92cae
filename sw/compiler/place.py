"""Place: give every op the full name of the device that it will run on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sw.compiler.unit import Fallback, Unit, rebuild
from sw.graph.device import DeviceSpec, parse
from sw.graph.dtypes import resource
from sw.graph.errors import InvalidArgumentError
from sw.graph.function import Function
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor


class Places(Protocol):
    """The devices to choose from; the first is a CPU, and CPUs take everything."""

    @property
    def names(self) -> Sequence[str]:
        """Full names, the host's CPU first."""

    def supports(self, name: str, op: Operation) -> str | None:
        """None when the named device takes `op`, else the reason why not."""


def choose(op: Operation, names: Sequence[str], specs: dict[str, DeviceSpec]) -> str:
    """The first of the devices that the op's name allows; raises for an unknown one."""
    wanted = parse(op.device)
    for name in names:
        if wanted.matches(specs[name]):
            return name
    raise InvalidArgumentError(
        f"op {op.where()} asks for the unknown device {op.device!r}; "
        f"this session has {', '.join(names)}",
        op,
    )


def keeper(op: Operation, inputs: Sequence[Tensor]) -> str | None:
    """The device of the state that `op` works on; None for a branch or loop, whose body may work on
    state of several devices."""
    if any(isinstance(value, Function) for value in op.attrs.values()):
        return None
    handles = (t.op for t in inputs if t.dtype is resource and t.op.type != "feed")
    return next((handle.device for handle in handles), None)


def place(unit: Unit, places: Places) -> Unit:
    """Resolve each op's partial device name against the session's devices. Ops without a name run
    on the first CPU, and so do ops that only CPUs have; an op that its device does not take falls
    back to that CPU and is recorded in `unit.fallback` with the reason. Of several CPUs, the one
    that has a variable or a queue runs all reads and writes of it.

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
        name = choose(op, places.names, specs) if op.device else host
        if specs[name].kind != specs[host].kind:
            if op.op_def.host_only:
                name = host
            else:
                reason = places.supports(name, op)
                if reason is not None:
                    fallback.append(Fallback(op.type, op.name, reason))
                    name = host
        if specs[name].kind == specs[host].kind:
            name = keeper(op, inputs) or name
        return graph.copy_op(op, inputs, controls, name)

    placed = rebuild(unit, None, make)
    return Unit(placed.graph, placed.feeds, placed.fetches, placed.targets, tuple(fallback))
