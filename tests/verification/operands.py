"""Random operands of one instruction: every field, placed so that all it touches exists."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

from hw.tpu.config import TpuConfig
from hw.tpu.isa import FORMATS, ROW_BITS, ROW_SPAN, Instruction, Opcode
from sim.hazards import Access, accesses

Rows = NDArray[np.int64]
ATTEMPTS = 12
"""Fresh strides to try before an operand is made small enough to fit anywhere."""
MOST_WORK = 900
"""Rows that one instruction may stream."""


class DoesNotFitError(Exception):
    """These strides leave the memory wherever the base lies."""


def defaults(opcode: Opcode) -> dict[str, int]:
    """The least legal value of every field."""
    return {
        name: item.least or 0 for name, item in FORMATS[opcode].fields.items() if name != "opcode"
    }


@dataclass
class Operands:
    """Draws numbers for one program; `hot` rows make its instructions meet each other."""

    config: TpuConfig
    rng: Random
    hot: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bank = self.config.bank_rows
        edges = [0, bank, self.config.scratchpad_rows - 1, bank * self.rng.randrange(1, 4)]
        self.hot = {
            "scratchpad": [self.rng.choice(edges) for _ in range(3)],
            "accumulators": [0, self.config.accumulator_rows, self.config.accumulator_rows // 2],
        }

    def count(self, most: int) -> int:
        """One, a few, about N, or as many as there may be; at most `most`."""
        n, rng = self.config.array, self.rng
        drawn = rng.choice((1, 1, rng.randint(1, 4), n + rng.randint(-1, 1), rng.randint(1, most)))
        return max(1, min(most, drawn))

    def counts(self, number: int, most: int) -> list[int]:
        """Nested counts in random order, whose product is at most `most`."""
        found = []
        for _ in range(number):
            found.append(self.count(most))
            most //= found[-1]
        self.rng.shuffle(found)
        return found

    def stride(self) -> int:
        """Rows from row to row: forward, backward, none, or to another bank."""
        n, rng, bank = self.config.array, self.rng, self.config.bank_rows
        return rng.choice(
            (1, 1, 1, 1, -1, 0, 2, n, -n, rng.randint(-9, 9), rng.randint(-40, 40), bank, 1 - bank)
        )

    def strides(self, counts: dict[str, int], bits: int = ROW_BITS) -> dict[str, int]:
        """A stride for each name; anything at all where the count is one."""
        anything = self.rng.random() < 0.3
        return {
            name: self.rng.getrandbits(bits)
            if count == 1 and anything
            else self.stride() % (1 << bits)
            for name, count in counts.items()
        }

    def base(self, rows: Rows, size: int, memory: str) -> int:
        """A first row, modulo 2**20, for accesses at `rows` beyond it; raises `DoesNotFitError`."""
        rng = self.rng
        if not rows.size:
            return rng.getrandbits(16)
        low, high = -int(rows.min()), size - 1 - int(rows.max())
        if low > high:
            raise DoesNotFitError
        near = rng.randint(0, 6)
        drawn = rng.choice(
            (
                low + near,
                high - near,
                rng.choice(self.hot[memory]) + rng.randint(-20, 20),
                rng.choice(self.hot[memory]) + rng.randint(-3, 3) - int(rows[0]),
                rng.randint(low, high),
            )
        )
        return max(low, min(high, drawn)) % ROW_SPAN

    def garbage(self, opcode: Opcode, *names: str) -> dict[str, int]:
        """Any value for fields that have no meaning here; most often the default."""
        if self.rng.random() < 0.6:
            return {}
        fields = FORMATS[opcode].fields
        return {
            name: self.rng.randint(*fields[name].range)
            for name in names
            if not fields[name].reserved
        }


@dataclass
class Placed:
    """An instruction without semaphores and what it touches."""

    instruction: Instruction
    accesses: list[Access]


def relative(access: Access, span: int) -> Rows:
    """Rows of an access from base 0, as signed distances."""
    return (access.rows + span // 2) % span - span // 2


def shifted(access: Access, base: int, span: int) -> Access:
    return Access(access.memory, (access.rows + base) % span, access.writes)


def touch(opcode: Opcode, values: dict[str, int]) -> list[Access]:
    return accesses(Instruction(opcode, values))


def overlap(one: Rows, other: Rows, size: int) -> bool:
    """Whether two sets of rows below `size` meet."""
    marked = np.zeros(size, np.bool_)
    marked[one] = True
    return bool(marked[other].any())
