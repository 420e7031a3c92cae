"""Gathering and scattering slices by multi-dimensional indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, constant_shape, register_op
from sw.graph.errors import DTypeError, ShapeError
from sw.graph.ops.creation import sizes_vector
from sw.graph.ops.helpers import shape_of
from sw.graph.registry import TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor


def places_in(indices: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """The last axis of `indices` as a NumPy index into an array of `shape`; checked."""
    depth = indices.shape[-1]
    limits = np.asarray(shape[:depth])
    outside = ((indices < 0) | (indices >= limits)).any(-1)
    if outside.any():
        bad = [int(i) for i in indices[outside].reshape(-1, depth)[0]]
        raise IndexError(f"index {bad} is outside shape {list(shape)}")
    return tuple(np.moveaxis(indices, -1, 0))


def _gather(xp: Any, params: Any, indices: Any) -> Any:
    return params[places_in(np.asarray(indices), params.shape)]


def _gather_type(inputs: tuple[Tensor, ...]) -> TensorType:
    params, indices = inputs
    if not indices.dtype.is_integer:
        raise DTypeError(f"indices must be integers, not {indices.dtype}")
    if params.shape.dims is None or indices.shape.dims is None:
        return TensorType(params.dtype, Shape(None))
    if not indices.shape.dims:
        raise ShapeError("indices need at least one axis")
    depth = indices.shape.dims[-1]
    if depth is None:
        return TensorType(params.dtype, Shape(None))
    if depth > len(params.shape.dims):
        raise ShapeError(f"indices of {depth} numbers for a tensor of shape {params.shape}")
    return TensorType(params.dtype, Shape((*indices.shape.dims[:-1], *params.shape.dims[depth:])))


def _scatter(xp: Any, indices: Any, updates: Any, shape: Any) -> Any:
    out = np.zeros(tuple(int(s) for s in shape), updates.dtype)
    np.add.at(out, places_in(np.asarray(indices), out.shape), updates)
    return out


def _scatter_type(inputs: tuple[Tensor, ...]) -> TensorType:
    indices, updates, sizes = inputs
    if not indices.dtype.is_integer:
        raise DTypeError(f"indices must be integers, not {indices.dtype}")
    shape = constant_shape(sizes)
    if indices.shape.dims and shape.dims is not None and indices.shape.dims[-1] is not None:
        depth = indices.shape.dims[-1]
        want = Shape((*indices.shape.dims[:-1], *shape.dims[depth:]))
        if not want.compatible(updates.shape):
            raise ShapeError(f"the updates have shape {updates.shape}, not {want}")
    return TensorType(updates.dtype, shape)


register_op(
    "scatter_nd",
    kernel=_scatter,
    infer=_scatter_type,
    gradient=lambda op, g: [None, apply("gather_nd", g, op.inputs[0]), None],
    host_only=True,
    doc="Zeros of shape inputs[2] to which inputs[1] is added at the places inputs[0].",
)
register_op(
    "gather_nd",
    kernel=_gather,
    infer=_gather_type,
    gradient=lambda op, g: [apply("scatter_nd", op.inputs[1], g, shape_of(op.inputs[0])), None],
    host_only=True,
    doc="The slices of inputs[0] at the places that the last axis of inputs[1] names.",
)


def gather_nd(params: Any, indices: Any, name: str | None = None) -> Tensor:
    """`params[i, j, ...]` for each row (i, j, ...) of `indices` [..., depth]."""
    out: Tensor = apply("gather_nd", params, indices, name=name)
    return out


def scatter_nd(indices: Any, updates: Any, shape: Any, name: str | None = None) -> Tensor:
    """Zeros of `shape` with `updates` added at `indices` (repeated ones add up)."""
    out: Tensor = apply("scatter_nd", indices, updates, sizes_vector(shape), name=name)
    return out
