"""VectorUnit against the ISA's text: random commands, stalls on every port, faults, throughput."""

import random
from collections import deque
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly

from hw.tb.runner import parameter
from hw.tb.streams import start_clock
from hw.tpu import isa, numerics
from hw.tpu.config import PRESETS, TpuConfig
from hw.tpu.interfaces import POSITION_BITS
from hw.tpu.isa import Convert, Instruction, Opcode, Reduce, Source
from hw.tpu.registers import Error
from hw.tpu.vector import window
from hw.tpu.vector.vector import LATENCY, VectorUnit

CASES = {
    name: (lambda name=name: VectorUnit(PRESETS[name]), {"config": name})
    for name in ("tiny", "default")
}
PORTS = ("accumulators", "scratchpad_read", "second", "scratchpad_write")


def first_of_adds(config: TpuConfig) -> int:
    """From this entry on, the parameter memory holds constants of adds."""
    return config.parameter_entries * 3 // 4


class Memories:
    """What the unit reads, drawn at random; sources are never written."""

    def __init__(self, config: TpuConfig, rng: np.random.Generator) -> None:
        self.config = config
        lanes = config.array
        shape = (config.accumulator_total_rows, lanes)
        cut = rng.integers(0, 31, shape)
        self.accumulators = (rng.integers(-(1 << 31), 1 << 31, shape) >> cut).astype(np.int32)
        self.scratchpad = rng.integers(-128, 128, (config.scratchpad_rows, lanes)).astype(np.int8)
        shape = (config.parameter_entries, lanes)
        self.bias = (rng.integers(-(1 << 31), 1 << 31, shape) >> rng.integers(0, 31, shape)).astype(
            np.int32
        )
        self.scale = np.exp2(rng.uniform(-30, 1, shape)).astype(np.float32)
        self.lanes = rng.integers(-128, 128, (config.lane_rows, lanes)).astype(np.int8)
        for entry in range(first_of_adds(config), config.parameter_entries):
            scales = np.exp2(rng.uniform(-3, 0, 3))
            constants = numerics.add_constants(tuple(scales), tuple(rng.integers(-128, 128, 3)))
            words = np.frombuffer(numerics.pack_add_constants(constants), "<u4").reshape(2, 2)
            self.bias[entry, :2] = words[:, 0].view("<i4")
            self.scale[entry, :2] = words[:, 1].view("<f4")

    def parameters(self, entry: int) -> int:
        """An entry as the port carries it, in planes; entries beyond the memory read as zero."""
        if entry >= self.config.parameter_entries:
            return 0
        return int.from_bytes(np.ascontiguousarray(self.pairs(entry).T).tobytes(), "little")

    def pairs(self, entry: int) -> np.ndarray:
        """uint8 `[lanes, 8]`: bias and scale of each lane."""
        pairs = np.stack([self.bias[entry].view(np.uint32), self.scale[entry].view(np.uint32)], 1)
        return np.ascontiguousarray(pairs).view(np.uint8)

    def added(self, i: Instruction, value: np.ndarray, number: int) -> np.ndarray:
        second = self.scratchpad[second_rows(i)[number]]
        packed = self.pairs(i.second_parameters)[:2].tobytes()
        constants = numerics.unpack_add_constants(packed)
        pair = (second, value) if i.swap else (value, second)
        return numerics.residual_add(*pair, constants)

    def converted(self, i: Instruction, row: int) -> np.ndarray:
        if i.source == Source.SCRATCHPAD:
            return self.scratchpad[row]
        raw = self.accumulators[row]
        if i.convert == Convert.BYTE:
            return (raw >> (8 * i.byte)).astype(np.int8)
        return self.requantised(i, raw)

    def requantised(self, i: Instruction, raw: np.ndarray) -> np.ndarray:
        total = numerics.wrap_int32(raw.astype(np.int64) + self.bias[i.parameters])
        return numerics.requantise(total, self.scale[i.parameters], i.zero_point)


def second_rows(i: Instruction) -> list[int]:
    """Rows of the second operand of every output."""
    return [
        (i.second + y * i.second_row_stride + x * i.second_column_stride) % isa.ROW_SPAN
        for y, x in np.ndindex(i.rows, i.columns)
    ]


