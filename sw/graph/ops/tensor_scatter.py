"""A tensor with some of its slices changed: written, added to, subtracted from, or bounded."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.errors import DTypeError, InvalidArgumentError, ShapeError
from sw.graph.ops.scattering import places_in
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor

_CHANGE: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "min": np.minimum, "max": np.maximum,
}  # fmt: skip


def _scatter(xp: Any, x: Any, indices: Any, updates: Any, how: str) -> Any:
    out = np.array(x)
    at = places_in(np.asarray(indices), out.shape)
    if how == "update":
        out[at] = updates
    else:
        _CHANGE[how].at(out, at, updates)
    return out


def _type(inputs: tuple[Tensor, ...], how: str) -> TensorType:
    x, indices, updates = inputs
    if not indices.dtype.is_integer:
        raise DTypeError(f"indices must be integers, not {indices.dtype}")
    if updates.dtype is not x.dtype:
        raise InvalidArgumentError(f"the tensor is {x.dtype}, the updates {updates.dtype}")
    if indices.shape.dims == ():
        raise ShapeError("indices need at least one axis")
    if indices.shape.dims and x.shape.dims is not None:
        depth = indices.shape.dims[-1]
        if depth is not None:
            if depth > len(x.shape.dims):
                raise ShapeError(f"indices of {depth} numbers for a tensor of shape {x.shape}")
            want = Shape((*indices.shape.dims[:-1], *x.shape.dims[depth:]))
            if not want.compatible(updates.shape):
                raise ShapeError(f"the updates have shape {updates.shape}, not {want}")
    return TensorType(x.dtype, x.shape)


def _gradient(op: Any, g: Tensor) -> list[Any]:
    x, indices, updates = op.inputs
    how, taken = op.attrs["how"], apply("gather_nd", g, op.inputs[1])
    if how == "update":
        kept = apply("tensor_scatter", g, indices, apply("zeros_like", taken), how="update")
        return [kept, None, taken]
    if how in ("add", "sub"):
        return [g, None, taken if how == "add" else -taken]
    # the equal ones share the gradient, as TensorFlow has it
    out = op.outputs[0]
    hit = apply("cast", apply("equal", x, out), dtype=x.dtype)
    winner = apply("equal", updates, apply("gather_nd", out, indices))
    winner = apply("cast", winner, dtype=x.dtype)
    ties = apply("tensor_scatter", hit, indices, winner, how="add")
    return [g * hit / ties, None, taken * winner / apply("gather_nd", ties, indices)]


register_op(
    "tensor_scatter",
    kernel=_scatter,
    infer=_type,
    gradient=_gradient,
    attrs={"how": REQUIRED},
    host_only=True,
    doc="inputs[0] with inputs[2] written, added, ... (`how`) at the places inputs[1].",
)


def _public(title: str, how: str, words: str) -> Any:
    def function(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        graph = graph_of((tensor, indices, updates))
        x = graph.convert(tensor)
        new = graph.convert(updates, x.dtype)
        out: Tensor = graph.apply("tensor_scatter", x, indices, new, name=name, how=how)
        return out

    function.__name__ = function.__qualname__ = title
    function.__doc__ = (
        f"`tensor` with `updates` [..., *rest] {words} at the places that the last axis of "
        "`indices` [..., depth] names; outside ones are an error."
    )
    return function


tensor_scatter_nd_update = _public("tensor_scatter_nd_update", "update", "written")
tensor_scatter_nd_add = _public("tensor_scatter_nd_add", "add", "added")
tensor_scatter_nd_sub = _public("tensor_scatter_nd_sub", "sub", "subtracted")
tensor_scatter_nd_min = _public("tensor_scatter_nd_min", "min", "as upper bounds")
tensor_scatter_nd_max = _public("tensor_scatter_nd_max", "max", "as lower bounds")
