"""Semaphores: no count lost, doubled or taken from nothing; the lowest queue first."""

from __future__ import annotations

from amaranth.hdl import Cat

from hw.tpu.isa import SEMAPHORES, Queue
from hw.tpu.semaphores import Semaphores
from tests.verification.formal.harness import Formal, Property, Subject, pick
from tests.verification.formal.seeds import Seed

MAXIMUM = 7
"""A small one, so that an overflow is near; the width of the counters is all that it changes."""
MODULE = "hw.tpu.semaphores"


def build(f: Formal) -> None:
    f.m.submodules.dut = dut = Semaphores(MAXIMUM)
    f.feed(dut)
    names = [queue.name.lower() for queue in Queue]
    requests, masks, grants, completed = (
        [getattr(dut, f"{what}_{name}") for name in names]
        for what in ("request", "mask", "grant", "completed")
    )
    counts = [f.peek(f"dut.count_{s}", range(2 * MAXIMUM)) for s in range(SEMAPHORES)]
    # one semaphore, whichever
    which = f.constant("which", range(SEMAPHORES))
    count = pick(counts, which)
    takes = [grant & mask.bit_select(which, 1) for grant, mask in zip(grants, masks, strict=True)]
    adds = [c.valid & c.signal.bit_select(which, 1) for c in completed]
    given, taken = sum(adds), sum(takes)
    value = f.count("value", 12, given, taken)
    # a count beyond its maximum ends the program: what follows has no meaning
    over = f.latch("over", dut.overflow.any())

    f.check("kept", count == value, when=~over, reached=~over & (value == 3))
    f.check("not_from_nothing", value >= taken, when=(taken != 0) & ~over)
    f.check("one_taker", taken <= 1, when=takes[0] | takes[3], reached=takes[3])
    f.check("only_on_request", requests[2] & ~grants[1], when=grants[2] & ~requests[1])
    available = Cat(each != 0 for each in counts)
    below = grants[0].replicate(SEMAPHORES) & masks[0] | grants[1].replicate(SEMAPHORES) & masks[1]
    f.check(
        "refused_for_a_reason",
        (masks[2] & (~available | below)).any(),
        when=requests[2] & ~grants[2],
    )
    f.check(
        "lowest_first",
        grants[1],
        when=requests[1]
        & requests[3]
        & ~requests[0]
        & (masks[1] == masks[3])
        & ((masks[1] & available) == masks[1]),
    )
    f.check("overflow_told", dut.overflow.bit_select(which, 1), when=(value > MAXIMUM) & ~over)
    f.check(
        "no_false_alarm",
        ~dut.overflow.bit_select(which, 1),
        when=count <= MAXIMUM,
    )


SUBJECT = Subject(
    "semaphores",
    f"Semaphores, all {SEMAPHORES}, counts up to {MAXIMUM}",
    build,
    {
        "kept": Property(
            "a count is what was signalled less what was taken: none lost, none doubled",
            Seed(MODULE, "reduce(or_, added, spoken_for)", "reduce(or_, added[1:], spoken_for)"),
        ),
        "not_from_nothing": Property(
            "nothing is taken from an empty semaphore",
            Seed(MODULE, "(~available | spoken_for)", "spoken_for"),
        ),
        "one_taker": Property(
            "in one cycle one queue at most takes from a semaphore",
            Seed(MODULE, "(~available | spoken_for)", "~available"),
        ),
        "only_on_request": Property(
            "who does not ask gets no grant",
            Seed(MODULE, "grant.eq(request & ~", "grant.eq(~"),
        ),
        "refused_for_a_reason": Property(
            "a request is refused only if a semaphore is empty or goes to a lower queue",
            Seed(
                MODULE,
                "(mask & (~available | spoken_for)).any()",
                "(~available | spoken_for).any()",
            ),
        ),
        "lowest_first": Property(
            "of two queues that want the same semaphores the lower one goes first",
            Seed(
                MODULE, "m.d.comb += wanted.eq(spoken_for | mine)", "m.d.comb += wanted.eq(~mine)"
            ),
        ),
        "overflow_told": Property(
            "a count beyond its maximum is told in the next cycle, and whose it is",
            Seed(
                MODULE,
                "Cat(count[-1] for count in counts)",
                "Cat(count[-1] for count in counts[:15])",
            ),
        ),
        "no_false_alarm": Property(
            "a count within its range raises no overflow of its semaphore",
            Seed(
                MODULE, "Cat(count[-1] for count in counts)", "Cat(count[-2] for count in counts)"
            ),
        ),
    },
    horizon=7,
)
