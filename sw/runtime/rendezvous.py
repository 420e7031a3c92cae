"""Where values wait between Send and Recv, by key, for one step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sw.graph.errors import InternalError


class _Call:
    """What is to be called when some more keys have been sent."""

    __slots__ = ("left", "then")

    def __init__(self, left: int, then: Callable[[], None]) -> None:
        self.left, self.then = left, then


class Rendezvous:
    """The values in flight of one step. A value is dropped when its last reader has taken it."""

    def __init__(self, readers: dict[str, int]) -> None:
        self._left = dict(readers)
        self._values: dict[str, Any] = {}
        self._sent: set[str] = set()
        self._calls: dict[str, list[_Call]] = {}
        self._lock = threading.Lock()

    def send(self, keys: Iterable[str], values: Sequence[Any]) -> None:
        """Hand values over under their keys, and call those who waited for the last of theirs."""
        due = []
        with self._lock:
            for key, value in zip(keys, values, strict=True):
                self._sent.add(key)
                if self._left.get(key):
                    self._values[key] = value
                for call in self._calls.pop(key, ()):
                    call.left -= 1
                    if not call.left:
                        due.append(call.then)
        for then in due:
            then()

    def when(self, keys: Sequence[str], then: Callable[[], None]) -> None:
        """Call `then` once, as soon as all of `keys` have been sent; it must not wait."""
        with self._lock:
            missing = [key for key in keys if key not in self._sent]
            if missing:
                call = _Call(len(missing), then)
                for key in missing:
                    self._calls.setdefault(key, []).append(call)
        if not missing:
            then()

    def receive(self, keys: Iterable[str]) -> list[Any]:
        """The values of the keys, which have all been sent."""
        with self._lock:
            return [self._take(key) for key in keys]

    def take(self, key: str) -> Any:
        """The value of one key, which has been sent."""
        with self._lock:
            return self._take(key)

    def _take(self, key: str) -> Any:
        if key not in self._values:
            raise InternalError(f"nothing was sent under {key!r}")
        self._left[key] -= 1
        return self._values[key] if self._left[key] else self._values.pop(key)
