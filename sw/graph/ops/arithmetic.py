"""Arithmetic: binary operators that broadcast, and unary functions of numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.dtypes import as_dtype, to_array
from sw.graph.errors import DTypeError
from sw.graph.ops.helpers import (
    broadcast_type,
    conj,
    floating_type,
    numeric_type,
    smooth_type,
    unbroadcast,
)
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.tensor import Operators, Tensor


def _div(xp: Any, x: Any, y: Any) -> Any:
    if x.dtype.kind in "iu":  # as TensorFlow's div: integers divide towards minus infinity
        return xp.floor_divide(x, y)
    return x / y


def _guarded_log(x: Tensor) -> Tensor:
    # d/dy x**y = x**y log x, taken as 0 where x <= 0 (the TensorFlow convention)
    safe = x if x.dtype.is_complex else apply("where", x > 0, x, apply("ones_like", x))
    out: Tensor = apply("log", safe)
    return out


def _pow_grad(op: Any, g: Tensor) -> list[Tensor]:
    x, y = op.inputs
    gx = g * conj(y * apply("pow", x, y - 1))
    gy = g * conj(op.outputs[0] * _guarded_log(x))
    return [unbroadcast(gx, x), unbroadcast(gy, y)]


def _select_grad(better: str, other: str) -> Any:
    # ties give the whole gradient to the first operand
    def gradient(op: Any, g: Tensor) -> list[Tensor]:
        x, y = op.inputs
        zero = apply("zeros_like", g)
        first = apply(better, x, y)
        return [
            unbroadcast(apply("where", first, g, zero), x),
            unbroadcast(apply("where", apply("logical_not", first), g, zero), y),
        ]

    return gradient


def _binary(name: str, kernel: Any, gradient: Any, inline: str | None, doc: str) -> None:
    register_op(
        name,
        kernel=kernel,
        infer=broadcast_type,
        gradient=gradient,
        share_dtype=True,
        inline=inline,
        doc=doc,
    )


_binary(
    "add",
    "add",
    lambda op, g: [unbroadcast(g, op.inputs[0]), unbroadcast(g, op.inputs[1])],
    "{0} + {1}",
    "x + y",
)
_binary(
    "sub",
    "subtract",
    lambda op, g: [unbroadcast(g, op.inputs[0]), unbroadcast(-g, op.inputs[1])],
    "{0} - {1}",
    "x - y",
)
_binary(
    "mul",
    "multiply",
    lambda op, g: [
        unbroadcast(g * conj(op.inputs[1]), op.inputs[0]),
        unbroadcast(g * conj(op.inputs[0]), op.inputs[1]),
    ],
    "{0} * {1}",
    "x * y",
)
_binary(
    "div",
    _div,
    lambda op, g: [
        unbroadcast(g / conj(op.inputs[1]), op.inputs[0]),
        unbroadcast(-g * conj(op.outputs[0]) / conj(op.inputs[1]), op.inputs[1]),
    ],
    None,
    "x / y; integers divide towards minus infinity",
)
_binary("floordiv", "floor_divide", NOT_DIFFERENTIABLE, "{0} // {1}", "x // y")
_binary(
    "mod",
    "remainder",
    lambda op, g: [
        unbroadcast(g, op.inputs[0]),
        unbroadcast(-g * apply("floor", op.inputs[0] / op.inputs[1]), op.inputs[1]),
    ],
    None,
    "x modulo y, with the sign of y",
)
_binary("pow", "power", _pow_grad, None, "x to the power of y")
_binary("maximum", "maximum", _select_grad("greater_equal", "less"), None, "the larger")
_binary("minimum", "minimum", _select_grad("less_equal", "greater"), None, "the smaller")
_binary(
    "squared_difference",
    lambda xp, x, y: xp.square(x - y),
    lambda op, g: [
        unbroadcast(2 * g * conj(op.inputs[0] - op.inputs[1]), op.inputs[0]),
        unbroadcast(-2 * g * conj(op.inputs[0] - op.inputs[1]), op.inputs[1]),
    ],
    None,
    "(x - y)**2",
)


def _unary(
    name: str, kernel: Any, gradient: Any, infer: Any = smooth_type, inline: str | None = None
) -> Any:
    return register_op(
        name,
        kernel=kernel,
        infer=infer,
        gradient=gradient,
        inline=inline,
        doc=f"{name}(x), element by element",
    )


_erf = np.frompyfunc(math.erf, 1, 1)


def erf_kernel(xp: Any, x: Any) -> Any:
    """The error function through the standard library: exact to the last float64 digit or two."""
    return np.asarray(_erf(np.asarray(x, np.float64)), np.float64).astype(x.dtype)


def _abs_type(inputs: tuple[Tensor, ...]) -> TensorType:
    kind = numeric_type(inputs)
    return TensorType(kind.dtype.real_dtype, kind.shape)


def _abs_grad(op: Any, g: Tensor) -> list[Tensor]:
    x = op.inputs[0]
    return [(apply("cast", g, dtype=x.dtype) if x.dtype.is_complex else g) * apply("sign", x)]


neg = _unary("neg", "negative", lambda op, g: [-g], numeric_type, "-{0}")
abs_ = _unary("abs", "abs", _abs_grad, _abs_type)
square = _unary("square", "square", lambda op, g: [2 * g * conj(op.inputs[0])], numeric_type)
sign = _unary("sign", "sign", NOT_DIFFERENTIABLE, numeric_type)
floor = _unary("floor", "floor", NOT_DIFFERENTIABLE, floating_type)
ceil = _unary("ceil", "ceil", NOT_DIFFERENTIABLE, floating_type)
round_ = _unary("round", "rint", NOT_DIFFERENTIABLE, floating_type)
sqrt = _unary("sqrt", "sqrt", lambda op, g: [g * 0.5 / conj(op.outputs[0])])
rsqrt = _unary(
    "rsqrt",
    lambda xp, x: 1 / xp.sqrt(x),
    lambda op, g: [-0.5 * g * conj(op.outputs[0]) / conj(op.inputs[0])],
)
reciprocal = _unary(
    "reciprocal", lambda xp, x: 1 / x, lambda op, g: [-g * apply("square", conj(op.outputs[0]))]
)
exp = _unary("exp", "exp", lambda op, g: [g * conj(op.outputs[0])])
log = _unary("log", "log", lambda op, g: [g / conj(op.inputs[0])])
log1p = _unary("log1p", "log1p", lambda op, g: [g / conj(op.inputs[0] + 1)])
sin = _unary("sin", "sin", lambda op, g: [g * conj(apply("cos", op.inputs[0]))])
cos = _unary("cos", "cos", lambda op, g: [-g * conj(apply("sin", op.inputs[0]))])
erf = _unary(
    "erf",
    erf_kernel,
    lambda op, g: [g * (2 / math.sqrt(math.pi)) * apply("exp", -apply("square", op.inputs[0]))],
    floating_type,
)


def _cast_grad(op: Any, g: Tensor) -> list[Tensor | None]:
    kind = op.inputs[0].dtype
    return [apply("cast", g, dtype=kind) if kind.differentiable else None]


def _cast(xp: Any, x: Any, dtype: Any) -> Any:
    real = x.real if x.dtype.kind == "c" and not dtype.is_complex else x
    return real.astype(dtype.numpy)


register_op(
    "cast",
    kernel=_cast,
    infer=lambda inputs, dtype: TensorType(dtype, inputs[0].shape),
    gradient=_cast_grad,
    attrs={"dtype": REQUIRED},
    doc="Its input as another dtype; of complex numbers the real part as a real one.",
)


def binary(op: str, x: Any, y: Any, name: str | None = None) -> Tensor:
    """A binary op; a number beside a tensor takes the tensor's dtype."""
    if not isinstance(x, Operators) and not isinstance(y, Operators):
        x, y = to_array(x), to_array(y)
        if x.dtype != y.dtype:  # two plain values: NumPy's common type
            common = np.result_type(x, y)
            x, y = x.astype(common), y.astype(common)
    out: Tensor = apply(op, x, y, name=name)
    return out


