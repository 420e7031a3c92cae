"""What a device is to the runtime: it says which ops it takes and turns partitions into
executables.

A device class is made as `Class(name, config, resources)`: its full name
("/job:localhost/replica:0/task:0/tpu:0"), the session's `SessionConfig` and the session's
`Container` of variables (of use to the CPU only). If it has an attribute `devices`, that becomes
the session's `DeviceSet`: for bodies of branches and loops whose ops stand elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from sw.compiler.partition import Partition
from sw.graph.operation import Operation


class Executable(Protocol):
    """A compiled partition."""

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """One NumPy array per `partition.inputs`, in that order, to one per `partition.outputs`.

        Ask for each input once, when it is needed: it is held elsewhere until then.

        One that can do so also has `send(inputs, send, note)`, which calls `send(place, value)` as
        soon as it has an output, and returns the last ones as such pairs.

        Inputs are immutable; the same array object in a later run holds the same value.
        """


class Device(Protocol):
    """A place that runs partitions."""

    name: str
    kind: str

    def supports(self, op: Operation) -> str | None:
        """None when `op` can run here, else the reason why not, in words for the user."""

    def compile(self, partition: Partition) -> Executable:
        """The partition made ready to run; called once per plan."""

    def close(self) -> None:
        """Give back what the device holds; called once, at the end of the session."""
