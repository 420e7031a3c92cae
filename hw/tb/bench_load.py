"""LoadUnit with its arbiter, against the ISA text: data, order, faults, stop and throughput."""

import random
from typing import Any

import cocotb
import numpy as np
from amaranth.hdl import Module
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped
from cocotb.triggers import RisingEdge

from hw.tb import dma_agents as agents
from hw.tb.runner import parameter
from hw.tb.streams import start_clock
from hw.tpu import isa
from hw.tpu.axi import Axi4Read
from hw.tpu.config import TpuConfig
from hw.tpu.dma.load import BEAT_TO_ROW, START_TO_REQUEST, LoadUnit
from hw.tpu.dma.ports import LaneWrite, ParameterWrite
from hw.tpu.dma.read_arbiter import ReadArbiter
from hw.tpu.interfaces import POSITION_BITS, Completion, FaultReport, RowWrite, command
from hw.tpu.isa import Instruction, Load, Memory, Opcode
from hw.tpu.registers import Error


class LoadPath(Component):
    """A LoadUnit as the arbiter's second client; the first stays silent."""

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "commands": In(stream.Signature(command(Load))),
                "started": Out(1),
                "completed": Out(Completion),
                "fault": Out(FaultReport),
                "stop": In(1),
                "quiet": Out(1),
                "dram_base": In(config.address_bits),
                "dram_size": In(32),
                "scratchpad": Out(RowWrite(config)),
                "weights": Out(stream.Signature(config.array * 8)),
                "parameters": Out(ParameterWrite(config)),
                "lanes": Out(LaneWrite(config)),
                "bus": Out(Axi4Read(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.load = load = LoadUnit(self.config)
        m.submodules.arbiter = arbiter = ReadArbiter(self.config)
        connect(m, load.requests, arbiter.requests[1])
        connect(m, arbiter.responses[1], load.response)
        connect(m, arbiter.bus, flipped(self.bus))
        for name in ("commands", "scratchpad", "weights", "parameters", "lanes"):
            connect(m, flipped(getattr(self, name)), getattr(load, name))
        m.d.comb += [
            load.stop.eq(self.stop),
            load.dram_base.eq(self.dram_base),
            load.dram_size.eq(self.dram_size),
            self.quiet.eq(load.quiet & ~arbiter.outstanding),
            self.started.eq(load.started),
            self.completed.eq(load.completed),
            self.fault.eq(load.fault),
        ]
        return m


CONFIGS = {
    "tiny": "tiny",
    "equal": "ulx3s,scratchpad_rows=256",
    "default": "default,scratchpad_rows=1024",
    "large": "large,scratchpad_rows=1024",
    "short": "tiny,bus_bits=128,burst_beats=2,outstanding_bursts=3",
}
CASES = {
    name: (lambda text=text: LoadPath(TpuConfig.parse(text)), {"config": text})
    for name, text in CONFIGS.items()
}


class Bench:
    """The unit, its surroundings, and the memories as they should become."""

    def __init__(self, dut: Any, timing: agents.Timing, stall: float) -> None:
        self.dut, self.config = dut, TpuConfig.parse(str(parameter("config")))
        self.random = random.Random(cocotb.RANDOM_SEED)
        noise = np.random.default_rng(cocotb.RANDOM_SEED)
        self.dram = noise.integers(0, 256, agents.DRAM_SIZE + 256, dtype=np.uint8)
        n = self.config.array
        self.memories = {
            Memory.SCRATCHPAD: np.zeros((self.config.scratchpad_rows, n), np.uint8),
            Memory.PARAMETERS: np.zeros((self.config.parameter_subrows, n), np.uint8),
            Memory.LANES: np.zeros((self.config.lane_rows, n), np.uint8),
        }
        self.expected = {name: rows.copy() for name, rows in self.memories.items()}
        self.weights: list[bytes] = []
        self.expected_weights: list[bytes] = []
        self.bus = agents.ReadMemory(dut, self.config, self.dram, timing)
        self.commands = agents.Source(dut, "commands", [], stall)
        self.completed = agents.Reports(dut, "completed", Completion.as_shape())
        self.faults = agents.Reports(dut, "fault", FaultReport.as_shape())
        pins = ("subrow", "data", "mask")
        self.parameters = agents.Strobe(dut, "parameters", pins)
        self.lanes = agents.Strobe(dut, "lanes", ("row", "data", "mask"))
        self.weights_sink = agents.Sink(dut, "weights", ("payload",), stall, self._weights)
        self.agents = [
            self.bus,
            self.commands,
            self.completed,
            self.faults,
            self.parameters,
            self.lanes,
            agents.Sink(dut, "scratchpad", ("row", "data", "mask"), stall, self._scratchpad),
            self.weights_sink,
        ]

    async def start(self) -> None:
        dut = self.dut
        dut.stop.value = 0
        dut.commands__valid.value = 0
        dut.bus__rvalid.value = 0
        dut.dram_base.value = agents.DRAM_BASE
        dut.dram_size.value = agents.DRAM_SIZE
        await start_clock(dut)
        cocotb.start_soon(agents.run(dut, self.agents))

    def _scratchpad(self, row: int, data: int, mask: int) -> None:
        self._write(Memory.SCRATCHPAD, row, data, mask)

    def _weights(self, row: int) -> None:
        self.weights.append(row.to_bytes(self.config.array, "little"))

    def _write(self, memory: Memory, row: int, data: int, mask: int) -> None:
        lanes = [lane for lane in range(self.config.array) if mask >> lane & 1]
        new = np.frombuffer(data.to_bytes(self.config.array, "little"), np.uint8)
        self.memories[memory][row, lanes] = new[lanes]

    def expect(self, i: Instruction) -> None:
        """What the ISA says that a LOAD does."""
        lanes = slice(i.lane, i.lane + i.row_bytes)
        for offset, row in zip(agents.row_offsets(i), agents.chip_rows(i), strict=True):
            loaded = self.dram[offset : offset + i.row_bytes]
            if i.memory == Memory.WEIGHTS:
                whole = np.full(self.config.array, i.fill & 0xFF, np.uint8)
                whole[lanes] = loaded
                self.expected_weights.append(whole.tobytes())
                continue
            target = self.expected[Memory(i.memory)]
            if i.fill_others:
                target[row] = i.fill & 0xFF
            target[row, lanes] = loaded

    def check(self) -> None:
        for write in self.parameters.seen:
            self._write(Memory.PARAMETERS, *write)
        for write in self.lanes.seen:
            self._write(Memory.LANES, *write)
        assert self.weights == self.expected_weights
        for memory, rows in self.memories.items():
            np.testing.assert_array_equal(rows, self.expected[memory], err_msg=memory.name)

    async def until(self, condition: Any, limit: int = 200_000) -> None:
        for _ in range(limit):
            if condition():
                return
            await RisingEdge(self.dut.clk)
        raise AssertionError(f"nothing after {limit} cycles; seed {cocotb.RANDOM_SEED}")

    def queue(self, instructions: list[Instruction]) -> int:
        """Give `instructions`, numbered from anywhere on; the number of the first."""
        first = random.randrange((1 << POSITION_BITS) - len(instructions))
        for position, instruction in enumerate(instructions, first):
            self.commands.queue.append(agents.payload(instruction, position))
        return first


@cocotb.test
@cocotb.parametrize(
    ("latency", [(1, 1), (1, 50), (60, 60)]),
    ("stall", [0.0, 0.4]),
)
async def loads_what_the_isa_says(dut: Any, latency: tuple[int, int], stall: float) -> None:
    """Random LOADs leave every memory as the ISA says, and complete in order."""
    bench = Bench(dut, agents.Timing(latency, stall), stall)
    await bench.start()
    program = [agents.random_transfer(bench.random, bench.config, Opcode.LOAD) for _ in range(60)]
    bench.queue(program)
    for instruction in program:
        bench.expect(instruction)
    await bench.until(lambda: len(bench.completed.seen) == len(program))
    for _ in range(20):
        await RisingEdge(dut.clk)
    assert [signal for (signal,) in bench.completed.seen] == [i.signal for i in program]
    assert not bench.faults.seen
    assert dut.quiet.value == 1
    bench.check()


def _bad(bench: Bench, kind: str) -> tuple[Instruction, Error, int]:
    """A LOAD that fails, why and with what detail."""
    n, rng = bench.config.array, bench.random
    good = {"rows": 6, "row_bytes": n, "dram_row_stride": n, "row_stride": 1, "address": 256}
    good |= {"tag": rng.randrange(1 << 16)}

    def load(**values: int) -> Instruction:
        return isa.make(Opcode.LOAD, **(good | values))

    limit = bench.config.scratchpad_rows
    subrows = bench.config.parameter_subrows
    end = agents.DRAM_SIZE - 3 * n
    match kind:
        case "lanes":
            return load(lane=1), Error.ILLEGAL_OPERAND, n + 1
        case "scratchpad":
            return load(base=limit - 2), Error.SCRATCHPAD_RANGE, limit
        case "scratchpad below zero":
            last = isa.ROW_SPAN - 1
            return load(base=1, row_stride=last), Error.SCRATCHPAD_RANGE, last
        case "parameters":
            bad = load(base=subrows - 1, memory=Memory.PARAMETERS)
            return bad, Error.PARAMETER_RANGE, subrows
        case "lane memory":
            rows = bench.config.lane_rows
            return load(base=rows - 4, memory=Memory.LANES), Error.PARAMETER_RANGE, rows
        case "beyond DRAM":
            return load(address=end), Error.DRAM_RANGE, end + 3 * n
        case "beyond DRAM, one byte":
            start = agents.DRAM_SIZE - 6 * n + 1
            return load(address=start), Error.DRAM_RANGE, start + 5 * n
        case "beyond DRAM, far":
            far = (1 << 40) - 8
            return load(address=far), Error.DRAM_RANGE, far & 0xFFFFFFFF
        case "beyond DRAM, strided":
            bad = load(address=end, dram_row_stride=2 * n)
            return bad, Error.DRAM_RANGE, end + 4 * n
        case "before DRAM":
            bad = load(address=n, dram_row_stride=-n)
            return bad, Error.DRAM_RANGE, (-n) & 0xFFFFFFFF
        case "slave error" | "decode error":
            address = 0x9000
            bad_row = address + 3 * n
            beat = bad_row - bad_row % bench.config.bus_bytes
            bench.bus.errors[agents.DRAM_BASE + beat] = 2 if kind == "slave error" else 3
            # A beat shared with the rows before it fails with the first of them.
            return load(address=address), Error.READ_BUS, beat if beat < bad_row else bad_row
    raise ValueError(kind)


KINDS = ["lanes", "scratchpad", "scratchpad below zero", "parameters", "lane memory", "beyond DRAM"]
KINDS += [
    "beyond DRAM, one byte",
    "beyond DRAM, far",
    "beyond DRAM, strided",
    "before DRAM",
    "slave error",
    "decode error",
]


@cocotb.test
async def takes_the_stated_cycles(dut: Any) -> None:
    """From `started` to the request, and from the beat to the write, as the docstring says."""
    bench = Bench(dut, agents.Timing((9, 9), 0.0), 0.0)
    pins = (dut.started, dut.bus__arvalid, dut.weights__valid)
    started, asked, written = (agents.Watch(pin, bench.bus) for pin in pins)
    bench.agents += [started, asked, written]
    await bench.start()
    bench.queue([isa.make(Opcode.LOAD, row_bytes=1, memory=Memory.WEIGHTS)])
    await bench.until(lambda: bench.completed.seen)
    # The arbiter puts a request on the bus one cycle later.
    assert asked.cycles[0] - started.cycles[0] == START_TO_REQUEST + 1
    assert written.cycles[0] - bench.bus.beat_cycles[-1] == BEAT_TO_ROW


@cocotb.test
@cocotb.parametrize(("kind", KINDS))
async def reports_a_fault_once(dut: Any, kind: str) -> None:
    """Everything before the fault completes, nothing after it starts, the bus drains."""
    bench = Bench(dut, agents.Timing((1, 50), 0.2), 0.2)
    await bench.start()
    program = [agents.random_transfer(bench.random, bench.config, Opcode.LOAD) for _ in range(6)]
    bad, code, detail = _bad(bench, kind)
    bad_offsets = range(0x9000 - 64, 0x9000 + 8 * bench.config.array + 64)
    program = [
        i
        for i in program
        if not any(
            o in bad_offsets or o + i.row_bytes in bad_offsets for o in agents.row_offsets(i)
        )
    ]
    position = bench.queue([*program, bad, *program]) + len(program)
    await bench.until(lambda: bench.faults.seen)
    await bench.until(lambda: int(dut.quiet.value))
    for _ in range(200):
        await RisingEdge(dut.clk)
    assert bench.faults.seen == [(code, position, bad.tag, detail)]
    assert [signal for (signal,) in bench.completed.seen] == [i.signal for i in program]
    assert dut.quiet.value == 1
    assert not bench.bus._waiting


@cocotb.test
@cocotb.parametrize(("rows", [1, 3]), ("kind", ["lanes", "before DRAM", "scratchpad"]))
async def reports_a_fault_in_order(dut: Any, rows: int, kind: str) -> None:
    """A fault waits for the weights before it, and what fits exactly is no fault."""
    bench = Bench(dut, agents.Timing((5, 5), 0.0), 0.0)
    bench.weights_sink.stall = 2.0
    await bench.start()
    n = bench.config.array
    exact = isa.make(
        Opcode.LOAD,
        rows=rows,
        row_bytes=n,
        dram_row_stride=n,
        address=agents.DRAM_SIZE - rows * n,
        memory=Memory.WEIGHTS,
    )
    bad, code, detail = _bad(bench, kind)
    first = bench.queue([exact, bad])
    for _ in range(300):
        await RisingEdge(dut.clk)
    assert not bench.faults.seen and not bench.completed.seen
    bench.weights_sink.stall = 0.0
    await bench.until(lambda: bench.faults.seen)
    assert bench.faults.seen == [(code, first + 1, bad.tag, detail)]
    assert len(bench.completed.seen) == 1 and len(bench.weights) == rows


@cocotb.test
@cocotb.parametrize(("after", [3, 40, 77, 150, 400]))
async def drains_after_stop(dut: Any, after: int) -> None:
    """From `stop` on only bursts already offered go out, and `quiet` rises; no fault, no hang."""
    bench = Bench(dut, agents.Timing((1, 60), 0.3), 0.3)
    await bench.start()
    program = [agents.random_transfer(bench.random, bench.config, Opcode.LOAD) for _ in range(60)]
    bench.queue(program)
    for _ in range(after):
        await RisingEdge(dut.clk)
    dut.stop.value = 1
    bursts = len(bench.bus.bursts)
    await RisingEdge(dut.clk)
    await bench.until(lambda: int(dut.quiet.value), 2000)
    for _ in range(100):
        await RisingEdge(dut.clk)
    assert dut.quiet.value == 1
    assert len(bench.bus.bursts) <= bursts + 3
    assert not bench.bus._waiting
    assert not bench.faults.seen


@cocotb.test
@cocotb.parametrize(("latency", [1, 60]), ("commands", [1, 16]))
async def keeps_the_bus_busy(dut: Any, latency: int, commands: int) -> None:
    """Once data comes, 95 % of the cycles carry a beat, in one long LOAD or many."""
    bench = Bench(dut, agents.Timing((latency, latency), 0.0), 0.0)
    await bench.start()
    n, bus = bench.config.array, bench.config.bus_bytes
    window = bench.config.burst_beats * bench.config.outstanding_bursts
    memory = Memory.WEIGHTS
    rows = 512 // commands * max(1, bus // n)
    bench.queue(
        [
            isa.make(
                Opcode.LOAD,
                rows=rows,
                row_bytes=n,
                dram_row_stride=n,
                address=4096 + k * rows * n,
                memory=memory,
            )
            for k in range(commands)
        ]
    )
    await bench.until(lambda: len(bench.completed.seen) == commands)
    cycles = bench.bus.beat_cycles[-1] - bench.bus.beat_cycles[0] + 1
    share = len(bench.bus.beat_cycles) / cycles
    # Fewer beats in flight than cycles of latency, or rows narrower than the bus, are the bound.
    bound = min(1.0, window / (latency + 8), n / bus)
    dut._log.info(f"latency {latency}, {commands} LOADs: {share:.3f} beats per cycle")
    assert share >= 0.95 * bound, f"{share:.3f} beats per cycle, bound {bound:.3f}"
