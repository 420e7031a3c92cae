"""The write port: AXI's rules for addresses, data and responses; beats conserved."""

from __future__ import annotations

from amaranth.hdl import Cat, Mux, Signal

from hw.tpu.dma.transfer import OFFSET_BITS
from hw.tpu.dma.write_queue import WriteQueue
from tests.verification.formal.harness import Formal, Property, Subject
from tests.verification.formal.seeds import Seed
from tests.verification.formal.sizes import SMALL

MODULE = "hw.tpu.dma.write_queue"


def build(f: Formal) -> None:
    f.m.submodules.dut = dut = WriteQueue(SMALL)
    f.feed(dut)
    bus, bursts, beats, written = dut.bus, dut.bursts, dut.beats, dut.written
    f.assume_held("bursts", bursts)
    f.assume_held("beats", beats)
    f.assume((bursts.p.beats >= 1) & (bursts.p.beats <= SMALL.burst_beats))
    begin = bursts.valid & bursts.ready
    store = beats.valid & beats.ready
    aw, w = bus.awvalid & bus.awready, bus.wvalid & bus.wready
    b = bus.bvalid & bus.bready
    # bursts whose address and data the memory has taken whole, and not answered
    complete = f.count("complete", 6, w & bus.wlast, b)
    f.assume(~bus.bvalid | (complete != 0))

    beat = beats.payload.as_value()
    depth = dut.depth
    buffer = f.fifo("dut.fifo!", depth - 1, len(beat))
    front, front_valid = f.peek("dut.fifo.r_data", len(beat)), f.peek("dut.fifo.r_rdy")
    lengths = f.fifo("dut.lengths", dut.outstanding, 8)
    answers = f.fifo("dut.answers", dut.outstanding, OFFSET_BITS + 1)
    here = f.peek("dut.here", range(depth + 1))
    sending, left = f.peek("dut.sending"), f.peek("dut.left", 8)

    data = f.track("beat", store, beat, w)
    burst = f.track("burst", begin, Cat(bursts.p.last, bursts.p.offset), b)
    # beats that begun bursts still have to send: as many as their lengths say
    owed = f.count("owed", 8, Mux(begin, bursts.p.beats, 0), w)
    queued = sum(Mux(lengths.level > n, lengths.at(n) + 1, 0) for n in range(dut.outstanding))
    f.lemma(data.count == buffer.level + front_valid)
    f.lemma(data.count == here + owed)
    f.lemma(owed == Mux(bus.awvalid, bus.awlen + 1, 0) + queued + Mux(sending, left + 1, 0))
    f.lemma(~bus.awvalid | (bus.awlen < SMALL.burst_beats))
    f.lemma(~sending | (left < SMALL.burst_beats))
    for n in range(dut.outstanding):
        f.lemma((lengths.level <= n) | (lengths.at(n) < SMALL.burst_beats))
    f.lemma(burst.count == answers.level)
    f.lemma(answers.level == complete + bus.awvalid + lengths.level + sending)
    where = Mux(front_valid & (data.ahead == 0), front, buffer.at(data.ahead - front_valid))
    f.lemma(~data.chosen | (where == data.value))
    f.lemma(~burst.chosen | (answers.at(burst.ahead) == burst.value))

    waiting = f.past(bus.awvalid & ~bus.awready, "aw")
    same = (bus.awaddr == f.past(bus.awaddr, "a")) & (bus.awlen == f.past(bus.awlen, "l"))
    f.check("address_held", bus.awvalid & same, when=waiting)
    content = Cat(bus.wdata, bus.wstrb, bus.wlast)
    waiting = f.past(bus.wvalid & ~bus.wready, "w")
    f.check("data_held", bus.wvalid & (content == f.past(content, "c")), when=waiting)
    # WLAST: count the beats of the burst whose address was accepted in the same order
    number = Signal(8)
    with f.m.If(w):
        f.m.d.sync += number.eq(Mux(bus.wlast, 0, number + 1))
    sent = f.track("length", aw, bus.awlen, w & bus.wlast)
    f.lemma(sent.count == lengths.level + sending)
    f.lemma(
        ~sent.chosen
        | (
            Mux(sending & (sent.ahead == 0), left + number, lengths.at(sent.ahead - sending))
            == sent.value
        )
    )
    f.lemma(sending | (number == 0))
    turn = sent.chosen & (sent.ahead == 0)
    f.check("wlast", bus.wlast == (number == sent.value), when=bus.wvalid & turn)
    f.check("data_after_address", sent.count != 0, when=bus.wvalid)
    f.check("data_is_here", data.count >= owed, when=begin | (owed != 0))
    f.check("no_gap", bus.wvalid, when=f.past(w & ~bus.wlast, "middle"))
    f.check(
        "order", Cat(bus.wdata, bus.wstrb) == data.value, when=w & data.chosen & (data.ahead == 0)
    )
    f.check("conserved", data.count == here + owed, reached=(here == 2) & (owed == 2))
    f.check("room_for_lengths", f.peek("dut.lengths.w_rdy"), when=aw)
    f.check("every_answer_taken", bus.bready & written.valid, when=bus.bvalid)
    f.check(
        "answers_in_order",
        Cat(written.last, written.offset) == burst.value,
        when=written.valid & burst.chosen & (burst.ahead == 0),
    )
    f.check("error_told", written.error, when=written.valid & (bus.bresp == 2))
    f.check("stop", ~begin, when=dut.stop & bursts.valid)
    f.check("quiet", dut.quiet == (burst.count == 0), reached=dut.quiet & f.latch("b", b))
    f.check(
        "begins",
        bursts.ready,
        when=(burst.count == 0) & (data.count >= SMALL.burst_beats) & ~dut.stop,
    )


