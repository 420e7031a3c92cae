"""What to look at in a run, and how long it may wait."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

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
    is an error. `requests` gets the device of each request that the step makes."""

    times: list[PartitionTime] | None = None
    stats: StepStats | None = None
    deadline: float | None = None
    find_nan: bool = False
    sent: dict[str, float] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

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

    def inner(self, deadline: float | None) -> Watch:
        """For a plan within this one: the body of a branch or loop."""
        return Watch(None, self.stats, deadline, self.find_nan)


_LOCAL = threading.local()


@contextlib.contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Within the block `watch` is this thread's, for bodies that run in it."""
    before, _LOCAL.watch = current(), watch
    try:
        yield
    finally:
        _LOCAL.watch = before


def current() -> Watch | None:
    """This thread's watch."""
    found: Watch | None = getattr(_LOCAL, "watch", None)
    return found
