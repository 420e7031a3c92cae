"""Running a plan: each partition when the partitions it depends on are done."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sw.compiler.partition import Plan
from sw.graph.deadline import until
from sw.runtime.compression import compressible, narrowed, widened
from sw.runtime.devices.base import Executable
from sw.runtime.rendezvous import Rendezvous
from sw.runtime.trace import Note, StepStats, refuse_nan


class PartitionTime(NamedTuple):
    """When a partition ran, in seconds of `time.perf_counter`."""

    device: str
    start: float
    end: float


@dataclass
class Watch:
    """What to look at in a run: `times` gets each partition's, `stats` each op's; operations that
    wait give up at `deadline` (of `time.monotonic`); with `find_nan` the first op that makes a NaN
    is an error."""

    times: list[PartitionTime] | None = None
    stats: StepStats | None = None
    deadline: float | None = None
    find_nan: bool = False
    sent: dict[str, float] = field(default_factory=dict)

    def note(self, device: str) -> Note | None:
        """What executables call for each op, None when nobody wants to know."""
        notes = [self.stats.noting(device)] if self.stats is not None else []
        if self.find_nan:
            notes.append(refuse_nan)
        if len(notes) < 2:
            return notes[0] if notes else None

        def both(*what: Any) -> None:
            for one in notes:
                one(*what)

        return both


class Executor:
    """A plan with its executables, ready to be run any number of times."""

    def __init__(
        self, plan: Plan, executables: Sequence[Executable], compress: bool = False
    ) -> None:
        """`compress`: float32 values cross between devices as bfloat16."""
        self.plan = plan
        self._narrow = compressible(plan) if compress else frozenset()
        self.executables = tuple(executables)
        parts = plan.partitions
        producer = {key: i for i, part in enumerate(parts) for key in part.outputs}
        before = [
            set(part.after) | {producer[k] for k in part.inputs if k in producer} - {i}
            for i, part in enumerate(parts)
        ]
        self._counts = [len(b) for b in before]
        self._next: list[list[int]] = [
            [j for j in range(len(parts)) if i in before[j]] for i in range(len(parts))
        ]
        readers = Counter(key for part in parts for key in part.inputs)
        readers.update(plan.fetches)
        self._readers = dict(readers)
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
        if self.plan.partitions:
            self._run_all(meeting, watch or Watch())
        return meeting.receive(self.plan.fetches)

    def _one(self, index: int, meeting: Rendezvous, watch: Watch) -> int:
        part = self.plan.partitions[index]
        taken = meeting.receive(part.inputs)
        inputs = widened(part.inputs, taken, self._narrow) if self._narrow else taken
        executable = self.executables[index]
        start = time.perf_counter()
        with until(watch.deadline):
            note = watch.note(part.device)
            if note is not None and hasattr(executable, "trace"):
                outputs = executable.trace(inputs, note)
            else:
                outputs = executable.run(inputs)
        end = time.perf_counter()
        if watch.times is not None:
            watch.times.append(PartitionTime(part.device, start, end))
        if watch.stats is not None:
            self._transfers(watch, part.inputs, taken, start)
            watch.sent.update(dict.fromkeys(part.outputs, end))
        if self._narrow:
            outputs = narrowed(part.outputs, outputs, self._narrow)
        meeting.send(part.outputs, outputs)
        return index

    def _transfers(
        self, watch: Watch, keys: Sequence[str], values: Sequence[Any], taken: float
    ) -> None:
        for key, value in zip(keys, values, strict=True):
            if key in self.plan.transfers and watch.stats is not None:
                watch.stats.transferred(key, watch.sent[key], taken, value)

    def _run_all(self, meeting: Rendezvous, watch: Watch) -> None:
        left = list(self._counts)
        ready = [i for i, count in enumerate(left) if count == 0]
        running: set[Future[int]] = set()
        pool: ThreadPoolExecutor | None = None
        try:
            while ready or running:
                # one partition that is ready alone needs no thread
                if len(ready) == 1 and not running:
                    finished = [self._one(ready.pop(), meeting, watch)]
                else:
                    pool = pool or ThreadPoolExecutor(len(self.executables), "partition")
                    running |= {pool.submit(self._one, i, meeting, watch) for i in ready}
                    ready = []
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    finished = [future.result() for future in done]
                for index in finished:
                    for following in self._next[index]:
                        left[following] -= 1
                        if left[following] == 0:
                            ready.append(following)
        finally:
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)
