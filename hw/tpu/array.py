"""The N x N weight-stationary systolic array with its skew and deskew registers."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from hw.tpu.config import TpuConfig
from hw.tpu.pe import ProcessingElement


def latency(config: TpuConfig) -> int:
    """Cycles from a row at the input to its product at the output."""
    return 2 * config.array - 2 + ProcessingElement.LATENCY


class SystolicArray(Component):
    """Multiplies one row of N int8 by an N x N tile every cycle; never stalls.

    `row` (lane k at bits 8k) entering in cycle t leaves as `result` (int32 lane j at bits 32j) in
    cycle t + `latency(config)`: lane j is the sum over k of row[k] * tile[k][j].

    A tile is shifted into the shadow weights in N consecutive cycles with `shift`, last tile row
    first, `shift_first` marking the first of them. With `switch`, the row of the same cycle is the
    first to meet the shadow tile; the tile must have been complete: if shifting began in cycle s,
    `switch` may come from cycle s + N on. The next tile may begin to shift in the very cycle of
    `switch`, so that passes of N rows follow each other without a bubble.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        n = config.array
        super().__init__(
            {
                "row": In(n * 8),
                "switch": In(1),
                "tile_row": In(n * 8),
                "shift": In(1),
                "shift_first": In(1),
                "result": Out(n * 32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        n = self.config.array
        # a row's totals are one signal, so that Verilator adds them side by side
        totals = [Signal(32 * n, name=f"totals_{k:03}", reset_less=True) for k in range(n)]
        elements = [
            [ProcessingElement.create(k, j, _lane(totals[k], j, 32).as_signed()) for j in range(n)]
            for k in range(n)
        ]

        # the switch reaches element (k, j) k + j cycles after row lane 0 enters
        switches: list[Value] = [self.switch]
        for diagonal in range(1, 2 * n - 1):
            switches.append(_delay(m, switches[-1], f"switch_{diagonal}", control=True))

        # row k of a column shifts only from its k-th shift on: behind the last tile's switch wave
        shifting = Signal(n)
        reached = Signal(n)
        m.d.comb += shifting.eq(
            Value.cast(self.shift).replicate(n) & Cat(1, ~self.shift_first.replicate(n) & reached)
        )
        m.d.sync += reached.eq(shifting)
        shifts: list[Value] = [shifting]
        for column in range(1, n):
            shifts.append(_delay(m, shifts[-1], f"shifting_{column}", control=True))

        for k in range(n):
            activation: Value = _lane(self.row, k, 8).as_signed()
            for step in range(k):
                activation = _delay(m, activation, f"skew_{k}_{step}")
            for j in range(n):
                above = elements[k - 1][j] if k else None
                elements[k][j].connect(
                    m,
                    activation=elements[k][j - 1].activation if j else activation,
                    total=above.total if above else None,
                    shadow=above.shadow if above else self._tile_lane(m, j),
                    shift=shifts[j][k],
                    switch=switches[k + j],
                )

        for j in range(n):
            total: Value = elements[n - 1][j].total
            for step in range(n - 1 - j):
                total = _delay(m, total, f"deskew_{j}_{step}")
            m.d.comb += _lane(self.result, j, 32).eq(total)
        return m

    def _tile_lane(self, m: Module, column: int) -> Value:
        lane: Value = _lane(self.tile_row, column, 8).as_signed()
        for step in range(column):
            lane = _delay(m, lane, f"tile_skew_{column}_{step}")
        return lane


def _lane(vector: Value, number: int, bits: int) -> Value:
    return vector[number * bits : (number + 1) * bits]


def _delay(m: Module, value: Value, name: str, control: bool = False) -> Signal:
    """`value` one cycle later; only `control` registers need a reset."""
    shape = value.shape()
    register = Signal(
        signed(len(value)) if shape.signed else len(value), name=name, reset_less=not control
    )
    m.d.sync += register.eq(value)
    return register
