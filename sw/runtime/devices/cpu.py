"""The CPU device: a partition becomes one generated Python function of NumPy kernel calls.

Each op is one line of it, so that a failing line names the op at no cost; a value is dropped after
its last use. Kernels run with NumPy's floating-point warnings off, as IEEE arithmetic prescribes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sw.compiler.partition import Partition
from sw.compiler.passes import PASSES
from sw.compiler.unit import Unit
from sw.graph.errors import FailedPreconditionError, InvalidArgumentError, OpError
from sw.graph.function import Function
from sw.graph.operation import Operation
from sw.graph.state import Container, OpState
from sw.graph.tensor import Tensor
from sw.runtime.config import SessionConfig
from sw.runtime.trace import Note


class CpuDevice:
    """Runs every op that has a kernel."""

    kind = "cpu"

    def __init__(self, name: str, config: SessionConfig, resources: Container) -> None:
        self.name = name
        self._resources = resources

    def supports(self, op: Operation) -> str | None:
        """None: the CPU is where everything runs."""
        return None

    def compile(self, partition: Partition) -> CpuExecutable:
        """Generate the function of a partition."""
        return CpuExecutable(partition, self._resources)

    def close(self) -> None:
        """Nothing is held."""


class CpuExecutable:
    """One partition as `function(*inputs) -> tuple of outputs`; `source` is its Python text."""

    def __init__(self, partition: Partition, resources: Container) -> None:
        self._lines: Lines = {}
        self._partition, self._resources = partition, resources
        self._noted: Run | None = None
        self._function, self.source = self._compile(traced=False)

    def _compile(self, traced: bool) -> tuple[Run, str]:
        writer = _Writer(self._resources, self._lines, FILE, traced)
        for op in self._partition.graph.get_operations():
            writer.add(op)
        return writer.finish(writer.sent(self._partition.outputs)), writer.source

    def run(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Outputs for inputs; an error of a kernel becomes an `OpError` naming the op."""
        try:
            with np.errstate(all="ignore"):
                return self._function(*inputs)
        except Exception as error:
            raise self._explain(error) from error

    def trace(self, inputs: Sequence[Any], note: Note) -> Sequence[Any]:
        """`run`, telling `note` of every op. Branches and loops count as one op each."""
        if self._noted is None:
            self._noted, _ = self._compile(traced=True)
        try:
            with np.errstate(all="ignore"):
                return self._noted(note, *inputs)
        except Exception as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> Exception:
        trace = error.__traceback__
        op = None
        while trace is not None:
            op = self._lines.get((trace.tb_frame.f_code.co_filename, trace.tb_lineno), op)
            trace = trace.tb_next
        if op is None:
            return error
        if isinstance(error, OpError):
            return type(error)(f"{error.message} [op {op.where()}]", op)
        return InvalidArgumentError(f"op {op.where()} failed: {error}", op)


FILE = "<systolica plan>"
Lines = dict[tuple[str, int], Operation]
Run = Callable[..., tuple[Any, ...]]


def compile_function(function: Function, resources: Container, lines: Lines) -> Run:
    """The body of a branch or a loop as a Python function of `function.arguments`; its attribute
    `results` says how many of the values it returns are results, the others are saved ones."""
    unit = Unit(function, (), (*function.results, *function.saved))
    for _, transform in PASSES:
        unit = transform(unit)
    writer = _Writer(resources, lines, f"<systolica {function.name}>")
    for argument in function.arguments:
        writer.parameter(argument.op.name)
    for op in unit.graph.get_operations():
        writer.add(op)
    run = writer.finish(unit.fetches)
    vars(run)["results"] = len(function.results)
    return run


