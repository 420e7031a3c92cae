"""Queues at run time: elements are tuples of arrays, operations block until they can be done.

Blocked operations hold no lock but the queue's own, and wake when the queue is closed or cancelled.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from sw.graph.deadline import wait_for
from sw.graph.errors import (
    CancelledError,
    InvalidArgumentError,
    OutOfRangeError,
)
from sw.graph.shapes import Shape

Element = tuple[Any, ...]


_HINT = "were its threads started (st.train.start_queue_runners)?"


class FifoQueue:
    """First in, first out. `capacity` < 0 is unlimited."""

    def __init__(self, name: str, capacity: int, shapes: tuple[Shape, ...] | None) -> None:
        self.name, self.capacity, self.shapes = name, capacity, shapes
        self.closed = False
        self._dropping = False
        self._pending: dict[int, deque[Element]] = {}  # what enqueues under way still have to put
        self._tickets = itertools.count()
        self._takers = 0  # dequeues under way
        self.fillers: Callable[[], int] = lambda: 0  # how many threads are there to fill it
        self._cancelled: str | None = None
        self._items: deque[Element] = deque()
        self._changed = threading.Condition()
        self._taking = threading.Lock()  # one dequeue at a time, so that batches do not interleave
        self._putting = threading.Lock()

    # --- what kinds of queues differ in ----------------------------------------------------------

    def _ready(self) -> bool:
        """Whether one element can be taken now."""
        return bool(self._items)

    def _take(self) -> Element:
        return self._items.popleft()

    def _restore(self, taken: list[Element]) -> None:
        self._items.extendleft(reversed(taken))

    def _join(self, parts: list[Any]) -> Any:
        """One component of several elements along a new first axis."""
        try:
            return np.stack(parts)
        except ValueError:
            shapes = sorted({p.shape for p in parts})
            raise InvalidArgumentError(
                f"queue {self.name!r}: elements of shapes {shapes} cannot be one batch; a "
                "PaddingFIFOQueue pads them"
            ) from None

    # --- operations ------------------------------------------------------------------------------

    def check(self, element: Element) -> None:
        """Raise `InvalidArgumentError` for an element that does not have the queue's shapes."""
        for at, (shape, value) in enumerate(zip(self.shapes or (), element, strict=False)):
            if not shape.compatible(value.shape):
                raise InvalidArgumentError(
                    f"queue {self.name!r} takes shape {shape} as component {at}, not {value.shape}"
                )

    def enqueue(self, elements: list[Element]) -> None:
        """Add elements one after the other, waiting for room, also when the queue is closed
        meanwhile. Raises `CancelledError` when it is closed already, or cancelled."""
        for element in elements:
            self.check(element)
        with self._changed:
            self._raise_cancelled()
            if self.closed:
                raise CancelledError(f"queue {self.name!r} is closed")
            ticket, mine = next(self._tickets), deque(elements)
            self._pending[ticket] = mine
        try:
            with self._putting:
                while mine:
                    self._put(mine)
        finally:
            with self._changed:
                del self._pending[ticket]
                self._changed.notify_all()

    def _put(self, elements: deque[Element]) -> None:
        with self._changed:
            wait_for(
                self._changed,
                lambda: self._dropping or self._cancelled or self._room(),
                lambda: (
                    f"queue {self.name!r} is full ({len(self._items)} elements), and nobody "
                    "takes any"
                ),
            )
            self._raise_cancelled()
            if self._dropping:
                raise CancelledError(f"queue {self.name!r} is closed and drops what waits")
            self._items.append(elements.popleft())
            self._changed.notify_all()

    def _ended(self) -> bool:
        """Whether no element will come any more."""
        return self.closed and not self._pending

    def _room(self) -> bool:
        return self.capacity < 0 or len(self._items) < self.capacity

    def dequeue(self, count: int, up_to: bool = False) -> list[Element]:
        """`count` elements, waiting for them. Raises `OutOfRangeError` when the queue is closed
        with too few (which stay in it); with `up_to`, fewer but at least one are given then."""
        taken: list[Element] = []
        with self._changed:
            self._takers += 1
        with self._taking:
            try:
                while len(taken) < count:
                    with self._changed:
                        wait_for(
                            self._changed,
                            lambda: self._ended() or self._cancelled or self._ready(),
                            lambda: self._hungry(count - len(taken)),  # noqa: B023 (called here)
                            lambda: not self.fillers(),
                        )
                        self._raise_cancelled()
                        if not self._ready():
                            break
                        taken.append(self._take())
                        self._changed.notify_all()
                if len(taken) < count and not (up_to and taken):
                    raise OutOfRangeError(
                        f"queue {self.name!r} is closed and has {len(taken)} of {count} elements"
                    )
            except BaseException:
                with self._changed:
                    self._restore(taken)
                raise
            finally:
                with self._changed:
                    self._takers -= 1
        return taken

    def _hungry(self, wanted: int) -> str:
        return (
            f"a dequeue waits for {wanted} more of queue {self.name!r}, which has "
            f"{len(self._items)}" + ("" if self.fillers() else f", and nobody adds any; {_HINT}")
        )

    def batch(self, elements: list[Element]) -> Element:
        """Elements as one, each component with a new first axis."""
        return tuple(self._join(list(parts)) for parts in zip(*elements, strict=True))

    def close(self, cancel_pending: bool) -> None:
        """Take no more elements; with `cancel_pending` fail enqueues that wait."""
        with self._changed:
            self.closed = True
            self._dropping = self._dropping or cancel_pending
            self._changed.notify_all()

    def cancel(self, why: str) -> None:
        """Fail everything that waits or comes."""
        with self._changed:
            self._cancelled = why
            self._changed.notify_all()

    def _raise_cancelled(self) -> None:
        if self._cancelled:
            raise CancelledError(f"queue {self.name!r}: {self._cancelled}")

    def size(self) -> int:
        """The number of elements."""
        with self._changed:
            return len(self._items)

    # --- saving ----------------------------------------------------------------------------------

    def waiting_for_room(self) -> int:
        """How many enqueues cannot go on."""
        with self._changed:
            if self._dropping or self._cancelled or self._room():
                return 0
            return len(self._pending)

    def starved(self) -> int:
        """How many dequeues cannot go on."""
        with self._changed:
            return 0 if self._cancelled or self._ended() or self._ready() else self._takers

    def snapshot(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The queue as plain data and arrays. Elements that wait for room count as in it."""
        with self._changed:
            elements = [*self._items, *(e for left in self._pending.values() for e in left)]
            data = {"closed": self.closed, "count": len(elements), **self._extra()}
        arrays: dict[str, Any] = {}
        for at, parts in enumerate(zip(*elements, strict=True)):
            if len({p.shape for p in parts}) == 1:
                arrays[f"{at}"] = np.stack(parts)
            else:
                arrays.update({f"{at}/{i}": part for i, part in enumerate(parts)})
        return {**data, "components": len(elements[0]) if elements else 0}, arrays

    def restore(self, data: dict[str, Any], arrays: dict[str, Any]) -> None:
        """Become what `snapshot` saw."""
        components = []
        for at in range(data["components"]):
            whole = arrays.get(f"{at}")
            if whole is None:
                components.append([arrays[f"{at}/{i}"] for i in range(data["count"])])
            else:
                components.append([np.asarray(part) for part in whole])
        with self._changed:
            self.closed = data["closed"]
            self._items = deque(zip(*components, strict=True))
            self._set_extra(data)

    def _extra(self) -> dict[str, Any]:
        """What a kind of queue has besides its elements."""
        return {}

    def _set_extra(self, data: dict[str, Any]) -> None:
        """Take it over."""


class ShuffleQueue(FifoQueue):
    """Elements come out in random order; `least` stay in until the queue is closed, so that there
    is something to choose from.

    The choice is among the `least` + 1 that came first, however many there are: the order then
    depends on the seed alone, not on how fast the queue is filled. With `least` 0 it is among all
    that are there.
    """

    def __init__(
        self,
        name: str,
        capacity: int,
        shapes: tuple[Shape, ...] | None,
        least: int,
        random: np.random.Generator,
    ) -> None:
        super().__init__(name, capacity, shapes)
        self._least, self._random = least, random

    def _ready(self) -> bool:
        return len(self._items) > (0 if self._ended() else self._least)

    def _take(self) -> Element:
        window = min(self._least + 1, len(self._items)) if self._least else len(self._items)
        at = int(self._random.integers(window))
        self._items[at], self._items[0] = self._items[0], self._items[at]
        return self._items.popleft()

    def _extra(self) -> dict[str, Any]:
        return {"random": self._random.bit_generator.state}

    def _set_extra(self, data: dict[str, Any]) -> None:
        self._random.bit_generator.state = data["random"]


class PaddingQueue(FifoQueue):
    """Elements of one batch are padded with zeros to the largest."""

    def _join(self, parts: list[Any]) -> Any:
        shape = np.max([p.shape for p in parts], axis=0).astype(int)
        out = np.zeros((len(parts), *shape), parts[0].dtype)
        for at, part in enumerate(parts):
            place: tuple[Any, ...] = (at, *(slice(0, s) for s in part.shape))
            out[place] = part
        return out
