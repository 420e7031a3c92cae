"""Run a `TpuProgram` on an engine: constants once, inputs in, outputs back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hw.tpu.program import ProgramError, TpuProgram
from sim.engine import Engine, RunResult

Outputs = dict[str, NDArray[np.int8] | NDArray[np.int32]]


def load(engine: Engine, program: TpuProgram) -> None:
    """Write the program's image into DRAM, where it stays resident.

    Raises `ProgramError` if the program was compiled for another configuration or needs more DRAM.
    """
    if program.config.fingerprint != engine.config.fingerprint:
        raise ProgramError(
            f"program is for config {program.config.name} ({program.config.fingerprint}), "
            f"the engine is {engine.config.name} ({engine.config.fingerprint})"
        )
    if program.dram_bytes > engine.dram_bytes:
        raise ProgramError(
            f"program needs {program.dram_bytes} bytes of DRAM, the engine has {engine.dram_bytes}"
        )
    engine.write(0, program.image)


def execute(
    engine: Engine, program: TpuProgram, inputs: Mapping[str, NDArray[np.int8]]
) -> tuple[Outputs, RunResult]:
    """One run of a loaded program; `inputs` and the result are named by port.

    Raises `ValueError` for missing, unknown or ill-shaped inputs and `TpuError` if the core stops.
    """
    names = {port.name for port in program.inputs}
    if set(inputs) != names:
        raise ValueError(f"program takes inputs {sorted(names)}, not {sorted(inputs)}")
    array = program.config.array
    for port in program.inputs:
        engine.write(port.address, port.pack(np.asarray(inputs[port.name]), array))
    result = engine.run(program.entry, len(program.instructions))
    return {
        port.name: port.unpack(engine.read(port.address, port.size(array)), array)
        for port in program.outputs
    }, result
