"""What random programs reached: opcode x size class x stall, and how runs ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from hw.tpu.config import TpuConfig
from hw.tpu.isa import Convert, Instruction, Memory, Opcode, Reduce
from sim.memory import MemoryTiming

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
    """Opcode, with the choices that change most of what the hardware does."""
    if i.opcode is Opcode.LOAD:
        return f"LOAD {Memory(i.memory).name.lower()}"
    if i.opcode is Opcode.VECTOR:
        what = "move" if i.convert == Convert.NONE else Convert(i.convert).name.lower()
        if i.reduce != Reduce.NONE:
            what += f" {Reduce(i.reduce).name.lower()}"
        return f"VECTOR {what}{' add' * i.add}{' table' * i.table}"
    if i.opcode is Opcode.MATMUL:
        return f"MATMUL {'accumulate' if i.accumulate else 'overwrite'}{' keep' * i.keep}"
    return i.opcode.name


VARIANTS = (
    *(f"LOAD {memory.name.lower()}" for memory in Memory),
    *(f"MATMUL {what}{keep}" for what in ("accumulate", "overwrite") for keep in ("", " keep")),
    *(
        f"VECTOR {what}{add}{table}"
        for what in ("move", "move max", "byte", "byte max", "requantise", "requantise max",
                     "requantise sum", "requantise multiply_accumulate")
        for add in ("", " add")
        for table in ("", " table")
    ),
    "STORE",
)  # fmt: skip
"""Every `variant` of an instruction that has sizes."""


def stall(timing: MemoryTiming, config: TpuConfig) -> str:
    """What the memory holds the core up with, most of all."""
    if timing.jitter:
        return STALLS[3]
    if timing.bytes_per_cycle < config.bus_bytes:
        return STALLS[2]
    return STALLS[1] if timing.latency > 4 else STALLS[0]


STALLS = ("none", "latency", "bandwidth", "jitter")
ENDS = {
    "LOAD": ("ILLEGAL_OPERAND", "SCRATCHPAD_RANGE", "PARAMETER_RANGE", "DRAM_RANGE", "WATCHDOG"),
    "MATMUL": ("SCRATCHPAD_RANGE", "ACCUMULATOR_RANGE", "WATCHDOG"),
    "VECTOR": ("SCRATCHPAD_RANGE", "ACCUMULATOR_RANGE", "PARAMETER_RANGE", "WATCHDOG"),
    "STORE": ("ILLEGAL_OPERAND", "SCRATCHPAD_RANGE", "DRAM_RANGE", "WATCHDOG"),
    "(none)": ("ILLEGAL_INSTRUCTION", "NO_HALT", "DRAM_RANGE", "SEMAPHORE_OVERFLOW"),
}
"""Errors that random streams must reach, by the opcode that is to blame; buses fail in `faults`."""


@dataclass
class Coverage:
    """Counts of instructions of legal programs and of ends of illegal ones."""

    instructions: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(variant, size class, stall)."""
    ends: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(opcode of the instruction that was blamed, error, stall)."""

    def add(
        self, program: Iterable[Instruction | None], config: TpuConfig, timing: MemoryTiming
    ) -> None:
        held_up = stall(timing, config)
        for i in program:
            if i is not None:
                self.instructions[variant(i), size_class(i, config), held_up] += 1

    def end(
        self, blamed: Instruction | None, error: str, config: TpuConfig, timing: MemoryTiming
    ) -> None:
        opcode = blamed.opcode.name if blamed else "(none)"
        self.ends[opcode, error, stall(timing, config)] += 1

    def missing(self) -> list[str]:
        """Of opcode x size x stall, and of opcode x error x stall, what did not come."""
        sized = ((v, s, t) for v in VARIANTS for s in SIZES for t in STALLS)
        ended = ((o, e, t) for o, errors in ENDS.items() for e in errors for t in STALLS)
        return [
            *(" / ".join(bin_) for bin_ in sized if not self.instructions[bin_]),
            *(" / ".join(bin_) for bin_ in ended if not self.ends[bin_]),
        ]

    def summary(self) -> str:
        total = len(STALLS) * (len(VARIANTS) * len(SIZES) + sum(map(len, ENDS.values())))
        missing = self.missing()
        text = (
            f"opcode x size x stall and opcode x error x stall: {total - len(missing)} of {total}"
        )
        return text + (f"; missing: {', '.join(missing[:8])}" if missing else "")

    def tables(self) -> str:
        """Sizes, stalls and errors, as text."""
        tables = (
            ("instructions by rows", self.instructions, 1, list(SIZES)),
            ("instructions by stall", self.instructions, 2, list(STALLS)),
            ("ends of illegal streams", self.ends, 1, sorted({key[1] for key in self.ends})),
        )
        return "\n\n".join(
            _table(title, _project(counts, axis), columns)
            for title, counts, axis, columns in tables
        )

    def to_dict(self) -> dict[str, dict[str, int] | list[str]]:
        return {
            name: {" / ".join(key): count for key, count in sorted(counts.items())}
            for name, counts in (("instructions", self.instructions), ("ends", self.ends))
        } | {"missing": self.missing()}


def _project(counts: Counter[tuple[str, str, str]], axis: int) -> Counter[tuple[str, str]]:
    """Counts by the first item of each key and the one at `axis`."""
    found: Counter[tuple[str, str]] = Counter()
    for key, count in counts.items():
        found[key[0], key[axis]] += count
    return found


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
