"""The fault collector against its order of precedence, every report and position at random."""

import random
from typing import Any

import cocotb
from cocotb.triggers import Timer

from hw.tb.layouts import pack, unpack
from hw.tpu.faults import FaultCollector
from hw.tpu.interfaces import POSITION_BITS, FaultReport
from hw.tpu.isa import SEMAPHORES, Queue
from hw.tpu.registers import Error

QUEUES = [queue.name.lower() for queue in Queue]
REPORT = FaultReport.as_shape()
SOURCES = ("fetch", "dispatcher", *(f"unit_{name}" for name in QUEUES))
"""In rising precedence."""


def component() -> FaultCollector:
    return FaultCollector()


def random_report(share: float) -> dict[str, int]:
    return {
        "valid": int(random.random() < share),
        "code": int(random.choice(list(Error))),
        "position": random.getrandbits(POSITION_BITS),
        "tag": random.getrandbits(16),
        "detail": random.getrandbits(32),
    }


@cocotb.test
async def one_report_out_of_many(dut: Any) -> None:
    """Breaks if a fault is lost or mixed with another one's fields, or a deadlock misattributed."""
    for _ in range(2000):
        share = random.choice((0.0, 0.2, 0.8))
        reports = {name: random_report(share) for name in SOURCES}
        for name, report in reports.items():
            getattr(dut, name).value = pack(REPORT, **report)
        overflow = random.getrandbits(SEMAPHORES) if random.random() < share else 0
        following = random.getrandbits(POSITION_BITS)
        dut.overflow.value, dut.next_position.value = overflow, following
        heads = {
            name: (int(random.random() < 0.4), random.getrandbits(24), random.getrandbits(16))
            for name in QUEUES
        }
        for name, (waiting, position, tag) in heads.items():
            getattr(dut, f"waiting_{name}").value = waiting
            getattr(dut, f"head_position_{name}").value = position
            getattr(dut, f"head_tag_{name}").value = tag
        await Timer(1, unit="ns")
        first = {name: 0 for name in reports["fetch"]}
        if overflow:
            first |= {"valid": 1, "code": Error.SEMAPHORE_OVERFLOW, "position": following}
            first["detail"] = overflow
        for name in SOURCES:
            if reports[name]["valid"]:
                first = reports[name]
        assert unpack(REPORT, int(dut.first.value)) == first
        stuck = next((head[1:] for head in heads.values() if head[0]), (following, 0))
        found = unpack(REPORT, int(dut.stuck.value))
        assert (found["position"], found["tag"]) == stuck
