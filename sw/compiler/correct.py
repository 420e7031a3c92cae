"""Bias correction: take the mean error of rounded weights out of a layer's bias.

Rounding weights moves the mean of a layer's output, most where many weights of a channel round
the same way. The move is `E[x] * (W_int8 - W)`, measured on calibration data and subtracted from
the bias (Nagel et al., "Data-Free Quantization", ICCV 2019, section 4.2).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sw.compiler.qdq import rounded_weights
from sw.compiler.regions import Chain, chains
from sw.compiler.tpu.specialise import like
from sw.compiler.tpu.support import FLOAT_SUFFIX, data_input
from sw.compiler.unit import Unit, rebuild
from sw.graph.build import constant_value
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

SHIFT = "/shift"
"""Ends the name of an op that measures a layer's shift."""


def measure_shifts(unit: Unit) -> tuple[Graph, dict[str, str]]:
    """A graph that computes, for each layer that will be quantised, the mean shift of each
    output channel; with the names of its tensors by the layer's name."""
    found = {chain.linear for chain in chains(unit)}
    names: dict[str, str] = {}

    def make(
        op: Operation, graph: Graph, inputs: tuple[Tensor, ...], controls: tuple[Operation, ...]
    ) -> Operation | None:
        if op not in found:
            return graph.copy_op(op, inputs, controls, "")
        value = rounded_weights(op) - op.inputs[1].op.attrs["value"]
        error = graph.convert(value, name=f"{op.name}{SHIFT}/weights/")
        moved = like(
            graph, op, op.type, (*inputs[:1], error, *inputs[2:]), op.attrs, op.name + SHIFT
        )
        rank = op.outputs[0].shape.rank or 0
        axes = {"axis": tuple(range(rank - 1)), "keepdims": False}
        mean = like(graph, op, "reduce_mean", moved.outputs, axes, op.name + SHIFT + "/mean")
        moved.device = mean.device = ""
        names[op.name] = mean.outputs[0].name
        return graph.copy_op(op, inputs, controls, "")

    return rebuild(unit, None, make).graph, names


def correct_biases(unit: Unit, shifts: Mapping[str, NDArray[np.float32]]) -> Unit:
    """The unit with `shifts` (by layer) subtracted from the biases of its layers; a layer without
    one gets one, which takes the layer's name over.

    >>> from sw.compiler.unit import render
    >>> from sw.graph.dtypes import float32
    >>> g = Graph()
    >>> x = g.apply("placeholder", dtype=float32, shape=(None, 1), name="x")
    >>> y = g.apply("matmul", x, [[2.0]], name="y")
    >>> print(render(correct_biases(Unit(g, fetches=(y,)), {"y": np.float32([0.25])})))
    x = placeholder() -> float32(?, 1)
    Const = const() -> float32(1, 1)
    y/float = matmul(x, Const) -> float32(?, 1)
    y/corrected = const() -> float32(1,)
    y = bias_add(y/float, y/corrected) -> float32(?, 1)
    want y:0
    """
    linear: dict[Operation, Chain] = {}
    biases: dict[Operation, NDArray[np.float32]] = {}
    for chain in chains(unit):
        shift = shifts.get(chain.linear.name)
        if shift is None:
            continue
        if chain.bias is None:
            linear[chain.linear] = chain
        else:
            biases[chain.bias] = shift

    def make(
        op: Operation, graph: Graph, inputs: tuple[Tensor, ...], controls: tuple[Operation, ...]
    ) -> Operation | None:
        if op in linear:
            plain = like(graph, op, op.type, inputs, op.attrs, op.name + FLOAT_SUFFIX)
            plain.control_inputs = controls
            bias = graph.convert(-shifts[op.name], name=f"{op.name}/corrected/")
            return like(graph, op, "bias_add", (plain.outputs[0], bias), {})
        if op not in biases:
            return None
        data = op.inputs.index(data_input(op))
        value = constant_value(op.inputs[1 - data])
        assert value is not None
        bias = graph.convert((value - biases[op]).astype(value.dtype), name=f"{op.name}/corrected/")
        return like(graph, op, "bias_add", (inputs[data], bias), {})

    return rebuild(unit, None, make)
