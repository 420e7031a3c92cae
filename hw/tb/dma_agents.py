"""What surrounds the DMA units in their benches: AXI memory, row ports, random transfers.

Agents are advanced by one loop (`run`): after each rising edge every agent's `drive` sets its
pins, before the next one its `sample` sees what settled.
"""

import random
from collections import deque
from collections.abc import Iterable
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, RisingEdge

from hw.tpu import isa
from hw.tpu.config import TpuConfig
from hw.tpu.isa import Instruction, Memory, Opcode

DRAM_BASE = 0x3000
DRAM_SIZE = 0xFFFB


async def run(dut: Any, agents: Iterable[Any]) -> None:
    """Advance all agents, forever."""
    agents = list(agents)
    while True:
        for agent in agents:
            agent.drive()
        await FallingEdge(dut.clk)
        for agent in agents:
            agent.sample()
        await RisingEdge(dut.clk)


class Timing:
    """How an AXI memory behaves: cycles from address to data, and the odds of a pause."""

    def __init__(self, latency: tuple[int, int] = (1, 40), stall: float = 0.3) -> None:
        self.latency, self.stall = latency, stall


class _Held:
    """Checks that a valid offer does not change until it is taken."""

    def __init__(self, name: str) -> None:
        self.name, self.offer = name, None

    def check(self, valid: int, ready: int, payload: Any) -> bool:
        if self.offer is not None:
            assert valid, f"{self.name}: valid fell before ready"
            assert payload == self.offer, f"{self.name}: changed while waiting"
        self.offer = payload if valid and not ready else None
        return bool(valid and ready)


def _check_burst(config: TpuConfig, address: int, beats: int, size: int, burst: int) -> None:
    """The rules of AXI4, and of `BurstSplitter`, for one burst."""
    length = beats * config.bus_bytes
    assert 1 << size == config.bus_bytes and burst == 1
    assert address % config.bus_bytes == 0, f"burst at {address:#x} is not aligned"
    assert beats <= config.burst_beats
    assert address // 4096 == (address + length - 1) // 4096, f"{address:#x} crosses 4 KiB"
    assert address >= DRAM_BASE and address + length <= DRAM_BASE + DRAM_SIZE + config.bus_bytes


class ReadMemory:
    """An AXI4 slave for reads; `errors` maps a beat's bus address to its response."""

    def __init__(self, dut: Any, config: TpuConfig, dram: np.ndarray, timing: Timing) -> None:
        self.dut, self.config, self.dram, self.timing = dut, config, dram, timing
        self.random = random.Random(cocotb.RANDOM_SEED)
        self.errors: dict[int, int] = {}
        self.cycle = 0
        self.bursts: list[tuple[int, int, int]] = []  # cycle, address, beats
        self.beat_cycles: list[int] = []
        self._waiting: deque[tuple[int, int, bool]] = deque()  # due, address, last
        self._held = _Held("AR")

    def drive(self) -> None:
        bus = self.dut
        bus.bus__arready.value = self.random.random() >= self.timing.stall
        ready = self._waiting and self._waiting[0][0] <= self.cycle
        if ready and self.random.random() >= self.timing.stall:
            _, address, last = self._waiting.popleft()
            start = address - DRAM_BASE
            data = self.dram[start : start + self.config.bus_bytes].tobytes()
            bus.bus__rdata.value = int.from_bytes(data, "little")
            bus.bus__rresp.value = self.errors.get(address, 0)
            bus.bus__rlast.value = last
            bus.bus__rvalid.value = 1
            self.beat_cycles.append(self.cycle + 1)
        else:
            bus.bus__rvalid.value = 0

    def sample(self) -> None:
        bus = self.dut
        self.cycle += 1
        assert bus.bus__rready.value == 1
        if not int(bus.bus__arvalid.value):
            self._held.check(0, 0, None)
            return
        address, beats = int(bus.bus__araddr.value), int(bus.bus__arlen.value) + 1
        if self._held.check(1, int(bus.bus__arready.value), (address, beats)):
            _check_burst(
                self.config,
                address,
                beats,
                int(bus.bus__arsize.value),
                int(bus.bus__arburst.value),
            )
            self.bursts.append((self.cycle, address, beats))
            due = self.cycle + self.random.randint(*self.timing.latency) - 1
            for beat in range(beats):
                at = address + beat * self.config.bus_bytes
                self._waiting.append((due, at, beat == beats - 1))


