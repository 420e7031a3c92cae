"""The two accumulator banks: the array adds into one while the vector unit drains the other."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hw.tpu.config import TpuConfig
from hw.tpu.interfaces import RowRead
from hw.tpu.matmul import Landing


class Accumulators(Component):
    """int32 rows of N lanes; row numbers run through bank 0, then bank 1.

    `landing` announces the `product` of the next cycle, which then overwrites or is added to its
    row, one row per cycle, also the same row again and again. `drain` reads rows; it is not
    `ready` while the array reads the same bank in order to add. `sums` is the row that `written`
    puts away in this cycle, for who watches.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        width = config.array * 32
        super().__init__(
            {
                "landing": In(Landing),
                "product": In(width),
                "drain": In(RowRead(width)),
                "written": Out(Landing),
                "sums": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        n, depth = config.array, config.accumulator_rows
        row_bits = (depth - 1).bit_length()
        arriving = Signal(Landing)
        m.d.sync += arriving.eq(self.landing)
        m.d.comb += self.written.eq(arriving)

        drained_bank = Signal()
        refused = Signal()
        old_rows = []
        sums = self.sums
        for bank in range(2):
            m.submodules[f"bank{bank}"] = memory = Memory(shape=n * 32, depth=depth, init=[])
            write = memory.write_port()
            read = memory.read_port(transparent_for=(write,))
            adding, draining = Signal(name=f"adding_{bank}"), Signal(name=f"draining_{bank}")
            m.d.comb += [
                adding.eq(
                    self.landing.valid
                    & ~self.landing.overwrite
                    & (self.landing.row[row_bits] == bank)
                ),
                draining.eq(self.drain.valid & (self.drain.row[row_bits] == bank)),
                read.en.eq(adding | draining),
                read.addr.eq(Mux(adding, self.landing.row, self.drain.row)),
                write.en.eq(arriving.valid & (arriving.row[row_bits] == bank)),
                write.addr.eq(arriving.row),
                write.data.eq(sums),
            ]
            with m.If(adding & draining):
                m.d.comb += refused.eq(1)
            old_rows.append(read.data)
        m.d.comb += self.drain.ready.eq(~refused)
        with m.If(self.drain.valid & self.drain.ready):
            m.d.sync += drained_bank.eq(self.drain.row[row_bits])
        m.d.comb += self.drain.data.eq(Mux(drained_bank, old_rows[1], old_rows[0]))

        old = Mux(arriving.row[row_bits], old_rows[1], old_rows[0])
        lanes = [slice(32 * lane, 32 * (lane + 1)) for lane in range(n)]
        m.d.comb += sums.eq(
            Cat((Mux(arriving.overwrite, 0, old[lane]) + self.product[lane])[:32] for lane in lanes)
        )
        return m
