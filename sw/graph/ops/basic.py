"""Constants, placeholders, identities and ops that only order others."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.dtypes import DType, as_dtype, to_array
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.graph import get_default_graph
from sw.graph.operation import Operation
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Operators, Tensor


def _const_type(inputs: tuple[Tensor, ...], value: Any) -> TensorType:
    return TensorType(as_dtype(value.dtype), Shape(value.shape))


def _placeholder_type(inputs: tuple[Tensor, ...], dtype: DType, shape: Any) -> TensorType:
    return TensorType(dtype, Shape(shape))


def _default_type(inputs: tuple[Tensor, ...], shape: Any) -> TensorType:
    if not inputs[0].shape.compatible(shape):
        raise ShapeError(f"the default value does not fit shape {Shape(shape)}")
    return TensorType(inputs[0].dtype, Shape(shape))


def _no_output(inputs: tuple[Tensor, ...]) -> list[TensorType]:
    return []


register_op(
    "const",
    kernel=lambda xp, value: xp.asarray(value),
    infer=_const_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"value": REQUIRED},
    host_only=True,
    doc="The array `value`.",
)
register_op(
    "placeholder",
    kernel=None,
    infer=_placeholder_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"dtype": REQUIRED, "shape": None},
    stateful=True,
    host_only=True,
    doc="A value that must be fed.",
)
register_op(
    "placeholder_with_default",
    kernel=lambda xp, x, shape: x,
    infer=_default_type,
    gradient=lambda op, g: [g],
    attrs={"shape": None},
    host_only=True,
    inline="{0}",
    doc="Its input, unless fed.",
)
register_op(
    "identity",
    kernel=lambda xp, x: x,
    gradient=lambda op, g: [g],
    inline="{0}",
    doc="Its input.",
)
register_op(
    "stop_gradient",
    kernel=lambda xp, x: x,
    gradient=NOT_DIFFERENTIABLE,
    inline="{0}",
    doc="Its input, through which no gradient flows.",
)
register_op(
    "no_op",
    kernel=lambda xp: (),
    infer=_no_output,
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
    host_only=True,
    doc="Nothing; carries control dependencies.",
)


def constant(
    value: Any,
    dtype: Any = None,
    shape: Any = None,
    name: str = "Const",
    verify_shape: bool = False,
) -> Tensor:
    """A constant tensor; `shape` reshapes it or repeats its last value to fill, as TensorFlow.

    Raises `ShapeError` when `value` has more elements than `shape`, or, with `verify_shape`,
    another shape.
    """
    array = to_array(value, dtype)
    if shape is not None:
        sizes = Shape(shape).sizes()
        count = int(np.prod(sizes, dtype=np.int64))
        if verify_shape and array.shape != sizes:
            raise ShapeError(f"constant {name!r} has shape {array.shape}, not {sizes}")
        if array.size > count or array.size == 0 and count:
            raise ShapeError(f"constant {name!r}: {array.size} elements do not fill shape {sizes}")
        flat = array.ravel()
        fill = np.full(count - flat.size, flat[-1] if flat.size else 0, array.dtype)
        array = np.concatenate([flat, fill]).reshape(sizes)
    return apply("const", name=name, value=array)


def placeholder(dtype: Any, shape: Any = None, name: str = "Placeholder") -> Tensor:
    """A tensor that every run must feed. Unknown sizes are None."""
    tensor: Tensor = apply("placeholder", name=name, dtype=as_dtype(dtype), shape=Shape(shape))
    return tensor


def placeholder_with_default(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """`input`, unless the run feeds this tensor."""
    tensor: Tensor = apply("placeholder_with_default", input, name=name, shape=Shape(shape))
    return tensor


def identity(input: Any, name: str | None = None) -> Tensor:
    """A new tensor with the value of `input`; carries the active control dependencies."""
    tensor: Tensor = apply("identity", input, name=name)
    return tensor


def stop_gradient(input: Any, name: str | None = None) -> Tensor:
    """`input` as a constant to `gradients`."""
    tensor: Tensor = apply("stop_gradient", input, name=name)
    return tensor


def no_op(name: str | None = None) -> Operation:
    """An operation that does nothing."""
    op: Operation = apply("no_op", name=name)
    return op


def group(*inputs: Any, name: str | None = None) -> Operation:
    """An operation that is done when all of `inputs` (ops, tensors) are."""
    graph = graph_of(inputs) if inputs else get_default_graph()
    with graph.control_dependencies(inputs):
        op: Operation = graph.apply("no_op", name=name or "group_deps")
    return op


def tuple_(tensors: Any, name: str | None = None, control_inputs: Any = None) -> list[Any]:
    """Each tensor, available only when all are; None entries stay None."""
    real = [t for t in tensors if t is not None]
    if not real:
        raise InvalidArgumentError("tuple needs at least one tensor")
    graph = graph_of(t for t in real if isinstance(t, Operators))
    with graph.name_scope(name or "tuple"):
        gate = [t.op for t in real] + list(control_inputs or [])
        with graph.control_dependencies(gate):
            return [None if t is None else graph.apply("identity", t) for t in tensors]
