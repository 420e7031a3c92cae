"""Dispatcher, queues and semaphores together: every legal program of some instructions ends.

Legal as the compiler makes programs: executed one after the other nothing ever waits, and a
semaphore is waited for by one queue only. Units are abstract: each takes a command when it is
free and completes it after any time.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Signal, Value

from hw.tpu import isa
from hw.tpu.dispatch import Dispatcher, queue_formats
from hw.tpu.isa import Opcode
from hw.tpu.queues import CommandQueue
from hw.tpu.semaphores import Semaphores
from tests.verification.formal.harness import Formal, Property, Subject, pick
from tests.verification.formal.seeds import Seed
from tests.verification.formal.sizes import SMALL

COUNT = 4
"""Instructions before HALT."""
USED = 2
"""Semaphores that programs use."""
FENCE = 4
"""Kind of an instruction: its queue's number, or this."""
BITS = 3
DEPTH = SMALL.queue_depth
OPCODES = (
    isa.make(Opcode.LOAD),
    isa.make(Opcode.MATMUL),
    isa.make(Opcode.VECTOR, convert=isa.Convert.REQUANTISE),
    isa.make(Opcode.STORE),
    isa.make(Opcode.FENCE),
)


def word(instruction: isa.Instruction) -> int:
    return int.from_bytes(isa.encode(instruction), "little")


