"""The driver: programs into DRAM, inputs in, run, outputs back, on one engine or two compared."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.tpu.config import TpuConfig
from hw.tpu.program import TpuProgram
from sim.engine import Engine, TpuError
from sim.execute import Outputs, execute
from sw.compiler.tpu.support import original_name
from sw.graph.errors import InternalError, ResourceExhaustedError, UnavailableError
from sw.graph.operation import Operation
from sw.runtime.config import SessionConfig
from sw.runtime.devices.program_report import ProgramReport
from sw.runtime.devices.tpu_engines import engines_of
from sw.runtime.devices.tpu_memory import Resident, ResidentPrograms
from sw.runtime.recording import Recording, layers_of

DRAM_BYTES = 1 << 26
DRAM_LIMIT = 1 << 31
"""More than any model of ours needs, less than an engine's process can hold."""

Ops = Mapping[str, Operation]
"""The op behind each layer, by the name of the layer's output."""
Patch = tuple[object, NDArray[np.uint8]]
"""Other bytes for the start of a program's image, and an object that names them."""


class Driver:
    """The engines of one session, made when the first program runs. Safe to use from threads."""

    def __init__(self, config: SessionConfig, core: TpuConfig) -> None:
        self.core = core
        self._makers = engines_of(config, core)
        self._limit = min(DRAM_LIMIT, 1 << core.address_bits)
        self._engines: list[Engine] = []
        self._residents = ResidentPrograms(0)
        self._reports: dict[Hashable, ProgramReport] = {}
        self.recordings: list[Recording] = []
        self._lock = threading.RLock()

    def run(
        self,
        slot: Hashable,
        program: TpuProgram,
        inputs: Mapping[str, NDArray[np.int8]],
        ops: Ops,
        patch: Patch | None = None,
    ) -> Outputs:
        """Outputs of `program` by port. `slot` names the program in DRAM, where it is written
        only if it is not there; `patch` replaces its weights if they are others.

        Raises `ResourceExhaustedError` if the program does not fit, `InternalError` naming the
        op if the core stops or two engines differ.
        """
        with self._lock:
            resident = self._residents.find(slot) or self._load(slot, program, ops)
            if patch is not None and resident.loaded is not patch[0]:
                for engine in self._engines:
                    engine.write(resident.base, patch[1])
                resident.loaded = patch[0]
            results = [self._execute(engine, resident, inputs, ops) for engine in self._engines]
            self._note(slot, program, ops, [result for _, result in results])
            for other, result in results[1:]:
                names = (results[0][1].engine, result.engine)
                _compare(results[0][0], other, names, ops)
            return results[0][0]

    def reports(self) -> list[ProgramReport]:
        """What the programs have cost so far."""
        with self._lock:
            return list(self._reports.values())

    def close(self) -> None:
        """Give the engines back."""
        with self._lock:
            for engine in self._engines:
                engine.close()
            self._engines.clear()
            self._residents = ResidentPrograms(0)

    def _load(self, slot: Hashable, program: TpuProgram, ops: Ops) -> Resident:
        need = program.dram_bytes
        if need > self._limit:
            first = next(iter(ops.values()))
            raise ResourceExhaustedError(
                f"op {first.where()}: its program needs {need} bytes of DRAM, the core "
                f"{self.core.name!r} has {self._limit}",
                first,
            )
        if need > self._residents.size:
            self.close()
            size = min(self._limit, max(DRAM_BYTES, 1 << (need - 1).bit_length()))
            try:
                for make in self._makers:
                    self._engines.append(make(size))
            except (OSError, RuntimeError) as error:
                self.close()
                raise UnavailableError(f"the TPU's engine cannot be made: {error}") from error
            self._residents = ResidentPrograms(size)
        resident = self._residents.place(slot, program)
        for engine in self._engines:
            engine.write(resident.base, resident.program.image)
        return resident

    def _execute(
        self,
        engine: Engine,
        resident: Resident,
        inputs: Mapping[str, NDArray[np.int8]],
        ops: Ops,
    ) -> tuple[Outputs, Any]:
        try:
            return execute(engine, resident.program, inputs)
        except TpuError as error:
            self._residents.clear()  # nothing in DRAM is trusted after a stop
            op = _stopped(resident.program, ops, error.tag)
            raise InternalError(
                f"op {op.where()}: the TPU ({engine.name}) stopped: {error}", op
            ) from error

    def _note(
        self,
        slot: Hashable,
        program: TpuProgram,
        ops: Ops,
        results: Sequence[Any],
    ) -> None:
        result = next((r for r in results if r.cycles is not None), results[0])
        report = self._reports.get(slot)
        if report is None:
            names = tuple(original_name(op) for op in ops.values())
            core = self.core
            report = self._reports[slot] = ProgramReport(
                names, result.engine, core.name, core.peak_macs_per_cycle, core.bus_bytes
            )
        report.add(program.macs, result.cycles, result.seconds, result.counters)
        if result.trace is not None:
            self.recordings.append(
                Recording(program, layers_of(program.tags, ops.values()), result)
            )


def _stopped(program: TpuProgram, ops: Ops, tag: int) -> Operation:
    """The op of the layer that bears a tag."""
    name = program.tags.get(tag, "")
    known = list(ops.values())
    return next((op for op in known if original_name(op) == name), known[0])


def _compare(first: Outputs, second: Outputs, names: tuple[str, str], ops: Ops) -> None:
    """Raises `InternalError` naming the op and the first element at which two engines differ."""
    for port, ours in first.items():
        theirs = second[port]
        if np.array_equal(ours, theirs):
            continue
        index = tuple(int(i) for i in np.argwhere(ours != theirs)[0])
        op = ops[port]
        raise InternalError(
            f"op {op.where()}: the engines differ first at {list(index)}: {names[0]} has "
            f"{ours[index]}, {names[1]} has {theirs[index]}",
            op,
        )
