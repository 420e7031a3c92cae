"""Bus beats to rows of any length at any byte, and back."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out
from amaranth.utils import exact_log2

from hw.tpu.config import TpuConfig
from hw.tpu.dma.ports import read_beat


def row_slice(config: TpuConfig) -> data.StructLayout:
    """Where the bytes of a row are: in lanes and in the stream of beats."""
    return data.StructLayout(
        {
            "offset": exact_log2(config.bus_bytes),  # of its first byte in its first beat
            "row_bytes": 9,
            "lane": 8,
            "joined": 1,  # the next row begins at the next byte, not in a beat of its own
        }
    )


def lane_mask(config: TpuConfig, lane, row_bytes):
    """Ones for the `row_bytes` lanes from `lane` on; needs `lane + row_bytes <= array`."""
    lanes = config.array
    bits = exact_log2(lanes)
    ones = Const((1 << lanes) - 1, lanes) >> (lanes - row_bytes)[:bits]
    return (ones << lane[:bits])[:lanes]


def byte_mask(mask):
    """Every bit of `mask` eight times."""
    return Cat(bit.replicate(8) for bit in mask)


class _Span:
    """Beats that a slice touches, and those that the next slice does not share."""

    def __init__(self, m: Module, config: TpuConfig, at) -> None:
        beat_log2 = exact_log2(config.bus_bytes)
        most = (config.array + 2 * config.bus_bytes) // config.bus_bytes
        end = Signal(range(config.array + config.bus_bytes + 1))
        self.touched, self.finished = Signal(range(most + 1)), Signal(range(most + 1))
        m.d.comb += [
            end.eq(at.offset + at.row_bytes),
            self.touched.eq((end + (config.bus_bytes - 1)) >> beat_log2),
            self.finished.eq(Mux(at.joined, end >> beat_log2, self.touched)),
        ]


class Unpacker(Component):
    """Cuts a stream of beats into rows.

    Each slice gives one row, in the cycle after the slice is taken. Lanes outside the slice hold
    anything. `error` is set if a beat of the row had it. Takes one beat and gives one row per
    cycle, as long as the sizes allow; holds at most `chunks` beats.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        # A row may straddle one beat more than its size; another beat arrives meanwhile.
        self.ring_bytes = max(2 * config.array, 4 * config.bus_bytes)
        self.chunks = self.ring_bytes // config.bus_bytes
        row = data.StructLayout({"data": config.array * 8, "error": 1})
        super().__init__(
            {
                "beats": In(stream.Signature(read_beat(config))),
                "slices": In(stream.Signature(row_slice(config))),
                "rows": Out(stream.Signature(row)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        lanes, chunks = self.config.array, self.chunks
        beat, at = self.beats.payload, self.slices.payload
        ring = [
            Signal(self.config.bus_bits, name=f"ring{n}", reset_less=True) for n in range(chunks)
        ]
        errors = Signal(chunks, reset_less=True)
        write = Signal(range(chunks))
        read = Signal(range(chunks))
        level = Signal(range(chunks + 1))
        valid = Signal()
        row = Signal(self.rows.payload.shape(), reset_less=True)

        span = _Span(m, self.config, at)
        arrive, take, freed = Signal(), Signal(), Signal(range(chunks + 1))
        m.d.comb += [
            self.beats.ready.eq(level != chunks),
            arrive.eq(self.beats.valid & self.beats.ready),
            self.slices.ready.eq((level >= span.touched) & (~valid | self.rows.ready)),
            take.eq(self.slices.valid & self.slices.ready),
            freed.eq(Mux(take, span.finished, 0)),
            self.rows.valid.eq(valid),
            self.rows.payload.eq(row),
        ]
        m.d.sync += level.eq(level + arrive - freed)
        with m.If(arrive):
            m.d.sync += write.eq(write + 1)
            with m.Switch(write):
                for number, chunk in enumerate(ring):
                    with m.Case(number):
                        m.d.sync += [chunk.eq(beat.data), errors[number].eq(beat.error)]
        with m.If(self.rows.ready):
            m.d.sync += valid.eq(0)

        # Lane 0 of the row, as a byte of the ring; before the slice's first byte if lane > 0.
        start = Signal(range(self.ring_bytes))
        m.d.comb += start.eq(Cat(at.offset, read) - at.lane)
        low, high = start[: exact_log2(lanes)], start[exact_log2(lanes) :]
        whole = Cat(ring)
        words = [whole.word_select(n, 8 * lanes) for n in range(self.ring_bytes // lanes)]
        here, beyond = Array(words)[high], Array(words[1:] + words[:1])[high]
        touched = Const((1 << chunks) - 1, chunks) >> (chunks - span.touched)[: chunks.bit_length()]
        with m.If(take):
            m.d.sync += [
                read.eq(read + span.finished),
                valid.eq(1),
                row.data.eq(Cat(here, beyond) >> Cat(Const(0, 3), low)),
                row.error.eq((errors.replicate(2) >> read)[:chunks] & touched != 0),
            ]
        return m


class Packer(Component):
    """Joins rows into beats with strobes: the `Unpacker`'s inverse.

    The row of a slice is expected on `row` in the cycle after the slice is taken (the contract of
    `RowRead`). A beat is given once every row in it is there. Takes one row and gives one beat
    per cycle, as long as the sizes allow; holds at most `chunks` beats. A beat comes three cycles
    after the slice that completes it.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        # Twice the unpacker's, to cover the cycles from slice to beat.
        self.ring_bytes = max(4 * config.array, 8 * config.bus_bytes)
        self.chunks = self.ring_bytes // config.bus_bytes
        beat = data.StructLayout({"data": config.bus_bits, "strobe": config.bus_bytes})
        super().__init__(
            {
                "slices": In(stream.Signature(row_slice(config))),
                "row": In(config.array * 8),
                "beats": Out(stream.Signature(beat)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        lanes, chunks, bus_bytes = self.config.array, self.chunks, self.config.bus_bytes
        at = self.slices.payload
        span = _Span(m, self.config, at)
        take, give = Signal(), Signal()
        write = Signal(range(chunks))
        read = Signal(range(chunks))
        reserved, complete = Signal(range(chunks + 1)), Signal(range(chunks + 1))
        m.d.comb += [
            self.slices.ready.eq(reserved + span.touched <= chunks),
            take.eq(self.slices.valid & self.slices.ready),
            give.eq(self.beats.valid & self.beats.ready),
        ]
        m.d.sync += reserved.eq(reserved + Mux(take, span.finished, 0) - give)

        # Two steps behind a taken slice: its row arrives, its row is shifted into the ring.
        arriving, shifting = Signal(), Signal()
        starts = [Signal(range(self.ring_bytes), reset_less=True) for _ in range(2)]
        masks = [Signal(lanes, reset_less=True) for _ in range(2)]
        finishes = [Signal(range(chunks + 1), reset_less=True) for _ in range(2)]
        row = Signal(8 * lanes, reset_less=True)
        m.d.sync += [arriving.eq(take), shifting.eq(arriving)]
        with m.If(take):
            m.d.sync += [
                write.eq(write + span.finished),
                starts[0].eq(Cat(at.offset, write) - at.lane),
                masks[0].eq(lane_mask(self.config, at.lane, at.row_bytes)),
                finishes[0].eq(span.finished),
            ]
        with m.If(arriving):
            m.d.sync += [
                starts[1].eq(starts[0]),
                masks[1].eq(masks[0]),
                finishes[1].eq(finishes[0]),
                row.eq(self.row & byte_mask(masks[0])),
            ]
        m.d.sync += complete.eq(complete + Mux(shifting, finishes[1], 0) - give)

        low, high = starts[1][: exact_log2(lanes)], starts[1][exact_log2(lanes) :]
        shifted = Signal(16 * lanes)
        strobes = Signal(2 * lanes)
        m.d.comb += [
            shifted.eq(row << Cat(Const(0, 3), low)),
            strobes.eq(masks[1] << low),
        ]
        # Cells are zero until a row is OR-ed in, and again once their beat is given.
        cell_bytes = min(lanes, bus_bytes)
        words = self.ring_bytes // lanes
        cells, cell_strobes = [], []
        for number in range(self.ring_bytes // cell_bytes):
            cell = Signal(8 * cell_bytes, name=f"cell{number}")
            strobe = Signal(cell_bytes, name=f"strobe{number}")
            word, part = divmod(number, lanes // cell_bytes)
            here, beyond = high == word, high == (word - 1) % words
            far = part + lanes // cell_bytes
            clear = give & (read == number * cell_bytes // bus_bytes)
            with m.If(clear):
                m.d.sync += [cell.eq(0), strobe.eq(0)]
            with m.Elif(shifting & (here | beyond)):
                m.d.sync += [
                    cell.eq(
                        cell
                        | Mux(
                            here,
                            shifted.word_select(part, 8 * cell_bytes),
                            shifted.word_select(far, 8 * cell_bytes),
                        )
                    ),
                    strobe.eq(
                        strobe
                        | Mux(
                            here,
                            strobes.word_select(part, cell_bytes),
                            strobes.word_select(far, cell_bytes),
                        )
                    ),
                ]
            cells.append(cell)
            cell_strobes.append(strobe)

        whole, whole_strobes = Cat(cells), Cat(cell_strobes)
        m.d.comb += [
            self.beats.valid.eq(complete != 0),
            self.beats.payload.data.eq(whole.word_select(read, 8 * bus_bytes)),
            self.beats.payload.strobe.eq(whole_strobes.word_select(read, bus_bytes)),
        ]
        with m.If(give):
            m.d.sync += read.eq(read + 1)
        return m
