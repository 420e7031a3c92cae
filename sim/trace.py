"""What happened when: the queues' instructions and the array's state over the cycles of a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.tpu.isa import Queue
from hw.tpu.trace import COUNT_BITS, TRACE, ArrayState


@dataclass(frozen=True)
class Span:
    """The `number`-th instruction of `queue` was at work in cycles `begin` to `end`."""

    queue: Queue
    number: int
    begin: int
    end: int


@dataclass(frozen=True)
class Trace:
    """`spans` of instructions, and the array's states as (first cycle, state), in order.

    Cycles count from the first recorded one.
    """

    spans: tuple[Span, ...]
    array: tuple[tuple[int, ArrayState], ...]
    end: int

    def array_cycles(self, state: ArrayState) -> int:
        """Cycles that the array spent in `state`."""
        edges = [*(begin for begin, _ in self.array), self.end]
        return sum(
            edges[i + 1] - edges[i] for i, (_, what) in enumerate(self.array) if what is state
        )


def decode(events: NDArray[np.uint64]) -> Trace:
    """Recorded changes of the core's `trace` port, `[events, 1 + words]`, cycle first."""
    if not len(events):
        return Trace((), (), 0)
    cycles = events[:, 0].astype(np.int64)
    cycles -= cycles[0]
    fields = {name: _field(events, name) for name in TRACE.members}
    spans = []
    for queue in Queue:
        name = queue.name.lower()
        begins = _strobes(cycles, fields[f"{name}_started"])
        ends = _strobes(cycles, fields[f"{name}_done"])
        spans += [
            Span(queue, number, begin, end)
            for number, (begin, end) in enumerate(zip(begins, ends, strict=False))
        ]
    states = fields["array"]
    changed = np.concatenate([[True], states[1:] != states[:-1]])
    array = tuple(
        (int(cycle), ArrayState(int(state)))
        for cycle, state in zip(cycles[changed], states[changed], strict=True)
    )
    return Trace(tuple(spans), array, int(cycles[-1]))


def _field(events: NDArray[np.uint64], name: str) -> NDArray[np.int64]:
    member = TRACE[name]
    word, shift = divmod(member.offset, 64)
    mask = np.uint64((1 << member.width) - 1)
    return (events[:, 1 + word] >> np.uint64(shift) & mask).astype(np.int64)


def _strobes(cycles: NDArray[np.int64], counts: NDArray[np.int64]) -> list[int]:
    """The cycle of each increment of a counter that wraps."""
    grown = np.diff(counts, prepend=counts[:1]) % (1 << COUNT_BITS)
    # a count grows by one a cycle at most; more is its fall to zero as this run starts
    return [int(cycle) for cycle in cycles[grown == 1]]
