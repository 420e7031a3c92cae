"""Control: registers over AXI4-Lite, the life of a run, watchdog, interrupt, counters."""

import random
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge, gather

from hw.tb.axi_lite import AxiLiteHost
from hw.tb.layouts import pack
from hw.tb.streams import start_clock
from hw.tpu import isa
from hw.tpu.config import PRESETS
from hw.tpu.control import COUNTER_BITS, increments
from hw.tpu.control import Control as ControlUnit
from hw.tpu.interfaces import POSITION_BITS, FaultReport
from hw.tpu.registers import ADDRESS, COUNTERS, IDENT, REGISTERS, Control, Error, Status

CONFIG = PRESETS["default"]
LIFE = ("clear", "start", "running", "stop", "irq")


def component() -> ControlUnit:
    return ControlUnit(CONFIG)


class Bench:
    """The unit's surroundings and a record of what it told the others."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        for name in ("halted", "quiet", "progress", "stuck", "fault", "increments"):
            getattr(dut, name).value = 0
        dut.quiet.value = 1
        self.host = AxiLiteHost(dut, "bus")
        self.life: list[tuple[str, ...]] = []
        """The names of LIFE that are high, noted at each change."""
        self.cycle = 0
        self.since: list[int] = []

    async def begin(self) -> None:
        await start_clock(self.dut)
        cocotb.start_soon(self._record())

    async def _record(self) -> None:
        while True:
            await FallingEdge(self.dut.clk)
            now = tuple(name for name in LIFE if int(getattr(self.dut, name).value))
            if not self.life or self.life[-1] != now:
                self.life.append(now)
                self.since.append(self.cycle)
            self.cycle += 1

    async def read(self, name: str) -> int:
        return await self.host.read(ADDRESS[name])

    async def write(self, name: str, value: int) -> None:
        await self.host.write(ADDRESS[name], value)

    async def start(self) -> None:
        await self.write("control", Control.START)
        while not int(self.dut.running.value) or int(self.dut.start.value):
            await RisingEdge(self.dut.clk)
        await RisingEdge(self.dut.clk)

    async def strobe(self, **pins: int) -> None:
        for name, value in pins.items():
            getattr(self.dut, name).value = value
        await RisingEdge(self.dut.clk)
        for name in pins:
            getattr(self.dut, name).value = 0

    async def until_irq(self, limit: int = 100) -> None:
        for _ in range(limit):
            await RisingEdge(self.dut.clk)
            if int(self.dut.irq.value):
                return
        raise AssertionError("no interrupt")


def report(code: Error, position: int, tag: int, detail: int) -> int:
    return pack(
        FaultReport.as_shape(), valid=1, code=code, position=position, tag=tag, detail=detail
    )


@cocotb.test
async def registers_are_as_listed(dut: Any) -> None:
    """Every register by its access; nothing else answers; read and write channels at once."""
    bench = Bench(dut)
    await bench.begin()
    fixed = {"ident": IDENT, "version": isa.VERSION, "array": CONFIG.array}
    fixed |= {"bus_bits": CONFIG.bus_bits}
    kept = {item.name: 0 for item in REGISTERS if item.access == "rw"}
    kept["dram_size"] = 0xFFFFFFFF

    async def write(name: str, value: int) -> None:
        await bench.write(name, value)
        if name in kept:
            kept[name] = value

    for _ in range(120):
        target, other = random.sample(REGISTERS, 2)
        value = random.getrandbits(32)
        if target.name == "control":
            value &= ~(Control.START | Control.RESET)
        expected = fixed | kept
        _, got = await gather(write(target.name, value), bench.read(other.name))
        assert got == expected.get(other.name, 0), other.name
    for name, value in (fixed | kept).items():
        assert await bench.read(name) == value, name
    assert int(dut.program.value) == kept["program"]
    assert int(dut.length.value) == kept["program_length"] & (1 << POSITION_BITS) - 1
    assert int(dut.dram_base.value) == kept["dram_base"]
    assert int(dut.dram_size.value) == kept["dram_size"]
    known = set(ADDRESS.values()) | {ADDRESS[name] + 4 for name in COUNTERS}
    for address in random.sample(sorted(set(range(0, 4096, 4)) - known), 40):
        await bench.host.write(address, random.getrandbits(32))
        assert await bench.host.read(address) == 0, hex(address)
    assert bench.life == [()]


@cocotb.test
@cocotb.parametrize(("stall", [0.0, 0.3, 0.8]))
async def channels_may_run_ahead(dut: Any, stall: float) -> None:
    """No write is lost, doubled or answered twice when a host offers the next one early."""
    bench = Bench(dut)
    await bench.begin()
    bench.host.stall = stall
    names = [item.name for item in REGISTERS if item.access == "rw"]
    kept: dict[str, int] = {}
    for _ in range(20):
        writes = [(random.choice(names), random.getrandbits(32)) for _ in range(8)]
        await bench.host.write_ahead([(ADDRESS[name], value) for name, value in writes])
        kept |= dict(writes)
        order = random.choices(list(kept), k=8)
        values = await bench.host.read_ahead([ADDRESS[name] for name in order])
        assert values == [kept[name] for name in order]
    await FallingEdge(dut.clk)
    assert not int(dut.bus__bvalid.value) and not int(dut.bus__rvalid.value)


@cocotb.test
async def a_run_from_start_to_done(dut: Any) -> None:
    """clear, start, running, stop until quiet, clear, interrupt: each in its cycle, repeatedly."""
    bench = Bench(dut)
    await bench.begin()
    for _ in range(3):
        bench.life, bench.since = [], []
        await bench.start()
        assert await bench.read("status") == Status.BUSY
        dut.quiet.value = 0
        await bench.strobe(halted=1)
        assert await bench.read("status") == Status.BUSY and not int(dut.irq.value)
        dut.quiet.value = 1
        await bench.until_irq()
        assert await bench.read("status") == Status.DONE and await bench.read("error") == 0
        life = [step for step in bench.life if step not in ((), ("irq",))]
        assert life == [("clear", "running"), ("start", "running"), ("running",), ("stop",),
                        ("clear", "stop")]  # fmt: skip
        for step in (("clear", "running"), ("start", "running"), ("clear", "stop")):
            at = bench.life.index(step)
            assert bench.since[at + 1] - bench.since[at] == 1, f"{step} must last one cycle"
        if random.getrandbits(1):
            await bench.write("control", Control.CLEAR_INTERRUPT)
            assert not int(dut.irq.value) and await bench.read("status") == 0


@cocotb.test
async def the_first_fault_is_kept(dut: Any) -> None:
    """Code, position, tag and detail of the first; later ones and `halted` change nothing."""
    bench = Bench(dut)
    await bench.begin()
    for number in range(6):
        await bench.start()
        dut.quiet.value = 0
        fault = (random.randint(1, 12), random.getrandbits(24), random.getrandbits(16))
        detail = random.getrandbits(32)
        dut.halted.value = number % 2
        await bench.strobe(fault=report(*fault, detail))
        await bench.strobe(fault=report(Error.WATCHDOG, 1, 2, 3))
        dut.halted.value = 0
        dut.quiet.value = 1
        await bench.until_irq()
        assert await bench.read("status") == Status.ERROR
        names = ("error", "error_position", "error_tag", "error_detail")
        assert [await bench.read(name) for name in names] == [*fault, detail]
        if number % 3 == 0:
            await bench.write("control", Control.CLEAR_INTERRUPT)
            assert await bench.read("error") == 0 and await bench.read("status") == 0
    await bench.start()
    await bench.strobe(halted=1)
    await bench.until_irq()
    assert await bench.read("status") == Status.DONE and await bench.read("error") == 0


@cocotb.test
@cocotb.parametrize(("patience", [1, 7, 50]))
async def the_watchdog_counts_idle_cycles(dut: Any, patience: int) -> None:
    """It never fires while there is progress in time, and then after exactly its cycles."""
    bench = Bench(dut)
    await bench.begin()
    await bench.write("watchdog", patience)
    dut.progress.value = 1
    dut.stuck.value = report(Error.NONE, 1234, 77, 5)
    await bench.start()
    for _ in range(200):
        dut.progress.value = int(patience == 1)
        await ClockCycles(dut.clk, random.randint(1, max(1, patience - 1)))
        await bench.strobe(progress=1)
    dut.quiet.value = 0  # a bus that never drains must not keep the news from the host
    dut.progress.value = 1
    await RisingEdge(dut.clk)
    dut.progress.value = 0
    bench.life, bench.since = [], []
    last = bench.cycle
    await bench.until_irq(4 * patience + 20)
    stopped = next(at for at, now in zip(bench.since, bench.life, strict=True) if "stop" in now)
    told = next(at for at, now in zip(bench.since, bench.life, strict=True) if "irq" in now)
    assert stopped - last == patience + 1
    assert told - stopped == patience + 1
    assert await bench.read("status") == Status.ERROR | Status.BUSY
    assert await bench.read("error") == Error.WATCHDOG
    assert await bench.read("error_position") == 1234 and await bench.read("error_tag") == 77


@cocotb.test
@cocotb.parametrize(("forgotten", [False, True]))
async def no_start_before_the_bus_has_answered(dut: Any, forgotten: bool) -> None:
    """A late beat must not reach the next program: busy until quiet, whatever the host writes."""
    bench = Bench(dut)
    await bench.begin()
    await bench.write("watchdog", 10)
    dut.quiet.value = 0
    await bench.start()
    if forgotten:
        await bench.write("control", Control.RESET)
    else:
        await bench.until_irq()
    dut.halted.value = 1  # what the units do now is nobody's business
    for order in (Control.START, Control.RESET, Control.START | Control.RESET, Control.START):
        await bench.write("control", order)
        await ClockCycles(dut.clk, 30)
        assert Status.BUSY in Status(await bench.read("status"))
    assert await bench.read("status") == Status.BUSY and not int(dut.irq.value)
    bench.life = []
    dut.halted.value = 0
    dut.quiet.value = 1
    await ClockCycles(dut.clk, 8)
    assert bench.life == [("stop",), ("clear", "stop"), ()]
    assert await bench.read("status") == 0
    await bench.start()
    await bench.strobe(halted=1)
    await bench.until_irq()
    assert await bench.read("status") == Status.DONE


@cocotb.test
@cocotb.parametrize(("how", ["done", "fault"]))
async def what_is_told_early_stays_told(dut: Any, how: str) -> None:
    """The bus answers after the host was told: the report and the interrupt must survive that."""
    bench = Bench(dut)
    await bench.begin()
    await bench.write("watchdog", 10)
    await bench.start()
    dut.quiet.value = 0
    strobe = {"halted": 1} if how == "done" else {"fault": report(Error.READ_BUS, 5, 6, 7)}
    await bench.strobe(**strobe)
    await bench.until_irq()
    ended = Status.DONE if how == "done" else Status.ERROR
    assert await bench.read("status") == ended | Status.BUSY
    dut.quiet.value = 1
    await ClockCycles(dut.clk, 8)
    assert await bench.read("status") == ended and int(dut.irq.value)
    assert await bench.read("error") == (0 if how == "done" else Error.READ_BUS)
    await bench.write("control", Control.CLEAR_INTERRUPT)
    await ClockCycles(dut.clk, 8)
    assert await bench.read("status") == 0 and not int(dut.irq.value)


@cocotb.test
async def reset_forgets_how_a_run_ended(dut: Any) -> None:
    """RESET in the very cycle of HALT or a fault, or while the bus drains: no result, no irq."""
    bench = Bench(dut)
    await bench.begin()
    for delay in range(8):
        for strobe in ({"halted": 1}, {"fault": report(Error.READ_BUS, 5, 6, 7)}):
            await bench.start()
            cocotb.start_soon(bench.write("control", Control.RESET))
            await ClockCycles(dut.clk, delay) if delay else None
            await bench.strobe(**strobe)
            await ClockCycles(dut.clk, 12)
            if int(dut.irq.value):  # RESET came when the run was over already
                assert delay == 0, delay
                await bench.write("control", Control.RESET)
                await ClockCycles(dut.clk, 8)
            assert await bench.read("status") == 0 and not int(dut.irq.value)


@cocotb.test
async def a_watchdog_can_be_set_too_late(dut: Any) -> None:
    """Set below what has passed already, it fires at once and not after 2**32 cycles."""
    bench = Bench(dut)
    await bench.begin()
    await bench.start()
    await ClockCycles(dut.clk, 100)
    await bench.write("watchdog", 20)
    await bench.until_irq()
    assert await bench.read("error") == Error.WATCHDOG


@cocotb.test
async def no_watchdog_when_zero(dut: Any) -> None:
    """0 means never: neither the run nor the drain ends by itself."""
    bench = Bench(dut)
    await bench.begin()
    await bench.start()
    await ClockCycles(dut.clk, 500)
    assert int(dut.running.value)
    dut.quiet.value = 0
    await bench.strobe(halted=1)
    await ClockCycles(dut.clk, 500)
    assert int(dut.stop.value) and not int(dut.irq.value)


@cocotb.test
@cocotb.parametrize(("delay", [0, 1, 2, 3, 8]), ("stall", [0.0, 0.4]))
async def reset_ends_any_run(dut: Any, delay: int, stall: float) -> None:
    """RESET right behind START or later: units cleared, no result, no interrupt; then a run."""
    bench = Bench(dut)
    await bench.begin()
    bench.host.stall = stall
    for _ in range(3):
        await bench.write("control", Control.START)
        await ClockCycles(dut.clk, delay) if delay else None
        bench.life = []
        await bench.write("control", Control.RESET)
        await ClockCycles(dut.clk, 8)
        assert ("clear", "stop") in bench.life, bench.life
        assert not int(dut.running.value) and not int(dut.irq.value)
        assert await bench.read("status") == 0 and await bench.read("error") == 0
        await bench.start()
        await bench.strobe(halted=1)
        await bench.until_irq()
        assert await bench.read("status") == Status.DONE
        # in idle it clears the result, too
        await bench.write("control", Control.RESET)
        await ClockCycles(dut.clk, 8)
        assert await bench.read("status") == 0 and not int(dut.irq.value)


@cocotb.test
async def start_while_busy_is_ignored(dut: Any) -> None:
    """A second START must not restart counters or units under a running program."""
    bench = Bench(dut)
    await bench.begin()
    await bench.start()
    bench.life = []
    await bench.write("control", Control.START)
    await ClockCycles(dut.clk, 5)
    assert bench.life == [("running",)]


@cocotb.test
async def counters_add_their_increments(dut: Any) -> None:
    """Only while running, from zero at each start, each into its own register; held afterwards."""
    bench = Bench(dut)
    await bench.begin()
    layout = increments()
    for _ in range(2):
        dut.increments.value = (1 << layout.size) - 1
        await bench.start()
        sums = {name: await bench.read(name) for name in COUNTERS}
        assert max(sums[name] for name in COUNTERS if name != "useful_macs") < 1000
        # stop the counting, note where each stands, then count exactly
        dut.increments.value = 0
        await RisingEdge(dut.clk)
        sums = {name: await bench.read(name) for name in COUNTERS}
        for _ in range(300):
            grow = {name: random.getrandbits(layout[name].width) for name in COUNTERS}
            dut.increments.value = pack(layout, **grow)
            await RisingEdge(dut.clk)
            sums = {name: sums[name] + grow[name] for name in COUNTERS}
        dut.increments.value = 0
        await bench.strobe(halted=1)
        await bench.until_irq()
        dut.increments.value = (1 << layout.size) - 1
        await ClockCycles(dut.clk, 5)
        for name, value in sums.items():
            low = await bench.read(name)
            high = await bench.host.read(ADDRESS[name] + 4)
            assert low | high << 32 == value, name


@cocotb.test
async def counters_carry_into_their_high_word(dut: Any) -> None:
    """A ResNet-50 is more MACs than 32 bits count."""
    bench = Bench(dut)
    await bench.begin()
    most = (1 << increments()["useful_macs"].width) - 1
    await bench.start()
    before = await bench.read("useful_macs")
    dut.increments.value = pack(increments(), useful_macs=most)
    await ClockCycles(dut.clk, 16_500)
    dut.increments.value = 0
    await RisingEdge(dut.clk)
    low, high = await bench.read("useful_macs"), await bench.host.read(ADDRESS["useful_macs"] + 4)
    assert high == 1 and low | high << 32 == before + 16_500 * most


def preset(dut: Any, name: str, value: int) -> None:
    """Put a register of the unit to where counting alone would take years to get."""
    getattr(dut, name).value = value


@cocotb.test
async def counters_are_right_from_anywhere(dut: Any) -> None:
    """Every counter, from presets at its carries: breaks if a bit is lost on the way up."""
    bench = Bench(dut)
    await bench.begin()
    await bench.start()
    layout, wrap = increments(), 1 << COUNTER_BITS
    starts = [(1 << bit) - 1 for bit in range(1, COUNTER_BITS + 1, 9)]
    for start in (*starts, wrap - 1, 0, *(random.getrandbits(COUNTER_BITS) for _ in range(6))):
        await FallingEdge(dut.clk)
        for name in COUNTERS:
            preset(dut, f"counter_{name}", start)
        grow = {name: random.getrandbits(layout[name].width) for name in COUNTERS}
        dut.increments.value = pack(layout, **grow)
        await RisingEdge(dut.clk)
        dut.increments.value = 0
        await RisingEdge(dut.clk)
        for name in COUNTERS:
            low, high = await bench.read(name), await bench.host.read(ADDRESS[name] + 4)
            assert low | high << 32 == (start + grow[name]) % wrap, name


@cocotb.test
async def the_watchdog_may_be_patient(dut: Any) -> None:
    """From presets at carries of its 32 bits: it fires when it has counted to the register."""
    bench = Bench(dut)
    await bench.begin()
    for limit in (*((1 << bit) + 3 for bit in range(4, 32, 3)), (1 << 32) - 1):
        await bench.write("watchdog", limit)
        await bench.start()
        await FallingEdge(dut.clk)
        preset(dut, "patience", limit - 6)
        begin = bench.cycle
        while int(dut.running.value):
            await RisingEdge(dut.clk)
        assert 5 <= bench.cycle - begin <= 8, limit
        await bench.until_irq()
        assert await bench.read("error") == Error.WATCHDOG
