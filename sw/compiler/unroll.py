"""Unroll: a recurrent op of known length becomes cells, of which the TPU has every part.

ONNX's LSTM, GRU and RNN with constant weights, for quantisation: each gate is a matrix product of
its own, so that none must be cut out of another. One layer's outputs go to the next step by step.
What has other activations than the standard's defaults, peepholes, clipping or lengths that differ
stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.compiler.prune import prune
from sw.compiler.tpu.support import VIEWS
from sw.compiler.unit import Unit
from sw.graph.build import constant_value
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

MOST_STEPS = 1024
State = tuple[Tensor | None, ...]
"""What a cell hands on, its output first; None stands for zeros."""
INPUTS = {"onnx_LSTM": 8, "onnx_GRU": 6, "onnx_RNN": 6}
DEFAULTS = {
    "onnx_LSTM": ("sigmoid", "tanh", "tanh"),
    "onnx_GRU": ("sigmoid", "tanh"),
    "onnx_RNN": ("tanh",),
}


def unroll(unit: Unit) -> Unit:
    """A frozen unit with the recurrent ops that fit said as cells.

    >>> from sw.compiler.unit import render
    >>> from sw.graph.dtypes import float32
    >>> from sw.graph.onnx.kernels import recurrent
    >>> from sw.graph.registry import TensorType
    >>> from sw.graph.shapes import Shape
    >>> g = Graph()
    >>> x = g.apply("placeholder", dtype=float32, shape=(2, 1, 1), name="x")
    >>> one, kind = np.ones((1, 1, 1), np.float32), TensorType(float32, Shape((2, 1, 1, 1)))
    >>> turns = {"present": (True, True, True), "types": (kind,)}
    >>> y = g.apply("onnx_RNN", x, one, one, name="r", **turns)
    >>> done = unroll(Unit(g, fetches=(g.apply("identity", y),)))
    >>> [op.type for op in done.graph.get_operations() if op.type in ("matmul", "tanh")]
    ['matmul', 'tanh', 'matmul', 'matmul', 'tanh']
    """
    if not any(op.type in INPUTS for op in unit.graph.get_operations()):
        return unit
    return prune(_Unroller(unit).run())


@dataclass(frozen=True)
class _Gate:
    """Weights of a gate: of the input `[I, H]`, of the output before `[H, H]`, both biases."""

    w: NDArray[np.float32]
    r: NDArray[np.float32]
    bias: NDArray[np.float32]
    inner: NDArray[np.float32]


class _Cell:
    """Ops of one step, called after the recurrent op and the step."""

    def __init__(self, graph: Graph, name: str, gates: Sequence[_Gate]) -> None:
        self.graph, self.name, self.gates = graph, name, gates

    def __call__(self, kind: str, *inputs: Any, **attrs: Any) -> Tensor:
        name = f"{self.name}/{kind}"
        operands = [
            item if isinstance(item, Tensor) else self.graph.convert(item, name=f"{name}/constant")
            for item in inputs
        ]
        made: Tensor = self.graph.apply(kind, *operands, name=name, **attrs)
        return made

    def of_input(self, number: int, x: Tensor, bias: NDArray[np.float32]) -> Tensor:
        return self("add", self("matmul", x, self.gates[number].w), bias)

    def gate(self, number: int, x: Tensor, h: Tensor | None) -> Tensor:
        """Before its activation."""
        found = self.gates[number]
        z = self.of_input(number, x, found.bias + found.inner)
        return z if h is None else self("add", z, self("matmul", h, found.r))


def _lstm(cell: _Cell, x: Tensor, state: State, before: bool) -> State:
    h, c = state
    i, o, f, g = (cell.gate(number, x, h) for number in range(4))
    new = cell("mul", cell("sigmoid", i), cell("tanh", g))
    if c is not None:
        new = cell("add", cell("mul", cell("sigmoid", f), c), new)
    return cell("mul", cell("sigmoid", o), cell("tanh", new)), new


def _gru(cell: _Cell, x: Tensor, state: State, before: bool) -> State:
    (h,) = state
    z = cell("sigmoid", cell.gate(0, x, h))
    last = cell.gates[2]
    if h is None and not before:
        inner = cell.gate(2, x, None)
    elif before:  # the reset gate takes from the product
        r = cell("sigmoid", cell.gate(1, x, h))
        product: Any = last.inner
        if h is not None:
            product = cell("add", cell("matmul", h, last.r), last.inner)
        inner = cell("add", cell.of_input(2, x, last.bias), cell("mul", r, product))
    else:
        r = cell("sigmoid", cell.gate(1, x, h))
        product = cell("matmul", cell("mul", r, h), last.r)
        inner = cell("add", cell.of_input(2, x, last.bias + last.inner), product)
    new = cell("mul", cell("sub", np.float32(1), z), cell("tanh", inner))
    return (new if h is None else cell("add", new, cell("mul", z, h)),)


def _rnn(cell: _Cell, x: Tensor, state: State, before: bool) -> State:
    return (cell("tanh", cell.gate(0, x, state[0])),)


CELLS: dict[str, tuple[int, int, Callable[[_Cell, Tensor, State, bool], State]]] = {
    "onnx_LSTM": (4, 2, _lstm),
    "onnx_GRU": (3, 1, _gru),
    "onnx_RNN": (1, 1, _rnn),
}
"""Gates, states and the cell of each."""


class _Unroller:
    """The walk: `made` maps old tensors to new ones, `steps` those that are outputs of all steps
    `[T, N, H]`, or `[T, 1, N, H]`, to the output of each."""

    def __init__(self, unit: Unit) -> None:
        self.unit, self.graph = unit, Graph()
        self.graph.seed = unit.graph.seed
        self.made: dict[Tensor, Tensor] = {}
        self.steps: dict[Tensor, list[Tensor]] = {}
        self.after: dict[Operation, Operation] = {}

    def run(self) -> Unit:
        fetched = {tensor.op for tensor in self.unit.fetches}
        for op in self.unit.graph.get_operations():
            if op.type in CELLS and op not in fetched and _fits(op):
                self._recurrent(op)
            elif self._shows_steps(op) and op not in fetched:
                self.steps[op.outputs[0]] = self.steps[op.inputs[0]]
            else:
                inputs = tuple(self._value(tensor) for tensor in op.inputs)
                controls = tuple(self.after[c] for c in op.control_inputs if c in self.after)
                self.after[op] = copy = self.graph.copy_op(op, inputs, controls)
                self.made.update(zip(op.outputs, copy.outputs, strict=True))
        feeds = tuple(self.made[tensor] for tensor in self.unit.feeds)
        fetches = tuple(self._value(tensor) for tensor in self.unit.fetches)
        targets = tuple(self.after[op] for op in self.unit.targets)
        self.graph.finalize()
        return replace(self.unit, graph=self.graph, feeds=feeds, fetches=fetches, targets=targets)

    def _shows_steps(self, op: Operation) -> bool:
        """Whether an op takes the axis of directions away, or does nothing."""
        if op.type not in VIEWS or op.inputs[0] not in self.steps:
            return False
        dims, result = op.inputs[0].shape.dims or (), op.outputs[0].shape.dims or ()
        return tuple(result) in (tuple(dims), (*dims[:1], *dims[2:]))

    def _value(self, tensor: Tensor) -> Tensor:
        if tensor not in self.made:
            steps: Any = self.steps[tensor]
            name = f"{tensor.op.name}/steps"
            stacked = self.graph.apply("stack", *steps, axis=0, name=name)
            if tensor.shape.rank == 4:
                stacked = self.graph.apply("expand_dims", stacked, axis=1, name=name)
            self.made[tensor] = stacked
        return self.made[tensor]

    def _recurrent(self, op: Operation) -> None:
        gates, states, cell = CELLS[op.type]
        _, w, r, b, _, *given = _inputs(op)
        weights, turns = (constant_value(t) for t in (w, r) if t is not None)
        assert weights is not None and turns is not None
        directions, units = turns.shape[0], turns.shape[2]
        bias = np.zeros((directions, 2 * gates * units), np.float32)
        if b is not None:
            bias = np.asarray(constant_value(b))
        every: list[list[Tensor]] = []
        finals: list[State] = []
        for d in range(directions):
            found = [
                _Gate(
                    np.ascontiguousarray(weights[d, part].T),
                    np.ascontiguousarray(turns[d, part].T),
                    bias[d, part],
                    bias[d, gates * units :][part],
                )
                for part in (slice(k * units, (k + 1) * units) for k in range(gates))
            ]
            state = tuple(self._initial(op, tensor, d) for tensor in given[:states])
            xs = self._read(op)
            backwards = d == 1 or op.attrs["direction"] == "reverse"
            outputs = []
            for number in range(len(xs))[:: -1 if backwards else 1]:
                name = f"{op.name}/{'back' if backwards else 'step'}{number}"
                step = _Cell(self.graph, name, found)
                before = bool(op.attrs.get("linear_before_reset", 0))
                state = cell(step, xs[number], state, before)
                assert state[0] is not None
                outputs.append(state[0])
            every.append(outputs[:: -1 if backwards else 1])
            finals.append(state)
        self._results(op, every, finals)

    def _results(self, op: Operation, every: list[list[Tensor]], finals: list[State]) -> None:
        """Y and the last states."""
        if len(every) == 1:
            self.steps[op.outputs[0]] = every[0]
        else:
            both: Any = [
                self.graph.apply("stack", *pair, axis=0, name=f"{op.name}/both")
                for pair in zip(*every, strict=True)
            ]
            self.made[op.outputs[0]] = self.graph.apply("stack", *both, axis=0, name=op.name)
        for number, tensor in enumerate(op.outputs[1:]):
            ends: Any = [state[number] for state in finals]
            if len(ends) == 1:
                self.made[tensor] = self.graph.apply("expand_dims", *ends, axis=0, name=op.name)
            else:
                self.made[tensor] = self.graph.apply("stack", *ends, axis=0, name=op.name)

    def _initial(self, op: Operation, tensor: Tensor | None, direction: int) -> Tensor | None:
        value = None if tensor is None else constant_value(tensor)
        if tensor is None or value is not None and not value.any():
            return None
        spec = (direction, (None, None, None), (None, None, None))
        made: Tensor = self.graph.apply(
            "strided_slice", self._value(tensor), spec=spec, name=f"{op.name}/initial"
        )
        return made

    def _read(self, op: Operation) -> list[Tensor]:
        """The input of each step: what another layer made, or rows of the input turned once."""
        source = op.inputs[0]
        if source in self.steps:
            return self.steps[source]
        count = source.shape.dims[0] if source.shape.dims else 0
        turned: Any = None
        if source.op.type == "transpose" and tuple(source.op.attrs["perm"] or ()) == (1, 0, 2):
            turned = self._value(source.op.inputs[0])
        if turned is None:
            name = f"{op.name}/turned"
            turned = self.graph.apply("transpose", self._value(source), perm=(1, 0, 2), name=name)
        return [
            self.graph.apply(
                "strided_slice", turned, name=f"{op.name}/x{number}",
                spec=((None, None, None), number, (None, None, None)),
            )
            for number in range(count or 0)
        ]  # fmt: skip


def _inputs(op: Operation) -> list[Tensor | None]:
    """The operator's inputs, None for those that are left out."""
    given = iter(op.inputs)
    found = [next(given) if there else None for there in op.attrs["present"]]
    return found + [None] * (INPUTS[op.type] - len(found))


def _fits(op: Operation) -> bool:
    """Whether cells say all of it."""
    x, *constants, lengths = _inputs(op)[:5]
    if x is None or x.shape.rank != 3 or not 0 < ((x.shape.dims or (0,))[0] or 0) <= MOST_STEPS:
        return False
    if any(tensor is not None and constant_value(tensor) is None for tensor in constants):
        return False
    if lengths is not None:
        value = constant_value(lengths)
        if value is None or (value != (x.shape.dims or (0,))[0]).any():
            return False
    if op.type == "onnx_LSTM" and _inputs(op)[7] is not None:
        return False
    names = [name.lower() for name in op.attrs["activations"] or ()]
    usual = list(DEFAULTS[op.type]) * (2 if op.attrs["direction"] == "bidirectional" else 1)
    plain = not op.attrs["layout"] and not op.attrs.get("input_forget")
    return plain and op.attrs["clip"] is None and names in ([], usual)
