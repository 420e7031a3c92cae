"""MatmulSequencer against the loop nest of `isa.Matmul`'s docstring, cycle by cycle."""

import itertools
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge

from hw.tb.layouts import bench_config, join, pack, unpack
from hw.tb.streams import StreamDriver, start_clock
from hw.tpu import array, isa
from hw.tpu.config import PRESETS, TpuConfig
from hw.tpu.interfaces import Completion, FaultReport, command
from hw.tpu.isa import Instruction, Opcode, make
from hw.tpu.matmul import FEED_LATENCY, Landing, MatmulSequencer
from hw.tpu.registers import Error

CASES = {
    name: (lambda name=name: MatmulSequencer(PRESETS[name]), {"config": name})
    for name in ("tiny", "default")
}


@dataclass
class Step:
    """One row into the array."""

    inside: bool
    address: int
    pad: int
    takes_tile: bool
    macs: int
    landing: dict[str, int]


def steps(i: Instruction, n: int) -> Iterator[Step]:
    """The rows that `i` streams, in order, however far out of range."""
    passes = list(
        itertools.product(range(i.channel_blocks), range(i.kernel_rows), range(i.kernel_columns))
    )
    grid = list(itertools.product(range(i.batches), range(i.rows), range(i.columns)))
    for number, (c, ky, kx) in enumerate(passes):
        for place, (b, y, x) in enumerate(grid):
            at_y = i.top + y * i.step_y + ky * i.dilation_y
            at_x = i.left + x * i.step_x + kx * i.dilation_x
            address = (
                i.source
                + c * i.channel_stride
                + ky * i.kernel_row_stride
                + kx * i.kernel_column_stride
                + b * i.batch_stride
                + y * i.row_stride
                + x * i.column_stride
            )
            target = (
                i.accumulator
                + b * i.accumulator_batch_stride
                + y * i.accumulator_row_stride
                + x * i.accumulator_column_stride
            )
            used = i.used_rows if c == i.channel_blocks - 1 else n
            yield Step(
                inside=0 <= at_y < i.height and 0 <= at_x < i.width,
                address=address % isa.ROW_SPAN,
                pad=i.pad,
                takes_tile=place == 0 and not (number == 0 and i.keep),
                macs=min(used, n) * min(i.used_columns, n),
                landing={
                    "valid": 1,
                    "row": target % (1 << 16),
                    "overwrite": int(number == 0 and not i.accumulate),
                    "last": int(number == len(passes) - 1 and place == len(grid) - 1),
                    "signal": i.signal,
                },
            )


def random_matmul(config: TpuConfig, **fixed: int) -> Instruction:
    """Few positions, everything else at random; rows stay inside both memories."""
    rnd = random.Random(random.getrandbits(32))

    def stride(modulus: int) -> int:
        return rnd.randint(-6, 6) % modulus

    values = {
        "signal": rnd.getrandbits(16),
        "tag": rnd.getrandbits(16),
        "source": config.scratchpad_rows // 2,
        "accumulator": config.accumulator_total_rows // 2,
        "pad": rnd.randint(-128, 127),
        "accumulate": rnd.randint(0, 1),
        "keep": rnd.randint(0, 1),
        "used_rows": rnd.randint(1, config.array + 2),
        "used_columns": rnd.randint(1, config.array + 2),
        "height": rnd.randint(1, 6),
        "width": rnd.randint(1, 6),
        "top": rnd.randint(-3, 3),
        "left": rnd.randint(-3, 3),
        **{name: rnd.choice((1, 1, 2, 3)) for name in ("batches", "rows", "columns")},
        **{
            name: rnd.choice((1, 1, 2, 3))
            for name in ("channel_blocks", "kernel_rows", "kernel_columns")
        },
        **{name: rnd.randint(0, 3) for name in ("step_y", "step_x", "dilation_y", "dilation_x")},
        **{
            name: stride(1 << item.bits)
            for name, item in isa.Matmul.fields.items()
            if name.endswith("_stride")
        },
    }
    return make(Opcode.MATMUL, **(values | fixed))


def far_away(config: TpuConfig) -> list[Instruction]:
    """The ends of the coordinates' range, and addresses that padding must keep from mattering."""
    edges = {"rows": 3, "columns": 2, "kernel_rows": 2, "step_y": 255, "dilation_y": 255}
    return [
        random_matmul(config, top=32767, left=0, height=65535, width=65535, **edges),
        random_matmul(config, top=-32768, left=-32768, height=65535, width=65535, **edges),
        random_matmul(config, top=-32768, left=0, height=1, source=isa.ROW_SPAN - 1, **edges),
        random_matmul(config, top=0, left=5, width=5, source=config.scratchpad_rows + 100),
        make(Opcode.MATMUL, width=1, columns=40, source=isa.ROW_SPAN - 1, left=-39, step_x=1,
             column_stride=1, accumulator_column_stride=(1 << 16) - 1, accumulator=39),
    ]  # fmt: skip


