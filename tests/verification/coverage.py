"""What random programs reached: opcode x size class x how the run ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from hw.tpu.config import TpuConfig
from hw.tpu.isa import Convert, Instruction, Memory, Opcode, Source

SIZES = ("1", "< N", "N-1..N+1", "to 8N", "more")


def rows(i: Instruction) -> int:
    """Rows that an instruction streams."""
    if i.opcode in (Opcode.LOAD, Opcode.STORE):
        return i.lines * i.rows
    if i.opcode is Opcode.MATMUL:
        passes = i.channel_blocks * i.kernel_rows * i.kernel_columns
        return passes * i.batches * i.rows * i.columns
    if i.opcode is Opcode.VECTOR:
        return i.rows * i.columns * i.window_rows * i.window_columns
    return 1


def size_class(i: Instruction, config: TpuConfig) -> str:
    count, n = rows(i), config.array
    if count == 1:
        return SIZES[0]
    if count < n - 1:
        return SIZES[1]
    if count <= n + 1:
        return SIZES[2]
    return SIZES[3] if count <= 8 * n else SIZES[4]


def variant(i: Instruction) -> str:
    """Opcode, with the choice that changes most of what the hardware does."""
    name = i.opcode.name
    if i.opcode is Opcode.LOAD:
        return f"{name} {Memory(i.memory).name.lower()}"
    if i.opcode is Opcode.VECTOR:
        pooled = " max" if i.window_rows * i.window_columns > 1 else ""
        what = "move" if i.source == Source.SCRATCHPAD else Convert(i.convert).name.lower()
        return f"{name} {what}{pooled}"
    if i.opcode is Opcode.MATMUL:
        return f"{name} {'accumulate' if i.accumulate else 'overwrite'}{' keep' * i.keep}"
    return name


@dataclass
class Coverage:
    """Counts of programs, instructions and ends."""

    instructions: Counter[tuple[str, str]] = field(default_factory=Counter)
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(opcode of the instruction that was blamed, error)."""

    def add(self, program: Iterable[Instruction | None], config: TpuConfig) -> None:
        for i in program:
            if i is not None:
                self.instructions[variant(i), size_class(i, config)] += 1

    def end(self, blamed: Instruction | None, error: str) -> None:
        self.ends[blamed.opcode.name if blamed else "(none)", error] += 1

    def tables(self) -> str:
        """Both tables, as text."""
        return "\n\n".join(
            (
                _table("instructions by rows", self.instructions, list(SIZES)),
                _table("ends of illegal streams", self.ends, sorted({e for _, e in self.ends})),
            )
        )

    def to_dict(self) -> dict[str, dict[str, int]]:
        return {
            name: {" / ".join(key): count for key, count in sorted(counts.items())}
            for name, counts in (("instructions", self.instructions), ("ends", self.ends))
        }


def _table(title: str, counts: Counter[tuple[str, str]], columns: list[str]) -> str:
    names = sorted({name for name, _ in counts})
    width = max([len(title), *map(len, names)])
    widths = [max(9, len(column) + 2) for column in columns]
    head = "".join(f"{c:>{w}}" for c, w in zip(columns, widths, strict=True))
    lines = [f"{title:<{width}}{head}"]
    for name in names:
        cells = (f"{counts[name, c] or '.':>{w}}" for c, w in zip(columns, widths, strict=True))
        lines.append(f"{name:<{width}}" + "".join(cells))
    return "\n".join(lines)
