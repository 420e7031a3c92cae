"""The read queue: room for every beat that is asked for, beats in order, all of them given."""

from __future__ import annotations

from amaranth.hdl import Cat, Mux

from hw.tpu.dma.read_queue import ReadQueue
from tests.verification.formal.harness import Formal, Property, Subject
from tests.verification.formal.seeds import Seed
from tests.verification.formal.sizes import SMALL

DEPTH = 5
MODULE = "hw.tpu.dma.read_queue"


def build(f: Formal) -> None:
    f.m.submodules.dut = dut = ReadQueue(SMALL, DEPTH)
    f.feed(dut)
    bursts, request, response, beats = dut.bursts, dut.requests, dut.response, dut.beats
    beat = Cat(response.data, response.error)
    f.assume_held("bursts", bursts)
    f.assume((bursts.p.beats >= 1) & (bursts.p.beats <= SMALL.burst_beats))
    asked = request.valid & request.ready
    # beats accepted by the bus and not answered yet
    coming = f.count("coming", 6, Mux(asked, request.p.beats, 0), response.valid)
    f.assume(~response.valid | (coming != 0))

    free = f.peek("dut.free", range(DEPTH + 1))
    fifo = f.fifo("dut.fifo!", DEPTH - 1, len(beat))
    front, front_valid = f.peek("dut.fifo.r_data", len(beat)), f.peek("dut.fifo.r_rdy")
    entering = response.valid & ~dut.stop
    leaving = front_valid & (beats.ready | dut.stop)
    t = f.track("beat", entering, beat, leaving)
    pending = Mux(request.valid, request.p.beats, 0)
    f.lemma(t.count == fifo.level + front_valid)
    f.lemma(free + t.count + coming + pending == DEPTH)
    f.lemma(~request.valid | ((request.p.beats >= 1) & (request.p.beats <= SMALL.burst_beats)))
    where = Mux(front_valid & (t.ahead == 0), front, fifo.at(t.ahead - front_valid))
    f.lemma(~t.chosen | (where == t.value))

    given = beats.valid & beats.ready
    f.held("request_held", request)
    kept = f.past(beats.valid & ~beats.ready, "kept") & ~dut.stop
    f.check(
        "beat_held",
        beats.valid & (beats.payload.as_value() == f.past(beats.payload, "b")),
        when=kept,
    )
    f.check("room", f.peek("dut.fifo.w_rdy"), when=entering)
    f.check("order", beats.payload.as_value() == t.value, when=given & t.chosen & (t.ahead == 0))
    f.check("nothing_invented", t.count != 0, when=given)
    # the register in front of the buffer is filled a cycle later
    f.check(
        "given",
        beats.valid,
        when=(f.past(t.count, "c") != 0) & (t.count != 0) & ~dut.stop & ~f.past(leaving, "l"),
    )
    under_way = t.count + coming + pending
    f.check("quiet", dut.quiet == (under_way == 0), reached=dut.quiet & f.latch("a", asked))
    f.check("stop", ~(bursts.valid & bursts.ready) & ~beats.valid, when=dut.stop & bursts.valid)
    f.check(
        "asks_when_it_fits",
        bursts.ready,
        when=(under_way == 0) & bursts.valid & ~dut.stop,
    )


SUBJECT = Subject(
    "read queue",
    f"ReadQueue, {DEPTH} beats deep, bursts of 1 to {SMALL.burst_beats}",
    build,
    {
        "request_held": Property(
            "a request stays, unchanged, until the arbiter takes it",
            Seed(MODULE, "(~valid | request.ready)", "1"),
        ),
        "beat_held": Property(
            "a beat on offer stays, unchanged, unless the queue is stopped",
            Seed(MODULE, "fifo.r_en.eq(self.beats.ready | self.stop)", "fifo.r_en.eq(1)"),
        ),
        "room": Property(
            "every beat that arrives finds room",
            Seed(MODULE, "- Mux(take, wanted.beats, 0)", "- Mux(take, 1, 0)"),
        ),
        "order": Property(
            "beats are given in the order in which they arrive, unchanged",
            Seed(
                MODULE, "Cat(self.response.data, self.response.error)", "Cat(self.response.data, 0)"
            ),
        ),
        "nothing_invented": Property(
            "no beat is given that did not arrive",
            Seed(
                MODULE,
                "self.beats.valid.eq(fifo.r_rdy & ~self.stop)",
                "self.beats.valid.eq(~self.stop)",
            ),
        ),
        "given": Property(
            "a beat that waits is offered at the latest in the second cycle",
            Seed(MODULE, "eq(fifo.r_rdy & ~self.stop)", "eq(fifo.r_rdy & ~self.stop & ~valid)"),
        ),
        "quiet": Property(
            "quiet exactly when nothing is asked for, on its way or waiting",
            Seed(MODULE, "self.quiet.eq(~valid & (free == self.depth))", "self.quiet.eq(~valid)"),
        ),
        "stop": Property(
            "a stopped queue takes no burst and gives no beat",
            Seed(MODULE, "(free >= wanted.beats) & ~self.stop", "(free >= wanted.beats)"),
        ),
        "asks_when_it_fits": Property(
            "an empty queue takes any burst",
            Seed(MODULE, "dropped.eq(self.response.valid & self.stop)", "dropped.eq(0)"),
        ),
    },
)
