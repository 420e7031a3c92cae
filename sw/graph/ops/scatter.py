"""Writing some rows of a variable."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import register_op
from sw.graph.errors import DTypeError, ShapeError
from sw.graph.ops.ordering import batch_places
from sw.graph.ops.scattering import places_in
from sw.graph.ops.training import check_rows
from sw.graph.ops.variables import Variable, value_type
from sw.graph.registry import TensorType
from sw.graph.state import OpState
from sw.graph.tensor import Tensor


def _type(inputs: tuple[Tensor, ...]) -> TensorType:
    kind, indices, updates = value_type(inputs[0]), inputs[1], inputs[2]
    if not indices.dtype.is_integer:
        raise DTypeError(f"indices must be integers, not {indices.dtype}")
    if updates.dtype is not kind.dtype:
        raise DTypeError(f"the variable is {kind.dtype}, the updates {updates.dtype}")
    if kind.shape.dims is not None and updates.shape.rank != 0:
        rows = indices.shape.concatenate(kind.shape.dims[1:])
        if not updates.shape.compatible(rows):
            raise ShapeError(f"the updates have shape {updates.shape}, the rows {rows}")
    return kind


def _scatter(name: str, write: Any, doc: str) -> Any:
    def kernel(xp: Any, state: OpState, handle: str, indices: Any, updates: Any) -> Any:
        box = state.container
        with box.lock:
            value = np.array(box.read(handle))
            flat = np.ravel(indices)
            check_rows(flat, len(value))
            rows = np.broadcast_to(updates, (*np.shape(indices), *value.shape[1:]))
            write(value, flat, rows.reshape(-1, *value.shape[1:]))
            return box.write(handle, value)

    make = register_op(
        name,
        kernel=kernel,
        infer=_type,
        gradient=None,
        stateful=True,
        host_only=True,
        doc=f"{doc} the rows inputs[1] of the variable inputs[0].",
    )

    def scatter(
        ref: Variable, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None
    ) -> Tensor:
        graph = ref.graph.building()
        updates = graph.convert(updates, ref.dtype)
        out: Tensor = make(ref.handle, indices, updates, name=name)
        return out

    scatter.__name__ = scatter.__qualname__ = name
    scatter.__doc__ = (
        f"{doc} `updates` [*indices.shape, ...] on the rows `indices` of the variable `ref`; the "
        "result is its new value. Raises `InvalidArgumentError` for an index that is outside."
    )
    return scatter


def _put(value: Any, indices: Any, rows: Any) -> None:
    value[indices] = rows


scatter_update = _scatter("scatter_update", _put, "Puts")
scatter_add = _scatter("scatter_add", np.add.at, "Adds")
scatter_sub = _scatter("scatter_sub", np.subtract.at, "Subtracts")
scatter_mul = _scatter("scatter_mul", np.multiply.at, "Multiplies")
scatter_div = _scatter("scatter_div", np.divide.at, "Divides")
scatter_min = _scatter("scatter_min", np.minimum.at, "Minimum of")
scatter_max = _scatter("scatter_max", np.maximum.at, "Maximum of")


def _type_nd(inputs: tuple[Tensor, ...]) -> TensorType:
    kind, indices, updates = value_type(inputs[0]), inputs[1], inputs[2]
    if not indices.dtype.is_integer:
        raise DTypeError(f"indices must be integers, not {indices.dtype}")
    if updates.dtype is not kind.dtype:
        raise DTypeError(f"the variable is {kind.dtype}, the updates {updates.dtype}")
    if indices.shape.dims and kind.shape.dims is not None and indices.shape.dims[-1] is not None:
        want = indices.shape[:-1].concatenate(kind.shape[indices.shape.dims[-1] :])
        if not want.compatible(updates.shape):
            raise ShapeError(f"the updates have shape {updates.shape}, not {want}")
    return kind


def _scatter_nd(name: str, write: Any, doc: str) -> Any:
    def kernel(xp: Any, state: OpState, handle: str, indices: Any, updates: Any) -> Any:
        box = state.container
        with box.lock:
            value = np.array(box.read(handle))
            write(value, places_in(np.asarray(indices), value.shape), updates)
            return box.write(handle, value)

    make = register_op(
        name,
        kernel=kernel,
        infer=_type_nd,
        gradient=None,
        stateful=True,
        host_only=True,
        doc=f"{doc} the slices inputs[1] of the variable inputs[0].",
    )

    def scatter(
        ref: Variable, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None
    ) -> Tensor:
        updates = ref.graph.building().convert(updates, ref.dtype)
        out: Tensor = make(ref.handle, indices, updates, name=name)
        return out

    scatter.__name__ = scatter.__qualname__ = name
    scatter.__doc__ = (
        f"{doc} `updates` [..., *rest] on the slices of the variable `ref` that the last axis of "
        "`indices` [..., depth] names; the result is its new value. Outside ones are an error."
    )
    return scatter


scatter_nd_update = _scatter_nd("scatter_nd_update", _put, "Puts")
scatter_nd_add = _scatter_nd("scatter_nd_add", np.add.at, "Adds")
scatter_nd_sub = _scatter_nd("scatter_nd_sub", np.subtract.at, "Subtracts")


def batch_scatter_update(
    ref: Variable, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None
) -> Tensor:
    """`ref[b..., indices[b..., i]] = updates[b..., i]` for every index; the new value."""
    graph = ref.graph.building()
    with graph.name_scope(name or "batch_scatter_update"):
        out: Tensor = scatter_nd_update(ref, batch_places(graph.convert(indices)), updates)
        return out
