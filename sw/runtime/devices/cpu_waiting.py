"""The partition of one op that may wait for others, on a CPU."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from sw.compiler.partition import Partition
from sw.graph.errors import OpError
from sw.graph.operation import Operation
from sw.graph.state import Container, OpState
from sw.graph.tensor import Tensor
from sw.graph.waiting import Done, Waiting, wait
from sw.runtime.devices.cpu_code import explained, frozen
from sw.runtime.trace import Note


class WaitingExecutable:
    """The partition of one op that may wait for others."""

    def __init__(self, partition: Partition, resources: Container) -> None:
        self._before: list[Operation] = []
        self._places = {key: i for i, key in enumerate(partition.inputs)}
        self._sent: dict[str, Tensor] = {}
        for op in partition.graph.get_operations():
            if op.op_def.begin is not None:
                self._op = op
            elif op.type == "send":
                self._sent[op.attrs["key"]] = op.inputs[0]
            else:
                self._before.append(op)
        self._keys = partition.outputs
        self._resources = resources
        begin = self._op.op_def.begin
        assert begin is not None
        self._begin = functools.partial(begin, OpState(resources, self._op.name))

    def begin(self, inputs: Sequence[Any], done: Done, note: Note | None) -> Waiting:
        """Begin the op; `done` gets one value per output of the partition."""
        start = time.perf_counter()
        values: dict[Tensor, Any] = {}
        for op in self._before:
            values[op.outputs[0]] = self._value(op, inputs, values)

        def ended(outputs: Any, error: BaseException | None) -> None:
            sent = None
            if error is None:
                made = outputs if isinstance(outputs, tuple) else (outputs,)
                values.update(zip(self._op.outputs, made, strict=True))
                sent = [values[self._sent[key]] for key in self._keys]
                try:
                    if note is not None:
                        note(self._op, start, time.perf_counter(), made, "")
                except OpError as found:
                    error = found
            done(sent, error)

        given = [values[t] for t in self._op.inputs]
        waiting: Waiting = self._begin(ended, *given, **self._op.attrs)
        return waiting

    def _value(self, op: Operation, inputs: Sequence[Any], values: dict[Tensor, Any]) -> Any:
        if op.type == "recv":
            return inputs[self._places[op.attrs["key"]]]
        if op.type == "const":
            return frozen(op.attrs["value"])
        state = OpState(self._resources, op.name) if op.op_def.stateful else None
        return op.op_def.bind(np, op.attrs, state)(*(values[t] for t in op.inputs))

    def explain(self, error: Exception) -> Exception:
        """An error of the op, naming it."""
        return explained(error, self._op)

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """`begin`, waiting in this thread: for a step that has nothing else to do."""
        try:
            outputs: Sequence[Any] = wait(lambda done: self.begin(inputs, done, None))
        except Exception as error:
            raise self.explain(error) from error
        return outputs
