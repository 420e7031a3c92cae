"""The TPU device: a partition becomes programs for the core and float work at their border.

Shapes are known when values arrive, so a partition is lowered once per set of input shapes.
Programs are compiled once per content and stay in DRAM with their weights; a run writes inputs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.tpu.config import TpuConfig
from hw.tpu.program import TpuProgram
from sw.compiler.partition import Partition
from sw.compiler.tpu.compile import compile_network
from sw.compiler.tpu.layers import CompileError
from sw.compiler.tpu.lower import Dump, lower
from sw.compiler.tpu.network import Network
from sw.compiler.tpu.steps import DynamicStep, HostStep, Lowered, NetworkStep, Step
from sw.compiler.tpu.support import original_name, unsupported
from sw.graph.errors import InvalidArgumentError, OpError, ResourceExhaustedError
from sw.graph.operation import Operation
from sw.graph.state import Container
from sw.runtime.config import SessionConfig
from sw.runtime.devices.program_report import ProgramReport
from sw.runtime.devices.tpu_driver import Driver, Ops
from sw.runtime.devices.tpu_dynamic import (
    DynamicWeights,
    compile_dynamic,
    finish,
    geometry,
    given_name,
    quantise_input,
    quantise_weights,
    require_finite,
)
from sw.runtime.devices.tpu_engines import core_of
from sw.runtime.recording import Recording
from sw.runtime.trace import Note

MOST_SHAPES = 64
"""Sets of input shapes for which a partition keeps what it was lowered to."""


class TpuDevice:
    """The core "/tpu:0" of a session, on the engine that its `SessionConfig` names.

    Raises `InvalidArgumentError` for an impossible configuration and `UnimplementedError` for an
    engine that is not there. `dump(pass, text)` sees each pass over a partition.
    """

    kind = "tpu"

    def __init__(self, name: str, config: SessionConfig, resources: Container) -> None:
        self.name = name
        self.core: TpuConfig = core_of(config)
        self.driver = Driver(config, self.core)
        self.dump: Dump | None = None
        self._programs: dict[Any, TpuProgram] = {}

    def supports(self, op: Operation) -> str | None:
        """None when the TPU takes `op`, else the reason in words."""
        return unsupported(op)

    def compile(self, partition: Partition) -> TpuExecutable:
        """The partition, still to be lowered for the shapes that it meets."""
        return TpuExecutable(self, partition)

    def program(self, key: Any, make: Callable[[], TpuProgram], ops: Ops) -> TpuProgram:
        """The program under `key`, compiled by `make()` the first time.

        Raises `ResourceExhaustedError` naming the op if a layer does not fit the core.
        """
        if key not in self._programs:
            try:
                self._programs[key] = make()
            except CompileError as error:
                known = list(ops.values())
                named = (op for op in known if repr(original_name(op)) in str(error))
                op = next(named, known[0])
                raise ResourceExhaustedError(
                    f"op {op.where()} does not fit the core {self.core.name!r}: {error}", op
                ) from None
        return self._programs[key]

    def reports(self) -> list[ProgramReport]:
        """What each program has cost so far."""
        return self.driver.reports()

    def recordings(self) -> list[Recording]:
        """The runs so far, if the session profiles."""
        return self.driver.recordings

    def close(self) -> None:
        """Give back the engines and forget the programs."""
        self.driver.close()
        self._programs.clear()


class TpuExecutable:
    """A partition on the TPU. `lowered` holds its steps by the inputs' shapes."""

    def __init__(self, device: TpuDevice, partition: Partition) -> None:
        self.device, self.partition = device, partition
        receivers = {op.attrs["key"]: op for op in partition.graph.get_operations() if _recv(op)}
        self.sources = [receivers[key].name for key in partition.inputs]
        self.lowered: dict[tuple[tuple[int, ...], ...], Lowered] = {}
        self._keys: dict[NetworkStep, str] = {}
        self._weights: dict[str, tuple[Any, DynamicWeights]] = {}
        self._lock = threading.Lock()

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Outputs for inputs; errors name the op and leave the session usable."""
        return self._run(inputs, None)

    def trace(self, inputs: Sequence[Any], note: Note) -> Sequence[Any]:
        """`run`, telling `note` of every op; the first of a program's has the program's time."""
        return self._run(inputs, note)

    def _run(self, inputs: Sequence[Any], note: Note | None) -> Sequence[Any]:
        inputs = list(inputs)
        lowered = self._lower(tuple(np.shape(value) for value in inputs))
        values: dict[str, Any] = dict(lowered.constants)
        for name, value in zip(self.sources, inputs, strict=True):
            values[lowered.inputs[name]] = value
        for step in lowered.steps:
            start = time.perf_counter()
            if isinstance(step, HostStep):
                self._host(step, values)
            elif isinstance(step, DynamicStep):
                self._dynamic(step, values, step.weights in lowered.constants)
            else:
                self._network(step, values)
            if note is not None:
                _tell(note, step, start, values)
        return [values[lowered.outputs[key]] for key in self.partition.outputs]

    def _lower(self, shapes: tuple[tuple[int, ...], ...]) -> Lowered:
        with self._lock:
            if shapes not in self.lowered:
                if len(self.lowered) >= MOST_SHAPES:
                    self.lowered.clear()
                    self._keys.clear()
                named = dict(zip(self.sources, shapes, strict=True))
                self.lowered[shapes] = lower(self.partition.graph, named, self.device.dump)
            return self.lowered[shapes]

    @staticmethod
    def _host(step: HostStep, values: dict[str, Any]) -> None:
        op = step.op
        given = [values[name] for name in step.inputs]
        if op.type == "quantize_linear":
            require_finite(np.asarray(given[0]), op, f"input {given_name(step.inputs[0])!r}")
        try:
            with np.errstate(all="ignore"):
                values[step.outputs[0]] = op.op_def.bind(np, op.attrs)(*given)
        except OpError as error:
            raise type(error)(f"{error.message} [op {op.where()}]", op) from error
        except (ValueError, TypeError) as error:
            raise InvalidArgumentError(f"op {op.where()} failed: {error}", op) from error

    def _network(self, step: NetworkStep, values: dict[str, Any]) -> None:
        device = self.device
        key = self._keys.get(step) or fingerprint(step.network)
        self._keys[step] = key
        ops = {layer.output: op for layer, op in zip(step.network.layers, step.ops, strict=True)}
        program = device.program(key, lambda: compile_network(step.network, device.core), ops)
        ports = {port.name: port for port in program.inputs}
        given = {port: values[value].reshape(ports[port].shape) for port, value in step.inputs}
        outputs = device.driver.run(key, program, given, ops)
        for result in step.results:
            found: Any = outputs[result.port]
            if result.correction is not None and result.scale is not None:
                total = found.astype(np.int32) + result.correction
                found = total.astype(np.float32) * result.scale
            values[result.value] = found.reshape(result.shape)

    def _dynamic(self, step: DynamicStep, values: dict[str, Any], constant: bool) -> None:
        device = self.device
        x = quantise_input(step, np.asarray(values[step.x]))
        weights = self._quantised(step, np.asarray(values[step.weights]), constant)
        shape = geometry(step, x, weights)
        ops = {"y": step.op}
        program = device.program(shape, lambda: compile_dynamic(step, x, weights, device.core), ops)
        slot = (step.op.name, *shape)
        patch = (weights, weights.packed)
        found = device.driver.run(slot, program, {"x": x.codes}, ops, patch)["y"]
        result = finish(found.astype(np.int32), x, weights)
        values[step.result] = result.reshape(*step.op.outputs[0].shape.sizes())

    def _quantised(
        self, step: DynamicStep, weights: NDArray[np.float32], constant: bool
    ) -> DynamicWeights:
        """Weights quantised again only when they are others: nobody writes to a constant or to a
        read-only array (a variable's value)."""
        known = self._weights.get(step.op.name)
        fixed = constant or not weights.flags.writeable
        if known is not None and fixed and known[0] is weights:
            return known[1]
        made = quantise_weights(step, weights, self.device.core.array)
        self._weights[step.op.name] = (weights, made)
        return made


def _tell(note: Note, step: Step, start: float, values: dict[str, Any]) -> None:
    end = time.perf_counter()
    ops = step.ops if isinstance(step, NetworkStep) else (step.op,)
    names = ", ".join(op.name for op in ops)
    for op in ops:
        made = [values[t.name] for t in op.outputs if t.name in values]
        note(op, start, end, made, f"one program: {names}" if len(ops) > 1 else "")
        start = end


def _recv(op: Operation) -> bool:
    return op.type == "recv"


def fingerprint(network: Network) -> str:
    """A digest of everything that the program of `network` depends on."""
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, np.ndarray):
            digest.update(repr((value.dtype.str, value.shape)).encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        elif dataclasses.is_dataclass(value):
            digest.update(type(value).__name__.encode())
            for name, inner in vars(value).items():
                digest.update(name.encode())
                add(inner)
        else:
            digest.update(repr(value).encode())

    add((network.inputs, network.outputs, network.activations))
    for layer in network.layers:
        add(layer)
    return digest.hexdigest()
