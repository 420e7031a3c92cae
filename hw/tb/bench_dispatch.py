"""Dispatcher against `isa.decode` and `isa.unbuilt`: what is legal, where it goes, what waits."""

import random
from collections.abc import Iterator
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge

from hw.tb.layouts import pack, unpack
from hw.tb.streams import StreamDriver, StreamMonitor, start_clock
from hw.tpu import isa
from hw.tpu.config import PRESETS
from hw.tpu.dispatch import Dispatcher
from hw.tpu.interfaces import FETCHED, POSITION_BITS, Completion, FaultReport, command
from hw.tpu.isa import FORMATS, INSTRUCTION_BITS, INSTRUCTION_BYTES, Opcode, Queue
from hw.tpu.registers import Error

NAMES = {queue: queue.name.lower() for queue in Queue}
FOREVER = (1 << POSITION_BITS) - 1


def component() -> Dispatcher:
    return Dispatcher(PRESETS["tiny"])


def verdict(word: int) -> Error:
    """What the oracle says of a word."""
    try:
        instruction = isa.decode(word.to_bytes(INSTRUCTION_BYTES, "little"))
    except isa.IsaError:
        return Error.ILLEGAL_INSTRUCTION
    return Error.UNBUILT if isa.unbuilt(instruction) else Error.NONE


def random_word(opcode: Opcode) -> int:
    """A legal, built instruction with every other field at random."""
    fmt = FORMATS[opcode]
    values = {}
    for name, item in fmt.fields.items():
        low, high = item.range
        values[name] = random.choice((low, high, random.randint(low, high)))
        if item.reserved:
            values[name] = 0
    del values["opcode"]
    if opcode is Opcode.STORE:
        values["memory"] = isa.Memory.SCRATCHPAD
    if opcode is Opcode.VECTOR:
        accumulators = values["source"] == isa.Source.ACCUMULATORS
        values["convert"] = random.choice((1, 2)) if accumulators else isa.Convert.NONE
        values["reduce"] = isa.Reduce.MAX
        if not accumulators and random.random() < 0.5:
            values["reduce"] = random.choice((isa.Reduce.SUM, isa.Reduce.MULTIPLY_ACCUMULATE))
            values["convert"] = isa.Convert.REQUANTISE
    if fmt.queue is None:
        values["wait"] = values["signal"] = 0
    return int.from_bytes(isa.encode(isa.make(opcode, **values)), "little")


def broken_words() -> Iterator[int]:
    """Every way to be illegal or unbuilt that the formats' tables know, and random damage."""
    for number in range(256):
        if number not in FORMATS:
            yield random_word(random.choice(list(FORMATS))) & ~0xFF | number
    yield from (0, (1 << INSTRUCTION_BITS) - 1)
    for opcode, fmt in FORMATS.items():
        start = 0
        for name, item in fmt.fields.items():
            mask, shift = (1 << item.bits) - 1, start
            start += item.bits
            if name == "opcode":
                continue
            base = random_word(opcode) & ~(mask << shift)
            if item.choices is not None:
                yield from (base | value << shift for value in range(mask + 1))
            if item.least is not None:
                yield from (base | value << shift for value in range(item.least + 1))
            if item.reserved or fmt.queue is None and name in ("wait", "signal"):
                yield from (base | 1 << bit + shift for bit in range(item.bits))
        for bit in range(start, INSTRUCTION_BITS):
            yield random_word(opcode) | 1 << bit
        for _ in range(120):
            word = random_word(opcode)
            for _ in range(random.randint(1, 3)):
                word ^= 1 << random.randrange(start)
            yield word


def quiet_pins(dut: Any) -> None:
    dut.words__valid.value = 0
    dut.running.value = 1
    dut.length.value = FOREVER
    for name in NAMES.values():
        getattr(dut, f"to_{name}__ready").value = 1
        getattr(dut, f"completed_{name}").value = 0


def offer(dut: Any, word: int, position: int) -> None:
    dut.words__valid.value = 1
    dut.words__payload.value = pack(FETCHED, word=word, position=position)


def fault_of(dut: Any) -> dict[str, int]:
    return unpack(FaultReport.as_shape(), int(dut.fault.value))


def targets(dut: Any) -> list[Queue]:
    return [queue for queue, name in NAMES.items() if int(getattr(dut, f"to_{name}__valid").value)]


@cocotb.test
async def every_word_gets_the_oracles_verdict(dut: Any) -> None:
    """Breaks if hardware and `isa.decode` disagree on one word, or a fault's name is wrong."""
    quiet_pins(dut)
    await start_clock(dut)
    counts = dict.fromkeys((Error.NONE, Error.ILLEGAL_INSTRUCTION), 0)
    for word in broken_words():
        before = random.randrange(3)
        dut.rst.value = 1
        quiet_pins(dut)
        await RisingEdge(dut.clk)
        dut.rst.value = 0
        for position in range(before):
            offer(dut, random_word(random.choice(list(FORMATS)[:4])), position)
            await RisingEdge(dut.clk)
        offer(dut, word, before)
        await FallingEdge(dut.clk)
        wanted, fault = verdict(word), fault_of(dut)
        counts[wanted] += 1
        text = f"{word:#x}: wanted {wanted.name}, got {fault}"
        assert fault["valid"] == (wanted is not Error.NONE), text
        known = word & 0xFF in FORMATS
        if wanted is Error.NONE:
            queue = FORMATS[Opcode(word & 0xFF)].queue
            assert targets(dut) == ([] if queue is None else [queue]), text
            if queue is not None:
                payload = int(getattr(dut, f"to_{NAMES[queue]}__payload").value)
                assert payload == pack(command(isa.Load), op=word, position=before)
            continue
        assert fault["code"] == wanted and fault["position"] == before, text
        if known:
            assert fault["tag"] == word >> 40 & 0xFFFF, text
        # once, and nothing behind it moves
        for _ in range(2):
            assert not targets(dut) and not int(dut.words__ready.value)
            assert not int(dut.dispatched.value)
            await RisingEdge(dut.clk)
            offer(dut, random_word(Opcode.LOAD), before)
            await FallingEdge(dut.clk)
            assert not fault_of(dut)["valid"]
    assert min(counts.values()) > 50, counts


