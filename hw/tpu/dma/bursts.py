"""Segments of DRAM to AXI bursts."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out
from amaranth.utils import bits_for, exact_log2

from hw.tpu.config import TpuConfig
from hw.tpu.dma.segments import LENGTH_BITS, WIDE_OFFSET, Segment
from hw.tpu.dma.transfer import OFFSET_BITS
from hw.tpu.interfaces import POSITION_BITS


def burst(config: TpuConfig) -> data.StructLayout:
    """A read request, and where it lies: `offset` from the DRAM base, `last` of its transfer."""
    return data.StructLayout(
        {
            "address": config.address_bits,
            "beats": bits_for(config.burst_beats),
            "offset": OFFSET_BITS,
            "last": 1,
        }
    )


class RangeFault(data.Struct):
    """A piece of a segment that leaves the DRAM; stays until reset or `clear`."""

    valid: 1
    offset: 32
    """Low bits of its offset."""
    position: POSITION_BITS


class BurstSplitter(Component):
    """Checks segments against `dram_size` and cuts them into bursts, in order.

    A burst is bus-aligned, holds every byte of its part of the segment (and whatever shares its
    first and last beat), and ends at the latest at a multiple of `burst_beats` beats: no burst
    crosses 4 KiB. A segment that leaves `[0, dram_size)` gives no burst, nor does any after it;
    its pieces are searched, one per cycle, for the first outside, which `fault` then names.
    `clear` forgets the segment in work and the fault.

    One burst per cycle, the first in the cycle after its segment is taken; the next segment is
    taken together with the last burst.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "segments": In(stream.Signature(Segment)),
                "bursts": Out(stream.Signature(burst(config))),
                "fault": Out(RangeFault),
                "dram_base": In(config.address_bits),
                "dram_size": In(32),
                "clear": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        beat_log2 = exact_log2(self.config.bus_bytes)
        segment, out = self.segments.payload, self.bursts.payload
        active = Signal()
        failed = Signal()
        position = Signal(POSITION_BITS, reset_less=True)
        searching = Signal()
        suspect = Signal(WIDE_OFFSET, reset_less=True)
        piece = Signal.like(segment.piece, reset_less=True)
        last = Signal(reset_less=True)
        index = Signal(OFFSET_BITS - beat_log2, reset_less=True)
        left = Signal(LENGTH_BITS + 1 - beat_log2, reset_less=True)

        # Beats up to the next multiple of burst_beats.
        room = Signal(range(self.config.burst_beats + 1))
        final, taken, accept, inside = Signal(), Signal(), Signal(), Signal()
        start, length = Signal(WIDE_OFFSET), Signal(LENGTH_BITS)
        m.d.comb += [
            start.eq(Mux(searching, suspect, segment.offset)),
            length.eq(Mux(searching, piece, segment.length)),
            inside.eq((start >= 0) & (start + length <= self.dram_size)),
        ]
        m.d.comb += [
            self.fault.valid.eq(failed),
            self.fault.offset.eq(suspect),
            self.fault.position.eq(position),
            room.eq(self.config.burst_beats - index[: exact_log2(self.config.burst_beats)]),
            final.eq(left <= room),
            out.beats.eq(Mux(final, left, room)),
            out.offset.eq(Cat(Const(0, beat_log2), index)),
            out.address.eq(self.dram_base + out.offset),
            out.last.eq(final & last),
            self.bursts.valid.eq(active),
            taken.eq(active & self.bursts.ready),
            self.segments.ready.eq(~searching & ~failed & (~active | (taken & final))),
            accept.eq(self.segments.valid & self.segments.ready),
        ]
        with m.If(taken):
            m.d.sync += [
                active.eq(~final),
                index.eq(index + out.beats),
                left.eq(left - out.beats),
            ]
        with m.If(accept):
            first = segment.offset.as_unsigned()[:beat_log2]
            m.d.sync += [
                active.eq(inside),
                index.eq(segment.offset >> beat_log2),
                left.eq((first + segment.length + (self.config.bus_bytes - 1)) >> beat_log2),
                last.eq(segment.last),
                searching.eq(~inside),
                suspect.eq(segment.offset),
                piece.eq(segment.piece),
                position.eq(segment.position),
            ]
        with m.If(searching):
            with m.If(inside):
                m.d.sync += suspect.eq(suspect + piece)
            with m.Else():
                m.d.sync += [searching.eq(0), failed.eq(1)]
        with m.If(self.clear):
            m.d.sync += [active.eq(0), searching.eq(0), failed.eq(0)]
        return m
