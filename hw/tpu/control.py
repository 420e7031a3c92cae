"""The host's side of the core: AXI4-Lite registers, start, stop, reset, counters, interrupt."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hw.tpu import isa, registers
from hw.tpu.axi import Axi4Lite
from hw.tpu.config import TpuConfig
from hw.tpu.interfaces import POSITION_BITS, Fault, FaultReport
from hw.tpu.registers import ADDRESS, COUNTERS, REGISTERS, Status

COUNTER_BITS = 64
INCREMENT_BITS = {"useful_macs": 18}
"""Counters that grow by more than one a cycle."""


def increments() -> data.StructLayout:
    """What each counter grows by in this cycle."""
    return data.StructLayout({name: INCREMENT_BITS.get(name, 1) for name in COUNTERS})


class Control(Component):
    """Runs one program at a time.

    Writing START clears units and counters, then strobes `start`. A run ends with `halted`, with
    the first `fault`, with RESET, or when nothing shows `progress` for `watchdog` cycles. Then
    `stop` rises until `quiet` says that every burst has been answered, and `clear` resets the units
    for one cycle; on-chip memories keep their contents. When the watchdog runs out again before
    that, the host is told how the run ended, but the core stays busy, and START has no effect,
    until the bus has answered: a late beat never reaches another program. RESET forgets how a run
    ended, whenever it comes. `irq` is high from the end of a run until cleared, RESET or the next
    start.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "bus": In(Axi4Lite()),
                "irq": Out(1),
                "start": Out(1),
                "stop": Out(1),
                "clear": Out(1),
                "running": Out(1),
                "halted": In(1),
                "quiet": In(1),
                "progress": In(1),
                "stuck": In(FaultReport),
                "fault": In(FaultReport),
                "program": Out(32),
                "length": Out(POSITION_BITS),
                "dram_base": Out(config.address_bits),
                "dram_size": Out(32),
                "increments": In(increments()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        written = {
            item.name: Signal(
                32, name=item.name, init=(1 << 32) - 1 if item.name == "dram_size" else 0
            )
            for item in REGISTERS
            if item.access == "rw"
        }
        m.d.comb += [
            self.program.eq(written["program"]),
            self.length.eq(written["program_length"]),
            self.dram_base.eq(written["dram_base"]),
            self.dram_size.eq(written["dram_size"]),
        ]
        starting, resetting, clearing_interrupt = Signal(), Signal(), Signal()
        done, error = Signal(), Signal(FaultReport)
        self._writes(m, written, starting, resetting, clearing_interrupt)
        counters = self._counters(m)
        self._run(m, written["watchdog"], starting, resetting, clearing_interrupt, done, error)
        status = Signal(3)
        m.d.comb += [
            self.irq.eq(done | error.valid),
            status.eq(
                Mux(done, Status.DONE, 0)
                | Mux(error.valid, Status.ERROR, 0)
                | Mux(self.running | self.stop, Status.BUSY, 0)
            ),
        ]
        self._reads(
            m,
            written
            | counters
            | {
                "ident": registers.IDENT,
                "version": isa.VERSION,
                "array": self.config.array,
                "bus_bits": self.config.bus_bits,
                "status": status,
                "error": Mux(error.valid, error.code.as_value(), 0),
                "error_position": error.position,
                "error_tag": error.tag,
                "error_detail": error.detail,
            },
        )
        return m

    def _run(
        self,
        m: Module,
        watchdog: Signal,
        starting: Signal,
        resetting: Signal,
        clearing_interrupt: Signal,
        done: Signal,
        error: Signal,
    ) -> None:
        patience = Signal(32)
        expired = Signal()
        m.d.comb += expired.eq((watchdog != 0) & (patience >= watchdog))
        with m.If(clearing_interrupt):
            m.d.sync += [done.eq(0), error.valid.eq(0)]
        succeeded = Signal()
        failed = Signal(FaultReport)
        tell = [done.eq(succeeded), error.eq(failed), succeeded.eq(0), failed.valid.eq(0)]
        with m.FSM():
            with m.State("Idle"):
                with m.If(starting):
                    m.d.sync += [done.eq(0), error.valid.eq(0)]
                    m.next = "Clear Units"
                with m.If(resetting):
                    m.d.sync += patience.eq(0)
                    m.next = "Drain"
            with m.State("Clear Units"):
                m.d.comb += [self.clear.eq(1), self.running.eq(1)]
                m.next = "Start Fetch"
            with m.State("Start Fetch"):
                m.d.comb += [self.start.eq(1), self.running.eq(1)]
                m.d.sync += [patience.eq(0), succeeded.eq(0), failed.valid.eq(0)]
                m.next = "Running"
                with m.If(resetting):
                    m.next = "Drain"
            with m.State("Running"):
                m.d.comb += self.running.eq(1)
                m.d.sync += patience.eq(Mux(self.progress, 0, patience + 1))
                with m.If(self.halted | self.fault.valid | expired | resetting):
                    m.d.sync += [succeeded.eq(self.halted), patience.eq(0)]
                    m.next = "Drain"
                with m.If(self.fault.valid):
                    m.d.sync += [failed.eq(self.fault), succeeded.eq(0)]
                with m.Elif(expired & ~self.halted):
                    m.d.sync += [
                        failed.eq(self.stuck),
                        failed.valid.eq(1),
                        failed.code.eq(Fault.WATCHDOG),
                    ]
            with m.State("Drain"):
                m.d.comb += self.stop.eq(1)
                m.d.sync += patience.eq(patience + 1)
                with m.If(self.quiet):
                    m.next = "Clear After Run"
                with m.Elif(expired):
                    m.d.sync += tell
                    m.next = "Wait For Bus"
            with m.State("Clear After Run"):
                m.d.comb += [self.stop.eq(1), self.clear.eq(1)]
                m.d.sync += tell
                m.next = "Idle"
            with m.State("Wait For Bus"):
                m.d.comb += self.stop.eq(1)
                with m.If(self.quiet):
                    m.next = "Clear After Bus"
            with m.State("Clear After Bus"):
                m.d.comb += [self.stop.eq(1), self.clear.eq(1)]
                m.next = "Idle"
        with m.If(resetting):
            m.d.sync += [done.eq(0), error.valid.eq(0), succeeded.eq(0), failed.valid.eq(0)]

    def _counters(self, m: Module) -> dict[str, Signal]:
        """The counters, as 32-bit halves by register name."""
        halves = {}
        for name in COUNTERS:
            counter = Signal(COUNTER_BITS, name=f"counter_{name}")
            with m.If(self.start):
                m.d.sync += counter.eq(0)
            with m.Elif(self.running):
                m.d.sync += counter.eq(counter + self.increments[name])
            halves[name] = counter[:32]
            halves[f"{name}_high"] = counter[32:]
        return halves

    def _writes(
        self,
        m: Module,
        written: dict[str, Signal],
        starting: Signal,
        resetting: Signal,
        clearing_interrupt: Signal,
    ) -> None:
        bus = self.bus
        accept = Signal()
        m.d.comb += [
            accept.eq(bus.awvalid & bus.wvalid & ~bus.bvalid),
            bus.awready.eq(accept),
            bus.wready.eq(accept),
        ]
        with m.If(accept):
            m.d.sync += bus.bvalid.eq(1)
            for name, register in written.items():
                with m.If(bus.awaddr == ADDRESS[name]):
                    m.d.sync += register.eq(bus.wdata)
            with m.If(bus.awaddr == ADDRESS["control"]):
                m.d.comb += [
                    starting.eq(bus.wdata[0]),
                    resetting.eq(bus.wdata[1]),
                    clearing_interrupt.eq(bus.wdata[2]),
                ]
        with m.Elif(bus.bready):
            m.d.sync += bus.bvalid.eq(0)

    def _reads(self, m: Module, values: dict[str, object]) -> None:
        bus = self.bus
        accept = Signal()
        m.d.comb += [accept.eq(bus.arvalid & ~bus.rvalid), bus.arready.eq(accept)]
        with m.If(accept):
            m.d.sync += [bus.rvalid.eq(1), bus.rdata.eq(0)]
            with m.Switch(bus.araddr):
                for name, value in values.items():
                    high = name.removesuffix("_high")
                    address = ADDRESS[high] + (4 if high != name else 0)
                    with m.Case(address):
                        m.d.sync += bus.rdata.eq(value)
        with m.Elif(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
