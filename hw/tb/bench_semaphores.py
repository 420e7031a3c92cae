"""Semaphores against a list of counts: nothing lost, nothing doubled, lower queue first."""

import random
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge

from hw.tb.layouts import pack
from hw.tb.streams import start_clock
from hw.tpu.interfaces import Completion
from hw.tpu.isa import SEMAPHORE_MAX, SEMAPHORES, Queue
from hw.tpu.semaphores import Semaphores

NAMES = [queue.name.lower() for queue in Queue]


def component() -> Semaphores:
    return Semaphores()


class Model:
    """The counts, and one cycle of every pin."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.counts = [0] * SEMAPHORES

    async def cycle(self, masks: dict[str, int], signals: dict[str, int]) -> dict[str, bool]:
        """Requests by queue and completions by queue; who was granted."""
        dut = self.dut
        for name in NAMES:
            getattr(dut, f"request_{name}").value = int(name in masks)
            getattr(dut, f"mask_{name}").value = masks.get(name, random.getrandbits(SEMAPHORES))
            getattr(dut, f"completed_{name}").value = pack(
                Completion.as_shape(),
                valid=name in signals,
                signal=signals.get(name, random.getrandbits(SEMAPHORES)),
            )
        await FallingEdge(dut.clk)
        assert int(dut.overflow.value) == sum(
            1 << s for s, count in enumerate(self.counts) if count > SEMAPHORE_MAX
        )
        grants, spoken_for = {}, 0
        for name in NAMES:
            mask = masks.get(name, 0)
            free = all(self.counts[s] for s in range(SEMAPHORES) if mask >> s & 1)
            grants[name] = name in masks and free and not mask & spoken_for
            got = bool(int(getattr(dut, f"grant_{name}").value))
            assert got == grants[name], f"{name}: grant {got} at {self.counts}"
            if got:
                spoken_for |= mask
        for s in range(SEMAPHORES):
            self.counts[s] += sum(signal >> s & 1 for signal in signals.values())
            self.counts[s] -= spoken_for >> s & 1
        await RisingEdge(dut.clk)
        return grants


def idle(dut: Any) -> None:
    for name in NAMES:
        getattr(dut, f"request_{name}").value = 0
        getattr(dut, f"completed_{name}").value = 0


def few(most: int) -> int:
    return sum(1 << s for s in random.sample(range(SEMAPHORES), random.randint(0, most)))


@cocotb.test
@cocotb.parametrize(("signalling", [0.2, 0.5]), ("semaphores", [3, SEMAPHORES]))
async def counts_are_kept(dut: Any, signalling: float, semaphores: int) -> None:
    """All queues request and complete at random; then what is left is counted by taking it."""
    idle(dut)
    await start_clock(dut)
    model = Model(dut)
    used = (1 << semaphores) - 1
    waiting: dict[str, int] = {}
    granted = 0
    for _ in range(2000):
        for name in NAMES:
            if name not in waiting and random.random() < 0.7:
                waiting[name] = few(3) & used
        signals = {name: few(4) & used for name in NAMES if random.random() < signalling}
        if max(model.counts) > SEMAPHORE_MAX - len(NAMES):
            signals = {}
        for name, got in (await model.cycle(waiting, signals)).items():
            if got:
                del waiting[name]
                granted += 1
    assert granted > 500
    for s in range(SEMAPHORES):
        left = model.counts[s]
        for _ in range(left):
            assert (await model.cycle({"store": 1 << s}, {}))["store"]
        assert not (await model.cycle({"store": 1 << s}, {}))["store"]


@cocotb.test
async def overflow_is_told(dut: Any) -> None:
    """`overflow` exactly when a count has passed its maximum, by any number of signals."""
    for number in range(1, len(NAMES) + 1):
        idle(dut)
        await start_clock(dut)
        model = Model(dut)
        s = random.randrange(SEMAPHORES)
        signals = dict.fromkeys(NAMES[:number], 1 << s)
        while model.counts[s] + number <= SEMAPHORE_MAX:
            await model.cycle({}, signals)
        while model.counts[s] < SEMAPHORE_MAX:
            await model.cycle({}, {NAMES[0]: 1 << s})
        # one in, one out at the maximum is no overflow
        await model.cycle({"load": 1 << s}, {"store": 1 << s})
        await model.cycle({}, {"vector": 1 << s})
        assert model.counts[s] == SEMAPHORE_MAX + 1
        await model.cycle({}, {})
