"""Transfers to contiguous pieces of DRAM."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from hw.tpu.dma.transfer import TRANSFER, is_contiguous
from hw.tpu.interfaces import POSITION_BITS
from hw.tpu.isa import INSTRUCTION_BYTES

WIDE_OFFSET = signed(43)
"""An offset before its range check: 40 bits, one stride beyond either end, and a sign."""
LENGTH_BITS = POSITION_BITS + (INSTRUCTION_BYTES - 1).bit_length()
"""Bits of a segment's length: a whole program is the longest."""


class Segment(data.Struct):
    """`length` bytes of DRAM from `offset` on, not checked yet."""

    offset: WIDE_OFFSET
    length: LENGTH_BITS
    piece: 9
    """Bytes of one row or instruction, of which `length` is a multiple."""
    last: 1
    """The last segment of its transfer."""
    position: POSITION_BITS
    """The instruction that asks for it."""


class SegmentGenerator(Component):
    """Turns a transfer into contiguous segments, in order.

    A line whose rows follow each other without a gap is one segment; otherwise every row is one.
    One segment per cycle, the first two cycles after the transfer is taken.
    """

    transfers: In(stream.Signature(TRANSFER))
    segments: Out(stream.Signature(Segment))

    def elaborate(self, platform) -> Module:
        m = Module()
        current = Signal(TRANSFER, reset_less=True)
        contiguous = Signal(reset_less=True)
        active = Signal()
        offset = Signal(WIDE_OFFSET, reset_less=True)
        line_offset = Signal(WIDE_OFFSET, reset_less=True)
        rows_left = Signal(16, reset_less=True)
        lines_left = Signal(16, reset_less=True)
        valid = Signal()
        segment = Signal(Segment, reset_less=True)

        line_done, last, step = Signal(), Signal(), Signal()
        m.d.comb += [
            self.segments.valid.eq(valid),
            self.segments.payload.eq(segment),
            line_done.eq(contiguous | (rows_left == 1)),
            last.eq(line_done & (lines_left == 1)),
            step.eq(active & (~valid | self.segments.ready)),
            self.transfers.ready.eq(~active | (step & last)),
        ]
        with m.If(self.segments.ready):
            m.d.sync += valid.eq(0)
        with m.If(step):
            m.d.sync += [
                valid.eq(1),
                segment.offset.eq(offset),
                segment.last.eq(last),
                segment.piece.eq(current.row_bytes),
                segment.position.eq(current.origin.position),
                rows_left.eq(rows_left - 1),
                offset.eq(offset + current.dram_row_stride),
            ]
            with m.If(contiguous):
                m.d.sync += segment.length.eq(current.rows * current.row_bytes)
            with m.Else():
                m.d.sync += segment.length.eq(current.row_bytes)
            with m.If(line_done):
                m.d.sync += [
                    rows_left.eq(current.rows),
                    lines_left.eq(lines_left - 1),
                    offset.eq(line_offset + current.dram_line_stride),
                    line_offset.eq(line_offset + current.dram_line_stride),
                    active.eq(~last),
                ]
        start = self.transfers.payload
        with m.If(self.transfers.valid & self.transfers.ready):
            m.d.sync += [
                current.eq(start),
                contiguous.eq(is_contiguous(start)),
                active.eq(1),
                offset.eq(start.address),
                line_offset.eq(start.address),
                rows_left.eq(start.rows),
                lines_left.eq(start.lines),
            ]
        return m
