"""Semaphores from footprints: the one place that orders the four queues.

The scheduler writes a sequential program in which every operation says which rows it reads and
writes. This pass finds every read-after-write, write-after-read and write-after-write between
queues, and within a queue (a start may overlap the completion before it; only MATMULs are safe
among themselves, and LOADs), and covers it with a semaphore.

**Discipline.** Semaphore `4*p + c` is signalled only by queue `p` and taken only by queue `c`
(`isa.Queue` numbers; p = c is an instruction that needs the completion of an earlier one of its
own queue; 0 and 5, LOAD to LOAD and MATMUL to MATMUL, are unused). Both sides are in order, so the
k-th wait takes the k-th signal: a pair is added only for a producer later than the last one that
the consumer's queue has already waited for, directly or through other queues (vector clocks).
Hence no signal is left over, waits are as few as this scheme allows, and sequential execution
never waits.

| from \\ to | LOAD | MATMUL | VECTOR | STORE |
| --- | --- | --- | --- | --- |
| LOAD | - | 1: data arrived | 2: parameters, pool input arrived | 3: rarely |
| MATMUL | 4: staging read, may be reloaded | - | 6: accumulators complete | 7: rarely |
| VECTOR | 8: parameters or pool input free | 9: bank drained, or input written | 10: pool input | \
11: output rows written |
| STORE | 12: DRAM written, or rows free | 13: rarely | 14: output rows free | 15: rarely |
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hw.tpu import isa
from hw.tpu.isa import Instruction, Opcode, Queue
from sw.compiler.tpu.layers import CompileError

QUEUES = len(Queue)


class Space(enum.IntEnum):
    """A memory; addresses are rows, in DRAM units of N bytes."""

    SCRATCHPAD = 0
    ACCUMULATORS = 1
    PARAMETERS = 2
    DRAM = 3
    LANES = 4


@dataclass(frozen=True)
class Box:
    """Rows `base + sum(i_k * stride_k)` for all `i_k < count_k`, `sides` being (count, stride)."""

    space: Space
    base: int
    sides: tuple[tuple[int, int], ...]

    def index(self) -> slice | NDArray[np.int64]:
        """The rows, to index an array with."""
        run, offsets = _offsets(self.sides)
        return slice(self.base, self.base + run) if offsets is None else offsets + self.base


@lru_cache(maxsize=4096)
def _offsets(sides: tuple[tuple[int, int], ...]) -> tuple[int, NDArray[np.int64] | None]:
    """(length, None) of a dense run, else (0, offsets)."""
    run, dense = 1, True
    for count, stride in sorted(sides, key=lambda side: side[1]):
        if count > 1:
            dense = dense and stride == run
            run *= count
    if dense:
        return run, None
    offsets = np.zeros(1, np.int64)
    for count, stride in sides:
        offsets = (offsets[:, None] + np.arange(count, dtype=np.int64) * stride).ravel()
    return 0, offsets


@dataclass(frozen=True)
class Operation:
    """An instruction without semaphores, and the rows that it reads and writes at most."""

    opcode: Opcode
    values: dict[str, int]
    reads: tuple[Box, ...] = ()
    writes: tuple[Box, ...] = ()

    @property
    def queue(self) -> Queue:
        queue = isa.FORMATS[self.opcode].queue
        assert queue is not None
        return queue


class _Footprints:
    """Per memory and queue, the last instruction of the queue that touched each row."""

    def __init__(self, sizes: dict[Space, int]) -> None:
        self.sizes = sizes
        self.last: dict[tuple[Space, int, bool], NDArray[np.int32]] = {}

    def latest(self, box: Box, queue: int, wrote: bool) -> int:
        """The last instruction of `queue` that wrote (or read) a row of the box; -1: none."""
        touched = self.last.get((box.space, queue, wrote))
        return -1 if touched is None else int(touched[box.index()].max())

    def touch(self, box: Box, queue: int, wrote: bool, number: int) -> None:
        key = (box.space, queue, wrote)
        if key not in self.last:
            self.last[key] = np.full(self.sizes[box.space], -1, np.int32)
        self.last[key][box.index()] = number


GRAINS = (1, 16, 256)
"""Instructions of a queue that share a signal: more, where their semaphore would overflow."""


def synchronise(
    operations: Sequence[Operation], sizes: dict[Space, int], queue_depth: int
) -> tuple[Instruction, ...]:
    """The program with semaphores and a final HALT; `sizes` are the rows of each memory.

    Raises `CompileError` if a semaphore could count past its maximum.
    """
    grains = [1] * isa.SEMAPHORES
    while True:
        waits, signals = _pairs(operations, sizes, grains)
        full = _overflowing(waits, signals, queue_depth)
        if full is None:
            break
        if grains[full] == GRAINS[-1]:
            raise CompileError(f"semaphore {full} would count past {isa.SEMAPHORE_MAX}")
        grains[full] = GRAINS[GRAINS.index(grains[full]) + 1]
    instructions = [
        isa.make(item.opcode, wait=wait, signal=signal, **item.values)
        for item, wait, signal in zip(operations, waits, signals, strict=True)
    ]
    return (*instructions, isa.make(Opcode.HALT))


def _pairs(
    operations: Sequence[Operation], sizes: dict[Space, int], grains: Sequence[int]
) -> tuple[list[int], list[int]]:
    """The masks that each operation waits for and signals.

    Where the grain of a semaphore is g, an operation waits for the last of the g instructions
    among which its producer is, or for the last that there is yet: so that those after it, which
    need the others, need not wait for anything.
    """
    footprints = _Footprints(sizes)
    numbers = [0] * QUEUES
    clocks = [[-1] * QUEUES for _ in range(QUEUES)]
    """Of each queue, the last instruction of every queue known complete when its last started."""
    started: list[list[list[int]]] = [[] for _ in range(QUEUES)]
    places: list[list[int]] = [[] for _ in range(QUEUES)]
    waits, signals = [0] * len(operations), [0] * len(operations)
    for place, item in enumerate(operations):
        queue = item.queue
        clock = clocks[queue]
        needed = _needed(item, footprints)
        # the latest producer first: what it has itself waited for needs no wait of its own
        for producer in sorted(
            range(QUEUES), key=lambda q: places[q][needed[q]] if needed[q] >= 0 else -1
        )[::-1]:
            semaphore = QUEUES * producer + queue
            number = needed[producer]
            if number <= clock[producer]:
                continue
            last = number | grains[semaphore] - 1
            number = min(last, numbers[producer] - 1)
            bit = 1 << semaphore
            waits[place] |= bit
            signals[places[producer][number]] |= bit
            clock = [max(a, b) for a, b in zip(clock, started[producer][number], strict=True)]
            clock[producer] = max(clock[producer], number)
        clocks[queue] = clock
        started[queue].append(clock)
        places[queue].append(place)
        for box in item.reads:
            footprints.touch(box, queue, False, numbers[queue])
        for box in item.writes:
            footprints.touch(box, queue, True, numbers[queue])
        numbers[queue] += 1
    return waits, signals


def _needed(item: Operation, footprints: _Footprints) -> list[int]:
    """For each queue its last instruction that must complete first; -1: none."""
    needed = [-1] * QUEUES
    for boxes, wrote in ((item.reads, (True,)), (item.writes, (True, False))):
        for box in boxes:
            for producer in range(QUEUES):
                if producer == item.queue and producer in (Queue.LOAD, Queue.MATMUL):
                    continue
                for kind in wrote:
                    needed[producer] = max(needed[producer], footprints.latest(box, producer, kind))
    return needed


def _overflowing(waits: Iterable[int], signals: Iterable[int], queue_depth: int) -> int | None:
    """A semaphore that could overflow, however far queues run ahead of program order."""
    counts = [0] * isa.SEMAPHORES
    limit = isa.SEMAPHORE_MAX - queue_depth - 2
    for wait, signal in zip(waits, signals, strict=True):
        for number in range(isa.SEMAPHORES):
            counts[number] += (signal >> number & 1) - (wait >> number & 1)
            if counts[number] > limit:
                return number
    return None
