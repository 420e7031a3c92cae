"""What a session's TPU programs cost, all together, and what ran on the CPU instead."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sw.compiler.unit import Fallback
from sw.runtime.devices.program_report import ProgramReport
from sw.runtime.session import Session


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
