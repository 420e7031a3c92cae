"""The counting semaphores: the only thing that orders the four queues among each other."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import Component, In, Out

from hw.tpu.interfaces import Completion
from hw.tpu.isa import SEMAPHORE_MAX, SEMAPHORES, Queue


class Semaphores(Component):
    """Counters, one per semaphore, starting at zero.

    A queue asks with `request_<queue>` for the semaphores in `mask_<queue>`; with `grant_<queue>`,
    in the same cycle, it has taken one from each. Where two queues want the same semaphore in one
    cycle the lower queue number goes first. `completed_<queue>` adds one to each signalled
    semaphore, visible in the next cycle. `overflow` strobes when a count would pass its maximum.
    """

    def __init__(self) -> None:
        members: dict[str, In | Out] = {"overflow": Out(1)}
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
        counts = [Signal(range(SEMAPHORE_MAX + 1), name=f"count_{s}") for s in range(SEMAPHORES)]
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

        over = Signal(SEMAPHORES)
        for number, count in enumerate(counts):
            signals = [
                getattr(self, f"completed_{name}").valid
                & getattr(self, f"completed_{name}").signal[number]
                for name in names
            ]
            change = Signal(name=f"change_{number}")
            total = Signal(range(SEMAPHORE_MAX + len(names) + 1), name=f"total_{number}")
            m.d.comb += [
                change.eq(spoken_for[number] | Cat(signals).any()),
                total.eq(count + sum(signals) - spoken_for[number]),
            ]
            with m.If(change):
                m.d.sync += count.eq(total)
                m.d.comb += over[number].eq(total > SEMAPHORE_MAX)
        m.d.comb += self.overflow.eq(over.any())
        return m
