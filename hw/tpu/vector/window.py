"""Sums of window positions in int32: average pooling and depthwise convolution."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.tpu.config import TpuConfig

LATENCY = 2
"""Cycles from a row to the sum that includes it."""


class Summand(data.Struct):
    """How the row that arrives joins its sum."""

    inside: 1
    """Take the row; otherwise every lane reads `pad`."""
    multiply: 1
    """Times the weights; otherwise times one."""
    pad: signed(8)


class WindowSum(wiring.Component):
    """Per lane `sum over the window of (row or pad) * (weight or 1)`, modulo 2**32.

    `summand`, `row` and `weights` are presented together, one position per cycle, sampled under
    `enable[0]`; `enable[1]` and `first` (the window begins: forget the sum) follow one cycle later.
    `total` is right in the cycle after that and stays until the next `enable[1]`.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "enable": In(LATENCY),
                "summand": In(Summand),
                "first": In(1),
                "row": In(config.array * 8),
                "weights": In(config.array * 8),
                "total": Out(config.array * 32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        totals = []
        for lane in range(self.config.array):
            value, weight = Signal(signed(8)), Signal(signed(8))
            product = Signal(signed(16), reset_less=True)
            total = Signal(signed(32), reset_less=True)
            m.d.comb += [
                value.eq(Mux(self.summand.inside, self.row.word_select(lane, 8), self.summand.pad)),
                weight.eq(Mux(self.summand.multiply, self.weights.word_select(lane, 8), 1)),
            ]
            with m.If(self.enable[0]):
                m.d.sync += product.eq(value * weight)
            with m.If(self.enable[1]):
                m.d.sync += total.eq(Mux(self.first, 0, total) + product)
            totals.append(total)
        m.d.comb += self.total.eq(Cat(totals))
        return m
