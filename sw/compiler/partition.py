"""Partition: cut a placed unit at device borders, with a Send and a Recv for every value across.

Within one device the ops are cut into stages, so that the partitions form a DAG even when values
go to a device and back. An op that may wait for others is a partition of its own: nobody who does
not need its value waits with it. A value has one Send and is transferred once per (tensor,
device), however many of that device's ops or stages use it; its Recv stands as late as it can,
directly before the first op that uses it. Constants, constants dequantised and handles of state are
copied to every partition that uses them and never sent. An int8 value that a later stage of its
device dequantises goes there as int8.
"""

from __future__ import annotations

from dataclasses import dataclass

from sw.compiler.tpu.support import VIEWS, swaps_last
from sw.compiler.unit import Fallback, Unit
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

FEED = "feed|"
FETCH = "fetch|"
HANDLES = ("variable", "queue")
"""Ops whose value is the name of state in the session's container."""


@dataclass(frozen=True)
class Partition:
    """The ops that one device runs in one go.

    `device`: its full name. `graph`: a finalised Graph in execution order, with one `recv` op per
    entry of `inputs` (the keys, also `op.attrs["key"]`; `op.outputs[0]` is the value), before
    the first op that uses it, and at the end one `send` op per entry of `outputs`
    (`op.inputs[0]` is the value). `after`: positions in the `Plan` of partitions that must finish
    first. `waits`: its only op that is none of these nor a constant may wait for others.
    """

    device: str
    graph: Graph
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    after: tuple[int, ...]
    waits: bool = False


@dataclass(frozen=True)
class Plan:
    """Partitions in an order that respects their dependencies; `feeds` and `fetches` are the keys
    under which values come in and go out, in the unit's order; `transfers` the keys that cross
    between two devices."""

    partitions: tuple[Partition, ...]
    feeds: tuple[str, ...]
    fetches: tuple[str, ...]
    transfers: tuple[str, ...]
    fallback: tuple[Fallback, ...]


def _rootless(unit: Unit) -> set[Operation]:
    """Constants, and quantised constants with their dequantize ops: a device needs to see both
    together to know its weights. And handles of variables and queues, which are names."""
    return {
        op
        for op in unit.graph.get_operations()
        if op.type == "const"
        or op.type == "dequantize_linear"
        and all(t.op.type == "const" for t in op.inputs)
        and not op.control_inputs
        or op.type in HANDLES
    }


def _codes(op: Operation) -> bool:
    """Whether an op dequantises an int8 tensor by constants, or only shows what one did."""
    while op.type in VIEWS or swaps_last(op):
        op = op.inputs[0].op
    constants = all(tensor.op.type == "const" for tensor in op.inputs[1:])
    return op.type == "dequantize_linear" and constants and not op.control_inputs


Stage = tuple[str, int, str]
"""A device, a level, and the name of the op that waits (of all others: "")."""


def _waits(op: Operation) -> bool:
    return op.op_def.begin is not None


def _stages(unit: Unit, rootless: set[Operation]) -> dict[Operation, Stage]:
    """Each op's stage; an edge never goes to a lower level, and one to another device, to or from
    an op that waits goes to a higher one."""
    stages: dict[Operation, Stage] = {}
    for op in unit.graph.get_operations():
        if op.type == "feed" or op in rootless:
            continue
        level = 0
        alone = op.name if _waits(op) else ""
        for before in [t.op for t in op.inputs] + list(op.control_inputs):
            if before in stages:
                device, least, other = stages[before]
                level = max(level, least + (device != op.device or bool(alone or other)))
        stages[op] = (op.device, level, alone)
    return stages


class _Part:
    """One partition while it is being filled."""

    def __init__(self, device: str, waits: bool) -> None:
        self.device, self.waits = device, waits
        self.graph = Graph()
        self.tensors: dict[Tensor, Tensor] = {}
        self.ops: dict[Operation, Operation] = {}
        self.inputs: list[str] = []
        self.wanted: dict[str, Tensor] = {}
        self.after: set[int] = set()