class Surroundings:
    """Scratchpad, weights and array around the sequencer; checks every pin in every cycle."""

    def __init__(self, dut: Any, program: list[Instruction], tiles: float, faults: bool = False):
        self.dut, self.config, self.tiles = dut, bench_config(), tiles
        n = self.config.array
        self.expected = deque(step for i in program for step in steps(i, n))
        self.faults, self.fault = faults, None
        self.streamed = self.completed = self.started = self.cycle = 0
        self.stepping: list[int] = []
        self._coming: dict[str, dict[int, Any]] = {"row": {}, "landing": {}, "completed": {}}
        self._data = 0
        depth = array.latency(self.config)
        self._after = {"row": FEED_LATENCY, "landing": FEED_LATENCY + depth - 1}

    async def advance(self) -> None:
        dut, config = self.dut, self.config
        dut.scratchpad__ready.value = 1
        dut.scratchpad__data.value = self._data
        dut.tile_ready.value = int(random.random() < self.tiles)
        await FallingEdge(dut.clk)
        n = config.array
        self.started += int(dut.started.value)
        self._data = random.getrandbits(8 * n)
        wants = {name: due.pop(self.cycle, None) for name, due in self._coming.items()}
        if wants["row"] is not None:
            row, switch = wants["row"]
            assert int(dut.row.value) == row and int(dut.switch_o.value) == switch
        else:
            assert not int(dut.switch_o.value)
        landing = unpack(Landing.as_shape(), int(dut.landing.value))
        if wants["landing"] is None:
            assert not landing["valid"]
        else:
            assert landing == wants["landing"]
        completed = unpack(Completion.as_shape(), int(dut.completed.value))
        assert completed["valid"] == (wants["completed"] is not None)
        if completed["valid"]:
            assert completed["signal"] == wants["completed"]
            self.completed += 1
        fault = unpack(FaultReport.as_shape(), int(dut.fault.value))
        if fault["valid"]:
            assert self.faults and self.fault is None, f"fault {fault}"
            self.fault = fault
        if int(dut.streaming.value):
            self._check(self.expected.popleft())
        else:
            for pin in (dut.scratchpad__valid, dut.tile_take, dut.macs):
                assert not int(pin.value)
        if int(dut.starving.value):
            assert not int(dut.tile_ready.value) and self.expected[0].takes_tile
        await RisingEdge(dut.clk)
        self.cycle += 1

    def _check(self, step: Step) -> None:
        dut, n = self.dut, self.config.array
        assert int(dut.scratchpad__valid.value) == step.inside
        if step.inside:
            assert int(dut.scratchpad__row.value) == step.address
        assert int(dut.tile_take.value) == step.takes_tile
        if step.takes_tile:
            assert int(dut.tile_ready.value), "a tile taken that is not there"
        assert int(dut.macs.value) == step.macs
        row = self._data if step.inside else join([step.pad] * n, 8)
        self._coming["row"][self.cycle + self._after["row"]] = (row, step.takes_tile)
        lands = self.cycle + self._after["landing"]
        self._coming["landing"][lands] = step.landing
        if step.landing["last"]:
            self._coming["completed"][lands + 1] = step.landing["signal"]
        self.streamed += 1
        self.stepping.append(self.cycle)


def payloads(program: list[Instruction], first: int = 0) -> list[int]:
    """Command words of `program`, whose instructions are numbered from `first` on."""
    layout = command(isa.Matmul)
    return [
        pack(layout, op=int.from_bytes(isa.encode(i), "little"), position=position)
        for position, i in enumerate(program, first)
    ]


def taking(program: list[Instruction]) -> list[Instruction]:
    """`program`, the first of which must not keep what nobody took."""
    return [make(Opcode.MATMUL, **{**program[0].values, "keep": 0}), *program[1:]]


async def run(dut: Any, program: list[Instruction], stall: float, tiles: float) -> Surroundings:
    program = taking(program)
    dut.commands__valid.value = 0
    await start_clock(dut)
    around = Surroundings(dut, program, tiles)
    cocotb.start_soon(StreamDriver(dut, "commands", stall=stall).send(payloads(program)))
    while around.completed < len(program):
        await around.advance()
        assert around.cycle < 100_000
    assert not around.expected and around.started == len(program)
    return around


