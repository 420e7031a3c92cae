"""State that outlives a run: the values of variables and the counters of random ops.

Values are replaced, never written in place: an array read from a `Container` stays as it was,
and the same array object means the same value (a device may keep it resident).
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from sw.graph.errors import FailedPreconditionError
from sw.graph.gate import Gate

Arrays = dict[str, Any]


class Container:
    """The variables of one session, or of several that share it. Safe to use from threads."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.counters: dict[str, int] = {}
        self.resources: dict[str, Any] = {}  # queues, readers: whatever ops keep between runs
        self.entropy = secrets.randbits(63)
        self.lock = threading.RLock()
        self.gate = Gate(self._queues)
        self._restored: dict[str, tuple[Any, Arrays]] = {}  # of resources that are not made yet

    def _queues(self) -> dict[str, Any]:
        with self.lock:
            return {n: r for n, r in self.resources.items() if hasattr(r, "waiting_for_room")}

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
        """The resource of that name, made when it is not there; in the state that `restore` was
        given, if any."""
        with self.lock:
            if name not in self.resources:
                made = make()
                if name in self._restored:
                    made.restore(*self._restored.pop(name))
                self.resources[name] = made
            return self.resources[name]

    def snapshot(self, besides: Iterable[str] = ()) -> tuple[dict[str, Any], Arrays]:
        """All state but the variables `besides`, as plain data and arrays: counters of random ops,
        other variables, and resources that know how (queues, readers). Waits until the threads
        that fill queues are at rest; meanwhile nobody else may run anything."""
        skipped = set(besides)
        arrays: Arrays = {}
        with self.gate.paused(), self.lock:
            values = {n: v for n, v in self.values.items() if n not in skipped}
            arrays.update({f"variable/{n}": np.asarray(v) for n, v in values.items()})
            kept: dict[str, Any] = {}
            found = dict(self._restored)
            known = {n: r for n, r in self.resources.items() if hasattr(r, "snapshot")}
            found.update({name: item.snapshot() for name, item in known.items()})
            for name, (data, parts) in found.items():
                arrays.update({f"resource/{name}/{k}": v for k, v in parts.items()})
                kept[name] = {"data": data, "arrays": sorted(parts)}
            data = {"entropy": self.entropy, "counters": dict(self.counters), "resources": kept}
        return {**data, "variables": sorted(values)}, arrays

    def restore(self, data: dict[str, Any], arrays: Arrays) -> None:
        """Take over what `snapshot` gave. Resources that exist are dropped."""
        self.cancel("the session's state is restored")
        with self.lock:
            self.entropy, self.counters = data["entropy"], dict(data["counters"])
            for name in data["variables"]:
                value = arrays[f"variable/{name}"]
                self.write(name, value if value.ndim else value[()])
            self._restored = {
                name: (kept["data"], {k: arrays[f"resource/{name}/{k}"] for k in kept["arrays"]})
                for name, kept in data["resources"].items()
            }

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
