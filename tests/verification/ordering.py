"""Semaphores that make a sequence of instructions race-free, derived from what each touches.

One semaphore for each pair of queues (4 x 4 = 16). Whenever an instruction touches rows that an
earlier one of another queue (or of its own, but for MATMULs) may still be using, that one, or a
later one of the same queue, signals and the instruction waits. Edges of a pair never cross, so
that the k-th wait takes the k-th signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np
from numpy.typing import NDArray

from hw.tpu.config import TpuConfig
from hw.tpu.isa import Instruction, Queue
from tests.verification.operands import Placed

QUEUES = len(Queue)


class Orderer:
    """Adds masks to one program; `extra` is the chance of an edge that nothing asks for."""

    def __init__(
        self, config: TpuConfig, dram_bytes: int, rng: Random, extra: float = 0.08
    ) -> None:
        self.rng, self.extra = rng, extra
        self.sizes = {
            "scratchpad": config.scratchpad_rows,
            "accumulators": config.accumulator_total_rows,
            "parameters": config.parameter_subrows,
            "lanes": config.lane_rows,
            "dram": dram_bytes,
        }
        self.last: dict[tuple[str, int, bool], NDArray[np.int16]] = {}
        self.positions: list[list[int]] = [[] for _ in Queue]
        self.starts: list[list[int]] = []
        self.clocks = [[0] * QUEUES for _ in Queue]
        self.matched = [[-1] * QUEUES for _ in Queue]  # [from][to]: last number that signalled
        self.numbers = list(range(QUEUES * QUEUES))
        rng.shuffle(self.numbers)
        self.waits: list[int] = []
        self.signals: list[int] = []

    def run(self, program: Sequence[Placed]) -> tuple[Instruction, ...]:
        """The same instructions with their masks."""
        for placed in program:
            self._add(placed)
        self._surplus()
        return tuple(
            Instruction(
                placed.instruction.opcode,
                {**placed.instruction.values, "wait": wait, "signal": signal},
            )
            for placed, wait, signal in zip(program, self.waits, self.signals, strict=True)
        )

    def _add(self, placed: Placed) -> None:
        queue = placed.instruction.queue
        self.waits.append(0)
        self.signals.append(0)
        if queue is None:
            complete = [len(numbers) for numbers in self.positions]
            self.clocks = [list(complete) for _ in Queue]
            self.starts.append(complete)
            return
        clock = self.clocks[queue]
        for source, needed in enumerate(self._needed(placed, queue)):
            if needed >= clock[source]:
                self._edge(source, queue, self.rng.randint(needed, self._latest(source)))
        if self.rng.random() < self.extra:
            source = self.rng.randrange(QUEUES)
            if self._latest(source) > self.matched[source][queue]:
                self._edge(source, queue, self._latest(source))
        self.starts.append(list(clock))
        number = len(self.positions[queue])
        self.positions[queue].append(len(self.starts) - 1)
        for access in placed.accesses:
            key = (access.memory, int(queue), access.writes)
            if key not in self.last:
                self.last[key] = np.full(self.sizes[access.memory], -1, np.int16)
            self.last[key][access.rows] = number

    def _latest(self, queue: int) -> int:
        return len(self.positions[queue]) - 1

    def _needed(self, placed: Placed, queue: Queue) -> list[int]:
        """For each queue the latest number that must be complete; -1 if none."""
        needed = [-1] * QUEUES
        for access in placed.accesses:
            for source in range(QUEUES):
                if source == queue and queue in (Queue.LOAD, Queue.MATMUL):
                    continue
                for wrote in (True, False) if access.writes else (True,):
                    before = self.last.get((access.memory, source, wrote))
                    if before is not None and access.rows.size:
                        needed[source] = max(needed[source], int(before[access.rows].max()))
        return needed

    def _edge(self, source: int, queue: int, number: int) -> None:
        """The present instruction waits for the `number`-th of queue `source`."""
        bit = 1 << self.numbers[source * QUEUES + queue]
        position = self.positions[source][number]
        if number <= self.matched[source][queue] or self.waits[-1] & bit:
            return
        self.matched[source][queue] = number
        self.signals[position] |= bit
        self.waits[-1] |= bit
        clock = self.clocks[queue]
        for index, known in enumerate(self.starts[position]):
            clock[index] = max(clock[index], known)
        clock[source] = max(clock[source], number + 1)

    def _surplus(self) -> None:
        """Signals that nobody takes, which the next program must not see."""
        for source in range(QUEUES):
            for queue in range(QUEUES):
                number = self.matched[source][queue] + 1
                if number <= self._latest(source) and self.rng.random() < self.extra:
                    position = self.positions[source][self._latest(source)]
                    self.signals[position] |= 1 << self.numbers[source * QUEUES + queue]