@cocotb.test
@cocotb.parametrize(("stall", [0.0, 0.5]), ("tiles", [1.0, 0.4]))
async def equals_the_loop_nest(dut: Any, stall: float, tiles: float) -> None:
    """Addresses, padding, landing rows, overwrite, order, useful MACs; no bubble when fed."""
    config = bench_config()
    program = [random_matmul(config) for _ in range(80 if config.array < 8 else 20)]
    if config.array < 8:
        program += far_away(config)
    around = await run(dut, program, stall, tiles)
    if stall == 0 and tiles == 1:
        first, last = around.stepping[0], around.stepping[-1]
        assert last - first + 1 == around.streamed, "a bubble between passes or instructions"


@cocotb.test
async def one_row_after_the_other(dut: Any) -> None:
    """Instructions of a single row: one starts every cycle, each with its own completion."""
    program = [random_matmul(bench_config(), batches=1, rows=1, columns=1, channel_blocks=1,
                             kernel_rows=1, kernel_columns=1) for _ in range(40)]  # fmt: skip
    around = await run(dut, program, 0.0, 1.0)
    assert around.stepping[-1] - around.stepping[0] + 1 == len(program)


def faulty(config: TpuConfig) -> list[tuple[Instruction, Error, int, int]]:
    """Instructions that must stop, with code, detail and the number of rows streamed before."""
    rows, most = config.scratchpad_rows, config.accumulator_total_rows
    line = {"columns": 8, "width": 8, "step_x": 1, "tag": 77}
    return [
        (make(Opcode.MATMUL, source=rows - 3, column_stride=1, **line),
         Error.SCRATCHPAD_RANGE, rows, 3),
        (make(Opcode.MATMUL, source=2, column_stride=isa.ROW_SPAN - 1, **line),
         Error.SCRATCHPAD_RANGE, isa.ROW_SPAN - 1, 3),
        (make(Opcode.MATMUL, accumulator=most - 5, accumulator_column_stride=1, **line),
         Error.ACCUMULATOR_RANGE, most, 5),
        (make(Opcode.MATMUL, accumulator=1, accumulator_column_stride=0xFFFF, **line),
         Error.ACCUMULATOR_RANGE, 0xFFFF, 2),
        (make(Opcode.MATMUL, accumulator=most, source=rows, **line),
         Error.ACCUMULATOR_RANGE, most, 0),
        (make(Opcode.MATMUL, channel_blocks=2, channel_stride=rows, **line),
         Error.SCRATCHPAD_RANGE, rows, 8),
        # padding first: the bad address matters only from the fourth column on
        (make(Opcode.MATMUL, left=-3, source=rows, **line), Error.SCRATCHPAD_RANGE, rows, 3),
    ]  # fmt: skip


@cocotb.test
@cocotb.parametrize(("number", list(range(7))))
async def faults_name_themselves(dut: Any, number: int) -> None:
    """Everything before the bad row lands, the fault comes once, and nothing follows it."""
    config = bench_config()
    bad, code, detail, before = faulty(config)[number]
    good = taking([random_matmul(config) for _ in range(2)])
    program = [*good, bad, random_matmul(config)]
    dut.commands__valid.value = 0
    await start_clock(dut)
    around = Surroundings(dut, program, 0.6, faults=True)
    first = random.getrandbits(23)
    cocotb.start_soon(StreamDriver(dut, "commands").send(payloads(program, first)))
    total = sum(1 for i in good for _ in steps(i, config.array)) + before
    while around.fault is None:
        await around.advance()
        assert around.cycle < 10_000
    assert around.streamed == total
    assert around.fault["code"] == code and around.fault["detail"] == detail
    assert around.fault["position"] == first + 2 and around.fault["tag"] == bad.tag
    for _ in range(4 * array.latency(config)):
        await around.advance()
    assert around.streamed == total and around.completed == 2 and around.started == 3


@cocotb.test
async def keeping_nothing_is_a_fault(dut: Any) -> None:
    """Breaks if a tile that an earlier program left in the array can be kept."""
    config = bench_config()
    bad = random_matmul(config, keep=1)
    dut.commands__valid.value = 0
    await start_clock(dut)
    around = Surroundings(dut, [bad], 1.0, faults=True)
    cocotb.start_soon(StreamDriver(dut, "commands").send(payloads([bad, random_matmul(config)])))
    for _ in range(40):
        await around.advance()
    assert around.fault is not None and around.streamed == 0 and around.started == 1
    assert around.fault["code"] == Error.ILLEGAL_OPERAND and around.fault["detail"] == 0
    assert around.fault["tag"] == bad.tag
