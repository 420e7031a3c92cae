"""The weight FIFO, and the loader that keeps the array's shadow weights full from it."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hw.tpu.config import TpuConfig


class WeightFifo(Component):
    """Takes tile rows in order; shifts whole tiles into the array as soon as it can.

    `rows` carries rows of N int8 weights, row 0 of a tile first. `ready` says that a tile will be
    complete in the shadow weights when a row issued in this cycle reaches the array two cycles
    later; `take`, allowed only with `ready`, says that this row switches to it. The next tile
    starts to shift in the cycle after, so that `ready` can return N cycles after `take`.
    `tile_row`, `shift`, `shift_first` go to the array.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "rows": In(stream.Signature(config.array * 8)),
                "ready": Out(1),
                "take": In(1),
                "tile_row": Out(config.array * 8),
                "shift": Out(1),
                "shift_first": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        n, depth = self.config.array, self.config.array * self.config.weight_tiles
        m.submodules.memory = memory = Memory(shape=n * 8, depth=depth, init=[])
        write, read = memory.write_port(), memory.read_port()

        level = Signal(range(depth + 1))
        write_row = Signal(range(depth))
        read_tile = Signal(range(self.config.weight_tiles))
        count = Signal(range(n))
        loading = Signal()
        full = Signal()

        accept = Signal()
        start = Signal()
        last = Signal()
        m.d.comb += [
            self.rows.ready.eq(level != depth),
            accept.eq(self.rows.valid & self.rows.ready),
            write.addr.eq(write_row),
            write.data.eq(self.rows.payload),
            write.en.eq(accept),
            # the array wants the last row of a tile first
            read.addr.eq(read_tile * n + (n - 1 - count)),
            read.en.eq(loading | start),
            start.eq(~loading & ~full & (level >= n)),
            last.eq(loading & (count == n - 1)),
            self.ready.eq(full | last),
            self.tile_row.eq(read.data),
        ]
        with m.If(accept):
            m.d.sync += write_row.eq(write_row + 1)
        m.d.sync += [
            level.eq(level + accept - Mux(last, n, 0)),
            self.shift.eq(loading | start),
            self.shift_first.eq(start),
        ]
        with m.If(start):
            m.d.sync += [loading.eq(1), count.eq(1)]
        with m.Elif(loading):
            m.d.sync += count.eq(count + 1)
        with m.If(last):
            m.d.sync += [
                loading.eq(0),
                count.eq(0),
                full.eq(~self.take),
                read_tile.eq(read_tile + 1),
            ]
        with m.Elif(self.take):
            m.d.sync += full.eq(0)
        return m
