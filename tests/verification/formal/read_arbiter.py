"""The read port: AXI's rules for addresses, beats to whom they belong, nobody starved."""

from __future__ import annotations

from amaranth.hdl import Cat, Mux, Signal

from hw.tpu.dma.read_arbiter import ReadArbiter
from tests.verification.formal.harness import Formal, Property, Subject
from tests.verification.formal.seeds import Seed
from tests.verification.formal.sizes import SMALL

MODULE = "hw.tpu.dma.read_arbiter"
BYTES = SMALL.bus_bytes


def within_4k(address, beats):
    """Whether a burst stays inside one 4 KiB page."""
    return address[:12] + beats * BYTES <= 4096


def build(f: Formal) -> None:
    f.m.submodules.dut = dut = ReadArbiter(SMALL)
    f.feed(dut)
    bus = dut.bus
    requests = [dut.requests[n] for n in range(2)]
    responses = [dut.responses[n] for n in range(2)]
    for n, request in enumerate(requests):
        f.assume_held(f"request{n}", request)
        f.assume((request.p.beats >= 1) & (request.p.beats <= SMALL.burst_beats))
        f.assume(within_4k(request.p.address, request.p.beats))
    takes = [request.valid & request.ready for request in requests]
    accepted = bus.arvalid & bus.arready
    ended = bus.rvalid & bus.rlast
    # bursts whose address the memory has, and that it has not answered to the end
    open_bursts = f.count("open", 6, accepted, ended)
    f.assume(~bus.rvalid | (open_bursts != 0))

    fifo = f.fifo("dut.order", dut.order_depth, 1)
    t = f.track("burst", takes[0] | takes[1], takes[1], ended)
    f.lemma(t.count == fifo.level)
    f.lemma(fifo.level == open_bursts + bus.arvalid)
    f.lemma(~t.chosen | (fifo.at(t.ahead) == t.value))
    asked = Signal(SMALL.address_bits + 3)
    for take, request in zip(takes, requests, strict=True):
        with f.m.If(take):
            f.m.d.sync += asked.eq(Cat(request.p.address, request.p.beats))

    waiting = f.past(bus.arvalid & ~bus.arready, "waiting")
    same = (bus.araddr == f.past(bus.araddr, "a")) & (bus.arlen == f.past(bus.arlen, "l"))
    f.check("address_held", bus.arvalid & same, when=waiting)
    f.check("as_asked", Cat(bus.araddr, (bus.arlen + 1)[:3]) == asked, when=bus.arvalid)
    f.check("four_kib", within_4k(bus.araddr, bus.arlen + 1), when=bus.arvalid)
    f.check("each_asked_once", open_bursts + bus.arvalid == t.count, reached=accepted & takes[0])
    own = Mux(
        t.value, responses[1].valid & ~responses[0].valid, responses[0].valid & ~responses[1].valid
    )
    f.check("to_whom_it_belongs", own, when=bus.rvalid & t.chosen & (t.ahead == 0))
    f.check(
        "every_beat_taken", bus.rready & (responses[0].valid ^ responses[1].valid), when=bus.rvalid
    )
    f.check("error_told", responses[0].error, when=responses[0].valid & (bus.rresp == 3))
    f.check("first_first", ~takes[1], when=requests[0].valid)
    f.check(
        "nobody_starved",
        takes[1],
        when=requests[1].valid
        & ~requests[0].valid
        & (t.count < dut.order_depth)
        & (~bus.arvalid | bus.arready),
    )
    f.check("outstanding", dut.outstanding == (t.count != 0), reached=dut.outstanding)


SUBJECT = Subject(
    "read port",
    "ReadArbiter, two clients",
    build,
    {
        "address_held": Property(
            "ARVALID, ARADDR and ARLEN stay until ARREADY",
            Seed(MODULE, "(~valid | bus.arready) & order.w_rdy", "order.w_rdy"),
        ),
        "as_asked": Property(
            "a burst on the bus has the address and length that the client asked for",
            Seed(MODULE, "(request.payload.beats - 1)", "request.payload.beats"),
        ),
        "four_kib": Property(
            "no burst crosses 4 KiB when no request does",
            Seed(MODULE, "(request.payload.beats - 1)", "(request.payload.beats + 1)"),
        ),
        "each_asked_once": Property(
            "every request taken goes to the bus once",
            Seed(MODULE, "with m.If(bus.arready):", "with m.If(bus.arready & order.w_rdy):"),
        ),
        "to_whom_it_belongs": Property(
            "each beat goes to the client that asked for it, and to no other",
            Seed(MODULE, "order.w_data.eq(number)", "order.w_data.eq(0)"),
        ),
        "every_beat_taken": Property(
            "every beat is taken in its cycle and given to exactly one client",
            Seed(MODULE, "bus.rready.eq(1)", "bus.rready.eq(order.r_rdy & ~valid)"),
        ),
        "error_told": Property(
            "SLVERR and DECERR reach the client with their beat",
            Seed(MODULE, "bus.rresp != RESPONSE_OKAY", "bus.rresp == 2"),
        ),
        "first_first": Property(
            "client 1 waits while client 0 asks",
            Seed(MODULE, "blocked |= request.valid", "blocked |= request.valid & valid"),
        ),
        "nobody_starved": Property(
            "client 1 is taken as soon as client 0 does not ask and the port has room",
            Seed(MODULE, "order.r_en.eq(bus.rvalid & bus.rlast)", "order.r_en.eq(0)"),
        ),
        "outstanding": Property(
            "outstanding exactly while a burst is asked for and not answered to its end",
            Seed(MODULE, "self.outstanding.eq(valid | order.r_rdy)", "self.outstanding.eq(valid)"),
        ),
    },
)
