"""`Gate`: lets the threads that fill queues come to rest, so that their queues can be saved.

A filler asks before each run of its enqueue op. While the gate is paused it is let in only if
somebody waits for an element of its queue: runs that are under way can finish, no other begins.
At rest everything that the fillers ever took or drew is in a queue or waits for room in one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from sw.graph.errors import DeadlineExceededError

_MOMENT = 0.001  # seconds between two looks at queues whose threads are about to stop
_PATIENCE = 60.0


class Gate:
    """The gate of one container; `queues()` gives the queues of it that exist, by name."""

    def __init__(self, queues: Callable[[], dict[str, Any]]) -> None:
        self._queues = queues
        self._changed = threading.Condition()
        self._paused = 0
        self._active: Counter[str] = Counter()  # runs under way, by the queue they fill
        self._fillers: Counter[str] = Counter()  # threads that fill a queue

    @contextlib.contextmanager
    def filling(self, queue: str) -> Iterator[None]:
        """Around the life of a thread that fills `queue`."""
        with self._changed:
            self._fillers[queue] += 1
        try:
            yield
        finally:
            with self._changed:
                self._fillers[queue] -= 1
                self._changed.notify_all()

    def fillers(self, queue: str) -> int:
        """How many threads are there to fill `queue`."""
        return self._fillers[queue]

    @contextlib.contextmanager
    def run(self, queue: str) -> Iterator[None]:
        """Around one run that fills `queue`; waits while the gate is paused."""
        with self._changed:
            while self._paused and not self._wanted(queue):
                self._changed.wait(_MOMENT)
            self._active[queue] += 1
        try:
            yield
        finally:
            with self._changed:
                self._active[queue] -= 1
                self._changed.notify_all()

    def _wanted(self, queue: str) -> bool:
        found = self._queues().get(queue)
        return found is not None and found.starved() > 0

    @contextlib.contextmanager
    def paused(self, patience: float = _PATIENCE) -> Iterator[None]:
        """Around a moment in which no filler moves. Raises `DeadlineExceededError` naming the
        queue of one that does not come to rest in `patience` seconds."""
        until = time.monotonic() + patience
        with self._changed:
            self._paused += 1
        try:
            while not self._at_rest():
                if time.monotonic() > until:
                    with self._changed:
                        busy = sorted(q for q, n in self._active.items() if n)
                    raise DeadlineExceededError(
                        f"what fills {', '.join(map(repr, busy))} did not come to rest within "
                        f"{patience:g} s"
                    )
                time.sleep(_MOMENT)
            yield
        finally:
            with self._changed:
                self._paused -= 1
                self._changed.notify_all()

    def _at_rest(self) -> bool:
        """Whether every run under way waits for room, or for elements that no filler can give."""
        queues = self._queues()
        with self._changed:
            active = sum(self._active.values())
            resting = 0
            for name, queue in queues.items():
                resting += queue.waiting_for_room()
                if not self._fillers[name]:
                    resting += queue.starved()
            return active <= resting
