"""Instruction fetch."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.tpu.config import TpuConfig
from hw.tpu.dma.bursts import BurstSplitter
from hw.tpu.dma.ports import ReadResponse, read_request
from hw.tpu.dma.read_queue import ReadQueue
from hw.tpu.interfaces import FETCHED, POSITION_BITS, Fault, FaultReport
from hw.tpu.isa import INSTRUCTION_BITS, INSTRUCTION_BYTES

AHEAD = 8
"""Instructions read ahead: at 64 bits and 60 cycles of latency one per 10 cycles. Each does more
work than that, and reading further ahead would keep a program's first LOADs waiting."""
START_TO_REQUEST = 4
"""Cycles from `start` to the first request."""


class Fetch(Component):
    """Gives the instructions of a program in order, with their numbers, reading ahead.

    `start` takes `program` (DRAM offset, a multiple of 64) and `length`, from any state: what is
    left of an older program, an instruction on offer included, is dropped first. The first
    request follows START_TO_REQUEST cycles after `start` when nothing has to be dropped. After
    `length` instructions the stream ends. One instruction per `512 / bus_bits` cycles.

    Faults: DRAM_RANGE before anything is given when the program does not lie in DRAM (position 0,
    detail the offset of its first instruction outside); READ_BUS when the consumer asks for an
    instruction that could not be read (its position and offset). Nothing is given after a fault.
    While `stop`, nothing is asked for and what arrives is dropped, then the unit is `quiet`; the
    next `start` after it begins anew.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        self.beats = INSTRUCTION_BITS // config.bus_bits
        super().__init__(
            {
                "start": In(1),
                "program": In(32),
                "length": In(POSITION_BITS),
                "dram_base": In(config.address_bits),
                "dram_size": In(32),
                "stop": In(1),
                "quiet": Out(1),
                "fault": Out(FaultReport),
                "requests": Out(stream.Signature(read_request(config))),
                "response": In(ReadResponse(config)),
                "instructions": Out(stream.Signature(FETCHED)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        depth = max(AHEAD * self.beats, 2 * config.burst_beats)
        m.submodules.splitter = splitter = BurstSplitter(config)
        m.submodules.queue = queue = ReadQueue(config, depth)
        connect(m, splitter.bursts, queue.bursts)
        connect(m, queue.requests, flipped(self.requests))
        connect(m, flipped(self.response), queue.response)

        segment = splitter.segments.payload
        offset = Signal(32, reset_less=True)
        length = Signal(POSITION_BITS, reset_less=True)
        position = Signal(POSITION_BITS, reset_less=True)
        word = Signal(INSTRUCTION_BITS, reset_less=True)
        filled = Signal(range(self.beats + 1))
        error, fetching = Signal(), Signal()
        full, fill, give = Signal(), Signal(), Signal()
        m.d.comb += [
            splitter.dram_base.eq(self.dram_base),
            splitter.dram_size.eq(self.dram_size),
            splitter.clear.eq(~fetching),
            queue.stop.eq(~fetching | self.stop),
            self.quiet.eq(queue.quiet),
            segment.offset.eq(offset),
            segment.length.eq(Cat(Const(0, (INSTRUCTION_BYTES - 1).bit_length()), length)),
            segment.piece.eq(INSTRUCTION_BYTES),
            full.eq(filled == self.beats),
            self.instructions.valid.eq(full & ~error & fetching),
            self.instructions.payload.word.eq(word),
            self.instructions.payload.position.eq(position),
            give.eq(self.instructions.valid & self.instructions.ready),
            queue.beats.ready.eq(~full | give),
            fill.eq(queue.beats.valid & queue.beats.ready),
        ]
        with m.If(give):
            m.d.sync += [
                filled.eq(fill),
                position.eq(position + 1),
                offset.eq(offset + INSTRUCTION_BYTES),
            ]
        with m.Elif(fill):
            m.d.sync += filled.eq(filled + 1)
        with m.If(fill):
            m.d.sync += [
                word.eq(Cat(word, queue.beats.payload.data)[config.bus_bits :]),
                error.eq(error | queue.beats.payload.error),
            ]

        report = Signal()
        with m.FSM():
            with m.State("Idle"):
                with m.If(self.start & ~self.stop):
                    m.next = "Drop Older Program"
            with m.State("Drop Older Program"):
                m.d.sync += [filled.eq(0), error.eq(0), position.eq(0)]
                with m.If(self.stop):
                    m.next = "Idle"
                with m.Elif(queue.quiet & ~self.start):
                    m.next = "Check Range"
            with m.State("Check Range"):
                m.d.comb += [fetching.eq(1), splitter.segments.valid.eq(length != 0)]
                m.next = "Fetch"
                with m.If(self.stop):
                    m.next = "Idle"
                with m.Elif(self.start):
                    m.next = "Drop Older Program"
            with m.State("Fetch"):
                m.d.comb += fetching.eq(1)
                with m.If(self.stop):
                    m.next = "Idle"
                with m.Elif(self.start):
                    m.next = "Drop Older Program"
                with m.Elif(splitter.fault.valid | (full & error & self.instructions.ready)):
                    m.d.comb += report.eq(1)
                    m.next = "Idle"
        with m.If(self.start):
            m.d.sync += [offset.eq(self.program), length.eq(self.length)]
        m.d.sync += self.fault.valid.eq(report)
        with m.If(report):
            m.d.sync += [
                self.fault.code.eq(Mux(splitter.fault.valid, Fault.DRAM_RANGE, Fault.READ_BUS)),
                self.fault.position.eq(position),
                self.fault.detail.eq(Mux(splitter.fault.valid, splitter.fault.offset, offset)),
            ]
        return m
