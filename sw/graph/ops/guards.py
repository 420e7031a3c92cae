"""Tensors that pass unless they are not what was said of them, and tests of Python values."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from sw.graph.build import apply, constant_value, graph_of, register_op
from sw.graph.dtypes import as_dtype
from sw.graph.errors import InvalidArgumentError
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Operators, Tensor


def _ensure(xp: Any, x: Any, shape: Shape) -> Any:
    if not shape.compatible(np.shape(x)):
        raise InvalidArgumentError(f"the tensor has shape {np.shape(x)}, not {shape}")
    return x


register_op(
    "ensure_shape",
    kernel=_ensure,
    infer=lambda inputs, shape: TensorType(inputs[0].dtype, inputs[0].shape.merge(shape)),
    gradient=lambda op, g: [g],
    attrs={"shape": REQUIRED},
    host_only=True,
    doc="Its input; fails when that has not the shape.",
)
register_op(
    "timestamp",
    kernel=lambda xp, state: np.float64(time.time()),
    infer=lambda inputs: TensorType(as_dtype("float64"), Shape(())),
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
    host_only=True,
    doc="Seconds since 1970, when it runs.",
)


def ensure_shape(x: Any, shape: Any, name: str | None = None) -> Tensor:
    """`x`, statically of `shape` (unknown sizes None); fails when it runs and is not. Raises
    `ShapeError` at once when its static shape contradicts."""
    out: Tensor = apply("ensure_shape", x, name=name, shape=Shape(shape))
    return out


def timestamp(name: str | None = None) -> Tensor:
    """A float64 scalar: the seconds since 1970 when it is computed."""
    out: Tensor = apply("timestamp", name=name)
    return out


def identity_n(input: Any, name: str | None = None) -> list[Tensor]:
    """Each of a list of tensors, for a common name or control dependency."""
    graph = graph_of(input)
    with graph.name_scope(name or "IdentityN"):
        return [graph.apply("identity", t) for t in input]


def is_tensor(x: Any) -> bool:
    """Whether `x` stands for a value of a graph: a tensor, variable or sparse tensor."""
    return isinstance(x, Operators) or hasattr(x, "fetch_parts")


def is_symbolic_tensor(tensor: Any) -> bool:
    """Whether `tensor` is a `Tensor` (every one is symbolic here)."""
    return isinstance(tensor, Tensor)


def get_static_value(tensor: Any, partial: bool = False) -> Any:
    """The array of a constant tensor; None when it is known only when it runs."""
    if partial:
        raise InvalidArgumentError("partly known values are not given")
    return constant_value(tensor)
