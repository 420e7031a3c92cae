"""The CPU device: a partition becomes one generated Python function of NumPy kernel calls.

Kernels run with NumPy's floating-point warnings off, as IEEE arithmetic prescribes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sw.compiler.partition import Partition
from sw.graph.operation import Operation
from sw.graph.state import Container
from sw.runtime.config import SessionConfig
from sw.runtime.devices.bodies import Home
from sw.runtime.devices.cpu_code import Lines, Run, Writer, explained
from sw.runtime.devices.cpu_waiting import WaitingExecutable
from sw.runtime.trace import Note

_NUMBERS = itertools.count(1)  # a file name of its own: bodies are plans within plans
Send = Callable[[int, Any], None]


class CpuDevice:
    """Runs every op that has a kernel."""

    kind = "cpu"

    def __init__(self, name: str, config: SessionConfig, resources: Container) -> None:
        self.name = name
        self.devices: Any = None
        self._resources = resources
        self._late = config.enable_recv_scheduling

    def supports(self, op: Operation) -> str | None:
        """None: the CPU is where everything runs."""
        return None

    def compile(self, partition: Partition) -> CpuExecutable | WaitingExecutable:
        """Generate the function of a partition."""
        if partition.waits:
            return WaitingExecutable(partition, self._resources)
        home = Home(self.name, self._resources, self.devices)
        return CpuExecutable(partition, home, self._late)

    def close(self) -> None:
        """Nothing is held."""


class CpuExecutable:
    """One partition as a function, made in the variants that are asked for. An input is taken right
    before its first use (`late`), or all at the beginning."""

    def __init__(self, partition: Partition, home: Home, late: bool = True) -> None:
        self._late = late
        self._lines: Lines = {}
        self._partition, self._home = partition, home
        self._file = f"<systolica plan {next(_NUMBERS)}>"
        self._functions: dict[tuple[str, ...], Run] = {}
        self._function, self.source = self._compile(("_in",))

    def _compile(self, parameters: tuple[str, ...]) -> tuple[Run, str]:
        writer = Writer(self._home, self._lines, self._file, parameters, self._late)
        for op in self._partition.graph.get_operations():
            writer.add(op)
        return writer.finish(writer.sent(self._partition.outputs)), writer.source

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Outputs for inputs; an error of a kernel becomes an `OpError` naming the op."""
        try:
            with np.errstate(all="ignore"):
                return self._function(inputs)
        except Exception as error:
            raise self._explain(error) from error

    def send(
        self, inputs: Sequence[Any], send: Send, note: Note | None
    ) -> Sequence[tuple[int, Any]]:
        """`run`, but each output goes to `send(place, value)` as soon as it is there, or is among
        those returned, and `note` is told of every op."""
        given = (*((note,) if note is not None else ()), inputs, send)
        parameters = ("_note", "_in", "_send")[-len(given) :]
        if parameters not in self._functions:
            self._functions[parameters], _ = self._compile(parameters)
        try:
            with np.errstate(all="ignore"):
                return self._functions[parameters](*given)
        except Exception as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> Exception:
        trace = error.__traceback__
        op = None
        while trace is not None:
            op = self._lines.get((trace.tb_frame.f_code.co_filename, trace.tb_lineno), op)
            trace = trace.tb_next
        return error if op is None else explained(error, op)
