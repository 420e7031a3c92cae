"""Arithmetic of element types that our own ops leave out, and operators that they lack."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from sw.graph.dtypes import as_dtype
from sw.graph.onnx.registry import kernel
from sw.graph.ops.random import generator

Array = Any


def _binary(operator: str, function: Any) -> None:
    def run(a: Array, b: Array, *, axis: Any = None, broadcast: int = 0) -> Array:
        return function(np.asarray(a), np.asarray(b))

    kernel(operator)(run)


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind in "iu":  # towards zero
        quotient = a // b
        return (quotient + ((a % b != 0) & ((a < 0) != (b < 0)))).astype(a.dtype)
    return (a / b).astype(a.dtype)


for _name, _function in {
    "Add": lambda a, b: (a + b).astype(a.dtype),
    "Sub": lambda a, b: (a - b).astype(a.dtype),
    "Mul": lambda a, b: (a * b).astype(a.dtype),
    "Div": _divide,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Xor": np.logical_xor,
    "Equal": lambda a, b: np.asarray(a == b, np.bool_),
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "BitwiseAnd": np.bitwise_and,
    "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor,
}.items():
    _binary(_name, _function)


@kernel("BitwiseNot")
def bitwise_not(x: Array) -> Array:
    return np.bitwise_not(x)


@kernel("BitShift")
def bit_shift(a: Array, b: Array, *, direction: str) -> Array:
    # NumPy leaves shifts by the width or more open; here only copies of the sign are left
    bits = a.dtype.itemsize * 8
    shift = np.minimum(b, bits - 1).astype(a.dtype)
    out = np.left_shift(a, shift) if direction == "LEFT" else np.right_shift(a, shift)
    sign = a < 0 if direction == "RIGHT" else False
    return np.where(b >= bits, np.where(sign, -1, 0).astype(a.dtype), out)


@kernel("Pow")
def power(a: Array, b: Array) -> Array:
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind in "iu" and (b.dtype.kind not in "iu" or np.any(b < 0)):
        return np.power(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype)
    return np.power(a, b.astype(a.dtype) if b.dtype.kind == a.dtype.kind else b).astype(a.dtype)


@kernel("Mod")
def modulo(a: Array, b: Array, *, fmod: int = 0) -> Array:
    a, b = np.asarray(a), np.asarray(b)
    return (np.fmod(a, b) if fmod else np.mod(a, b)).astype(a.dtype)


@kernel("Max")
def maximum(*values: Array) -> Array:
    return functools.reduce(np.maximum, values)


@kernel("Min")
def minimum(*values: Array) -> Array:
    return functools.reduce(np.minimum, values)


@kernel("Sum")
def total(*values: Array) -> Array:
    return functools.reduce(np.add, values).astype(values[0].dtype)


@kernel("Mean")
def mean(*values: Array) -> Array:
    return (functools.reduce(np.add, values) / len(values)).astype(values[0].dtype)


def _unary(operator: str, function: Any) -> None:
    def run(x: Array) -> Array:
        x = np.asarray(x)
        return np.asarray(function(x)).astype(x.dtype)

    kernel(operator)(run)


for _name, _function in {
    "Abs": np.abs,
    "Neg": np.negative,
    "Sign": np.sign,
    "Relu": lambda x: np.maximum(x, np.zeros((), x.dtype)),
    "Identity": lambda x: x,
    "Not": np.logical_not,
}.items():
    _unary(_name, _function)


@kernel("IsNaN")
def is_nan(x: Array) -> Array:
    x = np.asarray(x)
    return np.isnan(x if x.dtype.kind == "f" else x.astype(np.float32))


@kernel("IsInf")
def is_inf(x: Array, *, detect_negative: int = 1, detect_positive: int = 1) -> Array:
    x = np.asarray(x)
    x = x if x.dtype.kind == "f" else x.astype(np.float32)
    found = np.zeros(x.shape, np.bool_)
    if detect_negative:
        found |= np.isneginf(x)
    if detect_positive:
        found |= np.isposinf(x)
    return found


@kernel("Clip")
def clip(
    x: Array, low: Array = None, high: Array = None, *, min: Any = None, max: Any = None
) -> Array:
    x = np.asarray(x)
    low = min if low is None else low
    high = max if high is None else high
    # the lower bound first: where the bounds cross, the upper one wins
    if low is not None:
        x = np.maximum(x, np.asarray(low, x.dtype))
    if high is not None:
        x = np.minimum(x, np.asarray(high, x.dtype))
    return x


@kernel("Elu")
def elu(x: Array, *, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))).astype(x.dtype)


@kernel("Shrink")
def shrink(x: Array, *, bias: float = 0.0, lambd: float = 0.5) -> Array:
    low, high = x < -lambd, x > lambd
    return np.where(low, x + bias, np.where(high, x - bias, 0)).astype(x.dtype)


@kernel("PRelu")
def prelu(x: Array, slope: Array) -> Array:
    return np.where(x > 0, x, x * slope).astype(x.dtype)


@kernel("Where")
def where(condition: Array, x: Array, y: Array) -> Array:
    return np.where(condition, x, y)


@kernel("MatMul")
def matmul(a: Array, b: Array) -> Array:
    if as_dtype(a.dtype).is_floating and a.dtype.itemsize < 4:
        return np.matmul(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype)
    return np.matmul(a, b)


@kernel("Gemm")
def gemm(
    a: Array,
    b: Array,
    c: Array = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 (the standard's name)
    transB: int = 0,  # noqa: N803 (the standard's name)
    broadcast: int = 0,
) -> Array:
    product = matmul(a.T if transA else a, b.T if transB else b)
    out = product * np.asarray(alpha, a.dtype) if a.dtype.kind == "f" else product * int(alpha)
    if c is not None:
        out = out + (c * np.asarray(beta, a.dtype) if a.dtype.kind == "f" else c * int(beta))
    return out.astype(a.dtype)


@kernel("Dropout", stateful=True)
def dropout(
    state: Any,
    x: Array,
    ratio: Array = None,
    training: Array = None,
    *,
    seed: Any = None,
    is_test: int = 1,
    types: Any,
) -> Any:
    """Inference unless `training`; the mask says which elements stay."""
    rate = 0.5 if ratio is None else float(np.reshape(ratio, ()))
    keep = np.ones(x.shape, np.bool_)
    if training is not None and bool(np.reshape(training, ())) and rate > 0:
        # a given seed means NumPy's own generator, so that the mask can be told beforehand
        draw = generator(state, (None, None)) if seed is None else np.random.RandomState(seed)
        keep = draw.uniform(size=x.shape) >= rate
        out = np.where(keep, x / np.asarray(1 - rate, x.dtype), np.zeros((), x.dtype))
    else:
        out = x
    out = np.asarray(out, x.dtype)
    return (out, keep) if len(types) > 1 else out
