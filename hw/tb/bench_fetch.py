"""Fetch beside a LoadUnit on one read port: instructions in order, restart, faults, throughput."""

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
from hw.tpu.dma.fetch import START_TO_REQUEST, Fetch
from hw.tpu.dma.load import LoadUnit
from hw.tpu.dma.read_arbiter import ReadArbiter
from hw.tpu.interfaces import FETCHED, Completion, FaultReport, command
from hw.tpu.isa import INSTRUCTION_BYTES, Load, Memory, Opcode
from hw.tpu.registers import Error


class FetchPath(Component):
    """Fetch and a LoadUnit, which loads weights to keep the port busy, share the arbiter."""

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "program": In(32),
                "length": In(24),
                "dram_base": In(config.address_bits),
                "dram_size": In(32),
                "stop": In(1),
                "quiet": Out(1),
                "fault": Out(FaultReport),
                "instructions": Out(stream.Signature(FETCHED)),
                "commands": In(stream.Signature(command(Load))),
                "completed": Out(Completion),
                "weights": Out(stream.Signature(config.array * 8)),
                "bus": Out(Axi4Read(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fetch = fetch = Fetch(self.config)
        m.submodules.load = load = LoadUnit(self.config)
        m.submodules.arbiter = arbiter = ReadArbiter(self.config)
        for number, unit in enumerate((fetch, load)):
            connect(m, unit.requests, arbiter.requests[number])
            connect(m, arbiter.responses[number], unit.response)
            m.d.comb += [unit.dram_base.eq(self.dram_base), unit.dram_size.eq(self.dram_size)]
        connect(m, arbiter.bus, flipped(self.bus))
        connect(m, fetch.instructions, flipped(self.instructions))
        connect(m, flipped(self.commands), load.commands)
        connect(m, load.weights, flipped(self.weights))
        m.d.comb += [
            fetch.start.eq(self.start),
            fetch.program.eq(self.program),
            fetch.length.eq(self.length),
            fetch.stop.eq(self.stop),
            self.quiet.eq(fetch.quiet),
            self.fault.eq(fetch.fault),
            self.completed.eq(load.completed),
        ]
        return m


CONFIGS = {
    "default": "default",
    "tiny": "tiny",
    "wide": "default,bus_bits=512,burst_beats=4",
    "short": "tiny,bus_bits=128,burst_beats=2,outstanding_bursts=3",
}
CASES = {
    name: (lambda text=text: FetchPath(TpuConfig.parse(text)), {"config": text})
    for name, text in CONFIGS.items()
}


class Bench:
    """Fetch, a memory of random words, and a consumer."""

    def __init__(self, dut: Any, timing: agents.Timing, stall: float) -> None:
        self.dut, self.config = dut, TpuConfig.parse(str(parameter("config")))
        self.random = random.Random(cocotb.RANDOM_SEED)
        noise = np.random.default_rng(cocotb.RANDOM_SEED)
        self.dram = noise.integers(0, 256, agents.DRAM_SIZE + 256, dtype=np.uint8)
        self.bus = agents.ReadMemory(dut, self.config, self.dram, timing)
        self.commands = agents.Source(dut, "commands", [], stall)
        self.completed = agents.Reports(dut, "completed", Completion.as_shape())
        self.faults = agents.Reports(dut, "fault", FaultReport.as_shape())
        self.taken: list[int] = []
        self.weights: list[bytes] = []
        self.consumer = agents.Sink(dut, "instructions", ("payload",), stall, self.taken.append)
        loader = agents.Sink(dut, "weights", ("payload",), stall, self._take_weights)
        self.agents = [
            self.bus,
            self.commands,
            self.completed,
            self.faults,
            self.consumer,
            loader,
        ]

    def _take_weights(self, row: int) -> None:
        self.weights.append(row.to_bytes(self.config.array, "little"))

    async def begin(self) -> None:
        dut = self.dut
        for pin in (dut.start, dut.stop, dut.commands__valid, dut.bus__rvalid):
            pin.value = 0
        dut.dram_base.value = agents.DRAM_BASE
        dut.dram_size.value = agents.DRAM_SIZE
        await start_clock(dut)
        cocotb.start_soon(agents.run(dut, self.agents))

    async def start(self, program: int, length: int) -> None:
        """Strobe `start`; what was taken before is forgotten."""
        dut = self.dut
        dut.program.value, dut.length.value = program, length
        dut.start.value = 1
        await RisingEdge(dut.clk)
        dut.start.value = 0
        self.consumer.withdrawn()
        # An instruction of the older program may go in the cycle of the strobe itself.
        self.taken.clear()

    async def wait(self, cycles: int) -> None:
        for _ in range(cycles):
            await RisingEdge(self.dut.clk)

    async def until(self, condition: Any, limit: int = 100_000) -> None:
        for _ in range(limit):
            if condition():
                return
            await RisingEdge(self.dut.clk)
        raise AssertionError(f"nothing after {limit} cycles; seed {cocotb.RANDOM_SEED}")

    def instructions(self, program: int, length: int) -> list[int]:
        """What the stream should carry."""
        words = []
        for position in range(length):
            offset = program + position * INSTRUCTION_BYTES
            word = int.from_bytes(self.dram[offset : offset + INSTRUCTION_BYTES], "little")
            words.append(word | position << isa.INSTRUCTION_BITS)
        return words


@cocotb.test
@cocotb.parametrize(("latency", [(1, 1), (1, 60)]), ("stall", [0.0, 0.5]))
async def gives_every_instruction_once(dut: Any, latency: tuple[int, int], stall: float) -> None:
    """Programs of any length, one after the other, while LOADs share the port; then silence."""
    bench = Bench(dut, agents.Timing(latency, stall), stall)
    await bench.begin()
    n = bench.config.array
    load = isa.make(
        Opcode.LOAD, rows=64, row_bytes=n, dram_row_stride=n, address=777, memory=Memory.WEIGHTS
    )
    loads = 0
    for length in (1, 2, 3, 7, 64, 0, 100):
        bench.commands.queue.extend(agents.payload(load, k) for k in range(4))
        loads += 4
        program = bench.random.randrange(agents.DRAM_SIZE - 64 * length) & -64
        await bench.start(program, length)
        await bench.until(lambda length=length: len(bench.taken) == length)
        await bench.wait(100)
        assert bench.taken == bench.instructions(program, length)
        assert dut.quiet.value == 1
    await bench.until(lambda: len(bench.completed.seen) == loads)
    rows = bench.dram[777 : 777 + 64 * n].reshape(64, n)
    assert bench.weights == [row.tobytes() for row in rows] * loads
    assert not bench.faults.seen


@cocotb.test
@cocotb.parametrize(("after", [1, 2, 5, 20, 61, 90, 200]), ("stop", [False, True]))
async def begins_anew_at_any_time(dut: Any, after: int, stop: bool) -> None:
    """A start, or a stop and a start, in mid-program leaves nothing of the older program."""
    bench = Bench(dut, agents.Timing((1, 60), 0.3), 0.3)
    await bench.begin()
    await bench.start(0x400, 300)
    await bench.wait(after)
    if stop:
        dut.stop.value = 1
        bursts = len(bench.bus.bursts)
        await RisingEdge(dut.clk)
        bench.consumer.withdrawn()
        await bench.until(lambda: int(dut.quiet.value), 2000)
        await bench.wait(100)
        assert len(bench.bus.bursts) <= bursts + 3
        dut.stop.value = 0
        await bench.wait(100)
        assert dut.quiet.value == 1
    await bench.start(0x8000, 30)
    await bench.until(lambda: len(bench.taken) == 30)
    await bench.wait(100)
    assert bench.taken == bench.instructions(0x8000, 30)
    assert not bench.faults.seen


@cocotb.test
async def asks_in_time(dut: Any) -> None:
    """The address is on the bus one cycle (the arbiter's) after the request."""
    bench = Bench(dut, agents.Timing((1, 1), 0.0), 0.0)
    started, asked = (agents.Watch(pin, bench.bus) for pin in (dut.start, dut.bus__arvalid))
    bench.agents += [started, asked]
    await bench.begin()
    await bench.start(0, 20)
    await bench.until(lambda: bench.bus.bursts)
    assert asked.cycles[0] - started.cycles[0] == START_TO_REQUEST + 1


@cocotb.test
async def reads_ahead(dut: Any) -> None:
    """With a consumer that takes nothing, four instructions or more are already here."""
    bench = Bench(dut, agents.Timing((20, 20), 0.0), 0.0)
    bench.consumer.stall = 2.0
    await bench.begin()
    await bench.start(0, 200)
    await bench.wait(300)
    beats = INSTRUCTION_BYTES // bench.config.bus_bytes
    assert len(bench.bus.beat_cycles) >= 5 * beats
    assert not bench.taken


@cocotb.test
@cocotb.parametrize(("response", [2, 3]), ("bad", [0, 9, 39]))
async def reports_a_bad_read_when_asked_for(dut: Any, response: int, bad: int) -> None:
    """Instructions before the bad one are given; the fault comes only when it is wanted."""
    bench = Bench(dut, agents.Timing((1, 30), 0.2), 0.2)
    await bench.begin()
    beat = 0x1000 + bad * INSTRUCTION_BYTES + INSTRUCTION_BYTES - bench.config.bus_bytes
    bench.bus.errors[agents.DRAM_BASE + beat] = response
    limit = bench.consumer
    limit.take = lambda word: (
        bench.taken.append(word),
        setattr(limit, "stall", 2.0 if len(bench.taken) == bad else 0.2),
    )
    if bad == 0:
        limit.stall = 2.0
    await bench.start(0x1000, 40)
    await bench.until(lambda: len(bench.taken) == bad)
    await bench.wait(400)
    assert not bench.faults.seen
    limit.stall = 0.0
    await bench.until(lambda: bench.faults.seen)
    await bench.until(lambda: int(dut.quiet.value))
    await bench.wait(200)
    offset = 0x1000 + bad * INSTRUCTION_BYTES
    assert bench.faults.seen == [(Error.READ_BUS, bad, 0, offset)]
    assert bench.taken == bench.instructions(0x1000, bad)
    assert dut.quiet.value == 1


@cocotb.test
@cocotb.parametrize(
    (
        ("program", "length", "detail"),
        [
            (0xFF00, 4, 0xFFC0),
            (0x20000, 1, 0x20000),
            (0xFFFFFFC0, 0xFFFFFF, 0xFFFFFFC0),
            (0x40, 0xFFFFFF, 0xFFC0),
        ],
    )
)
async def refuses_a_program_beyond_dram(dut: Any, program: int, length: int, detail: int) -> None:
    """Nothing of it is read; a good program runs afterwards."""
    bench = Bench(dut, agents.Timing((1, 30), 0.2), 0.2)
    await bench.begin()
    await bench.start(program, length)
    await bench.until(lambda: bench.faults.seen)
    await bench.wait(100)
    assert bench.faults.seen == [(Error.DRAM_RANGE, 0, 0, detail)]
    assert not bench.bus.bursts and not bench.taken
    await bench.start(0xFE80, 4)
    await bench.until(lambda: len(bench.taken) == 4)
    assert bench.taken == bench.instructions(0xFE80, 4)
    assert len(bench.faults.seen) == 1


@cocotb.test
@cocotb.parametrize(("latency", [1, 60]))
async def keeps_the_bus_busy(dut: Any, latency: int) -> None:
    """Alone on the bus, fetch uses 95 % of its cycles, as far as it reads ahead."""
    bench = Bench(dut, agents.Timing((latency, latency), 0.0), 0.0)
    await bench.begin()
    await bench.start(0, 200)
    await bench.until(lambda: len(bench.taken) == 200)
    cycles = bench.bus.beat_cycles[-1] - bench.bus.beat_cycles[0] + 1
    share = len(bench.bus.beat_cycles) / cycles
    beats = INSTRUCTION_BYTES // bench.config.bus_bytes
    depth = max(8 * beats, 2 * bench.config.burst_beats)
    order = max(2, bench.config.burst_beats // 2) * bench.config.outstanding_bursts
    window = min(depth, order * bench.config.burst_beats) - bench.config.burst_beats
    bound = min(1.0, window / (latency + 8))
    dut._log.info(f"latency {latency}: {share:.3f} beats per cycle")
    assert share >= 0.95 * bound, f"{share:.3f} beats per cycle, bound {bound:.3f}"