SUMS = (Reduce.SUM, Reduce.MULTIPLY_ACCUMULATE)


def positions(i: Instruction) -> list[tuple[int, list[int | None]]]:
    """Every output in order: its destination and its window's source rows, None when outside."""
    outputs = []
    for y, x in np.ndindex(i.rows, i.columns):
        rows = []
        for wy, wx in np.ndindex(i.window_rows, i.window_columns):
            image_y, image_x = i.top + y * i.step_y + wy, i.left + x * i.step_x + wx
            if 0 <= image_y < i.height and 0 <= image_x < i.width:
                row = i.base + y * i.row_stride + x * i.column_stride
                row += wy * i.window_row_stride + wx * i.window_column_stride
                rows.append(row % isa.ROW_SPAN)
            else:
                rows.append(None)
        to = i.destination + y * i.destination_row_stride + x * i.destination_column_stride
        outputs.append((to % isa.ROW_SPAN, rows))
    return outputs


def written(memories: Memories, i: Instruction) -> list[tuple[int, bytes]]:
    """The rows that an instruction without a fault writes."""
    outputs = []
    for to, rows in positions(i):
        best = np.full(memories.config.array, -128, np.int8)
        total = np.zeros(memories.config.array, np.int64)
        for number, row in enumerate(rows):
            if i.reduce in SUMS:
                value = (
                    np.int64(i.pad) if row is None else memories.scratchpad[row].astype(np.int64)
                )
                multiply = i.reduce == Reduce.MULTIPLY_ACCUMULATE
                total += value * (memories.lanes[i.weights + number] if multiply else 1)
            elif row is not None:
                best = np.maximum(best, memories.converted(i, row))
        if i.reduce in SUMS:
            best = memories.requantised(i, total)
        if i.add:
            best = memories.added(i, best, len(outputs))
        if i.table:
            lanes = np.arange(memories.config.array)
            best = memories.lanes[256 * i.table_number + 128 + best.astype(int), lanes]
        outputs.append((to, np.clip(best, i.low, i.high).astype(np.int8).tobytes()))
    return outputs


def expected_fault(config: TpuConfig, i: Instruction) -> tuple[Error, int] | None:
    """The first fault in the order in which the unit meets them."""
    if i.convert == Convert.REQUANTISE and i.parameters >= config.parameter_entries:
        return Error.PARAMETER_RANGE, i.parameters
    if i.add and i.second_parameters >= config.parameter_entries:
        return Error.PARAMETER_RANGE, i.second_parameters
    if i.table and 256 * (i.table_number + 1) > config.lane_rows:
        return Error.PARAMETER_RANGE, 256 * i.table_number
    from_accumulators = i.source == Source.ACCUMULATORS
    limit = config.accumulator_total_rows if from_accumulators else config.scratchpad_rows
    code = Error.ACCUMULATOR_RANGE if from_accumulators else Error.SCRATCHPAD_RANGE
    multiply = i.reduce == Reduce.MULTIPLY_ACCUMULATE
    for (to, rows), second in zip(positions(i), second_rows(i), strict=True):
        for number, row in enumerate(rows):
            if multiply and i.weights + number >= config.lane_rows:
                return Error.PARAMETER_RANGE, i.weights + number
            if row is not None and row >= limit:
                return code, row
        if i.add and second >= config.scratchpad_rows:
            return Error.SCRATCHPAD_RANGE, second
        if to >= config.scratchpad_rows:
            return Error.SCRATCHPAD_RANGE, to
    return None


