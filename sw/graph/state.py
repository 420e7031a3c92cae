"""State that outlives a run: the values of variables and the counters of random ops.

Values are replaced, never written in place: an array read from a `Container` stays as it was,
and the same array object means the same value (a device may keep it resident).
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from sw.graph.errors import FailedPreconditionError


class Container:
    """The variables of one session, or of several that share it. Safe to use from threads."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.counters: dict[str, int] = {}
        self.resources: dict[str, Any] = {}  # queues, readers: whatever ops keep between runs
        self.entropy = secrets.randbits(63)
        self.lock = threading.RLock()

    def read(self, name: str) -> Any:
        """The value; raises `FailedPreconditionError` naming the variable if it has none yet."""
        try:
            return self.values[name]
        except KeyError:
            raise FailedPreconditionError(
                f"variable {name!r} is not initialised; run its initializer or "
                "st.global_variables_initializer() first"
            ) from None

    def write(self, name: str, value: Any) -> Any:
        """Replace the value; arrays become read-only so that nobody changes them behind us."""
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
        self.values[name] = value
        return value

    def resource(self, name: str, make: Callable[[], Any]) -> Any:
        """The resource of that name, made when it is not there."""
        with self.lock:
            if name not in self.resources:
                self.resources[name] = make()
            return self.resources[name]

    def cancel(self, why: str) -> None:
        """Fail every operation that waits for a resource; later ones start afresh."""
        with self.lock:
            waiting, self.resources = self.resources, {}
        for item in waiting.values():
            if hasattr(item, "cancel"):
                item.cancel(why)

    def clear(self) -> None:
        """Forget everything."""
        with self.lock:
            self.values.clear()
            self.counters.clear()


class OpState:
    """What a stateful kernel gets: the container and the name of its op."""

    __slots__ = ("container", "name")

    def __init__(self, container: Container, name: str) -> None:
        self.container = container
        self.name = name

    def next_step(self) -> int:
        """How often this op ran before, counting from 0; each call counts."""
        with self.container.lock:
            step = self.container.counters.get(self.name, 0)
            self.container.counters[self.name] = step + 1
        return step
