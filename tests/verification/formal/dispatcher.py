"""Dispatch: each word once to its queue, FENCE and HALT behind all, nothing after a fault."""

from __future__ import annotations

from amaranth.hdl import Cat, Signal
from amaranth.lib import data

from hw.tpu import isa
from hw.tpu.dispatch import MOST_IN_FLIGHT, Dispatcher, queue_formats
from hw.tpu.interfaces import Fault
from hw.tpu.isa import Opcode
from tests.verification.formal.harness import Formal, Property, Subject
from tests.verification.formal.seeds import Seed
from tests.verification.formal.sizes import SMALL

MODULE = "hw.tpu.dispatch"


def build(f: Formal) -> None:
    m = f.m
    m.submodules.dut = dut = Dispatcher(SMALL)
    f.feed(dut, "length")
    length = f.constant("length", 24)
    m.d.comb += dut.length.eq(length)
    words = dut.words
    word, opcode = words.p.word, words.p.word[:8]
    f.assume_held("words", words)
    # fetch numbers its words, and gives no more than the program has
    number = f.count("number", 24, words.valid & words.ready)
    f.assume(~words.valid | ((words.p.position == number) & (number != length)))

    formats = queue_formats()
    names = [queue.name.lower() for queue in formats]
    targets = [getattr(dut, f"to_{name}") for name in names]
    done = [getattr(dut, f"completed_{name}").valid for name in names]
    sent = [target.valid & target.ready for target in targets]
    flying = [f.count(f"flying_{n}", 10, s, d) for n, s, d in zip(names, sent, done, strict=True)]
    for name, count, finished, begun in zip(names, flying, done, sent, strict=True):
        f.assume(~finished | (count != 0))
        f.assume(~begun | (count < MOST_IN_FLIGHT - 1))
        f.lemma(f.peek(f"dut.{name}_in_flight", 10) == count)
    nothing = Cat(count == 0 for count in flying).all()
    take = words.valid & words.ready
    halting = take & (opcode == Opcode.HALT)
    halted = f.latch("halted", halting)
    broken = f.latch("broken", dut.fault.valid)
    f.lemma(dut.halted == halted)
    f.lemma(f.peek("dut.broken") == broken)
    f.lemma(dut.next_position == number)
    control = (opcode == Opcode.FENCE) | (opcode == Opcode.HALT)

    several = Cat(targets[n].valid & targets[k].valid for n in range(4) for k in range(n))
    f.check("one_queue", ~several.any(), when=targets[3].valid)
    right = Cat(
        ~t.valid | ((opcode == fmt.code) & (t.p.op.as_value() == word) & (t.p.position == number))
        for t, fmt in zip(targets, formats.values(), strict=True)
    )
    f.check("own_queue", right.all(), when=Cat(sent).any())
    f.check("each_once", sum(sent) + (take & control) == 1, when=take)
    f.check("not_without_word", take, when=Cat(sent).any())
    f.check(
        "fence_waits",
        nothing,
        when=take & (opcode == Opcode.FENCE),
        reached=take & (opcode == Opcode.FENCE) & (number == 2),
    )
    f.check("halt_waits", nothing, when=halting, reached=halting & (number == 2))
    f.check("halt_ends", ~take & ~Cat(sent).any() & ~dut.fault.valid, when=halted)
    f.check("fault_ends", ~take & ~Cat(sent).any() & ~dut.fault.valid, when=broken)
    f.check("idle", dut.idle == nothing, reached=dut.idle & (number == 2))
    known = Cat(opcode == code for code in isa.FORMATS).any()
    f.check("no_unknown_opcode", known, when=take)
    load = data.View(isa.Load.layout, word)
    whole = (load.rows != 0) & (load.row_bytes != 0) & (load.zero == 0)
    f.check("no_empty_load", whole, when=sent[0])
    rest = data.View(isa.Fence.layout, word)
    f.check("bare_fence", (rest.wait == 0) & (rest.signal == 0), when=take & control)
    f.check("fault_named", dut.fault.position == number, when=dut.fault.valid)
    unknown = words.valid & ~known & ~halted & ~broken
    f.check("unknown_told", dut.fault.code == Fault.ILLEGAL_INSTRUCTION, when=unknown)
    over = dut.running & (number == length) & nothing & ~halted & ~broken
    f.check("missing_halt_told", dut.fault.valid & (dut.fault.code == Fault.NO_HALT), when=over)
    ready = Signal()
    m.d.comb += ready.eq(targets[3].valid & targets[3].ready)
    f.check("no_needless_wait", take, when=ready)


