"""The RTL engine: the Verilated core, driven through its registers like silicon."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import hw.tpu
from hw.tpu import isa
from hw.tpu.config import TpuConfig
from hw.tpu.core import Tpu
from hw.tpu.registers import ADDRESS, COUNTERS, Control, Error, Status
from sim.engine import RunResult, TpuError, check_range
from sim.memory import MemoryTiming
from sim.rtl.model import RtlModel
from sim.rtl.verilog import Verilog, source_key
from sim.trace import decode

WATCHDOG_CYCLES = 200_000
"""Far beyond any latency of memory; a deadlock is reported after so many idle cycles."""
MOST_CYCLES = 1 << 40


class RtlSimulator:
    """An `Engine` that counts cycles: the core's own Verilog under Verilator.

    A result's `trace` is recorded when `timeline` is set. `waves` names a wave file. DRAM
    starts as zeros at bus address 0. `design` stands in for the core's Verilog: the same core
    with more ports, or written otherwise; `coverage` counts it. With `stand_in` the array of
    processing elements is replaced by what it computes, which is faster; without, and with waves,
    every register is the core's. Without `skip_idle` Verilator evaluates all of it in every cycle,
    which is slower and the same. Raises `ToolMissing` or `BuildError` if it cannot be built.
    """

    name = "rtl"

    def __init__(
        self,
        config: TpuConfig,
        dram_bytes: int = 1 << 24,
        *,
        memory: MemoryTiming | None = None,
        timeline: bool = False,
        waves: str | Path | None = None,
        progress: bool = True,
        watchdog: int = WATCHDOG_CYCLES,
        design: Verilog | None = None,
        coverage: bool = False,
        stand_in: bool = False,
        skip_idle: bool = True,
    ) -> None:
        self.config, self.dram_bytes, self.timeline = config, dram_bytes, timeline
        key = source_key([Path(hw.tpu.__file__).parent], config.to_dict())
        self.model = RtlModel(
            design or (lambda: Tpu(config)),
            dram_bytes=dram_bytes,
            memory=memory,
            trace_path=waves,
            progress=progress,
            key=key,
            coverage=coverage,
            stand_in=stand_in and waves is None,
            skip_idle=skip_idle,
        )
        for name, expected in (("version", isa.VERSION), ("array", config.array)):
            if (found := self._get(name)) != expected:
                raise RuntimeError(f"core reports {name} {found}, expected {expected}")
        self._set("dram_size", min(dram_bytes, (1 << 32) - 1))
        self._set("watchdog", watchdog)

    def write(self, address: int, data: NDArray[np.uint8]) -> None:
        check_range(self.dram_bytes, address, data.size)
        self.model.dram[address : address + data.size] = data.ravel()

    def read(self, address: int, size: int) -> NDArray[np.uint8]:
        check_range(self.dram_bytes, address, size)
        return self.model.dram[address : address + size].copy()

    def set_memory(self, timing: MemoryTiming) -> None:
        """Change the memory's timing between runs."""
        self.model.set_memory(timing)

    def close(self) -> None:
        self.model.close()

    def run(self, program: int, instructions: int) -> RunResult:
        """Run to HALT; raises `TpuError` with the core's own report if it stops earlier."""
        self._set("program", program)
        self._set("program_length", instructions)
        self.model.record_events(self.timeline)
        begin = time.perf_counter()
        self._set("control", Control.START)
        try:
            self.model.run(MOST_CYCLES)
        except BaseException:  # an interrupted or broken run must not leak into the next one
            self.model.reset()
            self._restore()
            raise
        seconds = time.perf_counter() - begin
        failure = None
        if Status.ERROR in Status(self._get("status")):
            failure = TpuError(
                Error(self._get("error")),
                self._get("error_position"),
                self._get("error_tag"),
                self._get("error_detail"),
            )
        self._set("control", Control.CLEAR_INTERRUPT)
        if Status.BUSY in Status(self._get("status")):  # a dead bus: only a hardware reset helps
            self.model.reset()
            self._restore()
        if failure is not None:
            raise failure
        counters = {name: self.counter(name) for name in COUNTERS}
        return RunResult(
            self.name,
            seconds,
            cycles=counters["cycles"],
            counters=counters,
            trace=decode(self.model.trace_events()) if self.timeline else None,
        )

    def counter(self, name: str) -> int:
        """A counter of the last run."""
        low = self.model.read_register(ADDRESS[name])
        return low | self.model.read_register(ADDRESS[name] + 4) << 32

    def _get(self, name: str) -> int:
        return self.model.read_register(ADDRESS[name])

    def _set(self, name: str, value: int) -> None:
        self.model.write_register(ADDRESS[name], value)

    def _restore(self) -> None:
        self._set("dram_size", min(self.dram_bytes, (1 << 32) - 1))
        self._set("watchdog", WATCHDOG_CYCLES)
