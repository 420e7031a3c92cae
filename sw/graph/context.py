"""Stacks of default graphs and sessions, one per thread, over one base per process."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any


class DefaultStack:
    """A per-thread stack; `base` is the shared bottom, made on first use."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._base: Any = None
        self._lock = threading.Lock()

    def _stack(self) -> list[Any]:
        if not hasattr(self._local, "stack"):
            self._local.stack = []
        return self._local.stack

    def top(self) -> Any:
        """The innermost item of this thread, or None."""
        stack = self._stack()
        return stack[-1] if stack else None

    def base(self, factory: Callable[[], Any]) -> Any:
        """The process's own item."""
        with self._lock:
            if self._base is None:
                self._base = factory()
            return self._base

    def reset(self) -> None:
        """Forget the process's own item."""
        with self._lock:
            self._base = None

    def push(self, item: Any) -> None:
        """Put an item on top until `remove`."""
        self._stack().append(item)

    def remove(self, item: Any) -> None:
        """Take the topmost occurrence of an item away."""
        stack = self._stack()
        for index in range(len(stack) - 1, -1, -1):
            if stack[index] is item:
                del stack[index]
                return

    @contextlib.contextmanager
    def entered(self, item: Any) -> Iterator[Any]:
        """`push` and `remove` around a block."""
        self.push(item)
        try:
            yield item
        finally:
            self.remove(item)


GRAPHS = DefaultStack()
SESSIONS = DefaultStack()
