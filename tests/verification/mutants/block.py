"""A unit under mutation: stimulus in, response out, and what the oracle says of the response."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from amaranth.back import rtlil
from amaranth.hdl import Cat, Elaboratable, Module, ResetInserter, Signal, Value

LEAST_BITS = 96
"""Ports are at least so wide that C++ sees every one as an array of words."""


@dataclass(frozen=True)
class Field:
    """A named part of the stimulus or response."""

    name: str
    bits: int


class Bench(Elaboratable):
    """`unit` as submodule `dut` between two flat ports; whatever else is here is not mutated."""

    def __init__(
        self, unit: Elaboratable, inputs: list[Field], connect: Connect, response_bits: int
    ) -> None:
        self.unit, self.inputs, self.connect = unit, inputs, connect
        self.stimulus = Signal(padded(sum(field.bits for field in inputs)))
        self.outputs: list[Field] = []
        self.response = Signal(padded(response_bits))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        taken, at = {}, 0
        for field in self.inputs:
            taken[field.name] = self.stimulus[at : at + field.bits]
            at += field.bits
        unit = self.unit
        # the core resets its units by `clear`, too
        m.submodules.dut = ResetInserter(taken["clear"])(unit) if "clear" in taken else unit
        outputs = self.connect(m, unit, taken)
        self.outputs = [Field(name, len(Value.cast(value))) for name, value in outputs.items()]
        bits = sum(field.bits for field in self.outputs)
        if bits > len(self.response):
            raise ValueError(f"response_bits must be {bits} at least")
        m.d.comb += self.response.eq(Cat(outputs.values())[:bits])
        return m


Connect = Callable[[Module, Elaboratable, dict[str, Value]], dict[str, Value]]
"""Wires stimulus to unit; the outputs to compare by name, each zero where it has no meaning."""


@dataclass(frozen=True)
class Block:
    """`count` mutants of the unit that `unit()` makes.

    `stimulus(rng)` gives an array per input field, a value a cycle; `check(stimulus, response)`
    compares the unmutated response with the oracle and raises AssertionError.
    """

    name: str
    says: str
    unit: Callable[[], Elaboratable]
    inputs: list[Field]
    connect: Connect
    stimulus: Callable[[np.random.Generator], dict[str, np.ndarray]]
    check: Callable[[dict[str, np.ndarray], dict[str, np.ndarray]], None]
    count: int = 500
    response_bits: int = 256

    def rtlil(self) -> tuple[str, list[Field]]:
        """RTLIL of the bench, and the fields of its response."""
        bench = Bench(self.unit(), self.inputs, self.connect, self.response_bits)
        ports = [bench.stimulus, bench.response]
        text = rtlil.convert(bench, name="top", ports=ports, emit_src=False)
        return text, bench.outputs


def padded(bits: int) -> int:
    return max(LEAST_BITS, -(-bits // 32) * 32)


def pack(values: dict[str, np.ndarray], fields: list[Field]) -> np.ndarray:
    """uint32 words [cycles, words] of the fields' values, the first field lowest."""
    cycles = len(next(iter(values.values())))
    bits = np.zeros((cycles, padded(sum(field.bits for field in fields))), np.uint8)
    at = 0
    for field in fields:
        value = values[field.name]
        for bit in range(field.bits):
            bits[:, at + bit] = (value >> bit) & 1
        at += field.bits
    return np.packbits(bits, axis=1, bitorder="little").view(np.uint32)


def unpack(words: np.ndarray, fields: list[Field]) -> dict[str, np.ndarray]:
    """Inverse of `pack`: int64 arrays, or arrays of Python integers for more than 62 bits."""
    bits = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little")
    found, at = {}, 0
    for field in fields:
        part = bits[:, at : at + field.bits]
        kind = np.int64 if field.bits < 63 else object
        value = np.zeros(len(words), kind)
        for bit in range(field.bits):
            value = value | (part[:, bit].astype(kind) << bit)
        found[field.name] = value
        at += field.bits
    return found
