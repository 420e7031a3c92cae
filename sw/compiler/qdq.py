"""QDQ: quantise a frozen float graph for int8 inference, in ONNX's quantize/dequantize form.

Every matrix product and convolution with constant weights gets int8 weights (symmetric per output
channel), an int32 bias and an int8 input; what follows it (bias, relu, relu6) is closed by one
quantize op. Max pools and reshapes behind it keep its scale. Everything else stays float.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.tpu import numerics
from sw.compiler.tpu.specialise import like
from sw.compiler.tpu.support import FLOAT_SUFFIX, LINEAR, VIEWS, data_input, unsupported
from sw.compiler.unit import Fallback, Unit
from sw.graph.build import constant_value
from sw.graph.device import parse
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

Ranges = Mapping[str, tuple[float, float]]
"""Lowest and highest value of a tensor, by its name."""


@dataclass(frozen=True)
class Chain:
    """A linear op and what its requantisation takes in: `bias` op or None, `end` the last op."""

    linear: Operation
    bias: Operation | None
    end: Operation


def chains(unit: Unit) -> list[Chain]:
    """The chains of a frozen unit, in order. Each starts at a linear op with constant weights and
    follows tensors that have one use."""
    users: dict[Tensor, list[Operation]] = {}
    for op in unit.graph.get_operations():
        for tensor in op.inputs:
            users.setdefault(tensor, []).append(op)
    wanted = set(unit.fetches)
    found = []
    for op in unit.graph.get_operations():
        if not _quantisable(op):
            continue
        bias, end = None, op
        while len(users.get(end.outputs[0], ())) == 1 and end.outputs[0] not in wanted:
            (user,) = users[end.outputs[0]]
            if user.type in ("relu", "relu6"):
                end = user
            elif end is op and user.type in ("add", "bias_add") and _is_bias(user, op):
                bias = end = user
            else:
                break
        found.append(Chain(op, bias, end))
    return found


def measured(unit: Unit) -> tuple[Tensor, ...]:
    """The tensors whose ranges `insert_qdq` may ask for."""
    tensors = [t for c in chains(unit) for t in (c.linear.inputs[0], c.end.outputs[0])]
    return tuple(dict.fromkeys(tensors))


def not_quantised(graph: Graph) -> list[Fallback]:
    """The ops of a quantised graph that stay float on the CPU, with the reason: for people who
    want to know what the TPU does not do."""
    return [
        Fallback(op.type, op.name, unsupported(op) or "its weights are not constants")
        for op in graph.get_operations()
        if not op.op_def.host_only and parse(op.device).kind in (None, "cpu")
    ]


def _quantisable(op: Operation) -> bool:
    if op.type not in LINEAR or unsupported(op) is not None:
        return False
    weights = constant_value(op.inputs[1])
    constant_input = constant_value(op.inputs[0]) is not None
    return weights is not None and not constant_input and not op.attrs.get("transpose_a")


def weight_codes(op: Operation) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 weights of a quantisable op, output channels last (a transposed matrix turned), with
    their scales. Raises `InvalidArgumentError` for weights that are not finite."""
    weights = constant_value(op.inputs[1])
    assert weights is not None
    if op.attrs.get("transpose_b"):
        weights = np.ascontiguousarray(weights.T)
    try:
        scale = numerics.weight_scales(weights)
    except ValueError as error:
        raise InvalidArgumentError(f"op {op.where()}: {error}", op) from None
    return numerics.quantize(weights, scale), scale


def rounded_weights(op: Operation) -> NDArray[np.float32]:
    """The real values of `weight_codes`, in the layout of the op's own weights."""
    real = numerics.dequantize(*weight_codes(op))
    return real.T if op.attrs.get("transpose_b") else real


def _is_bias(op: Operation, linear: Operation) -> bool:
    vector = op.inputs[1] if data_input(op) is op.inputs[0] else op.inputs[0]
    value = constant_value(vector)
    channels = linear.outputs[0].shape[-1:] if linear.outputs[0].shape.rank else None
    return value is not None and value.shape == channels