SUBJECT = Subject(
    "write port",
    f"WriteQueue, bursts of 1 to {SMALL.burst_beats} beats",
    build,
    {
        "address_held": Property(
            "AWVALID, AWADDR and AWLEN stay until AWREADY",
            Seed(MODULE, "(~address_valid | bus.awready) & answers.w_rdy", "answers.w_rdy"),
        ),
        "data_held": Property(
            "WVALID, WDATA, WSTRB and WLAST stay until WREADY",
            Seed(MODULE, "fifo.r_en.eq(sending & bus.wready)", "fifo.r_en.eq(sending)"),
        ),
        "wlast": Property(
            "WLAST comes with the last beat of its burst and with no other",
            Seed(MODULE, "bus.wlast.eq(left == 0)", "bus.wlast.eq(left <= 1)"),
        ),
        "data_after_address": Property(
            "data follow only after their address was accepted",
            Seed(
                MODULE,
                "lengths.w_en.eq(address_valid & bus.awready)",
                "lengths.w_en.eq(address_valid)",
            ),
        ),
        "data_is_here": Property(
            "no burst begins before all its beats are here",
            Seed(MODULE, "& (here >= wanted.beats)", "& (here + 1 >= wanted.beats)"),
        ),
        "no_gap": Property(
            "the beats of a burst follow each other without a gap",
            Seed(
                MODULE,
                "bus.wvalid.eq(sending & fifo.r_rdy)",
                "bus.wvalid.eq(sending & fifo.r_rdy & ~address_valid)",
            ),
        ),
        "order": Property(
            "beats are written in the order in which they came, with their strobes",
            Seed(MODULE, "bus.wstrb.eq(beat.strobe)", "bus.wstrb.eq(beat.data)"),
        ),
        "conserved": Property(
            "beats taken and not written are those that begun bursts owe and those not claimed yet",
            Seed(
                MODULE,
                "here + store - Mux(begin, wanted.beats, 0)",
                "here + store - Mux(begin, 1, 0)",
            ),
        ),
        "room_for_lengths": Property(
            "a burst whose address is accepted finds room for its length",
            Seed(MODULE, "bus.awready) & answers.w_rdy & (here", "bus.awready) & (here"),
        ),
        "every_answer_taken": Property(
            "every response is taken in its cycle and told",
            Seed(MODULE, "bus.bready.eq(1)", "bus.bready.eq(~sending)"),
        ),
        "answers_in_order": Property(
            "a response is told with the burst it belongs to",
            Seed(
                MODULE,
                "answers.w_data.eq(Cat(wanted.last, wanted.offset))",
                "answers.w_data.eq(Cat(wanted.last, address))",
            ),
        ),
        "error_told": Property(
            "SLVERR and DECERR are told with their burst",
            Seed(MODULE, "bus.bresp != RESPONSE_OKAY", "bus.bresp == 3"),
        ),
        "stop": Property(
            "a stopped queue begins no burst",
            Seed(MODULE, "(here >= wanted.beats) & ~self.stop", "(here >= wanted.beats)"),
        ),
        "quiet": Property(
            "quiet exactly when every burst begun is answered",
            Seed(MODULE, "self.quiet.eq(~answers.r_rdy)", "self.quiet.eq(~sending)"),
        ),
        "begins": Property(
            "an idle port takes a burst whose beats are here",
            Seed(MODULE, "answers.r_en.eq(bus.bvalid)", "answers.r_en.eq(bus.bvalid & sending)"),
        ),
    },
    horizon=14,
)
