"""Activation functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.ops.arithmetic import erf_kernel
from sw.graph.ops.helpers import floating_type, numeric_type
from sw.graph.tensor import Tensor


def _sigmoid(xp: Any, x: Any) -> Any:
    if x.dtype.itemsize == 2:  # half types lose all digits of small results in the sum
        return _sigmoid(xp, x.astype(np.float32)).astype(x.dtype)
    # through tanh: no overflow for large |x|, and one pass
    return 0.5 * xp.tanh(0.5 * x) + x.dtype.type(0.5)


def _softplus(xp: Any, x: Any) -> Any:
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


def _gelu(xp: Any, x: Any, approximate: bool) -> Any:
    if approximate:
        inner = x.dtype.type(math.sqrt(2 / math.pi)) * (x + x.dtype.type(0.044715) * x * x * x)
        return x.dtype.type(0.5) * x * (1 + xp.tanh(inner))
    half = x.dtype.type(math.sqrt(0.5))
    return x.dtype.type(0.5) * x * (1 + erf_kernel(xp, x * half))


def _gelu_grad(op: Any, g: Tensor) -> list[Tensor]:
    x = op.inputs[0]
    if op.attrs["approximate"]:
        c = math.sqrt(2 / math.pi)
        t = apply("tanh", c * (x + 0.044715 * x * x * x))
        slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)
    else:
        normal = apply("exp", -0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
        slope = 0.5 * (1 + apply("erf", x * math.sqrt(0.5))) + x * normal
    return [g * slope]


def _step(xp: Any, g: Any, x: Any) -> Any:
    return g * (x > 0)


def _step6(xp: Any, g: Any, x: Any) -> Any:
    return g * ((x > 0) & (x < 6))


register_op(
    "relu_grad",
    kernel=_step,
    gradient=lambda op, g: [apply("relu_grad", g, op.inputs[1]), None],
    doc="g where x > 0, else 0.",
)
register_op(
    "relu6_grad",
    kernel=_step6,
    gradient=lambda op, g: [apply("relu6_grad", g, op.inputs[1]), None],
    doc="g where 0 < x < 6, else 0.",
)


def _activation(name: str, kernel: Any, gradient: Any, infer: Any = floating_type) -> Any:
    return register_op(
        name, kernel=kernel, infer=infer, gradient=gradient, doc=f"{name}(x), element by element."
    )


sigmoid = _activation("sigmoid", _sigmoid, lambda op, g: [g * op.outputs[0] * (1 - op.outputs[0])])
tanh = _activation("tanh", "tanh", lambda op, g: [g * (1 - apply("square", op.outputs[0]))])
relu = _activation(
    "relu",
    lambda xp, x: xp.maximum(x, x.dtype.type(0)),
    lambda op, g: [apply("relu_grad", g, op.outputs[0])],
    numeric_type,
)
relu6 = _activation(
    "relu6",
    lambda xp, x: xp.clip(x, x.dtype.type(0), x.dtype.type(6)),
    lambda op, g: [apply("relu6_grad", g, op.inputs[0])],
    numeric_type,
)
elu = _activation(
    "elu",
    lambda xp, x: xp.where(x > 0, x, xp.expm1(xp.minimum(x, x.dtype.type(0)))),
    lambda op, g: [g * apply("where", op.inputs[0] > 0, apply("ones_like", g), op.outputs[0] + 1)],
)
softplus = _activation("softplus", _softplus, lambda op, g: [g * apply("sigmoid", op.inputs[0])])
softsign = _activation(
    "softsign",
    lambda xp, x: x / (1 + xp.abs(x)),
    lambda op, g: [g / apply("square", 1 + abs(op.inputs[0]))],
)
_gelu_op = register_op(
    "gelu",
    kernel=_gelu,
    infer=floating_type,
    gradient=_gelu_grad,
    attrs={"approximate": False},
    doc="x times the normal distribution function of x (exact, or by tanh).",
)


def gelu(features: Any, approximate: bool = False, name: str | None = None) -> Tensor:
    """Gaussian error linear unit (Hendrycks and Gimpel, 2016)."""
    out: Tensor = _gelu_op(features, approximate=bool(approximate), name=name)
    return out


def leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Tensor:
    """max(x, alpha * x) for 0 <= alpha <= 1."""
    x = features._operand()
    out: Tensor = apply("maximum", x, x * alpha, name=name)
    return out


def log_sigmoid(x: Any, name: str | None = None) -> Tensor:
    """log(sigmoid(x)) = -softplus(-x), without overflow."""
    graph = graph_of((x,))
    with graph.name_scope(name or "LogSigmoid"):
        return -apply("softplus", -graph.convert(x))


def silu(features: Any, beta: Any = 1.0, name: str | None = None) -> Tensor:
    """x * sigmoid(beta * x) (Ramachandran et al., "Searching for activation functions", 2017)."""
    graph = graph_of((features, beta))
    with graph.name_scope(name or "swish"):
        x = graph.convert(features)
        out: Tensor = x * apply("sigmoid", x * graph.convert(beta, x.dtype))
        return out


swish = silu
