"""Sequences, tuples of arrays, and optionals, tuples of one value or none."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.onnx.registry import kernel

Array = Any


def _place(position: Array, length: int, *, end: bool = False) -> int:
    at = int(np.reshape(position, ()))
    if not -length <= at < length + end:
        raise IndexError(f"position {at} is outside a sequence of {length}")
    return at + length if at < 0 else at


@kernel("SequenceEmpty")
def empty(*, dtype: Any = None) -> Any:
    return ()


@kernel("SequenceConstruct")
def construct(*values: Array) -> Any:
    return tuple(values)


@kernel("SequenceAt")
def at(items: Any, position: Array) -> Any:
    return items[_place(position, len(items))]


@kernel("SequenceInsert")
def insert(items: Any, value: Array, position: Array = None) -> Any:
    where = len(items) if position is None else _place(position, len(items), end=True)
    return (*items[:where], value, *items[where:])


@kernel("SequenceErase")
def erase(items: Any, position: Array = None) -> Any:
    where = len(items) - 1 if position is None else _place(position, len(items))
    return (*items[:where], *items[where + 1 :])


@kernel("SequenceLength")
def length(items: Any) -> Array:
    return np.asarray(len(items), np.int64)


@kernel("ConcatFromSequence")
def concat_from_sequence(items: Any, *, axis: int, new_axis: int = 0) -> Array:
    return np.stack(items, axis) if new_axis else np.concatenate(items, axis)


@kernel("SplitToSequence")
def split_to_sequence(x: Array, sizes: Array = None, *, axis: int = 0, keepdims: int = 1) -> Any:
    total = x.shape[axis]
    if sizes is None:
        parts = np.split(x, total, axis=axis)
        return tuple(parts if keepdims else (np.squeeze(p, axis) for p in parts))
    if np.ndim(sizes) == 0:
        step = int(sizes)
        bounds = list(range(step, total, step))
    else:
        bounds = list(np.cumsum(sizes)[:-1])
    return tuple(np.split(x, bounds, axis=axis))


@kernel("Optional")
def optional(value: Any = None, *, type: Any = None) -> Any:
    return () if value is None else (value,)
