"""STORE: scratchpad to DRAM."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.tpu.axi import Axi4Write
from hw.tpu.config import TpuConfig
from hw.tpu.dma.bursts import BurstSplitter
from hw.tpu.dma.gearbox import Packer
from hw.tpu.dma.segments import SegmentGenerator
from hw.tpu.dma.transfer import TRANSFER, RowWalker, assign_transfer
from hw.tpu.dma.write_queue import WriteQueue
from hw.tpu.interfaces import (
    POSITION_BITS,
    Completion,
    Fault,
    FaultReport,
    Origin,
    RowRead,
    command,
)
from hw.tpu.isa import Memory, Store


class StoreUnit(Component):
    """Carries out STOREs in order, reading the rows of the next while the last is still written.

    `started` strobes when a command is taken. Reads one row or writes one beat per cycle,
    whichever is slower. A burst's address goes out once all its data is here, its data once the
    address is accepted; `WriteQueue.outstanding` bursts may wait for their response. `completed`
    strobes in the cycle after the last response of a command.

    A fault is reported once, when every earlier command has completed; the unit then stops
    itself. From `stop` (or a fault) until reset it begins no burst; `quiet` once those begun are
    answered. Detail: the row (SCRATCHPAD_RANGE), the lane beyond the last (ILLEGAL_OPERAND), the
    DRAM offset of the row (DRAM_RANGE) or of the burst (WRITE_BUS).
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        self.contexts = config.outstanding_bursts
        super().__init__(
            {
                "commands": In(stream.Signature(command(Store))),
                "started": Out(1),
                "completed": Out(Completion),
                "fault": Out(FaultReport),
                "stop": In(1),
                "quiet": Out(1),
                "dram_base": In(config.address_bits),
                "dram_size": In(32),
                "scratchpad": Out(RowRead(config.array * 8)),
                "bus": Out(Axi4Write(config)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        m.submodules.walker = walker = RowWalker()
        m.submodules.packer = packer = Packer(config)
        m.submodules.transfers = transfers = SyncFIFO(width=TRANSFER.size, depth=2)
        m.submodules.segments = segments = SegmentGenerator()
        m.submodules.splitter = splitter = BurstSplitter(config)
        m.submodules.queue = queue = WriteQueue(config)
        m.submodules.origins = origins = SyncFIFO(width=Origin.as_shape().size, depth=self.contexts)
        connect(m, segments.segments, splitter.segments)
        connect(m, splitter.bursts, queue.bursts)
        connect(m, packer.beats, queue.beats)
        connect(m, queue.bus, flipped(self.bus))

        # Taking a command: one copy for the rows, one for the bursts.
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
            bad.eq((lanes_end > config.array) | (transfer.memory != Memory.SCRATCHPAD)),
            self.commands.ready.eq(
                walker.transfers.ready & transfers.w_rdy & origins.w_rdy & ~stopped & ~illegal
            ),
            take.eq(self.commands.valid & self.commands.ready),
            self.started.eq(take),
            walker.transfers.payload.eq(transfer),
            walker.transfers.valid.eq(take & ~bad),
            transfers.w_data.eq(transfer),
            transfers.w_en.eq(take & ~bad),
            origins.w_data.eq(transfer.origin),
            origins.w_en.eq(take),
            segments.transfers.payload.eq(transfers.r_data),
            segments.transfers.valid.eq(transfers.r_rdy),
            transfers.r_en.eq(segments.transfers.ready),
        ]
        illegal_position = Signal(POSITION_BITS, reset_less=True)
        illegal_lane = Signal.like(lanes_end, reset_less=True)
        with m.If(take & bad):
            m.d.sync += [
                illegal.eq(1),
                illegal_position.eq(transfer.origin.position),
                illegal_lane.eq(lanes_end),
            ]

        # Reading rows.
        step, at = walker.rows.payload, packer.slices.payload
        inside = Signal()
        m.d.comb += [
            inside.eq(step.row < config.scratchpad_rows),
            at.offset.eq(step.offset),
            at.row_bytes.eq(walker.current.row_bytes),
            at.lane.eq(walker.current.lane),
            at.joined.eq(step.joined),
            self.scratchpad.row.eq(step.row),
            self.scratchpad.valid.eq(walker.rows.valid & inside & packer.slices.ready),
            packer.slices.valid.eq(walker.rows.valid & inside & self.scratchpad.ready),
            packer.row.eq(self.scratchpad.data),
            walker.rows.ready.eq(inside & packer.slices.ready & self.scratchpad.ready),
        ]

        # Counting responses.
        written = queue.written
        origin = data.View(Origin, origins.r_data)
        done = Signal()
        m.d.comb += [
            done.eq(written.valid & written.last & ~written.error & ~halted),
            origins.r_en.eq(done),
        ]
        m.d.sync += [self.completed.valid.eq(done), self.completed.signal.eq(origin.signal)]

        # Reporting a fault, once every earlier command is written.
        cause = Signal(FaultReport)
        report = Signal()
        m.d.comb += [cause.position.eq(origin.position), cause.tag.eq(origin.tag)]
        with m.If(written.valid & written.error):
            m.d.comb += [
                report.eq(1),
                cause.code.eq(Fault.WRITE_BUS),
                cause.detail.eq(written.offset),
            ]
        with m.Elif(illegal & (origin.position == illegal_position)):
            m.d.comb += [
                report.eq(1),
                cause.code.eq(Fault.ILLEGAL_OPERAND),
                cause.detail.eq(illegal_lane),
            ]
        with m.Elif(splitter.fault.valid & (origin.position == splitter.fault.position)):
            m.d.comb += [
                report.eq(1),
                cause.code.eq(Fault.DRAM_RANGE),
                cause.detail.eq(splitter.fault.offset),
            ]
        with m.Elif(
            walker.rows.valid & ~inside & (origin.position == walker.current.origin.position)
        ):
            m.d.comb += [
                report.eq(1),
                cause.code.eq(Fault.SCRATCHPAD_RANGE),
                cause.detail.eq(step.row),
            ]
        m.d.comb += cause.valid.eq(report & origins.r_rdy & ~stopped)
        m.d.sync += self.fault.valid.eq(cause.valid)
        with m.If(cause.valid):
            m.d.sync += [self.fault.eq(cause), halted.eq(1)]
        return m
