"""Queues at run time: elements are tuples of arrays, operations wait their turn in a line.

Who cannot go on holds no thread: an operation is an attempt in the line of those that put or of
those that take, and whoever changes the queue ends the attempts that can be ended now.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from sw.graph.errors import (
    CancelledError,
    InvalidArgumentError,
    OpError,
    OutOfRangeError,
)
from sw.graph.shapes import Shape
from sw.graph.waiting import Done, wait

Element = tuple[Any, ...]


_HINT = "were its threads started (st.train.start_queue_runners)?"


class _Put:
    """Elements that are still to be put; a `Waiting`."""

    def __init__(self, queue: FifoQueue, elements: list[Element], done: Done) -> None:
        self._queue, self.left, self.done = queue, deque(elements), done

    def withdraw(self) -> bool:
        """Leave the line; what was put stays in the queue."""
        return self._queue.withdraw(self)

    def what(self) -> str:
        """That nobody makes room."""
        queue = self._queue
        return f"queue {queue.name!r} is full ({queue.size()} elements), and nobody takes any"

    def hopeless(self) -> bool:
        """Never: room may come at any time."""
        return False


class _Take:
    """Elements that are still wanted; a `Waiting`."""

    def __init__(self, queue: FifoQueue, count: int, up_to: bool, done: Done) -> None:
        self._queue, self.count, self.up_to, self.done = queue, count, up_to, done
        self.taken: list[Element] = []

    def withdraw(self) -> bool:
        """Leave the line and give back what was taken."""
        return self._queue.withdraw(self)

    def what(self) -> str:
        """How many are missing, and whether anybody is there to bring them."""
        queue = self._queue
        return (
            f"a dequeue waits for {self.count - len(self.taken)} more of queue {queue.name!r}, "
            f"which has {queue.size()}"
            + ("" if queue.fillers() else f", and nobody adds any; {_HINT}")
        )

    def hopeless(self) -> bool:
        """Whether no thread fills the queue."""
        return not self._queue.fillers()


_Ended = list[tuple[Done, Any, BaseException | None]]


class FifoQueue:
    """First in, first out. `capacity` < 0 is unlimited."""

    def __init__(self, name: str, capacity: int, shapes: tuple[Shape, ...] | None) -> None:
        self.name, self.capacity, self.shapes = name, capacity, shapes
        self.closed = False
        self._dropping = False
        self._puts: deque[_Put] = deque()
        self._takes: deque[_Take] = deque()
        self.fillers: Callable[[], int] = lambda: 0  # how many threads are there to fill it
        self._cancelled: str | None = None
        self._items: deque[Element] = deque()
        self._lock = threading.Lock()

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

    def begin_enqueue(self, elements: list[Element], done: Done) -> _Put:
        """Begin to add elements one after the other, as there is room, also when the queue is
        closed meanwhile. Raises `CancelledError` when it is closed already, or cancelled."""
        for element in elements:
            self.check(element)
        put = _Put(self, elements, done)
        with self._lock:
            if self._cancelled or self.closed:
                raise CancelledError(f"queue {self.name!r}{self._why()}")
            self._puts.append(put)
            ended = self._flush()
        _tell(ended)
        return put

    def begin_dequeue(self, count: int, up_to: bool, done: Done) -> _Take:
        """Begin to take `count` elements, a list for `done`. It gets `OutOfRangeError` when the
        queue is closed with too few (which stay in it); with `up_to`, fewer but at least one are
        given then."""
        take = _Take(self, count, up_to, done)
        with self._lock:
            self._takes.append(take)
            ended = self._flush()
        _tell(ended)
        return take

    def dequeue(self, count: int) -> list[Element]:
        """`count` elements, waiting for them in this thread."""
        taken: list[Element] = wait(lambda done: self.begin_dequeue(count, False, done))
        return taken

    def _why(self) -> str:
        return f": {self._cancelled}" if self._cancelled else " is closed"

    def _flush(self) -> _Ended:
        """With the lock held, do all that can be done; the attempts that ended, to be told when
        the lock is free."""
        ended: _Ended = []
        while self._next_put(ended) or self._next_take(ended):
            pass
        return ended

    def _next_put(self, ended: _Ended) -> bool:
        """Whether anything moved."""
        if not self._puts:
            return False
        put = self._puts[0]
        if self._cancelled or self._dropping:
            why = self._why() + ("" if self._cancelled else " and drops what waits")
            ended.append((put.done, None, CancelledError(f"queue {self.name!r}{why}")))
            self._puts.popleft()
            return True
        moved = False
        while put.left and self._room():
            self._items.append(put.left.popleft())
            moved = True
        if not put.left:
            ended.append((put.done, (), None))
            self._puts.popleft()
            moved = True
        return moved

    def _next_take(self, ended: _Ended) -> bool:
        """Whether anything moved."""
        if not self._takes:
            return False
        take = self._takes[0]
        error: OpError | None = None
        if self._cancelled:
            error = CancelledError(f"queue {self.name!r}{self._why()}")
        else:
            before = len(take.taken)
            while len(take.taken) < take.count and self._ready():
                take.taken.append(self._take())
            missing = len(take.taken) < take.count
            if missing and not self._ended():
                return len(take.taken) > before
            if missing and not (take.up_to and take.taken):
                error = OutOfRangeError(
                    f"queue {self.name!r} is closed and has {len(take.taken)} of {take.count} "
                    "elements"
                )
        self._takes.popleft()
        if error is not None:
            self._restore(take.taken)
        ended.append((take.done, take.taken if error is None else None, error))
        return True

    def withdraw(self, attempt: _Put | _Take) -> bool:
        """Take an attempt out of its line; False when it is in none any more."""
        with self._lock:
            line: Any = self._puts if isinstance(attempt, _Put) else self._takes
            if attempt not in line:
                return False
            line.remove(attempt)
            if isinstance(attempt, _Take):
                self._restore(attempt.taken)
            ended = self._flush()
        _tell(ended)
        return True

    def _ended(self) -> bool:
        """Whether no element will come any more."""
        return self.closed and not self._puts

    def _room(self) -> bool:
        return self.capacity < 0 or len(self._items) < self.capacity

    def batch(self, elements: list[Element]) -> Element:
        """Elements as one, each component with a new first axis."""
        return tuple(self._join(list(parts)) for parts in zip(*elements, strict=True))

    def close(self, cancel_pending: bool) -> None:
        """Take no more elements; with `cancel_pending` fail enqueues that wait."""
        with self._lock:
            self.closed = True
            self._dropping = self._dropping or cancel_pending
            ended = self._flush()
        _tell(ended)

    def cancel(self, why: str) -> None:
        """Fail everything that waits or comes."""
        with self._lock:
            self._cancelled = why
            ended = self._flush()
        _tell(ended)

    def size(self) -> int:
        """The number of elements."""
        with self._lock:
            return len(self._items)

    # --- saving ----------------------------------------------------------------------------------

    def waiting_for_room(self) -> int:
        """How many enqueues cannot go on."""
        with self._lock:
            return len(self._puts)

    def starved(self) -> int:
        """How many dequeues cannot go on."""
        with self._lock:
            return len(self._takes)

    def snapshot(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The queue as plain data and arrays. Elements that wait for room, or
        for the rest of their batch, count as in it."""
        with self._lock:
            taken = (e for take in self._takes for e in take.taken)
            elements = [*taken, *self._items, *(e for put in self._puts for e in put.left)]
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
        with self._lock:
            self.closed = data["closed"]
            self._items = deque(zip(*components, strict=True))
            self._set_extra(data)

    def _extra(self) -> dict[str, Any]:
        """What a kind of queue has besides its elements."""
        return {}

    def _set_extra(self, data: dict[str, Any]) -> None:
        """Take it over."""


def _tell(ended: _Ended) -> None:
    for done, outputs, error in ended:
        done(outputs, error)


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


class PriorityQueue(FifoQueue):
    """The element with the smallest first component comes out first; of equal ones the eldest."""

    def _take(self) -> Element:
        at = min(range(len(self._items)), key=lambda i: int(self._items[i][0]))
        found = self._items[at]
        del self._items[at]
        return found


class PaddingQueue(FifoQueue):
    """Elements of one batch are padded with zeros to the largest."""

    def _join(self, parts: list[Any]) -> Any:
        shape = np.max([p.shape for p in parts], axis=0).astype(int)
        out = np.zeros((len(parts), *shape), parts[0].dtype)
        for at, part in enumerate(parts):
            place: tuple[Any, ...] = (at, *(slice(0, s) for s in part.shape))
            out[place] = part
        return out
