"""LOAD: DRAM to scratchpad, weight FIFO, parameter memory or lane memory."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.tpu.config import TpuConfig
from hw.tpu.dma.bursts import BurstSplitter
from hw.tpu.dma.gearbox import Unpacker, byte_mask, lane_mask
from hw.tpu.dma.ports import LaneWrite, ParameterWrite, ReadResponse, read_request
from hw.tpu.dma.read_queue import ReadQueue
from hw.tpu.dma.segments import SegmentGenerator
from hw.tpu.dma.transfer import OFFSET_BITS, TRANSFER, RowWalker, assign_transfer
from hw.tpu.interfaces import Completion, Fault, FaultReport, Origin, RowWrite, command
from hw.tpu.isa import ROW_BITS, Load, Memory

START_TO_REQUEST = 4
"""Cycles from `started` to the first request of a command, when the unit was idle."""
BEAT_TO_ROW = 4
"""Cycles from the last beat of a row to its write, when nothing waits."""


def _landing(config: TpuConfig) -> data.StructLayout:
    """What accompanies a row from its slice to its memory."""
    return data.StructLayout(
        {
            "origin": Origin,
            "memory": 2,
            "row": ROW_BITS,
            "offset": OFFSET_BITS,
            "last": 1,
            "outside": 1,  # of its memory
            "mask": config.array,
            "fill": 8,
            "fill_others": 1,
        }
    )


class LoadUnit(Component):
    """Carries out LOADs in order, asking for the data of the next while the last still arrives.

    `started` strobes when a command is taken; its first request follows START_TO_REQUEST cycles
    later. A row is written BEAT_TO_ROW cycles after its last beat arrived. Sustains one beat or
    one row per cycle, whichever is slower, at any latency up to `burst_beats *
    outstanding_bursts` cycles; `contexts` commands may be under way, and one more. `completed`
    strobes in the cycle after the last row of a command was accepted. `weights` may wait for any
    time; only rows behind it wait with it. Lanes of a weight row that are not loaded are `fill`.

    A fault is reported once, when everything before the faulting command has completed; the unit
    then stops itself. From `stop` (or a fault) until reset it asks for nothing more and drops
    what arrives, then is `quiet`. Detail: the row (SCRATCHPAD_RANGE, PARAMETER_RANGE), the lane
    beyond the last (ILLEGAL_OPERAND), the DRAM offset of the row outside (DRAM_RANGE) or
    with the bad beat (READ_BUS).
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        self.contexts = config.outstanding_bursts
        super().__init__(
            {
                "commands": In(stream.Signature(command(Load))),
                "started": Out(1),
                "completed": Out(Completion),
                "fault": Out(FaultReport),
                "stop": In(1),
                "quiet": Out(1),
                "dram_base": In(config.address_bits),
                "dram_size": In(32),
                "requests": Out(stream.Signature(read_request(config))),
                "response": In(ReadResponse(config)),
                "scratchpad": Out(RowWrite(config)),
                "weights": Out(stream.Signature(config.array * 8)),
                "parameters": Out(ParameterWrite(config)),
                "lanes": Out(LaneWrite(config)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        m.submodules.segments = segments = SegmentGenerator()
        m.submodules.splitter = splitter = BurstSplitter(config)
        m.submodules.queue = queue = ReadQueue(
            config, config.burst_beats * config.outstanding_bursts
        )
        m.submodules.unpacker = unpacker = Unpacker(config)
        m.submodules.walker = walker = RowWalker()
        m.submodules.contexts = contexts = SyncFIFO(width=TRANSFER.size, depth=self.contexts)
        connect(m, segments.segments, splitter.segments)
        connect(m, splitter.bursts, queue.bursts)
        connect(m, queue.requests, flipped(self.requests))
        connect(m, flipped(self.response), queue.response)
        connect(m, queue.beats, unpacker.beats)

        # Taking a command: one copy to the request side, one to the data side.
        halted, illegal, stopped = Signal(), Signal(), Signal()
        transfer = Signal(TRANSFER)
        lanes_end = Signal(10)
        bad, take = Signal(), Signal()
        m.d.comb += [
            *assign_transfer(transfer, self.commands.payload),
            stopped.eq(self.stop | halted),
            queue.stop.eq(stopped),
            self.quiet.eq(queue.quiet),
            splitter.dram_base.eq(self.dram_base),
            splitter.dram_size.eq(self.dram_size),
            lanes_end.eq(transfer.lane + transfer.row_bytes),
            bad.eq(lanes_end > config.array),
            self.commands.ready.eq(segments.transfers.ready & contexts.w_rdy & ~stopped & ~illegal),
            take.eq(self.commands.valid & self.commands.ready),
            self.started.eq(take),
            segments.transfers.payload.eq(transfer),
            segments.transfers.valid.eq(take & ~bad),
            contexts.w_data.eq(transfer),
            contexts.w_en.eq(take),
            walker.transfers.payload.eq(contexts.r_data),
            walker.transfers.valid.eq(contexts.r_rdy),
            contexts.r_en.eq(walker.transfers.ready),
        ]
        illegal_position = Signal.like(transfer.origin.position, reset_less=True)
        with m.If(take & bad):
            m.d.sync += [illegal.eq(1), illegal_position.eq(transfer.origin.position)]

        # Cutting rows out of the beats.
        current, step = walker.current, walker.rows.payload
        origin = current.origin
        at = unpacker.slices.payload
        is_illegal, is_outside = Signal(), Signal()
        landing = Signal(_landing(config), reset_less=True)
        m.d.comb += [
            is_illegal.eq(illegal & (illegal_position == origin.position)),
            is_outside.eq(splitter.fault.valid & (splitter.fault.position == origin.position)),
            at.offset.eq(step.offset),
            at.row_bytes.eq(current.row_bytes),
            at.lane.eq(current.lane),
            at.joined.eq(step.joined),
            unpacker.slices.valid.eq(walker.rows.valid & ~is_illegal & ~is_outside),
            walker.rows.ready.eq(unpacker.slices.ready & ~is_illegal & ~is_outside),
        ]
        with m.If(unpacker.slices.valid & unpacker.slices.ready):
            m.d.sync += [
                landing.origin.eq(origin),
                landing.memory.eq(current.memory),
                landing.row.eq(step.row),
                landing.offset.eq(step.offset),
                landing.last.eq(step.last),
                landing.mask.eq(lane_mask(config, current.lane, current.row_bytes)),
                landing.fill.eq(current.fill),
                landing.fill_others.eq(current.fill_others),
            ]
            with m.Switch(current.memory):
                with m.Case(Memory.SCRATCHPAD):
                    m.d.sync += landing.outside.eq(step.row >= config.scratchpad_rows)
                with m.Case(Memory.PARAMETERS):
                    m.d.sync += landing.outside.eq(step.row >= config.parameter_subrows)
                with m.Case(Memory.LANES):
                    m.d.sync += landing.outside.eq(step.row >= config.lane_rows)
                with m.Default():
                    m.d.sync += landing.outside.eq(0)

        # Writing them.
        rows = unpacker.rows
        row, mask = Signal(8 * config.array), Signal(config.array)
        wrong, valid = Signal(), Signal()
        loaded = byte_mask(landing.mask)
        m.d.comb += [
            row.eq((rows.payload.data & loaded) | (landing.fill.replicate(config.array) & ~loaded)),
            mask.eq(landing.mask | landing.fill_others.replicate(config.array)),
            wrong.eq(rows.valid & (rows.payload.error | landing.outside)),
            valid.eq(rows.valid & ~wrong),
            self.scratchpad.row.eq(landing.row),
            self.scratchpad.data.eq(row),
            self.scratchpad.mask.eq(mask),
            self.parameters.subrow.eq(landing.row),
            self.parameters.data.eq(row),
            self.parameters.mask.eq(mask),
            self.lanes.row.eq(landing.row),
            self.lanes.data.eq(row),
            self.lanes.mask.eq(mask),
            self.weights.payload.eq(row),
        ]
        with m.Switch(landing.memory):
            with m.Case(Memory.SCRATCHPAD):
                m.d.comb += [self.scratchpad.valid.eq(valid), rows.ready.eq(self.scratchpad.ready)]
            with m.Case(Memory.WEIGHTS):
                m.d.comb += [self.weights.valid.eq(valid), rows.ready.eq(self.weights.ready)]
            with m.Case(Memory.LANES):
                m.d.comb += [self.lanes.valid.eq(valid), rows.ready.eq(1)]
            with m.Default():
                m.d.comb += [self.parameters.valid.eq(valid), rows.ready.eq(1)]
        with m.If(wrong):
            m.d.comb += rows.ready.eq(0)
        m.d.sync += [
            self.completed.valid.eq(valid & rows.ready & landing.last),
            self.completed.signal.eq(landing.origin.signal),
        ]

        # Reporting a fault, once all before it is written.
        report = Signal()
        cause = Signal(FaultReport)
        with m.If(wrong):
            m.d.comb += [
                report.eq(1),
                cause.position.eq(landing.origin.position),
                cause.tag.eq(landing.origin.tag),
                cause.detail.eq(landing.row),
                cause.code.eq(Fault.SCRATCHPAD_RANGE),
            ]
            with m.If(rows.payload.error):
                m.d.comb += [cause.code.eq(Fault.READ_BUS), cause.detail.eq(landing.offset)]
            with m.Elif((landing.memory == Memory.PARAMETERS) | (landing.memory == Memory.LANES)):
                m.d.comb += cause.code.eq(Fault.PARAMETER_RANGE)
        with m.Elif(walker.rows.valid & ~rows.valid & (is_illegal | is_outside)):
            m.d.comb += [
                report.eq(1),
                cause.position.eq(origin.position),
                cause.tag.eq(origin.tag),
                cause.code.eq(Fault.DRAM_RANGE),
                cause.detail.eq(splitter.fault.offset),
            ]
            with m.If(is_illegal):
                m.d.comb += [
                    cause.code.eq(Fault.ILLEGAL_OPERAND),
                    cause.detail.eq(current.lane + current.row_bytes),
                ]
        m.d.comb += cause.valid.eq(report & ~stopped)
        m.d.sync += self.fault.valid.eq(cause.valid)
        with m.If(cause.valid):
            m.d.sync += [self.fault.eq(cause), halted.eq(1)]
        return m
