"""Beats to rows: each byte of a row is the one of the stream, errors stay with their beat."""

from __future__ import annotations

from amaranth.hdl import Cat, Mux, Signal

from hw.tpu.dma.gearbox import Unpacker
from tests.verification.formal.harness import Formal, Property, Subject, pick
from tests.verification.formal.seeds import Seed
from tests.verification.formal.sizes import SMALL

MODULE = "hw.tpu.dma.gearbox"
BYTES, LANES = SMALL.bus_bytes, SMALL.array
NUMBER = 4
"""Bits of a beat's number; it may wrap, as only `chunks` beats are inside."""


def build(f: Formal) -> None:
    m = f.m
    m.submodules.dut = dut = Unpacker(SMALL)
    f.feed(dut)
    beats, slices, rows, at = dut.beats, dut.slices, dut.rows, dut.slices.p
    f.assume((at.row_bytes >= 1) & (at.lane + at.row_bytes <= LANES))
    f.assume_held("beats", beats)
    arrive, take = beats.valid & beats.ready, slices.valid & slices.ready
    end = at.offset + at.row_bytes
    touched = (end + BYTES - 1) // BYTES
    freed = Mux(at.joined, end // BYTES, touched)

    came, gone = Signal(NUMBER), Signal(NUMBER)  # numbers of the next beat in and of the first held
    m.d.sync += [came.eq(came + arrive), gone.eq(gone + Mux(take, freed, 0))]
    # one beat, and one byte of a row, whichever
    number, chosen, value = Signal(NUMBER), Signal(), Signal(beats.p.shape())
    with m.If(chosen & take & ((number - gone)[:NUMBER] < freed)):
        m.d.sync += chosen.eq(0)
    with m.If(arrive & f.free("mark") & ~chosen):
        m.d.sync += [chosen.eq(1), number.eq(came), value.eq(beats.p)]
    which = f.constant("which", 1)
    place = at.offset + which
    mine = take & (which < at.row_bytes) & chosen
    mine = mine & (number == (gone + place // BYTES)[:NUMBER])
    expect, byte, lane = Signal(), Signal(8), Signal(1)
    m.d.sync += [
        expect.eq(mine),
        byte.eq(value.data.word_select((place % BYTES)[:3], 8)),
        lane.eq(at.lane + which),
    ]
    bad_in = take & chosen & value.error & ((number - gone)[:NUMBER] < touched)
    bad = f.past(bad_in, "bad")

    chunks = dut.chunks
    held = (came - gone)[:NUMBER]
    level = f.peek("dut.level", range(chunks + 1))
    ring = [f.peek(f"dut.ring{n}", SMALL.bus_bits) for n in range(chunks)]
    errors = f.peek("dut.errors", chunks)
    f.lemma(level == held)
    f.lemma(level <= chunks)
    f.lemma(f.peek("dut.write", range(chunks)) == came % chunks)
    f.lemma(f.peek("dut.read", range(chunks)) == gone % chunks)
    f.lemma(~chosen | ((number - gone)[:NUMBER] < held))
    f.lemma(~chosen | (pick(ring, number % chunks) == value.data))
    f.lemma(~chosen | (errors.bit_select(number[: chunks.bit_length() - 1], 1) == value.error))
    no_error = ~f.latch("error", arrive & beats.p.error)
    for n in range(chunks):
        inside = (n - gone)[:2] < held
        f.lemma(~no_error | ~inside | ~errors[n])

    f.held("held", rows, Cat(rows.p.data, rows.p.error))
    f.check("bytes", rows.p.data.word_select(lane, 8) == byte, when=expect & rows.valid)
    f.check("row_for_each", rows.valid, when=f.past(take, "take"))
    f.check("error_kept", rows.p.error, when=bad & rows.valid)
    fresh = f.past(take, "took") & f.past(no_error, "clean")
    f.check("no_false_error", ~rows.p.error, when=fresh & rows.valid)
    f.check("room", held < chunks, when=beats.ready & beats.valid, reached=held == chunks - 1)
    f.check("never_starved", slices.ready, when=(held >= touched) & ~rows.valid & slices.valid)
    f.check("all_beats_here", held >= touched, when=take)
    f.check("takes_beats", beats.ready, when=held < chunks)


SUBJECT = Subject(
    "unpacker",
    f"Unpacker, {LANES} lanes, beats of {BYTES} bytes, any offset",
    build,
    {
        "held": Property(
            "a row on offer stays, unchanged, until taken",
            Seed(MODULE, "& (~valid | self.rows.ready)", ""),
        ),
        "bytes": Property(
            "byte k of a row is byte offset + k of the stream of beats",
            Seed(
                MODULE, "start.eq(Cat(at.offset, read) - at.lane)", "start.eq(Cat(at.offset, read))"
            ),
        ),
        "row_for_each": Property(
            "every slice gives a row, in the cycle after",
            Seed(
                MODULE,
                "                valid.eq(1),\n                row.data",
                "                valid.eq(at.joined),\n                row.data",
            ),
        ),
        "error_kept": Property(
            "a row has the error of each of its beats",
            Seed(MODULE, "[:chunks] & touched != 0", "[:chunks] & touched == 1"),
        ),
        "no_false_error": Property(
            "without a bad beat no row has an error",
            Seed(MODULE, "[:chunks] & touched != 0", "[:chunks] != 0"),
        ),
        "room": Property(
            "a beat is taken only when there is room",
            Seed(MODULE, "self.beats.ready.eq(level != chunks)", "self.beats.ready.eq(1)"),
        ),
        "never_starved": Property(
            "a slice whose beats are here is taken when the row register is free",
            Seed(MODULE, "(level >= span.touched)", "(level > span.touched)"),
        ),
        "all_beats_here": Property(
            "a slice is taken only when all its beats are here",
            Seed(MODULE, "(level >= span.touched)", "(level >= span.finished)"),
        ),
        "takes_beats": Property(
            "a beat is taken whenever there is room",
            Seed(MODULE, "self.beats.ready.eq(level != chunks)", "self.beats.ready.eq(level == 0)"),
        ),
    },
)
