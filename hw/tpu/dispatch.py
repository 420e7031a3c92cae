"""Decode and dispatch: each word is checked, then goes to its queue; FENCE and HALT stay here."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from hw.tpu import isa
from hw.tpu.config import TpuConfig
from hw.tpu.interfaces import FETCHED, POSITION_BITS, Completion, Fault, FaultReport, command
from hw.tpu.isa import Format, Opcode, Queue

MOST_IN_FLIGHT = 1 << 10
"""No queue can hold so many instructions between dispatch and completion."""


def legal(fmt: type[Format], word: Value) -> Value:
    """1 when every field of `word` is inside its range and the format's rules hold."""
    op = data.View(fmt.layout, word)
    faults: list[Value] = [op.zero != 0]
    for name, item in fmt.fields.items():
        value = op[name]
        if name == "opcode":
            continue
        if item.choices is not None:
            if len(item.choices) < 1 << item.bits:
                faults.append(Cat(value == choice for choice in item.choices) == 0)
        elif item.least is not None:
            faults.append(value < item.least)
    faults += [violated for violated, _ in isa.rules(fmt.code, op)]
    return Cat(faults) == 0


def reserved(fmt: type[Format], word: Value) -> Value:
    """1 when `word` asks for something that this hardware does not build."""
    op = data.View(fmt.layout, word)
    return Cat(wanted for wanted, _ in isa.unbuilt_rules(fmt.code, op)) != 0


class Dispatcher(Component):
    """Takes instruction words in order; one per cycle if its queue has room.

    An illegal or unbuilt word is a fault. FENCE holds everything behind it until all dispatched
    instructions have completed; HALT does the same, then raises `halted` until reset. `dispatched`
    strobes per word; `idle` says that nothing is in flight. `words.ready` asks for a word that is
    not there yet, so that fetch can tell of one that it could not read.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        members: dict[str, In | Out] = {
            "words": In(stream.Signature(FETCHED)),
            "length": In(POSITION_BITS),
            "running": In(1),
            "fault": Out(FaultReport),
            "halted": Out(1),
            "idle": Out(1),
            "dispatched": Out(1),
            "next_position": Out(POSITION_BITS),
        }
        for queue, fmt in queue_formats().items():
            members[f"to_{queue.name.lower()}"] = Out(stream.Signature(command(fmt)))
            members[f"completed_{queue.name.lower()}"] = In(Completion)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word, position = self.words.payload.word, self.words.payload.position
        in_flight = {
            queue: Signal(range(MOST_IN_FLIGHT), name=f"{queue.name.lower()}_in_flight")
            for queue in Queue
        }
        broken = Signal()
        m.d.comb += self.idle.eq(~Cat(count.any() for count in in_flight.values()).any())

        opcode_known = Signal()
        is_legal = Signal()
        is_reserved = Signal()
        accept = Signal()
        with m.Switch(word[:8]):
            for opcode, fmt in isa.FORMATS.items():
                with m.Case(opcode):
                    m.d.comb += [
                        opcode_known.eq(1),
                        is_legal.eq(legal(fmt, word)),
                        is_reserved.eq(reserved(fmt, word)),
                    ]
                    if fmt.queue is not None:
                        target = getattr(self, f"to_{fmt.queue.name.lower()}")
                        m.d.comb += accept.eq(target.ready)
                    else:
                        m.d.comb += accept.eq(self.idle)
        looking = Signal()
        good = Signal()
        bad = Signal()
        take = Signal()
        m.d.comb += [
            looking.eq(~broken & ~self.halted),
            bad.eq(self.words.valid & looking & ~(opcode_known & is_legal & ~is_reserved)),
            good.eq(self.words.valid & looking & ~bad),
            take.eq(good & accept),
            self.words.ready.eq(take | (looking & ~self.words.valid)),
            self.dispatched.eq(take),
        ]
        for queue, fmt in queue_formats().items():
            target = getattr(self, f"to_{queue.name.lower()}")
            m.d.comb += [
                target.payload.op.as_value().eq(word),
                target.payload.position.eq(position),
                target.valid.eq(good & (word[:8] == fmt.code)),
            ]
            completed = getattr(self, f"completed_{queue.name.lower()}")
            m.d.sync += in_flight[queue].eq(
                in_flight[queue] + (target.valid & target.ready) - completed.valid
            )
        with m.If(take):
            m.d.sync += self.next_position.eq(position + 1)
            with m.If(word[:8] == Opcode.HALT):
                m.d.sync += self.halted.eq(1)

        ended = Signal()
        m.d.comb += ended.eq(
            self.running & ~self.halted & (self.next_position == self.length) & self.idle
        )
        with m.If((bad | ended) & ~broken):
            m.d.sync += broken.eq(1)
            m.d.comb += [
                self.fault.valid.eq(1),
                self.fault.position.eq(self.next_position),
                self.fault.code.eq(Fault.NO_HALT),
            ]
            with m.If(bad):
                m.d.comb += [
                    self.fault.tag.eq(data.View(isa.Fence.layout, word).tag),
                    self.fault.code.eq(Fault.ILLEGAL_INSTRUCTION),
                ]
                with m.If(opcode_known & is_legal):
                    m.d.comb += self.fault.code.eq(Fault.UNBUILT)
        return m


def queue_formats() -> dict[Queue, type[Format]]:
    """The one format that each queue takes."""
    return {fmt.queue: fmt for fmt in isa.FORMATS.values() if fmt.queue is not None}