def random_command(config: TpuConfig, rng: random.Random, epilogue: float = 0.3) -> Instruction:
    """Any geometry whose rows are in range: sources below, destinations above half the memory."""
    source = rng.choice([Source.ACCUMULATORS, Source.ACCUMULATORS, Source.SCRATCHPAD])
    windowed = rng.random() < 0.5
    convert = rng.choice([Convert.REQUANTISE, Convert.REQUANTISE, Convert.BYTE])
    low, high = sorted(rng.choices(range(-128, 128), k=2))
    clamped = rng.random() < 0.5
    near, far = 4, 12
    reduce = Reduce.MAX if windowed else rng.choice([Reduce.NONE, Reduce.MAX])
    if source == Source.SCRATCHPAD:
        reduce, convert = rng.choice([reduce, *SUMS]), Convert.REQUANTISE
    values = {
        "source": source,
        "convert": convert if source == Source.ACCUMULATORS or reduce in SUMS else Convert.NONE,
        "byte": rng.randrange(4),
        "reduce": reduce,
        "pad": rng.randint(-128, 127),
        "add": rng.random() < epilogue,
        "swap": rng.randrange(2),
        "table": rng.random() < epilogue,
        "table_number": rng.randrange(config.lane_rows // 256),
        "second_row_stride": rng.randint(-far, far) % isa.ROW_SPAN,
        "second_column_stride": rng.randint(-near, near) % isa.ROW_SPAN,
        "second_parameters": rng.randrange(first_of_adds(config), config.parameter_entries),
        "weights": rng.randrange(config.lane_rows - 16),
        "rows": rng.randint(1, 5),
        "columns": rng.randint(1, 6),
        "window_rows": rng.randint(1, 4) if windowed else 1,
        "window_columns": rng.randint(1, 4) if windowed else 1,
        "row_stride": rng.randint(-far, far) % isa.ROW_SPAN,
        "column_stride": rng.randint(-near, near) % isa.ROW_SPAN,
        "window_row_stride": rng.randint(-near, near) % isa.ROW_SPAN,
        "window_column_stride": rng.randint(-2, 2) % isa.ROW_SPAN,
        "destination_row_stride": rng.randint(-far, far) % isa.ROW_SPAN,
        "destination_column_stride": rng.randint(-near, near) % isa.ROW_SPAN,
        "top": rng.randint(-4, 3),
        "left": rng.randint(-4, 3),
        "step_y": rng.randint(0, 3),
        "step_x": rng.randint(0, 3),
        "height": rng.randint(1, 12),
        "width": rng.randint(1, 12),
        "parameters": rng.randrange(first_of_adds(config)),
        "zero_point": rng.randint(-128, 127),
        "low": low if clamped else -128,
        "high": high if clamped else 127,
        "tag": rng.randrange(1 << 16),
        "signal": rng.randrange(1 << 16),
    }
    if rng.random() < 0.1:  # far away: coordinates use all their bits
        values |= {"step_y": 255, "rows": 9, "height": 1500, "top": rng.choice([-32768, 0, 32767])}
    outputs = positions(isa.make(Opcode.VECTOR, **values))

    def place(rows: list[int], first: int, end: int) -> int:
        """A base that puts these offsets into `range(first, end)`."""
        offsets = [row - isa.ROW_SPAN if row >= isa.ROW_SPAN // 2 else row for row in rows] or [0]
        return rng.randint(first - min(offsets), end - 1 - max(offsets)) % isa.ROW_SPAN

    half = config.scratchpad_rows // 2
    in_accumulators = source == Source.ACCUMULATORS
    limit = config.accumulator_total_rows if in_accumulators else half
    values["base"] = place([r for _, rows in outputs for r in rows if r is not None], 0, limit)
    values["second"] = place(second_rows(isa.make(Opcode.VECTOR, **values)), 0, half)
    values["destination"] = place([to for to, _ in outputs], half, config.scratchpad_rows)
    return isa.make(Opcode.VECTOR, **values)


class Bench:
    """Drives every port of the unit, cycle by cycle, and checks the protocols on the way."""

    def __init__(self, dut: Any, memories: Memories, rng: random.Random, stall: float) -> None:
        self.dut, self.memories, self.rng, self.stall = dut, memories, rng, stall
        self.waiting: deque[tuple[int, Instruction]] = deque()
        self.writes: list[tuple[int, bytes]] = []
        self.completed: list[int] = []
        self.faults: list[int] = []
        self.taken_at: list[int] = []
        self.read_at: list[int] = []
        self.written_at: list[int] = []
        self.completed_at: list[int] = []
        self.stalled = self.cycle = 0
        self._offers: dict[str, tuple | None] = dict.fromkeys(PORTS)
        self._answers: dict[str, int] = {}
        self._offering = False

    async def run(self, cycles: int) -> None:
        for _ in range(cycles):
            await self.step()

    async def finish(self, completions: int) -> None:
        limit = self.cycle + 20_000
        while len(self.completed) < completions:
            assert self.cycle < limit, f"{len(self.completed)} of {completions} completed"
            await self.step()

    async def step(self) -> None:
        dut, rng, config = self.dut, self.rng, self.memories.config
        await FallingEdge(dut.clk)
        ready = {port: rng.random() >= self.stall for port in PORTS}
        for port in PORTS:
            getattr(dut, f"{port}__ready").value = ready[port]
        # Data is there for its one cycle and rubbish otherwise.
        widths = {"accumulators": 32, "parameters": 64}
        widths |= dict.fromkeys(("scratchpad_read", "second", "weights", "table"), 8)
        for port, bits in widths.items():
            answer = self._answers.pop(port, None)
            rubbish = rng.getrandbits(bits * config.array)
            getattr(dut, f"{port}__data").value = rubbish if answer is None else answer
        self._offering = bool(self.waiting) and (self._offering or rng.random() >= self.stall)
        dut.commands__valid.value = self._offering
        if self._offering:
            number, command = self.waiting[0]
            word = int.from_bytes(isa.encode(command), "little")
            dut.commands__payload.value = word | number << isa.INSTRUCTION_BITS
        await ReadOnly()

        taken = self._offering and bool(dut.commands__ready.value)
        assert bool(dut.started.value) == taken
        if taken:
            self.waiting.popleft()
            self.taken_at.append(self.cycle)
            self._offering = False
        reads, waits, busy = 0, 0, False
        for port in PORTS:
            valid = bool(getattr(dut, f"{port}__valid").value)
            row = getattr(dut, f"{port}__row").value.to_unsigned() if valid else 0
            offer: tuple = (row,)
            if valid and port == "scratchpad_write":
                data = dut.scratchpad_write__data.value.to_unsigned()
                assert dut.scratchpad_write__mask.value.to_unsigned() == (1 << config.array) - 1
                offer = (row, data.to_bytes(config.array, "little"))
            before = self._offers[port]
            if before is not None and not self.faults:
                assert valid and offer == before, f"{port} changed its offer while waiting"
            self._offers[port] = offer if valid and not ready[port] else None
            waits |= valid and not ready[port]
            if valid and ready[port]:
                if port == "scratchpad_write":
                    self.writes.append(offer)
                    self.written_at.append(self.cycle)
                else:
                    name = "scratchpad" if port == "second" else port.removesuffix("_read")
                    memory = getattr(self.memories, name)
                    self._answers[port] = int.from_bytes(memory[row].tobytes(), "little")
                    busy = True
                    if port != "second":
                        self.read_at.append(self.cycle)
                        reads += 1
        assert reads <= 1 and bool(dut.busy.value) == busy
        assert bool(dut.stalled.value) == bool(waits)
        self.stalled += waits
        if dut.weights__valid.value:
            row = dut.weights__row.value.to_unsigned()
            weights = self.memories.lanes[row].tobytes()
            self._answers["weights"] = int.from_bytes(weights, "little")
        if dut.table__valid.value:
            word = dut.table__entries.value.to_unsigned().to_bytes(config.array, "little")
            at = 256 * dut.table__number.value.to_unsigned() + np.frombuffer(word, np.uint8).astype(
                int
            )
            mapped = self.memories.lanes[at, np.arange(config.array)].tobytes()
            self._answers["table"] = int.from_bytes(mapped, "little")
        entry = dut.parameters__entry.value.to_unsigned()
        self._answers["parameters"] = self.memories.parameters(entry)
        completed = dut.completed.value.to_unsigned()
        if completed & 1:
            self.completed.append(completed >> 1)
            self.completed_at.append(self.cycle)
        if (fault := dut.fault.value.to_unsigned()) & 1:
            self.faults.append(fault)
        self.cycle += 1


async def start(dut: Any, stall: float) -> tuple[TpuConfig, random.Random, Bench]:
    config = PRESETS[str(parameter("config"))]
    rng = random.Random(cocotb.RANDOM_SEED)
    memories = Memories(config, np.random.default_rng(cocotb.RANDOM_SEED))
    dut.commands__valid.value = 0
    for port in PORTS:
        getattr(dut, f"{port}__ready").value = 0
    await start_clock(dut)
    return config, rng, Bench(dut, memories, rng, stall)


@cocotb.test
@cocotb.parametrize(
    (("stall", "epilogue"), [(0.0, 0.0), (0.0, 0.3), (0.3, 0.3), (0.7, 0.3)]),
)
async def random_commands(dut: Any, stall: float, epilogue: float) -> None:
    """Windows, padding, negative strides, conversions: every row right and in order."""
    config, rng, bench = await start(dut, stall)
    commands = [
        random_command(config, rng, epilogue) for _ in range(60 if config.array > 8 else 150)
    ]
    bench.waiting.extend((n + 1000, command) for n, command in enumerate(commands))
    await bench.finish(len(commands))
    await bench.run(5)
    assert not bench.faults
    assert bench.completed == [command.signal for command in commands]
    wanted = [written(bench.memories, command) for command in commands]
    flat = [row for rows in wanted for row in rows]
    assert len(bench.writes) == len(flat)
    for number, (got, want) in enumerate(zip(bench.writes, flat, strict=True)):
        assert got == want, f"write {number}: {got}, not {want}"
    inside = sum(
        row is not None for command in commands for _, rows in positions(command) for row in rows
    )
    assert len(bench.read_at) == inside
    ends = np.cumsum([len(rows) for rows in wanted]) - 1
    assert bench.completed_at == [bench.written_at[end] + 1 for end in ends]
    if stall == epilogue == 0:
        total = sum(c.rows * c.columns * c.window_rows * c.window_columns for c in commands)
        sums = [command.reduce in SUMS for command in commands]
        waits = sum(before and not now for before, now in zip(sums, sums[1:], strict=False))
        total += window.LATENCY * (waits + sums[-1])
        assert bench.completed_at[-1] == bench.taken_at[0] + 2 + total - 1 + LATENCY + 1


@cocotb.test
@cocotb.parametrize(rows=[1, 2, 7, 40])
async def full_rate(dut: Any, rows: int) -> None:
    """Commands with different parameters follow each other without a gap, even single rows."""
    config, rng, bench = await start(dut, 0.0)
    commands = [
        isa.make(
            Opcode.VECTOR, convert=Convert.REQUANTISE, rows=1, columns=rows, width=rows,
            base=rng.randrange(64), column_stride=1, destination=512 + n * rows,
            destination_column_stride=1, parameters=n % config.parameter_entries,
            zero_point=n - 8, low=-128 + n, high=127 - n, signal=1 + n,
        )
        for n in range(12)
    ]  # fmt: skip
    bench.waiting.extend(enumerate(commands))
    await bench.finish(len(commands))
    total = rows * len(commands)
    first = bench.taken_at[0] + 2
    assert bench.read_at == list(range(first, first + total))
    assert bench.written_at == list(range(first + LATENCY, first + LATENCY + total))
    assert bench.stalled == 0
    assert bench.writes == [row for c in commands for row in written(bench.memories, c)]


@cocotb.test
@cocotb.parametrize(source=list(Source))
async def full_rate_through_the_epilogue(dut: Any, source: Source) -> None:
    """An add with a table takes one row per cycle, once its constants are there."""
    config, _, bench = await start(dut, 0.0)
    convert = Convert.NONE if source == Source.SCRATCHPAD else Convert.REQUANTISE
    commands = [
        isa.make(
            Opcode.VECTOR, source=source, convert=convert, columns=50, width=50, column_stride=1,
            step_x=1, destination=512 + 50 * n, destination_column_stride=1, add=1, table=1,
            second=100, second_column_stride=1, second_parameters=config.parameter_entries - 1,
            low=-100, high=127,
        )
        for n in range(3)
    ]  # fmt: skip
    bench.waiting.extend(enumerate(commands))
    await bench.finish(len(commands))
    assert bench.writes == [row for c in commands for row in written(bench.memories, c)]
    for n in range(3):
        first = bench.written_at[50 * n]
        assert bench.written_at[50 * n : 50 * n + 50] == list(range(first, first + 50))
    assert bench.written_at[50] - bench.written_at[49] < 25


@cocotb.test
async def writes_blocked(dut: Any) -> None:
    """With the write port shut, reads stop and nothing is lost; then the rate is full again."""
    config, _, bench = await start(dut, 0.0)
    command = isa.make(
        Opcode.VECTOR, source=Source.SCRATCHPAD, columns=60, width=60, column_stride=1,
        destination=512, destination_column_stride=1, low=-128, high=127,
    )  # fmt: skip
    bench.waiting.append((0, command))
    bench.stall = 1.0
    await bench.run(3)
    bench.stall = 0.0
    await bench.run(20)
    bench.stall = 1.0
    await bench.run(60)
    bench.stall = 0.0
    await bench.finish(1)
    assert bench.writes == written(bench.memories, command)


SUMMING = {"source": Source.SCRATCHPAD, "reduce": Reduce.MULTIPLY_ACCUMULATE}


def _faulty(config: TpuConfig) -> dict[str, dict[str, int]]:
    """Fields that make a plain command fail, by what is wrong."""
    last = config.scratchpad_rows - 1
    negative = isa.ROW_SPAN - 1
    pad = {"source": Source.SCRATCHPAD, "convert": Convert.NONE}
    return {
        "source beyond the scratchpad": pad | {"base": last - 4},
        "source below zero": pad | {"base": 3, "column_stride": negative},
        "accumulator row": {"base": config.accumulator_total_rows - 3},
        "accumulator row below zero": {"base": 0, "column_stride": negative},
        "parameter entry": {"parameters": config.parameter_entries},
        "second operand": {"add": 1, "second": last - 5, "second_column_stride": 1},
        "entry of the add": {"add": 1, "second_parameters": config.parameter_entries},
        "table": {"table": 1, "table_number": 15},
        "weights": SUMMING | {"weights": config.lane_rows - 4, "window_columns": 7},
        "destination": {"destination": last - 6},
        "destination below zero": {"destination": 2, "destination_column_stride": negative},
        "destination of an empty window": {"destination": last + 1, "left": 20},
        "source and destination": pad | {"base": last, "destination": last, "column_stride": 2},
    }


@cocotb.test
@cocotb.parametrize(stall=[0.0, 0.5])
async def faults(dut: Any, stall: float) -> None:
    """Reported once, with position, tag and row; then silence until reset, then all is well."""
    config, rng, bench = await start(dut, stall)
    for what, fields in _faulty(config).items():
        plain = {
            "convert": Convert.REQUANTISE, "columns": 10, "width": 10, "column_stride": 1,
            "destination": 512, "destination_column_stride": 1, "low": -128, "high": 127,
        }  # fmt: skip
        good = random_command(config, rng)
        bad = isa.make(Opcode.VECTOR, **(plain | fields), tag=rng.randrange(1 << 16))
        number = rng.randrange(1 << POSITION_BITS)
        bench = Bench(dut, bench.memories, rng, stall)
        bench.waiting.extend([(1, good), (number, bad), (3, good), (4, good)])
        while not bench.faults:
            assert bench.cycle < 5000, f"{what}: no fault"
            await bench.step()
        counts = len(bench.writes), len(bench.read_at), len(bench.taken_at)
        await bench.run(100)
        assert counts == (len(bench.writes), len(bench.read_at), len(bench.taken_at)), what
        assert bench.waiting, "nothing may be taken after a fault"
        wanted = expected_fault(config, bad)
        assert wanted is not None, what
        (report,) = bench.faults
        code, detail = report >> 1 & 15, report >> 1 + 4 + POSITION_BITS + 16
        assert (Error(code), detail) == wanted, what
        assert report >> 5 & (1 << POSITION_BITS) - 1 == number, what
        assert report >> 5 + POSITION_BITS & 0xFFFF == bad.tag, what
        allowed = written(bench.memories, good)
        assert bench.writes[: len(allowed)] == allowed[: len(bench.writes)], what

        await FallingEdge(dut.clk)
        dut.commands__valid.value = 0
        dut.rst.value = 1
        await FallingEdge(dut.clk)
        dut.rst.value = 0
        bench = Bench(dut, bench.memories, rng, stall)
        bench.waiting.append((5, good))
        await bench.finish(1)
        await bench.run(20)
        assert not bench.faults and bench.writes == written(bench.memories, good), what
