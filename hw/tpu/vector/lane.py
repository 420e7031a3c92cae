"""One lane of the vector unit: convert to int8, reduce over the window, clamp."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.tpu.vector import requantiser
from hw.tpu.vector.requantiser import Requantiser

LATENCY = requantiser.LATENCY + 1
"""Cycles from operands to result."""


class Reduction(data.Struct):
    """How the converted value joins its window; presented when the conversion is done."""

    valid: 1
    inside: 1
    """There is a value. Otherwise the position contributes nothing."""
    first: 1
    """First position of the window."""
    whole: 1
    """The value was int8 from the start: take `byte`, not the requantiser's result."""
    low: signed(8)
    high: signed(8)


class Lane(wiring.Component):
    """Operands in, `min(max over the window of (value, low), high)` out `LATENCY` cycles later.

    `enable` and `zero_point` are the requantiser's. `byte` and `reduce` are presented
    `requantiser.LATENCY` cycles after the operands they belong to; `result` stays from the cycle
    after that until the next valid `reduce`, and is the output when that was the window's last.
    """

    accumulator: In(signed(32))
    bias: In(signed(32))
    scale: In(32)
    zero_point: In(signed(8))
    enable: In(requantiser.LATENCY)
    byte: In(signed(8))
    reduce: In(Reduction)
    result: Out(signed(8))

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.requantiser = convert = Requantiser()
        for name in ("accumulator", "bias", "scale", "zero_point", "enable"):
            m.d.comb += getattr(convert, name).eq(getattr(self, name))

        # Convert.
        value = Signal(signed(8))
        m.d.comb += value.eq(Mux(self.reduce.whole, self.byte, convert.result))

        # Reduce. The clamp's lower bound starts every window, as the maximum commutes with it.
        best, so_far = Signal(signed(8), reset_less=True), Signal(signed(8))
        high = Signal(signed(8), reset_less=True)
        m.d.comb += so_far.eq(Mux(self.reduce.first, self.reduce.low, best))
        with m.If(self.reduce.valid):
            m.d.sync += high.eq(self.reduce.high)
            m.d.sync += best.eq(Mux(self.reduce.inside & (value > so_far), value, so_far))

        # Clamp.
        m.d.comb += self.result.eq(Mux(best < high, best, high))
        return m
