"""The lane memory: a byte per lane and row, for what differs from position to position."""

from __future__ import annotations

from amaranth.hdl import Cat, Module
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out, Signature
from amaranth.utils import bits_for

from hw.tpu.config import TpuConfig
from hw.tpu.dma.ports import LaneWrite


class WeightRead(Signature):
    """Read the row of depthwise weights of a window position; `data` follows `valid` by a cycle."""

    def __init__(self, config: TpuConfig) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "row": Out(bits_for(config.lane_rows - 1)),
                "data": In(config.array * 8),
            }
        )


class TableRead(Signature):
    """Each lane reads an entry of its own of one table; `data` follows `valid` by a cycle."""

    def __init__(self, config: TpuConfig) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "number": Out(4),
                "entries": Out(config.array * 8),
                "data": In(config.array * 8),
            }
        )


class LaneMemory(Component):
    """`lane_rows` rows of N bytes, written by LOAD under a lane mask, kept twice for two readers.

    Table t is rows `256*t` to `256*t + 255`.

    Reading and writing one row in one cycle gives the old row.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "write": In(LaneWrite(config)),
                "weights": In(WeightRead(config)),
                "table": In(TableRead(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.rows = rows = Memory(shape=config.array * 8, depth=config.lane_rows, init=[])
        write, read = rows.write_port(granularity=8), rows.read_port()
        m.d.comb += [
            write.addr.eq(self.write.row),
            write.data.eq(self.write.data),
            write.en.eq(self.write.mask & self.write.valid.replicate(config.array)),
            read.addr.eq(self.weights.row),
            read.en.eq(self.weights.valid),
            self.weights.data.eq(read.data),
        ]
        mapped = []
        for lane in range(config.array):
            m.submodules[f"table_{lane}"] = one = Memory(shape=8, depth=config.lane_rows, init=[])
            write, read = one.write_port(), one.read_port()
            m.d.comb += [
                write.addr.eq(self.write.row),
                write.data.eq(self.write.data.word_select(lane, 8)),
                write.en.eq(self.write.mask[lane] & self.write.valid),
                read.addr.eq(Cat(self.table.entries.word_select(lane, 8), self.table.number)),
                read.en.eq(self.table.valid),
            ]
            mapped.append(read.data)
        m.d.comb += self.table.data.eq(Cat(mapped))
        return m
