"""Which instructions the dispatcher refuses: the rules of `hw/tpu/isa.py`, on whole programs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from hw.tpu import isa
from hw.tpu.registers import Error


def mark(words: NDArray[np.int64]) -> None:
    """Replace the opcode of every refused instruction by its negative `registers.Error`."""
    for opcode, fmt in isa.FORMATS.items():
        mine = np.flatnonzero(words[:, 0] == opcode)
        if not mine.size:
            continue
        columns = dict(zip(fmt.fields, words[mine].T, strict=False))
        view = SimpleNamespace(**columns)
        illegal = np.zeros(mine.size, bool)
        unbuilt = np.zeros(mine.size, bool)
        for name, item in fmt.fields.items():
            low, high = item.range
            illegal |= (columns[name] < low) | (columns[name] > high)
        for violated, _ in isa.rules(opcode, view):
            illegal |= violated
        for wanted, _ in isa.unbuilt_rules(opcode, view):
            unbuilt |= wanted
        words[mine[unbuilt], 0] = -Error.UNBUILT
        words[mine[illegal], 0] = -Error.ILLEGAL_INSTRUCTION
