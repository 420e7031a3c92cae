"""The deadline of a run, for operations that wait: per thread, set by the session."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from sw.graph import log
from sw.graph.errors import DeadlineExceededError

PATIENCE = 10.0
"""Seconds without a deadline after which a wait is mentioned, once."""

_LOCAL = threading.local()


@contextlib.contextmanager
def until(deadline: float | None) -> Iterator[None]:
    """Within the block, waits of this thread end at `deadline` (of `time.monotonic`)."""
    before, _LOCAL.deadline = getattr(_LOCAL, "deadline", None), deadline
    try:
        yield
    finally:
        _LOCAL.deadline = before


def current() -> float | None:
    """This thread's deadline."""
    found: float | None = getattr(_LOCAL, "deadline", None)
    return found


def wait_for(
    condition: threading.Condition,
    ready: Callable[[], object],
    what: Callable[[], str],
    hopeless: Callable[[], bool] = lambda: False,
) -> None:
    """Wait on `condition`, which is held, until `ready()`. At the deadline raises
    `DeadlineExceededError` that says `what()` did not happen; without one, a long wait that is
    `hopeless()` is mentioned."""
    deadline = current()
    if deadline is None:
        if not condition.wait_for(ready, PATIENCE) and hopeless():
            log.warn("waiting for %g s: %s", PATIENCE, what())
        condition.wait_for(ready)
    elif not condition.wait_for(ready, max(0.0, deadline - time.monotonic())):
        raise DeadlineExceededError(f"the run's time is over: {what()}")
