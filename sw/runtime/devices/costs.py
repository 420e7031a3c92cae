"""The costs that placement by simulation goes by: of ops on each device, and of ways between."""

from __future__ import annotations

import importlib
from typing import Any

from sw.compiler.partition import HANDLES
from sw.graph.device import parse
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor
from sw.runtime.config import SessionConfig
from sw.runtime.devices.cpu_costs import CpuCosts, Rates, measured_rates, size_in_bytes

HANDOVER = 3e-5
"""Seconds from a value's Send to the begin of what waits for it on another device."""
PASSES = 6
"""How often a float value is read or written on its way into the int8 of the TPU, or back."""
RESIDENT = ("const", "read_variable", *HANDLES)
"""What the TPU keeps as long as it is the same."""


class CostModel:
    """`Costs` of a session's devices. `rates` of the CPUs: this machine's, unless given."""

    def __init__(self, config: SessionConfig, rates: Rates | None = None) -> None:
        self._rates = rates or measured_rates()
        self._cpu = CpuCosts(self._rates, config.measured)
        self._config = config
        self._tpu: Any = None

    def seconds(self, device: str, op: Operation, beside: bool) -> float:
        """Of one run. What the TPU does at its border costs what it costs a CPU, and goes there
        only behind an op that is there."""
        here = self._cpu.seconds(op)
        if parse(device).kind == "cpu":
            return here
        if self._tpu is None:  # it brings the simulators
            module = importlib.import_module("sw.runtime.devices.tpu_costs")
            self._tpu = module.TpuCosts(self._config)
        found: float | None = self._tpu.seconds(op)
        if found is None:
            return here if beside else here + HANDOVER
        return found

    def transfer(self, source: str, target: str, tensor: Tensor) -> float:
        """By reference between CPUs; as quantised values to and from the TPU."""
        if {parse(source).kind, parse(target).kind} == {"cpu"}:
            return HANDOVER
        if tensor.op.type in RESIDENT:
            return 0.0
        return HANDOVER + PASSES * size_in_bytes(tensor) / self._rates.bytes
