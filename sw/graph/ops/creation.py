"""Tensors made from a size or from another's shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sw.graph.build import apply, constant_shape, constant_value, register_op
from sw.graph.dtypes import DType, as_dtype, float32
from sw.graph.errors import DTypeError, InvalidArgumentError, ShapeError
from sw.graph.ops.basic import constant
from sw.graph.registry import NOT_DIFFERENTIABLE, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Operators, Tensor


def _fill_type(inputs: tuple[Tensor, ...]) -> TensorType:
    dims, value = inputs
    if value.shape.rank not in (None, 0):
        raise ShapeError(f"the value must be a scalar, not of shape {value.shape}")
    if not dims.dtype.is_integer:
        raise DTypeError(f"the sizes must be integers, not {dims.dtype}")
    return TensorType(value.dtype, constant_shape(dims))


def _like_type(inputs: tuple[Tensor, ...], dtype: DType | None) -> TensorType:
    return TensorType(dtype or inputs[0].dtype, inputs[0].shape)


def _like(value: int) -> Any:
    def kernel(xp: Any, x: Any, dtype: DType | None) -> Any:
        return xp.full(np.shape(x), value, dtype=dtype.numpy if dtype else x.dtype)

    return kernel


def _range_type(inputs: tuple[Tensor, ...]) -> TensorType:
    for tensor in inputs:
        if tensor.shape.rank not in (None, 0):
            raise ShapeError("start, limit and delta must be scalars")
    values = [constant_value(t) for t in inputs]
    size = None
    if values[0] is not None and values[1] is not None and values[2] is not None:
        start, limit, delta = (v.item() for v in values if v is not None)
        if delta == 0:
            raise InvalidArgumentError("delta must not be 0")
        size = max(0, math.ceil((limit - start) / delta))
    return TensorType(inputs[0].dtype, Shape((size,)))


register_op(
    "fill",
    kernel=lambda xp, dims, value: xp.full(tuple(int(d) for d in dims), value, dtype=value.dtype),
    infer=_fill_type,
    gradient=lambda op, g: [None, apply("reduce_sum", g, axis=None, keepdims=False)],
    host_only=True,
    doc="A tensor of sizes inputs[0] filled with the scalar inputs[1].",
)
for _name, _value in (("zeros_like", 0), ("ones_like", 1)):
    register_op(
        _name,
        kernel=_like(_value),
        infer=_like_type,
        gradient=NOT_DIFFERENTIABLE,
        attrs={"dtype": None},
        doc=f"{_value}s in the shape of its input.",
    )
# zeros in the shape of a variable's value, whose shape may be unknown until it runs
register_op(
    "zeros_of_variable",
    kernel=lambda xp, state, handle: np.zeros_like(state.container.read(handle)),
    infer=lambda inputs: TensorType(
        inputs[0].op.attrs["value_dtype"], Shape(inputs[0].op.attrs["shape"])
    ),
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
    host_only=True,
    doc="Zeros in the shape of the variable's value.",
)
register_op(
    "range",
    kernel=lambda xp, start, limit, delta: xp.arange(
        start.item(), limit.item(), delta.item(), dtype=start.dtype
    ),
    infer=_range_type,
    gradient=NOT_DIFFERENTIABLE,
    share_dtype=True,
    host_only=True,
    doc="start, start + delta, ... below limit.",
)


def fill(dims: Any, value: Any, name: str | None = None) -> Tensor:
    """A tensor of sizes `dims` filled with the scalar `value`."""
    out: Tensor = apply("fill", sizes_vector(dims), value, name=name)
    return out


def zeros(shape: Any, dtype: Any = float32, name: str | None = None) -> Tensor:
    """Zeros; a constant when the shape is static."""
    return _filled(shape, 0, dtype, name or "zeros")


def ones(shape: Any, dtype: Any = float32, name: str | None = None) -> Tensor:
    """Ones; a constant when the shape is static."""
    return _filled(shape, 1, dtype, name or "ones")


def zeros_like(tensor: Any, dtype: Any = None, name: str | None = None) -> Tensor:
    """Zeros in the shape of `tensor`."""
    kind = None if dtype is None else as_dtype(dtype)
    out: Tensor = apply("zeros_like", tensor, name=name, dtype=kind)
    return out


def ones_like(tensor: Any, dtype: Any = None, name: str | None = None) -> Tensor:
    """Ones in the shape of `tensor`."""
    kind = None if dtype is None else as_dtype(dtype)
    out: Tensor = apply("ones_like", tensor, name=name, dtype=kind)
    return out


def range_(
    start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str | None = None
) -> Tensor:
    """`start`, `start + delta`, ... up to but not including `limit`; `range(n)` counts from 0."""
    if limit is None:
        start, limit = 0, start
    given = [start, limit, delta]
    if dtype is None:
        kinds = [v._operand().dtype for v in given if isinstance(v, Operators)]
        plain = np.result_type(*(np.asarray(v) for v in given if not isinstance(v, Operators)), 0)
        dtype = kinds[0] if kinds else as_dtype("float32" if plain.kind == "f" else "int32")
    kind = as_dtype(dtype)
    values = [v if isinstance(v, Operators) else constant(v, kind) for v in given]
    out: Tensor = apply("range", *values, name=name)
    return out


def _filled(shape: Any, value: int, dtype: Any, name: str) -> Tensor:
    kind = as_dtype(dtype)
    sizes = sizes_vector(shape)
    if isinstance(sizes, Operators):
        out: Tensor = apply("fill", sizes, np.asarray(value, kind.numpy), name=name)
        return out
    return constant(np.full(tuple(sizes), value, kind.numpy), kind, name=name)


def sizes_vector(shape: Any) -> Any:
    """A static shape as an int32 vector; a dynamic one as the tensor that it is."""
    if isinstance(shape, Operators):
        return shape
    if isinstance(shape, (list, tuple)) and any(isinstance(s, Operators) for s in shape):
        return apply("stack", *shape, axis=0)
    return np.asarray(Shape(shape).sizes(), np.int32)
