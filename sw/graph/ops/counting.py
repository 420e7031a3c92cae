"""Counting integers and numbering places: histograms, multi-dimensional indices, dynamic shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, constant_value, graph_of, register_op
from sw.graph.dtypes import as_dtype, int32
from sw.graph.errors import DTypeError, InvalidArgumentError, ShapeError
from sw.graph.ops.arithmetic import cast
from sw.graph.ops.creation import sizes_vector
from sw.graph.registry import NOT_DIFFERENTIABLE, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor


def _unravel(xp: Any, indices: Any, dims: Any) -> Any:
    sizes = tuple(int(d) for d in dims)
    flat = np.asarray(indices)
    total = int(np.prod(sizes))
    outside = (flat < 0) | (flat >= total)
    if outside.any():
        bad = int(flat[outside].ravel()[0])
        raise InvalidArgumentError(f"index {bad} is outside of shape {list(sizes)} ({total})")
    return np.stack(np.unravel_index(flat, sizes)).astype(flat.dtype)


def _unravel_type(inputs: tuple[Tensor, ...]) -> TensorType:
    if not inputs[0].dtype.is_integer:
        raise DTypeError(f"indices must be integers, not {inputs[0].dtype}")
    return TensorType(inputs[0].dtype, inputs[1].shape.concatenate(inputs[0].shape))


register_op(
    "unravel_index",
    kernel=_unravel,
    infer=_unravel_type,
    gradient=NOT_DIFFERENTIABLE,
    share_dtype=True,
    host_only=True,
    doc="The coordinates, one row per axis of shape inputs[1], of the flat indices inputs[0].",
)


def _broadcast(xp: Any, x: Any, y: Any) -> Any:
    left, right = (tuple(int(v) for v in s) for s in (x, y))
    try:
        return np.asarray(np.broadcast_shapes(left, right), x.dtype)
    except ValueError:
        raise InvalidArgumentError(
            f"shapes {list(left)} and {list(right)} do not broadcast together"
        ) from None


def _broadcast_type(inputs: tuple[Tensor, ...]) -> TensorType:
    if not inputs[0].dtype.is_integer:
        raise DTypeError(f"a shape holds integers, not {inputs[0].dtype}")
    ranks = [None if t.shape.dims is None else t.shape.dims[0] for t in inputs]
    sizes = [r for r in ranks if r is not None]
    return TensorType(inputs[0].dtype, Shape((max(sizes) if len(sizes) == 2 else None,)))


register_op(
    "broadcast_shapes",
    kernel=_broadcast,
    infer=_broadcast_type,
    gradient=NOT_DIFFERENTIABLE,
    share_dtype=True,
    host_only=True,
    doc="The shape of values of the shapes inputs[0] and inputs[1], broadcast together.",
)


def unravel_index(indices: Any, dims: Any, name: str | None = None) -> Tensor:
    """[rank, ...]: the coordinates in a tensor of shape `dims` of the flat `indices`."""
    graph = graph_of((indices, dims))
    flat = graph.convert(indices)
    out: Tensor = apply("unravel_index", flat, graph.convert(dims, flat.dtype), name=name)
    return out


def broadcast_dynamic_shape(shape_x: Any, shape_y: Any) -> Tensor:
    """The shape that values of two shapes, which may be tensors, broadcast to."""
    out: Tensor = apply("broadcast_shapes", shape_x, shape_y)
    return out


def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """`input` repeated to fill `shape`; raises `ShapeError` when it does not broadcast to it."""
    out: Tensor = apply("broadcast_to", input, sizes_vector(shape), name=name)
    return out


def bincount(
    arr: Any,
    weights: Any = None,
    minlength: Any = None,
    maxlength: Any = None,
    dtype: Any = int32,
    name: str | None = None,
) -> Tensor:
    """How often each of 0, 1, ... stands in `arr` (or the sums of their `weights`), up to its
    largest, at least `minlength` and at most `maxlength` numbers; what is above does not count.
    Negative numbers fail at run time."""
    graph = graph_of((arr, weights))
    with graph.name_scope(name or "bincount"):
        numbers = graph.convert(arr)
        if not numbers.dtype.is_integer:
            raise DTypeError(f"bincount counts integers, not {numbers.dtype}")
        flat = cast(apply("reshape", numbers, np.asarray([-1], np.int32)), int32)
        known = constant_value(numbers)
        if known is not None and (known < 0).any():
            raise InvalidArgumentError(f"bincount of the negative number {known.min()}")
        fine = apply("reduce_all", apply("greater_equal", flat, 0), axis=None, keepdims=False)
        with graph.control_dependencies([apply("assert", fine, flat, summarize=3)]):
            flat = graph.apply("identity", flat)
        ends = apply("concat", flat, np.asarray([-1], np.int32), axis=0)
        size = apply("reduce_max", ends, axis=None, keepdims=False) + 1
        if minlength is not None:
            size = apply("maximum", size, graph.convert(minlength, int32))
        if maxlength is not None:
            size = apply("minimum", size, graph.convert(maxlength, int32))
        flat = apply("where", apply("less", flat, size), flat, np.int32(-1))
        if weights is None:
            many = cast(apply("ones_like", flat), as_dtype(dtype))
        else:
            given = graph.convert(weights)
            if not given.shape.compatible(numbers.shape):
                raise ShapeError(f"{given.shape} weights for numbers of shape {numbers.shape}")
            many = apply("reshape", given, np.asarray([-1], np.int32))
        out: Tensor = apply("unsorted_segment_reduce", many, flat, size, how="sum")
        return out


def histogram_fixed_width_bins(
    values: Any, value_range: Any, nbins: Any = 100, dtype: Any = int32, name: str | None = None
) -> Tensor:
    """For each of `values` the number of its bin of `nbins` equal ones of `value_range`; what is
    outside belongs to the first or last."""
    graph = graph_of((values, value_range))
    limits = constant_value(value_range)
    if limits is not None and limits[0] >= limits[1]:
        raise InvalidArgumentError(f"value_range {limits.tolist()} does not rise")
    with graph.name_scope(name or "histogram_bins"):
        x = graph.convert(values)
        wide = x if x.dtype.is_floating else cast(x, "float64")
        ends = graph.convert(value_range, wide.dtype)
        count = cast(graph.convert(nbins), wide.dtype)
        at = apply("floor", (wide - ends[0]) / (ends[1] - ends[0]) * count)
        at = apply("maximum", apply("minimum", at, count - 1), apply("zeros_like", at))
        return cast(at, as_dtype(dtype))
