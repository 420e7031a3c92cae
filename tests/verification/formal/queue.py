"""The instruction queue: nothing lost, doubled or out of order; semaphores taken once each."""

from __future__ import annotations

import dataclasses

from amaranth.hdl import Cat, Mux

from hw.tpu.config import PRESETS
from hw.tpu.isa import Fence
from hw.tpu.queues import CommandQueue
from tests.verification.formal.harness import Formal, Property, Subject
from tests.verification.formal.seeds import Seed

DEPTH = 3
MODULE = "hw.tpu.queues"


def build(f: Formal) -> None:
    # the same class for every format; FENCE has the fewest bits
    config = dataclasses.replace(PRESETS["tiny"], queue_depth=DEPTH)
    f.m.submodules.dut = queue = CommandQueue(config, Fence)
    f.feed(queue)
    decoded, granted = queue.decoded, queue.granted
    f.assume(~queue.grant | queue.request)
    enter, leave = decoded.valid & decoded.ready, granted.valid & granted.ready
    bits = sum(item.bits for item in Fence.fields.values())
    value = Cat(decoded.p.op.as_value()[:bits], decoded.p.position)
    out = Cat(granted.p.op.as_value()[:bits], granted.p.position)
    t = f.track("command", enter, value, leave)
    grants = f.count("grants", 4, queue.grant, leave)

    full = f.peek("dut.full")
    fifo = f.fifo("dut.fifo", DEPTH, len(value))
    f.lemma(t.count == fifo.level + full)
    f.lemma(grants == full)
    where = Mux(full & (t.ahead == 0), out, fifo.at(t.ahead - full))
    f.lemma(~t.chosen | (where == t.value))
    first = t.chosen & (t.ahead == full)

    f.held("held", granted)
    f.check("order", out == t.value, when=t.chosen & leave & (t.ahead == 0))
    f.check("nothing_invented", t.count != 0, when=leave)
    f.check("capacity", decoded.ready, when=t.count == DEPTH - 1)
    f.check("one_grant_each", grants == 1, when=granted.valid)
    f.check("own_semaphores", queue.mask == t.value[8:24], when=queue.request & first)
    f.check(
        "no_needless_wait",
        queue.request,
        when=(t.count > full) & (~granted.valid | granted.ready),
    )
    f.check("waiting", queue.request & ~queue.grant, when=queue.waiting)


SUBJECT = Subject(
    "queue",
    f"CommandQueue, {DEPTH} commands deep",
    build,
    {
        "held": Property(
            "a granted command stays, unchanged, until its unit takes it",
            Seed(MODULE, "(~full | self.granted.ready)", "1"),
        ),
        "order": Property(
            "commands leave in the order in which they came, unchanged",
            Seed(MODULE, "push.position.eq(self.decoded.payload.position)", "push.position.eq(0)"),
        ),
        "nothing_invented": Property(
            "no command leaves that did not come",
            Seed(MODULE, "with m.Elif(self.granted.ready):", "with m.Elif(self.waiting):"),
        ),
        "capacity": Property(
            "a queue that is not full takes a command",
            Seed(MODULE, "self.decoded.ready.eq(fifo.w_rdy)", "self.decoded.ready.eq(~fifo.r_rdy)"),
        ),
        "one_grant_each": Property(
            "each command leaves after exactly one grant",
            Seed(MODULE, "with m.If(self.grant):", "with m.If(self.request):"),
        ),
        "own_semaphores": Property(
            "the semaphores asked for are those of the command at the head",
            Seed(MODULE, "self.mask.eq(head.op.wait)", "self.mask.eq(head.op.signal)"),
        ),
        "no_needless_wait": Property(
            "a command at the head asks as soon as the gate is free or becomes free",
            Seed(MODULE, "(~full | self.granted.ready)", "~full"),
        ),
        "waiting": Property(
            "the queue says that it waits only when it asked and got no grant",
            Seed(MODULE, "waiting.eq(self.request & ~self.grant)", "waiting.eq(fifo.r_rdy)"),
        ),
    },
)