class Units:
    """Completes what it received, in order per queue, at random; knows what is in flight."""

    def __init__(self, dut: Any, stall: float) -> None:
        self.dut = dut
        self.monitors = {
            queue: StreamMonitor(dut, f"to_{name}", stall=stall) for queue, name in NAMES.items()
        }
        self.completed = dict.fromkeys(Queue, 0)
        self.order: list[int] = []
        self.done: list[int] = []
        self.faults: list[tuple[int, int, int]] = []  # code, position, instructions in flight
        self._seen = dict.fromkeys(Queue, 0)

    def positions(self, queue: Queue) -> list[int]:
        return [word >> INSTRUCTION_BITS for word in self.monitors[queue].received]

    async def cycle(self, eagerness: float) -> None:
        for queue, name in NAMES.items():
            arrived = len(self.monitors[queue].received)
            completes = self.completed[queue] < arrived and random.random() < eagerness
            if completes:
                self.done.append(self.positions(queue)[self.completed[queue]])
                self.completed[queue] += 1
            pins = pack(Completion.as_shape(), valid=completes, signal=random.getrandbits(16))
            getattr(self.dut, f"completed_{name}").value = pins
        done = set(self.done)
        await FallingEdge(self.dut.clk)
        if (fault := fault_of(self.dut))["valid"]:
            self.faults.append((fault["code"], fault["position"], len(self.order) - len(done)))
        await RisingEdge(self.dut.clk)
        for queue in Queue:
            for position in self.positions(queue)[self._seen[queue] :]:
                self.order.append(position)
                self.check_order(position, done)
            self._seen[queue] = len(self.monitors[queue].received)

    def check_order(self, position: int, done: set[int]) -> None:
        """Overridden by a test that knows the program."""


def program_of(count: int) -> list[int]:
    opcodes = [*list(FORMATS)[:4], Opcode.FENCE]
    weights = [4, 4, 4, 4, 1]
    return [random_word(o) for o in random.choices(opcodes, weights, k=count)]


def fetched(words: list[int]) -> list[int]:
    return [pack(FETCHED, word=word, position=at) for at, word in enumerate(words)]


@cocotb.test
@cocotb.parametrize(
    ("source", [0.0, 0.5]), ("sink", [0.0, 0.6]), ("eagerness", [0.9, 0.15])
)  # fmt: skip
async def fences_hold_and_halt_waits(dut: Any, source: float, sink: float, eagerness: float):
    """Each word to its queue in order; nothing passes a FENCE; garbage after HALT is dead."""
    words = [*program_of(120), random_word(Opcode.HALT), 0, (1 << INSTRUCTION_BITS) - 1]
    halt = len(words) - 3
    fences = [at for at, word in enumerate(words) if word & 0xFF == Opcode.FENCE]
    quiet_pins(dut)
    await start_clock(dut)
    units = Units(dut, sink)

    def behind_fence(position: int, done: set[int]) -> None:
        fence = max((at for at in fences if at < position), default=0)
        early = [at for at in range(fence) if at not in done and at not in fences]
        assert not early, f"{position} left before {early} had completed"

    units.check_order = behind_fence
    cocotb.start_soon(StreamDriver(dut, "words", stall=source).send(fetched(words)))
    for _ in range(20_000):
        in_flight = len(units.order) - len(units.done)
        if int(dut.halted.value):
            assert in_flight == 0
            break
        await units.cycle(eagerness)
    for _ in range(20):
        await units.cycle(eagerness)
        assert int(dut.halted.value) and not int(dut.words__ready.value) and int(dut.idle.value)
    assert not units.faults and int(dut.next_position.value) == halt + 1
    for queue in Queue:
        code = next(fmt.code for fmt in FORMATS.values() if fmt.queue is queue)
        mine = [pack(command(isa.Load), op=word, position=at)
                for at, word in enumerate(words[:halt]) if word & 0xFF == code]  # fmt: skip
        assert units.monitors[queue].received == mine


@cocotb.test
@cocotb.parametrize(("count", [0, 1, 25]))
async def a_program_must_halt(dut: Any, count: int) -> None:
    """NO_HALT once everything has completed, with the program's length as its position."""
    quiet_pins(dut)
    dut.running.value = 0
    dut.length.value = count
    await start_clock(dut)
    await FallingEdge(dut.clk)
    assert not fault_of(dut)["valid"], "not running yet"
    await RisingEdge(dut.clk)
    dut.running.value = 1
    units = Units(dut, 0.3)
    cocotb.start_soon(StreamDriver(dut, "words").send(fetched(program_of(count))))
    for _ in range(800):
        await units.cycle(0.2)
    assert units.faults == [(Error.NO_HALT, count, 0)]


@cocotb.test
async def asks_for_words_that_are_not_there(dut: Any) -> None:
    """Fetch reports an unreadable instruction when it is asked for, so `ready` needs no `valid`."""
    quiet_pins(dut)
    await start_clock(dut)
    await FallingEdge(dut.clk)
    assert int(dut.words__ready.value)
    await RisingEdge(dut.clk)
    offer(dut, random_word(Opcode.HALT), 0)
    await RisingEdge(dut.clk)
    dut.words__valid.value = 0
    await FallingEdge(dut.clk)
    assert int(dut.halted.value) and not int(dut.words__ready.value)
