"""The whole core against the functional simulator, over slow buses, through errors and resets."""

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, RisingEdge

from hw.tb.axi_lite import AxiLiteHost
from hw.tb.axi_ram import AxiRam
from hw.tb.layouts import bench_config
from hw.tb.programs import RandomProgram
from hw.tb.streams import start_clock
from hw.tpu import isa
from hw.tpu.config import TpuConfig
from hw.tpu.core import Tpu
from hw.tpu.isa import Instruction, Memory, Opcode, make
from hw.tpu.registers import ADDRESS, COUNTERS, Control, Error, Status
from hw.tpu.trace import COUNT_BITS, TRACE
from sim.functional import FunctionalSimulator

CASES = {
    name: (lambda text=text: Tpu(TpuConfig.parse(text)), {"config": text})
    # wide: an instruction is one beat, a row a fraction of it
    for name, text in {"tiny": "tiny", "wide": "tiny,array=8,bus_bits=512"}.items()
}
BASE = 0x5000
DRAM_BYTES = 1 << 15


class Core:
    """A core with its DRAM, driven through its registers."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.config = dut, bench_config()
        self.ram = AxiRam(dut, self.config, DRAM_BYTES, BASE)
        self.host = AxiLiteHost(dut, "s_axi")

    async def begin(self) -> None:
        await start_clock(self.dut)
        for name, value in (("dram_base", BASE), ("dram_size", DRAM_BYTES), ("watchdog", 2000)):
            await self.write(name, value)

    async def write(self, name: str, value: int) -> None:
        await self.host.write(ADDRESS[name], value)

    async def read(self, name: str) -> int:
        return await self.host.read(ADDRESS[name])

    async def start(self, entry: int, length: int) -> None:
        await self.write("program", entry)
        await self.write("program_length", length)
        await self.write("control", Control.START)

    async def finish(self, limit: int = 60_000) -> Status:
        """Wait for the interrupt; the status, with everything on the bus answered."""
        for _ in range(limit):
            await RisingEdge(self.dut.clk)
            if int(self.dut.irq.value):
                assert self.ram.outstanding == 0, "stopped with bursts under way"
                return Status(await self.read("status"))
        raise AssertionError(f"still running after {limit} cycles")

    async def error(self) -> tuple[Error, int, int, int]:
        """Code, position, tag and detail of the last error."""
        names = ("error", "error_position", "error_tag", "error_detail")
        code, *rest = [await self.read(name) for name in names]
        return Error(code), *rest

    async def counters(self) -> dict[str, int]:
        return {name: await self.read(name) for name in COUNTERS}

    async def expect(self, program: RandomProgram) -> dict[str, int]:
        """Run `program`; DRAM and counts of work must equal the functional simulator's."""
        oracle = FunctionalSimulator(self.config, DRAM_BYTES)
        oracle.write(0, program.dram)
        wanted = oracle.run(program.entry, len(program.instructions)).counters
        self.ram.data[:] = program.dram
        await self.start(program.entry, len(program.instructions))
        status = await self.finish()
        assert status == Status.DONE, f"{status!r} {await self.error()}"
        wrong = np.flatnonzero(self.ram.data != oracle.dram)
        assert not len(wrong), f"{len(wrong)} bytes differ, first at {wrong[0]:#x}"
        counters = await self.counters()
        assert {name: counters[name] for name in wanted} == wanted
        return counters

    async def run_words(self, words: bytes, length: int | None = None) -> Status:
        """Run raw instructions at offset 0 of an otherwise random DRAM."""
        self.ram.data[: len(words)] = np.frombuffer(words, np.uint8)
        await self.start(0, len(words) // isa.INSTRUCTION_BYTES if length is None else length)
        return await self.finish()

    def program(self, jobs: int) -> RandomProgram:
        rng = np.random.default_rng(random.getrandbits(64))
        return RandomProgram(self.config, rng, jobs, DRAM_BYTES)


@cocotb.test
@cocotb.parametrize(("latency", [(1, 1), (1, 60), (60, 60)]), ("stall", [0.0, 0.5]))
async def programs_equal_the_oracle(dut: Any, latency: tuple[int, int], stall: float) -> None:
    """Breaks if any unit, queue, semaphore or bus rule lets timing change a result."""
    core = Core(dut)
    core.ram.latency, core.ram.stall = latency, stall
    await core.begin()
    for jobs in (1, 3, 7):
        counters = await core.expect(core.program(jobs))
        assert counters["cycles"] > counters["array_active"]


def load(**values: int) -> Instruction:
    return make(Opcode.LOAD, row_bytes=4, dram_row_stride=4, **values)


def halting(*instructions: Instruction) -> bytes:
    return isa.assemble([*instructions, make(Opcode.HALT)])


@cocotb.test
async def bus_errors_name_their_instruction(dut: Any) -> None:
    """SLVERR on data, on an instruction and on a write; each time a right run follows."""
    core = Core(dut)
    await core.begin()
    first = load(address=0x400, rows=4, row_stride=1, tag=5)
    for memory in Memory:
        bad = load(address=0x1000, rows=32, row_stride=1, memory=memory, tag=6)
        core.ram.bad_reads = {0x1040}
        assert await core.run_words(halting(first, bad, first)) == Status.ERROR
        assert await core.error() == (Error.READ_BUS, 1, 6, 0x1040)
        core.ram.bad_reads = set()
        await core.expect(core.program(2))
    # the last beat of instruction 3
    core.ram.bad_reads = {4 * isa.INSTRUCTION_BYTES - core.config.bus_bytes}
    assert await core.run_words(halting(first, first, first, first)) == Status.ERROR
    code, position, _, detail = await core.error()
    assert (code, position, detail) == (Error.READ_BUS, 3, 3 * isa.INSTRUCTION_BYTES)
    core.ram.bad_reads = set()
    store = make(Opcode.STORE, address=0x1800, rows=32, row_bytes=4, dram_row_stride=4,
                 row_stride=1, tag=9)  # fmt: skip
    core.ram.bad_writes = {0x1840}
    assert await core.run_words(halting(first, store)) == Status.ERROR
    code, position, tag, _ = await core.error()
    assert (code, position, tag) == (Error.WRITE_BUS, 1, 9)
    core.ram.bad_writes = set()
    await core.expect(core.program(2))


@cocotb.test
async def bad_programs_stop_the_core(dut: Any) -> None:
    """Every kind of fault: code, position, tag and detail as the functional simulator gives."""
    core = Core(dut)
    await core.begin()
    n, rows, sums = (
        core.config.array,
        core.config.scratchpad_rows,
        core.config.accumulator_total_rows,
    )
    tile = load(address=0x400, rows=4, memory=Memory.WEIGHTS)
    fence = make(Opcode.FENCE, tag=3)
    cases = [
        (b"\xff" * 64, Error.ILLEGAL_INSTRUCTION, 0xFFFF, 0),
        (make(Opcode.VECTOR, convert=1, add=1, second=rows, tag=8),
         Error.SCRATCHPAD_RANGE, 8, rows),
        (load(base=core.config.lane_rows, memory=Memory.LANES, tag=4),
         Error.PARAMETER_RANGE, 4, core.config.lane_rows),
        (load(base=rows - 1, rows=3, row_stride=1, tag=4), Error.SCRATCHPAD_RANGE, 4, rows),
        (load(base=core.config.parameter_subrows, memory=Memory.PARAMETERS, tag=4),
         Error.PARAMETER_RANGE, 4, core.config.parameter_subrows),
        (load(address=DRAM_BYTES - 3, tag=4), Error.DRAM_RANGE, 4, DRAM_BYTES - 3),
        (load(lane=n - 3, tag=4), Error.ILLEGAL_OPERAND, 4, n + 1),
        (make(Opcode.MATMUL, accumulator=sums, width=1, tag=2), Error.ACCUMULATOR_RANGE, 2, sums),
        (make(Opcode.MATMUL, source=rows, width=1, tag=2), Error.SCRATCHPAD_RANGE, 2, rows),
        (make(Opcode.VECTOR, convert=1, base=sums, tag=2), Error.ACCUMULATOR_RANGE, 2, sums),
        (make(Opcode.VECTOR, convert=1, parameters=99, tag=2), Error.PARAMETER_RANGE, 2, 99),
        (make(Opcode.STORE, base=rows, tag=2), Error.SCRATCHPAD_RANGE, 2, rows),
        (make(Opcode.STORE, wait=8, tag=12), Error.WATCHDOG, 12, 0),
    ]  # fmt: skip
    for number, (bad, *wanted) in enumerate(cases):
        word = bad if isinstance(bad, bytes) else isa.encode(bad)
        words = isa.assemble([tile, fence]) + word + isa.assemble([tile, make(Opcode.HALT)])
        assert await core.run_words(words) == Status.ERROR, wanted
        code, position, tag, detail = await core.error()
        assert [code, tag, detail] == wanted and position == 2, (wanted, code, position, detail)
        if number % 4 == 0:
            await core.expect(core.program(2))
    assert await core.run_words(isa.assemble([tile, tile])) == Status.ERROR
    assert (await core.error())[:2] == (Error.NO_HALT, 2)
    assert await core.run_words(b"", 0) == Status.ERROR
    assert (await core.error())[:2] == (Error.NO_HALT, 0)
    assert await core.run_words(halting(tile), DRAM_BYTES) == Status.ERROR
    assert (await core.error())[0] == Error.DRAM_RANGE
    signals = [make(Opcode.FENCE)] + [load(address=0x400, signal=1 << 15)] * 256
    assert await core.run_words(halting(*signals)) == Status.ERROR
    assert (await core.error())[0] == Error.SEMAPHORE_OVERFLOW
    await core.expect(core.program(2))


@cocotb.test
async def nothing_behind_halt_matters(dut: Any) -> None:
    """A program may be shorter than its buffer: garbage and bus errors behind HALT are not run."""
    core = Core(dut)
    await core.begin()
    tile = load(address=0x800, rows=4)
    for behind in (b"\x00" * 64, b"\xff" * 256, isa.assemble([tile] * 3)):
        assert await core.run_words(halting(tile) + behind) == Status.DONE
        assert await core.read("instructions") == 2
    core.ram.bad_reads = {128}
    assert await core.run_words(halting(tile) + b"\x00" * 64) == Status.DONE


@cocotb.test
async def padding_is_progress(dut: Any) -> None:
    """The watchdog must not stop a VECTOR that walks outside its image, where no row is read."""
    core = Core(dut)
    await core.begin()
    await core.write("watchdog", 200)
    outside = make(Opcode.VECTOR, source=isa.Source.SCRATCHPAD, reduce=isa.Reduce.MAX, columns=2,
                   window_rows=20, window_columns=40, left=-1000)  # fmt: skip
    assert await core.run_words(halting(outside)) == Status.DONE


@cocotb.test
async def reset_in_the_middle(dut: Any) -> None:
    """RESET at any moment leaves a core that runs the next program right."""
    core = Core(dut)
    await core.begin()
    for number in range(24):
        program = core.program(3)
        core.ram.data[:] = program.dram
        core.ram.latency = random.choice(((1, 2), (1, 60)))
        await core.start(program.entry, len(program.instructions))
        if number:
            await ClockCycles(dut.clk, random.choice((1, 20, 100, 400, 800)))
            await ClockCycles(dut.clk, random.randrange(200))
        await core.write("control", Control.RESET)
        for _ in range(200):
            if await core.read("status") == 0:
                break
        assert not int(dut.irq.value) and core.ram.outstanding == 0
        if number % 3 == 0:
            await core.expect(core.program(2))


@cocotb.test
async def trace_counts_every_instruction(dut: Any) -> None:
    """Timelines stand on it: per queue, started and done equal the program's instructions."""
    core = Core(dut)
    await core.begin()
    program = core.program(5)
    await core.expect(program)
    word = int(dut.trace_o.value)
    for queue in isa.Queue:
        count = sum(i.queue is queue for i in program.instructions)
        for what in ("started", "done"):
            offset = TRACE[f"{queue.name.lower()}_{what}"].offset
            assert word >> offset & (1 << COUNT_BITS) - 1 == count, (queue, what)
