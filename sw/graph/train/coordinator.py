"""`Coordinator`: threads that stop together, for a reason that all can see."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from sw.graph.errors import DeadlineExceededError, OutOfRangeError


class Coordinator:
    """Threads ask `should_stop()`; any of them calls `request_stop()`, with an exception if it
    failed; the main thread `join`s them, which raises that exception. The end of input
    (`OutOfRangeError`) is a stop, not a failure."""

    def __init__(
        self, clean_stop_exception_types: tuple[type[BaseException], ...] = (OutOfRangeError,)
    ) -> None:
        self._clean = clean_stop_exception_types
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self.joined = False

    def should_stop(self) -> bool:
        """Whether a stop was requested."""
        return self._stop.is_set()

    def request_stop(self, ex: BaseException | None = None) -> None:
        """Ask all to stop; the first exception given is the reason."""
        with self._lock:
            if ex is not None and self._error is None and not isinstance(ex, self._clean):
                self._error = ex
            self._stop.set()

    def clear_stop(self) -> None:
        """Start over."""
        with self._lock:
            self._error = None
            self._stop.clear()
            self.joined = False

    def wait_for_stop(self, timeout: float | None = None) -> bool:
        """Wait for a request; whether there is one."""
        return self._stop.wait(timeout)

    def register_thread(self, thread: threading.Thread) -> None:
        """Let `join` wait for this thread, too."""
        with self._lock:
            self._threads.add(thread)

    @contextlib.contextmanager
    def stop_on_exception(self) -> Iterator[None]:
        """An exception in the block becomes the reason to stop."""
        try:
            yield
        except Exception as error:
            self.request_stop(error)

    def raise_requested_exception(self) -> None:
        """Raise the exception that was given to `request_stop`, if any."""
        with self._lock:
            error = self._error
        if error is not None:
            raise error

    def join(
        self,
        threads: Iterable[threading.Thread] | None = None,
        stop_grace_period_secs: float = 120,
        ignore_live_threads: bool = False,
    ) -> None:
        """Wait until the threads end. After a request to stop they have `stop_grace_period_secs`;
        then `DeadlineExceededError` names those that still run. Raises the exception that was
        given to `request_stop`."""
        with self._lock:
            waiting = self._threads | set(threads or ())
            self._threads = set()
        while any(t.is_alive() for t in waiting) and not self.wait_for_stop(0.05):
            pass
        deadline = time.monotonic() + stop_grace_period_secs
        for thread in waiting:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.joined = True
        alive = sorted(t.name for t in waiting if t.is_alive())
        self.raise_requested_exception()
        if alive and not ignore_live_threads:
            raise DeadlineExceededError(f"threads did not stop in time: {', '.join(alive)}")


class LooperThread(threading.Thread):
    """A thread that runs `run_loop` (or `target`) every `timer_interval_secs` (None: without a
    pause) until the coordinator stops; an exception stops the coordinator."""

    def __init__(
        self,
        coord: Coordinator,
        timer_interval_secs: float | None,
        target: Any = None,
        args: Iterable[Any] = (),
        kwargs: Any = None,
    ) -> None:
        super().__init__(daemon=True)
        self._coord, self._interval = coord, timer_interval_secs
        self._call = (target, tuple(args), dict(kwargs or {}))
        coord.register_thread(self)

    @staticmethod
    def loop(
        coord: Coordinator,
        timer_interval_secs: float | None,
        target: Any,
        args: Iterable[Any] = (),
        kwargs: Any = None,
    ) -> LooperThread:
        """A started looper of `target`."""
        looper = LooperThread(coord, timer_interval_secs, target, args, kwargs)
        looper.start()
        return looper

    def run(self) -> None:
        """The thread's work."""
        with self._coord.stop_on_exception():
            while not self._coord.should_stop():
                self.run_loop()
                if self._interval and self._coord.wait_for_stop(self._interval):
                    return

    def run_loop(self) -> None:
        """One turn."""
        target, args, kwargs = self._call
        if target is not None:
            target(*args, **kwargs)