SUBJECT = Subject(
    "dispatcher",
    "Dispatcher, all words",
    build,
    {
        "one_queue": Property(
            "a word is offered to one queue at most",
            Seed(
                MODULE,
                "(word[:8] == fmt.code)",
                "(word[0] == fmt.code & 1)",
            ),
        ),
        "own_queue": Property(
            "a queue takes only instructions of its own, unchanged, with their number",
            Seed(
                MODULE,
                "target.payload.position.eq(position)",
                "target.payload.position.eq(position[1:])",
            ),
        ),
        "each_once": Property(
            "a word that is taken goes to one queue, or is FENCE or HALT",
            Seed(MODULE, "take.eq(good & accept)", "take.eq(good)"),
        ),
        "not_without_word": Property(
            "no queue gets an instruction whose word is not taken in that cycle",
            Seed(
                MODULE,
                "m.d.comb += accept.eq(target.ready)",
                "m.d.comb += accept.eq(target.ready & self.idle)",
            ),
        ),
        "fence_waits": Property(
            "FENCE is taken only when every instruction before it has completed",
            Seed(
                MODULE,
                "m.d.comb += accept.eq(self.idle)",
                "m.d.comb += accept.eq(self.idle | (fmt is isa.Fence))",
            ),
        ),
        "halt_waits": Property(
            "HALT is taken only when every instruction before it has completed",
            Seed(
                MODULE,
                "m.d.comb += accept.eq(self.idle)",
                "m.d.comb += accept.eq(self.idle | (fmt is isa.Halt))",
            ),
        ),
        "halt_ends": Property(
            "after HALT nothing is dispatched and nothing is at fault",
            Seed(MODULE, "looking.eq(~broken & ~self.halted)", "looking.eq(~broken)"),
        ),
        "fault_ends": Property(
            "after a fault nothing is dispatched and no second fault is told",
            Seed(MODULE, "with m.If((bad | ended) & ~broken):", "with m.If(bad | ended):"),
        ),
        "idle": Property(
            "idle exactly when every dispatched instruction has completed",
            Seed(
                MODULE,
                "+ (target.valid & target.ready) - completed.valid",
                "+ target.valid - completed.valid",
            ),
        ),
        "no_unknown_opcode": Property(
            "no word with an unknown opcode is taken",
            Seed(
                MODULE,
                "take.eq(good & accept)",
                "take.eq(self.words.valid & looking & (accept | ~opcode_known))",
            ),
        ),
        "no_empty_load": Property(
            "no LOAD without rows or bytes, or with a reserved bit, reaches its queue",
            Seed(MODULE, "faults.append(value < item.least)", "faults.append(value == 1000)"),
        ),
        "bare_fence": Property(
            "no FENCE or HALT with semaphores is taken",
            Seed(MODULE, "faults += [violated for", "faults = [violated & 0 for"),
        ),
        "fault_named": Property(
            "a fault names the position of the word that was not taken",
            Seed(
                MODULE,
                "m.d.sync += self.next_position.eq(position + 1)",
                "m.d.sync += self.next_position.eq(position + 2)",
            ),
        ),
        "unknown_told": Property(
            "an unknown opcode is told as an illegal instruction",
            Seed(MODULE, "with m.If(opcode_known & is_legal):", "with m.If(~is_legal):"),
        ),
        "missing_halt_told": Property(
            "a program that ends without HALT is told once all is done",
            Seed(
                MODULE,
                "(self.next_position == self.length) & self.idle",
                "(self.next_position > self.length)",
            ),
        ),
        "no_needless_wait": Property(
            "a legal word whose queue is ready is taken in that cycle",
            Seed(MODULE, "self.words.ready.eq(take |", "self.words.ready.eq((take & self.idle) |"),
        ),
    },
    horizon=8,
)
