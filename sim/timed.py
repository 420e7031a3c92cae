"""Values from the oracle, cycles from the timing model: a whole engine without RTL."""

from __future__ import annotations

import time
from dataclasses import replace

from hw.tpu.config import TpuConfig
from sim.engine import RunResult
from sim.memory import MemoryTiming
from sim.native.simulator import NativeSimulator
from sim.timing.simulator import TimingSimulator


class TimedSimulator(NativeSimulator):
    """An `Engine` with the results of the functional simulator and the cycles of the RTL.

    `timeline` records a `trace` with each run. See `TimingSimulator` for when cycles are exact.
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
        super().__init__(config, dram_bytes)
        self.clock = TimingSimulator(config, dram_bytes, memory, timeline=timeline)
        self.clock.dram = self.dram  # one memory: the clock reads the program from it

    def set_memory(self, timing: MemoryTiming) -> None:
        """Change the memory's timing between runs."""
        self.clock.set_memory(timing)

    def run(self, program: int, instructions: int) -> RunResult:
        """Execute up to HALT and count its cycles; raises `TpuError` as the oracle does."""
        begin = time.perf_counter()
        super().run(program, instructions)
        result = self.clock.run(program, instructions)
        return replace(result, engine=self.name, seconds=time.perf_counter() - begin)
