"""The processing element: one int8 multiply-accumulate of the weight-stationary array.

Described as a function into the array's flat module, not as a component: N x N submodules cost
minutes of elaboration and half of the simulation speed, and the hardware is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Module, Signal, Value, signed


@dataclass(frozen=True)
class ProcessingElement:
    """Registers of the element in array row `row` (input lane) and column `column` (output lane).

    Data moves right (`activation`), sums move down (`total`), a shadow weight shifts down and
    becomes the weight when the switch passes. The product has its own register, so that activation,
    weight and product pack into a DSP block: a sum leaves two cycles after its activation register
    is loaded.
    """

    row: int
    column: int
    activation: Signal
    shadow: Signal
    weight: Signal
    product: Signal
    total: Value

    LATENCY = 3
    """Cycles from an activation at the input to its contribution at the output."""

    @classmethod
    def create(cls, row: int, column: int, total: Value) -> ProcessingElement:
        def register(name: str, bits: int) -> Signal:
            # zero-padded: Verilator lays signals out by name, and vectorises neighbours
            return Signal(signed(bits), name=f"{name}_{row:03}_{column:03}", reset_less=True)

        return cls(
            row,
            column,
            activation=register("activation", 8),
            shadow=register("shadow", 8),
            weight=register("weight", 8),
            product=register("product", 16),
            total=total,
        )

    def connect(
        self,
        m: Module,
        *,
        activation: Value,
        total: Value | None,
        shadow: Value,
        shift: Value,
        switch: Value,
    ) -> None:
        """Inputs: `activation` from the left, `total` (if any) and `shadow` from above.

        `shift` moves the shadow weight in; `switch` makes the shadow weight the working one, just
        in time for the activation that arrives in the same cycle.
        """
        m.d.sync += [
            self.activation.eq(activation),
            self.product.eq(self.activation * self.weight),
            self.total.eq(self.product if total is None else (total + self.product)[:32]),
        ]
        with m.If(shift):
            m.d.sync += self.shadow.eq(shadow)
        with m.If(switch):
            m.d.sync += self.weight.eq(self.shadow)
