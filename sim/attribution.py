"""Whose cycle is it: every cycle of the array given to a graph operation and to a cause.

A cycle in which a row enters the array belongs to the MATMUL that streams it. Any other cycle
belongs to what the next MATMUL waits for: its weights, or the instruction whose semaphore it got
last before it could start.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.tpu.isa import SEMAPHORES, Instruction, Opcode, Queue
from hw.tpu.program import TpuProgram
from hw.tpu.trace import ArrayState
from sim.trace import Trace

NO_TAG = -1


class Cause(enum.IntEnum):
    """What the array does in a cycle, or what it waits for."""

    STREAMING = 0
    WEIGHTS = 1
    LOAD = 2
    VECTOR = 3
    STORE = 4
    OTHER = 5

    @property
    def text(self) -> str:
        """In words, for legends."""
        return _TEXT[self]


_TEXT = {
    Cause.STREAMING: "array active",
    Cause.WEIGHTS: "waiting for weights",
    Cause.LOAD: "waiting for input (load)",
    Cause.VECTOR: "waiting for the vector unit",
    Cause.STORE: "waiting for a store",
    Cause.OTHER: "other (fetch, start, end)",
}
_QUEUE_CAUSE = {Queue.LOAD: Cause.LOAD, Queue.VECTOR: Cause.VECTOR, Queue.STORE: Cause.STORE}


@dataclass(frozen=True)
class Attribution:
    """Segments of a run: segment i lasts from cycle `edges[i]` to `edges[i + 1]`.

    `cause` and `tag` (`NO_TAG`: nobody's) say whose it is, `macs` how many useful
    multiply-accumulates were done in it.
    """

    edges: NDArray[np.int64]
    cause: NDArray[np.int64]
    tag: NDArray[np.int64]
    macs: NDArray[np.float64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.edges)

    def by_tag(self) -> dict[int, dict[Cause, int]]:
        """Cycles of each tag by cause, tags in the order in which they first appear."""
        result: dict[int, dict[Cause, int]] = {}
        for tag, cause, length in zip(self.tag, self.cause, self.lengths, strict=True):
            causes = result.setdefault(int(tag), {})
            causes[Cause(cause)] = causes.get(Cause(cause), 0) + int(length)
        return result

    def macs_by_tag(self) -> dict[int, float]:
        """Useful multiply-accumulates of each tag."""
        return {int(tag): float(self.macs[self.tag == tag].sum()) for tag in np.unique(self.tag)}

    def cumulative(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Running total at each edge of a quantity given per segment."""
        return np.concatenate([[0.0], np.cumsum(weights)])


@dataclass(frozen=True)
class _Lane:
    """One queue: its instructions with their first and last cycles."""

    instructions: Sequence[Instruction]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]

    @property
    def tags(self) -> NDArray[np.int64]:
        return np.array([item.tag for item in self.instructions], np.int64)


def attribute(trace: Trace, program: TpuProgram) -> Attribution:
    """Segments that cover the whole trace; neighbours differ in cause or tag."""
    lanes = {queue: _lane(trace, program, queue) for queue in Queue}
    matmul = lanes[Queue.MATMUL]
    states = np.array([state for _, state in trace.array] or [ArrayState.IDLE], np.int64)
    since = np.array([begin for begin, _ in trace.array] or [0], np.int64)
    moments = [np.concatenate([lane.begins, lane.ends]) for lane in lanes.values()]
    edges = np.unique(np.concatenate([[0, trace.end], since, matmul.begins + 1, *moments]))
    edges = edges[edges <= trace.end]
    at = edges[:-1]
    state = states[np.searchsorted(since, at, "right") - 1]
    # a start is seen one cycle before the first row of the instruction can be
    current = np.searchsorted(matmul.begins + 1, at, "right") - 1
    working = (state == ArrayState.STREAMING) & (current >= 0)
    starving = (state == ArrayState.WAITING_FOR_WEIGHTS) & (current >= 0)

    cause = np.full(len(at), int(Cause.OTHER), np.int64)
    tag = np.full(len(at), NO_TAG, np.int64)
    following = np.minimum(current + 1, len(matmul.begins))
    _blame_others(lanes, at, following, cause, tag)
    macs = np.zeros(len(at), np.float64)
    if len(matmul.begins):
        tag[working | starving] = matmul.tags[current[working | starving]]
        cause[working], cause[starving] = Cause.STREAMING, Cause.WEIGHTS
        rates = np.array([_macs_per_row(i, program.config.array) for i in matmul.instructions])
        macs[working] = rates[current[working]] * np.diff(edges)[working]
    return _merged(Attribution(edges, cause, tag, macs))


