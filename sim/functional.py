"""The oracle: what a program means, whole instructions at a time, on NumPy.

Instructions are executed one after the other, which is the meaning of a legal program (see
`hw/tpu/isa.py`). One that cannot be executed writes nothing. Nothing here knows about time.
`sim/native` has the same results sooner.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hw.tpu import isa, numerics
from hw.tpu.config import PARAMETER_SUBROWS, TpuConfig
from hw.tpu.isa import Convert, Instruction, Memory, Opcode, Reduce, Source
from hw.tpu.registers import Error
from sim.engine import RunResult, TpuError, check_range

EXACT_FLOAT32_PRODUCTS = (1 << 24) // (128 * 128)
"""So many int8 products sum exactly in float32, which BLAS multiplies fastest."""


class StepError(Exception):
    """An instruction cannot go on: the error code and the offending address."""

    def __init__(self, code: Error, detail: int = 0, note: str = "") -> None:
        super().__init__(code, detail, note)
        self.code, self.detail, self.note = code, detail, note


class FunctionalSimulator:
    """An `Engine` without time: bit-exact results, counts of work, no cycles.

    `dram` is uint8 `[dram_bytes]`; on-chip state is `scratchpad` int8 `[rows, N]`, `accumulators`
    int32 `[rows, N]`, `parameters` uint8 `[sub-rows, N]`, the lane memory `lanes` int8 `[rows, N]`
    and the list `weights` of int8 rows.
    On-chip state starts as zeros and survives from run to run, except for semaphores and weights.
    """

    name = "functional"

    def __init__(self, config: TpuConfig, dram_bytes: int = 1 << 24) -> None:
        self.config, self.dram_bytes = config, dram_bytes
        self.dram = np.zeros(dram_bytes, np.uint8)
        self.scratchpad = np.zeros((config.scratchpad_rows, config.array), np.int8)
        self.accumulators = np.zeros((config.accumulator_total_rows, config.array), np.int32)
        self.parameters = np.zeros((config.parameter_subrows, config.array), np.uint8)
        self.lanes = np.zeros((config.lane_rows, config.array), np.int8)
        self.reset()

    def reset(self) -> None:
        """Empty semaphores, weight FIFO and counters."""
        self.weights: list[NDArray[np.int8]] = []
        self.tile: NDArray[np.int8] | None = None
        self.semaphores = [0] * isa.SEMAPHORES
        self.counters = {"instructions": 0, "array_active": 0, "useful_macs": 0}

    def write(self, address: int, data: NDArray[np.uint8]) -> None:
        check_range(self.dram_bytes, address, data.size)
        self.dram[address : address + data.size] = data.ravel()

    def read(self, address: int, size: int) -> NDArray[np.uint8]:
        check_range(self.dram_bytes, address, size)
        return self.dram[address : address + size].copy()

    def close(self) -> None:
        """Nothing to release."""

    def run(self, program: int, instructions: int) -> RunResult:
        """Execute up to HALT; raises `TpuError` and leaves everything before the fault done."""
        begin = time.perf_counter()
        self.reset()
        self.check_program(program, instructions)
        for position in range(instructions):
            if self.one(program, position).opcode is Opcode.HALT:
                return RunResult(self.name, time.perf_counter() - begin, counters=self.counters)
        raise TpuError(Error.NO_HALT, instructions)

    def check_program(self, program: int, instructions: int) -> None:
        """Raises `TpuError` if a program does not lie in DRAM."""
        if program < 0 or program + instructions * isa.INSTRUCTION_BYTES > self.dram_bytes:
            raise TpuError(Error.DRAM_RANGE, 0, detail=program)

    def one(self, program: int, position: int) -> Instruction:
        """Fetch and execute one instruction; raises `TpuError` if it cannot be executed."""
        size = isa.INSTRUCTION_BYTES
        word = self.dram[program + position * size : program + (position + 1) * size].tobytes()
        try:
            instruction = isa.decode(word)
        except isa.IsaError as error:
            raise TpuError(Error.ILLEGAL_INSTRUCTION, position, note=str(error)) from None
        if reason := isa.unbuilt(instruction):
            raise TpuError(Error.UNBUILT, position, instruction.tag, note=reason)
        try:
            self.step(instruction)
        except StepError as stop:
            raise TpuError(stop.code, position, instruction.tag, stop.detail, stop.note) from None
        return instruction

    def step(self, instruction: Instruction) -> None:
        """Execute one instruction; raises `StepError` if it cannot."""
        wait, signal = instruction.wait, instruction.signal
        for number in range(isa.SEMAPHORES if wait else 0):
            if wait >> number & 1:
                if not self.semaphores[number]:
                    raise StepError(
                        Error.WATCHDOG, note=f"it waits for semaphore {number}, never signalled"
                    )
                self.semaphores[number] -= 1
        if instruction.queue is not None:
            {
                Opcode.LOAD: self._load,
                Opcode.MATMUL: self._matmul,
                Opcode.VECTOR: self._vector,
                Opcode.STORE: self._store,
            }[instruction.opcode](instruction)
        for number in range(isa.SEMAPHORES if signal else 0):
            if signal >> number & 1:
                self.semaphores[number] += 1
                if self.semaphores[number] > isa.SEMAPHORE_MAX:
                    raise StepError(Error.SEMAPHORE_OVERFLOW)
        self.counters["instructions"] += 1

    # --- transfers ---------------------------------------------------------------------------

    def _dram_bytes_of(self, i: Instruction) -> NDArray[np.int64]:
        """DRAM offsets `[lines*rows, row_bytes]` of a transfer."""
        if i.lane + i.row_bytes > self.config.array:
            raise StepError(Error.ILLEGAL_OPERAND, i.lane + i.row_bytes, "lane + row_bytes > array")
        first = (
            i.address
            + np.arange(i.lines, dtype=np.int64)[:, None] * i.dram_line_stride
            + np.arange(i.rows, dtype=np.int64) * i.dram_row_stride
        ).ravel()
        for bad in first[(first < 0) | (first + i.row_bytes > self.dram_bytes)][:1]:
            raise StepError(Error.DRAM_RANGE, int(bad) & 0xFFFFFFFF)
        return first[:, None] + np.arange(i.row_bytes)

    def _rows_of(self, i: Instruction, limit: int, code: Error) -> NDArray[np.int64]:
        """On-chip rows `[lines*rows]` of a transfer."""
        rows = (
            i.base
            + np.arange(i.lines, dtype=np.int64)[:, None] * i.line_stride
            + np.arange(i.rows, dtype=np.int64) * i.row_stride
        ).ravel() % isa.ROW_SPAN
        return _within(rows, limit, code)

    def _load(self, i: Instruction) -> None:
        lanes = slice(i.lane, i.lane + i.row_bytes)
        loaded = self.dram[self._dram_bytes_of(i)].view(np.int8)
        if i.memory == Memory.WEIGHTS:
            rows = np.full((len(loaded), self.config.array), i.fill, np.int8)
            rows[:, lanes] = loaded
            self.weights.extend(rows)
            return
        if i.memory == Memory.PARAMETERS:
            target = self.parameters.view(np.int8)
            code = Error.PARAMETER_RANGE
        elif i.memory == Memory.LANES:
            target, code = self.lanes, Error.PARAMETER_RANGE
        else:
            target, code = self.scratchpad, Error.SCRATCHPAD_RANGE
        destination = self._rows_of(i, len(target), code)
        # where rows coincide the last one wins, as in the hardware; NumPy assigns in order
        if i.fill_others:
            target[destination] = np.int8(i.fill)
        target[destination, lanes] = loaded

    def _store(self, i: Instruction) -> None:
        offsets = self._dram_bytes_of(i)
        source = self._rows_of(i, len(self.scratchpad), Error.SCRATCHPAD_RANGE)
        lanes = slice(i.lane, i.lane + i.row_bytes)
        self.dram[offsets] = self.scratchpad[source, lanes].view(np.uint8)

    # --- matmul ------------------------------------------------------------------------------

    def _matmul(self, i: Instruction) -> None:
        n = self.config.array
        if i.keep and self.tile is None:
            raise StepError(Error.ILLEGAL_OPERAND, note="keep before this program took any tile")
        batch, row, column = _grid(i.batches, i.rows, i.columns)
        target = _within(
            (
                i.accumulator
                + batch * i.accumulator_batch_stride
                + row * i.accumulator_row_stride
                + column * i.accumulator_column_stride
            )
            % (1 << 16),
            len(self.accumulators),
            Error.ACCUMULATOR_RANGE,
        )
        start = i.source + batch * i.batch_stride + row * i.row_stride + column * i.column_stride
        at_y, at_x = i.top + row * i.step_y, i.left + column * i.step_x
        passes = list(np.ndindex(i.channel_blocks, i.kernel_rows, i.kernel_columns))
        tiles = self._take_tiles(len(passes), keep=bool(i.keep))
        distinct = len(np.unique(target)) == len(target)
        together = max(1, EXACT_FLOAT32_PRODUCTS // n) if distinct else 1
        adding = np.zeros((len(target), n), np.int32)
        for first in range(0, len(passes), together):
            group = passes[first : first + together]
            streamed = np.empty((len(target), len(group), n), np.float32)
            for number, (c, ky, kx) in enumerate(group):
                y, x = at_y + ky * i.dilation_y, at_x + kx * i.dilation_x
                inside = (y >= 0) & (y < i.height) & (x >= 0) & (x < i.width)
                offset = (
                    c * i.channel_stride + ky * i.kernel_row_stride + kx * i.kernel_column_stride
                )
                rows = (start + offset) % isa.ROW_SPAN
                if inside.all():
                    _within(rows, len(self.scratchpad), Error.SCRATCHPAD_RANGE)
                    streamed[:, number] = self.scratchpad[rows]
                else:
                    _within(rows[inside], len(self.scratchpad), Error.SCRATCHPAD_RANGE)
                    streamed[:, number] = i.pad
                    streamed[inside, number] = self.scratchpad[rows[inside]]
            weights = tiles[first : first + len(group)].reshape(-1, n).astype(np.float32)
            product = (streamed.reshape(len(target), -1) @ weights).astype(np.int32)
            if first == 0 and not i.accumulate:
                overwriting = product
            else:
                adding += product
        # only now, so that a matmul that reads a row that does not exist changes nothing
        if not i.accumulate:
            self.accumulators[target] = overwriting  # in order: the last of equal rows stays
        if distinct:
            self.accumulators[target] += adding
        else:
            np.add.at(self.accumulators, target, adding)
        streamed_rows = len(target) * len(passes)
        kernel = i.kernel_rows * i.kernel_columns
        lanes = kernel * ((i.channel_blocks - 1) * n + min(i.used_rows, n))
        self.counters["array_active"] += streamed_rows
        self.counters["useful_macs"] += len(target) * lanes * min(i.used_columns, n)

    def _take_tiles(self, passes: int, keep: bool) -> NDArray[np.int8]:
        """The tiles `[passes, N, N]` of a matmul, the last of which stays in the array."""
        n = self.config.array
        needed = (passes - keep) * n
        if len(self.weights) < needed:
            raise StepError(Error.WATCHDOG, note="it waits for a weight tile that was never loaded")
        taken = self.weights[:needed]
        del self.weights[:needed]
        fresh = np.array(taken, np.int8).reshape(-1, n, n)
        tiles = fresh if self.tile is None or not keep else np.concatenate([[self.tile], fresh])
        self.tile = tiles[-1]
        return tiles

    # --- vector ------------------------------------------------------------------------------

    def _vector(self, i: Instruction) -> None:
        row, column = (axis.ravel() for axis in np.indices((i.rows, i.columns), np.int64))
        written = _within(
            (i.destination + row * i.destination_row_stride + column * i.destination_column_stride)
            % isa.ROW_SPAN,
            len(self.scratchpad),
            Error.SCRATCHPAD_RANGE,
        )
        if i.convert == Convert.REQUANTISE and i.parameters >= self.config.parameter_entries:
            raise StepError(Error.PARAMETER_RANGE, i.parameters)
        if i.add and i.second_parameters >= self.config.parameter_entries:
            raise StepError(Error.PARAMETER_RANGE, i.second_parameters)
        if i.table and 256 * (i.table_number + 1) > self.config.lane_rows:
            raise StepError(Error.PARAMETER_RANGE, 256 * i.table_number)
        if i.reduce in (Reduce.SUM, Reduce.MULTIPLY_ACCUMULATE):
            result = self._requantised(i, self._window_sum(i, row, column))
        else:
            result = self._window_maximum(i, row, column)
        if i.add:
            result = self._added(i, result, row, column)
        if i.table:
            lanes = np.arange(self.config.array)
            result = self.lanes[256 * i.table_number + 128 + result.astype(np.int64), lanes]
        self.scratchpad[written] = np.clip(result, i.low, i.high).astype(np.int8)

    def _added(
        self,
        i: Instruction,
        result: NDArray[np.int8],
        row: NDArray[np.int64],
        column: NDArray[np.int64],
    ) -> NDArray[np.int8]:
        rows = (i.second + row * i.second_row_stride + column * i.second_column_stride) % (
            isa.ROW_SPAN
        )
        second = self.scratchpad[_within(rows, len(self.scratchpad), Error.SCRATCHPAD_RANGE)]
        bias, scale = self.parameter_entry(i.second_parameters)
        lanes = np.stack([bias[:2].view(np.uint32), scale[:2].view(np.uint32)], axis=1)
        return numerics.residual_add(
            *((second, result) if i.swap else (result, second)),
            numerics.unpack_add_constants(lanes.astype("<u4").tobytes()),
        )

    def _window(
        self, i: Instruction, row: NDArray[np.int64], column: NDArray[np.int64]
    ) -> Iterator[tuple[int, NDArray[np.bool_], NDArray[np.int64]]]:
        """For each window position: its number, which outputs have it inside, their source rows."""
        for number, (wy, wx) in enumerate(np.ndindex(i.window_rows, i.window_columns)):
            y, x = i.top + row * i.step_y + wy, i.left + column * i.step_x + wx
            inside = (y >= 0) & (y < i.height) & (x >= 0) & (x < i.width)
            rows = (
                i.base
                + row * i.row_stride
                + column * i.column_stride
                + wy * i.window_row_stride
                + wx * i.window_column_stride
            ) % isa.ROW_SPAN
            yield number, inside, rows[inside]

    def _window_maximum(
        self, i: Instruction, row: NDArray[np.int64], column: NDArray[np.int64]
    ) -> NDArray[np.int8]:
        result = np.full((len(row), self.config.array), numerics.INT8_MIN, np.int8)
        for _, inside, rows in self._window(i, row, column):
            result[inside] = np.maximum(result[inside], self._converted(i, rows))
        return result

    def _window_sum(
        self, i: Instruction, row: NDArray[np.int64], column: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        total = np.zeros((len(row), self.config.array), np.int64)
        multiply = i.reduce == Reduce.MULTIPLY_ACCUMULATE
        taps = i.window_rows * i.window_columns
        if multiply and i.weights + taps > self.config.lane_rows:
            raise StepError(Error.PARAMETER_RANGE, max(i.weights, self.config.lane_rows))
        for number, inside, rows in self._window(i, row, column):
            values = np.full(total.shape, i.pad, np.int64)
            _within(rows, len(self.scratchpad), Error.SCRATCHPAD_RANGE)
            values[inside] = self.scratchpad[rows]
            total += values * self.lanes[i.weights + number] if multiply else values
        return total

    def _converted(self, i: Instruction, rows: NDArray[np.int64]) -> NDArray[np.int8]:
        """Source rows as int8 `[rows, N]`."""
        if i.source == Source.SCRATCHPAD:
            return self.scratchpad[_within(rows, len(self.scratchpad), Error.SCRATCHPAD_RANGE)]
        raw = self.accumulators[_within(rows, len(self.accumulators), Error.ACCUMULATOR_RANGE)]
        if i.convert == Convert.BYTE:
            return (raw >> (8 * i.byte)).astype(np.int8)
        return self._requantised(i, raw)

    def _requantised(self, i: Instruction, total: NDArray[np.integer]) -> NDArray[np.int8]:
        bias, scale = self.parameter_entry(i.parameters)
        biased = numerics.wrap_int32(total.astype(np.int64) + bias)
        return numerics.requantise(biased, scale, i.zero_point)

    def parameter_entry(self, entry: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Bias and scale `[N]` of a parameter entry."""
        planes = self.parameters[entry * PARAMETER_SUBROWS : (entry + 1) * PARAMETER_SUBROWS]
        words = np.ascontiguousarray(planes.reshape(2, 4, -1).transpose(0, 2, 1)).view("<u4")
        return words[0, :, 0].view(np.int32), words[1, :, 0].view(np.float32)


def _grid(*counts: int) -> tuple[NDArray[np.int64], ...]:
    """Flat index arrays of nested counters, the last one fastest."""
    return tuple(axis.ravel() for axis in np.indices(counts, np.int64))


def _within(rows: NDArray[np.int64], limit: int, code: Error) -> NDArray[np.int64]:
    """`rows`, all below `limit`; raises `StepError` naming the first that is not."""
    for bad in rows[rows >= limit][:1]:
        raise StepError(code, int(bad))
    return rows
