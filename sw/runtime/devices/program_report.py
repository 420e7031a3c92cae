"""`ProgramReport`: what a TPU program cost.

Counts add up over the runs of a program, so that ratios are those of all runs together. Engines
that count no cycles give None for everything that needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


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
