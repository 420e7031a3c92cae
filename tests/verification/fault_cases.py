"""One program under fault injection: what is right before, during and after the fault."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.tpu import isa
from hw.tpu.isa import Opcode
from hw.tpu.registers import Error
from sim.hazards import accesses
from tests.verification.generator import DRAM_BYTES, Program, generate
from tests.verification.rig import Outcome, Rig

INTERESTING = 300
"""Cycles that a program should take at least."""


@dataclass
class Case:
    """A legal program, what it leaves in DRAM, and all that DRAM may hold on the way."""

    program: Program
    cycles: int
    versions: list[NDArray[np.uint8]]
    """DRAM before the program and after each STORE."""
    readers: dict[int, set[int]]
    """By bus word: positions of the instructions that read it, as data or as themselves."""
    writers: dict[int, set[int]]


def prepare(rig: Rig, program: Program) -> Case:
    """Run it once without faults, on both, from washed on-chip memories."""
    rig.wash()
    rig.model.set_memory(program.timing)
    rig.place(program.image, program.base)
    oracle, word = rig.oracle, rig.config.bus_bytes
    versions, readers, writers = [oracle.dram[:DRAM_BYTES].copy()], {}, {}
    oracle.reset()
    for position, i in enumerate(program.instructions):
        with np.errstate(over="ignore", under="ignore"):
            oracle.step(i)
        if i.opcode is Opcode.STORE:
            versions.append(oracle.dram[:DRAM_BYTES].copy())
        code = program.entry + position * isa.INSTRUCTION_BYTES
        for at in range(code // word, (code + isa.INSTRUCTION_BYTES) // word):
            readers.setdefault(at, set()).add(position)
        for access in accesses(i):
            if access.memory == "dram":
                users = writers if access.writes else readers
                for at in np.unique(access.rows // word):
                    users.setdefault(int(at), set()).add(position)
    found = rig.run_rtl(program.entry, len(program.instructions))
    if found.code is not Error.NONE or rig.difference("without faults"):
        raise RuntimeError(f"goes wrong without faults: {found}\n{program.listing()}")
    return Case(program, found.cycles, versions, readers, writers)


def begin(rig: Rig, case: Case, image: NDArray[np.uint8] | None = None) -> None:
    """Memory, DRAM and on-chip rows as at the program's start."""
    rig.wash()
    rig.model.set_memory(case.program.timing)
    rig.dram[:DRAM_BYTES] = case.versions[0] if image is None else image


def result(rig: Rig, case: Case, found: Outcome, code_changed: bool = False) -> str:
    """What is silently wrong in DRAM: every byte must be one that the program stores there."""
    now = rig.dram[:DRAM_BYTES]
    if found.code is Error.NONE and not found.hung:
        return "" if np.array_equal(now, case.versions[-1]) else "done, with wrong data"
    right = np.zeros(DRAM_BYTES, np.bool_)
    for version in case.versions:
        right |= now == version
    if code_changed:
        code = slice(
            case.program.entry,
            case.program.entry + len(case.program.instructions) * isa.INSTRUCTION_BYTES,
        )
        right[code] = True
    return "" if right.all() else f"DRAM at {int(np.argmin(right)):#x} holds what nothing stores"


def again(rig: Rig, case: Case) -> str:
    """The next program: scratchpad and all are restored by a wash, then this one, without fault."""
    rig.model.clear_faults()
    rig.wash()
    begin(rig, case)
    rig.oracle.dram[:DRAM_BYTES] = case.versions[0]
    count = len(case.program.instructions)
    rig.run_oracle(case.program.entry, count)
    found = rig.run_rtl(case.program.entry, count)
    if found.hung or found.code is not Error.NONE:
        return f"the next program ends with {found}"
    return rig.difference("after the next program")


def _stores_twice(i: isa.Instruction) -> bool:
    """Whether a STORE's rows overlap in DRAM, so that its bytes have more than two versions."""
    return i.opcode is Opcode.STORE and np.unique(accesses(i)[0].rows).size < len(
        accesses(i)[0].rows
    )


def choose(rig: Rig, seed: int) -> Case:
    """The next random program that uses all queues for a while."""
    while True:
        program = generate(rig.config, seed)
        seed += 1
        queues = {i.queue for i in program.instructions}
        if len(queues) < 5 or any(map(_stores_twice, program.instructions)):
            continue
        case = prepare(rig, program)
        if INTERESTING <= case.cycles <= 3 * INTERESTING:
            return case
