"""Lower: the front half of the TPU compiler, from a partition to steps.

    specialise (shapes of this run) -> legalise (few ops) -> fuse (groups) -> quantise (numbers)
    -> steps (programs and what the host does between them)

Layers whose inputs come from each other form one program; a value that only the host can give
(a feed, a reshape that moves channels) starts the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from sw.compiler.tpu.filling import Program
from sw.compiler.tpu.fuse import Group, Weights, fuse, weights_of
from sw.compiler.tpu.layers import (
    MOST_STEP,
    Activation,
    CompileError,
    Concat,
    Convolution,
    Epilogue,
    Layer,
    Pointwise,
    Shape,
    Worker,
)
from sw.compiler.tpu.legalise import legalise
from sw.compiler.tpu.operands import Operand, Scaled, operand, round_trip, scaled
from sw.compiler.tpu.quantise import (
    accumulated,
    average,
    clamp,
    depthwise,
    geometry,
    parameters,
    pool,
    product,
    requantised,
    required_weights,
)
from sw.compiler.tpu.specialise import SOURCES, specialise
from sw.compiler.tpu.steps import DynamicStep, HostStep, Lowered, Result, Step
from sw.compiler.tpu.steps import render as render_steps
from sw.compiler.tpu.support import (
    LINEAR,
    TRANSPOSED,
    original_name,
    rows_taken,
    swaps_last,
)
from sw.compiler.tpu.tables import Map, evaluate
from sw.compiler.tpu.transposed import by_phases
from sw.compiler.unit import Unit, render
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

Dump = Callable[[str, str], None]


def lower(graph: Graph, shapes: Mapping[str, tuple[int, ...]], dump: Dump | None = None) -> Lowered:
    """The steps of a partition's graph whose sources have `shapes` (by op name).

    `dump(pass, text)` sees the graph after each pass. Raises `ShapeError` for shapes that do not
    fit and `InvalidArgumentError` for scales without a meaning, naming the op.
    """
    graph = specialise(graph, shapes)
    if dump:
        dump("specialise", render(Unit(graph)))
    graph = legalise(graph)
    if dump:
        dump("legalise", render(Unit(graph)))
    groups = fuse(graph)
    if dump:
        text = (f"{op.name} closes {g.root or g.start.op}" for op, g in groups.items())
        dump("fuse", "\n".join(text))
    lowered = _Lowering(graph, groups).finish()
    if dump:
        dump("steps", render_steps(lowered))
    return lowered


@dataclass(frozen=True)
class _Held:
    """An int8 tensor that a program has: its stage and the activation it is there."""

    stage: int
    activation: Activation


class _Lowering:
    """The walk over a legalised graph. Even stages are the host's, odd ones programs."""

    def __init__(self, graph: Graph, groups: dict[Operation, Group]) -> None:
        self.graph, self.groups = graph, groups
        self.absorbed: set[Operation] = set()
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: dict[str, str] = {}
        self.outputs: dict[str, str] = {}
        self.stage: dict[Tensor, int] = {}
        self.held: dict[Tensor, _Held] = {}
        self.host: dict[int, list[Step]] = {}
        self.programs: dict[int, Program] = {}
        for group in groups.values():
            self.absorbed |= group.mapped | set(group.pools)
            op = group.quantise.inputs[0].op
            while group.table is None and op is not group.root and op is not group.start.op:
                self.absorbed.add(op)
                op = op.inputs[0].op
            if group.root is not None:
                self.absorbed.add(group.root)

    def finish(self) -> Lowered:
        """Visit every op; what only the chip needs (dequantised weights) is never computed."""
        for op in self.graph.get_operations():
            self._visit(op)
        steps: list[Step] = []
        for stage in sorted({*self.host, *self.programs}):
            steps += self.host.get(stage, [])
            if stage in self.programs:
                steps.append(self.programs[stage].step())
        return Lowered(tuple(steps), self.constants, self.inputs, self.outputs)

    def _visit(self, op: Operation) -> None:
        if op.type == "const":
            self.constants[op.outputs[0].name] = op.attrs["value"]
            self.stage[op.outputs[0]] = 0
        elif op.type in SOURCES:
            self.inputs[op.name] = op.outputs[0].name
            self.stage[op.outputs[0]] = 0
        elif op.type == "send":
            self._value(op.inputs[0])
            self.outputs[op.attrs["key"]] = op.inputs[0].name
        elif op in self.groups:
            self._group(self.groups[op])
        elif op.type in LINEAR and op not in self.absorbed:
            self._linear(op)
        elif op.type in ("quantize_linear", "bias_add", "relu", "relu6", "max_pool"):
            if op not in self.absorbed and round_trip(op) is None and not self._view(op):
                self._on_host(op)
        # dequantize, reshape and transpose happen where and when their result is needed

    @staticmethod
    def _view(op: Operation) -> bool:
        """Whether an op quantises again what was only transposed."""
        if op.type != "quantize_linear" or not swaps_last(op.inputs[0].op):
            return False
        given = operand(op.inputs[0])
        return given is not None and (given.source.scale, given.source.zero_point) == parameters(op)

    # --- values on the host ---------------------------------------------------------------------

    def _value(self, tensor: Tensor) -> int:
        """Have the value of `tensor` on the host; the stage in which it is there."""
        if tensor not in self.stage:
            held = self.held.get(tensor)
            if held is None:
                self._on_host(tensor.op)
            else:
                program = self.programs[held.stage]
                name = held.activation.name
                program.results[name] = Result(name, tensor.name, tensor.shape.sizes())
                self.stage[tensor] = held.stage + 1
        return self.stage[tensor]

    def _on_host(self, op: Operation) -> None:
        stage = max((self._value(tensor) for tensor in op.inputs), default=0)
        self.host.setdefault(stage, []).append(HostStep(op))
        self.stage.update(dict.fromkeys(op.outputs, stage))

    # --- linear ops -----------------------------------------------------------------------------

    def _linear(self, op: Operation) -> None:
        """A linear op whose result is float32: its accumulators come back to the host."""
        result = op.outputs[0]
        if any(0 in tensor.shape.sizes() for tensor in (*op.inputs, result)):
            self._on_host(op)
            return
        if op.inputs[1].shape.rank != 2 and op.type == "matmul":
            self._on_host(op)
            return
        source, weights = scaled(op.inputs[0]), weights_of(op)
        if source is None or weights is None:
            stage = max(self._value(tensor) for tensor in op.inputs)
            names = (op.inputs[0].name, op.inputs[1].name, result.name)
            sizes = op.inputs[0].shape.sizes()
            kernel = op.inputs[1].shape.sizes()
            extra = geometry(op, sizes, (kernel[0], kernel[1])) if op.type == "conv2d" else {}
            self.host.setdefault(stage, []).append(DynamicStep(op, *names, **extra))
            self.stage[result] = stage
            return
        stage, layer = self._layer(op, source, weights)
        layer, correction, scale = accumulated(source, weights, layer)
        program = self.programs[stage]
        program.add(layer, op, 1.0, 0)
        program.results[layer.output] = Result(
            layer.output, result.name, result.shape.sizes(), correction, scale
        )
        self.stage[result] = stage + 1

    def _group(self, group: Group) -> None:
        """A fused group: its result stays on the chip."""
        target = parameters(group.quantise)
        assert target is not None
        result = group.quantise.outputs[0].name
        closed = result if not group.pools else None
        if group.root is None:
            stage, activation = self._mapped(group, result)
        elif group.root.type == "matmul" and len(group.sources) == 2:
            stage, activation = self._product(group, group.root, closed)
        elif group.root.type in LINEAR:
            stage, plain = self._layer(group.root, group.source, required_weights(group.root))
            activation = self._close(stage, group, requantised(group, plain), closed)
        elif group.root.type == "depthwise_conv2d":
            image = group.start.shape.sizes()
            stage, activation = self._activation(group.source, image, exact=True)
            made = depthwise(group.root, image, activation.name)
            activation = self._close(stage, group, requantised(group, made), closed)
        elif group.root.type == TRANSPOSED:
            stage, activation = self._transposed(group, group.root, closed)
        elif group.root.type == "avg_pool":
            image = group.start.shape.sizes()
            stage, activation = self._activation(group.source, image, exact=True)
            mean = average(group, activation, closed or group.root.outputs[0].name)
            activation = self._close(stage, group, mean, closed)
        else:
            stage, activation = self._joined(group, group.root, closed)
        program = self.programs[stage]
        for op in group.pools if group.root is not None else ():
            name = result if op is group.pools[-1] else op.outputs[0].name
            layer = pool(op, activation.shape, activation.name, name)
            activation = program.add(layer, op, *target)
        self.held[group.quantise.outputs[0]] = _Held(stage, activation)

    def _close(self, stage: int, group: Group, layer: Worker, closed: str | None) -> Activation:
        """Add the layer of a group's root, whose output is the group's if it is `closed`."""
        target = parameters(group.quantise)
        assert group.root is not None and target is not None
        named = replace(layer, output=closed or group.root.outputs[0].name)
        return self.programs[stage].add(named, group.root, *target)

    def _transposed(
        self, group: Group, op: Operation, closed: str | None
    ) -> tuple[int, Activation]:
        """A transposed convolution, by phases."""
        stage, activation = self._activation(group.source, group.start.shape.sizes(), exact=True)
        codes, image = required_weights(op).codes, op.outputs[0].shape.sizes()
        name, result = original_name(op), closed or op.outputs[0].name
        extra = geometry(op, image, (codes.shape[0], codes.shape[1]))
        plain = requantised(group, Convolution(name, activation.name, result, codes, **extra))
        made, joined = by_phases(plain, activation.shape[1:3], (image[1], image[2]))
        target = parameters(group.quantise)
        assert target is not None
        for layer in made:
            self.programs[stage].add(layer, op, *target)
        return stage, self.programs[stage].add(joined, op, *target)

    def _mapped(self, group: Group, result: str) -> tuple[int, Activation]:
        """Pools at the scale of their source, then a table."""
        image = group.start.shape.sizes()
        stage, activation = self._activation(group.source, image, exact=bool(group.pools))
        program, own = self.programs[stage], (group.source.scale, group.source.zero_point)
        for op in group.pools:
            last = op is group.pools[-1] and group.table is None
            name = result if last else op.outputs[0].name
            layer = pool(op, activation.shape, activation.name, name)
            activation = program.add(layer, op, *own)
        if group.table is not None:
            op = group.quantise.inputs[0].op
            if op.type in ("dequantize_linear", "reshape"):  # only the scale changes
                op = group.quantise
            epilogue = Epilogue(own, table=group.table)
            mapped = Pointwise(original_name(op), activation.name, result, epilogue)
            target = parameters(group.quantise)
            assert target is not None
            activation = program.add(mapped, op, *target)
        return stage, activation

    def _product(self, group: Group, op: Operation, closed: str | None) -> tuple[int, Activation]:
        """A matrix product of two activations."""
        left, right = (operand(tensor) for tensor in op.inputs)
        assert left is not None and right is not None
        stage = max(self._stage_of(item) for item in (left, right))
        items = [self._read(item, stage) for item in (left, right)]
        result = closed or op.outputs[0].name
        names = original_name(op), items[0].name, items[1].name, result
        layer = product(group, names, right.sides[1])
        target = parameters(group.quantise)
        assert target is not None
        return stage, self.programs[stage].add(layer, op, *target)

    def _held_as(self, item: Operand) -> _Held | None:
        """Where a program has an operand in the shape in which a product reads it."""
        held, source = self._held(item.source), item.source
        if held is None:
            return None
        found = held.activation
        same = (found.scale, found.zero_point) == (source.scale, source.zero_point)
        return held if same and found.shape == item.shape else None

    def _stage_of(self, item: Operand) -> int:
        held = self._held_as(item)
        return self._value(item.source.tensor) + 1 if held is None else held.stage

    def _read(self, item: Operand, stage: int) -> Activation:
        """An operand in the program of a stage."""
        held = self._held_as(item)
        if held is not None and held.stage == stage:
            return held.activation
        return self._input(item.source, stage, item.shape)

    def _joined(self, group: Group, op: Operation, closed: str | None) -> tuple[int, Activation]:
        """An addition, a product value by value or a concatenation."""
        target = parameters(group.quantise)
        assert target is not None
        shapes = [tensor.shape.sizes() for tensor in op.inputs]
        stage, items = self._activations(group.sources, shapes)
        program, name = self.programs[stage], original_name(op)
        low, high = clamp(group.clamps, *target)
        result = closed or op.outputs[0].name
        if op.type == "add":
            first, second = items
            epilogue = Epilogue((first.scale, first.zero_point), second.name, False, target)
            layer: Layer = Pointwise(name, first.name, result, epilogue, low, high)
            return stage, program.add(layer, op, *target)
        if op.type == "mul":
            names = name, items[0].name, items[1].name, result
            return stage, program.add(product(group, names, items[0].shape[3]), op, *target)
        clamped = bool(group.clamps)
        same = [self._rescaled(program, op, item, target) for item in items]
        joined = f"{result}/joined" if clamped else result
        layer = Concat(name, tuple(item.name for item in same), joined)
        made = program.add(layer, op, *target)
        if clamped:
            layer = Pointwise(f"{name}/clamp", joined, result, Epilogue(target), low, high)
            made = program.add(layer, op, *target)
        return stage, made

    def _rescaled(
        self, program: Program, op: Operation, item: Activation, target: tuple[float, int]
    ) -> Activation:
        """An operand of a concatenation at the scale of its result."""
        given = item.scale, item.zero_point
        if given == target:
            return item
        name = f"{item.name}/{target[0]!r}/{target[1]}"
        if name in program.activations:
            return program.activations[name]
        table = evaluate(Map(op.inputs[0], op.inputs[0], ()), given, target)
        layer = Pointwise(name, item.name, name, Epilogue(given, table=table))
        return program.add(layer, op, *target)

    def _layer(self, op: Operation, source: Scaled, weights: Weights) -> tuple[int, Convolution]:
        """The stage and the layer of a linear op, with its codes and geometry only."""
        x = op.inputs[0].shape.sizes()
        if op.type == "conv2d":
            stage, activation = self._activation(source, x, exact=True)
            kernel = (weights.codes.shape[0], weights.codes.shape[1])
            extra, codes = geometry(op, x, kernel), weights.codes
        else:
            stage, activation = self._activation(source, x, exact=False)
            spread = activation.shape[3] != x[-1]
            side = activation.shape[1:3] if spread else (1, 1)
            codes = weights.codes.reshape(*side, activation.shape[3], -1)
            extra = {}
        name = original_name(op)
        return stage, Convolution(name, activation.name, op.outputs[0].name, codes, **extra)

    # --- activations ----------------------------------------------------------------------------

    def _held(self, source: Scaled) -> _Held | None:
        """Where a program has a tensor; rows of another are copied from it where that is there."""
        op = source.tensor.op
        rows = rows_taken(op)
        if rows is None or source.tensor in self.held:
            return self.held.get(source.tensor)
        whole = replace(source, tensor=op.inputs[0])
        images, height, channels = whole.tensor.shape.sizes()
        steps, crop = (1, 1), ((0, 0), (-rows[0], rows[1] - height))
        single = op.outputs[0].shape.rank == 2 and height <= MOST_STEP
        if single and self._held(whole) is None:
            # all matrices in one line, so that one VECTOR takes a row of each of them
            stage, steps = self._value(whole.tensor) + 1, (1, height)
            item = self._input(whole, stage, (1, 1, images * height, channels))
        else:
            stage, item = self._activation(whole, (images, height, channels), exact=False)
            if item.shape != (images, 1, height, channels):
                return None
        given = source.scale, source.zero_point
        layer = Pointwise(
            op.name, item.name, source.tensor.name, Epilogue(given), strides=steps, padding=crop
        )
        activation = self.programs[stage].add(layer, op, *given)
        self.held[source.tensor] = _Held(stage, activation)
        return self.held[source.tensor]

    def _activations(
        self, sources: tuple[Scaled, ...], logical: list[tuple[int, ...]]
    ) -> tuple[int, list[Activation]]:
        """Several activations of one shape (channels aside) in the program of one stage: that of
        the last of them, to which the host brings the others."""
        held = [self._held(source) for source in sources]
        stages = [
            self._value(source.tensor) + 1 if item is None else item.stage
            for source, item in zip(sources, held, strict=True)
        ]
        stage = max(stages)
        form = next(
            (item.activation.shape[:3] for item in held if item and item.stage == stage), None
        )
        found = []
        for source, item, sizes in zip(sources, held, logical, strict=True):
            if item is not None and item.stage == stage:
                activation = item.activation
                same = (activation.scale, activation.zero_point) == (
                    source.scale,
                    source.zero_point,
                )
                if same and activation.shape == (*(form or ()), sizes[-1]):
                    found.append(activation)
                    continue
                stage = item.stage + 2
                return self._brought(sources, logical, stage)
            shape = (*(form or _form(sizes)), sizes[-1])
            found.append(self._input(source, stage, shape))
        return stage, found

    def _brought(
        self, sources: tuple[Scaled, ...], logical: list[tuple[int, ...]], stage: int
    ) -> tuple[int, list[Activation]]:
        """The same with every one of them through the host, which gives them one shape."""
        stage = max(stage, *(self._value(source.tensor) + 1 for source in sources))
        return stage, [
            self._input(source, stage, (*_form(sizes), sizes[-1]))
            for source, sizes in zip(sources, logical, strict=True)
        ]

    def _activation(
        self, source: Scaled, logical: tuple[int, ...], exact: bool
    ) -> tuple[int, Activation]:
        """The stage and the activation in it that holds `source` as a layer reads it.

        `logical` is the shape in which the op sees it: exactly that for a convolution, its
        channels (or a whole feature map) as the last axis for a matmul.
        """
        held = self._held(source)
        if held is not None:
            item = held.activation
            same = (item.scale, item.zero_point) == (source.scale, source.zero_point)
            if same and _readable(item.shape, logical, exact):
                return held.stage, item
        stage = self._value(source.tensor) + 1
        shape: Shape = (*_form(logical), logical[-1])
        if exact:
            shape = (logical[0], logical[1], logical[2], logical[3])
        return stage, self._input(source, stage, shape)

    def _input(self, source: Scaled, stage: int, shape: Shape) -> Activation:
        """A value of the host as an input of the program of a stage."""
        self._value(source.tensor)
        program = self.programs.setdefault(stage, Program())
        name = source.tensor.name
        taken = program.activations.get(name)
        wanted = Activation(name, shape, source.scale, source.zero_point)
        if taken is not None and taken != wanted:
            name = f"{name}/{'x'.join(map(str, shape))}/{source.zero_point}/{source.scale!r}"
            wanted = Activation(name, shape, source.scale, source.zero_point)
        program.activations[name] = wanted
        program.inputs[name] = source.tensor.name
        return wanted


def _form(logical: tuple[int, ...]) -> tuple[int, int, int]:
    """Images, rows and columns of a tensor whose last axis is channels."""
    if len(logical) == 4:
        return logical[0], logical[1], logical[2]
    if len(logical) == 3:
        return logical[0], 1, logical[1]
    return 1, 1, int(np.prod(logical[:-1]))


def _readable(shape: Shape, logical: tuple[int, ...], exact: bool) -> bool:
    """Whether a layer can read an activation of `shape` as an operand of shape `logical`."""
    if exact:
        return shape == logical
    if shape[3] == logical[-1]:
        return True
    covered = (shape[0], shape[1] * shape[2] * shape[3])
    return logical == covered and max(shape[1:3]) <= MOST_STEP


__all__ = ["CompileError", "Lowered", "lower"]
