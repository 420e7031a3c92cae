"""Further functions of numbers: trigonometric, hyperbolic, gamma and error functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sw.graph.build import apply, register_op
from sw.graph.ops.arithmetic import binary
from sw.graph.ops.helpers import broadcast_type, floating_type, unbroadcast
from sw.graph.registry import NOT_DIFFERENTIABLE
from sw.graph.tensor import Tensor


def _unary(name: str, kernel: Any, gradient: Any) -> Any:
    return register_op(
        name,
        kernel=kernel,
        infer=floating_type,
        gradient=gradient,
        host_only=True,
        doc=f"{name}(x), element by element.",
    )


def _square(x: Any) -> Any:
    return apply("square", x)


def _scalar(function: Any) -> Any:
    """A function of one Python float as a kernel, computed in float64."""
    vector = np.frompyfunc(function, 1, 1)

    def kernel(xp: Any, x: Any) -> Any:
        return np.asarray(vector(np.asarray(x, np.float64)), np.float64).astype(x.dtype)

    return kernel


def _lgamma(x: float) -> float:
    if math.isnan(x):
        return x
    if math.isinf(x) or x <= 0 and x == math.floor(x):
        return math.inf
    return math.lgamma(x)


# B_2k / 2k, the coefficients of the asymptotic series (Abramowitz and Stegun, 6.3.18)
_SERIES = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)


def _digamma(x: float) -> float:
    if math.isnan(x) or x == math.inf:
        return x
    if x <= 0:
        if x == math.floor(x):
            return math.nan
        return _digamma(1 - x) - math.pi / math.tan(math.pi * x)  # reflection
    total = 0.0
    while x < 10:  # recurrence up to where the series has float64's accuracy
        total -= 1 / x
        x += 1
    inverse = 1 / (x * x)
    series = 0.0
    for term in reversed(_SERIES):
        series = inverse * (term + series)
    return total + math.log(x) - 0.5 / x - series


def _polygamma1(x: float) -> float:
    """The derivative of digamma."""
    if x <= 0:
        if x == math.floor(x):
            return math.inf
        return (math.pi / math.sin(math.pi * x)) ** 2 - _polygamma1(1 - x)
    total = 0.0
    while x < 10:
        total += 1 / (x * x)
        x += 1
    inverse = 1 / (x * x)
    # the derivative of the series above, term by term
    series = sum(2 * (k + 1) * c * inverse ** (k + 1) / x for k, c in enumerate(_SERIES))
    return total + 1 / x + 0.5 * inverse + series


tan = _unary("tan", "tan", lambda op, g: [g * (1 + _square(op.outputs[0]))])
asin = _unary("asin", "arcsin", lambda op, g: [g * apply("rsqrt", 1 - _square(op.inputs[0]))])
acos = _unary("acos", "arccos", lambda op, g: [-g * apply("rsqrt", 1 - _square(op.inputs[0]))])
atan = _unary("atan", "arctan", lambda op, g: [g / (1 + _square(op.inputs[0]))])
sinh = _unary("sinh", "sinh", lambda op, g: [g * apply("cosh", op.inputs[0])])
cosh = _unary("cosh", "cosh", lambda op, g: [g * apply("sinh", op.inputs[0])])
asinh = _unary("asinh", "arcsinh", lambda op, g: [g * apply("rsqrt", 1 + _square(op.inputs[0]))])
acosh = _unary("acosh", "arccosh", lambda op, g: [g * apply("rsqrt", _square(op.inputs[0]) - 1)])
atanh = _unary("atanh", "arctanh", lambda op, g: [g / (1 - _square(op.inputs[0]))])
expm1 = _unary("expm1", "expm1", lambda op, g: [g * (op.outputs[0] + 1)])
trigamma = _unary("trigamma", _scalar(_polygamma1), None)
digamma = _unary("digamma", _scalar(_digamma), lambda op, g: [g * apply("trigamma", op.inputs[0])])
lgamma = _unary("lgamma", _scalar(_lgamma), lambda op, g: [g * apply("digamma", op.inputs[0])])
erfc = _unary(
    "erfc",
    _scalar(math.erfc),
    lambda op, g: [-g * (2 / math.sqrt(math.pi)) * apply("exp", -_square(op.inputs[0]))],
)
rint = _unary("rint", "rint", NOT_DIFFERENTIABLE)


def _atan2_grad(op: Any, g: Tensor) -> list[Tensor]:
    y, x = op.inputs
    scaled = g / (_square(x) + _square(y))
    return [unbroadcast(x * scaled, y), unbroadcast(-y * scaled, x)]


register_op(
    "atan2",
    kernel="arctan2",
    infer=broadcast_type,
    gradient=_atan2_grad,
    share_dtype=True,
    host_only=True,
    doc="The angle of the point (x, y): inputs y, x.",
)
register_op(
    "truncatediv",
    kernel=lambda xp, x, y: (xp.sign(x) * xp.sign(y) * (xp.abs(x) // xp.abs(y))).astype(x.dtype),
    infer=broadcast_type,
    gradient=NOT_DIFFERENTIABLE,
    share_dtype=True,
    host_only=True,
    doc="x / y towards zero.",
)
register_op(
    "truncatemod",
    kernel="fmod",
    infer=broadcast_type,
    gradient=NOT_DIFFERENTIABLE,
    share_dtype=True,
    host_only=True,
    doc="The remainder of the division towards zero, with the sign of x.",
)


def atan2(y: Any, x: Any, name: str | None = None) -> Tensor:
    """The angle in (-pi, pi] of the point (x, y)."""
    return binary("atan2", y, x, name)


def truncatediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y, cut towards zero."""
    return binary("truncatediv", x, y, name)


def truncatemod(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The remainder of `truncatediv`."""
    return binary("truncatemod", x, y, name)