class _Cutter:
    """The work of `partition`: places ops one by one, adding Recvs as inputs need them."""

    def __init__(self, unit: Unit) -> None:
        self.rootless = _rootless(unit)
        self.stages = _stages(unit, self.rootless)
        where = sorted(set(self.stages.values()), key=lambda s: (s[1], s[0], s[2]))
        if not where:
            where = [(t.op.device, 0, "") for t in unit.fetches if t.op in self.rootless][:1]
        self.order = {stage: index for index, stage in enumerate(where)}
        self.parts = [_Part(device, bool(alone)) for device, _, alone in where]
        self.transfers: dict[str, None] = {}
        for op, stage in self.stages.items():
            self.place(self.parts[self.order[stage]], op)

    def receive(self, part: _Part, tensor: Tensor) -> Tensor:
        """The tensor of `part` that holds the value of the unit's `tensor`."""
        if tensor in part.tensors:
            return part.tensors[tensor]
        if tensor.op in self.rootless:
            return self.place(part, tensor.op).outputs[tensor.index]
        if tensor.op.type == "feed":
            key = FEED + tensor.op.attrs["tensor"]
        else:
            source = self.order[self.stages[tensor.op]]
            sender = self.parts[source]
            if sender.device == part.device and _codes(tensor.op):
                return self.place(part, tensor.op).outputs[tensor.index]
            key = f"{sender.device}->{part.device}|{tensor.name}"
            sender.wanted.setdefault(key, sender.tensors[tensor])
            part.after.add(source)
            if sender.device != part.device:
                self.transfers.setdefault(key)
        attrs = {"dtype": tensor.dtype, "shape": tensor.shape, "key": key}
        name = f"recv/{tensor.op.name}" + (f"_{tensor.index}" if tensor.index else "")
        recv = part.graph.create_op("recv", (), attrs, name)
        recv.device = part.device
        part.inputs.append(key)
        part.tensors[tensor] = recv.outputs[0]
        return recv.outputs[0]

    def place(self, part: _Part, op: Operation) -> Operation:
        """Copy `op` into `part`."""
        inputs = tuple(self.receive(part, t) for t in op.inputs)
        controls = []
        for before in op.control_inputs:
            if before in part.ops:
                controls.append(part.ops[before])
            elif before in self.stages:
                part.after.add(self.order[self.stages[before]])
        new = part.graph.copy_op(op, inputs, tuple(controls), part.device)
        part.ops[op] = new
        part.tensors.update(zip(op.outputs, new.outputs, strict=True))
        return new

    def fetch(self, tensor: Tensor) -> str:
        """Arrange for the value to leave; the key under which it does."""
        if tensor.op.type == "feed":
            return FEED + str(tensor.op.attrs["tensor"])
        stage = self.stages.get(tensor.op)
        part = self.parts[0 if stage is None else self.order[stage]]
        self.receive(part, tensor)
        key = FETCH + tensor.name
        part.wanted[key] = part.tensors[tensor]
        return key

    def finish(self, part: _Part) -> Partition:
        """Add the Sends and freeze."""
        for key, tensor in part.wanted.items():
            send = part.graph.create_op("send", (tensor,), {"key": key}, f"send/{tensor.op.name}")
            send.device = part.device
        part.graph.finalize()
        return Partition(
            part.device,
            part.graph,
            tuple(part.inputs),
            tuple(part.wanted),
            tuple(sorted(part.after)),
            part.waits,
        )


def partition(unit: Unit) -> Plan:
    """Cut `unit`, in which every op has a full device name, into partitions.

    >>> from sw.compiler.unit import Unit
    >>> from sw.graph.graph import Graph
    >>> g = Graph()
    >>> with g.device("/cpu:0"):
    ...     x = g.apply("exp", g.apply("identity", [1.0]), name="x")
    >>> with g.device("/tpu:0"):
    ...     y = g.apply("add", x, x, name="y")
    ...     z = g.apply("mul", x, y, name="z")
    >>> for part in partition(Unit(g, fetches=(z,))).partitions:
    ...     print(part.device, part.inputs, part.outputs)
    /cpu:0 () ('/cpu:0->/tpu:0|x:0',)
    /tpu:0 ('/cpu:0->/tpu:0|x:0',) ('fetch|z:0',)
    """
    cutter = _Cutter(unit)
    fetches = tuple(cutter.fetch(t) for t in unit.fetches)
    return Plan(
        tuple(cutter.finish(p) for p in cutter.parts),
        tuple(FEED + str(t.op.attrs["tensor"]) for t in unit.feeds),
        fetches,
        tuple(cutter.transfers),
        unit.fallback,
    )
