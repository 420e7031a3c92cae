"""Random instruction streams that mean nothing and never fault: every operand, every conflict.

Compiled programs are tidy; these are not. Rows overlap, banks collide, strides go backwards,
windows leave the image, rows straddle bus words. Semaphores are used so that no order of events
can lock the core up: each belongs to one pair of queues, and no more weight tiles are on their way
than the FIFO holds.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from hw.tpu import isa
from hw.tpu.config import TpuConfig
from hw.tpu.isa import Convert, Instruction, Memory, Opcode, Queue, Reduce, Source, make

PAIRS = [(a, b) for a in Queue for b in Queue if a is not b]
"""Semaphore number i goes from queue PAIRS[i][0] to queue PAIRS[i][1]."""
MOST_POSITIONS = 150


class Generator:
    """Appends instructions to `program`; the same for the same `rng`."""

    def __init__(self, rng: np.random.Generator, config: TpuConfig, dram_bytes: int) -> None:
        self.rng, self.config, self.dram_bytes = rng, config, dram_bytes
        self.program: list[Instruction] = []
        self.tiles = 0
        self.has_tile = False
        self.counts: Counter[int] = Counter()

    def fill(self, length: int) -> list[Instruction]:
        """`length` instructions and a HALT."""
        kinds = [self.load, self.weights, self.matmul, self.vector, self.store]
        while len(self.program) < length:
            kinds[self.rng.integers(len(kinds))]()
            if self.rng.integers(25) == 0:
                self.program.append(make(Opcode.FENCE))
        self.program.append(make(Opcode.HALT))
        return self.program

    def load(self) -> None:
        into = Memory.SCRATCHPAD
        if self.rng.integers(4) == 0:
            into = Memory.LANES if self.rng.integers(2) else Memory.PARAMETERS
        limit = {
            Memory.SCRATCHPAD: self.config.scratchpad_rows,
            Memory.PARAMETERS: self.config.parameter_subrows,
            Memory.LANES: self.config.lane_rows,
        }[into]
        self._add(Opcode.LOAD, **self._transfer(limit), memory=into, fill_others=1)

    def weights(self) -> None:
        free = self.config.weight_tiles - self.tiles
        if free < 1:
            return self.matmul()
        tiles = int(self.rng.integers(1, free + 1))
        self.tiles += tiles
        n = self.config.array
        rows = int(self.rng.choice([n * tiles, n, n // 2, 1]))
        fields = self._transfer(1 << 20, rows=rows, lines=n * tiles // rows)
        self._add(Opcode.LOAD, **fields, memory=Memory.WEIGHTS)

    def matmul(self) -> None:
        if not self.tiles:
            return self.weights()
        passes = int(self.rng.integers(1, self.tiles + 1))
        counts = [(passes, 1, 1), (1, passes, 1), (1, 1, passes)][self.rng.integers(3)]
        keep = int(self.rng.integers(4) == 0 and self.has_tile)
        self.has_tile = True
        self.tiles -= passes - keep
        batches, rows, columns = self._counts(3)
        steps = self.rng.integers(0, 4, 4)
        strides = self._strides((batches, rows, columns), self.config.accumulator_total_rows)
        source = self._strides((batches, rows, columns, *counts), self.config.scratchpad_rows)
        self._add(
            Opcode.MATMUL, batches=batches, rows=rows, columns=columns,
            channel_blocks=counts[0], kernel_rows=counts[1], kernel_columns=counts[2],
            source=source[0], batch_stride=source[1], row_stride=source[2],
            column_stride=source[3], channel_stride=source[4], kernel_row_stride=source[5],
            kernel_column_stride=source[6], height=rows + 1, width=columns + 1,
            top=int(self.rng.integers(-2, 2)), left=int(self.rng.integers(-2, 2)),
            step_y=steps[0], step_x=steps[1], dilation_y=steps[2], dilation_x=steps[3],
            accumulator=strides[0], accumulator_batch_stride=strides[1] % (1 << 16),
            accumulator_row_stride=strides[2] % (1 << 16),
            accumulator_column_stride=strides[3] % (1 << 16),
            used_rows=int(self.rng.integers(1, self.config.array + 1)),
            used_columns=int(self.rng.integers(1, self.config.array + 1)),
            accumulate=int(self.rng.integers(2)), keep=keep,
        )  # fmt: skip

    def vector(self) -> None:
        source = Source(int(self.rng.integers(2)))
        limit = self.config.scratchpad_rows
        if source is Source.ACCUMULATORS:
            limit = self.config.accumulator_total_rows
        windowed = self.rng.integers(2)
        counts = self._counts(4) if windowed else [*self._counts(2), 1, 1]
        read = self._strides(tuple(counts), limit)
        write = self._strides(tuple(counts[:2]), self.config.scratchpad_rows)
        steps = self.rng.integers(0, 3, 2)
        second = self._strides(tuple(counts[:2]), self.config.scratchpad_rows)
        reduce = Reduce.MAX if windowed else Reduce.NONE
        convert = Convert.NONE if source else int(self.rng.integers(1, 3))
        if source and self.rng.random() < 0.4:
            reduce = int(self.rng.choice([Reduce.SUM, Reduce.MULTIPLY_ACCUMULATE]))
            convert = Convert.REQUANTISE
        self._add(
            Opcode.VECTOR, source=source, reduce=reduce, convert=convert,
            add=int(self.rng.random() < 0.3), table=int(self.rng.random() < 0.3),
            second=second[0], second_row_stride=second[1], second_column_stride=second[2],
            rows=counts[0], columns=counts[1], window_rows=counts[2], window_columns=counts[3],
            base=read[0], row_stride=read[1], column_stride=read[2], window_row_stride=read[3],
            window_column_stride=read[4], destination=write[0],
            destination_row_stride=write[1], destination_column_stride=write[2],
            height=counts[0] + 1, width=counts[1] + 1, step_y=steps[0], step_x=steps[1],
            top=int(self.rng.integers(-2, 2)), left=int(self.rng.integers(-2, 2)),
        )  # fmt: skip

    def store(self) -> None:
        self._add(Opcode.STORE, **self._transfer(self.config.scratchpad_rows))

    def _transfer(self, limit: int, rows: int = 0, lines: int = 0) -> dict[str, int]:
        if not rows:
            rows, lines = self._counts(2)
        n = self.config.array
        lane = int(self.rng.choice([0, int(self.rng.integers(n))]))
        row_bytes = int(self.rng.choice([n - lane, int(self.rng.integers(1, n - lane + 1))]))
        base, row_stride, line_stride = self._strides((rows, lines), limit)
        gap = int(self.rng.choice([0, 0, 1, 5, 64]))
        across = int(self.rng.choice([0, row_bytes + gap, rows * (row_bytes + gap), 333]))
        span = rows * (row_bytes + gap) + lines * across + 64
        return {
            "rows": rows, "lines": lines, "lane": lane, "row_bytes": row_bytes, "base": base,
            "row_stride": row_stride, "line_stride": line_stride,
            "address": int(self.rng.integers(0, self.dram_bytes - span)),
            "dram_row_stride": row_bytes + gap, "dram_line_stride": across,
        }  # fmt: skip

    def _counts(self, number: int) -> list[int]:
        """Trip counts whose product is at most MOST_POSITIONS."""
        left, counts = MOST_POSITIONS, []
        for _ in range(number):
            counts.append(int(self.rng.integers(1, 1 + min(left, 20))))
            left //= counts[-1]
        return [int(count) for count in self.rng.permutation(counts)]

    def _strides(self, counts: tuple[int, ...], limit: int) -> list[int]:
        """A base and strides, modulo 2**20, such that every row is below `limit`."""
        room = limit - 1
        strides, least = [], 0
        for count in counts:
            most = room // max(1, count - 1)
            wide = int(self.rng.integers(0, 1 + min(most, 2 * limit // 3)))
            stride = int(self.rng.choice([0, 1, wide]))
            stride = min(stride, most)
            if self.rng.integers(4) == 0:
                stride = -stride
            room -= abs(stride) * (count - 1)
            least += min(0, stride * (count - 1))
            strides.append(stride % isa.ROW_SPAN)
        return [int(self.rng.integers(0, room + 1)) - least, *strides]

    def _add(self, opcode: Opcode, **fields: Any) -> None:
        queue = isa.FORMATS[opcode].queue
        wait = signal = 0
        for number, (giver, taker) in enumerate(PAIRS):
            if taker is queue and self.counts[number] and self.rng.integers(2):
                wait |= 1 << number
                self.counts[number] -= 1
            if giver is queue and self.counts[number] < 100 and self.rng.integers(4) == 0:
                signal |= 1 << number
                self.counts[number] += 1
        self.program.append(make(opcode, wait=wait, signal=signal, tag=len(self.program), **fields))


def random_program(
    seed: int, config: TpuConfig, length: int = 60, dram_bytes: int = 1 << 16
) -> list[Instruction]:
    """`length` random instructions and a HALT; the same for the same arguments."""
    return Generator(np.random.default_rng([seed, 1971]), config, dram_bytes).fill(length)
