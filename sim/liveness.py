"""Can a program lock up? An untimed run of the queues with their real depths and weight FIFO.

Every step that is possible in this model stays possible until it is taken, so one greedy run
decides for all latencies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from hw.tpu import isa
from hw.tpu.config import TpuConfig
from hw.tpu.isa import Instruction, Memory, Opcode, Queue


def find_lockup(program: Sequence[Instruction], config: TpuConfig) -> list[int]:
    """Positions of the instructions at the heads of the queues that wait forever; [] if none.

    A queue holds `config.queue_depth` instructions besides the one that its unit works on.
    """
    return _Machine(program, config).run()


class _Machine:
    def __init__(self, program: Sequence[Instruction], config: TpuConfig) -> None:
        self.program, self.config = program, config
        self.queues: list[deque[int]] = [deque() for _ in Queue]
        self.active: list[int | None] = [None for _ in Queue]
        self.left = [0 for _ in Queue]
        self.semaphores = [0] * isa.SEMAPHORES
        self.rows = 0
        self.next = 0

    def run(self) -> list[int]:
        while True:
            moved = self._dispatch()
            for queue in Queue:
                moved |= self._start(queue)
                moved |= self._work(queue)
            if not moved:
                heads = [
                    active if active is not None else waiting[0]
                    for active, waiting in zip(self.active, self.queues, strict=True)
                    if active is not None or waiting
                ]
                return sorted(heads)

    def _dispatch(self) -> bool:
        moved = False
        while self.next < len(self.program):
            i = self.program[self.next]
            if i.queue is None:
                if any(self.queues) or any(active is not None for active in self.active):
                    return moved
            elif len(self.queues[i.queue]) == self.config.queue_depth:
                return moved
            else:
                self.queues[i.queue].append(self.next)
            self.next += 1
            moved = True
        return moved

    def _start(self, queue: Queue) -> bool:
        if self.active[queue] is not None or not self.queues[queue]:
            return False
        i = self.program[self.queues[queue][0]]
        taken = [number for number in range(isa.SEMAPHORES) if i.wait >> number & 1]
        if not all(self.semaphores[number] for number in taken):
            return False
        for number in taken:
            self.semaphores[number] -= 1
        self.active[queue] = self.queues[queue].popleft()
        n = self.config.array
        self.left[queue] = 0
        if i.opcode is Opcode.LOAD and i.memory == Memory.WEIGHTS:
            self.left[queue] = i.rows * i.lines
        elif i.opcode is Opcode.MATMUL:
            self.left[queue] = (i.channel_blocks * i.kernel_rows * i.kernel_columns - i.keep) * n
        return True

    def _work(self, queue: Queue) -> bool:
        """Move weight rows as far as they go; complete the instruction if that was all."""
        position = self.active[queue]
        if position is None:
            return False
        moved = 0
        if queue is Queue.LOAD:
            room = self.config.weight_tiles * self.config.array - self.rows
            moved = min(self.left[queue], room)
            self.rows += moved
        elif queue is Queue.MATMUL:
            whole = self.rows - self.rows % self.config.array
            moved = min(self.left[queue], whole)
            self.rows -= moved
        self.left[queue] -= moved
        if self.left[queue]:
            return moved > 0
        for number in range(isa.SEMAPHORES):
            self.semaphores[number] += self.program[position].signal >> number & 1
        self.active[queue] = None
        return True
