"""What may follow conversion and reduction: residual add, table look-up, clamp."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.tpu.config import TpuConfig
from hw.tpu.numerics import ADD_FRACTION_BITS, ADD_RATIO_BITS, ADD_SUM_BITS
from hw.tpu.vector import residual
from hw.tpu.vector.lane_memory import TableRead
from hw.tpu.vector.residual import ResidualAdd

LATENCY = residual.LATENCY + 1
"""Cycles from a value to its result."""


class AddConstants(data.Struct):
    """Lanes 0 and 1 of the parameter entry of an add."""

    a: ADD_RATIO_BITS
    a_unused: 40 - ADD_RATIO_BITS
    b: ADD_RATIO_BITS
    b_unused: 40 - ADD_RATIO_BITS
    offset: signed(ADD_SUM_BITS)


class Settings(data.Struct):
    """What one instruction wants of the epilogue."""

    add: 1
    swap: 1
    table: 1
    table_number: 4
    low: signed(8)
    high: signed(8)


class Epilogue(wiring.Component):
    """Per lane `clamp(table[value + second])`, each step only if the settings have it.

    `settings` and `constants` are taken under `settle`, while nothing is under way. `value` and
    `second` are sampled under `enable[0]`, one row per cycle; `enable[i]` follows i cycles later.
    `result` is right `LATENCY` cycles after the operands, for one cycle.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "settle": In(1),
                "settings": In(Settings),
                "constants": In(AddConstants),
                "enable": In(LATENCY),
                "value": In(config.array * 8),
                "second": In(config.array * 8),
                "table": Out(TableRead(config)),
                "result": Out(config.array * 8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held = Signal(Settings, reset_less=True)
        constants = Signal(AddConstants, reset_less=True)
        with m.If(self.settle):
            m.d.sync += [held.eq(self.settings), constants.eq(self.constants)]
            with m.If(~self.settings.add):  # one times the value, plus nothing
                m.d.sync += constants.eq(0)
                m.d.sync += [constants.a.eq(1 << ADD_FRACTION_BITS), held.swap.eq(0)]
        m.d.comb += [
            self.table.valid.eq(self.enable[-1] & held.table),
            self.table.number.eq(held.table_number),
        ]
        entries, results = [], []
        for lane in range(self.config.array):
            m.submodules[f"add_{lane}"] = add = ResidualAdd()
            value, second = (row.word_select(lane, 8) for row in (self.value, self.second))
            m.d.comb += [
                add.outer.eq(Mux(held.swap, second, value)),
                add.inner.eq(Mux(held.swap, value, second)),
                add.a.eq(constants.a),
                add.b.eq(constants.b),
                add.offset.eq(constants.offset),
                add.enable.eq(self.enable),
            ]
            entries.append(Cat(add.result[:7], ~add.result[7]))
            unmapped = Signal(signed(8), reset_less=True)
            mapped, bounded = Signal(signed(8)), Signal(signed(8))
            with m.If(self.enable[-1]):
                m.d.sync += unmapped.eq(add.result)
            m.d.comb += [
                mapped.eq(Mux(held.table, self.table.data.word_select(lane, 8), unmapped)),
                bounded.eq(Mux(mapped < held.low, held.low, mapped)),
            ]
            results.append(Mux(bounded < held.high, bounded, held.high)[:8])
        m.d.comb += [self.table.entries.eq(Cat(entries)), self.result.eq(Cat(results))]
        return m
