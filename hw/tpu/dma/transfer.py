"""A LOAD or STORE without its header, and the walk over its rows."""

from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from hw.tpu import isa
from hw.tpu.interfaces import Origin

HEADER = ("opcode", "wait", "signal", "tag")
OFFSET_BITS = 32
"""Bits of a DRAM offset known to be below `dram_size`."""

TRANSFER = data.StructLayout(
    {"origin": Origin}
    | {
        name: Shape(field.bits, signed=field.signed)
        for name, field in isa.Load.fields.items()
        if name not in HEADER
    }
)
"""The fields of `isa.Load` and whose they are."""


class RowStep(data.Struct):
    """One row of a transfer."""

    row: isa.ROW_BITS
    """On chip."""
    offset: OFFSET_BITS
    """In DRAM, of its first byte, modulo 2**32."""
    joined: 1
    """The next row begins at the byte after this one, in the same segment."""
    last: 1
    """The last row of the transfer."""


def assign_transfer(target, command) -> list:
    """Statements that fill a `TRANSFER` from a payload of `interfaces.command`."""
    op = command.op
    origin = target.origin
    return [
        origin.position.eq(command.position),
        origin.tag.eq(op.tag),
        origin.signal.eq(op.signal),
        *(target[name].eq(op[name]) for name, _ in TRANSFER if name != "origin"),
    ]


def is_contiguous(transfer):
    """Whether every row of a line begins at the byte after the row before it."""
    return transfer.dram_row_stride == transfer.row_bytes


class RowWalker(Component):
    """Turns a transfer into its rows, in order.

    One row per cycle, the first in the cycle after the transfer is taken; the next transfer is
    taken together with the last row, so that no cycle is lost between transfers. `current` is the
    transfer that `rows` belongs to.
    """

    transfers: In(stream.Signature(TRANSFER))
    rows: Out(stream.Signature(RowStep))
    current: Out(TRANSFER)

    def elaborate(self, platform) -> Module:
        m = Module()
        step = self.rows.payload
        current = Signal(TRANSFER, reset_less=True)
        contiguous = Signal(reset_less=True)
        active = Signal()
        row = Signal(isa.ROW_BITS, reset_less=True)
        line_row = Signal(isa.ROW_BITS, reset_less=True)
        offset = Signal(OFFSET_BITS, reset_less=True)
        line_offset = Signal(OFFSET_BITS, reset_less=True)
        rows_left = Signal(16, reset_less=True)
        lines_left = Signal(16, reset_less=True)

        last_row, last, taken = Signal(), Signal(), Signal()
        m.d.comb += [
            self.current.eq(current),
            self.rows.valid.eq(active),
            last_row.eq(rows_left == 1),
            last.eq(last_row & (lines_left == 1)),
            taken.eq(active & self.rows.ready),
            step.row.eq(row),
            step.offset.eq(offset),
            step.joined.eq(contiguous & ~last_row),
            step.last.eq(last),
            self.transfers.ready.eq(~active | (taken & last)),
        ]
        with m.If(taken):
            with m.If(last_row):
                m.d.sync += [
                    row.eq(line_row + current.line_stride),
                    line_row.eq(line_row + current.line_stride),
                    offset.eq(line_offset + current.dram_line_stride),
                    line_offset.eq(line_offset + current.dram_line_stride),
                    rows_left.eq(current.rows),
                    lines_left.eq(lines_left - 1),
                    active.eq(~last),
                ]
            with m.Else():
                m.d.sync += [
                    row.eq(row + current.row_stride),
                    offset.eq(offset + current.dram_row_stride),
                    rows_left.eq(rows_left - 1),
                ]
        start = self.transfers.payload
        with m.If(self.transfers.valid & self.transfers.ready):
            m.d.sync += [
                current.eq(start),
                contiguous.eq(is_contiguous(start)),
                active.eq(1),
                row.eq(start.base),
                line_row.eq(start.base),
                offset.eq(start.address),
                line_offset.eq(start.address),
                rows_left.eq(start.rows),
                lines_left.eq(start.lines),
            ]
        return m
