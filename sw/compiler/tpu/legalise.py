"""Legalise: say everything with few ops.

Afterwards there is one op for each thing that can be said in several ways: `matmul` (without
transposes), `bias_add` for an addition of one value per channel, `reshape` for every view,
`avg_pool` for every mean of windows. A quantised op becomes its QDQ form: float op between
dequantize and quantize.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sw.compiler.tpu.operands import scaled
from sw.compiler.tpu.specialise import like
from sw.compiler.tpu.support import VIEWS, mean_window, rows_taken
from sw.graph.build import constant_value
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

Rule = Callable[[Graph, Operation, tuple[Tensor, ...]], Tensor]


def legalise(graph: Graph) -> Graph:
    """Rewrite a specialised graph; see the module.

    >>> from sw.compiler.unit import Unit, render
    >>> from sw.compiler.tpu.specialise import specialise
    >>> from sw.graph.dtypes import float32
    >>> g = Graph()
    >>> x = g.apply("placeholder", dtype=float32, shape=(1, 2), name="x")
    >>> y = g.apply("add", g.apply("identity", x), [3.0, 4.0], name="y")
    >>> print(render(Unit(legalise(specialise(g, {})))))
    x = placeholder() -> float32(1, 2)
    Const = const() -> float32(2,)
    y = bias_add(x, Const) -> float32(1, 2)
    """
    new = Graph()
    made: dict[Tensor, Tensor] = {}
    for op in graph.get_operations():
        inputs = tuple(made[tensor] for tensor in op.inputs)
        rule = RULES.get(op.type)
        if rule is not None:
            made[op.outputs[0]] = rule(new, op, inputs)
        else:
            copy = new.copy_op(op, inputs)
            made.update(zip(op.outputs, copy.outputs, strict=True))
    return new


def _view(graph: Graph, op: Operation, inputs: tuple[Tensor, ...]) -> Tensor:
    shape = op.outputs[0].shape.sizes()
    if shape == inputs[0].shape.sizes():
        return inputs[0]
    sizes = graph.convert(np.asarray(shape, np.int64), name=f"{op.name}/sizes/")
    return like(graph, op, "reshape", (inputs[0], sizes), {}).outputs[0]


def _rows(graph: Graph, op: Operation, inputs: tuple[Tensor, ...]) -> Tensor:
    source = inputs[0].op
    per_tensor = source.type == "dequantize_linear" and source.inputs[1].shape.rank == 0
    if rows_taken(op) is None or not per_tensor:
        return like(graph, op, op.type, inputs, op.attrs).outputs[0]
    codes = like(graph, op, op.type, source.inputs[:1], op.attrs, f"{op.name}/rows").outputs[0]
    return like(graph, op, source.type, (codes, *source.inputs[1:]), {}).outputs[0]


def _add(graph: Graph, op: Operation, inputs: tuple[Tensor, ...]) -> Tensor:
    x, vector = inputs if inputs[1].shape.rank == 1 else inputs[::-1]
    if vector.shape.rank != 1 or x.shape.rank == 1:
        return like(graph, op, "add", inputs, {}).outputs[0]
    if vector.shape.dims != x.shape.dims[-1:] if x.shape.dims else True:
        raise InvalidArgumentError(
            f"op {op.where()}: {vector.shape} is not one value per channel of {x.shape}", op
        )
    return like(graph, op, "bias_add", (x, vector), {}).outputs[0]


def _mean(graph: Graph, op: Operation, inputs: tuple[Tensor, ...]) -> Tensor:
    source, window = inputs[0], mean_window(op)
    if scaled(source) is None or window is None:
        return like(graph, op, op.type, inputs, op.attrs).outputs[0]
    if source.shape.rank == 3:
        images, rows, channels = source.shape.sizes()
        sizes = graph.convert(
            np.asarray((images, 1, rows, channels), np.int64), name=f"{op.name}/i/"
        )
        source = like(graph, op, "reshape", (source, sizes), {}, f"{op.name}/image").outputs[0]
    attrs = {"ksize": window, "strides": (1, 1), "padding": "VALID"}
    mean = like(graph, op, "avg_pool", (source,), attrs)
    if mean.outputs[0].shape == op.outputs[0].shape:
        return mean.outputs[0]
    sizes = graph.convert(np.asarray(op.outputs[0].shape.sizes(), np.int64), name=f"{op.name}/s/")
    return like(graph, op, "reshape", (mean.outputs[0], sizes), {}, f"{op.name}/view").outputs[0]


def _matmul(graph: Graph, op: Operation, inputs: tuple[Tensor, ...]) -> Tensor:
    operands = list(inputs)
    for index, side in enumerate("ab"):
        if not op.attrs[f"transpose_{side}"]:
            continue
        value = constant_value(operands[index])
        name = f"{op.name}/transpose_{side}"
        if value is not None:
            operands[index] = graph.convert(np.ascontiguousarray(value.T), name=name + "/")
        else:
            rank = operands[index].shape.rank or 2
            perm = (*range(rank - 2), rank - 1, rank - 2)
            turned = like(graph, op, "transpose", (operands[index],), {"perm": perm}, name)
            operands[index] = turned.outputs[0]
    return like(graph, op, "matmul", tuple(operands), {}).outputs[0]


def _qlinear(graph: Graph, op: Operation, inputs: tuple[Tensor, ...]) -> Tensor:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = inputs[:8]

    def real(tensor: Tensor, scale: Tensor, zero: Tensor, name: str) -> Tensor:
        full = f"{op.name}/{name}"
        return like(graph, op, "dequantize_linear", (tensor, scale, zero), {}, full).outputs[0]

    both = (real(a, a_scale, a_zero, "x"), real(b, b_scale, b_zero, "w"))
    kind = "conv2d" if op.type == "qlinear_conv" else "matmul"
    y = like(graph, op, kind, both, op.attrs).outputs[0]
    if len(inputs) > 8:
        left, right = constant_value(a_scale), constant_value(b_scale)
        if left is None or right is None:
            raise InvalidArgumentError(f"op {op.where()}: its scales must be constants", op)
        product = left.astype(np.float32).ravel() * right.astype(np.float32).ravel()
        scale = graph.convert(product, name=f"{op.name}/s/")
        zero = graph.convert(np.zeros((), np.int32), name=f"{op.name}/z/")
        bias = real(inputs[8], scale, zero, "b")
        y = like(graph, op, "bias_add", (y, bias), {}, f"{op.name}/bias").outputs[0]
    return like(
        graph, op, "quantize_linear", (y, y_scale, y_zero), {}, f"{op.name}/quantize"
    ).outputs[0]


RULES: dict[str, Rule] = {
    **dict.fromkeys(VIEWS, _view),
    "add": _add,
    "matmul": _matmul,
    "reduce_mean": _mean,
    "strided_slice": _rows,
    "qlinear_conv": _qlinear,
    "qlinear_matmul": _qlinear,
}
