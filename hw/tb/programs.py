"""Random legal programs for whole-core benches: convolutions through all four queues at once."""

from dataclasses import dataclass, field

import numpy as np

from hw.tpu import isa, numerics
from hw.tpu.config import PARAMETER_SUBROWS, TpuConfig
from hw.tpu.isa import Convert, Instruction, Memory, Opcode, Reduce, Source, make

LOADED, INPUT_FREE, SUMMED, SUMS_FREE, CONVERTED, OUTPUT_FREE, HALFWAY, CONSTANTS = (
    1 << s for s in range(8)
)
"""Semaphores; every buffer is double, so each producer may be one job ahead."""


@dataclass
class RandomProgram:
    """`jobs` convolutions (or dense layers), requantised or dumped, some pooled, stored to DRAM.

    Some outputs pass through the vector unit a second time, for sums over windows, adds and tables.

    `dram` is its initial image, program included; the program is at `entry`.
    """

    config: TpuConfig
    rng: np.random.Generator
    jobs: int
    dram_bytes: int = 1 << 15
    instructions: list[Instruction] = field(default_factory=list)
    entry: int = 0

    def __post_init__(self) -> None:
        self.dram = self.rng.integers(0, 256, self.dram_bytes, dtype=np.uint8)
        self._next = int(self.rng.integers(0, 64))
        for job in range(self.jobs):
            self._add_job(job)
        self.instructions.append(make(Opcode.HALT, tag=999))
        self.entry = self._allocate(isa.INSTRUCTION_BYTES * len(self.instructions), align=64)
        words = np.frombuffer(isa.assemble(self.instructions), np.uint8)
        self.dram[self.entry : self.entry + len(words)] = words

    def _pick(self, *values: int) -> int:
        return int(self.rng.choice(values))

    def _allocate(self, size: int, align: int = 1) -> int:
        at = -(-self._next // align) * align
        self._next = at + size + int(self.rng.integers(0, 20))
        if self._next > self.dram_bytes:
            raise ValueError(f"{self.jobs} jobs do not fit {self.dram_bytes} bytes")
        return at

    def _add_job(self, job: int) -> None:
        n, rng = self.config.array, self.rng
        height, width = int(rng.integers(3, 6)), int(rng.integers(3, 7))
        kernel, blocks, step = self._pick(1, 2, 3), self._pick(1, 2), self._pick(1, 2)
        pad = int(rng.integers(0, kernel))
        out_y = (height + 2 * pad - kernel) // step + 1
        out_x = (width + 2 * pad - kernel) // step + 1
        half, later = job % 2, job >= 2
        source = half * 128
        common = {"tag": job + 1}

        # per channel block one line of rows, lanes beyond the image filled
        row_bytes = self._pick(n, n, n - 1)
        stride = row_bytes + self._pick(0, 0, 3)
        positions = height * width
        x_at = self._allocate(blocks * positions * stride)
        self.instructions.append(
            make(Opcode.LOAD, wait=INPUT_FREE * later, address=x_at, lines=blocks, rows=positions,
                 row_bytes=row_bytes, dram_row_stride=stride, dram_line_stride=positions * stride,
                 base=source, row_stride=1, line_stride=positions, fill_others=1, fill=-7, **common)
        )  # fmt: skip
        table = 256 if job == 0 else 0  # rows after the last of 28 jobs' weights
        self.instructions += [
            make(Opcode.LOAD, address=self._allocate(rows * n), rows=rows, row_bytes=n,
                 dram_row_stride=n, base=base, row_stride=1, memory=Memory.LANES, **common)
            for rows, base in ((9, 9 * job), (table, 256)) if rows
        ]  # fmt: skip
        entry = job % self.config.parameter_entries
        self.instructions.append(self._parameters(entry, signal=LOADED, **common))
        taps = kernel * kernel * blocks
        keep = int(job > 0 and rng.random() < 0.2)
        tiles = taps - keep
        if tiles:
            self.instructions.append(
                make(Opcode.LOAD, address=self._allocate(tiles * n * n), rows=tiles * n,
                     row_bytes=n, dram_row_stride=n, memory=Memory.WEIGHTS, **common)
            )  # fmt: skip
        accumulator = half * self.config.accumulator_rows
        self.instructions.append(
            make(Opcode.MATMUL, wait=LOADED | SUMS_FREE * later, signal=SUMMED | INPUT_FREE,
                 source=(source - pad * (width + 1)) % isa.ROW_SPAN, rows=out_y, columns=out_x,
                 row_stride=width * step, column_stride=step, channel_blocks=blocks,
                 kernel_rows=kernel, kernel_columns=kernel, channel_stride=positions,
                 kernel_row_stride=width, kernel_column_stride=1, height=height, width=width,
                 top=-pad, left=-pad, step_y=step, step_x=step, dilation_y=1, dilation_x=1,
                 accumulator=accumulator, accumulator_row_stride=out_x,
                 accumulator_column_stride=1, used_rows=n, used_columns=n,
                 pad=int(rng.integers(-128, 128)), keep=keep, **common)
        )  # fmt: skip
        self._add_output(job, accumulator, entry, out_y, out_x, common)

    def _parameters(self, entry: int, **common: int) -> Instruction:
        """A LOAD of one entry, whose scales keep typical sums within int8."""
        n = self.config.array
        bias = self.rng.integers(-5000, 5000, n).astype("<i4")
        scale = self.rng.uniform(0.0005, 0.01, n).astype("<f4")
        words = np.stack([bias.view("<u4"), scale.view("<u4")])
        planes = words.view(np.uint8).reshape(2, n, 4).transpose(0, 2, 1)
        at = self._allocate(planes.size)
        self.dram[at : at + planes.size] = planes.ravel()
        return make(Opcode.LOAD, address=at, rows=PARAMETER_SUBROWS, row_bytes=n,
                    dram_row_stride=n, row_stride=1, base=entry * PARAMETER_SUBROWS,
                    memory=Memory.PARAMETERS, **common)  # fmt: skip

    def _add_output(
        self, job: int, accumulator: int, entry: int, out_y: int, out_x: int, common: dict[str, int]
    ) -> None:
        n, rng, later = self.config.array, self.rng, job >= 2
        target = 512 + 128 * (job % 2)
        window = {}
        rows, columns, step = out_y, out_x, 1
        if min(out_y, out_x) > 1 and rng.random() < 0.5:
            step = 2
            rows, columns = (out_y + 1) // 2, (out_x + 1) // 2
            window = {"window_rows": 2, "window_columns": 2, "window_row_stride": out_x,
                      "window_column_stride": 1, "reduce": Reduce.MAX}  # fmt: skip
        convert = self._pick(Convert.REQUANTISE, Convert.REQUANTISE, Convert.BYTE)
        twice = rng.random() < 0.6
        self.instructions.append(
            make(Opcode.VECTOR, wait=SUMMED | OUTPUT_FREE * later,
                 signal=SUMS_FREE | (HALFWAY if twice else CONVERTED),
                 convert=convert, byte=self._pick(0, 1, 2, 3), base=accumulator, rows=rows,
                 columns=columns, row_stride=step * out_x, column_stride=step, height=out_y,
                 width=out_x, step_y=step, step_x=step, destination=target,
                 destination_row_stride=columns, destination_column_stride=1, parameters=entry,
                 zero_point=self._pick(-3, 0, 5), low=self._pick(-128, -100, 0), high=127,
                 **window, **common)
        )  # fmt: skip
        if twice:
            self._pass_again(target, target + 64, 9 * job, entry, rows, columns, common)
            target += 64
        row_bytes = self._pick(n, n, n - 2)
        stride = row_bytes + self._pick(0, 0, 5)
        self.instructions.append(
            make(Opcode.STORE, wait=CONVERTED, signal=OUTPUT_FREE, lines=rows, rows=columns,
                 address=self._allocate(rows * columns * stride), row_bytes=row_bytes,
                 dram_row_stride=stride, dram_line_stride=columns * stride,
                 lane=self._pick(0, n - row_bytes), base=target, row_stride=1,
                 line_stride=columns, **common)
        )  # fmt: skip

    def _pass_again(
        self, source: int, target: int, weights: int, entry: int, rows: int, columns: int,
        common: dict[str, int],
    ) -> None:  # fmt: skip
        """Sum 3x3 windows of an output, as large as itself; add it to that, map it."""
        pad = int(self.rng.integers(0, 3))
        scales = tuple(self.rng.uniform(0.2, 1, 3))
        constants = numerics.add_constants(scales, tuple(self.rng.integers(-128, 128, 3)))
        packed = np.frombuffer(numerics.pack_add_constants(constants), np.uint8)
        planes = np.zeros((PARAMETER_SUBROWS, self.config.array), np.uint8)
        planes[:, :2] = packed.reshape(2, PARAMETER_SUBROWS).T
        at = self._allocate(planes.size)
        self.dram[at : at + planes.size] = planes.ravel()
        n, pad_value = self.config.array, int(self.rng.integers(-128, 128))
        half = self.config.parameter_entries // 2
        second = (entry + half) % self.config.parameter_entries
        self.instructions.insert(
            -1,
            make(Opcode.LOAD, address=at, rows=PARAMETER_SUBROWS, row_bytes=n, dram_row_stride=n,
                 row_stride=1, base=second * PARAMETER_SUBROWS, memory=Memory.PARAMETERS,
                 signal=CONSTANTS, **common),
        )  # fmt: skip
        self.instructions.append(
            make(Opcode.VECTOR, wait=HALFWAY | CONSTANTS, signal=CONVERTED,
                 source=Source.SCRATCHPAD,
                 reduce=self._pick(Reduce.SUM, Reduce.MULTIPLY_ACCUMULATE),
                 convert=Convert.REQUANTISE, base=(source - pad * (columns + 1)) % isa.ROW_SPAN,
                 rows=rows, columns=columns, row_stride=columns, column_stride=1, window_rows=3,
                 window_columns=3, window_row_stride=columns, window_column_stride=1, height=rows,
                 width=columns, top=-pad, left=-pad, step_y=1, step_x=1, destination=target,
                 destination_row_stride=columns, destination_column_stride=1, parameters=entry,
                 weights=weights, zero_point=self._pick(-3, 0, 5), low=-128, high=127,
                 pad=pad_value, add=self._pick(0, 1), second=source,
                 second_row_stride=columns, second_column_stride=1, second_parameters=second,
                 swap=self._pick(0, 1), table=self._pick(0, 1), table_number=1, **common)
        )  # fmt: skip
