"""What every engine of the TPU offers: DRAM in, a program run, DRAM out; and how it says no."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hw.tpu.config import TpuConfig
from hw.tpu.registers import ERROR_TEXT, Error
from sim.trace import Trace


class TpuError(RuntimeError):
    """A program that the core stopped; the engine is ready for the next one.

    `position` is the number of the faulting instruction, `tag` its graph operation, `detail` the
    offending row or DRAM offset.
    """

    def __init__(
        self, code: Error, position: int = 0, tag: int = 0, detail: int = 0, note: str = ""
    ):
        self.code, self.position, self.tag, self.detail = code, position, tag, detail
        where = f"instruction {position}" + (f" (tag {tag})" if tag else "")
        what = f"{ERROR_TEXT[code]}, {detail:#x}" if detail else ERROR_TEXT[code]
        super().__init__(f"{where}: {what}" + (f"; {note}" if note else ""))


@dataclass(frozen=True)
class RunResult:
    """What a run of a program cost. `cycles` is None where the engine counts none."""

    engine: str
    seconds: float
    cycles: int | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    trace: Trace | None = None

    @property
    def simulated_cycles_per_second(self) -> float | None:
        return self.cycles / self.seconds if self.cycles and self.seconds else None


class Engine(Protocol):
    """A core with its DRAM. Addresses are DRAM offsets, data bytes."""

    name: str
    config: TpuConfig
    dram_bytes: int

    def write(self, address: int, data: NDArray[np.uint8]) -> None: ...

    def read(self, address: int, size: int) -> NDArray[np.uint8]: ...

    def run(self, program: int, instructions: int) -> RunResult:
        """Run the program at DRAM offset `program`; raises `TpuError` if the core stops."""
        ...

    def close(self) -> None: ...


def check_range(dram_bytes: int, address: int, size: int) -> None:
    """Raises `ValueError` if a host access leaves the DRAM."""
    if address < 0 or size < 0 or address + size > dram_bytes:
        raise ValueError(
            f"DRAM access of {size} bytes at {address:#x} leaves the {dram_bytes} bytes there are"
        )
