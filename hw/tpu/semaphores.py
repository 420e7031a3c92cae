"""The counting semaphores: the only thing that orders the four queues among each other."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from hw.tpu.interfaces import Completion
from hw.tpu.isa import SEMAPHORE_MAX, SEMAPHORES, Queue


class Semaphores(Component):
    """Counters, one per semaphore, starting at zero.

    A queue asks with `request_<queue>` for the semaphores in `mask_<queue>`; with `grant_<queue>`,
    in the same cycle, it has taken one from each. Where two queues want the same semaphore in one
    cycle the lower queue number goes first. `completed_<queue>` adds one to each signalled
    semaphore, visible in the next cycle, as is `overflow`: a bit for each semaphore whose count has
    passed its maximum. What the counts are after that has no meaning until reset.
    `maximum` is one less than a power of two, at least 3.
    """

    def __init__(self, maximum: int = SEMAPHORE_MAX) -> None:
        self.maximum = maximum
        members: dict[str, In | Out] = {"overflow": Out(SEMAPHORES)}
        for queue in Queue:
            name = queue.name.lower()
            members |= {
                f"request_{name}": In(1),
                f"mask_{name}": In(SEMAPHORES),
                f"grant_{name}": Out(1),
                f"completed_{name}": In(Completion),
            }
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        names = [queue.name.lower() for queue in Queue]
        # one bit more than a legal count needs tells the overflow
        counts = [Signal(range(2 * self.maximum), name=f"count_{s}") for s in range(SEMAPHORES)]
        available = Signal(SEMAPHORES)
        m.d.comb += available.eq(Cat(count.any() for count in counts))

        taken = []
        spoken_for = Signal(SEMAPHORES, name="spoken_for_by_nobody")
        for name in names:
            request, mask = getattr(self, f"request_{name}"), getattr(self, f"mask_{name}")
            grant = getattr(self, f"grant_{name}")
            m.d.comb += grant.eq(request & ~(mask & (~available | spoken_for)).any())
            mine = Signal(SEMAPHORES, name=f"taken_{name}")
            m.d.comb += mine.eq(mask & grant.replicate(SEMAPHORES))
            taken.append(mine)
            wanted = Signal(SEMAPHORES, name=f"spoken_for_{name}")
            m.d.comb += wanted.eq(spoken_for | mine)
            spoken_for = wanted

        added = []
        for name in names:
            completed = getattr(self, f"completed_{name}")
            signals = Signal(SEMAPHORES, name=f"added_{name}")
            m.d.comb += signals.eq(Mux(completed.valid, completed.signal, 0))
            added.append(signals)
        changing = Signal(SEMAPHORES)
        m.d.comb += changing.eq(reduce(or_, added, spoken_for))
        for number, count in enumerate(counts):
            with m.If(changing[number]):
                total = count + sum(signals[number] for signals in added) - spoken_for[number]
                m.d.sync += count.eq(total)
        m.d.comb += self.overflow.eq(Cat(count[-1] for count in counts))
        return m