def build(f: Formal) -> None:
    m = f.m
    kinds = [f.constant(f"kind{i}", BITS) for i in range(COUNT)]
    waits = [f.constant(f"wait{i}", USED) for i in range(COUNT)]
    signals = [f.constant(f"signal{i}", USED) for i in range(COUNT)]
    final = legal(f, kinds, waits, signals)

    m.submodules.dut = dut = Dispatcher(SMALL)
    m.submodules.semaphores = semaphores = Semaphores(7)
    at = dut.next_position[:BITS]
    words = [
        pick([Const(word(each), isa.INSTRUCTION_BITS) for each in OPCODES], kind)
        | Cat(Const(0, 8), wait, Const(0, 16 - USED), signal)
        for kind, wait, signal in zip(kinds, waits, signals, strict=True)
    ]
    halt = Const(word(isa.make(Opcode.HALT)), isa.INSTRUCTION_BITS)
    m.d.comb += [
        dut.words.valid.eq(at <= COUNT),
        dut.words.p.word.eq(pick([*words, halt], at)),
        dut.words.p.position.eq(dut.next_position),
        dut.length.eq(COUNT + 1),
        dut.running.eq(1),
    ]
    take = dut.words.valid & dut.words.ready

    granted = [Signal(name=f"granted{i}") for i in range(COUNT)]
    accepted = [Signal(name=f"accepted{i}") for i in range(COUNT)]
    done = [Signal(name=f"done{i}") for i in range(COUNT)]
    sent = [Signal(name=f"sent{i}") for i in range(COUNT)]
    with m.If(take):
        for i in range(COUNT):
            with m.If(at == i):
                m.d.sync += sent[i].eq(1)
                with m.If(kinds[i] == FENCE):
                    m.d.sync += [granted[i].eq(1), accepted[i].eq(1), done[i].eq(1)]
    moves: list[Value] = [take]
    again, disorder, over_fence = [], [], []
    for number, (queue, fmt) in enumerate(queue_formats().items()):
        name = queue.name.lower()
        m.submodules[f"{name}_queue"] = one = CommandQueue(SMALL, fmt)
        busy, finish = Signal(name=f"{name}_busy"), f.free(f"{name}_finish")
        working, mask = Signal(BITS, name=f"{name}_working"), Signal(USED, name=f"{name}_mask")
        completed = getattr(dut, f"completed_{name}")
        target = getattr(dut, f"to_{name}")
        m.d.comb += [
            one.decoded.valid.eq(target.valid),
            one.decoded.payload.eq(target.payload),
            target.ready.eq(one.decoded.ready),
            getattr(semaphores, f"request_{name}").eq(one.request),
            getattr(semaphores, f"mask_{name}").eq(one.mask),
            one.grant.eq(getattr(semaphores, f"grant_{name}")),
            one.granted.ready.eq(~busy),
            completed.valid.eq(busy & finish),
            completed.signal.eq(mask),
            getattr(semaphores, f"completed_{name}").eq(completed),
        ]
        accept = one.granted.valid & ~busy
        who, head = one.granted.p.position[:BITS], one.head_position[:BITS]
        with m.If(accept):
            m.d.sync += [busy.eq(1), working.eq(who), mask.eq(one.granted.p.op.signal)]
        with m.If(completed.valid):
            m.d.sync += busy.eq(0)
        for i in range(COUNT):
            with m.If(one.grant & (head == i)):
                m.d.sync += granted[i].eq(1)
            with m.If(accept & (who == i)):
                m.d.sync += accepted[i].eq(1)
            with m.If(completed.valid & (working == i)):
                m.d.sync += done[i].eq(1)
        moves += [one.grant, one.granted.valid, busy]
        again.append(accept & (pick(accepted, who) | (pick(kinds, who) != number)))
        for i in range(COUNT):
            earlier = (who > i) & ~accepted[i] & (kinds[i] == number)
            disorder.append(accept & earlier)
            fenced = [kinds[k] == FENCE for k in range(i + 1, COUNT)]
            for k, fence in enumerate(fenced, i + 1):
                over_fence.append(accept & (who > k) & fence & ~done[i])
        lemmas(
            f,
            number,
            name,
            one,
            busy,
            working,
            mask,
            kinds,
            waits,
            signals,
            sent,
            granted,
            accepted,
            done,
        )

    counts = [f.peek(f"semaphores.count_{s}", 4) for s in range(isa.SEMAPHORES)]
    for s, count in enumerate(counts):
        if s < USED:
            given = sum(done[i] & signals[i][s] for i in range(COUNT))
            taken = sum(granted[i] & waits[i][s] for i in range(COUNT))
            f.lemma(count + taken == given, "count")
        else:
            f.lemma(count == 0, "unused")
    for i in range(COUNT):
        f.lemma(sent[i] == (at > i), "sent")
        f.lemma(
            (~done[i] | accepted[i]) & (~accepted[i] | granted[i]) & (~granted[i] | sent[i]),
            "steps",
        )
        f.lemma(~(kinds[i] == FENCE) | (done[i] == sent[i]), "fence")
        for k in range(i):
            f.lemma(~((kinds[i] == FENCE) & sent[i]) | done[k], "before_fence")
            same = kinds[i] == kinds[k]
            f.lemma(~same | ~granted[i] | accepted[k] | granted[k], "order_granted")
            f.lemma(~same | ~accepted[i] | done[k], "order_accepted")
    f.lemma(at <= COUNT + 1)
    f.lemma(dut.next_position < 8)
    f.lemma(dut.halted == (at == COUNT + 1), "halted")
    f.lemma(~dut.halted | Cat(done).all(), "all")
    f.lemma(~f.peek("dut.broken"), "unbroken")

    f.check("no_deadlock", dut.halted | Cat(moves).any(), reached=dut.halted)
    f.check("no_fault", ~dut.fault.valid & ~semaphores.overflow.any(), reached=dut.halted)
    f.check("each_once", ~Cat(again).any(), when=Cat(accepted).any())
    f.check("in_order", ~Cat(disorder).any(), when=accepted[2])
    f.check("fence_holds", ~Cat(over_fence).any(), when=accepted[3] & (kinds[1] == FENCE))
    left = Cat(count == value for count, value in zip(counts, final, strict=False))
    f.check("ends_as_in_sequence", Cat(done).all() & left.all(), when=dut.halted)


