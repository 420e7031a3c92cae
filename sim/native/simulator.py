"""The functional engine: the oracle's results at a multiple of its speed."""

from __future__ import annotations

import ctypes
import time
import warnings
import weakref
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hw.tpu import isa
from hw.tpu.config import TpuConfig
from hw.tpu.registers import Error
from sim.cxx.formats import unpack
from sim.engine import RunResult, TpuError
from sim.functional import FunctionalSimulator
from sim.native import library
from sim.rtl.toolchain import ToolMissing


class NativeSimulator(FunctionalSimulator):
    """A `FunctionalSimulator` that runs whole programs in C++; `step` is the oracle's.

    State, results, counters and errors are the oracle's bit for bit. `declined` counts the
    instructions of the last run that the oracle had to carry out: the faulty one, and what
    no program needs, as rows that wrap around the address space. Without a C++ compiler every
    program runs on the oracle, which a warning says once. `compiled` stands in for the library.
    """

    def __init__(
        self,
        config: TpuConfig,
        dram_bytes: int = 1 << 24,
        compiled: ctypes.CDLL | None = None,
    ) -> None:
        super().__init__(config, dram_bytes)
        self.declined = 0
        self._compiled = compiled
        self._programs: dict[tuple[int, int], tuple[NDArray[np.uint8], NDArray[np.int64]]] = {}
        self._core: _Core | None = None

    def run(self, program: int, instructions: int) -> RunResult:
        """Execute up to HALT; raises `TpuError` and leaves everything before the fault done."""
        compiled = self._compiled or _library()
        if compiled is None:
            return super().run(program, instructions)
        begin = time.perf_counter()
        self.reset()
        self.declined, position = 0, 0
        self.check_program(program, instructions)
        core = self._core = self._core or _Core(compiled, self)
        core.import_state()
        while position < instructions:
            words = self._decoded(program, instructions)
            position = core.run(program, words, position)
            core.export_state()
            if position < 0:
                return RunResult(self.name, time.perf_counter() - begin, counters=self.counters)
            if position < instructions:
                self.declined += 1
                instruction = self.one(program, position)
                position += 1
                if instruction.opcode is isa.Opcode.HALT:
                    return RunResult(self.name, time.perf_counter() - begin, counters=self.counters)
                core.import_state()
        raise TpuError(Error.NO_HALT, instructions)

    def _decoded(self, program: int, instructions: int) -> NDArray[np.int64]:
        """The program as the interpreter takes it, decoded anew only when its bytes changed."""
        code = self.dram[program : program + instructions * isa.INSTRUCTION_BYTES]
        known = self._programs.get((program, instructions))
        if known is None or not np.array_equal(known[0], code):
            known = self._programs[program, instructions] = code.copy(), unpack(code)
        return known[1]


@cache
def _library() -> ctypes.CDLL | None:
    try:
        return library.load()
    except ToolMissing as missing:
        warnings.warn(
            f"{missing}; until then programs run on the NumPy interpreter, which takes "
            "some eighty times as long",
            stacklevel=3,
        )
        return None


class _Core:
    """The C++ side of a simulator: works on its arrays, and takes over and gives back the rest."""

    def __init__(self, compiled: ctypes.CDLL, simulator: NativeSimulator) -> None:
        # a weak reference, so that the simulator's end ends this
        self._library, self._simulator = compiled, weakref.proxy(simulator)
        self._semaphores = np.zeros(isa.SEMAPHORES, np.int64)
        self._counters = np.zeros(len(library.COUNTERS), np.int64)
        self._handle = compiled.n_open(self._machine(0, 0).ctypes.data)
        weakref.finalize(self, compiled.n_close, self._handle)

    def run(self, program: int, words: NDArray[np.int64], position: int) -> int:
        """From `position` on; the instruction that is left to the oracle, or -1 after HALT."""
        machine = self._machine(program, len(words) * isa.INSTRUCTION_BYTES)
        data = machine.ctypes.data, words.ctypes.data
        return int(self._library.n_run(self._handle, *data, len(words), position))

    def import_state(self) -> None:
        """Take semaphores, counters, weights and tile from the simulator."""
        it = self._simulator
        self._semaphores[:] = it.semaphores
        self._counters[:] = [it.counters[name] for name in library.COUNTERS]
        waiting = np.array(it.weights, np.int8)
        tile = np.zeros(0, np.int8) if it.tile is None else np.ascontiguousarray(it.tile)
        self._library.n_set_weights(
            self._handle, waiting.ctypes.data, waiting.size, tile.ctypes.data, tile.size
        )

    def export_state(self) -> None:
        """Give them back."""
        it, n = self._simulator, self._simulator.config.array
        it.semaphores = self._semaphores.tolist()
        it.counters = dict(zip(library.COUNTERS, self._counters.tolist(), strict=True))
        waiting = np.empty(self._library.n_waiting(self._handle), np.int8)
        tile = np.empty(self._library.n_tile(self._handle), np.int8)
        self._library.n_get_weights(self._handle, waiting.ctypes.data, tile.ctypes.data)
        it.weights = list(waiting.reshape(-1, n))
        it.tile = tile.reshape(n, n) if tile.size else None

    def _machine(self, program: int, program_bytes: int) -> NDArray[np.int64]:
        """`Machine`, in the order of `library.MACHINE`."""
        it = self._simulator
        values = {
            "array": it.config.array,
            "scratchpad_rows": it.config.scratchpad_rows,
            "accumulator_rows": it.config.accumulator_total_rows,
            "parameter_entries": it.config.parameter_entries,
            "parameter_subrows": it.config.parameter_subrows,
            "lane_rows": it.config.lane_rows,
            "dram_bytes": it.dram_bytes,
            "program": program,
            "program_bytes": program_bytes,
            "dram": it.dram.ctypes.data,
            "scratchpad": it.scratchpad.ctypes.data,
            "accumulators": it.accumulators.ctypes.data,
            "parameters": it.parameters.ctypes.data,
            "lanes": it.lanes.ctypes.data,
            "semaphores": self._semaphores.ctypes.data,
            "counters": self._counters.ctypes.data,
        }
        return np.array([values[name] for name in library.MACHINE], np.int64)
