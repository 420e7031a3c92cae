"""Transfers to segments: every row of every line once, in order, where its strides say."""

from __future__ import annotations

from amaranth.hdl import Mux, Signal

from hw.tpu.dma.segments import WIDE_OFFSET, SegmentGenerator
from tests.verification.formal.harness import Formal, Property, Subject
from tests.verification.formal.seeds import Seed

MODULE = "hw.tpu.dma.segments"
MOST = 7
"""Rows and row bytes, so that their product is small; nothing else depends on them."""


def build(f: Formal) -> None:
    m = f.m
    m.submodules.dut = dut = SegmentGenerator()
    f.feed(dut)
    new, out = dut.transfers.p, dut.segments.p
    f.assume((new.rows >= 1) & (new.rows <= MOST) & (new.lines >= 1) & (new.row_bytes >= 1))
    f.assume(new.row_bytes <= MOST)
    take, given = (s.valid & s.ready for s in (dut.transfers, dut.segments))

    # the transfer in work, and the row and line of the next segment to be made
    current = Signal(new.shape())
    row, line = Signal(16), Signal(16)
    across, down = Signal(WIDE_OFFSET), Signal(WIDE_OFFSET)
    busy = Signal()
    joined = current.dram_row_stride == current.row_bytes
    line_ends = joined | (row + 1 == current.rows)
    ends = line_ends & (line + 1 == current.lines)
    # the output register is filled whenever it is free
    makes = busy & (~dut.segments.valid | dut.segments.ready)
    expected, expected_length, expected_last = Signal(WIDE_OFFSET), Signal(30), Signal()
    with m.If(makes):
        m.d.sync += [
            expected.eq(current.address + across + down),
            expected_length.eq(Mux(joined, current.rows * current.row_bytes, current.row_bytes)),
            expected_last.eq(ends),
            row.eq(Mux(line_ends, 0, row + 1)),
            across.eq(Mux(line_ends, 0, across + current.dram_row_stride)),
            busy.eq(~ends),
        ]
        with m.If(line_ends):
            m.d.sync += [line.eq(line + 1), down.eq(down + current.dram_line_stride)]
    with m.If(take):
        m.d.sync += [current.eq(new), busy.eq(1), row.eq(0), line.eq(0), across.eq(0), down.eq(0)]
    f.lemma(f.peek("dut.active") == busy)
    held = f.peek("dut.current", len(current.as_value()))
    f.lemma(~busy | (held == current.as_value()))
    f.lemma(~busy | (f.peek("dut.contiguous") == joined))
    f.lemma(~busy | ((row < current.rows) & (line < current.lines)))
    f.lemma(~busy | (current.rows <= MOST) & (current.row_bytes <= MOST))
    start = Signal(WIDE_OFFSET)
    m.d.comb += start.eq(current.address + down)
    f.lemma(~busy | (f.peek("dut.line_offset", WIDE_OFFSET) == start))
    here = Signal(WIDE_OFFSET)
    m.d.comb += here.eq(start + across)
    f.lemma(~busy | (f.peek("dut.offset", WIDE_OFFSET) == here))
    f.lemma(~busy | (f.peek("dut.lines_left", 16) == current.lines - line))
    f.lemma(~busy | (f.peek("dut.rows_left", 16) == current.rows - row) | joined)

    f.held("held", dut.segments)
    valid = dut.segments.valid
    f.check("offset", out.offset == expected, when=valid, reached=valid & (line == 2))
    f.check("length", out.length == expected_length, when=valid, reached=valid & joined & busy)
    f.check("last", out.last == expected_last, when=valid, reached=valid & out.last)
    f.check("all_of_it", ~busy | (makes & ends), when=take, reached=take & f.latch("g", given))
    f.check("one_a_cycle", valid, when=f.past(busy, "busy"))
    f.check("takes_with_last", dut.transfers.ready, when=makes & ends)


SUBJECT = Subject(
    "segments",
    f"SegmentGenerator, lines of up to {MOST} rows of up to {MOST} bytes, all strides",
    build,
    {
        "held": Property(
            "a segment on offer stays, unchanged, until taken",
            Seed(MODULE, "(~valid | self.segments.ready)", "1"),
        ),
        "offset": Property(
            "a segment begins at address + line * line stride + row * row stride",
            Seed(
                MODULE,
                "line_offset.eq(line_offset + current.dram_line_stride)",
                "line_offset.eq(offset)",
            ),
        ),
        "length": Property(
            "a segment is a whole line where rows join, else one row",
            Seed(MODULE, "current.rows * current.row_bytes", "current.row_bytes"),
        ),
        "last": Property(
            "`last` comes with the last segment of a transfer and no other",
            Seed(MODULE, "last.eq(line_done & (lines_left == 1))", "last.eq(lines_left == 1)"),
        ),
        "all_of_it": Property(
            "the next transfer is taken only when every row of every line was given",
            Seed(MODULE, "rows_left.eq(current.rows)", "rows_left.eq(1)"),
        ),
        "one_a_cycle": Property(
            "while a transfer is in work there is a segment in every cycle",
            Seed(
                MODULE,
                "step.eq(active & (~valid | self.segments.ready))",
                "step.eq(active & ~valid)",
            ),
        ),
        "takes_with_last": Property(
            "the next transfer can be taken together with the last segment",
            Seed(MODULE, "(~active | (step & last))", "(~active)"),
        ),
    },
)