def insert_qdq(unit: Unit, ranges: Ranges, device: str) -> Unit:
    """The quantised graph of a frozen unit. The quantised ops are put on `device`; a name means
    the same value as before, up to quantisation, because the dequantize op takes it over.

    Raises `InvalidArgumentError` naming a tensor whose range or weights are not finite.

    >>> from sw.compiler.unit import render
    >>> from sw.graph.dtypes import float32
    >>> g = Graph()
    >>> x = g.apply("placeholder", dtype=float32, shape=(None, 1), name="x")
    >>> y = g.apply("matmul", x, [[2.0]], name="y")
    >>> made = insert_qdq(Unit(g, fetches=(y,)), {"x:0": (0, 1), "y:0": (0, 2)}, "")
    >>> print(render(made))  # doctest: +ELLIPSIS
    x = placeholder() -> float32(?, 1)
    ...
    x/quantize = quantize_linear(x, x/scale, x/zero_point) -> int8(?, 1)
    ...
    y = dequantize_linear(y/quantize, y/scale, y/zero_point) -> float32(?, 1)
    want y:0
    """
    return _Inserter(unit, ranges, device).run()


class _Inserter:
    """The walk of `insert_qdq`: `made` maps old tensors to new ones, `after` old ops to those that
    stand for them in control edges, `held` the quantised new tensors to scale and zero point."""

    def __init__(self, unit: Unit, ranges: Ranges, device: str) -> None:
        self.unit, self.ranges, self.device = unit, ranges, device
        self.graph = Graph()
        self.made: dict[Tensor, Tensor] = {}
        self.after: dict[Operation, Operation] = {}
        self.held: dict[Tensor, tuple[np.float32, int]] = {}
        self.entered: dict[Tensor, Tensor] = {}
        found = chains(unit)
        self.linear = {chain.linear: chain for chain in found}
        self.bias = {chain.bias: chain for chain in found if chain.bias is not None}
        self.ends = {chain.end: chain for chain in found}
        self.inside = {chain.linear for chain in found} | set(self.bias) | set(self.ends)
        for chain in found:
            op = chain.end
            while op is not chain.linear:
                self.inside.add(op)
                op = data_input(op).op
        self.scales: dict[Chain, np.ndarray] = {}
        uses = Counter(t.op for op in unit.graph.get_operations() for t in op.inputs)
        gone = Counter(op.inputs[1].op for op in self.linear)
        for op in self.bias:
            gone.update({t.op for t in op.inputs} - {data_input(op).op})
        wanted = {tensor.op for tensor in unit.fetches}
        self.dropped = {op for op in gone if uses[op] == gone[op] and op not in wanted}

    def run(self) -> Unit:
        for op in self.unit.graph.get_operations():
            if op not in self.dropped:
                self._visit(op)
        self.graph.finalize()
        fetches = tuple(self.made[tensor] for tensor in self.unit.fetches)
        return replace(self.unit, graph=self.graph, fetches=fetches)

    def _visit(self, op: Operation) -> None:
        if op in self.linear:
            self._linear(self.linear[op])
        elif op in self.bias:
            self._close(op, "bias_add", (self.made[data_input(op)], self._bias(op)))
        elif op in self.inside:
            self._close(op, op.type, (self.made[op.inputs[0]],))
        else:
            inputs = tuple(self.made[tensor] for tensor in op.inputs)
            source = self.held.get(inputs[0]) if inputs else None
            if source is not None and op.type == "max_pool":
                self._requantised(
                    op, self._put(op, op.type, inputs, op.attrs, FLOAT_SUFFIX), source
                )
                return
            copy = self.graph.copy_op(op, inputs, self._controls(op))
            self.after[op] = copy
            self.made.update(zip(op.outputs, copy.outputs, strict=True))
            if source is not None and op.type in VIEWS:
                copy.device = self.device
                self.held[copy.outputs[0]] = source

    def _controls(self, op: Operation) -> tuple[Operation, ...]:
        return tuple(self.after[before] for before in op.control_inputs if before in self.after)

    def _put(
        self, op: Operation, kind: str, inputs: Any, attrs: Mapping[str, Any], suffix: str = ""
    ) -> Tensor:
        """A new op on the device, called after `op`."""
        new = like(self.graph, op, kind, inputs, attrs, op.name + suffix)
        new.device, new.control_inputs = self.device, self._controls(op)
        self.after[op] = new
        return new.outputs[0]

    def _constant(self, value: Any, name: str) -> Tensor:
        return self.graph.convert(np.asarray(value), name=name + "/")

    def _linear(self, chain: Chain) -> None:
        op = chain.linear
        x, parameters = self._enter(op.inputs[0])
        attrs = {k: v for k, v in op.attrs.items() if not k.startswith("transpose_")}
        codes, scale = weight_codes(op)
        self.scales[chain] = parameters[0] * scale
        name = op.inputs[1].op.name
        quantised = (
            self._constant(codes, f"{name}/quantized"),
            self._constant(scale, f"{name}/scale"),
            self._constant(np.zeros((), np.int8), f"{name}/zero_point"),
        )
        w = self._put(op.inputs[1].op, "dequantize_linear", quantised, {}, "/dequantize")
        self._close(op, op.type, (x, w), attrs)

    def _bias(self, op: Operation) -> Tensor:
        vector = next(tensor for tensor in op.inputs if tensor is not data_input(op))
        scale, value = self.scales[self.bias[op]], constant_value(vector)
        if value is None or not np.isfinite(value).all():
            raise InvalidArgumentError(f"op {op.where()}: its bias must be finite", op)
        steps = np.rint(value.astype(np.float64) / scale.astype(np.float64))
        limits = np.iinfo(np.int32)
        codes = np.clip(steps, limits.min, limits.max).astype(np.int32)
        quantised = (
            self._constant(codes, f"{vector.op.name}/quantized"),
            self._constant(scale, f"{vector.op.name}/scale"),
            self._constant(np.zeros((), np.int32), f"{vector.op.name}/zero_point"),
        )
        return self._put(vector.op, "dequantize_linear", quantised, {}, "/dequantize")

    def _close(
        self, op: Operation, kind: str, inputs: Any, attrs: Mapping[str, Any] | None = None
    ) -> None:
        """An op of a chain; the last one is requantised."""
        given = (op.attrs if kind == op.type else {}) if attrs is None else attrs
        if op not in self.ends:
            self.made[op.outputs[0]] = self._put(op, kind, inputs, given)
            return
        real = self._put(op, kind, inputs, given, FLOAT_SUFFIX)
        self._requantised(op, real, self._parameters(op.outputs[0]))

    def _requantised(self, op: Operation, real: Tensor, parameters: tuple[np.float32, int]) -> None:
        """quantize and dequantize behind `real`; the latter takes over the op's name."""
        self.made[op.outputs[0]] = self._pair(op, real, parameters, "")

    def _pair(
        self, op: Operation, real: Tensor, parameters: tuple[np.float32, int], suffix: str
    ) -> Tensor:
        scale = self._constant(parameters[0], f"{op.name}/scale")
        zero = self._constant(np.int8(parameters[1]), f"{op.name}/zero_point")
        codes = self._put(op, "quantize_linear", (real, scale, zero), {}, "/quantize")
        result = self._put(op, "dequantize_linear", (codes, scale, zero), {}, suffix)
        self.held[result] = parameters
        return result

    def _enter(self, tensor: Tensor) -> tuple[Tensor, tuple[np.float32, int]]:
        """The input of a linear op, quantised here unless it is already."""
        new = self.made[tensor]
        if new not in self.held:
            if new not in self.entered:
                parameters = self._parameters(tensor)
                self.entered[new] = self._pair(tensor.op, new, parameters, "/dequantize")
            new = self.entered[new]
        return new, self.held[new]

    def _parameters(self, tensor: Tensor) -> tuple[np.float32, int]:
        try:
            return numerics.activation_quantization(*self.ranges[tensor.name])
        except ValueError as error:
            raise InvalidArgumentError(f"tensor {tensor.name!r}: {error}", tensor.op) from None
