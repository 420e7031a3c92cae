"""QDQ: quantise a frozen float graph for int8 inference, in ONNX's quantize/dequantize form.

Every matrix product and convolution with constant weights gets int8 weights (symmetric per output
channel), an int32 bias and an int8 input; what follows it (bias, relu, relu6) is closed by one
quantize op. Max pools and reshapes behind it keep its scale. Everything else stays float.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.tpu import numerics
from sw.compiler.regions import Chain, Regions, is_view, regions
from sw.compiler.ties import settle
from sw.compiler.tpu.specialise import like
from sw.compiler.tpu.support import (
    FLOAT_SUFFIX,
    LINEAR,
    TRANSPOSED,
    VIEWS,
    data_input,
    rows_taken,
    unsupported,
)
from sw.compiler.unit import Fallback, Unit
from sw.graph.build import constant_value
from sw.graph.device import parse
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

Ranges = Mapping[str, tuple[float, float]]
"""Lowest and highest value of a tensor, by its name."""


def not_quantised(graph: Graph) -> list[Fallback]:
    """The ops of a quantised graph that stay float on the CPU, with the reason: for people who
    want to know what the TPU does not do."""
    reasons = (
        (op, unsupported(op) or ("its weights are not constants" if op.type in LINEAR else ""))
        for op in graph.get_operations()
        if not op.op_def.host_only and parse(op.device).kind in (None, "cpu")
    )
    return [Fallback(op.type, op.name, reason) for op, reason in reasons if reason]


def weight_codes(op: Operation) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 weights of a quantisable op (a transposed matrix turned), with their scales: one for
    each output channel, or for each channel of a depthwise op. Raises
    `InvalidArgumentError` for weights that are not finite."""
    weights = constant_value(op.inputs[1])
    assert weights is not None
    if op.attrs.get("transpose_b"):
        weights = np.ascontiguousarray(weights.T)
    try:
        scale = numerics.weight_scales(weights, _weight_axis(op))
    except ValueError as error:
        raise InvalidArgumentError(f"op {op.where()}: {error}", op) from None
    return numerics.quantize(weights, _spread(op, scale)), scale


def rounded_weights(op: Operation) -> NDArray[np.float32]:
    """The real values of `weight_codes`, in the layout of the op's own weights."""
    codes, scale = weight_codes(op)
    real = numerics.dequantize(codes, _spread(op, scale))
    return real.T if op.attrs.get("transpose_b") else real


def _weight_axis(op: Operation) -> int:
    """The axis of the weights along which scales differ."""
    return -2 if op.type in ("depthwise_conv2d", TRANSPOSED) else -1


def _spread(op: Operation, scale: NDArray[np.float32]) -> NDArray[np.float32]:
    return scale[:, None] if _weight_axis(op) == -2 else scale


def _shared_ranges(unit: Unit, found: Regions, ranges: Ranges) -> Ranges:
    """The ranges, those of concatenated tensors replaced by one that holds all of them, so that a
    concatenation need not change a code. Pools and views pass that on to what they read."""
    groups: dict[Tensor, set[Tensor]] = {}

    def tie(first: Tensor, second: Tensor) -> None:
        both = groups.get(first, {first}) | groups.get(second, {second})
        groups.update(dict.fromkeys(both, both))

    joined = {op for op in found.ends if op.type == "concat"}
    for op in unit.graph.get_operations():
        if op in joined:
            for tensor in (*op.inputs, found.ends[op].outputs[0]):
                tie(op.inputs[0], tensor)
    for op in reversed(unit.graph.get_operations()):
        if op.type in ("max_pool", *VIEWS) and op.outputs[0] in groups:
            tie(op.inputs[0], op.outputs[0])
    shared = dict(ranges)
    joint: dict[int, tuple[float, float]] = {}
    for tensor, group in groups.items():
        known = [ranges[item.name] for item in group if item.name in ranges]
        if known:
            whole = min(low for low, _ in known), max(high for _, high in known)
            shared[tensor.name] = joint.setdefault(id(group), whole)
    return shared


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
        self.unit, self.device = unit, device
        self.graph = Graph()
        self.made: dict[Tensor, Tensor] = {}
        self.after: dict[Operation, Operation] = {}
        self.held: dict[Tensor, tuple[np.float32, int]] = {}
        self.entered: dict[Tensor, Tensor] = {}
        self.regions = found = regions(unit)
        self.ranges = settle(found.ends, _shared_ranges(unit, found, ranges))
        self.linear = {chain.linear: chain for chain in found.chains}
        self.bias = {chain.bias: chain for chain in found.chains if chain.bias is not None}
        heads = {chain.end: chain.linear for chain in found.chains}
        heads |= {end: op for op, end in found.ends.items()}
        self.last = set(heads)
        self.inside = set(heads) | set(heads.values()) | set(self.bias)
        for op, head in heads.items():
            while op is not head:
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
        elif op in self.regions.ends:
            entered = tuple(self._enter(tensor)[0] for tensor in op.inputs)
            self._close(op, op.type, entered)
        elif op in self.inside:
            self._close(op, op.type, (self.made[op.inputs[0]],))
        elif op in self.regions.mapped:
            inputs = tuple(self.made[tensor] for tensor in op.inputs)
            self.made[op.outputs[0]] = self._put(op, op.type, inputs, op.attrs)
        else:
            inputs = tuple(self.made[tensor] for tensor in op.inputs)
            if op.type == "max_pool" and op.inputs[0] in self.regions.held:
                image, parameters = self._enter(op.inputs[0])
                real = self._put(op, op.type, (image,), op.attrs, FLOAT_SUFFIX)
                self._requantised(op, real, parameters)
                return
            if rows_taken(op) is not None and op.inputs[0] in self.regions.held:
                inputs = (self._enter(op.inputs[0])[0],)
            source = self.held.get(inputs[0]) if inputs else None
            copy = self.graph.copy_op(op, inputs, self._controls(op))
            self.after[op] = copy
            self.made.update(zip(op.outputs, copy.outputs, strict=True))
            if source is not None and is_view(op):
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
        x, parameters = self._enter(chain.source)
        attrs = {k: v for k, v in op.attrs.items() if not k.startswith("transpose_")}
        codes, scale = weight_codes(op)
        several = op.inputs[1].shape.sizes()[3] if op.type == "depthwise_conv2d" else 1
        self.scales[chain] = parameters[0] * np.repeat(scale, several)
        name = op.inputs[1].op.name
        quantised = (
            self._constant(codes, f"{name}/quantized"),
            self._constant(scale, f"{name}/scale"),
            self._constant(np.zeros((), np.int8), f"{name}/zero_point"),
        )
        axis = {"axis": _weight_axis(op)}
        w = self._put(op.inputs[1].op, "dequantize_linear", quantised, axis, "/dequantize")
        sizes = (self.made[op.inputs[0]],) if op.type == TRANSPOSED else ()
        inputs = (*sizes, w, x) if sizes else (x, w)
        self._close(op, op.type, inputs, attrs)

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
        if op not in self.last:
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
        low, high = self.ranges[tensor.name]
        if tensor in self.regions.symmetric:
            reach = max(abs(low), abs(high))
            low, high = -reach * 128 / 127, reach
        try:
            return numerics.activation_quantization(low, high)
        except ValueError as error:
            raise InvalidArgumentError(f"tensor {tensor.name!r}: {error}", tensor.op) from None
