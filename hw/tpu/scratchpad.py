"""The scratchpad: banks of int8 rows, four readers, two writers, fixed priorities."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In

from hw.tpu.config import TpuConfig
from hw.tpu.interfaces import RowRead, RowWrite


class Scratchpad(Component):
    """Rows of N int8 in `scratchpad_banks` equal consecutive banks.

    Each bank reads one row and writes one row per cycle. Readers in falling priority: `array`
    (always ready), `second` (the vector unit's second operand), `vector`, `store`; writers:
    `vector_write`, `load`. A request for a bank that a higher priority uses in this cycle is not
    `ready`. Read data follow one cycle after acceptance.
    Reading and writing one row in one cycle gives the old row.
    """

    def __init__(self, config: TpuConfig) -> None:
        config.require_buildable()
        self.config = config
        width = config.array * 8
        super().__init__(
            {
                "array": In(RowRead(width)),
                "second": In(RowRead(width)),
                "vector": In(RowRead(width)),
                "store": In(RowRead(width)),
                "vector_write": In(RowWrite(config)),
                "load": In(RowWrite(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        low = (config.bank_rows - 1).bit_length()
        high = (config.scratchpad_rows - 1).bit_length()
        readers = [self.array, self.second, self.vector, self.store]
        writers = [self.vector_write, self.load]
        data = []
        lost = {id(port): Signal(name=f"lost_{i}") for i, port in enumerate(readers + writers)}
        for bank in range(config.scratchpad_banks):
            m.submodules[f"bank{bank}"] = memory = Memory(
                shape=config.array * 8, depth=config.bank_rows, init=[]
            )
            read, write = memory.read_port(), memory.write_port(granularity=8)
            data.append(read.data)
            for ports in (readers, writers):
                taken = None
                for port in ports:
                    wants = Signal(name=f"wants_{bank}")
                    m.d.comb += wants.eq(port.valid & (port.row[low:high] == bank))
                    if taken is not None:
                        with m.If(wants & taken):
                            m.d.comb += lost[id(port)].eq(1)
                    with m.If(wants if taken is None else wants & ~taken):
                        if ports is readers:
                            m.d.comb += [read.en.eq(1), read.addr.eq(port.row)]
                        else:
                            m.d.comb += [
                                write.en.eq(port.mask),
                                write.addr.eq(port.row),
                                write.data.eq(port.data),
                            ]
                    taken = wants if taken is None else taken | wants

        for port in readers + writers:
            m.d.comb += port.ready.eq(~lost[id(port)])
        for number, port in enumerate(readers):
            bank_read = Signal(range(config.scratchpad_banks), name=f"bank_read_{number}")
            with m.If(port.valid & port.ready):
                m.d.sync += bank_read.eq(port.row[low:high])
            with m.Switch(bank_read):
                for bank, row in enumerate(data):
                    with m.Case(bank):
                        m.d.comb += port.data.eq(row)
        return m
