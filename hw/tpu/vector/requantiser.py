"""One lane from int32 to int8 in float32 arithmetic, bit for bit `numerics.requantise`."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

LATENCY = 7
"""Cycles from operands to result."""

SIGNIFICAND = 24
"""Bits of a float32 significand, the leading one included."""


def rounds_up(odd: Value, half: Value, rest: Value) -> Value:
    """Whether round-half-even adds one: `half` is the first bit cut off, `rest` any after it."""
    return half & (odd | rest)


class Requantiser(wiring.Component):
    """`clamp8(zero_point + rne(fl32(fl32(accumulator + bias) * scale)))`; the sum wraps.

    `scale` holds the bits of a finite float32 of either sign; zero and subnormal scales give
    `zero_point`, as any product with them rounds to zero.

    One operation enters per cycle and leaves `LATENCY` cycles later. `enable[i]` loads stage i:
    the caller moves one bit through `enable` beside each operation, and an idle lane holds still.
    `accumulator`, `bias` and `scale` are sampled under `enable[0]`, `zero_point` under the last
    bit; `result` stays until that bit is set again. There is no back-pressure.
    """

    accumulator: In(signed(32))
    bias: In(signed(32))
    scale: In(32)
    zero_point: In(signed(8))
    enable: In(LATENCY)
    result: Out(signed(8))

    def elaborate(self, platform) -> Module:
        m = Module()
        magnitude, sign, scale = self._add_bias(m)
        significand, reach, sign, fraction = self._to_float(m, magnitude, sign, scale)
        rounded, distance, sign, nonzero = self._multiply(m, significand, reach, sign, fraction)
        self._to_integer(m, rounded, distance, sign, nonzero)
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

    def _add_bias(self, m: Module) -> tuple[Signal, ...]:
        """Stages 0 and 1: magnitude and sign of the sum; the memories' outputs rest in stage 0."""
        accumulator, bias, scale = self._stage(
            m,
            0,
            accumulator=self.accumulator.as_unsigned(),
            bias=self.bias.as_unsigned(),
            scale=self.scale,
        )
        total = Signal(32)
        m.d.comb += total.eq(accumulator + bias)
        magnitude, sign, scale = self._stage(
            m,
            1,
            magnitude=Mux(total[31], (~total + 1)[:32], total),
            sign=total[31] ^ scale[31],
            scale=scale[:31],
        )
        return magnitude, sign, scale

    def _to_float(self, m: Module, magnitude, sign, scale) -> tuple[Signal, ...]:
        """Stages 2 and 3: the magnitude as a float32, and the product's exponent as `reach`."""
        zeros, value = [], magnitude
        for step in (16, 8, 4, 2, 1):
            empty, shifted = Signal(name=f"empty_{step}"), Signal(32, name=f"shifted_{step}")
            m.d.comb += empty.eq(value[32 - step :] == 0)
            m.d.comb += shifted.eq(Mux(empty, value << step, value))
            zeros.insert(0, empty)
            value = shifted
        significand, up, zeros, sign, scale = self._stage(
            m,
            2,
            significand=value[8:],
            up=rounds_up(value[8], value[7], value[:7].any()),
            zeros=Cat(zeros),
            sign=sign,
            scale=scale,
        )
        # A carry into bit 24 may stay there: the product still fits 48 bits.
        significand, reach, sign, fraction = self._stage(
            m,
            3,
            significand=(significand + up)[: SIGNIFICAND + 1],
            reach=(scale[23:31] - zeros - 95)[:10].as_signed(),
            sign=sign,
            fraction=scale[:23],
        )
        return significand, reach, sign, fraction

    def _multiply(self, m: Module, significand, reach, sign, fraction) -> tuple[Signal, ...]:
        """Stages 4 and 5: the product rounded to 24 bits, worth `rounded * 2**(distance - 24)`."""
        # The scale's leading one is taken for granted: where a subnormal lacks it, `reach` alone
        # says that the result is zero.
        product, reach, sign = self._stage(
            m,
            4,
            product=(significand * Cat(fraction, 1))[: 2 * SIGNIFICAND],
            reach=reach,
            sign=sign,
        )
        high, kept, half, rest = product[47], Signal(SIGNIFICAND), Signal(), Signal()
        m.d.comb += [
            Cat(half, kept).eq(Mux(high, product[23:], product[22:47])),
            rest.eq(product[:22].any() | (high & product[22])),
        ]
        return tuple(
            self._stage(
                m,
                5,
                rounded=(kept + rounds_up(kept[0], half, rest))[: SIGNIFICAND + 1],
                distance=(reach + high)[:10].as_signed(),
                sign=sign,
                nonzero=high | product[46],
            )
        )

    def _to_integer(self, m: Module, rounded, distance, sign, nonzero) -> None:
        """Stage 6: round to an integer, add the zero point, saturate."""
        point, steps, up = Signal(SIGNIFICAND + 9), Signal(9), Signal()
        tiny, huge = Signal(), Signal()
        m.d.comb += [
            tiny.eq(distance < 0),  # below one half
            huge.eq((distance > 8) & nonzero),  # at least 256: saturates at any zero point
            point.eq(rounded << distance[:4]),
            steps.eq(Mux(tiny, 0, point[SIGNIFICAND:])),
            up.eq(~tiny & rounds_up(point[24], point[23], point[:23].any())),
        ]
        # -(steps + up) is ~steps + 1 - up.
        signed_steps, moved = Signal(signed(10)), Signal(signed(11))
        m.d.comb += [
            signed_steps.eq(Mux(sign, ~Cat(steps, 0), Cat(steps, 0))),
            moved.eq(self.zero_point + signed_steps + (up ^ sign)),
        ]
        fits = moved[7:].all() | ~moved[7:].any()
        limit = Cat((~moved[10]).replicate(7), moved[10])
        result = Mux(huge, Cat((~sign).replicate(7), sign), Mux(fits, moved[:8], limit))
        with m.If(self.enable[6]):
            m.d.sync += self.result.eq(result)
