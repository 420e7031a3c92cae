"""What the core shows of itself: counter increments for the host, the trace port for timelines."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from hw.tpu.control import increments
from hw.tpu.isa import Queue
from hw.tpu.trace import COUNT_BITS, TRACE, ArrayState


class Observer(Component):
    """Turns the units' strobes of a cycle into `increments` (same cycle) and `trace` (the next).

    `waiting_<queue>`: the queue's head lacks a semaphore; `started_<queue>`, `done_<queue>`: an
    instruction was taken by its unit, or completed. `clear` restarts the trace's counts.
    """

    STROBES = (
        "streaming",
        "starving",
        "vector_busy",
        "vector_stalled",
        "read_outstanding",
        "read_beat",
        "write_beat",
        "dispatched",
    )

    def __init__(self) -> None:
        members: dict[str, In | Out] = {
            "clear": In(1),
            "macs": In(18),
            "increments": Out(increments()),
            "trace": Out(TRACE),
        }
        members |= {name: In(1) for name in self.STROBES}
        for queue in Queue:
            name = queue.name.lower()
            members |= {f"{what}_{name}": In(1) for what in ("waiting", "started", "done")}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        grow = self.increments
        m.d.comb += [
            grow.cycles.eq(1),
            grow.array_active.eq(self.streaming),
            grow.useful_macs.eq(self.macs),
            grow.weight_stall.eq(self.starving),
            grow.input_stall.eq(self.waiting_matmul & ~self.streaming & ~self.starving),
            grow.vector_busy.eq(self.vector_busy),
            grow.vector_stall.eq(self.vector_stalled),
            grow.load_wait.eq(self.waiting_load),
            grow.vector_wait.eq(self.waiting_vector),
            grow.store_wait.eq(self.waiting_store),
            grow.dram_read_beats.eq(self.read_beat),
            grow.dram_write_beats.eq(self.write_beat),
            grow.read_wait.eq(self.read_outstanding & ~self.read_beat),
            grow.instructions.eq(self.dispatched),
        ]
        for queue in Queue:
            for what in ("started", "done"):
                count = Signal(COUNT_BITS, name=f"{queue.name.lower()}_{what}")
                with m.If(self.clear):
                    m.d.sync += count.eq(0)
                with m.Elif(getattr(self, f"{what}_{queue.name.lower()}")):
                    m.d.sync += count.eq(count + 1)
                m.d.comb += self.trace[f"{queue.name.lower()}_{what}"].eq(count)
        state = Mux(self.waiting_matmul, ArrayState.WAITING_FOR_SEMAPHORE, ArrayState.IDLE)
        state = Mux(self.starving, ArrayState.WAITING_FOR_WEIGHTS, state)
        m.d.sync += self.trace.array.eq(Mux(self.streaming, ArrayState.STREAMING, state))
        return m
