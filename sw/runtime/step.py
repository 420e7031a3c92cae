"""`Step`: one run of a plan that is under way.

The thread that asked for the run does the work; where several partitions can run at once, helpers
of the session's pool take some. What waits for others holds none of these threads.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from sw.graph import deadline, log
from sw.graph.errors import DeadlineExceededError
from sw.graph.waiting import Waiting
from sw.runtime.rendezvous import Rendezvous
from sw.runtime.watch import Watch

_MOMENT = 0.05  # seconds between two looks at what waits beyond the deadline


class Work(Protocol):
    """A partition, as a step sees it."""

    waits: bool

    def run(self, step: Step) -> None:
        """All of it; its values are sent."""

    def begin(
        self, step: Step, done: Callable[[BaseException | None, Callable[[], None]], None]
    ) -> Waiting:
        """Begin to wait; `done(error, conclude)` is called once, and `conclude()` sends the values
        if there is no error."""

    def explain(self, error: Exception) -> Exception:
        """An error of what waits, naming its op."""


class Step:
    """A step of `count` partitions that meet at `meeting`."""

    def __init__(
        self, meeting: Rendezvous, watch: Watch, pool: ThreadPoolExecutor, count: int
    ) -> None:
        self.meeting, self.watch = meeting, watch
        self._pool = pool
        self._left = count
        self._busy = 0  # what can run or runs
        self._waiting: dict[Work, Waiting] = {}
        self._settled: set[Work] = set()
        self._error: BaseException | None = None
        self._inbox: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()

    # --- called by whoever has the news ----------------------------------------------------------

    def ready(self, work: Work) -> None:
        """`work` has all that it needs."""
        with self._lock:
            self._busy += 1
            several = self._busy > 1
        self._inbox.put(work)
        if several:
            with contextlib.suppress(RuntimeError):  # the session is closed: this thread does it
                self._pool.submit(self._help)

    def _leave(self) -> None:
        """What was busy is not any more, without being done."""
        with self._lock:
            self._busy -= 1
        if self._error is not None:
            self._inbox.put(None)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._error = self._error or error
        self._inbox.put(None)

    # --- the work --------------------------------------------------------------------------------

    def wait(self) -> None:
        """Work and wait until all is done, or raise the first error with nothing left waiting."""
        try:
            while not self._over():
                work = self._next()
                if work is not None:
                    self._do(work)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            for waiting in list(self._waiting.values()):
                waiting.withdraw()
        if self._error is not None:
            raise self._error

    def _over(self) -> bool:
        with self._lock:
            return not self._left or (self._error is not None and not self._busy)

    def _help(self) -> None:
        while True:
            try:
                work = self._inbox.get_nowait()
            except queue.Empty:
                return
            if work is None:  # meant for the thread that waits
                self._inbox.put(None)
                return
            self._do(work)

    def _do(self, work: Work) -> None:
        try:
            if self._error is not None:
                self._leave()
            elif work.waits:
                self._begin(work)
            else:
                work.run(self)
        except Exception as error:
            self._fail(error)
            self._leave()

    def end(self, send: Callable[[], None]) -> None:
        """What a partition does last: it is done but for its last values, which `send` sends; who
        is ready then may go on in this thread."""
        with self._lock:
            self._busy -= 1
        send()
        with self._lock:
            self._left -= 1
            over = not self._left
        if over or self._error is not None:
            self._inbox.put(None)

    # --- what waits ------------------------------------------------------------------------------

    def _begin(self, work: Work) -> None:
        def done(error: BaseException | None, conclude: Callable[[], None]) -> None:
            with self._lock:
                self._settled.add(work)
                if self._waiting.pop(work, None) is not None:
                    self._busy += 1
            try:
                if error is not None:
                    raise error
                conclude()
            except Exception as found:
                self._fail(work.explain(found))
                self._leave()

        try:
            waiting = work.begin(self, done)
        except Exception as error:
            raise work.explain(error) from error
        with self._lock:
            if work in self._settled:
                return
            self._waiting[work] = waiting
        self._leave()

    def _next(self) -> Work | None:
        """What comes next to the inbox; None when there is something else to look at."""
        until = self.watch.deadline
        if until is None:
            try:
                return self._inbox.get(timeout=deadline.PATIENCE)
            except queue.Empty:
                self._mention()
            return self._inbox.get()
        try:
            return self._inbox.get(timeout=max(until - time.monotonic(), _MOMENT))
        except queue.Empty:
            self._give_up()
        return None

    def _mention(self) -> None:
        with self._lock:
            waiting = list(self._waiting.values())
        for one in waiting:
            if one.hopeless():
                log.warn("waiting for %g s: %s", deadline.PATIENCE, one.what())

    def _give_up(self) -> None:
        with self._lock:
            waiting = list(self._waiting.items())
        for work, one in waiting:
            what = one.what()
            if one.withdraw():
                error = DeadlineExceededError(f"the run's time is over: {what}")
                self._fail(work.explain(error))
