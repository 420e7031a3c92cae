"""Rows to beats: every byte once, at its place, under its strobe, and no other strobe."""

from __future__ import annotations

from amaranth.hdl import Cat, Mux, Signal

from hw.tpu.dma.gearbox import Packer
from tests.verification.formal.harness import Formal, Property, Subject
from tests.verification.formal.seeds import Seed
from tests.verification.formal.sizes import SMALL

MODULE = "hw.tpu.dma.gearbox"
BYTES, LANES = SMALL.bus_bytes, SMALL.array
NUMBER = 4


def build(f: Formal) -> None:
    m = f.m
    m.submodules.dut = dut = Packer(SMALL)
    f.feed(dut)
    slices, beats, at = dut.slices, dut.beats, dut.slices.p
    f.assume((at.row_bytes >= 1) & (at.lane + at.row_bytes <= LANES))
    take, give = slices.valid & slices.ready, beats.valid & beats.ready
    end = at.offset + at.row_bytes
    touched = (end + BYTES - 1) // BYTES
    finished = Mux(at.joined, end // BYTES, touched)
    # a joined slice is continued where it ends
    joined, offset = Signal(), Signal(3)
    with m.If(take):
        m.d.sync += [joined.eq(at.joined), offset.eq(end % BYTES)]
    f.assume(~joined | (at.offset == offset))

    begun, given = Signal(NUMBER), Signal(NUMBER)
    m.d.sync += [begun.eq(begun + Mux(take, finished, 0)), given.eq(given + give)]
    # one byte of one beat, whichever
    number, byte = f.constant("number", NUMBER), f.constant("byte", 3)
    k = ((number - begun)[:NUMBER] * BYTES + byte - at.offset)[: NUMBER + 4]
    covered = take & (k < at.row_bytes) & ((number - begun)[:NUMBER] < touched)
    lane, arriving = Signal(1), Signal()
    written, value = Signal(), Signal(8)
    m.d.sync += [arriving.eq(covered), lane.eq(at.lane + k)]
    mine = give & (given == number)
    with m.If(mine):
        m.d.sync += written.eq(0)
    with m.If(arriving):
        m.d.sync += value.eq(dut.row.word_select(lane, 8))
    with m.If(covered):
        m.d.sync += written.eq(1)

    data, strobe = beats.p.data.word_select(byte, 8), beats.p.strobe.bit_select(byte, 1)
    f.held("held", beats, Cat(beats.p.data, beats.p.strobe))
    f.check("bytes", data == value, when=mine & written)
    f.check("strobes", strobe == written, when=mine, reached=mine & written)
    f.check("conserved", (begun - given)[:NUMBER] != 0, when=give)
    f.check("room", (begun - given)[:NUMBER] + touched <= dut.chunks, when=take)


SUBJECT = Subject(
    "packer",
    f"Packer, {LANES} lanes, beats of {BYTES} bytes, any offset",
    build,
    {
        "held": Property(
            "a beat on offer stays, unchanged, until taken",
            Seed(
                MODULE,
                "eq(complete + Mux(shifting, finishes[1], 0) - give)",
                "eq(complete + Mux(shifting, finishes[1], 0) - self.beats.valid)",
            ),
        ),
        "bytes": Property(
            "byte k of a row is written at byte offset + k of the stream of beats",
            Seed(MODULE, "far = part + lanes // cell_bytes", "far = part"),
        ),
        "strobes": Property(
            "a byte's strobe is set exactly when a row has it",
            Seed(
                MODULE,
                "masks[0].eq(lane_mask(self.config, at.lane, at.row_bytes))",
                "masks[0].eq((1 << lanes) - 1)",
            ),
        ),
        "conserved": Property(
            "no beat is given that no row completes",
            Seed(
                MODULE,
                "self.beats.valid.eq(complete != 0)",
                "self.beats.valid.eq(arriving | (complete != 0))",
            ),
        ),
        "room": Property(
            "a row is taken only when all its beats have room",
            Seed(MODULE, "reserved + span.touched <= chunks", "reserved <= chunks"),
        ),
    },
    induction=0,
    bounded=8,
)
