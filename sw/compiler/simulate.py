"""Place by simulated cost: ops without a device go where a simulation of the run finishes first.

The greedy placement of the TensorFlow white paper (2015), section 3.2.1.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sw.compiler.partition import HANDLES
from sw.compiler.place import Places, choose, keeper
from sw.compiler.unit import Unit, rebuild
from sw.graph.device import parse
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

Assignment = Mapping[Operation, str]


class Costs(Protocol):
    """What work and ways cost, in seconds."""

    def seconds(self, device: str, op: Operation, beside: bool) -> float:
        """Of one run of `op`; `beside`: one of its inputs was made on that device."""

    def transfer(self, source: str, target: str, tensor: Tensor) -> float:
        """Of the way of a value to another device."""


@dataclass(frozen=True)
class Simulated:
    """The greedy placement, and the seconds that the simulation gives it and each of its rivals
    (all on one device, by name)."""

    devices: Assignment
    greedy: float
    alone: Mapping[str, float]


def _free(op: Operation) -> bool:
    """Constants and handles cost nothing and are copied to where they are needed."""
    return op.type in ("const", "feed", *HANDLES)


class _Clock:
    """A run under simulation: when each device is free, each value is made and has arrived."""

    def __init__(self, costs: Costs, host: str) -> None:
        self._costs, self._host = costs, host
        self.devices: dict[Operation, str] = {}
        self._idle: dict[str, float] = {}
        self._made: dict[Operation, float] = {}
        self._there: dict[tuple[Tensor, str], float] = {}

    def _arrival(self, tensor: Tensor, device: str) -> float:
        op = tensor.op
        if op.type == "feed" and device != self._host:
            return self._costs.transfer(self._host, device, tensor)
        if op not in self._made:
            return 0.0
        if self.devices[op] == device:
            return self._made[op]
        if (tensor, device) in self._there:
            return self._there[tensor, device]
        return self._made[op] + self._costs.transfer(self.devices[op], device, tensor)

    def ready(self, op: Operation, device: str) -> float:
        """When all inputs of `op` are on the device."""
        times = [self._arrival(t, device) for t in op.inputs]
        return max([0.0, *times, *(self._made.get(c, 0.0) for c in op.control_inputs)])

    def finish(self, op: Operation, device: str) -> float:
        """When `op` would be done there."""
        beside = any(self.devices.get(t.op) == device for t in op.inputs)
        start = max(self.ready(op, device), self._idle.get(device, 0.0))
        return start + self._costs.seconds(device, op, beside)

    def made(self, op: Operation) -> float:
        """When the last input of `op` is made, wherever."""
        before = (*(t.op for t in op.inputs), *op.control_inputs)
        return max((self._made.get(b, 0.0) for b in before), default=0.0)

    @property
    def over(self) -> float:
        """When everything that was put is done."""
        return max(self._made.values(), default=0.0)

    def put(self, op: Operation, device: str) -> None:
        """Run it there."""
        end = self.finish(op, device)
        for tensor in op.inputs:
            self._there[tensor, device] = self._arrival(tensor, device)
        self.devices[op], self._made[op], self._idle[device] = device, end, end


def _candidates(unit: Unit, places: Places) -> dict[Operation, list[str]]:
    """Where each op that costs something may run; none is empty."""
    specs = {name: parse(name) for name in places.names}
    host = places.names[0]
    refused = {
        name: _refused(unit, places, name)
        for name, spec in specs.items()
        if spec.kind != specs[host].kind
    }
    found: dict[Operation, list[str]] = {}
    for op in unit.graph.get_operations():
        if _free(op):
            continue
        wanted = parse(op.device)
        names = [n for n in places.names if wanted.matches(specs[n])]
        if keeper(op, op.inputs) is not None:
            names = names[:1]
        if not names:
            choose(op, places.names, specs)  # which raises
        found[op] = [n for n in names if op not in refused.get(n, ())] or [host]
    return found


def _refused(unit: Unit, places: Places, name: str) -> set[Operation]:
    """The ops that an accelerator does not take if it has all ops before them that are free to go
    there (some are taken behind others only)."""

    def make(
        op: Operation, graph: Graph, inputs: tuple[Tensor, ...], controls: tuple[Operation, ...]
    ) -> Operation:
        return graph.copy_op(op, inputs, controls, op.device or name)

    pairs = zip(
        unit.graph.get_operations(),
        rebuild(unit, None, make).graph.get_operations(),
        strict=True,
    )
    return {
        op
        for op, there in pairs
        if op.op_def.host_only or not _free(op) and places.supports(name, there) is not None
    }


def _run(candidates: Mapping[Operation, Sequence[str]], costs: Costs, host: str) -> _Clock:
    """Run every op as soon as its inputs are there, on the candidate that is done first."""
    clock = _Clock(costs, host)
    order = {op: at for at, op in enumerate(candidates)}
    users: dict[Operation, list[Operation]] = {op: [] for op in candidates}
    missing: dict[Operation, int] = {}
    for op in candidates:
        before = {t.op for t in op.inputs} | set(op.control_inputs)
        needed = [b for b in before if b in order]
        missing[op] = len(needed)
        for one in needed:
            users[one].append(op)
    ready = [(0.0, order[op], op) for op in candidates if not missing[op]]
    heapq.heapify(ready)
    while ready:
        _, _, op = heapq.heappop(ready)
        place = min(candidates[op], key=functools.partial(clock.finish, op))
        clock.put(op, place)
        for user in users[op]:
            missing[user] -= 1
            if not missing[user]:
                heapq.heappush(ready, (clock.made(user), order[user], user))
    return clock


def simulate(unit: Unit, places: Places, costs: Costs) -> Simulated:
    """Place `unit` greedily; the candidates of an op are the devices that match its name (all
    without one) and take it. State stays where it is."""
    host = places.names[0]
    candidates = _candidates(unit, places)
    greedy = _run(candidates, costs, host)
    alone = {}
    for name in places.names:
        only = {op: [name] if name in names else names[:1] for op, names in candidates.items()}
        alone[name] = _run(only, costs, host)
    best = min([greedy, *alone.values()], key=lambda clock: clock.over)
    return Simulated(best.devices, greedy.over, {n: c.over for n, c in alone.items()})


def place_by_cost(unit: Unit, places: Places, costs: Costs) -> Unit:
    """Name the device of every op: that of the greedy placement, or of the best device alone if the
    simulation says that it is no slower.

    >>> from sw.compiler.unit import Unit
    >>> class Two:
    ...     names = ("/cpu:0", "/cpu:1")
    ...     def supports(self, name, op):
    ...         return None
    >>> class Even:
    ...     def seconds(self, device, op, beside):
    ...         return 1.0
    ...     def transfer(self, source, target, tensor):
    ...         return 0.1
    >>> g = Graph()
    >>> x = g.apply("identity", [1.0, 2.0], name="x")
    >>> y = g.apply("add", g.apply("exp", x, name="e"), g.apply("tanh", x, name="t"), name="y")
    >>> placed = place_by_cost(Unit(g, fetches=(y,)), Two(), Even())
    >>> [(op.name, op.device) for op in placed.graph.get_operations() if op.type != "const"]
    [('x', '/cpu:0'), ('e', '/cpu:0'), ('t', '/cpu:1'), ('y', '/cpu:1')]
    """
    devices = simulate(unit, places, costs).devices

    def make(
        op: Operation, graph: Graph, inputs: tuple[Tensor, ...], controls: tuple[Operation, ...]
    ) -> Operation:
        return graph.copy_op(op, inputs, controls, devices.get(op, op.device))

    return rebuild(unit, None, make)
