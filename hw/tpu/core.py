"""The core: submodules and the wires between them."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.tpu.accumulators import Accumulators
from hw.tpu.array import SystolicArray
from hw.tpu.axi import Axi4, Axi4Lite
from hw.tpu.config import TpuConfig
from hw.tpu.control import Control
from hw.tpu.dispatch import Dispatcher, queue_formats
from hw.tpu.dma.fetch import Fetch
from hw.tpu.dma.load import LoadUnit
from hw.tpu.dma.read_arbiter import ReadArbiter
from hw.tpu.dma.store import StoreUnit
from hw.tpu.interfaces import FaultReport
from hw.tpu.matmul import MatmulSequencer
from hw.tpu.parameters import Parameters
from hw.tpu.queues import CommandQueue
from hw.tpu.registers import Error
from hw.tpu.scratchpad import Scratchpad
from hw.tpu.semaphores import Semaphores
from hw.tpu.trace import TRACE, ArrayState
from hw.tpu.vector.vector import VectorUnit
from hw.tpu.weights import WeightFifo


class Tpu(Component):
    """A whole core: AXI4 to DRAM, AXI4-Lite to the host, interrupt, trace port.

    `clear` of the control unit resets everything between fetch and the ports, memories excepted.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "m_axi": Out(Axi4(config)),
                "s_axi": In(Axi4Lite()),
                "irq": Out(1),
                "trace": Out(TRACE.size),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        m.submodules.control = control = Control(config)
        clear = ResetInserter(control.clear)

        m.submodules.fetch = clear(fetch := Fetch(config))
        m.submodules.dispatcher = clear(dispatcher := Dispatcher(config))
        m.submodules.semaphores = clear(semaphores := Semaphores())
        queues = {}
        for queue, fmt in queue_formats().items():
            name = queue.name.lower()
            queues[name] = CommandQueue(config, fmt)
            m.submodules[f"{name}_queue"] = clear(queues[name])
        m.submodules.load = clear(load := LoadUnit(config))
        m.submodules.sequencer = clear(sequencer := MatmulSequencer(config))
        m.submodules.vector = clear(vector := VectorUnit(config))
        m.submodules.store = clear(store := StoreUnit(config))
        units = {"load": load, "matmul": sequencer, "vector": vector, "store": store}

        m.submodules.reader = clear(reader := ReadArbiter(config, clients=2))
        m.submodules.weights = clear(weights := WeightFifo(config))
        m.submodules.array = clear(array := SystolicArray(config))
        m.submodules.accumulators = clear(accumulators := Accumulators(config))
        m.submodules.scratchpad = scratchpad = Scratchpad(config)
        m.submodules.parameters = parameters = Parameters(config)

        # host and DRAM
        connect(m, flipped(self.s_axi), control.bus)
        m.d.comb += self.irq.eq(control.irq)
        _join(m, self.m_axi, reader.bus)
        _join(m, self.m_axi, store.bus)
        connect(m, fetch.requests, reader.requests[0])
        connect(m, reader.responses[0], fetch.response)
        connect(m, load.requests, reader.requests[1])
        connect(m, reader.responses[1], load.response)

        # instructions
        connect(m, fetch.instructions, dispatcher.words)
        for name, queue in queues.items():
            unit = units[name]
            connect(m, getattr(dispatcher, f"to_{name}"), queue.decoded)
            connect(m, queue.granted, unit.commands)
            m.d.comb += [
                getattr(semaphores, f"request_{name}").eq(queue.request),
                getattr(semaphores, f"mask_{name}").eq(queue.mask),
                queue.grant.eq(getattr(semaphores, f"grant_{name}")),
                getattr(semaphores, f"completed_{name}").eq(unit.completed),
                getattr(dispatcher, f"completed_{name}").eq(unit.completed),
            ]

        # rows
        connect(m, load.scratchpad, scratchpad.load)
        connect(m, load.weights, weights.rows)
        connect(m, load.parameters, parameters.write)
        connect(m, sequencer.scratchpad, scratchpad.array)
        connect(m, vector.accumulators, accumulators.drain)
        connect(m, vector.scratchpad_read, scratchpad.vector)
        connect(m, vector.scratchpad_write, scratchpad.vector_write)
        connect(m, vector.parameters, parameters.read)
        connect(m, store.scratchpad, scratchpad.store)
        m.d.comb += [
            sequencer.tile_ready.eq(weights.ready),
            weights.take.eq(sequencer.tile_take),
            array.row.eq(sequencer.row),
            array.switch.eq(sequencer.switch),
            array.tile_row.eq(weights.tile_row),
            array.shift.eq(weights.shift),
            array.shift_first.eq(weights.shift_first),
            accumulators.landing.eq(sequencer.landing),
            accumulators.product.eq(array.result),
        ]

        # run, stop, faults
        for unit in (fetch, load, store):
            m.d.comb += [
                unit.stop.eq(control.stop),
                unit.dram_base.eq(control.dram_base),
                unit.dram_size.eq(control.dram_size),
            ]
        m.d.comb += [
            fetch.start.eq(control.start),
            fetch.program.eq(control.program),
            fetch.length.eq(control.length),
            dispatcher.length.eq(control.length),
            dispatcher.running.eq(control.running & ~control.start & ~control.clear),
            control.halted.eq(dispatcher.halted),
            control.quiet.eq(fetch.quiet & load.quiet & store.quiet & ~reader.outstanding),
            control.fault.eq(self._first_fault(m, units, fetch, dispatcher, semaphores)),
            control.stuck.eq(self._stuck(m, queues, dispatcher)),
            control.progress.eq(
                Cat(
                    dispatcher.dispatched,
                    *(unit.completed.valid for unit in units.values()),
                    *(unit.started for unit in units.values()),
                    sequencer.streaming,
                    vector.busy,
                    self.m_axi.rvalid,
                    self.m_axi.wvalid & self.m_axi.wready,
                ).any()
            ),
        ]
        self._count(m, control, dispatcher, queues, sequencer, vector, reader)
        self._show(m, control, units, queues, sequencer)
        return m

    def _first_fault(
        self,
        m: Module,
        units: dict[str, Component],
        fetch: Fetch,
        dispatcher: Dispatcher,
        semaphores: Semaphores,
    ) -> Signal:
        """One of the faults of this cycle: a unit's before the dispatcher's before fetch's."""
        overflow = Signal(FaultReport)
        m.d.comb += [
            overflow.valid.eq(semaphores.overflow),
            overflow.code.eq(Error.SEMAPHORE_OVERFLOW),
            overflow.position.eq(dispatcher.next_position),
        ]
        chosen = Signal(FaultReport)
        for report in (
            fetch.fault,
            dispatcher.fault,
            overflow,
            *(unit.fault for unit in units.values() if unit is not None),
        ):
            with m.If(report.valid):
                m.d.comb += chosen.eq(report)
        return chosen

    def _stuck(self, m: Module, queues: dict[str, CommandQueue], dispatcher: Dispatcher) -> Signal:
        """Whom to blame when nothing moves: a waiting queue head, else the next instruction."""
        stuck = Signal(FaultReport)
        m.d.comb += stuck.position.eq(dispatcher.next_position)
        for queue in reversed(queues.values()):
            with m.If(queue.waiting):
                m.d.comb += [
                    stuck.position.eq(queue.head_position),
                    stuck.tag.eq(queue.head_tag),
                ]
        return stuck

    def _count(
        self,
        m: Module,
        control: Control,
        dispatcher: Dispatcher,
        queues: dict[str, CommandQueue],
        sequencer: MatmulSequencer,
        vector: VectorUnit,
        reader: ReadArbiter,
    ) -> None:
        grow = control.increments
        m.d.comb += [
            grow.cycles.eq(1),
            grow.array_active.eq(sequencer.streaming),
            grow.useful_macs.eq(sequencer.macs),
            grow.weight_stall.eq(sequencer.starving),
            grow.input_stall.eq(
                queues["matmul"].waiting & ~sequencer.streaming & ~sequencer.starving
            ),
            grow.vector_busy.eq(vector.busy),
            grow.vector_stall.eq(vector.stalled),
            grow.load_wait.eq(queues["load"].waiting),
            grow.vector_wait.eq(queues["vector"].waiting),
            grow.store_wait.eq(queues["store"].waiting),
            grow.dram_read_beats.eq(self.m_axi.rvalid & self.m_axi.rready),
            grow.dram_write_beats.eq(self.m_axi.wvalid & self.m_axi.wready),
            grow.read_wait.eq(reader.outstanding & ~self.m_axi.rvalid),
            grow.instructions.eq(dispatcher.dispatched),
        ]

    def _show(
        self,
        m: Module,
        control: Control,
        units: dict[str, Component],
        queues: dict[str, CommandQueue],
        sequencer: MatmulSequencer,
    ) -> None:
        trace = Signal(TRACE)
        for name, unit in units.items():
            for what, strobe in (("started", unit.started), ("done", unit.completed.valid)):
                count = Signal(16, name=f"{name}_{what}")
                with m.If(control.start):
                    m.d.sync += count.eq(0)
                with m.Elif(strobe):
                    m.d.sync += count.eq(count + 1)
                m.d.comb += trace[f"{name}_{what}"].eq(count)
        state = Mux(
            sequencer.streaming,
            ArrayState.STREAMING,
            Mux(
                sequencer.starving,
                ArrayState.WAITING_FOR_WEIGHTS,
                Mux(queues["matmul"].waiting, ArrayState.WAITING_FOR_SEMAPHORE, ArrayState.IDLE),
            ),
        )
        array_state = Signal(2)
        m.d.sync += array_state.eq(state)  # in step with the counts beside it
        m.d.comb += [trace.array.eq(array_state), self.trace.eq(trace)]


def _join(m: Module, port: data.View, part: data.View) -> None:
    """Connect the channels of `part`, the reading or writing half, to the whole AXI4 port."""
    for name, member in part.signature.members.items():
        outer, inner = getattr(port, name), getattr(part, name)
        m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