def _lane(trace: Trace, program: TpuProgram, queue: Queue) -> _Lane:
    spans = [span for span in trace.spans if span.queue is queue]
    instructions = [item for item in program.instructions if item.queue is queue]
    return _Lane(
        [instructions[span.number] for span in spans],
        np.array([span.begin for span in spans], np.int64),
        np.array([span.end for span in spans], np.int64),
    )


def _blame_others(
    lanes: dict[Queue, _Lane],
    at: NDArray[np.int64],
    following: NDArray[np.int64],
    cause: NDArray[np.int64],
    tag: NDArray[np.int64],
) -> None:
    """Fill `cause` and `tag` as if the array never worked: what holds up the next MATMUL."""
    blamed = [*_blame(lanes), _last_to_end(lanes)]
    chosen = np.array([-1 if queue is None else int(queue) for queue in blamed])[following]
    for queue, reason in _QUEUE_CAUSE.items():
        lane = lanes[queue]
        mine = chosen == queue
        if not len(lane.begins) or not mine.any():
            continue
        oldest = np.searchsorted(lane.ends, at[mine], "right")
        cause[mine] = reason
        tag[mine] = lane.tags[np.minimum(oldest, len(lane.ends) - 1)]


def _blame(lanes: dict[Queue, _Lane]) -> list[Queue | None]:
    """For each MATMUL, the queue whose signal came last of those that it waited for."""
    signals: dict[tuple[Queue, int], NDArray[np.int64]] = {}
    for queue in _QUEUE_CAUSE:
        lane = lanes[queue]
        masks = np.array([item.signal for item in lane.instructions], np.int64)
        for bit in range(SEMAPHORES):
            if len(masks) and (signalled := masks >> bit & 1 > 0).any():
                signals[queue, bit] = lane.ends[signalled]
    result: list[Queue | None] = []
    for item, begin in zip(
        lanes[Queue.MATMUL].instructions, lanes[Queue.MATMUL].begins, strict=True
    ):
        latest = -1
        blamed: Queue | None = None
        for (sender, bit), ends in signals.items():
            if item.wait >> bit & 1:
                index = int(np.searchsorted(ends, begin, "right")) - 1
                if index >= 0 and ends[index] > latest:
                    latest, blamed = int(ends[index]), sender
        result.append(blamed)
    return result


def _last_to_end(lanes: dict[Queue, _Lane]) -> Queue | None:
    """The queue that the end of the program waits for."""
    done = [(int(lane.ends[-1]), q) for q, lane in lanes.items() if len(lane.ends)]
    return max(done)[1] if done else None


def _macs_per_row(item: Instruction, array: int) -> float:
    """Useful multiply-accumulates of an average row of a MATMUL."""
    assert item.opcode is Opcode.MATMUL
    lanes = (item.channel_blocks - 1) * array + item.used_rows
    return lanes * item.used_columns / item.channel_blocks


def _merged(full: Attribution) -> Attribution:
    if not len(full.cause):
        return full
    starts = np.concatenate(
        [[True], (np.diff(full.cause) != 0) | (np.diff(full.tag) != 0)]
    ).nonzero()[0]
    return Attribution(
        np.append(full.edges[starts], full.edges[-1]),
        full.cause[starts],
        full.tag[starts],
        np.add.reduceat(full.macs, starts),
    )
