"""The observer against a plain count: increments of a cycle, trace of the next."""

import random
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge

from hw.tb.layouts import unpack
from hw.tb.streams import start_clock
from hw.tpu.control import increments
from hw.tpu.isa import Queue
from hw.tpu.observe import Observer
from hw.tpu.trace import COUNT_BITS, TRACE, ArrayState

QUEUES = [queue.name.lower() for queue in Queue]
COUNTS = [f"{queue}_{what}" for queue in QUEUES for what in ("started", "done")]


def component() -> Observer:
    return Observer()


def expected_increments(pins: dict[str, int]) -> dict[str, int]:
    """What the host's counters grow by, by the names of `registers.COUNTERS`."""
    waits = pins["waiting_matmul"] and not pins["streaming"] and not pins["starving"]
    return {
        "cycles": 1,
        "array_active": pins["streaming"],
        "useful_macs": pins["macs"],
        "weight_stall": pins["starving"],
        "input_stall": int(waits),
        "vector_busy": pins["vector_busy"],
        "vector_stall": pins["vector_stalled"],
        "load_wait": pins["waiting_load"],
        "vector_wait": pins["waiting_vector"],
        "store_wait": pins["waiting_store"],
        "dram_read_beats": pins["read_beat"],
        "dram_write_beats": pins["write_beat"],
        "read_wait": int(pins["read_outstanding"] and not pins["read_beat"]),
        "instructions": pins["dispatched"],
    }


def expected_state(pins: dict[str, int]) -> ArrayState:
    if pins["streaming"]:
        return ArrayState.STREAMING
    if pins["starving"]:
        return ArrayState.WAITING_FOR_WEIGHTS
    return ArrayState.WAITING_FOR_SEMAPHORE if pins["waiting_matmul"] else ArrayState.IDLE


@cocotb.test
async def counts_and_shows(dut: Any) -> None:
    """Breaks if a strobe counts for another counter, queue or state; counts wrap at 16 bits."""
    for name in ("clear", "macs", *Observer.STROBES):
        getattr(dut, name).value = 0
    await start_clock(dut)
    strobes = [*Observer.STROBES]
    strobes += [f"{what}_{queue}" for what in ("waiting", "started", "done") for queue in QUEUES]
    counts, modulus = dict.fromkeys(COUNTS, 0), 1 << COUNT_BITS
    state: ArrayState | None = None
    for cycle in range(900):
        share = random.choice((0.1, 0.5, 0.9))
        pins = {name: int(random.random() < share) for name in strobes}
        pins |= {"macs": random.getrandbits(18), "clear": int(cycle % 50 == 0)}
        if cycle % 7 == 3:  # far up, where counting alone comes after a long program
            for name in COUNTS:
                counts[name] = random.choice((modulus - 1, 0, random.getrandbits(COUNT_BITS)))
                getattr(dut, name).value = counts[name]
        for name, value in pins.items():
            getattr(dut, name).value = value
        await FallingEdge(dut.clk)
        assert unpack(increments(), int(dut.increments.value)) == expected_increments(pins)
        shown = unpack(TRACE, int(dut.trace_o.value))
        assert {name: shown[name] for name in COUNTS} == counts
        assert state is None or shown["array"] == state
        await RisingEdge(dut.clk)
        state = expected_state(pins)
        for name in COUNTS:
            queue, what = name.rsplit("_", 1)
            grown = (counts[name] + pins[f"{what}_{queue}"]) % modulus
            counts[name] = 0 if pins["clear"] else grown
