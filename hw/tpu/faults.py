"""One report out of many: the fault that the core stops for, and whom to blame for a deadlock."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out

from hw.tpu.interfaces import POSITION_BITS, Fault, FaultReport
from hw.tpu.isa import SEMAPHORES, Queue


class FaultCollector(Component):
    """`first` is one of this cycle's faults: a unit's before the dispatcher's before fetch's.

    `overflow` (a bit per semaphore) becomes the report's detail; its position is that of the next
    instruction to be dispatched, for completions do not say whose they are. `stuck` names the first
    queue's head that waits for a semaphore, else the next instruction.
    """

    def __init__(self) -> None:
        members: dict[str, In | Out] = {
            "fetch": In(FaultReport),
            "dispatcher": In(FaultReport),
            "overflow": In(SEMAPHORES),
            "next_position": In(POSITION_BITS),
            "first": Out(FaultReport),
            "stuck": Out(FaultReport),
        }
        for queue in Queue:
            name = queue.name.lower()
            members |= {
                f"unit_{name}": In(FaultReport),
                f"waiting_{name}": In(1),
                f"head_position_{name}": In(POSITION_BITS),
                f"head_tag_{name}": In(16),
            }
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        names = [queue.name.lower() for queue in Queue]
        with m.If(self.overflow.any()):
            m.d.comb += [
                self.first.valid.eq(1),
                self.first.code.eq(Fault.SEMAPHORE_OVERFLOW),
                self.first.position.eq(self.next_position),
                self.first.detail.eq(self.overflow),
            ]
        units = (getattr(self, f"unit_{name}") for name in names)
        for report in (self.fetch, self.dispatcher, *units):
            with m.If(report.valid):
                m.d.comb += self.first.eq(report)
        m.d.comb += self.stuck.position.eq(self.next_position)
        for name in reversed(names):
            with m.If(getattr(self, f"waiting_{name}")):
                m.d.comb += [
                    self.stuck.position.eq(getattr(self, f"head_position_{name}")),
                    self.stuck.tag.eq(getattr(self, f"head_tag_{name}")),
                ]
        return m
