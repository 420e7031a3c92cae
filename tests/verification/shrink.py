"""From a failing program to a short one: drop instructions, then make what is left small."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from time import monotonic

import numpy as np

from hw.tpu import isa
from hw.tpu.config import PARAMETER_SUBROWS, TpuConfig
from hw.tpu.isa import FORMATS, Convert, Instruction, Memory, Opcode
from sim.hazards import find_hazards
from tests.verification.generator import DRAM_BYTES, Program, finish
from tests.verification.operands import Placed, touch

SECONDS = 30.0
"""After which the shortest program so far must do."""
SEEDS = 3
"""Orders, memory timings and data that each candidate is tried with."""


def shrink(program: Program, fails: Callable[[Program], str]) -> tuple[Program, str]:
    """The shortest failing program found and what `fails` says of it; "" if none failed again.

    Candidates get semaphores, data and timing of their own, so that only the instructions matter.
    """
    best, note, until = program, fails(program), monotonic() + SECONDS
    bare = list(program.bare)
    improved = True
    while improved and monotonic() < until:
        improved = False
        for candidate in _smaller(bare):
            if monotonic() > until:
                break
            found, why = _try(program, candidate, fails)
            if found is not None:
                best, note, bare, improved = found, why, candidate, True
                break
    return best, note


def _try(
    program: Program, bare: Sequence[Placed], fails: Callable[[Program], str]
) -> tuple[Program | None, str]:
    if not _meaningful(bare, program.config):
        return None, ""
    for seed in range(SEEDS):
        try:
            found = finish(program.config, program.seed, Random(seed), bare)
        except AssertionError:  # weights are missing now
            return None, ""
        if found is None or find_hazards(found.instructions, program.config):
            return None, ""
        if why := fails(found):
            return found, why
    return None, ""


def _meaningful(bare: Sequence[Placed], config: TpuConfig) -> bool:
    """Whether each instruction is legal and finds its tile and parameters in the program."""
    entries: set[int] = set()
    have_tile = False
    for placed in bare:
        i = placed.instruction
        try:
            isa.check(i)
        except isa.IsaError:
            return False
        if i.opcode is Opcode.MATMUL:
            if i.keep and not have_tile:
                return False
            have_tile = True
        elif i.opcode is Opcode.VECTOR:
            if i.convert == Convert.REQUANTISE and i.parameters not in entries:
                return False
        elif i.opcode is Opcode.LOAD and i.memory == Memory.PARAMETERS:
            touched = {int(row) // PARAMETER_SUBROWS for row in placed.accesses[1].rows}
            if i.row_bytes == config.array and len(placed.accesses[1].rows) % 8 == 0:
                entries |= touched
            else:
                entries -= touched
    return True


def _smaller(bare: list[Placed]) -> Iterator[list[Placed]]:
    """Every way to leave something out, the largest first."""
    for size in (len(bare) // 2, len(bare) // 4, 2, 1):
        if size:
            for at in range(0, len(bare) - size + 1, max(1, size // 2)):
                yield bare[:at] + bare[at + size :]
    for at, placed in enumerate(bare):
        for values in _simpler(placed.instruction):
            instruction = Instruction(placed.instruction.opcode, values)
            found = touch(instruction.opcode, values)
            if all(_fits(access, placed) for access in found):
                yield [*bare[:at], Placed(instruction, found), *bare[at + 1 :]]


def _fits(access, placed: Placed) -> bool:
    """Only rows that the legal original touches, so that no candidate leaves its memory."""
    rows = {a.memory: a.rows for a in placed.accesses if a.writes == access.writes}
    if access.memory == "dram":
        return bool(access.rows.min() >= 0 and access.rows.max() < DRAM_BYTES)
    return access.memory in rows and bool(np.isin(access.rows, rows[access.memory]).all())


def _simpler(i: Instruction) -> Iterator[dict[str, int]]:
    for name, item in FORMATS[i.opcode].fields.items():
        value, least = i.values.get(name, 0), item.least or 0
        if name in ("opcode", "wait", "signal") or value == least:
            continue
        yield {**i.values, name: least}
        if item.least and value > 2:
            yield {**i.values, name: value // 2}
