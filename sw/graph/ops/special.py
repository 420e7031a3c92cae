"""Special functions of several numbers, through SciPy: incomplete gamma and beta functions,
polygamma, Hurwitz zeta, logarithm of the beta function."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.errors import DTypeError
from sw.graph.ops.arithmetic import binary
from sw.graph.ops.helpers import broadcast_type, unbroadcast
from sw.graph.registry import TensorType
from sw.graph.tensor import Tensor


def _type(inputs: tuple[Tensor, ...]) -> TensorType:
    if not inputs[0].dtype.is_floating:
        raise DTypeError(f"floating-point values are needed, not {inputs[0].dtype}")
    return broadcast_type(inputs)


def _kernel(function: str) -> Any:
    def kernel(xp: Any, *inputs: Any) -> Any:
        special = importlib.import_module("scipy.special")  # half a second that few users need
        wide = [np.asarray(x, np.float64) for x in inputs]
        return np.asarray(getattr(special, function)(*wide)).astype(inputs[0].dtype)

    return kernel


def _gamma_density(a: Tensor, x: Tensor) -> Tensor:
    """d/dx igamma(a, x) = x^(a-1) e^-x / gamma(a)."""
    out: Tensor = apply("exp", (a - 1.0) * apply("log", x) - x - apply("lgamma", a))
    return out


def _betainc_grad(op: Any, g: Tensor) -> list[Any]:
    a, b, x = op.inputs
    log_beta = apply("lgamma", a) + apply("lgamma", b) - apply("lgamma", a + b)
    density = apply("exp", (a - 1.0) * apply("log", x) + (b - 1.0) * apply("log1p", -x) - log_beta)
    return [None, None, unbroadcast(g * density, x)]


def _register(name: str, function: str, gradient: Any, doc: str) -> None:
    register_op(
        name,
        kernel=_kernel(function),
        infer=_type,
        gradient=gradient,
        share_dtype=True,
        host_only=True,
        doc=doc,
    )


_register(
    "igamma",
    "gammainc",
    lambda op, g: [None, unbroadcast(g * _gamma_density(*op.inputs), op.inputs[1])],
    "Lower regularised incomplete gamma function of a and x; differentiable in x.",
)
_register(
    "igammac",
    "gammaincc",
    lambda op, g: [None, unbroadcast(-g * _gamma_density(*op.inputs), op.inputs[1])],
    "Upper regularised incomplete gamma function of a and x; differentiable in x.",
)
_register(
    "betainc",
    "betainc",
    _betainc_grad,
    "Regularised incomplete beta function of a, b and x; differentiable in x.",
)
_register(
    "zeta",
    "zeta",
    lambda op, g: [
        None,
        unbroadcast(-g * op.inputs[0] * apply("zeta", op.inputs[0] + 1.0, op.inputs[1]),
                    op.inputs[1]),
    ],
    "The Hurwitz zeta function of x and q; differentiable in q.",
)  # fmt: skip


def _polygamma(xp: Any, order: Any, x: Any) -> Any:
    special = importlib.import_module("scipy.special")
    n = np.asarray(order, np.float64).astype(np.int64)
    return np.asarray(special.polygamma(n, np.asarray(x, np.float64))).astype(x.dtype)


register_op(
    "polygamma",
    kernel=_polygamma,
    infer=_type,
    gradient=lambda op, g: [
        None,
        unbroadcast(g * apply("polygamma", op.inputs[0] + 1.0, op.inputs[1]), op.inputs[1]),
    ],
    share_dtype=True,
    host_only=True,
    doc="The derivative of order inputs[0] of digamma, at inputs[1].",
)


def igamma(a: Any, x: Any, name: str | None = None) -> Tensor:
    """The lower regularised incomplete gamma function P(a, x)."""
    return binary("igamma", a, x, name)


def igammac(a: Any, x: Any, name: str | None = None) -> Tensor:
    """The upper regularised incomplete gamma function Q(a, x) = 1 - P(a, x)."""
    return binary("igammac", a, x, name)


def zeta(x: Any, q: Any, name: str | None = None) -> Tensor:
    """The sum of (q + n)^-x over n >= 0."""
    return binary("zeta", x, q, name)


def polygamma(a: Any, x: Any, name: str | None = None) -> Tensor:
    """The derivative of order `a` (whole numbers as floats) of digamma at `x`."""
    return binary("polygamma", a, x, name)


def betainc(a: Any, b: Any, x: Any, name: str | None = None) -> Tensor:
    """The regularised incomplete beta function I_x(a, b)."""
    out: Tensor = graph_of((a, b, x)).apply("betainc", a, b, x, name=name)
    return out


def lbeta(x: Any, name: str = "lbeta") -> Tensor:
    """The logarithm of the beta function of each row: sum of lgamma(x) less lgamma of the sum."""
    graph = graph_of((x,))
    with graph.name_scope(name):
        value = graph.convert(x)
        total = apply("reduce_sum", value, axis=(-1,), keepdims=False)
        parts = apply("reduce_sum", apply("lgamma", value), axis=(-1,), keepdims=False)
        out: Tensor = parts - apply("lgamma", total)
        return out
