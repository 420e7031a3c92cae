"""Several readers on one AXI4 read port."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Component, In, Out
from amaranth.utils import ceil_log2, exact_log2

from hw.tpu.axi import BURST_INCR, RESPONSE_OKAY, Axi4Read
from hw.tpu.config import TpuConfig
from hw.tpu.dma.ports import ReadResponse, read_request


class ReadArbiter(Component):
    """Issues the clients' bursts, client 0 first, and hands each its beats, in order.

    One ID, so that data returns in the order asked for. An address is on the bus in the cycle
    after its request is taken, and stays until accepted; one burst per cycle. Beats pass through
    without delay or back-pressure: every client asks only for what it can take. `outstanding`
    while any burst is on its way. At most `order_depth` bursts are.
    """

    def __init__(self, config: TpuConfig, clients: int = 2) -> None:
        self.config = config
        self.clients = clients
        # Half-length bursts must not run out of entries before their clients run out of credits.
        self.order_depth = max(2, config.burst_beats // 2) * config.outstanding_bursts
        super().__init__(
            {
                "requests": In(stream.Signature(read_request(config))).array(clients),
                "responses": Out(ReadResponse(config)).array(clients),
                "bus": Out(Axi4Read(config)),
                "outstanding": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        bus = self.bus
        m.submodules.order = order = SyncFIFO(
            width=max(1, ceil_log2(self.clients)), depth=self.order_depth
        )
        valid = Signal()
        address = Signal.like(bus.araddr, reset_less=True)
        length = Signal.like(bus.arlen, reset_less=True)
        free = Signal()
        m.d.comb += [
            bus.arvalid.eq(valid),
            bus.araddr.eq(address),
            bus.arlen.eq(length),
            bus.arsize.eq(exact_log2(self.config.bus_bytes)),
            bus.arburst.eq(BURST_INCR),
            bus.rready.eq(1),
            free.eq((~valid | bus.arready) & order.w_rdy),
            order.r_en.eq(bus.rvalid & bus.rlast),
            self.outstanding.eq(valid | order.r_rdy),
        ]
        with m.If(bus.arready):
            m.d.sync += valid.eq(0)
        blocked = 0
        for number in range(self.clients):
            request = self.requests[number]
            m.d.comb += request.ready.eq(free & ~blocked)
            with m.If(request.valid & request.ready):
                m.d.comb += [order.w_en.eq(1), order.w_data.eq(number)]
                m.d.sync += [
                    valid.eq(1),
                    address.eq(request.payload.address),
                    length.eq((request.payload.beats - 1)[: exact_log2(self.config.burst_beats)]),
                ]
            blocked |= request.valid

            response = self.responses[number]
            m.d.comb += [
                response.valid.eq(bus.rvalid & order.r_rdy & (order.r_data == number)),
                response.data.eq(bus.rdata),
                response.last.eq(bus.rlast),
                response.error.eq(bus.rresp != RESPONSE_OKAY),
            ]
        return m
