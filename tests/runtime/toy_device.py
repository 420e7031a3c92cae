"""The smallest device: it adds and negates, and notes what it is asked."""

from collections.abc import Sequence
from typing import Any

from sw.compiler.partition import Partition
from sw.graph.operation import Operation
from sw.graph.state import Container
from sw.runtime.config import SessionConfig

LOG: list[str] = []


class ToyExecutable:
    """Interprets a partition op by op."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Values for `partition.outputs`."""
        arrived = dict(zip(self.partition.inputs, inputs, strict=True))
        values: dict[Any, Any] = {}
        sent: dict[str, Any] = {}
        for op in self.partition.graph.get_operations():
            got = [values[t] for t in op.inputs]
            if op.type == "recv":
                values[op.outputs[0]] = arrived[op.attrs["key"]]
            elif op.type == "const":
                values[op.outputs[0]] = op.attrs["value"]
            elif op.type == "send":
                sent[op.attrs["key"]] = got[0]
            else:
                values[op.outputs[0]] = got[0] + got[1] if op.type == "add" else -got[0]
        return [sent[key] for key in self.partition.outputs]


class ToyDevice:
    """Implements `sw.runtime.devices.base.Device`."""

    kind = "toy"

    def __init__(self, name: str, config: SessionConfig, resources: Container) -> None:
        self.name = name
        LOG.append("made")

    def supports(self, op: Operation) -> str | None:
        """Additions and negations."""
        return None if op.type in ("add", "neg") else f"a toy has no {op.type}"

    def compile(self, partition: Partition) -> ToyExecutable:
        """Ready at once."""
        LOG.append("compiled")
        return ToyExecutable(partition)

    def close(self) -> None:
        """Note it."""
        LOG.append("closed")
