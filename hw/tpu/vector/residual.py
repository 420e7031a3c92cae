"""One lane of the residual add, bit for bit `numerics.residual_add`."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.tpu.numerics import ADD_FRACTION_BITS, ADD_RATIO_BITS, ADD_SUM_BITS
from hw.tpu.vector.requantiser import SIGNIFICAND, rounds_up

LATENCY = 6
"""Cycles from operands to result."""


class ResidualAdd(wiring.Component):
    """`clamp8(rne(round24(round24(offset + inner*b) + outer*a) / 2**32))`.

    One operation enters per cycle and leaves `LATENCY` cycles later; `enable[i]` loads stage i.
    `inner` and `outer` are sampled under `enable[0]`; `a`, `b` and `offset` must hold still while
    any operation is under way. `result` stays until the last enable is set again.
    """

    outer: In(signed(8))
    inner: In(signed(8))
    a: In(ADD_RATIO_BITS)
    b: In(ADD_RATIO_BITS)
    offset: In(signed(ADD_SUM_BITS))
    enable: In(LATENCY)
    result: Out(signed(8))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        product, outer = self._stage(m, 0, product=self.inner * self.b, outer=self.outer)
        total, outer = self._stage(m, 1, total=(self.offset + product)[:ADD_SUM_BITS], outer=outer)
        rounded, product = self._stage(
            m, 2, rounded=self._to_float(m, "first", total), product=outer * self.a
        )
        (total,) = self._stage(m, 3, total=(rounded.as_signed() + product)[:ADD_SUM_BITS])
        (rounded,) = self._stage(m, 4, rounded=self._to_float(m, "second", total))
        self._to_integer(m, rounded)
        return m

    def _stage(self, m: Module, number: int, **values: Value) -> list[Signal]:
        """Registers of stage `number` holding `values`, loaded under its enable."""
        registers = []
        with m.If(self.enable[number]):
            for name, value in values.items():
                register = Signal(value.shape(), name=f"{name}_{number}", reset_less=True)
                m.d.sync += register.eq(value)
                registers.append(register)
        return registers

    def _to_float(self, m: Module, name: str, total: Value) -> Value:
        """A sum rounded half-even to `SIGNIFICAND` significant bits."""
        cuts = ADD_SUM_BITS - 1 - SIGNIFICAND
        total, negative = total[:ADD_SUM_BITS], total[ADD_SUM_BITS - 1]
        # Of a negative power of two this is one bit short, but then nothing is cut off.
        magnitude = Signal(cuts, name=f"{name}_high")
        m.d.comb += magnitude.eq(total[SIGNIFICAND:] ^ negative.replicate(cuts))
        # Every bit below the leading one is cut off, and that one is not kept either.
        cut, step = magnitude, 1
        while step < cuts:
            spread = Signal(cuts, name=f"{name}_spread_{step}")
            m.d.comb += spread.eq(cut | cut[step:])
            cut, step = spread, 2 * step
        odd = Signal(name=f"{name}_odd")
        m.d.comb += [
            odd.eq((total[1:] & cut & Cat(~cut[1:], 1)).any()),
        ]
        rounded = Signal(ADD_SUM_BITS, name=f"{name}_rounded")
        m.d.comb += rounded.eq((total + cut[1:] + odd) & Cat(~cut, Const(-1, SIGNIFICAND + 1)))
        return rounded

    def _to_integer(self, m: Module, rounded: Value) -> None:
        whole = rounded[ADD_FRACTION_BITS:]
        half, rest = rounded[ADD_FRACTION_BITS - 1], rounded[: ADD_FRACTION_BITS - 1].any()
        steps = Signal(signed(len(whole) + 1))
        m.d.comb += steps.eq(whole.as_signed() + rounds_up(whole[0], half, rest))
        fits = steps[7:].all() | ~steps[7:].any()
        limit = Cat((~steps[-1]).replicate(7), steps[-1])
        with m.If(self.enable[5]):
            m.d.sync += self.result.eq(Mux(fits, steps[:8], limit))
