"""What random programs do not reach: far addresses, every register bit, dead buses."""

from __future__ import annotations

from random import Random

import numpy as np

from hw.tpu import isa
from hw.tpu.interfaces import POSITION_BITS
from hw.tpu.isa import ROW_SPAN, Instruction, Memory, Opcode, make
from hw.tpu.registers import ADDRESS, COUNTERS, REGISTERS, Control, Error
from sim.memory import MemoryTiming
from tests.verification.fault_cases import Case, begin
from tests.verification.faults import CHANNELS
from tests.verification.generator import DRAM_BYTES, Program
from tests.verification.rig import Rig

ONES = (1 << 32) - 1
PAGE = 4096
"""A DRAM base is a multiple of it."""


def relocated(rig: Rig, program: Program, rng: Random) -> str:
    """Run a legal program at far DRAM offsets; what differs from the oracle, or "".

    Offsets grow by `shift` and the DRAM base shrinks by it, so that the same bytes are meant: bus
    addresses are modulo 2**32.
    """
    shift = PAGE * rng.randrange((ONES - DRAM_BYTES) // PAGE)
    rig.model.set_memory(program.timing)
    rig.place(program.image, program.base)
    moved = [_moved(i, shift) for i in program.instructions]
    words = np.frombuffer(b"".join(map(isa.encode, moved)), np.uint8)
    code = slice(program.entry, program.entry + words.size)
    rig.dram[code] = words
    rig.set("dram_base", (program.base - shift) & ONES)
    wanted = rig.run_oracle(program.entry, len(moved))
    found = rig.run_rtl(program.entry + shift, len(moved), DRAM_BYTES + shift)
    rig.set("dram_base", program.base)
    if (found.code, found.hung) != (wanted.code, False):
        return f"at {shift:#x} the core ends with {found}, the oracle with {wanted}"
    rig.dram[code] = rig.oracle.dram[code]
    return rig.difference(f"at {shift:#x}")


def _moved(i: Instruction, shift: int) -> Instruction:
    if i.opcode not in (Opcode.LOAD, Opcode.STORE):
        return i
    return Instruction(i.opcode, {**i.values, "address": i.address + shift})


def registers(rig: Rig) -> str:
    """Every bit of every register that can be written rises and falls, and reads back."""
    for address in (*ADDRESS.values(), *(ADDRESS[name] + 4 for name in COUNTERS), 0xFFC, 0xF03, 2):
        rig.model.read_register(address)
    for address in (0xFFC, 0xF03, 0x802, 0x501):  # nothing is there
        rig.model.write_register(address, ONES)
    rig.set("control", Control.CLEAR_INTERRUPT)
    if rig.model.irq:
        return "the interrupt cannot be cleared"
    kept = {item.name: rig.get(item.name) for item in REGISTERS if item.access == "rw"}
    for value in (ONES, 0, 0xAAAAAAAA, 0x55555555):
        for name in kept:
            rig.set(name, value)
        for name in kept:
            if (found := rig.get(name)) != value:
                return f"{name} reads {found:#x} after {value:#x} was written"
    for name, value in kept.items():
        rig.set(name, value)
    return ""


def bus_errors(rig: Rig, case: Case) -> str:
    """SLVERR and DECERR at some beats of either direction: READ_BUS or WRITE_BUS."""
    for write, code in ((False, Error.READ_BUS), (True, Error.WRITE_BUS)):
        for number in (1, 2, 3, 5, 9, 30, 60):
            begin(rig, case)
            response = "SLVERR" if number % 2 else "DECERR"
            rig.model.fail_beat(number, write=write, response=response)
            found = rig.run_rtl(case.program.entry, len(case.program.instructions))
            came = rig.model.failed_beat is not None
            rig.model.clear_faults()
            if came and found.code not in (code, Error.NONE):
                return f"{response} at beat {number}: {found}, right: {code.name}"
    return ""


def long_program(rig: Rig, case: Case, length: int) -> str:
    """`length` FENCEs before a program; a fault behind it must be reported where it is."""
    begin(rig, case)
    bad = make(Opcode.STORE, base=ROW_SPAN - 1, tag=0xFFFF)
    middle = b"".join(map(isa.encode, (*case.program.instructions[:-1], bad)))
    words = isa.encode(make(Opcode.FENCE)) * length + middle
    rig.model.set_memory(MemoryTiming())
    at = rig.total  # beyond what programs and dumps use
    rig.dram_from(at)[: len(words)] = np.frombuffer(words, np.uint8)
    position = len(words) // isa.INSTRUCTION_BYTES - 1
    found = rig.run_rtl(at, position + 1, at + len(words))
    right = (Error.SCRATCHPAD_RANGE, position, 0xFFFF, ROW_SPAN - 1)
    if (found.code, found.position, found.tag, found.detail) != right:
        return f"after {length} FENCEs: {found}"
    return ""


def endless(rig: Rig, program: Program, rng: Random) -> str:
    """A legal program said to be far longer than it is: HALT ends it all the same."""
    rig.model.set_memory(program.timing)
    rig.place(program.image, program.base)
    wanted = rig.run_oracle(program.entry, len(program.instructions))
    length = rng.getrandbits(POSITION_BITS) | len(program.instructions)
    found = rig.run_rtl(program.entry, length, ONES)
    if (found.code, found.hung) != (wanted.code, False):
        return f"of length {length} the core ends with {found}, the oracle with {wanted}"
    return rig.difference(f"of length {length}")


def huge(rig: Rig) -> str:
    """Every 16-bit count beyond 2**15 and every 8-bit count at its most, on the same few rows."""
    n = rig.config.array
    most, word = (1 << 15) + 2, {"dram_row_stride": 1, "dram_line_stride": 1}
    tiles = make(Opcode.LOAD, memory=Memory.WEIGHTS, rows=n * 255, row_bytes=n, address=9)
    once = tiles.values | {"rows": n}
    pool = {"source": isa.Source.SCRATCHPAD, "reduce": isa.Reduce.MAX}
    programs = [
        [make(Opcode.LOAD, rows=most, **word)],
        [make(Opcode.LOAD, lines=most, **word)],
        [make(Opcode.STORE, rows=most, **word, address=0x4000)],
        [make(Opcode.STORE, lines=most, **word, address=0x4000)],
        [make(Opcode.VECTOR, **pool, columns=most, left=-1, step_x=1)],
        [make(Opcode.VECTOR, **pool, rows=most, top=-1, step_y=1)],
        [make(Opcode.VECTOR, **pool, window_rows=255, window_columns=129, left=-1)],
        [make(Opcode.VECTOR, **pool, window_rows=129, window_columns=255, top=-1)],
        *(
            [make(Opcode.LOAD, **once), make(Opcode.MATMUL, **{name: most}, left=1)]
            for name in ("batches", "rows", "columns")
        ),
        *(
            [tiles, make(Opcode.MATMUL, **{name: 255}, left=1)]
            for name in ("kernel_rows", "kernel_columns")
        ),
    ]
    rig.wash()
    rig.model.set_memory(MemoryTiming(bytes_per_cycle=64))
    for program in programs:
        words = np.frombuffer(b"".join(map(isa.encode, [*program, make(Opcode.HALT)])), np.uint8)
        rig.place(words, rig.base)
        wanted = rig.run_oracle(0, len(program) + 1, rig.total)
        found = rig.run_rtl(0, len(program) + 1, rig.total)
        if found.hung or found.code != wanted.code:
            return f"{program[-1]}: {found}, the oracle: {wanted}"
        if wrong := rig.difference(str(program[-1])) or rig.dump(None):
            return wrong
    return ""


def dead_channels(rig: Rig, case: Case, after: int = 3) -> str:
    """Each channel dies after some handshakes: WATCHDOG, or done if the program needs no more."""
    for channel in CHANNELS:
        begin(rig, case)
        rig.model.kill_channel(channel, after)
        found = rig.run_rtl(case.program.entry, len(case.program.instructions))
        rig.recover()
        if found.hung or found.code not in (Error.NONE, Error.WATCHDOG):
            return f"channel {channel} dead: {found}"
    return ""


def resets(rig: Rig, case: Case, cycles: range) -> str:
    """CONTROL.RESET in some cycles, twice at every third of them: the core must become idle."""
    for number, cycle in enumerate(cycles):
        begin(rig, case)
        rig.start(case.program.entry, len(case.program.instructions))
        rig.model.run(cycle, until_irq=False)
        for _ in range(1 + (number % 3 == 0)):
            rig.set("control", Control.RESET)
        rig.model.run(500, until_irq=False)
        if rig.get("status") & 1:
            return f"still busy after a reset in cycle {cycle}"
    return ""
