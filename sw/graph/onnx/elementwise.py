"""Operators that work element by element: in whatever order their operands are held."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.dtypes import bool_
from sw.graph.onnx.node import Node
from sw.graph.onnx.registry import handles
from sw.graph.onnx.types import element_type
from sw.graph.onnx.value import Flat, Value, to_last
from sw.graph.tensor import Tensor

UNARY = {
    "Abs": "abs",
    "Acos": "acos",
    "Acosh": "acosh",
    "Asin": "asin",
    "Asinh": "asinh",
    "Atan": "atan",
    "Atanh": "atanh",
    "Ceil": "ceil",
    "Cos": "cos",
    "Cosh": "cosh",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "IsNaN": "is_nan",
    "Log": "log",
    "Neg": "neg",
    "Not": "logical_not",
    "Reciprocal": "reciprocal",
    "Relu": "relu",
    "Round": "round",
    "Sigmoid": "sigmoid",
    "Sign": "sign",
    "Sin": "sin",
    "Sinh": "sinh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Sqrt": "sqrt",
    "Tan": "tan",
    "Tanh": "tanh",
}
BINARY = {
    "Add": "add",
    "And": "logical_and",
    "Div": "div",
    "Equal": "equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
    "Mul": "mul",
    "Or": "logical_or",
    "Sub": "sub",
    "Xor": "logical_xor",
}


def alike(node: Node, *values: Value) -> tuple[list[Tensor], bool]:
    """Operands in one order so that they broadcast as in the standard, and whether that is with
    the channels last."""
    held = [v for v in values if v.last]
    ranks = [v.rank for v in values]
    if not held or None in ranks:
        return [v.plain(node.graph) for v in values], False
    rank = held[0].rank
    if any((r or 0) > (rank or 0) for r in ranks):
        return [v.plain(node.graph) for v in values], False
    out = []
    for value in values:
        if value.rank == rank:
            array = node.static(value.tensor) if not value.last else None
            if array is not None and not value.shifted:
                out.append(_trimmed(node, np.transpose(array, to_last(array.ndim)), value))
            else:
                out.append(value.channels_last(node.graph))
        elif value.tensor.shape.num_elements() == 1:
            out.append(value.plain(node.graph))
        else:
            array = node.static(value.tensor)
            if array is not None:
                wide = np.reshape(array, (1,) * ((rank or 0) - array.ndim) + array.shape)
                out.append(_trimmed(node, np.transpose(wide, to_last(wide.ndim)), value))
            else:
                return [v.plain(node.graph) for v in values], False
    return out, True


def _trimmed(node: Node, array: Any, value: Value) -> Tensor:
    """A constant operand without leading axes of size 1: a bias stays a vector."""
    while array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    return node.constant(np.ascontiguousarray(array), value.tensor.dtype)


@handles(*UNARY)
def unary(node: Node) -> Any:
    value = node.value(0)
    kind = value.tensor.dtype
    op = UNARY[node.proto.op_type]
    if value.shifted or not (kind.is_floating or kind.is_bool or op in ("abs", "neg", "sign")):
        return NotImplemented
    return Value(node.main(op, value.tensor), last=value.last)


@handles(*BINARY)
def binary(node: Node) -> Any:
    values = [node.value(0), node.value(1)]
    kind = values[0].tensor.dtype
    op = BINARY[node.proto.op_type]
    if "broadcast" in node.attrs and node.attr("axis") is not None and node.version < 7:
        return _old_broadcast(node, op)
    logical = op.startswith("logical")
    if any(v.shifted for v in values) or kind.numpy == np.object_:
        return NotImplemented
    if kind.is_bool != logical and op not in ("equal",):
        return NotImplemented
    if op == "div" and not kind.is_floating:  # the standard truncates
        op = "truncatediv"
    tensors, last = alike(node, *values)
    return Value(node.main(op, *tensors), last=last)


def _old_broadcast(node: Node, op: str) -> Any:
    """Before version 7 an axis said where the second operand's axes lie in the first."""
    x, y = node.x(0), node.x(1)
    rank = len(x.shape)
    axis = node.attr("axis") % rank
    sizes = [1] * rank
    for offset, size in enumerate(y.shape.sizes()):
        sizes[axis + offset] = size
    return node.main(op, x, node.make("reshape", y, np.asarray(sizes, np.int64)))


@handles("Sum", "Max", "Min", "Mean")
def variadic(node: Node) -> Any:
    values = [node.value(i) for i in range(len(node))]
    kind = values[0].tensor.dtype
    if any(v.shifted for v in values):
        return NotImplemented
    tensors, last = alike(node, *values)
    op = {"Max": "maximum", "Min": "minimum"}.get(node.proto.op_type, "add")
    if op != "add" and kind.is_floating and kind.size < 2:
        return NotImplemented
    total = tensors[0]
    if len(tensors) == 1:
        total = node.main("identity", total)
    for index, tensor in enumerate(tensors[1:], 2):
        final = index == len(tensors) and node.proto.op_type != "Mean"
        total = (node.main if final else node.make)(op, total, tensor)
    if node.proto.op_type == "Mean":
        total = node.main("div", total, node.constant(len(tensors), total.dtype))
    return Value(total, last=last)


