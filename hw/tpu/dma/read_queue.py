"""Reading ahead: bursts out, beats in, never more than there is room for."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import Component, In, Out

from hw.tpu.config import TpuConfig
from hw.tpu.dma.bursts import burst
from hw.tpu.dma.ports import ReadResponse, read_beat, read_request


class ReadQueue(Component):
    """Asks for bursts as long as their beats fit, and gives the beats in order.

    `depth` beats may be outstanding or waiting. A burst is requested in the cycle after it is
    taken; a beat is given two cycles after it arrives, one per cycle. While `stop`, no burst is
    taken and every beat is dropped. `quiet`: nothing is outstanding or waiting.
    """

    def __init__(self, config: TpuConfig, depth: int) -> None:
        if depth < config.burst_beats:
            raise ValueError(f"depth={depth}: a burst has {config.burst_beats} beats")
        self.config = config
        self.depth = depth
        super().__init__(
            {
                "bursts": In(stream.Signature(burst(config))),
                "requests": Out(stream.Signature(read_request(config))),
                "response": In(ReadResponse(config)),
                "beats": Out(stream.Signature(read_beat(config))),
                "stop": In(1),
                "quiet": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        wanted, request = self.bursts.payload, self.requests
        m.submodules.fifo = fifo = SyncFIFOBuffered(
            width=self.config.bus_bits + 1, depth=self.depth
        )
        valid = Signal()
        payload = Signal(request.payload.shape(), reset_less=True)
        free = Signal(range(self.depth + 1), init=self.depth)

        take, given, dropped = Signal(), Signal(), Signal()
        m.d.comb += [
            request.valid.eq(valid),
            request.payload.eq(payload),
            self.bursts.ready.eq((~valid | request.ready) & (free >= wanted.beats) & ~self.stop),
            take.eq(self.bursts.valid & self.bursts.ready),
            fifo.w_en.eq(self.response.valid & ~self.stop),
            fifo.w_data.eq(Cat(self.response.data, self.response.error)),
            self.beats.valid.eq(fifo.r_rdy & ~self.stop),
            self.beats.payload.eq(fifo.r_data),
            fifo.r_en.eq(self.beats.ready | self.stop),
            given.eq(fifo.r_rdy & fifo.r_en),
            dropped.eq(self.response.valid & self.stop),
            self.quiet.eq(~valid & (free == self.depth)),
        ]
        with m.If(request.ready):
            m.d.sync += valid.eq(0)
        with m.If(take):
            m.d.sync += [
                valid.eq(1),
                payload.address.eq(wanted.address),
                payload.beats.eq(wanted.beats),
            ]
        m.d.sync += free.eq(free + given + dropped - Mux(take, wanted.beats, 0))
        return m
