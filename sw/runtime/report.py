"""What TPU programs cost: one `ProgramReport` per program, and a session's `RunReport`.

Counts add up over the runs of a program, so that ratios are those of all runs together. Engines
that count no cycles give None for everything that needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sw.compiler.unit import Fallback
from sw.runtime.session import Session


@dataclass
class ProgramReport:
    """`ops`: the graph's ops in the program. `config`: the core's name. `macs`: useful
    multiply-accumulates of the model; `seconds` of the engine's run, without the border's."""

    ops: tuple[str, ...]
    engine: str
    config: str
    peak_macs_per_cycle: int
    bus_bytes: int
    runs: int = 0
    macs: int = 0
    cycles: int | None = None
    seconds: float = 0.0
    counters: dict[str, int] = field(default_factory=dict)

    def add(
        self, macs: int, cycles: int | None, seconds: float, counters: Mapping[str, int]
    ) -> None:
        """Count one run."""
        self.runs += 1
        self.macs += macs
        self.seconds += seconds
        if cycles is not None:
            self.cycles = (self.cycles or 0) + cycles
        for name, value in counters.items():
            self.counters[name] = self.counters.get(name, 0) + value

    @property
    def utilisation(self) -> float | None:
        """`macs / (cycles * peak)`."""
        return self.macs / (self.cycles * self.peak_macs_per_cycle) if self.cycles else None

    @property
    def array_active(self) -> float | None:
        """Share of cycles in which a row entered the array."""
        return self.counters["array_active"] / self.cycles if self.cycles else None

    @property
    def simulated_cycles_per_second(self) -> float | None:
        return self.cycles / self.seconds if self.cycles and self.seconds else None

    def bytes(self, direction: str) -> int | None:
        """Bytes that crossed the bus, `direction` "read" or "write"; None if not counted."""
        beats = self.counters.get(f"dram_{direction}_beats")
        return None if beats is None else beats * self.bus_bytes

    def to_dict(self) -> dict[str, Any]:
        """As data for JSON, derived values included."""
        return {
            **asdict(self),
            "utilisation": self.utilisation,
            "array_active": self.array_active,
            "dram_read_bytes": self.bytes("read"),
            "dram_write_bytes": self.bytes("write"),
            "simulated_cycles_per_second": self.simulated_cycles_per_second,
        }


@dataclass
class RunReport:
    """The programs that a session ran on its TPU and the ops that fell back to the CPU."""

    programs: tuple[ProgramReport, ...]
    fallback: tuple[Fallback, ...]

    def total(self) -> ProgramReport | None:
        """All programs as one; None if none ran."""
        if not self.programs:
            return None
        first = self.programs[0]
        ops = tuple(dict.fromkeys(op for program in self.programs for op in program.ops))
        core = (first.engine, first.config, first.peak_macs_per_cycle, first.bus_bytes)
        whole = ProgramReport(ops, *core)
        for program in self.programs:
            whole.add(program.macs, program.cycles, program.seconds, program.counters)
        whole.runs = sum(program.runs for program in self.programs)
        return whole

    def to_dict(self) -> dict[str, Any]:
        """The total's keys, `programs` and `fallback` (op, name, reason), as data for JSON."""
        total = self.total()
        return {
            **(total.to_dict() if total else {}),
            "programs": [program.to_dict() for program in self.programs],
            "fallback": [asdict(item) for item in self.fallback],
        }


def run_report(session: Session) -> RunReport:
    """What the TPU programs of `session`, open or closed, have cost so far."""
    return RunReport(tuple(session.tpu_reports), tuple(session.fallback))
