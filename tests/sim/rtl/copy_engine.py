"""A small DMA copy engine behind AXI4-Lite registers, to exercise the RTL model.

Registers: 0x00 write 1 = go, read = {error, busy}; 0x04 source; 0x08 destination; 0x0c beats
(1..256 per burst; bursts of at most 16 beats). `irq` is high from the end until the next go.
`fault` builds one deliberate mistake in.
"""

from typing import Literal

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

BURST = 16
Fault = Literal["none", "wlast", "4k", "unstable"]


class CopyEngine(wiring.Component):
    """Copies `beats` bus words from source to destination, one burst of 16 at a time."""

    def __init__(self, data_bits: int = 64, fault: Fault = "none") -> None:
        self.data_bits, self.fault = data_bits, fault
        a, d = 32, data_bits
        ports: dict = {"irq": Out(1), "trace": Out(64)}
        outs = {"id": 1, "addr": a, "len": 8, "size": 3, "burst": 2, "valid": 1}
        for c in ("aw", "ar"):
            ports |= {f"m_axi__{c}{n}": Out(w) for n, w in outs.items()}
            ports[f"m_axi__{c}ready"] = In(1)
        ports |= {
            "m_axi__wdata": Out(d),
            "m_axi__wstrb": Out(d // 8),
            "m_axi__wlast": Out(1),
            "m_axi__wvalid": Out(1),
            "m_axi__wready": In(1),
            "m_axi__bid": In(1),
            "m_axi__bresp": In(2),
            "m_axi__bvalid": In(1),
            "m_axi__bready": Out(1),
            "m_axi__rid": In(1),
            "m_axi__rdata": In(d),
            "m_axi__rresp": In(2),
            "m_axi__rlast": In(1),
            "m_axi__rvalid": In(1),
            "m_axi__rready": Out(1),
        }
        for c in ("aw", "ar"):
            ports |= {f"s_axi__{c}addr": In(12), f"s_axi__{c}prot": In(3)}
            ports |= {f"s_axi__{c}valid": In(1), f"s_axi__{c}ready": Out(1)}
        ports |= {
            "s_axi__wdata": In(32),
            "s_axi__wstrb": In(4),
            "s_axi__wvalid": In(1),
            "s_axi__wready": Out(1),
            "s_axi__bresp": Out(2),
            "s_axi__bvalid": Out(1),
            "s_axi__bready": In(1),
            "s_axi__rdata": Out(32),
            "s_axi__rresp": Out(2),
            "s_axi__rvalid": Out(1),
            "s_axi__rready": In(1),
        }
        super().__init__(ports)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        go, error, busy = Signal(), Signal(), Signal()
        registers = [Signal(32, name=n) for n in ("control", "source", "target", "beats")]
        _, source, target, beats = registers
        self._registers(m, registers, go, Cat(busy, error))

        m.submodules.words = words = Memory(shape=self.data_bits, depth=BURST, init=[])
        write, read = words.write_port(), words.read_port(domain="comb")
        index, burst, size = Signal(8), Signal(9), self.data_bits // 8
        misaligned = 8 if self.fault == "4k" else 0
        m.d.comb += [
            self.m_axi__araddr.eq(source + misaligned),
            self.m_axi__awaddr.eq(target),
            self.m_axi__arlen.eq(burst - 1),
            self.m_axi__awlen.eq(burst - 1),
            self.m_axi__arsize.eq(size.bit_length() - 1),
            self.m_axi__awsize.eq(size.bit_length() - 1),
            self.m_axi__arburst.eq(1),
            self.m_axi__awburst.eq(1),
            self.m_axi__wstrb.eq(-1),
            self.m_axi__wdata.eq(read.data),
            self.m_axi__wlast.eq(index == burst - (2 if self.fault == "wlast" else 1)),
            self.trace.eq(Cat(busy, index)),
            write.addr.eq(index),
            write.data.eq(self.m_axi__rdata),
            read.addr.eq(index),
        ]
        with m.FSM():
            with m.State("Idle"):
                with m.If(go):
                    m.d.sync += [busy.eq(1), error.eq(0), self.irq.eq(0)]
                    m.next = "Next Burst"
            with m.State("Next Burst"):
                m.d.sync += [burst.eq(Mux(beats > BURST, BURST, beats)), index.eq(0)]
                with m.If((beats == 0) | error):
                    m.d.sync += [busy.eq(0), self.irq.eq(1)]
                    m.next = "Idle"
                with m.Else():
                    m.next = "Read Address"
            with m.State("Read Address"):
                m.d.comb += self.m_axi__arvalid.eq(1)
                if self.fault == "unstable":
                    m.d.sync += source.eq(source + size)
                with m.If(self.m_axi__arready):
                    m.next = "Read Data"
            with m.State("Read Data"):
                m.d.comb += [self.m_axi__rready.eq(1), write.en.eq(self.m_axi__rvalid)]
                with m.If(self.m_axi__rvalid):
                    m.d.sync += [index.eq(index + 1), error.eq(error | self.m_axi__rresp[1])]
                    with m.If(self.m_axi__rlast):
                        m.d.sync += index.eq(0)
                        m.next = "Write Address"
            with m.State("Write Address"):
                m.d.comb += self.m_axi__awvalid.eq(1)
                with m.If(self.m_axi__awready):
                    m.next = "Write Data"
            with m.State("Write Data"):
                m.d.comb += self.m_axi__wvalid.eq(1)
                with m.If(self.m_axi__wready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(self.m_axi__wlast):
                        m.next = "Response"
            with m.State("Response"):
                m.d.comb += self.m_axi__bready.eq(1)
                with m.If(self.m_axi__bvalid):
                    m.d.sync += [
                        error.eq(error | self.m_axi__bresp[1]),
                        source.eq(source + burst * size),
                        target.eq(target + burst * size),
                        beats.eq(beats - burst),
                    ]
                    m.next = "Next Burst"
        return m

    def _registers(self, m: Module, registers: list[Signal], go: Signal, status: Cat) -> None:
        """AXI4-Lite: a write needs both channels at once; a read answers a cycle later."""
        take = Signal()
        m.d.comb += [
            take.eq(self.s_axi__awvalid & self.s_axi__wvalid & ~self.s_axi__bvalid),
            self.s_axi__awready.eq(take),
            self.s_axi__wready.eq(take),
            go.eq(take & (self.s_axi__awaddr == 0)),
            self.s_axi__arready.eq(~self.s_axi__rvalid),
        ]
        with m.If(self.s_axi__bready):
            m.d.sync += self.s_axi__bvalid.eq(0)
        with m.If(self.s_axi__rready):
            m.d.sync += self.s_axi__rvalid.eq(0)
        with m.If(take):
            m.d.sync += self.s_axi__bvalid.eq(1)
            m.d.sync += self.s_axi__bresp.eq(Mux(self.s_axi__awaddr > 0xC, 2, 0))
            for i, register in enumerate(registers[1:], 1):
                with m.If(self.s_axi__awaddr == 4 * i):
                    m.d.sync += register.eq(self.s_axi__wdata)
        with m.If(self.s_axi__arvalid & self.s_axi__arready):
            m.d.sync += [self.s_axi__rvalid.eq(1), self.s_axi__rdata.eq(status)]
            for i, register in enumerate(registers[1:], 1):
                with m.If(self.s_axi__araddr == 4 * i):
                    m.d.sync += self.s_axi__rdata.eq(register)
