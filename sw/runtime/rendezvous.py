"""Where values wait between Send and Recv, by key, for one step."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from sw.graph.errors import InternalError


class Rendezvous:
    """The values in flight of one step. A value is dropped when its last reader has taken it."""

    def __init__(self, readers: dict[str, int]) -> None:
        self._left = dict(readers)
        self._values: dict[str, Any] = {}
        self._lock = threading.Lock()

    def send(self, keys: Iterable[str], values: Sequence[Any]) -> None:
        """Hand values over under their keys."""
        with self._lock:
            for key, value in zip(keys, values, strict=True):
                if self._left.get(key):
                    self._values[key] = value

    def receive(self, keys: Iterable[str]) -> list[Any]:
        """The values of the keys, which have all been sent."""
        with self._lock:
            return [self._take(key) for key in keys]

    def _take(self, key: str) -> Any:
        if key not in self._values:
            raise InternalError(f"nothing was sent under {key!r}")
        self._left[key] -= 1
        return self._values[key] if self._left[key] else self._values.pop(key)
