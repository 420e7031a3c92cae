"""CommandQueue: in order, each command once, none without its semaphores."""

import random
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge

from hw.tb.layouts import pack, unpack
from hw.tb.runner import parameter
from hw.tb.streams import StreamDriver, StreamMonitor, start_clock
from hw.tpu import isa
from hw.tpu.config import PRESETS
from hw.tpu.interfaces import command
from hw.tpu.isa import SEMAPHORES, Opcode
from hw.tpu.queues import CommandQueue

CASES = {
    opcode.name.lower(): (
        lambda opcode=opcode: CommandQueue(PRESETS["tiny"], isa.FORMATS[opcode]),
        {"opcode": opcode.value},
    )
    for opcode in (Opcode.LOAD, Opcode.MATMUL)
}


def random_commands(fmt: type[isa.Format], count: int) -> list[int]:
    """Every bit that the format has at random; the reserved ones are zero by then."""
    used = sum(item.bits for item in fmt.fields.values())
    return [
        pack(command(fmt), op=random.getrandbits(used), position=random.getrandbits(24))
        for _ in range(count)
    ]


@cocotb.test
@cocotb.parametrize(
    ("source", [0.0, 0.6]), ("sink", [0.0, 0.6]), ("granting", [1.0, 0.3])
)  # fmt: skip
async def in_order_and_granted(dut: Any, source: float, sink: float, granting: float) -> None:
    """Breaks if a command overtakes, passes without its grant, or changes while it waits."""
    fmt = isa.FORMATS[Opcode(int(parameter("opcode")))]
    commands = random_commands(fmt, 150)
    heads = [unpack(command(fmt), word) for word in commands]
    dut.grant.value = 0
    dut.decoded__valid.value = 0
    await start_clock(dut)
    monitor = StreamMonitor(dut, "granted", stall=sink)
    cocotb.start_soon(StreamDriver(dut, "decoded", stall=source).send(commands))
    grants: list[int] = []
    cycle = 0
    while len(monitor.received) < len(commands):
        await FallingEdge(dut.clk)
        cycle += 1
        assert cycle < 10_000
        # what was granted up to the cycle before is all that can have come out
        assert len(monitor.received) <= len(grants) <= len(monitor.received) + 2
        dut.grant.value = 0
        if not int(dut.request.value):
            continue
        word = heads[len(grants)]["op"]
        assert int(dut.mask.value) == word >> 8 & (1 << SEMAPHORES) - 1
        assert int(dut.head_position.value) == heads[len(grants)]["position"]
        assert int(dut.head_tag.value) == word >> 8 + 2 * SEMAPHORES & 0xFFFF
        if random.random() < granting:
            dut.grant.value = 1
            grants.append(cycle)
    assert monitor.received == commands
    if source == sink == 0 and granting == 1:
        # semaphores are fetched ahead: one command per cycle
        assert monitor.cycles[-1] - monitor.cycles[0] == len(commands) - 1


@cocotb.test
async def waiting_means_a_missing_semaphore(dut: Any) -> None:
    """`waiting` drives counters and the watchdog's verdict: only with a head and no grant."""
    fmt = isa.FORMATS[Opcode(int(parameter("opcode")))]
    dut.grant.value = 0
    dut.decoded__valid.value = 0
    dut.granted__ready.value = 0
    await start_clock(dut)
    for _ in range(3):
        await FallingEdge(dut.clk)
        assert not int(dut.waiting.value) and not int(dut.request.value)
    await StreamDriver(dut, "decoded", stall=0).send(random_commands(fmt, 2))
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    assert int(dut.request.value) and int(dut.waiting.value)
    dut.grant.value = 1
    await FallingEdge(dut.clk)
    # the gate is full and nobody takes: the next head does not even ask
    dut.grant.value = 0
    assert int(dut.granted__valid.value)
    await FallingEdge(dut.clk)
    assert not int(dut.request.value) and not int(dut.waiting.value)
