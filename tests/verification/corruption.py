"""Illegal streams: legal programs with a few wrong bits, operands, semaphores or ends."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hw.tpu import isa
from hw.tpu.isa import FORMATS, Instruction, IsaError, Opcode
from tests.verification.generator import DRAM_BYTES, Program
from tests.verification.operands import defaults

MOST_ROWS = 6_000
"""Rows that a corrupted instruction may still stream, so that runs stay short."""
OVERFLOW_AT = 1 << 15
"""Where hundreds of instructions have room."""


@dataclass(frozen=True)
class Corrupted:
    """Words for the core, `entry` and `length` for its registers, and what was done."""

    kind: str
    words: tuple[bytes, ...]
    entry: int
    length: int
    decoded: tuple[Instruction | None, ...]
    """None where the word is illegal."""


def decode(word: bytes) -> Instruction | None:
    try:
        return isa.decode(word)
    except IsaError:
        return None


def corrupt(program: Program, rng: Random) -> Corrupted:
    """One corruption that can run in reasonable time and leaves the program's own bytes alone."""
    while True:
        kind = rng.choices(list(SHARES), SHARES.values())[0]
        words = [isa.encode(i) for i in program.instructions]
        entry = program.entry
        if kind == "place":
            entry = DRAM_BYTES - 64 * rng.randint(0, len(words) + 1)
        else:
            CORRUPTIONS[kind](program, rng, words)
            if kind == "overflow":
                entry = OVERFLOW_AT
        found = Corrupted(kind, tuple(words), entry, len(words), tuple(map(decode, words)))
        if _reasonable(found):
            return found


def _bits(program: Program, rng: Random, words: list[bytes]) -> None:
    """Some bits flip, more often where there are fields."""
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(len(words))
        fields = FORMATS[program.instructions[at].opcode].fields.values()
        used = sum(item.bits for item in fields)
        bit = rng.randrange(used if rng.random() < 0.8 else isa.INSTRUCTION_BITS)
        number = int.from_bytes(words[at], "little") ^ 1 << bit
        words[at] = number.to_bytes(isa.INSTRUCTION_BYTES, "little")


def _operand(program: Program, rng: Random, words: list[bytes]) -> None:
    """A field takes an extreme value or one near a limit of the core."""
    config = program.config
    at = rng.randrange(len(words))
    i = program.instructions[at]
    names = [name for name in FORMATS[i.opcode].fields if name not in ("opcode", "tag")]
    name = rng.choice(names)
    limits = (
        config.scratchpad_rows, config.accumulator_total_rows, config.parameter_subrows,
        config.parameter_entries, config.array, DRAM_BYTES, 0, 1 << 16, 1 << 20, 1 << 32,
    )  # fmt: skip
    low, high = FORMATS[i.opcode].fields[name].range
    value = rng.choice((low, high, rng.choice(limits) + rng.randint(-2, 2), i.values[name] + 1))
    words[at] = isa.encode(Instruction(i.opcode, {**i.values, name: value}))


def _opcode(program: Program, rng: Random, words: list[bytes]) -> None:
    at = rng.randrange(len(words))
    code = rng.choice((rng.randrange(256), int(rng.choice(list(Opcode)))))
    words[at] = bytes([code]) + words[at][1:]


def _end(program: Program, rng: Random, words: list[bytes]) -> None:
    """No HALT, at the end or anywhere."""
    del words[rng.choice((len(words) - 1, rng.randrange(len(words)))) :]


def _masks(program: Program, rng: Random, words: list[bytes]) -> None:
    """A semaphore waited for or signalled once too often, or not at all."""
    at = rng.randrange(len(words))
    i = program.instructions[at]
    name = rng.choice(("wait", "signal"))
    mask = rng.choice((0, i.values[name] ^ 1 << rng.randrange(16), rng.getrandbits(16)))
    words[at] = isa.encode(Instruction(i.opcode, {**i.values, name: mask}))


def _order(program: Program, rng: Random, words: list[bytes]) -> None:
    """An instruction is missing, doubled or elsewhere."""
    at = rng.randrange(len(words))
    word = words[at]
    if rng.random() < 0.6:
        del words[at]
    if rng.random() < 0.5:
        words.insert(rng.randrange(len(words) + 1), word)


def _overflow(program: Program, rng: Random, words: list[bytes]) -> None:
    """Some 256 signals that nobody takes."""
    bit = 1 << rng.randrange(16)
    i = rng.choice([i for i in program.instructions if i.queue is not None] or [None])
    load = Instruction(Opcode.LOAD, defaults(Opcode.LOAD) | {"signal": bit, "address": 60_000})
    words[:0] = [isa.encode(load)] * rng.randint(254, 258)
    if i is not None:
        words.insert(rng.randrange(256), isa.encode(i))


CORRUPTIONS = {
    "bits": _bits,
    "operand": _operand,
    "opcode": _opcode,
    "end": _end,
    "masks": _masks,
    "order": _order,
    "overflow": _overflow,
}
SHARES = {"bits": 20, "operand": 35, "opcode": 8, "end": 8, "masks": 10, "order": 10, "place": 6,
          "overflow": 1}  # fmt: skip


def _reasonable(found: Corrupted) -> bool:
    """Short enough, in DRAM, and nothing stores over the program."""
    code = (found.entry, found.entry + 64 * found.length)
    for i in found.decoded:
        if i is None or i.queue is None:
            continue
        if i.opcode is Opcode.MATMUL:
            rows = i.batches * i.rows * i.columns
            rows *= i.channel_blocks * i.kernel_rows * i.kernel_columns
        elif i.opcode is Opcode.VECTOR:
            rows = i.rows * i.columns * i.window_rows * i.window_columns
        else:
            rows = i.lines * i.rows
        if rows > MOST_ROWS:
            return False
        if i.opcode is Opcode.STORE:
            firsts = [
                i.address + line * i.dram_line_stride + row * i.dram_row_stride
                for line in (0, i.lines - 1)
                for row in (0, i.rows - 1)
            ]
            if min(firsts) < code[1] and max(firsts) + i.row_bytes > code[0]:
                return False
    return True
