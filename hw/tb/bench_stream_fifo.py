"""Proves the stream driver and monitor on the smallest stream component there is: a FIFO."""

import random
from typing import Any

import cocotb
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out
from cocotb.triggers import RisingEdge

from hw.tb.runner import parameter
from hw.tb.streams import StreamDriver, StreamMonitor, start_clock


class StreamFifo(wiring.Component):
    """`depth` payloads of 16 bits between `i` and `o`; `broken` drops valid while waiting."""

    i: In(stream.Signature(16))
    o: Out(stream.Signature(16))

    def __init__(self, depth: int, broken: bool = False) -> None:
        self.depth, self.broken = depth, broken
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fifo = fifo = SyncFIFO(width=16, depth=self.depth)
        hide = Signal()
        if self.broken:
            m.d.sync += hide.eq(~hide)
        m.d.comb += [
            fifo.w_data.eq(self.i.payload),
            fifo.w_en.eq(self.i.valid),
            self.i.ready.eq(fifo.w_rdy),
            self.o.payload.eq(fifo.r_data),
            self.o.valid.eq(fifo.r_rdy & ~hide),
            fifo.r_en.eq(self.o.ready & ~hide),
        ]
        return m


CASES = {
    f"depth_{depth}": (lambda depth=depth: StreamFifo(depth), {"depth": depth})
    for depth in (1, 4)
}  # fmt: skip


@cocotb.test
@cocotb.parametrize(("source", [0.0, 0.5]), ("sink", [0.0, 0.6]))
async def in_order_under_stalls(dut: Any, source: float, sink: float) -> None:
    """Every payload arrives once and in order; without stalls a deep FIFO takes one per cycle."""
    await start_clock(dut)
    payloads = [random.randrange(1 << 16) for _ in range(200)]
    driver = StreamDriver(dut, "i", stall=source)
    monitor = StreamMonitor(dut, "o", stall=sink)
    await driver.send(payloads)
    assert await monitor.receive(len(payloads)) == payloads
    if source == sink == 0 and int(parameter("depth")) > 1:
        assert monitor.cycles[-1] - monitor.cycles[0] == len(payloads) - 1
    for _ in range(5):
        await RisingEdge(dut.clk)
    assert monitor.received == [], "nothing may come twice"
