"""The parameter memory: bias and scale of every lane, written as byte planes."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In

from hw.tpu.config import PARAMETER_SUBROWS, TpuConfig
from hw.tpu.dma.ports import ParameterWrite


class Parameters(Component):
    """`parameter_entries` entries of 64 bits per lane: int32 bias below, float32 scale above.

    `write` changes one byte plane (sub-row) of an entry; `read.data`, plane by plane, follows
    `read.entry` by one cycle: `lane_parameters` finds a lane's 64 bits in it.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "write": In(ParameterWrite(config)),
                "read": In(
                    wiring.Signature(
                        {"entry": wiring.Out(12), "data": wiring.In(config.array * 64)}
                    )
                ),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        n = self.config.array
        plane_bits = PARAMETER_SUBROWS.bit_length() - 1
        rows = []
        for plane in range(PARAMETER_SUBROWS):
            m.submodules[f"plane{plane}"] = memory = Memory(
                shape=n * 8, depth=self.config.parameter_entries, init=[]
            )
            write, read = memory.write_port(granularity=8), memory.read_port()
            mine = Signal(name=f"writes_plane_{plane}")
            m.d.comb += [
                mine.eq(self.write.valid & (self.write.subrow[:plane_bits] == plane)),
                write.addr.eq(self.write.subrow[plane_bits:]),
                write.data.eq(self.write.data),
                write.en.eq(self.write.mask & mine.replicate(n)),
                read.addr.eq(self.read.entry),
            ]
            rows.append(read.data)
        m.d.comb += self.read.data.eq(Cat(rows))
        return m


def lane_parameters(data: Value, lane: int) -> Value:
    """A lane's bias (32 bits) and scale in an entry that was read, 64 bits."""
    n = len(data) // (8 * PARAMETER_SUBROWS)
    return Cat(data.word_select(plane * n + lane, 8) for plane in range(PARAMETER_SUBROWS))
