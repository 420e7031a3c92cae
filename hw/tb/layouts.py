"""Struct-typed pins as Python numbers: what Amaranth flattens into one vector, field by field."""

from __future__ import annotations

from amaranth.hdl import Shape
from amaranth.lib import data

from hw.tb.runner import parameter
from hw.tpu.config import TpuConfig


def pack(layout: data.Layout, **values: int) -> int:
    """The vector whose fields are `values`; fields left out are 0. KeyError for no such field."""
    word = 0
    for name, value in values.items():
        field = layout[name]
        word |= (int(value) & (1 << field.width) - 1) << field.offset
    return word


def unpack(layout: data.Layout, word: int) -> dict[str, int]:
    """Every field of the vector `word`, signed where the field is."""
    fields = {}
    for name, field in layout:
        value = word >> field.offset & (1 << field.width) - 1
        shape = field.shape
        if Shape.cast(shape).signed and value >> (field.width - 1):
            value -= 1 << field.width
        fields[name] = value
    return fields


def bench_config() -> TpuConfig:
    """What the bench's case was built from: its parameter `config`, a preset with overrides."""
    return TpuConfig.parse(str(parameter("config")))


def lanes(word: int, count: int, bits: int) -> list[int]:
    """`count` signed lanes of `bits` each, lane 0 lowest."""
    half, mask = 1 << (bits - 1), (1 << bits) - 1
    return [(((word >> (bits * lane)) & mask) ^ half) - half for lane in range(count)]


def join(values: list[int], bits: int) -> int:
    """Inverse of `lanes`."""
    mask = (1 << bits) - 1
    return sum((value & mask) << (bits * lane) for lane, value in enumerate(values))
