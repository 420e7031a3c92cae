"""The weight FIFO: whole tiles, each row at its place, none over a tile that is still wanted."""

from __future__ import annotations

from amaranth.hdl import Signal

from hw.tpu.weights import WeightFifo
from tests.verification.formal.harness import Formal, Property, Subject, pick
from tests.verification.formal.seeds import Seed
from tests.verification.formal.sizes import SMALL

MODULE = "hw.tpu.weights"
N = SMALL.array
DEPTH = N * SMALL.weight_tiles
NUMBER = 4


def build(f: Formal) -> None:
    m = f.m
    m.submodules.dut = dut = WeightFifo(SMALL)
    f.feed(dut)
    f.assume(~dut.take | dut.ready)
    accept = dut.rows.valid & dut.rows.ready

    came, sent = Signal(NUMBER), Signal(NUMBER)  # rows taken; rows of tiles wholly sent
    shifts = Signal(range(N + 1))  # of the tile that is being sent
    m.d.sync += came.eq(came + accept)
    with m.If(dut.shift):
        m.d.sync += shifts.eq(shifts + 1)
        with m.If(shifts == N - 1):
            m.d.sync += [shifts.eq(0), sent.eq(sent + N)]
    number, value, chosen = Signal(NUMBER), Signal(8 * N), Signal()
    now = dut.shift & (number == (sent + N - 1 - shifts)[:NUMBER])
    with m.If(chosen & now):
        m.d.sync += chosen.eq(0)
    with m.If(accept & f.free("mark") & ~chosen):
        m.d.sync += [chosen.eq(1), number.eq(came), value.eq(dut.rows.payload)]
    tile = Signal()  # a tile is in the shadow weights or on its way there
    with m.If(dut.take):
        m.d.sync += tile.eq(0)
    begins = f.peek("dut.start")
    with m.If(begins):
        m.d.sync += tile.eq(1)

    level, full = f.peek("dut.level", range(DEPTH + 1)), f.peek("dut.full")
    loading, count = f.peek("dut.loading"), f.peek("dut.count", range(N))
    write_row, read_tile = f.peek("dut.write_row", range(DEPTH)), f.peek("dut.read_tile", 1)
    memory = [f.peek(f"dut.memory[{n}]", 8 * N) for n in range(DEPTH)]
    # the level falls with a tile's last read, one cycle before its last shift
    ending = dut.shift & ~loading
    f.lemma(level + (dut.shift & (shifts == N - 1)) * N == (came - sent)[:NUMBER])
    f.lemma((level <= DEPTH) & ~(full & loading))
    f.lemma(write_row == came % DEPTH)
    f.lemma((read_tile * N) == ((sent + (dut.shift & (shifts == N - 1)) * N) % DEPTH))
    f.lemma(~loading | ((level >= N) & (count == shifts + 1) & dut.shift))
    f.lemma(loading | (count == 0))
    f.lemma(~ending | (shifts == N - 1))
    f.lemma(dut.shift | (shifts == 0))
    f.lemma(tile == (loading | full))
    f.lemma(~chosen | ((number - sent)[:NUMBER] < (came - sent)[:NUMBER]))
    f.lemma(~chosen | (pick(memory, number % DEPTH) == value) | now)
    f.lemma(~chosen | ~now | (dut.tile_row == value))
    f.lemma(~chosen | ((number - sent)[:NUMBER] < N - shifts) | ((number - sent)[:NUMBER] >= N))
    f.lemma(~dut.shift_first | (dut.shift & (shifts == 0)))
    f.lemma(dut.shift_first == (dut.shift & (shifts == 0)))

    f.check("rows", dut.tile_row == value, when=chosen & now)
    f.check("whole_tiles", dut.shift, when=shifts != 0)
    f.check("marked", dut.shift_first == (shifts == 0), when=dut.shift)
    f.check("not_over_a_tile", ~tile, when=begins)
    f.check("stays_ready", dut.ready, when=f.past(dut.ready & ~dut.take, "ready"))
    last = f.past(dut.ready & ~full, "last")
    f.check("ready_in_time", dut.shift & (shifts == N - 1), when=last)
    f.check("room", (came - sent)[:NUMBER] <= DEPTH, reached=level == DEPTH)
    f.check("starts_at_once", begins, when=~tile & (level >= N))


SUBJECT = Subject(
    "weights",
    f"WeightFifo, {SMALL.weight_tiles} tiles of {N} rows",
    build,
    {
        "rows": Property(
            "a tile goes to the array last row first, each row as it was loaded",
            Seed(MODULE, "(n - 1 - count)", "count"),
        ),
        "whole_tiles": Property(
            "the rows of a tile go in consecutive cycles",
            Seed(MODULE, "self.shift.eq(loading | start)", "self.shift.eq(start)"),
        ),
        "marked": Property(
            "shift_first marks the first row of a tile and no other",
            Seed(MODULE, "self.shift_first.eq(start)", "self.shift_first.eq(last)"),
        ),
        "not_over_a_tile": Property(
            "no tile goes to the array before the one before it was taken",
            Seed(
                MODULE,
                "start.eq(~loading & ~full & (level >= n))",
                "start.eq(~loading & (level >= n))",
            ),
        ),
        "stays_ready": Property(
            "a tile that is ready stays so until taken",
            Seed(MODULE, "full.eq(~self.take)", "full.eq(0)"),
        ),
        "ready_in_time": Property(
            "ready comes with the last row of a tile, not before",
            Seed(MODULE, "self.ready.eq(full | last)", "self.ready.eq(full | loading | start)"),
        ),
        "room": Property(
            "no more rows are taken than fit",
            Seed(MODULE, "self.rows.ready.eq(level != depth)", "self.rows.ready.eq(1)"),
        ),
        "starts_at_once": Property(
            "a whole tile starts to shift as soon as the shadow weights are free",
            Seed(MODULE, "(level >= n))", "(level > n))"),
        ),
    },
)
