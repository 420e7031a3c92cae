"""Operations that may have to wait for others, and hold no thread meanwhile.

Such an op has a `begin` in its `OpDef`: it is told whom to call when it is done and returns at
once. The executor goes on with what does not depend on it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from sw.graph.deadline import wait_for
from sw.graph.errors import DeadlineExceededError

Done = Callable[[Any, BaseException | None], None]
"""`done(outputs, None)` or `done(None, error)`: called once, from any thread, also before the
call that was given it returns; it neither waits nor raises."""


class Waiting(Protocol):
    """An operation under way."""

    def withdraw(self) -> bool:
        """Undo it; False when it is too late: `done` was called or is about to be."""

    def what(self) -> str:
        """What it waits for, in words for the user."""

    def hopeless(self) -> bool:
        """Whether it is plain that nobody will ever end the wait."""


def wait(start: Callable[[Done], Waiting]) -> Any:
    """The outputs of the operation that `start(done)` begins, waiting for them in this thread.
    Raises its error, or `DeadlineExceededError` at the thread's deadline."""
    changed = threading.Condition()
    outcome: list[tuple[Any, BaseException | None]] = []

    def done(outputs: Any, error: BaseException | None) -> None:
        with changed:
            outcome.append((outputs, error))
            changed.notify_all()

    under_way = start(done)
    with changed:
        try:
            wait_for(changed, lambda: outcome, under_way.what, under_way.hopeless)
        except DeadlineExceededError:
            if under_way.withdraw():
                raise
            changed.wait_for(lambda: outcome)
        except BaseException:
            under_way.withdraw()
            raise
    outputs, error = outcome[0]
    if error is not None:
        raise error
    return outputs


def blocking(begin: Callable[..., Waiting]) -> Callable[..., Any]:
    """A kernel that waits in its thread, of an op's `begin(state, done, *inputs, **attrs)`: for
    the bodies of branches and loops."""

    def kernel(xp: Any, state: Any, *inputs: Any, **attrs: Any) -> Any:
        return wait(lambda done: begin(state, done, *inputs, **attrs))

    return kernel
