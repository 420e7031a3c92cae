"""Running a plan: one request to each device per step, whatever the number of its ops.

A device's worker runs its partitions as the values that they need arrive at the rendezvous; nobody
stands between devices.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, overload

from sw.compiler.partition import Plan
from sw.graph.deadline import until
from sw.graph.waiting import Waiting
from sw.runtime.compression import compressible, narrow, widen
from sw.runtime.devices.base import Executable
from sw.runtime.rendezvous import Rendezvous
from sw.runtime.step import Step
from sw.runtime.watch import PartitionTime, Watch, watching

_DONE = "done|"
_NOBODY = contextlib.nullcontext()


class _Arrivals(Sequence[Any]):
    """The inputs of a partition: each is taken from the rendezvous when it is asked for."""

    def __init__(self, part: _Part, step: Step) -> None:
        self._part, self._step = part, step

    def __len__(self) -> int:
        return len(self._part.inputs)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> list[Any]: ...
    def __getitem__(self, at: int | slice) -> Any:
        if isinstance(at, slice):
            return [self[i] for i in range(len(self))[at]]
        key = self._part.inputs[at]
        value = self._step.meeting.take(key)
        watch = self._step.watch
        if watch.stats is not None and key in watch.sent and key in self._part.crossing:
            watch.stats.transferred(key, watch.sent[key], time.perf_counter(), value)
        return widen(value) if key in self._part.narrow else value


class _Part:
    """A partition with its executable: a `Work` of every step. `needs`: the keys that must have
    been sent before it can begin; `signal`: one that it sends in the end."""

    def __init__(
        self,
        plan: Plan,
        index: int,
        executable: Executable,
        narrowed: frozenset[str],
        signals: bool,
    ) -> None:
        partition = plan.partitions[index]
        self.device, self.inputs, self.outputs = (
            partition.device,
            partition.inputs,
            partition.outputs,
        )
        self.executable: Any = executable
        self.waits = partition.waits
        self.narrow = narrowed
        self.crossing = frozenset(plan.transfers)
        givers = {k: i for i, p in enumerate(plan.partitions) for k in p.outputs}
        given = {givers[k] for k in self.inputs if k in givers}
        self.needs = (*self.inputs, *(f"{_DONE}{i}" for i in partition.after if i not in given))
        self.signal = f"{_DONE}{index}" if signals else None

    def run(self, step: Step) -> None:
        """All of it, in this thread."""
        watch, executable = step.watch, self.executable
        inputs = _Arrivals(self, step)
        start = time.perf_counter()
        note = watch.note(self.device)
        with until(watch.deadline), watching(watch) if note is not None else _NOBODY:
            if hasattr(executable, "send"):
                rest = executable.send(inputs, functools.partial(self._send, step), note)
            elif note is not None and hasattr(executable, "trace"):
                rest = enumerate(executable.trace(inputs, note))
            else:
                rest = enumerate(executable.run(inputs))
        self._end(step, start, rest)

    def _send(self, step: Step, at: int, value: Any) -> None:
        key = self.outputs[at]
        if step.watch.stats is not None:
            step.watch.sent[key] = time.perf_counter()
        step.meeting.send((key,), (narrow(value) if key in self.narrow else value,))

    def _end(self, step: Step, start: float, rest: Iterable[tuple[int, Any]]) -> None:
        if step.watch.times is not None:
            step.watch.times.append(PartitionTime(self.device, start, time.perf_counter()))

        def send() -> None:
            for at, value in rest:
                self._send(step, at, value)
            if self.signal is not None:
                step.meeting.send((self.signal,), (None,))

        step.end(send)

    def begin(self, step: Step, done: Callable[[BaseException | None, Any], None]) -> Waiting:
        """Begin the op that waits; `done(None, conclude)` when it is over."""
        start = time.perf_counter()
        note = step.watch.note(self.device)

        def ended(outputs: Any, error: BaseException | None) -> None:
            done(error, lambda: self._end(step, start, enumerate(outputs)))

        waiting: Waiting = self.executable.begin(_Arrivals(self, step), ended, note)
        return waiting

    def explain(self, error: Exception) -> Exception:
        """An error of the op that waits, naming it."""
        explained: Exception = self.executable.explain(error)
        return explained


class Worker:
    """What one device does in each step of a plan."""

    def __init__(self, device: str, parts: Sequence[_Part]) -> None:
        self.device, self._parts = device, tuple(parts)

    def run(self, step: Step) -> None:
        """The one request of a step: returns at once; partitions run when they can."""
        step.watch.requests.append(self.device)
        for part in self._parts:
            step.meeting.when(part.needs, functools.partial(step.ready, part))


class Executor:
    """A plan with its executables, ready to be run any number of times."""

    def __init__(
        self,
        plan: Plan,
        executables: Sequence[Executable],
        compress: bool = False,
        pool: ThreadPoolExecutor | None = None,
    ) -> None:
        """`compress`: float32 values cross between devices as bfloat16. `pool`: helpers for what
        can run at the same time (None: some of its own)."""
        self.plan = plan
        self.executables = tuple(executables)
        narrow = compressible(plan) if compress else frozenset()
        awaited = {i for part in plan.partitions for i in part.after}
        parts = [
            _Part(plan, i, executable, narrow, i in awaited)
            for i, executable in enumerate(executables)
        ]
        devices = dict.fromkeys(part.device for part in parts)
        self.workers = tuple(Worker(d, [p for p in parts if p.device == d]) for d in devices)
        readers = Counter(key for part in plan.partitions for key in part.inputs)
        readers.update(plan.fetches)
        self._readers = dict(readers)
        self._pool = pool or ThreadPoolExecutor(len(parts) or 1, "partition")
        self._direct = self._single()

    def _single(self) -> tuple[list[int], list[int]] | None:
        """With one partition and no fetch of a feed: which feed is which input, which output is
        which fetch."""
        parts, plan = self.plan.partitions, self.plan
        if len(parts) != 1 or any(k not in parts[0].outputs for k in plan.fetches):
            return None
        inputs = [plan.feeds.index(k) for k in parts[0].inputs]
        return inputs, [parts[0].outputs.index(k) for k in plan.fetches]

    def run(self, feeds: Sequence[Any], watch: Watch | None = None) -> list[Any]:
        """Values of `plan.fetches` for values of `plan.feeds`, as `watch` asks."""
        if self._direct is not None and watch is None:
            inputs, outputs = self._direct
            values = self.executables[0].run([feeds[i] for i in inputs])
            return [values[i] for i in outputs]
        meeting = Rendezvous(self._readers)
        meeting.send(self.plan.feeds, feeds)
        step = Step(meeting, watch or Watch(), self._pool, len(self.plan.partitions))
        for worker in self.workers:
            worker.run(step)
        step.wait()
        return meeting.receive(self.plan.fetches)