class WriteMemory:
    """An AXI4 slave for writes; `errors` maps a burst's bus address to its response."""

    def __init__(self, dut: Any, config: TpuConfig, dram: np.ndarray, timing: Timing) -> None:
        self.dut, self.config, self.dram, self.timing = dut, config, dram, timing
        self.random = random.Random(cocotb.RANDOM_SEED)
        self.errors: dict[int, int] = {}
        self.cycle = 0
        self.bursts: list[tuple[int, int, int]] = []  # cycle, address, beats
        self.beat_cycles: list[int] = []
        self.answered = 0
        self._open: deque[tuple[int, int]] = deque()  # address, beats
        self._beat = 0
        self._answers: deque[tuple[int, int]] = deque()  # due, response
        self._held_address, self._held_data = _Held("AW"), _Held("W")

    def drive(self) -> None:
        bus, stall = self.dut, self.timing.stall
        bus.bus__awready.value = self.random.random() >= stall
        bus.bus__wready.value = self.random.random() >= stall
        due = self._answers and self._answers[0][0] <= self.cycle
        if due and self.random.random() >= stall:
            bus.bus__bresp.value = self._answers.popleft()[1]
            bus.bus__bvalid.value = 1
            self.answered += 1
        else:
            bus.bus__bvalid.value = 0

    def sample(self) -> None:
        bus = self.dut
        self.cycle += 1
        assert bus.bus__bready.value == 1
        valid = int(bus.bus__wvalid.value)
        offer = None
        if valid:
            offer = tuple(
                int(pin.value) for pin in (bus.bus__wdata, bus.bus__wstrb, bus.bus__wlast)
            )
        if self._held_data.check(valid, int(bus.bus__wready.value), offer):
            self._take(*offer)
        valid = int(bus.bus__awvalid.value)
        offer = None
        if valid:
            offer = (int(bus.bus__awaddr.value), int(bus.bus__awlen.value) + 1)
        if self._held_address.check(valid, int(bus.bus__awready.value), offer):
            size, burst = int(bus.bus__awsize.value), int(bus.bus__awburst.value)
            _check_burst(self.config, *offer, size, burst)
            self.bursts.append((self.cycle, *offer))
            self._open.append(offer)

    def _take(self, data: int, strobe: int, last: int) -> None:
        assert self._open, "data before its address"
        address, beats = self._open[0]
        start = address + self._beat * self.config.bus_bytes - DRAM_BASE
        self.beat_cycles.append(self.cycle)
        self._beat += 1
        assert bool(last) == (self._beat == beats), "wlast in the wrong beat"
        if address not in self.errors:
            lanes = np.array([strobe >> n & 1 for n in range(self.config.bus_bytes)], bool)
            new = data.to_bytes(self.config.bus_bytes, "little")
            for n in np.flatnonzero(lanes):
                assert start + n < DRAM_SIZE, "a byte beyond the DRAM"
                self.dram[start + n] = new[n]
        if last:
            self._open.popleft()
            self._beat = 0
            due = self.cycle + self.random.randint(*self.timing.latency)
            self._answers.append((due, self.errors.get(address, 0)))


class Source:
    """Offers payloads on the stream `name`, pausing at random."""

    def __init__(self, dut: Any, name: str, payloads: Iterable[int], stall: float) -> None:
        self.dut, self.stall, self.random = dut, stall, random.Random(cocotb.RANDOM_SEED + 1)
        self.valid = getattr(dut, f"{name}__valid")
        self.ready = getattr(dut, f"{name}__ready")
        self.payload = getattr(dut, f"{name}__payload")
        self.queue = deque(payloads)
        self.taken = 0
        self._offering = False

    def drive(self) -> None:
        if not self._offering and self.queue and self.random.random() >= self.stall:
            self._offering = True
            self.payload.value = self.queue[0]
        self.valid.value = self._offering

    def sample(self) -> None:
        if self._offering and int(self.ready.value):
            self.queue.popleft()
            self.taken += 1
            self._offering = False


class Sink:
    """Takes a handshake's named pins, pausing at random; the offers must be held."""

    def __init__(self, dut: Any, name: str, pins: tuple[str, ...], stall: float, take: Any) -> None:
        self.stall, self.take = stall, take
        self.random = random.Random(cocotb.RANDOM_SEED + len(name))
        self.valid = getattr(dut, f"{name}__valid")
        self.ready = getattr(dut, f"{name}__ready")
        self.pins = [getattr(dut, f"{name}__{pin}") for pin in pins]
        self._held = _Held(name)

    def drive(self) -> None:
        self.ready.value = self.random.random() >= self.stall

    def sample(self) -> None:
        valid = int(self.valid.value)
        offer = tuple(int(pin.value) for pin in self.pins) if valid else None
        if self._held.check(valid, int(self.ready.value), offer):
            self.take(*offer)

    def withdrawn(self) -> None:
        """From here on the design may take back what it offered: it was stopped or restarted."""
        self._held.offer = None