class _Writer:
    """Collects the lines of one Python function."""

    def __init__(self, resources: Container, lines: Lines, file: str, traced: bool = False) -> None:
        self.source = ""
        self._namespace: dict[str, Any] = {"_unfed": _unfed, "_now": time.perf_counter}
        self._traced = traced
        self._resources = resources
        self._lines, self._file = lines, file
        self._steps: list[tuple[Operation, str]] = []
        self._names: dict[Tensor, str] = {}
        self._parameters: list[str] = []
        self._arguments: dict[str, str] = {}
        self._sends: dict[str, Tensor] = {}

    def _bind(self, prefix: str, value: Any) -> str:
        name = f"{prefix}{len(self._namespace)}"
        self._namespace[name] = value
        return name

    def parameter(self, op_name: str) -> str:
        """The next parameter, the value of the argument of that name."""
        name = self._arguments[op_name] = f"p{len(self._parameters)}"
        self._parameters.append(name)
        return name

    def sent(self, keys: Sequence[str]) -> list[Tensor]:
        """What the partition sends under the keys."""
        return [self._sends[key] for key in keys]

    def add(self, op: Operation) -> None:
        """Take the next op in execution order."""
        if op.type == "recv":
            self._names[op.outputs[0]] = self.parameter(op.name)
        elif op.type == "argument":
            self._names[op.outputs[0]] = self._arguments[op.name]
        elif op.type == "send":
            self._sends[op.attrs["key"]] = op.inputs[0]
        elif op.type == "const":
            self._names[op.outputs[0]] = self._bind("c", _frozen(op.attrs["value"]))
        elif op.type != "no_op":
            for tensor in op.outputs:
                self._names[tensor] = f"v{len(self._names)}"
            self._steps.append((op, self._call(op)))

    def _call(self, op: Operation) -> str:
        inputs = [self._names[t] for t in op.inputs]
        if op.op_def.kernel is None:
            return f"_unfed({self._bind('o', op)})"
        if op.op_def.inline is not None:
            return op.op_def.inline.format(*inputs)
        state = OpState(self._resources, op.name) if op.op_def.stateful else None
        attrs = {key: self._value(value) for key, value in op.attrs.items()}
        return f"{self._bind('k', op.op_def.bind(np, attrs, state))}({', '.join(inputs)})"

    def _value(self, value: Any) -> Any:
        if isinstance(value, Function):
            return compile_function(value, self._resources, self._lines)
        return value

    def finish(self, outputs: Sequence[Tensor]) -> Run:
        """The function, which returns `outputs` as a tuple."""
        last: dict[Tensor, int] = {}
        for index, (op, _) in enumerate(self._steps):
            last.update(dict.fromkeys(op.inputs, index))
        kept = set(outputs)
        parameters = [*(["_note"] if self._traced else []), *self._parameters]
        text = [f"def run({', '.join(parameters)}):"]
        for index, (op, call) in enumerate(self._steps):
            names = [self._names[t] for t in op.outputs]
            targets = f"{', '.join(names)}{',' if len(names) > 1 else ''} = " if names else ""
            dead = [
                self._names[t]
                for t in dict.fromkeys(op.inputs)
                if last[t] == index and t not in kept and not self._names[t].startswith("c")
            ]
            dead += [self._names[t] for t in op.outputs if t not in last and t not in kept]
            drop = f"; {' = '.join(dead)} = None" if dead else ""
            if self._traced:
                seen = f"({', '.join(names)}{',' if names else ''})"
                end = f"; _note({self._bind('o', op)}, _t, _now(), {seen}, '')"
                text.append(f"    _t = _now(); {targets}{call}{end}{drop}")
            else:
                text.append(f"    {targets}{call}{drop}")
            self._lines[(self._file, len(text))] = op
        sent = [self._names[t] for t in outputs]
        text.append(f"    return ({', '.join(sent)}{',' if sent else ''})")
        self.source = "\n".join(text) + "\n"
        exec(compile(self.source, self._file, "exec"), self._namespace)
        run: Run = self._namespace["run"]
        return run


def _frozen(value: Any) -> Any:
    view = np.asarray(value).view()
    view.flags.writeable = False
    return view if view.ndim else view[()]


def _unfed(op: Operation) -> Any:
    name = op.outputs[0].name
    if op.type == "placeholder":
        raise InvalidArgumentError(
            f"placeholder {name!r} ({op.attrs['dtype']}{op.attrs['shape']}) must be fed a value"
        )
    raise FailedPreconditionError(f"{name!r} has no value here")
