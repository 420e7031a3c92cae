"""The control unit: AXI4-Lite's rules, and what a run goes through from START to interrupt."""

from __future__ import annotations

from amaranth.hdl import Mux, Signal

from hw.tpu.control import Control
from hw.tpu.registers import ADDRESS
from tests.verification.formal.harness import Formal, Property, Subject, pick
from tests.verification.formal.seeds import Seed
from tests.verification.formal.sizes import SMALL

MODULE = "hw.tpu.control"
HELD = ("program", "dram_size", "watchdog")
WAIT_FOR_BUS = 6
"""The first of the states of `Control` in which the host has been told already."""


def build(f: Formal) -> None:
    m = f.m
    m.submodules.dut = dut = Control(SMALL)
    f.feed(dut)
    bus = dut.bus
    written = bus.awvalid & bus.awready
    f.assume(~f.past(bus.awvalid & ~bus.awready, "aw") | bus.awvalid)
    f.assume(~f.past(bus.arvalid & ~bus.arready, "ar") | bus.arvalid)
    asked = bus.arvalid & bus.arready
    to_control = written & (bus.awaddr == ADDRESS["control"])
    starting, resetting, clearing = (to_control & bus.wdata[n] for n in range(3))

    # one register that the host writes, whichever
    which, value = f.constant("which", 2), Signal(32)
    f.assume(which < len(HELD))
    address = pick([ADDRESS[name] for name in HELD], which)
    with m.If(written & (bus.awaddr == address)):
        m.d.sync += value.eq(bus.wdata)
    registers = [dut.program, dut.dram_size, f.peek("dut.watchdog", 32)]
    same = pick([r == value for r in registers], which)
    never = ~f.latch("set", written & (bus.awaddr == address))
    f.lemma(never | same)

    idle = ~dut.running & ~dut.stop
    patience, watchdog = f.peek("dut.patience", 32), f.peek("dut.watchdog", 32)
    expired = (watchdog != 0) & (patience >= watchdog)
    running = dut.running & ~dut.clear & ~dut.start
    quiet_for = Signal(32)  # cycles without progress in this run
    m.d.sync += quiet_for.eq(Mux(running & ~dut.progress, quiet_for + 1, 0))
    f.lemma(~running | (patience == quiet_for))
    counted = f.peek("dut.counter_cycles", 64)
    fresh = f.latch("run", dut.start)  # since the first start
    owed = Signal()  # the bus may not have answered all that a run asked for
    with m.If(dut.start):
        m.d.sync += owed.eq(1)
    with m.Elif(dut.stop & dut.quiet):
        m.d.sync += owed.eq(0)
    f.lemma(dut.start | ~(idle | dut.clear) | ~owed)
    cleared = Signal()  # units are reset and have seen nothing since
    with m.If(dut.clear):
        m.d.sync += cleared.eq(1)
    with m.Elif(dut.start | dut.stop):
        m.d.sync += cleared.eq(0)
    ends = running & (dut.halted | dut.fault.valid | expired | resetting)

    waiting = f.past(bus.bvalid & ~bus.bready, "b")
    f.check("answer_held", bus.bvalid, when=waiting)
    waiting = f.past(bus.rvalid & ~bus.rready, "r")
    f.check("data_held", bus.rvalid & (bus.rdata == f.past(bus.rdata, "d")), when=waiting)
    writes = f.count("writes", 4, written, bus.bvalid & bus.bready)
    f.check("write_answered_once", writes == bus.bvalid, reached=bus.bvalid)
    reads = f.count("reads", 4, asked, bus.rvalid & bus.rready)
    f.check("read_answered_once", reads == bus.rvalid, reached=bus.rvalid)
    f.check("address_with_data", bus.wvalid & bus.wready, when=written)
    read_back = f.past(asked & (bus.araddr == address) & ~never, "read")
    f.check("read_back", bus.rdata == f.past(value, "v"), when=read_back)
    f.check("start_after_clear", cleared, when=dut.start)
    f.check("start_is_asked_for", f.past(f.past(starting, "s1"), "s2"), when=dut.start)
    f.check("one_run_at_a_time", ~dut.start, when=f.past(running | dut.stop, "run"))
    f.check("stops", dut.stop & ~dut.running, when=f.past(ends, "ends"))
    draining = dut.stop & ~dut.clear
    f.check("drains", draining, when=f.past(draining & ~dut.quiet, "draining"))
    f.check("clears_after_run", dut.clear, when=f.past(draining & dut.quiet, "end"))
    f.check("start_after_drain", ~owed, when=dut.start)
    f.check("runs_on", dut.running, when=f.past(running & ~ends, "on"))
    # the host hears of the end when the bus has drained, or when the watchdog will not wait for it
    tells = dut.stop & (dut.clear | ~dut.quiet & expired)
    success = Signal()
    told = f.past(tells & success & ~resetting, "told")
    with m.If(dut.start):
        m.d.sync += success.eq(0)
    with m.If(ends):
        m.d.sync += success.eq(dut.halted & ~dut.fault.valid)
    with m.If(tells | resetting):
        m.d.sync += success.eq(0)
    succeeded = f.peek("dut.succeeded")
    f.lemma(~dut.stop | (succeeded == success))
    f.lemma(~(idle | dut.start | dut.clear & dut.running) | ~succeeded)
    f.lemma(~running | ~succeeded)
    f.lemma(~dut.running | ~dut.irq)
    waits = f.peek("dut.fsm_state", range(8)) >= WAIT_FOR_BUS
    f.lemma(~waits | (dut.stop & ~succeeded))
    f.check("done_told", dut.irq, when=told)
    kept = dut.irq & idle & ~starting & ~clearing & ~resetting
    f.check("irq_stays", dut.irq, when=f.past(kept, "irq"))
    f.check("reset_forgets", ~dut.irq, when=f.past(resetting, "forget"))
    f.check("irq_cleared", ~dut.irq, when=f.past(idle & clearing & dut.irq, "clear"))
    f.check("no_irq_in_a_run", ~dut.irq, when=running)
    f.check("watchdog_patient", quiet_for >= watchdog, when=running & expired & (watchdog != 0))
    f.check(
        "counters_stop",
        counted == f.past(counted, "count"),
        when=f.past(~dut.running, "still") & fresh,
    )
    f.check("counters_from_zero", counted == 0, when=f.past(dut.start, "start"))