class Strobe:
    """Collects what is on some pins whenever `valid` is high."""

    def __init__(self, dut: Any, name: str, pins: tuple[str, ...]) -> None:
        self.valid = getattr(dut, f"{name}__valid")
        self.pins = [getattr(dut, f"{name}__{pin}") for pin in pins]
        self.seen: list[tuple[int, ...]] = []

    def drive(self) -> None:
        pass

    def sample(self) -> None:
        if int(self.valid.value):
            self.seen.append(tuple(int(pin.value) for pin in self.pins))


class Watch:
    """The cycles, as `memory` counts them, in which a pin is high."""

    def __init__(self, pin: Any, memory: "ReadMemory | WriteMemory") -> None:
        self.pin, self.memory = pin, memory
        self.cycles: list[int] = []

    def drive(self) -> None:
        pass

    def sample(self) -> None:
        if int(self.pin.value):
            self.cycles.append(self.memory.cycle)


class Reports:
    """Collects the fields of a packed record (but `valid`) whenever its `valid` is high."""

    def __init__(self, dut: Any, name: str, record: Any) -> None:
        self.pin = getattr(dut, name)
        self.fields = [
            (field.offset, (1 << field.width) - 1) for key, field in record if key != "valid"
        ]
        self.valid = record["valid"].offset
        self.seen: list[tuple[int, ...]] = []

    def drive(self) -> None:
        pass

    def sample(self) -> None:
        word = int(self.pin.value)
        if word >> self.valid & 1:
            self.seen.append(tuple(word >> offset & mask for offset, mask in self.fields))


def payload(instruction: Instruction, position: int) -> int:
    """A unit's command as its stream carries it."""
    word = int.from_bytes(isa.encode(instruction), "little")
    return word | position << isa.INSTRUCTION_BITS


def row_offsets(i: Instruction) -> list[int]:
    """DRAM offset of every row of a transfer, in order."""
    return [
        i.address + line * i.dram_line_stride + row * i.dram_row_stride
        for line in range(i.lines)
        for row in range(i.rows)
    ]


def chip_rows(i: Instruction) -> list[int]:
    """On-chip row of every row of a transfer, in order."""
    return [
        (i.base + line * i.line_stride + row * i.row_stride) % isa.ROW_SPAN
        for line in range(i.lines)
        for row in range(i.rows)
    ]


def random_transfer(rng: random.Random, config: TpuConfig, opcode: Opcode) -> Instruction:
    """A legal LOAD or STORE: any alignment, lanes, strides and size that the bench's DRAM has."""
    limits = {
        Memory.SCRATCHPAD: config.scratchpad_rows,
        Memory.PARAMETERS: config.parameter_subrows,
        Memory.WEIGHTS: isa.ROW_SPAN,
        Memory.LANES: config.lane_rows,
    }
    while True:
        memory = rng.choice(list(Memory)) if opcode is Opcode.LOAD else Memory.SCRATCHPAD
        whole = rng.random() < 0.4
        row_bytes = config.array if whole else rng.randint(1, config.array)
        rows, lines = rng.choice([(1, 1), (rng.randint(1, 24), 1), (rng.randint(1, 9), 3)])
        jump = rng.choice([row_bytes, row_bytes, row_bytes + rng.randint(1, 40), 4099])
        if rng.random() < 0.2:
            jump = -jump
        values = {
            "rows": rows,
            "lines": lines,
            "row_bytes": row_bytes,
            "lane": rng.randint(0, config.array - row_bytes),
            "address": rng.randrange(DRAM_SIZE) & rng.choice([-1, -8, -64]),
            "dram_row_stride": jump,
            "dram_line_stride": rng.choice([rows * row_bytes, rng.randint(-9000, 9000)]),
            "base": rng.randrange(limits[memory]),
            "row_stride": rng.choice([0, 1, 1, 1, 2, 7, isa.ROW_SPAN - 1]),
            "line_stride": rng.choice([rows, rng.randrange(isa.ROW_SPAN)]),
            "memory": memory,
            "fill_others": rng.randint(0, 1),
            "fill": rng.randint(-128, 127),
            "signal": rng.randrange(1 << isa.SEMAPHORES),
            "tag": rng.randrange(1 << 16),
        }
        if opcode is Opcode.STORE:
            values |= {"fill": 0, "fill_others": 0}
        instruction = isa.make(opcode, **values)
        offsets = row_offsets(instruction)
        inside = min(offsets) >= 0 and max(offsets) + row_bytes <= DRAM_SIZE
        # The last row wins where a STORE's rows overlap, but only within a beat is that in doubt.
        if inside and max(chip_rows(instruction)) < limits[memory]:
            return instruction
