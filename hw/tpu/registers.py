"""Host-visible registers (AXI4-Lite, 32 bits wide), error codes and counters: one table each."""

from __future__ import annotations

import enum
from dataclasses import dataclass

IDENT = 0x54535953
"""ASCII "SYST", little-endian."""


class Control(enum.IntFlag):
    """Bits written to CONTROL; each acts once."""

    START = 1
    RESET = 2
    CLEAR_INTERRUPT = 4


class Status(enum.IntFlag):
    BUSY = 1
    DONE = 2
    ERROR = 4


class Error(enum.IntEnum):
    """Why the core stopped."""

    NONE = 0
    ILLEGAL_INSTRUCTION = 1
    UNBUILT = 2
    ILLEGAL_OPERAND = 3
    SCRATCHPAD_RANGE = 4
    ACCUMULATOR_RANGE = 5
    PARAMETER_RANGE = 6
    DRAM_RANGE = 7
    READ_BUS = 8
    WRITE_BUS = 9
    SEMAPHORE_OVERFLOW = 10
    WATCHDOG = 11
    NO_HALT = 12


ERROR_TEXT: dict[Error, str] = {
    Error.NONE: "no error",
    Error.ILLEGAL_INSTRUCTION: "illegal instruction: unknown opcode or reserved bits set",
    Error.UNBUILT: "instruction is reserved for a later core",
    Error.ILLEGAL_OPERAND: "operand outside its legal range",
    Error.SCRATCHPAD_RANGE: "scratchpad row out of range",
    Error.ACCUMULATOR_RANGE: "accumulator row out of range",
    Error.PARAMETER_RANGE: "address in parameter or lane memory out of range",
    Error.DRAM_RANGE: "DRAM address out of range",
    Error.READ_BUS: "bus error while reading DRAM",
    Error.WRITE_BUS: "bus error while writing DRAM",
    Error.SEMAPHORE_OVERFLOW: "semaphore counted past its maximum",
    Error.WATCHDOG: "no progress until the watchdog ran out (deadlock?)",
    Error.NO_HALT: "program ended without HALT",
}


@dataclass(frozen=True)
class Register:
    name: str
    address: int
    access: str
    """"ro", "wo" or "rw"."""
    doc: str


REGISTERS: tuple[Register, ...] = (
    Register("ident", 0x000, "ro", 'ASCII "SYST"'),
    Register("version", 0x004, "ro", "version of the instruction encoding"),
    Register("array", 0x008, "ro", "N of the N x N array"),
    Register("bus_bits", 0x00C, "ro", "width of the DRAM bus"),
    Register(
        "control", 0x010, "wo", "bit 0 start (unless busy), bit 1 reset, bit 2 clear interrupt"
    ),
    Register(
        "status", 0x014, "ro", "bit 0 busy (or the bus owes answers), bit 1 done, bit 2 error"
    ),
    Register("error", 0x018, "ro", "error code, 0 when none"),
    Register("error_position", 0x01C, "ro", "number of the faulting instruction in the program"),
    Register("error_tag", 0x020, "ro", "its tag"),
    Register(
        "error_detail",
        0x024,
        "ro",
        "the offending row, DRAM offset (low 32 bits) or semaphores (a bit each)",
    ),
    Register("program", 0x028, "rw", "DRAM offset of the program, a multiple of 64"),
    Register("program_length", 0x02C, "rw", "instructions in the program"),
    Register("dram_base", 0x030, "rw", "bus address of DRAM offset 0, a multiple of 4096"),
    Register("dram_size", 0x034, "rw", "bytes that the program may touch"),
    Register("watchdog", 0x038, "rw", "cycles without progress after which to stop; 0: never"),
)

COUNTER_BASE = 0x080
"""Address of the first counter; each takes two registers, low word first."""

COUNTERS: dict[str, str] = {
    "cycles": "cycles from start until done or stopped",
    "array_active": "cycles in which a row entered the array",
    "useful_macs": "multiply-accumulates on rows and columns in use",
    "weight_stall": "cycles a matmul waited for its weight tile",
    "input_stall": "cycles the matmul queue waited for a semaphore with the array idle",
    "vector_busy": "cycles in which the vector unit read a row",
    "vector_stall": "cycles the vector unit waited for a memory port",
    "load_wait": "cycles the load queue's head waited for a semaphore",
    "vector_wait": "cycles the vector queue's head waited for a semaphore",
    "store_wait": "cycles the store queue's head waited for a semaphore",
    "dram_read_beats": "bus beats read",
    "dram_write_beats": "bus beats written",
    "read_wait": "cycles with reads outstanding and no beat arriving",
    "instructions": "instructions dispatched",
}

ADDRESS: dict[str, int] = {register.name: register.address for register in REGISTERS} | {
    name: COUNTER_BASE + 8 * number for number, name in enumerate(COUNTERS)
}
"""Address of every register and of the low word of every counter."""


def reference() -> str:
    """The reference page, Markdown."""
    lines = [
        "# Registers",
        "",
        "Generated from `hw/tpu/registers.py` by `make docs`; do not edit.",
        "",
        "| address | name | access | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for item in REGISTERS:
        lines.append(f"| `{item.address:#05x}` | `{item.name}` | {item.access} | {item.doc} |")
    lines += ["", "## Counters", "", "64 bits each, low word first, cleared by start.", ""]
    lines += ["| address | name | counts |", "| --- | --- | --- |"]
    for name, doc in COUNTERS.items():
        lines.append(f"| `{ADDRESS[name]:#05x}` | `{name}` | {doc} |")
    lines += ["", "## Error codes", "", "| code | name | meaning |", "| --- | --- | --- |"]
    lines += [f"| {code.value} | {code.name} | {ERROR_TEXT[code]} |" for code in Error]
    return "\n".join(lines) + "\n"
