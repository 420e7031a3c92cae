"""Instructions as the C++ sees them, generated from `hw/tpu/isa.py`: `WORDS` int64 each.

The fields of a format stand in order from the opcode on, so that a struct of int64 is its view.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from hw.tpu import isa
from hw.tpu.isa import Opcode
from hw.tpu.registers import Error

WORDS = max(len(fmt.fields) for fmt in isa.FORMATS.values())
"""int64 per instruction."""
_ENUMERATIONS = {
    "Opcode": Opcode,
    "Queue": isa.Queue,
    "LoadMemory": isa.Memory,
    "VectorSource": isa.Source,
    "VectorConvert": isa.Convert,
    "VectorReduce": isa.Reduce,
    "Error": Error,
}


def header(namespace: str) -> str:
    """`formats.h`: one struct per format, one enumeration per table, `queue_of`, in `namespace`."""
    lines = ["#pragma once", "#include <cstdint>", f"namespace {namespace} {{"]
    formats: tuple[type[isa.Format], ...] = (isa.Load, isa.Matmul, isa.Vector)
    for fmt in formats:  # STORE shares LOAD's, FENCE and HALT need none
        lines.append(struct(fmt.__name__, fmt.fields))
    lines += [enumeration(name, members) for name, members in _ENUMERATIONS.items()]
    lines += [f"constexpr int kInstructionWords = {WORDS};"]
    lines += ["inline int queue_of(int64_t opcode) {", "    switch (Opcode(opcode)) {"]
    for opcode, fmt in isa.FORMATS.items():
        if fmt.queue is not None:
            lines.append(f"        case Opcode::{opcode.name}: return {int(fmt.queue)};")
    return "\n".join([*lines, "        default: return -1;", "    }", "}", "}  // namespace", ""])


def struct(name: str, members: Iterable[str]) -> str:
    """A C++ struct of int64 members."""
    return "\n".join([f"struct {name} {{", *(f"    int64_t {member};" for member in members), "};"])


def enumeration(name: str, members: type[enum.IntEnum]) -> str:
    """A C++ enumeration."""
    listed = ", ".join(f"{member.name} = {int(member)}" for member in members)
    return f"enum class {name} : int64_t {{ {listed} }};"


def unpack(code: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Encoded instructions as `[instructions, WORDS]`.

    The opcode of one that the dispatcher refuses is the negative `registers.Error`.
    """
    words = np.ascontiguousarray(code).view("<u8").reshape(-1, isa.INSTRUCTION_BYTES // 8)
    result = np.zeros((len(words), WORDS), np.int64)
    result[:, 0] = -Error.ILLEGAL_INSTRUCTION
    for opcode, fmt in isa.FORMATS.items():
        mine = np.flatnonzero(words[:, 0] & np.uint64(0xFF) == opcode)
        if mine.size:
            result[mine, : len(fmt.fields)] = _fields(fmt, words[mine]).T
    return result


def _fields(fmt: type[isa.Format], words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The fields `[fields, instructions]` of words `[instructions, 8]` of one format."""
    columns = np.ascontiguousarray(words.T)
    values = np.empty((len(fmt.fields), len(words)), np.int64)
    at = 0
    for number, item in enumerate(fmt.fields.values()):
        values[number] = _bits(columns, at, item.bits)
        if item.signed:
            unused = 64 - item.bits
            values[number] = values[number] << unused >> unused
        at += item.bits
    unused_bits = np.zeros(len(words), np.uint64)
    for first in range(at, isa.INSTRUCTION_BITS, 64):
        width = min(64, isa.INSTRUCTION_BITS - first)
        unused_bits |= _bits(columns, first, width)
    illegal, unbuilt = _refused(fmt.code, dict(zip(fmt.fields, values, strict=True)))
    values[0, unbuilt] = -Error.UNBUILT
    values[0, illegal | (unused_bits != 0)] = -Error.ILLEGAL_INSTRUCTION
    return values


def _bits(columns: NDArray[np.uint64], at: int, width: int) -> NDArray[np.uint64]:
    """Bits `at` ... `at + width - 1` of each instruction."""
    word, shift = divmod(at, 64)
    value = columns[word] >> np.uint64(shift)
    if shift + width > 64:
        value = value | columns[word + 1] << np.uint64(64 - shift)
    return value & np.uint64((1 << width) - 1)


def _refused(
    opcode: Opcode, columns: Mapping[str, NDArray[np.int64]]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which instructions break the rules of the ISA, and which are for a later core."""
    view = SimpleNamespace(**columns)
    illegal = np.zeros(len(columns["opcode"]), np.bool_)
    unbuilt = illegal.copy()
    for name, item in isa.FORMATS[opcode].fields.items():
        low, high = item.range
        illegal |= (columns[name] < low) | (columns[name] > high)
    for violated, _ in isa.rules(opcode, view):
        illegal |= violated
    for wanted, _ in isa.unbuilt_rules(opcode, view):
        unbuilt |= wanted
    return illegal, unbuilt