def legal(f: Formal, kinds: list[Value], waits: list[Value], signals: list[Value]) -> list[Value]:
    """Assumes a legal program; the semaphores after its last instruction."""
    counts: list[Value] = [Const(0, 4)] * USED
    for i in range(COUNT):
        f.assume(kinds[i] <= FENCE)
        f.assume((kinds[i] != FENCE) | ((waits[i] == 0) & (signals[i] == 0)))
        for s in range(USED):
            f.assume(~waits[i][s] | (counts[s] != 0))
            counts[s] = (counts[s] + signals[i][s] - waits[i][s])[:4]
            for k in range(i):
                f.assume(~(waits[i][s] & waits[k][s]) | (kinds[i] == kinds[k]))
    return counts


def lemmas(
    f: Formal, number: int, name: str, one, busy, working, mask,
    kinds, waits, signals, sent, granted, accepted, done,
) -> None:  # fmt: skip
    """Where the instructions of one queue are."""
    path = f"{name}_queue"
    bits = sum(item.bits for item in one.fmt.fields.values())
    fifo = f.fifo(f"{path}.fifo", DEPTH, bits + 24)
    mine = [kinds[i] == number for i in range(COUNT)]
    waiting = [mine[i] & sent[i] & ~granted[i] for i in range(COUNT)]
    f.lemma(fifo.level == sum(waiting), "level")
    gate = [mine[i] & granted[i] & ~accepted[i] for i in range(COUNT)]
    f.lemma(one.granted.valid == Cat(gate).any(), "gate")
    working_on = [mine[i] & accepted[i] & ~done[i] for i in range(COUNT)]
    f.lemma(busy == Cat(working_on).any(), "busy")
    f.lemma(sum(gate) <= 1, "one_gate")
    f.lemma(sum(working_on) <= 1, "one_busy")
    flying = sum(mine[i] & sent[i] & ~done[i] for i in range(COUNT))
    f.lemma(f.peek(f"dut.{name}_in_flight", 10) == flying, "flying")
    for i in range(COUNT):
        row = fifo.at(sum(waiting[:i]) if i else Const(0, 3))
        right = (row[8 : 8 + isa.SEMAPHORES] == waits[i]) & (row[24:40] == signals[i])
        f.lemma(~waiting[i] | (right & (row[bits:] == i)), "row")
        held = one.granted.p
        right = (held.op.signal == signals[i]) & (held.position == i)
        f.lemma(~gate[i] | right, "held")
        f.lemma(~working_on[i] | ((working == i) & (mask == signals[i])), "working")


SUBJECT = Subject(
    "deadlock",
    f"Dispatcher, queues and semaphores; programs of {COUNT} instructions and HALT, {USED} "
    f"semaphores, queues {DEPTH} deep, units of any speed",
    build,
    {
        "no_deadlock": Property(
            "until a legal program has halted something can move",
            Seed(
                "hw.tpu.semaphores",
                "reduce(or_, added, spoken_for)",
                "reduce(or_, added[1:], spoken_for)",
            ),
        ),
        "no_fault": Property(
            "a legal program has no fault",
            Seed("hw.tpu.dispatch", "(self.next_position == self.length) & self.idle", "self.idle"),
        ),
        "each_once": Property(
            "a unit gets each instruction of its queue once, and no other",
            Seed("hw.tpu.queues", "with m.Elif(self.granted.ready):", "with m.Elif(self.waiting):"),
        ),
        "in_order": Property(
            "a unit gets its instructions in program order",
            Seed(
                "hw.tpu.queues",
                "push.position.eq(self.decoded.payload.position)",
                "push.position.eq(~self.decoded.payload.position)",
            ),
        ),
        "fence_holds": Property(
            "nothing behind a FENCE starts before everything ahead of it has completed",
            Seed("hw.tpu.dispatch", "m.d.comb += accept.eq(self.idle)", "m.d.comb += accept.eq(1)"),
        ),
        "ends_as_in_sequence": Property(
            "at HALT all is done, and semaphores stand as after execution one by one",
            Seed(
                "hw.tpu.semaphores",
                "(signals[number] for signals in added)",
                "(signals[number] for signals in added[:3])",
            ),
        ),
    },
    horizon=16,
)
