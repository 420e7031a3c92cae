"""Writing bursts: nothing is begun that cannot be finished."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered
from amaranth.lib.wiring import Component, In, Out
from amaranth.utils import exact_log2

from hw.tpu.axi import BURST_INCR, RESPONSE_OKAY, Axi4Write
from hw.tpu.config import TpuConfig
from hw.tpu.dma.bursts import burst
from hw.tpu.dma.transfer import OFFSET_BITS


def write_beat(config: TpuConfig) -> data.StructLayout:
    """One beat to write, and which of its bytes."""
    return data.StructLayout({"data": config.bus_bits, "strobe": config.bus_bytes})


class Written(data.Struct):
    """A strobe: a burst has been answered, in order."""

    valid: 1
    error: 1
    offset: OFFSET_BITS
    last: 1
    """Of its transfer."""


class WriteQueue(Component):
    """Joins bursts and their beats on an AXI4 write port.

    A burst's address goes out once all its beats are here, its beats follow once the address is
    accepted, without a gap; up to `outstanding` bursts wait for their response. One beat per
    cycle. While `stop`, no burst begins; `quiet` once every burst begun is answered.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        # Bursts of half the full length keep the bus busy as long as full ones.
        self.outstanding = 2 * config.outstanding_bursts
        self.depth = max(4 * config.burst_beats, 8)
        super().__init__(
            {
                "bursts": In(stream.Signature(burst(config))),
                "beats": In(stream.Signature(write_beat(config))),
                "written": Out(Written),
                "bus": Out(Axi4Write(config)),
                "stop": In(1),
                "quiet": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        bus, wanted = self.bus, self.bursts.payload
        m.submodules.fifo = fifo = SyncFIFOBuffered(
            width=self.beats.payload.shape().size, depth=self.depth
        )
        m.submodules.lengths = lengths = SyncFIFO(width=8, depth=self.outstanding)
        m.submodules.answers = answers = SyncFIFO(width=OFFSET_BITS + 1, depth=self.outstanding)

        # Beginning a burst.
        address_valid = Signal()
        address = Signal.like(bus.awaddr, reset_less=True)
        length = Signal.like(bus.awlen, reset_less=True)
        here = Signal(range(self.depth + 1))  # beats that no burst has claimed
        store, begin = Signal(), Signal()
        m.d.comb += [
            self.beats.ready.eq(fifo.w_rdy),
            fifo.w_data.eq(self.beats.payload),
            fifo.w_en.eq(self.beats.valid),
            store.eq(self.beats.valid & self.beats.ready),
            self.bursts.ready.eq(
                (~address_valid | bus.awready) & answers.w_rdy & (here >= wanted.beats) & ~self.stop
            ),
            begin.eq(self.bursts.valid & self.bursts.ready),
            answers.w_data.eq(Cat(wanted.last, wanted.offset)),
            answers.w_en.eq(begin),
        ]
        m.d.sync += here.eq(here + store - Mux(begin, wanted.beats, 0))
        with m.If(bus.awready):
            m.d.sync += address_valid.eq(0)
        with m.If(begin):
            m.d.sync += [
                address_valid.eq(1),
                address.eq(wanted.address),
                length.eq((wanted.beats - 1)[: exact_log2(self.config.burst_beats)]),
            ]
        m.d.comb += [
            bus.awvalid.eq(address_valid),
            bus.awaddr.eq(address),
            bus.awlen.eq(length),
            bus.awsize.eq(exact_log2(self.config.bus_bytes)),
            bus.awburst.eq(BURST_INCR),
            lengths.w_data.eq(length),
            lengths.w_en.eq(address_valid & bus.awready),
        ]

        # Its beats.
        beat = data.View(self.beats.payload.shape(), fifo.r_data)
        sending = Signal()
        left = Signal(8, reset_less=True)
        sent = Signal()
        m.d.comb += [
            bus.wvalid.eq(sending & fifo.r_rdy),
            bus.wdata.eq(beat.data),
            bus.wstrb.eq(beat.strobe),
            bus.wlast.eq(left == 0),
            sent.eq(bus.wvalid & bus.wready),
            fifo.r_en.eq(sending & bus.wready),
            lengths.r_en.eq(~sending | (sent & bus.wlast)),
        ]
        with m.If(lengths.r_en):
            m.d.sync += [sending.eq(lengths.r_rdy), left.eq(lengths.r_data)]
        with m.Elif(sent):
            m.d.sync += left.eq(left - 1)

        # Its response.
        m.d.comb += [
            bus.bready.eq(1),
            answers.r_en.eq(bus.bvalid),
            self.written.valid.eq(bus.bvalid & answers.r_rdy),
            self.written.error.eq(bus.bresp != RESPONSE_OKAY),
            Cat(self.written.last, self.written.offset).eq(answers.r_data),
            self.quiet.eq(~answers.r_rdy),
        ]
        return m