SUBJECT = Subject(
    "control",
    "Control, all registers",
    build,
    {
        "answer_held": Property(
            "BVALID stays until BREADY",
            Seed(MODULE, "with m.Elif(bus.bready):", "with m.Elif(bus.bvalid):"),
        ),
        "data_held": Property(
            "RVALID and RDATA stay until RREADY",
            Seed(MODULE, "accept.eq(bus.arvalid & ~bus.rvalid)", "accept.eq(bus.arvalid)"),
        ),
        "write_answered_once": Property(
            "every write is answered once",
            Seed(
                MODULE,
                "accept.eq(bus.awvalid & bus.wvalid & ~bus.bvalid)",
                "accept.eq(bus.awvalid & bus.wvalid)",
            ),
        ),
        "read_answered_once": Property(
            "every read is answered once",
            Seed(MODULE, "with m.Elif(bus.rready):", "with m.Elif(bus.rready & bus.bvalid):"),
        ),
        "address_with_data": Property(
            "a write's address is taken only together with its data",
            Seed(
                MODULE,
                "accept.eq(bus.awvalid & bus.wvalid & ~bus.bvalid)",
                "accept.eq(bus.awvalid & ~bus.bvalid)",
            ),
        ),
        "read_back": Property(
            "a register reads as it was last written",
            Seed(
                MODULE,
                "with m.If(bus.awaddr == ADDRESS[name]):",
                "with m.If(bus.awaddr[:5] == ADDRESS[name] % 32):",
            ),
        ),
        "start_after_clear": Property(
            "units are reset before every start",
            Seed(
                MODULE,
                "m.d.comb += [self.clear.eq(1), self.running.eq(1)]",
                "m.d.comb += [self.running.eq(1)]",
            ),
        ),
        "start_is_asked_for": Property(
            "a run starts two cycles after START is written, and at no other time",
            Seed(MODULE, "starting.eq(bus.wdata[0])", "starting.eq(1)"),
        ),
        "one_run_at_a_time": Property(
            "no run starts while another runs or drains",
            Seed(MODULE, 'm.next = "Clear After Run"', 'm.next = "Start Fetch"'),
        ),
        "stops": Property(
            "HALT, a fault, the watchdog and RESET each end a run in the next cycle",
            Seed(
                MODULE,
                "self.halted | self.fault.valid | expired | resetting",
                "self.halted | expired | resetting",
            ),
        ),
        "drains": Property(
            "a stopped core drains until the bus is quiet, whatever watchdog and host want",
            Seed(
                MODULE,
                "with m.Elif(expired):\n                    m.d.sync += tell\n"
                '                    m.next = "Wait For Bus"',
                "with m.Elif(expired):\n                    m.d.sync += tell\n"
                '                    m.next = "Clear After Bus"',
            ),
        ),
        "start_after_drain": Property(
            "no run starts before the bus has answered all that the run before it asked for",
            Seed(MODULE, 'm.next = "Wait For Bus"', 'm.next = "Idle"'),
        ),
        "reset_forgets": Property(
            "RESET lowers the interrupt, and how the run ended stays untold",
            Seed(
                MODULE,
                "[done.eq(0), error.valid.eq(0), succeeded.eq(0), failed.valid.eq(0)]",
                "[done.eq(0), succeeded.eq(0), failed.valid.eq(0)]",
            ),
        ),
        "clears_after_run": Property(
            "a drained core resets its units",
            Seed(
                MODULE,
                "[self.stop.eq(1), self.clear.eq(1)]\n                m.d.sync += tell",
                "[self.stop.eq(1)]\n                m.d.sync += tell",
            ),
        ),
        "runs_on": Property(
            "nothing else ends a run",
            Seed(
                MODULE,
                "self.halted | self.fault.valid | expired | resetting",
                "self.halted | self.fault.valid | expired | resetting | starting",
            ),
        ),
        "done_told": Property(
            "a run that ends with HALT raises the interrupt",
            Seed(MODULE, "[succeeded.eq(self.halted), patience.eq(0)]", "[patience.eq(0)]"),
        ),
        "irq_stays": Property(
            "the interrupt stays until cleared or the next start",
            Seed(
                MODULE, "clearing_interrupt.eq(bus.wdata[2])", "clearing_interrupt.eq(bus.wdata[3])"
            ),
        ),
        "irq_cleared": Property(
            "clearing the interrupt lowers it",
            Seed(
                MODULE,
                "m.d.sync += [done.eq(0), error.valid.eq(0)]\n        succeeded",
                "m.d.sync += [done.eq(0)]\n        succeeded",
            ),
        ),
        "no_irq_in_a_run": Property(
            "no interrupt of an older run shows while one runs",
            Seed(
                MODULE,
                "[done.eq(0), error.valid.eq(0)]\n                    m.next",
                "error.valid.eq(0)\n                    m.next",
            ),
        ),
        "watchdog_patient": Property(
            "the watchdog ends only a run without progress for its time",
            Seed(
                MODULE,
                "patience.eq(Mux(self.progress, 0, patience + 1))",
                "patience.eq(patience + 1)",
            ),
        ),
        "counters_stop": Property(
            "counters stand still between runs",
            Seed(MODULE, "with m.Elif(self.running):", "with m.Elif(self.running | self.stop):"),
        ),
        "counters_from_zero": Property(
            "counters start at zero",
            Seed(MODULE, "with m.If(self.start):", "with m.If(self.start & self.halted):"),
        ),
    },
)
