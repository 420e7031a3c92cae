"""The core: submodules and the wires between them."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, ResetInserter
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
from hw.tpu.faults import FaultCollector
from hw.tpu.matmul import MatmulSequencer
from hw.tpu.observe import Observer
from hw.tpu.parameters import Parameters
from hw.tpu.queues import CommandQueue
from hw.tpu.scratchpad import Scratchpad
from hw.tpu.semaphores import Semaphores
from hw.tpu.trace import TRACE
from hw.tpu.vector.lane_memory import LaneMemory
from hw.tpu.vector.vector import VectorUnit
from hw.tpu.weights import WeightFifo


def ports(config: TpuConfig) -> dict[str, In | Out]:
    """Everything that the core has to do with the world."""
    return {
        "m_axi": Out(Axi4(config)),
        "s_axi": In(Axi4Lite()),
        "irq": Out(1),
        "trace": Out(TRACE.size),
    }


class Tpu(Component):
    """A whole core: AXI4 to DRAM, AXI4-Lite to the host, interrupt, trace port.

    `clear` of the control unit resets everything between fetch and the ports, memories excepted.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        super().__init__(ports(config))

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
        m.submodules.faults = faults = FaultCollector()
        m.submodules.observer = observer = Observer()
        m.submodules.lanes = lanes = LaneMemory(config)

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
        connect(m, load.lanes, lanes.write)
        connect(m, sequencer.scratchpad, scratchpad.array)
        connect(m, vector.accumulators, accumulators.drain)
        connect(m, vector.scratchpad_read, scratchpad.vector)
        connect(m, vector.second, scratchpad.second)
        connect(m, vector.scratchpad_write, scratchpad.vector_write)
        connect(m, vector.parameters, parameters.read)
        connect(m, vector.weights, lanes.weights)
        connect(m, vector.table, lanes.table)
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
            faults.fetch.eq(fetch.fault),
            faults.dispatcher.eq(dispatcher.fault),
            faults.overflow.eq(semaphores.overflow),
            faults.next_position.eq(dispatcher.next_position),
            control.fault.eq(faults.first),
            control.stuck.eq(faults.stuck),
        ]
        moves = [dispatcher.dispatched, sequencer.streaming, vector.moving]
        moves += [observer.read_beat, observer.write_beat]
        for name, queue in queues.items():
            unit = units[name]
            moves += [unit.started, unit.completed.valid]
            m.d.comb += [
                getattr(faults, f"unit_{name}").eq(unit.fault),
                getattr(faults, f"waiting_{name}").eq(queue.waiting),
                getattr(faults, f"head_position_{name}").eq(queue.head_position),
                getattr(faults, f"head_tag_{name}").eq(queue.head_tag),
                getattr(observer, f"waiting_{name}").eq(queue.waiting),
                getattr(observer, f"started_{name}").eq(unit.started),
                getattr(observer, f"done_{name}").eq(unit.completed.valid),
            ]

        # what the core shows of itself
        m.d.comb += [
            observer.clear.eq(control.start),
            observer.macs.eq(sequencer.macs),
            observer.streaming.eq(sequencer.streaming),
            observer.starving.eq(sequencer.starving),
            observer.vector_busy.eq(vector.busy),
            observer.vector_stalled.eq(vector.stalled),
            observer.read_outstanding.eq(reader.outstanding),
            observer.read_beat.eq(self.m_axi.rvalid & self.m_axi.rready),
            observer.write_beat.eq(self.m_axi.wvalid & self.m_axi.wready),
            observer.dispatched.eq(dispatcher.dispatched),
            control.increments.eq(observer.increments),
            control.progress.eq(Cat(moves).any()),
            self.trace.eq(observer.trace),
        ]
        return m


def _join(m: Module, port: data.View, part: data.View) -> None:
    """Connect the channels of `part`, the reading or writing half, to the whole AXI4 port."""
    for name, member in part.signature.members.items():
        outer, inner = getattr(port, name), getattr(part, name)
        m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
