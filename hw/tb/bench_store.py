"""StoreUnit against the ISA text: every byte of DRAM, order, faults, stop and throughput."""

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.tb import dma_agents as agents
from hw.tb.runner import parameter
from hw.tb.streams import start_clock
from hw.tpu import isa
from hw.tpu.config import TpuConfig
from hw.tpu.dma.store import StoreUnit
from hw.tpu.interfaces import POSITION_BITS, Completion, FaultReport
from hw.tpu.isa import Instruction, Opcode
from hw.tpu.registers import Error

CONFIGS = {
    "tiny": "tiny",
    "equal": "ulx3s,scratchpad_rows=256",
    "default": "default,scratchpad_rows=1024",
    "large": "large,scratchpad_rows=1024",
    "short": "tiny,bus_bits=128,burst_beats=2,outstanding_bursts=3",
}
CASES = {
    name: (lambda text=text: StoreUnit(TpuConfig.parse(text)), {"config": text})
    for name, text in CONFIGS.items()
}


class Rows:
    """The scratchpad's read port: the row in the cycle after its request, noise in any other."""

    def __init__(self, dut: Any, rows: np.ndarray, stall: float) -> None:
        self.dut, self.rows, self.stall = dut, rows, stall
        self.random = random.Random(cocotb.RANDOM_SEED + 2)
        self._next: int | None = None
        self._offer: int | None = None

    def drive(self) -> None:
        data = self.random.randbytes(self.rows.shape[1])
        if self._next is not None:
            data = self.rows[self._next].tobytes()
        self.dut.scratchpad__data.value = int.from_bytes(data, "little")
        self.dut.scratchpad__ready.value = self.random.random() >= self.stall

    def sample(self) -> None:
        valid, row = int(self.dut.scratchpad__valid.value), int(self.dut.scratchpad__row.value)
        if self._offer is not None:
            assert valid and row == self._offer, "a row request changed while waiting"
        taken = valid and int(self.dut.scratchpad__ready.value)
        self._offer = row if valid and not taken else None
        self._next = row if taken else None
        assert not valid or row < len(self.rows), f"row {row} is out of range"


class Bench:
    """The unit, its surroundings, and the DRAM as it should become."""

    def __init__(self, dut: Any, timing: agents.Timing, stall: float) -> None:
        self.dut, self.config = dut, TpuConfig.parse(str(parameter("config")))
        self.random = random.Random(cocotb.RANDOM_SEED)
        noise = np.random.default_rng(cocotb.RANDOM_SEED)
        self.dram = noise.integers(0, 256, agents.DRAM_SIZE + 256, dtype=np.uint8)
        self.expected = self.dram.copy()
        shape = (self.config.scratchpad_rows, self.config.array)
        self.rows = noise.integers(0, 256, shape, dtype=np.uint8)
        self.bus = agents.WriteMemory(dut, self.config, self.dram, timing)
        self.commands = agents.Source(dut, "commands", [], stall)
        self.completed = agents.Reports(dut, "completed", Completion.as_shape())
        self.faults = agents.Reports(dut, "fault", FaultReport.as_shape())
        reader = Rows(dut, self.rows, stall)
        self.agents = [self.bus, self.commands, self.completed, self.faults, reader]

    async def start(self) -> None:
        dut = self.dut
        dut.stop.value = 0
        dut.commands__valid.value = 0
        dut.bus__bvalid.value = 0
        dut.dram_base.value = agents.DRAM_BASE
        dut.dram_size.value = agents.DRAM_SIZE
        await start_clock(dut)
        cocotb.start_soon(agents.run(dut, self.agents))

    def expect(self, i: Instruction) -> None:
        """What the ISA says that a STORE does."""
        lanes = slice(i.lane, i.lane + i.row_bytes)
        for offset, row in zip(agents.row_offsets(i), agents.chip_rows(i), strict=True):
            self.expected[offset : offset + i.row_bytes] = self.rows[row, lanes]

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

    def program(self, length: int) -> list[Instruction]:
        return [
            agents.random_transfer(self.random, self.config, Opcode.STORE) for _ in range(length)
        ]


@cocotb.test
@cocotb.parametrize(
    ("latency", [(1, 1), (1, 50), (60, 60)]),
    ("stall", [0.0, 0.4]),
)
async def stores_what_the_isa_says(dut: Any, latency: tuple[int, int], stall: float) -> None:
    """Random STOREs change exactly the bytes of the ISA, and complete in order."""
    bench = Bench(dut, agents.Timing(latency, stall), stall)
    await bench.start()
    program = bench.program(60)
    bench.queue(program)
    for instruction in program:
        bench.expect(instruction)
    await bench.until(lambda: len(bench.completed.seen) == len(program))
    np.testing.assert_array_equal(bench.dram, bench.expected)
    for _ in range(20):
        await RisingEdge(dut.clk)
    assert [signal for (signal,) in bench.completed.seen] == [i.signal for i in program]
    assert not bench.faults.seen
    assert dut.quiet.value == 1


@cocotb.test
async def completes_after_the_last_response(dut: Any) -> None:
    """`completed` means written: not before the slave said so."""
    bench = Bench(dut, agents.Timing((80, 80), 0.0), 0.0)
    await bench.start()
    n = bench.config.array
    bench.queue([isa.make(Opcode.STORE, rows=5, row_bytes=n, dram_row_stride=n, signal=3)])
    await bench.until(lambda: bench.completed.seen)
    assert bench.bus.answered == len(bench.bus.bursts)
    assert bench.bus.cycle >= bench.bus.beat_cycles[-1] + 80


