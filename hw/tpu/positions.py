"""Nested counters of an image walk: one position after the other, with incremental addresses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Mux, Signal, Value


@dataclass(frozen=True)
class Level:
    """One loop: its trip count, and how much each walked quantity grows per trip."""

    name: str
    count: Value
    strides: Mapping[str, Value]


@dataclass(frozen=True)
class Quantity:
    """A walked value, such as an address; it wraps at the width of `signal`."""

    name: str
    first: Value
    signal: Signal
    """Its value at the current position; the walk drives it."""


@dataclass(frozen=True)
class Walk:
    """Where the current position stands: per level, at its first or last trip; `last` of all."""

    at_first: list[Signal]
    at_last: list[Signal]
    last: Signal


def walk(
    m: Module,
    levels: Sequence[Level],
    quantities: Sequence[Quantity],
    *,
    load: Value,
    step: Value,
) -> Walk:
    """Nested loops, outermost level first, one position per `step`.

    `load` puts every counter to zero and every quantity to `first` (sampled in that cycle, from
    the payload being taken); `step` moves to the next position; both are visible in the next
    cycle, `load` wins. `level.count` and strides must hold from the cycle after `load` on. No
    multiplier: each level keeps the quantity's value at its own start and adds its stride there.
    """
    counters, at_first, at_last = [], [], []
    for level in levels:
        counter = Signal(len(level.count), name=f"{level.name}_counter", reset_less=True)
        first, last = Signal(name=f"{level.name}_is_first"), Signal(name=f"{level.name}_is_last")
        m.d.comb += [first.eq(counter == 0), last.eq(counter + 1 == level.count)]
        counters.append(counter)
        at_first.append(first)
        at_last.append(last)

    # a level advances when every level inside it is at its last trip
    advances: list[Signal] = []
    moves: Value = step
    for level, last in zip(reversed(levels), reversed(at_last), strict=True):
        advance = Signal(name=f"{level.name}_advance")
        m.d.comb += advance.eq(moves)
        advances.insert(0, advance)
        moves = advance & last

    for counter, last, advance in zip(counters, at_last, advances, strict=True):
        with m.If(load):
            m.d.sync += counter.eq(0)
        with m.Elif(advance):
            m.d.sync += counter.eq(Mux(last, 0, counter + 1))
    for quantity in quantities:
        _walk_quantity(m, levels, quantity, advances, at_last, load)

    everything_last = Signal(name="walk_is_last")
    m.d.comb += everything_last.eq(Cat(*at_last).all())
    return Walk(at_first, at_last, everything_last)


def _walk_quantity(
    m: Module,
    levels: Sequence[Level],
    quantity: Quantity,
    advances: Sequence[Signal],
    at_last: Sequence[Signal],
    load: Value,
) -> None:
    """A base register per level that moves `quantity`; the innermost one is its value."""
    name, shape = quantity.name, quantity.signal.shape()
    moving = [index for index, level in enumerate(levels) if name in level.strides]
    bases: dict[int, Signal] = {
        index: Signal(shape, name=f"{name}_at_{levels[index].name}", reset_less=True)
        for index in moving[:-1]
    }
    bases[moving[-1]] = quantity.signal
    if moving[0] != 0:  # a still outer level returns to the first value
        bases[-1] = Signal(shape, name=f"{name}_origin", reset_less=True)
    with m.If(load):
        m.d.sync += [base.eq(quantity.first) for base in bases.values()]
    for index, level in enumerate(levels):
        restarting = [base for at, base in bases.items() if at >= index]
        if not restarting:
            continue
        value: Value = bases[max(at for at in bases if at <= index)]
        if name in level.strides:
            grown = Signal(shape, name=f"{name}_next_{level.name}")
            m.d.comb += grown.eq(value + level.strides[name])
            value = grown
        # exactly one level both advances and is not at its last trip: it decides
        with m.If(~load & advances[index] & ~at_last[index]):
            m.d.sync += [base.eq(value) for base in restarting]
