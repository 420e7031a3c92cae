"""Are a program's semaphores enough? An independent check of what `hw/tpu/isa.py` demands.

Known of any execution, at any memory latency: queues start and complete in program order; the
k-th wait on a semaphore follows the completion that signalled it the k-th time; nothing crosses a
FENCE. From that each instruction gets a vector clock: for each queue, how many of its
instructions are surely complete when it starts. Two instructions of which one may start before
the other is complete must not touch the same rows, if one of them writes; only MATMULs are safe
among themselves, and LOADs. Weight tiles flow through a FIFO and need no order.

Which signal a wait takes is certain only if a semaphore is signalled by one queue and taken by
one queue. Programs that mix queues on a semaphore are reported as such.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from hw.tpu import isa
from hw.tpu.config import PARAMETER_SUBROWS, TpuConfig
from hw.tpu.isa import Convert, Instruction, Memory, Opcode, Queue, Reduce, Source

QUEUES = len(Queue)
_MEMORY_NAMES = {
    Memory.SCRATCHPAD: "scratchpad", Memory.PARAMETERS: "parameters", Memory.LANES: "lanes"
}  # fmt: skip
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Hazard:
    """Instructions `first` < `second` (positions in the program) may overlap in `memory`, where
    both touch `row`; or, if `memory` is "semaphore", number `row` serves several queues or is
    waited for too often, or, if it is "weights", tiles are missing."""

    memory: str
    first: int
    second: int
    row: int

    def __str__(self) -> str:
        return f"instructions {self.first} and {self.second} race for {self.memory} row {self.row}"


@dataclass(frozen=True)
class Access:
    """Rows of one memory that an instruction reads or writes."""

    memory: str
    rows: Rows
    writes: bool


def _grid(base: int, *sides: tuple[int, int]) -> Rows:
    """`base + sum(i_k * stride_k)` for all `i_k < count_k`, `sides` being (count, stride)."""
    rows = np.array([base], np.int64)
    for count, stride in sides:
        rows = (rows[:, None] + np.arange(count, dtype=np.int64) * stride).ravel()
    return rows


def accesses(i: Instruction, unit: int = 1) -> list[Access]:
    """What an instruction touches; DRAM in units of `unit` bytes, which divides all its numbers."""
    if i.opcode in (Opcode.LOAD, Opcode.STORE):
        return _transfer(i, unit)
    if i.opcode is Opcode.MATMUL:
        return _matmul(i)
    if i.opcode is Opcode.VECTOR:
        return _vector(i)
    return []


def _transfer(i: Instruction, unit: int) -> list[Access]:
    outside = _grid(
        i.address // unit,
        (i.lines, i.dram_line_stride // unit),
        (i.rows, i.dram_row_stride // unit),
        (-(-i.row_bytes // unit), 1),
    )
    inside = _grid(i.base, (i.lines, i.line_stride), (i.rows, i.row_stride)) % isa.ROW_SPAN
    store = i.opcode is Opcode.STORE
    found = [Access("dram", outside, store)]
    if i.memory != Memory.WEIGHTS:
        name = _MEMORY_NAMES[Memory(i.memory)]
        found.append(Access(name, inside, not store))
    return found


def _inside(at: Rows, offset: Rows, limit: int) -> NDArray[np.bool_]:
    position = at[:, None] + offset
    return (position >= 0) & (position < limit)


def _image(
    base: int,
    lines: tuple[Rows, Rows, NDArray[np.bool_]],
    across: tuple[Rows, Rows, NDArray[np.bool_]],
) -> Rows:
    """Rows `base + y part + x part` of the image rows and columns that are inside."""
    ys = (lines[0][:, None] + lines[1])[lines[2]]
    xs = (across[0][:, None] + across[1])[across[2]]
    return (base + np.unique(ys)[:, None] + np.unique(xs)).ravel()


def _matmul(i: Instruction) -> list[Access]:
    y, x = np.arange(i.rows, dtype=np.int64), np.arange(i.columns, dtype=np.int64)
    ky, kx = np.arange(i.kernel_rows, dtype=np.int64), np.arange(i.kernel_columns, dtype=np.int64)
    lines = (
        y * i.row_stride,
        ky * i.kernel_row_stride,
        _inside(i.top + y * i.step_y, ky * i.dilation_y, i.height),
    )
    across = (
        x * i.column_stride,
        kx * i.kernel_column_stride,
        _inside(i.left + x * i.step_x, kx * i.dilation_x, i.width),
    )
    image = _image(i.source, lines, across)
    outer = _grid(0, (i.channel_blocks, i.channel_stride), (i.batches, i.batch_stride))
    read = (outer[:, None] + image).ravel() % isa.ROW_SPAN
    written = _grid(
        i.accumulator,
        (i.batches, i.accumulator_batch_stride),
        (i.rows, i.accumulator_row_stride),
        (i.columns, i.accumulator_column_stride),
    )
    return [
        Access("scratchpad", read, False),
        Access("accumulators", written % (1 << 16), True),
    ]


def _vector(i: Instruction) -> list[Access]:
    y, x = np.arange(i.rows, dtype=np.int64), np.arange(i.columns, dtype=np.int64)
    wy, wx = np.arange(i.window_rows, dtype=np.int64), np.arange(i.window_columns, dtype=np.int64)
    lines = (
        y * i.row_stride,
        wy * i.window_row_stride,
        _inside(i.top + y * i.step_y, wy, i.height),
    )
    across = (
        x * i.column_stride,
        wx * i.window_column_stride,
        _inside(i.left + x * i.step_x, wx, i.width),
    )
    source = "accumulators" if i.source == Source.ACCUMULATORS else "scratchpad"
    written = _grid(
        i.destination, (i.rows, i.destination_row_stride), (i.columns, i.destination_column_stride)
    )
    found = [
        Access(source, _image(i.base, lines, across) % isa.ROW_SPAN, False),
        Access("scratchpad", written % isa.ROW_SPAN, True),
    ]
    if i.convert == Convert.REQUANTISE:
        first = i.parameters * PARAMETER_SUBROWS
        found.append(Access("parameters", _grid(first, (PARAMETER_SUBROWS, 1)), False))
    if i.reduce == Reduce.MULTIPLY_ACCUMULATE:
        taps = i.window_rows * i.window_columns
        found.append(Access("lanes", _grid(i.weights, (taps, 1)), False))
    if i.table:
        found.append(Access("lanes", _grid(256 * i.table_number, (256, 1)), False))
    if i.add:
        first = i.second_parameters * PARAMETER_SUBROWS
        second = _grid(i.second, (i.rows, i.second_row_stride), (i.columns, i.second_column_stride))
        found.append(Access("parameters", _grid(first, (PARAMETER_SUBROWS, 1)), False))
        found.append(Access("scratchpad", second % isa.ROW_SPAN, False))
    return found


class _Clocks:
    """Vector clocks: for each queue how many instructions are complete when one starts."""

    def __init__(self, program: Sequence[Instruction]) -> None:
        self.problems: list[Hazard] = []
        self.numbers: list[int] = []
        self.starts: list[list[int]] = []
        counts, current = [0] * QUEUES, [[0] * QUEUES for _ in range(QUEUES)]
        signals: dict[int, list[int]] = defaultdict(list)
        users: dict[tuple[int, str], tuple[Queue, int]] = {}
        taken: dict[int, int] = defaultdict(int)
        for position, i in enumerate(program):
            if i.queue is None:
                current = [list(counts) for _ in range(QUEUES)]
                self.numbers.append(-1)
                self.starts.append(list(counts))
                continue
            clock = list(current[i.queue])
            wait, signal = i.wait, i.signal
            for semaphore in range(isa.SEMAPHORES if wait | signal else 0):
                for side, mask in (("wait", wait), ("signal", signal)):
                    if mask >> semaphore & 1:
                        user, where = users.setdefault((semaphore, side), (i.queue, position))
                        if user != i.queue:
                            self.problems.append(Hazard("semaphore", where, position, semaphore))
                if not wait >> semaphore & 1:
                    continue
                if taken[semaphore] == len(signals[semaphore]):
                    self.problems.append(Hazard("semaphore", position, position, semaphore))
                    continue
                source = signals[semaphore][taken[semaphore]]
                taken[semaphore] += 1
                clock = [max(a, b) for a, b in zip(clock, self.starts[source], strict=True)]
                queue = program[source].queue
                assert queue is not None
                clock[queue] = max(clock[queue], self.numbers[source] + 1)
            current[i.queue] = clock
            self.starts.append(clock)
            self.numbers.append(counts[i.queue])
            counts[i.queue] += 1
            for semaphore in range(isa.SEMAPHORES if signal else 0):
                if signal >> semaphore & 1:
                    signals[semaphore].append(position)


def find_hazards(
    program: Sequence[Instruction], config: TpuConfig, limit: int = 100
) -> list[Hazard]:
    """Every way found (at most `limit`) in which concurrent execution may differ from sequential.

    An empty list means that there is none. Per instruction, row and queue, only the latest
    conflicting access is named: an order with that one is an order with those before it.
    """
    clocks = _Clocks(program)
    hazards = clocks.problems + missing_weights(program, config)
    unit, floor, dram = _dram_range(program)
    sizes = {
        "scratchpad": config.scratchpad_rows,
        "accumulators": config.accumulator_total_rows,
        "parameters": config.parameter_subrows,
        "lanes": config.lane_rows,
        "dram": dram,
    }
    positions: list[list[int]] = [[] for _ in range(QUEUES)]
    last: dict[tuple[str, int, bool], NDArray[np.int32]] = {}
    for position, i in enumerate(program):
        if i.queue is None:
            continue
        touched = []
        for access in accesses(i, unit):
            rows = access.rows
            if access.memory == "dram":
                rows = rows - floor
            rows = rows[(rows >= 0) & (rows < sizes[access.memory])]
            if not rows.size:
                continue
            touched.append((access.memory, rows, access.writes))
            for queue in range(QUEUES):
                if queue == i.queue and queue in (Queue.LOAD, Queue.MATMUL):
                    continue
                for wrote in (True, False) if access.writes else (True,):
                    before = last.get((access.memory, queue, wrote))
                    if before is None:
                        continue
                    numbers = before[rows]
                    late = numbers >= clocks.starts[position][queue]
                    if late.any():
                        for number in np.unique(numbers[late]):
                            row = int(rows[numbers == number][0])
                            hazards.append(
                                Hazard(access.memory, positions[queue][number], position, row)
                            )
        if len(hazards) >= limit:
            return hazards[:limit]
        for memory, rows, writes in touched:
            key = (memory, int(i.queue), writes)
            if key not in last:
                last[key] = np.full(sizes[memory], -1, np.int32)
            last[key][rows] = clocks.numbers[position]
        positions[i.queue].append(position)
    return hazards


def _dram_range(program: Sequence[Instruction]) -> tuple[int, int, int]:
    """(unit in bytes, first unit, units) of the DRAM that STOREs write."""
    unit, low, high = 0, None, 0
    for i in program:
        if i.opcode in (Opcode.LOAD, Opcode.STORE):
            numbers = [i.address, i.row_bytes]
            numbers += [i.dram_row_stride] if i.rows > 1 else []
            numbers += [i.dram_line_stride] if i.lines > 1 else []
            unit = gcd(unit, *numbers)
    for i in program:
        if i.opcode is Opcode.STORE:
            corners = [
                i.address + line * i.dram_line_stride + row * i.dram_row_stride
                for line in (0, i.lines - 1)
                for row in (0, i.rows - 1)
            ]
            low = min(corners) if low is None else min(low, *corners)
            high = max(high, max(corners) + i.row_bytes)
    if low is None:
        return max(unit, 1), 0, 0
    return unit, low // unit, -(-high // unit) - low // unit


def missing_weights(program: Sequence[Instruction], config: TpuConfig) -> list[Hazard]:
    """The first MATMUL whose weight tiles no earlier LOAD brings, if any."""
    rows = 0
    for position, i in enumerate(program):
        if i.opcode is Opcode.LOAD and i.memory == Memory.WEIGHTS:
            rows += i.rows * i.lines
        elif i.opcode is Opcode.MATMUL:
            tiles = i.channel_blocks * i.kernel_rows * i.kernel_columns - i.keep
            rows -= tiles * config.array
            if rows < 0:
                return [Hazard("weights", position, position, -rows)]
    return []