def _bad(bench: Bench, kind: str) -> tuple[Instruction, Error, int]:
    """A STORE that fails, why and with what detail."""
    n, rng = bench.config.array, bench.random
    good = {"rows": 6, "row_bytes": n, "dram_row_stride": n, "row_stride": 1, "address": 256}
    good |= {"tag": rng.randrange(1 << 16)}

    def store(**values: int) -> Instruction:
        return isa.make(Opcode.STORE, **(good | values))

    limit = bench.config.scratchpad_rows
    end = agents.DRAM_SIZE - 3 * n
    match kind:
        case "lanes":
            return store(lane=1), Error.ILLEGAL_OPERAND, n + 1
        case "scratchpad":
            return store(base=limit - 2), Error.SCRATCHPAD_RANGE, limit
        case "scratchpad below zero":
            last = isa.ROW_SPAN - 1
            return store(base=1, row_stride=last), Error.SCRATCHPAD_RANGE, last
        case "beyond DRAM":
            return store(address=end), Error.DRAM_RANGE, end + 3 * n
        case "before DRAM":
            bad = store(address=n, dram_row_stride=-n)
            return bad, Error.DRAM_RANGE, (-n) & 0xFFFFFFFF
        case "slave error" | "decode error":
            address = 0x9000
            bench.bus.errors[agents.DRAM_BASE + address] = 2 if kind == "slave error" else 3
            return store(address=address), Error.WRITE_BUS, address
    raise ValueError(kind)


KINDS = ["lanes", "scratchpad", "scratchpad below zero", "beyond DRAM", "before DRAM"]
KINDS += ["slave error", "decode error"]


@cocotb.test
@cocotb.parametrize(("kind", KINDS))
async def reports_a_fault_once(dut: Any, kind: str) -> None:
    """Everything before the fault completes, nothing after it does, the bus drains."""
    bench = Bench(dut, agents.Timing((1, 50), 0.2), 0.2)
    await bench.start()
    bad, code, detail = _bad(bench, kind)
    program = [
        i for i in bench.program(6) if all(abs(o - 0x9000) > 600 for o in agents.row_offsets(i))
    ]
    position = bench.queue([*program, bad, *program]) + len(program)
    for instruction in program:
        bench.expect(instruction)
    await bench.until(lambda: bench.faults.seen)
    await bench.until(lambda: int(dut.quiet.value))
    for _ in range(200):
        await RisingEdge(dut.clk)
    assert bench.faults.seen == [(code, position, bad.tag, detail)]
    assert [signal for (signal,) in bench.completed.seen] == [i.signal for i in program]
    assert dut.quiet.value == 1
    assert bench.bus.answered == len(bench.bus.bursts)


@cocotb.test
@cocotb.parametrize(("after", [3, 40, 77, 150, 400]))
async def drains_after_stop(dut: Any, after: int) -> None:
    """Bursts begun before `stop` get all their data and their response; no other begins."""
    bench = Bench(dut, agents.Timing((1, 60), 0.3), 0.3)
    await bench.start()
    bench.queue(bench.program(60))
    for _ in range(after):
        await RisingEdge(dut.clk)
    dut.stop.value = 1
    bursts = len(bench.bus.bursts)
    await RisingEdge(dut.clk)
    await bench.until(lambda: int(dut.quiet.value), 2000)
    for _ in range(100):
        await RisingEdge(dut.clk)
    assert dut.quiet.value == 1
    assert len(bench.bus.bursts) <= bursts + 2
    assert bench.bus.answered == len(bench.bus.bursts)
    assert sum(beats for _, _, beats in bench.bus.bursts) == len(bench.bus.beat_cycles)
    assert not bench.faults.seen


@cocotb.test
@cocotb.parametrize(("latency", [1, 60]), ("commands", [1, 16]), ("address", [4096, 4099]))
async def keeps_the_bus_busy(dut: Any, latency: int, commands: int, address: int) -> None:
    """Once data goes out, 95 % of the cycles carry a beat, in one long STORE or many."""
    bench = Bench(dut, agents.Timing((latency, latency), 0.0), 0.0)
    await bench.start()
    n, bus = bench.config.array, bench.config.bus_bytes
    rows = 512 // commands * max(1, bus // n)
    bench.queue(
        [
            isa.make(
                Opcode.STORE,
                rows=rows,
                row_bytes=n,
                dram_row_stride=n,
                address=address + k * rows * n,
            )
            for k in range(commands)
        ]
    )
    await bench.until(lambda: len(bench.completed.seen) == commands)
    cycles = bench.bus.beat_cycles[-1] - bench.bus.beat_cycles[0] + 1
    share = len(bench.bus.beat_cycles) / cycles
    window = 2 * bench.config.burst_beats * bench.config.outstanding_bursts
    # Rows narrower than the bus, or fewer beats in flight than cycles to the response, bound it.
    bound = min(1.0, n / bus, window / (latency + bench.config.burst_beats + 4))
    dut._log.info(f"latency {latency}, {commands} STOREs at {address}: {share:.3f} per cycle")
    assert share >= 0.95 * bound, f"{share:.3f} beats per cycle, bound {bound:.3f}"