@handles("Identity")
def identity(node: Node) -> Any:
    value = node.value(0)
    if value.type is not None:
        return value
    out = node.main("identity", value.tensor)
    return Value(out, value.last, value.shifted, value.codes)


@handles("Dropout")
def dropout(node: Node) -> Any:
    value = node.value(0)
    if node.version >= 12 and node.has(2):
        training = node.const(2)
        if training is None or training.any():
            return NotImplemented
    if isinstance(value, Flat) and node.outputs == 1:
        return value
    out = Value(node.main("identity", value.tensor), value.last, value.shifted, value.codes)
    if node.outputs == 1:
        return out
    # the mask; before version 10 it had the type of the values
    ones = node.make("ones_like", value.tensor)
    return [out, Value(ones if node.version < 10 else node.to(ones, bool_), last=value.last)]


@handles("Clip")
def clip(node: Node) -> Any:
    value = node.value(0)
    bounds = []
    for index, name in ((1, "min"), (2, "max")):
        given = node.attrs.get(name)
        if given is None and node.has(index):
            given = node.const(index)
            if given is None:
                return NotImplemented
        bounds.append(None if given is None else np.asarray(given).reshape(()))
    low, high = bounds
    kind = value.tensor.dtype
    if value.shifted or not kind.is_floating:
        return NotImplemented
    if low is not None and float(low) == 0.0:
        if high is not None and float(high) == 6.0:
            return Value(node.main("relu6", value.tensor), last=value.last)
        out = (node.main if high is None else node.make)("relu", value.tensor)
        if high is not None:
            out = node.main("minimum", out, node.constant(high, kind))
        return Value(out, last=value.last)
    out = value.tensor
    if low is not None:
        op = node.main if high is None else node.make
        out = op("maximum", out, node.constant(low, kind))
    if high is not None:
        out = node.main("minimum", out, node.constant(high, kind))
    if low is None and high is None:
        out = node.main("identity", out)
    return Value(out, last=value.last)


@handles("Cast")
def cast(node: Node) -> Any:
    value = node.value(0)
    kind, want = value.tensor.dtype, element_type(int(node.attr("to")))
    plain = {"float32", "float64", "float16", "int8", "int16", "int32", "int64", "bool", "uint8"}
    if value.shifted or not {kind.name, want.name} <= plain:
        return NotImplemented
    if kind.is_floating and want.is_integer and want.size < 4:
        return NotImplemented
    return Value(node.main("cast", value.tensor, dtype=want), last=value.last)


@handles("PRelu")
def prelu(node: Node) -> Any:
    value, slope = node.value(0), node.value(1)
    if not value.tensor.dtype.is_floating:
        return NotImplemented
    if node.version < 7 and slope.rank == 1 and (value.rank or 0) > 2:  # one per channel
        wide = node.make("reshape", node.x(1), (-1, *(1,) * ((value.rank or 0) - 2)))
        slope = Value(wide)
    (x, a), last = alike(node, value, slope)
    positive = node.make("greater", x, node.constant(0, x.dtype))
    return Value(node.main("where", positive, x, node.make("mul", x, a)), last=last)


@handles("LeakyRelu")
def leaky_relu(node: Node) -> Any:
    value = node.value(0)
    x = value.tensor
    alpha = node.constant(node.attr("alpha", 0.01), x.dtype)
    positive = node.make("greater_equal", x, node.constant(0, x.dtype))
    return Value(node.main("where", positive, x, node.make("mul", x, alpha)), last=value.last)


@handles("Elu")
def elu(node: Node) -> Any:
    value = node.value(0)
    if node.attr("alpha", 1.0) != 1.0:
        return NotImplemented
    return Value(node.main("elu", value.tensor), last=value.last)


@handles("HardSigmoid", "HardSwish")
def hard(node: Node) -> Any:
    value = node.value(0)
    x = value.tensor
    swish = node.proto.op_type == "HardSwish"
    alpha = 1 / 6 if swish else node.attr("alpha", 0.2)
    beta = 0.5 if swish else node.attr("beta", 0.5)
    line = node.make(
        "add", node.make("mul", x, node.constant(alpha, x.dtype)), node.constant(beta, x.dtype)
    )
    low = node.make("maximum", line, node.constant(0, x.dtype))
    gate = (node.make if swish else node.main)("minimum", low, node.constant(1, x.dtype))
    return Value(node.main("mul", x, gate) if swish else gate, last=value.last)


@handles("Gelu")
def gelu(node: Node) -> Any:
    value = node.value(0)
    how = node.attr("approximate", "none") == "tanh"
    return Value(node.main("gelu", value.tensor, approximate=how), last=value.last)


@handles("Where")
def where(node: Node) -> Any:
    if node.value(1).tensor.dtype.numpy == np.object_ or node.last:
        return NotImplemented
    if node.value(0).tensor.dtype is not bool_:
        return NotImplemented
    return node.main("where", node.x(0), node.x(1), node.x(2))
