"""The timing engine: an `Engine` that counts cycles as the RTL does and computes nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hw.tpu import isa
from hw.tpu.config import TpuConfig
from hw.tpu.isa import Instruction
from hw.tpu.registers import Error
from sim.cxx.formats import unpack
from sim.engine import RunResult, TpuError, check_range
from sim.memory import MemoryTiming
from sim.timing import layout, timeline
from sim.timing.native import Run


class TimingSimulator:
    """An `Engine` whose `run` predicts cycles and counters and leaves DRAM as it is.

    Cycles and every counter equal those of the RTL engine for the same program and memory timing
    without jitter, from a start with full token buckets. With jitter the random numbers follow the
    same distribution, not the same sequence. `timeline` records a `trace`, also equal to the RTL's.
    """

    name = "timing"

    def __init__(
        self,
        config: TpuConfig,
        dram_bytes: int = 1 << 24,
        memory: MemoryTiming | None = None,
        *,
        timeline: bool = False,
    ) -> None:
        self.config, self.dram_bytes, self.timeline = config, dram_bytes, timeline
        self.memory = memory or MemoryTiming()
        self.dram = np.zeros(dram_bytes, np.uint8)

    def write(self, address: int, data: NDArray[np.uint8]) -> None:
        check_range(self.dram_bytes, address, data.size)
        self.dram[address : address + data.size] = data.ravel()

    def read(self, address: int, size: int) -> NDArray[np.uint8]:
        check_range(self.dram_bytes, address, size)
        return self.dram[address : address + size].copy()

    def set_memory(self, timing: MemoryTiming) -> None:
        """Change the memory's timing between runs."""
        self.memory = timing

    def close(self) -> None:
        """Nothing to release."""

    def run(self, program: int, instructions: int) -> RunResult:
        """Predict a run to HALT; raises `TpuError` if the core would stop earlier."""
        begin = time.perf_counter()
        size = instructions * isa.INSTRUCTION_BYTES
        if program < 0 or program + size > self.dram_bytes:
            raise TpuError(Error.DRAM_RANGE, 0, detail=program)
        return _run(
            self.dram[program : program + size],
            layout.sizes(self.config, self.memory, self.dram_bytes, program),
            self.timeline,
            begin,
        )


def predict(
    instructions: Sequence[Instruction],
    config: TpuConfig,
    memory: MemoryTiming | None = None,
    *,
    program: int = 0,
    timeline: bool = False,
) -> RunResult:
    """Cycles and counters of instructions that lie at DRAM offset `program`.

    Raises `TpuError` if the core would stop before HALT.
    """
    begin = time.perf_counter()
    sizes = layout.sizes(config, memory or MemoryTiming(), 1 << 40, program)
    code = np.frombuffer(isa.assemble(instructions), np.uint8)
    return _run(code, sizes, timeline, begin)


def _run(code: NDArray[np.uint8], sizes: dict[str, int], record: bool, begin: float) -> RunResult:
    run = Run(sizes, unpack(code), record)
    if run.report.code:
        report = run.report
        raise TpuError(Error(report.code), report.position, report.tag, report.detail)
    return RunResult(
        TimingSimulator.name,
        time.perf_counter() - begin,
        cycles=run.counters["cycles"],
        counters=run.counters,
        trace=timeline.trace(run.events) if record else None,
    )
