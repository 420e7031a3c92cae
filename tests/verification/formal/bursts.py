"""Segments of DRAM to bursts: AXI's 4 KiB rule, every byte once, nothing outside the DRAM."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Mux, Signal

from hw.tpu.dma.bursts import BurstSplitter
from hw.tpu.dma.segments import WIDE_OFFSET
from tests.verification.formal.harness import Formal, Property, Subject
from tests.verification.formal.seeds import Seed
from tests.verification.formal.sizes import SMALL

MODULE = "hw.tpu.dma.bursts"
BYTES = SMALL.bus_bytes
SHIFT = BYTES.bit_length() - 1


def build(f: Formal) -> None:
    m = f.m
    m.submodules.dut = dut = BurstSplitter(SMALL)
    f.feed(dut, "dram")
    # the host leaves both alone during a run; the base is a page's
    size, page = f.constant("size", 32), f.constant("page", SMALL.address_bits - 12)
    m.d.comb += [dut.dram_size.eq(size), dut.dram_base.eq(Cat(Const(0, 12), page))]
    segments, bursts, segment, out = dut.segments, dut.bursts, dut.segments.p, dut.bursts.p
    f.assume((segment.length != 0) & (segment.piece != 0))
    accept, taken = segments.valid & segments.ready, bursts.valid & bursts.ready

    # what the segment in work must still become, from its definition
    beat, left = Signal(29), Signal(32)
    last, bad = Signal(), Signal()
    inside = (segment.offset >= 0) & (segment.offset + segment.length <= size)
    first = segment.offset >> SHIFT
    beats = ((segment.offset + segment.length + BYTES - 1) >> SHIFT) - first
    with m.If(taken):
        m.d.sync += [beat.eq(beat + out.beats), left.eq(left - out.beats)]
    with m.If(accept):
        m.d.sync += [
            beat.eq(first),
            left.eq(Mux(inside, beats, 0)),
            last.eq(segment.last),
            bad.eq(~inside),
        ]
    with m.If(dut.clear):
        m.d.sync += [left.eq(0), bad.eq(0)]
    active, index = f.peek("dut.active"), f.peek("dut.index", 29)
    searching, failed = f.peek("dut.searching"), f.peek("dut.failed")
    suspect, piece = f.peek("dut.suspect", WIDE_OFFSET), f.peek("dut.piece", 9)
    f.lemma(active == (left != 0))
    f.lemma(~active | ((index == beat) & (f.peek("dut.left", 28) == left)))
    f.lemma(~active | (f.peek("dut.last") == last))
    f.lemma(bad == (searching | failed))
    f.lemma(~(active & bad) & ~(searching & failed))
    end = Signal(34)
    m.d.comb += end.eq((beat + left) << SHIFT)
    f.lemma(~active | (end <= size + (BYTES - 1)))
    f.lemma((piece != 0) | ~bad)

    waiting = f.past(bursts.valid & ~bursts.ready & ~dut.clear, "waiting")
    same = out.as_value() == f.past(out, "burst")
    f.check("held", bursts.valid & same, when=waiting)
    f.check("four_kib", out.address[:12] + out.beats * BYTES <= 4096, when=bursts.valid)
    f.check("size", (out.beats >= 1) & (out.beats <= SMALL.burst_beats), when=bursts.valid)
    f.check("follows", (out.offset == beat << SHIFT) & (out.beats <= left), when=bursts.valid)
    f.check("complete", left == 0, when=accept & ~taken, reached=accept & f.latch("t", taken))
    f.check("complete_with_last", left == out.beats, when=accept & taken)
    f.check("no_needless_wait", segments.ready, when=taken & (left == out.beats))
    f.check("last", out.last == (last & (left == out.beats)), when=bursts.valid)
    upper = (out.offset + out.beats * BYTES) <= size + (BYTES - 1)
    f.check("in_dram", upper, when=bursts.valid)
    address = Signal(SMALL.address_bits)
    m.d.comb += address.eq(dut.dram_base + out.offset)
    f.check("address", out.address == address, when=bursts.valid)
    f.check("stops_at_a_fault", ~bursts.valid & ~segments.ready, when=bad)
    outside = (suspect < 0) | (suspect + piece > size)
    f.check("fault_is_outside", outside & bad, when=dut.fault.valid)
    f.check("search_ends", dut.fault.valid, when=f.past(searching & outside & ~dut.clear, "s"))


SUBJECT = Subject(
    "bursts",
    f"BurstSplitter, bursts of up to {SMALL.burst_beats} beats of {BYTES} bytes",
    build,
    {
        "held": Property(
            "a burst on offer stays, unchanged, unless the unit is cleared",
            Seed(MODULE, "taken.eq(active & self.bursts.ready)", "taken.eq(active)"),
        ),
        "four_kib": Property(
            "no burst crosses 4 KiB",
            Seed(MODULE, "Mux(final, left, room)", "Mux(final, left, self.config.burst_beats)"),
        ),
        "size": Property(
            "a burst has 1 to burst_beats beats",
            Seed(MODULE, "active.eq(~final),", "active.eq(1),"),
        ),
        "follows": Property(
            "each burst begins where the one before it ended, the first with its segment",
            Seed(MODULE, "index.eq(index + out.beats)", "index.eq(index + room + 1)"),
        ),
        "complete": Property(
            "a segment is taken only when the one before it is covered to its last byte",
            Seed(MODULE, "+ (self.config.bus_bytes - 1)) >> beat_log2", ") >> beat_log2"),
        ),
        "complete_with_last": Property(
            "a segment taken together with a burst is taken with the last one",
            Seed(MODULE, "(~active | (taken & final))", "(~active | taken)"),
        ),
        "no_needless_wait": Property(
            "the next segment can be taken together with the last burst",
            Seed(MODULE, "(~active | (taken & final))", "~active"),
        ),
        "last": Property(
            "`last` comes with the last burst of a transfer's last segment and no other",
            Seed(MODULE, "out.last.eq(final & last)", "out.last.eq(last)"),
        ),
        "in_dram": Property(
            "no burst leaves the DRAM, but for the rest of its last beat",
            Seed(MODULE, "(start + length <= self.dram_size)", "(start <= self.dram_size)"),
        ),
        "address": Property(
            "the bus address is the offset from the DRAM base",
            Seed(
                MODULE,
                "out.address.eq(self.dram_base + out.offset)",
                "out.address.eq(self.dram_base | (out.offset >> 1 << 1) | index[0])",
            ),
        ),
        "stops_at_a_fault": Property(
            "after a segment that leaves the DRAM there is no burst until cleared",
            Seed(MODULE, "active.eq(inside),", "active.eq(1),"),
        ),
        "fault_is_outside": Property(
            "the piece that a fault names lies outside the DRAM",
            Seed(
                MODULE, "suspect.eq(suspect + piece)", "[suspect.eq(suspect + piece), failed.eq(1)]"
            ),
        ),
        "search_ends": Property(
            "the search for the first piece outside ends there",
            Seed(MODULE, "[searching.eq(0), failed.eq(1)]", "suspect.eq(suspect + piece)"),
        ),
    },
)