def _public(op: str) -> Any:
    def function(x: Any, y: Any, name: str | None = None) -> Tensor:
        return binary(op, x, y, name)

    function.__name__ = function.__qualname__ = op
    function.__doc__ = f"`{op}` of x and y, element by element, broadcasting."
    return function


add = _public("add")
subtract = sub = _public("sub")
multiply = mul = _public("mul")
div = _public("div")
floordiv = _public("floordiv")
mod = floormod = _public("mod")
pow_ = _public("pow")
maximum = _public("maximum")
minimum = _public("minimum")
squared_difference = _public("squared_difference")


def divide(x: Any, y: Any, name: str | None = None) -> Tensor:
    """`x / y` as Python divides: integers become float64 (int32 and longer) or float32."""
    x = x if isinstance(x, Operators) else to_array(x, getattr(y, "dtype", None))
    kind = x._operand().dtype if isinstance(x, Operators) else as_dtype(x.dtype)
    if kind.is_integer:
        wide = as_dtype("float64" if kind.size >= 4 else "float32")
        x, y = cast(x, wide), cast(y, wide)
    return binary("div", x, y, name)


truediv = realdiv = divide


def div_no_nan(x: Any, y: Any, name: str | None = None) -> Tensor:
    """`x / y`, 0 where y is 0; no gradient flows there either. Integers as in `divide`."""
    graph = graph_of((x, y))
    with graph.name_scope(name or "div_no_nan"):
        below = graph.convert(y, getattr(x, "dtype", None))
        zero = apply("equal", below, apply("zeros_like", below))
        quotient = divide(x, apply("where", zero, apply("ones_like", below), below))
        out: Tensor = apply("where", zero, apply("zeros_like", quotient), quotient)
        return out


def cast(x: Any, dtype: Any, name: str | None = None) -> Tensor:
    """`x` as `dtype`; floats are cut towards zero to become integers."""
    want = as_dtype(dtype)
    if want.name == "resource":
        raise DTypeError("nothing can be cast to a resource")
    if isinstance(x, Operators) and x._operand().dtype is want:
        return x._operand()
    out: Tensor = apply("cast", x, name=name, dtype=want)
    return out
