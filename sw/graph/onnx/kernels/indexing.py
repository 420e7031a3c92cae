"""Gather and scatter by indices that may be negative."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.onnx.registry import kernel

Array = Any


def _wrapped(indices: Array, size: int) -> Array:
    """Negative indices counted from the front; raises `IndexError` outside the axis."""
    indices = np.asarray(indices)
    if indices.size and (indices.min() < -size or indices.max() >= size):
        raise IndexError(f"an index is outside an axis of {size}")
    return np.where(indices < 0, indices + size, indices)


@kernel("Gather")
def gather(x: Array, indices: Array, *, axis: int = 0) -> Array:
    return np.take(x, _wrapped(indices, x.shape[axis]), axis=axis)


@kernel("GatherElements")
def gather_elements(x: Array, indices: Array, *, axis: int = 0) -> Array:
    axis %= x.ndim
    index: list[Any] = list(np.indices(indices.shape, sparse=True))
    index[axis] = _wrapped(indices, x.shape[axis])
    return x[tuple(index)]


@kernel("GatherND")
def gather_nd(x: Array, indices: Array, *, batch_dims: int = 0) -> Array:
    batch = x.shape[:batch_dims]
    count = int(np.prod(batch))
    flat = x.reshape(count, *x.shape[batch_dims:])
    places = indices.reshape(count, *indices.shape[batch_dims:])
    depth = places.shape[-1]
    rows = np.arange(count).reshape(-1, *(1,) * (places.ndim - 2))
    index = tuple(_wrapped(places[..., i], flat.shape[1 + i]) for i in range(depth))
    out = flat[(rows, *index)]
    return out.reshape(*batch, *out.shape[1:])


def _combine(out: Array, index: Any, updates: Array, reduction: str) -> None:
    if reduction == "none":
        out[index] = updates
        return
    ufunc = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[reduction]
    ufunc.at(out, index, updates)


@kernel("ScatterElements", "Scatter")
def scatter_elements(
    x: Array, indices: Array, updates: Array, *, axis: int = 0, reduction: str = "none"
) -> Array:
    out = np.array(x)
    axis %= x.ndim
    index: list[Any] = list(np.indices(indices.shape))
    index[axis] = _wrapped(indices, x.shape[axis])
    _combine(out, tuple(index), updates, reduction)
    return out


@kernel("ScatterND")
def scatter_nd(x: Array, indices: Array, updates: Array, *, reduction: str = "none") -> Array:
    out = np.array(x)
    places = tuple(_wrapped(indices[..., i], x.shape[i]) for i in range(indices.shape[-1]))
    _combine(out, places, updates, reduction)
    return out


@kernel("TensorScatter")
def tensor_scatter(
    cache: Array, update: Array, where: Array = None, *, axis: int = -2, mode: str = "linear"
) -> Array:
    """The update's rows into each batch's cache, from its own start on; "circular" wraps."""
    out, axis = np.array(cache), axis % cache.ndim
    size, count = cache.shape[axis], update.shape[axis]
    starts = np.zeros(cache.shape[0], np.int64) if where is None else np.asarray(where)
    for batch, start in enumerate(starts):
        places = int(start) + np.arange(count)
        if mode == "circular":
            places %= size
        elif count and places.max() >= size:
            raise IndexError(f"rows {places.min()} to {places.max()} do not fit a cache of {size}")
        target = np.moveaxis(out[batch], axis - 1, 0)
        target[places] = np.moveaxis(update[batch], axis - 1, 0)
    return out
