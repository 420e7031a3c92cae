"""The walk over a transfer's rows: each once, in order, on chip and in DRAM where strides say."""

from __future__ import annotations

from amaranth.hdl import Signal

from hw.tpu import isa
from hw.tpu.dma.transfer import OFFSET_BITS, RowWalker
from tests.verification.formal.harness import Formal, Property, Subject
from tests.verification.formal.seeds import Seed

MODULE = "hw.tpu.dma.transfer"


def build(f: Formal) -> None:
    m = f.m
    m.submodules.dut = dut = RowWalker()
    f.feed(dut)
    new, out = dut.transfers.p, dut.rows.p
    f.assume((new.rows >= 1) & (new.lines >= 1))
    take, given = (s.valid & s.ready for s in (dut.transfers, dut.rows))

    current = Signal(new.shape())
    row, line, busy = Signal(16), Signal(16), Signal()
    across, down = Signal(OFFSET_BITS), Signal(OFFSET_BITS)
    right, below = Signal(isa.ROW_BITS), Signal(isa.ROW_BITS)
    line_ends = row + 1 == current.rows
    ends = line_ends & (line + 1 == current.lines)
    with m.If(given):
        m.d.sync += [
            row.eq(row + 1),
            across.eq(across + current.dram_row_stride),
            right.eq(right + current.row_stride),
            busy.eq(~ends),
        ]
        with m.If(line_ends):
            m.d.sync += [
                row.eq(0),
                across.eq(0),
                right.eq(0),
                line.eq(line + 1),
                down.eq(down + current.dram_line_stride),
                below.eq(below + current.line_stride),
            ]
    with m.If(take):
        m.d.sync += [current.eq(new), busy.eq(1)]
        m.d.sync += [each.eq(0) for each in (row, line, across, down, right, below)]
    offset, address = Signal(OFFSET_BITS), Signal(isa.ROW_BITS)
    line_offset, line_address = Signal(OFFSET_BITS), Signal(isa.ROW_BITS)
    m.d.comb += [
        line_offset.eq(current.address + down),
        line_address.eq(current.base + below),
        offset.eq(line_offset + across),
        address.eq(line_address + right),
    ]
    joined = current.dram_row_stride == current.row_bytes
    f.lemma(f.peek("dut.active") == busy)
    f.lemma(~busy | (f.peek("dut.current", len(current.as_value())) == current.as_value()))
    f.lemma(~busy | (f.peek("dut.contiguous") == joined))
    f.lemma(~busy | (f.peek("dut.line_offset", OFFSET_BITS) == line_offset))
    f.lemma(~busy | (f.peek("dut.line_row", isa.ROW_BITS) == line_address))
    f.lemma(~busy | (f.peek("dut.rows_left", 16) == current.rows - row))
    f.lemma(~busy | (f.peek("dut.lines_left", 16) == current.lines - line))
    f.lemma(~busy | ((row < current.rows) & (line < current.lines)))

    valid = dut.rows.valid
    f.held("held", dut.rows)
    f.check("row", out.row == address, when=valid, reached=valid & (row == 1) & (line == 1))
    f.check("offset", out.offset == offset, when=valid, reached=valid & (row == 1) & (line == 1))
    f.check("last", out.last == ends, when=valid, reached=valid & out.last)
    f.check("joined", out.joined == (joined & ~line_ends), when=valid, reached=out.joined & valid)
    f.check("whose", dut.current.as_value() == current.as_value(), when=valid)
    f.check("all_of_it", ~busy | (given & ends), when=take, reached=take & (row == 1))
    f.check("one_a_cycle", valid, when=busy)
    f.check("takes_with_last", dut.transfers.ready, when=given & ends)


SUBJECT = Subject(
    "rows",
    "RowWalker, all sizes and strides",
    build,
    {
        "held": Property(
            "a row on offer stays, unchanged, until taken",
            Seed(MODULE, "taken.eq(active & self.rows.ready)", "taken.eq(active)"),
        ),
        "row": Property(
            "the row on chip is base + line * line stride + row * row stride",
            Seed(MODULE, "row.eq(row + current.row_stride)", "row.eq(row + current.line_stride)"),
        ),
        "offset": Property(
            "the offset in DRAM is address + line * line stride + row * row stride",
            Seed(
                MODULE,
                "offset.eq(offset + current.dram_row_stride)",
                "offset.eq(offset + current.row_bytes)",
            ),
        ),
        "last": Property(
            "`last` comes with the last row of a transfer and no other",
            Seed(MODULE, "last.eq(last_row & (lines_left == 1))", "last.eq(last_row)"),
        ),
        "joined": Property(
            "`joined` says that the next row follows in the same segment",
            Seed(MODULE, "step.joined.eq(contiguous & ~last_row)", "step.joined.eq(contiguous)"),
        ),
        "whose": Property(
            "`current` is the transfer of the row on offer",
            Seed(MODULE, "current.eq(start),", "current.line_stride.eq(start.line_stride),"),
        ),
        "all_of_it": Property(
            "the next transfer is taken only together with the last row of the one before",
            Seed(MODULE, "rows_left.eq(current.rows)", "rows_left.eq(1)"),
        ),
        "one_a_cycle": Property(
            "while a transfer is in work there is a row in every cycle",
            Seed(MODULE, "active.eq(~last)", "active.eq(~last_row)"),
        ),
        "takes_with_last": Property(
            "the next transfer can be taken together with the last row",
            Seed(MODULE, "(~active | (taken & last))", "(~active)"),
        ),
    },
)
