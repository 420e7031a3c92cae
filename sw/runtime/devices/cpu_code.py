"""A partition, or the body of a branch or loop, as one generated Python function.

Each op is one line of it, so that a failing line names the op at no cost; a value is dropped after
its last use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sw.compiler.passes import PASSES
from sw.compiler.unit import Unit
from sw.graph.errors import FailedPreconditionError, InvalidArgumentError, OpError
from sw.graph.function import Function
from sw.graph.operation import Operation
from sw.graph.state import OpState
from sw.graph.tensor import Tensor
from sw.runtime.devices.bodies import Home, spread
from sw.runtime.watch import current

Lines = dict[tuple[str, int], Operation]
Run = Callable[..., tuple[Any, ...]]


def compile_function(function: Function, home: Home, lines: Lines, traced: bool) -> Run:
    """The body of a branch or a loop as a Python function of `function.arguments`; its attribute
    `results` says how many of the values it returns are results, the others are saved ones.
    `traced`: the thread's watch is told of every op."""
    run = spread(function, home) or _compile_here(function, home, lines, traced)
    vars(run)["results"] = len(function.results)
    return run


def _compile_here(function: Function, home: Home, lines: Lines, traced: bool) -> Run:
    unit = Unit(function, (), (*function.results, *function.saved))
    for _, transform in PASSES:
        unit = transform(unit)
    before = ("_note",) if traced else ()
    writer = Writer(home, lines, f"<systolica {function.name}>", before)
    for argument in function.arguments:
        writer.parameter(argument.op.name)
    for op in unit.graph.get_operations():
        writer.add(op)
    body = writer.finish(unit.fetches)

    def noted(*values: Any) -> tuple[Any, ...]:
        watch = current()
        return body(watch.note(home.device) if watch is not None else _ignored, *values)

    return noted if traced else body


def _ignored(*what: Any) -> None:
    """A `Note` of nobody."""


class Writer:
    """Collects the lines of one Python function. `parameters`: "_in", the inputs of a partition, in
    the order of its Recvs; "_note", whom to tell of every op; "_send", to call with the place of an
    output and its value as soon as it is there; those of the last op are returned as such pairs
    (without it, all outputs are returned). An input is taken right before its first use (`late`),
    or all at the beginning."""

    def __init__(
        self,
        home: Home,
        lines: Lines,
        file: str,
        parameters: Sequence[str] = (),
        late: bool = True,
    ) -> None:
        self.source = ""
        self._late = late
        self._namespace: dict[str, Any] = {"_unfed": _unfed, "_now": time.perf_counter}
        self._traced, self._sending = "_note" in parameters, "_send" in parameters
        self._home = home
        self._lines, self._file = lines, file
        self._steps: list[tuple[Operation, str]] = []
        self._names: dict[Tensor, str] = {}
        self._parameters = list(parameters)
        self._received: dict[Tensor, str] = {}
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
            self._names[op.outputs[0]] = f"v{len(self._names)}"
            at = len(self._received)
            self._received[op.outputs[0]] = f"{self._names[op.outputs[0]]} = _in[{at}]"
        elif op.type == "argument":
            self._names[op.outputs[0]] = self._arguments[op.name]
        elif op.type == "send":
            self._sends[op.attrs["key"]] = op.inputs[0]
        elif op.type == "const":
            self._names[op.outputs[0]] = self._bind("c", frozen(op.attrs["value"]))
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
        state = OpState(self._home.resources, op.name) if op.op_def.stateful else None
        attrs = {key: self._value(value) for key, value in op.attrs.items()}
        return f"{self._bind('k', op.op_def.bind(np, attrs, state))}({', '.join(inputs)})"

    def _value(self, value: Any) -> Any:
        if isinstance(value, Function):
            return compile_function(value, self._home, self._lines, self._traced)
        return value

    def finish(self, outputs: Sequence[Tensor]) -> Run:
        """The function, which returns `outputs` as a tuple, or sends them. Each op has one line,
        the same whatever the parameters."""
        last: dict[Tensor, int] = {}
        for index, (op, _) in enumerate(self._steps):
            last.update(dict.fromkeys(op.inputs, index))
        kept = set() if self._sending else set(outputs)
        coming = dict(self._received)
        text = [f"def run({', '.join(self._parameters)}):"]
        if not self._late and coming:
            text.append("    " + "; ".join(coming.values()))
            coming.clear()
        unsent = dict(enumerate(outputs)) if self._sending else {}
        final = len(self._steps) - 1
        for index, (op, call) in enumerate(self._steps):
            parts = [coming.pop(t) for t in dict.fromkeys(op.inputs) if t in coming]
            names = [self._names[t] for t in op.outputs]
            targets = f"{', '.join(names)}{',' if len(names) > 1 else ''} = " if names else ""
            if self._traced:
                parts.append("_t = _now()")
            parts.append(targets + call)
            if self._traced:
                seen = f"({', '.join(names)}{',' if names else ''})"
                parts.append(f"_note({self._bind('o', op)}, _t, _now(), {seen}, '')")
            there = {*op.inputs, *op.outputs}
            sent = [at for at, tensor in unsent.items() if tensor in there and index < final]
            parts += [f"_send({at}, {self._names[unsent.pop(at)]})" for at in sent]
            kept |= there & set(unsent.values()) if index == final else set()
            dead = [
                self._names[t]
                for t in dict.fromkeys(op.inputs)
                if last[t] == index and t not in kept and not self._names[t].startswith("c")
            ]
            dead += [self._names[t] for t in op.outputs if t not in last and t not in kept]
            if dead:
                parts.append(f"{' = '.join(dead)} = None")
            text.append("    " + "; ".join(parts))
            self._lines[(self._file, len(text))] = op
        rest = [coming.pop(t) for t in dict.fromkeys(outputs) if t in coming]
        names = [self._names[t] for t in outputs]
        if self._sending:
            names = [f"({at}, {self._names[tensor]})" for at, tensor in unsent.items()]
        rest.append(f"return ({', '.join(names)}{',' if names else ''})")
        text.append("    " + "; ".join(rest))
        self.source = "\n".join(text) + "\n"
        exec(compile(self.source, self._file, "exec"), self._namespace)
        run: Run = self._namespace["run"]
        return run


def frozen(value: Any) -> Any:
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


def explained(error: Exception, op: Operation) -> Exception:
    """An error of the kernel of `op` as an `OpError` that names it."""
    if isinstance(error, OpError) and error.op is not None:
        return error  # from a body on another device
    if isinstance(error, OpError):
        return type(error)(f"{error.message} [op {op.where()}]", op)
    return InvalidArgumentError(f"op {op.where()} failed: {error}", op)
