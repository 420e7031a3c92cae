"""Programs in the TPU's DRAM: where each lies, and what is taken out when there is no room.

A program is compiled for offset 0; `relocate` moves it. Weights stay in DRAM until the space is
needed for something else.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np

from hw.tpu import isa
from hw.tpu.program import TpuProgram

ALIGNMENT = 4096


def relocate(program: TpuProgram, base: int) -> TpuProgram:
    """`program` with every DRAM address `base` bytes higher; its `image` starts at `base`."""
    if not base:
        return program
    instructions = tuple(
        isa.Instruction(i.opcode, {**i.values, "address": i.address + base})
        if i.opcode in (isa.Opcode.LOAD, isa.Opcode.STORE)
        else i
        for i in program.instructions
    )
    words = np.frombuffer(isa.assemble(instructions), np.uint8)
    image = program.image.copy()
    image[program.entry : program.entry + words.size] = words
    return replace(
        program,
        instructions=instructions,
        image=image,
        entry=program.entry + base,
        inputs=tuple(replace(port, address=port.address + base) for port in program.inputs),
        outputs=tuple(replace(port, address=port.address + base) for port in program.outputs),
    )


@dataclass
class Resident:
    """A program at `base` in DRAM; `loaded` names the weights that it has now."""

    program: TpuProgram
    base: int
    loaded: object = None


class ResidentPrograms:
    """Who lies where in `size` bytes of DRAM. Space is given out upwards; when it is used up,
    everything goes and filling starts anew."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._by_slot: dict[Hashable, Resident] = {}
        self._end = 0

    def find(self, slot: Hashable) -> Resident | None:
        """The program of that name, if it is in DRAM."""
        return self._by_slot.get(slot)

    def place(self, slot: Hashable, program: TpuProgram) -> Resident:
        """Room for a program that is not there; its image is still to be written.

        Raises `MemoryError` if it does not fit even alone.
        """
        if program.dram_bytes > self.size:
            raise MemoryError(f"{program.dram_bytes} bytes are needed, there are {self.size}")
        if self._end + program.dram_bytes > self.size:
            self.clear()
        base = self._end
        self._end = -(-(base + program.dram_bytes) // ALIGNMENT) * ALIGNMENT
        resident = self._by_slot[slot] = Resident(relocate(program, base), base)
        return resident

    def clear(self) -> None:
        """Forget everything."""
        self._by_slot.clear()
        self._end = 0

    def __len__(self) -> int:
        return len(self._by_slot)
