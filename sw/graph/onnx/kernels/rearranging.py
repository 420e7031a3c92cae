"""Moving elements, by shapes and places that may be known only at run time."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.onnx.registry import kernel

Array = Any


def _ints(value: Any) -> tuple[int, ...]:
    return tuple(int(v) for v in np.ravel(value))


@kernel("Reshape")
def reshape(x: Array, shape: Array = None, *, allowzero: int = 0) -> Array:
    x = np.asarray(x)
    sizes = list(_ints(shape))
    if not allowzero:
        sizes = [x.shape[i] if s == 0 else s for i, s in enumerate(sizes)]
    return np.reshape(x, sizes)


@kernel("Flatten")
def flatten(x: Array, *, axis: int = 1) -> Array:
    at = axis + x.ndim if axis < 0 else axis
    return np.reshape(x, (int(np.prod(x.shape[:at])), int(np.prod(x.shape[at:]))))


@kernel("Shape")
def shape(x: Array, *, start: int = 0, end: Any = None) -> Array:
    return np.asarray(np.shape(x)[start:end], np.int64)


@kernel("Transpose")
def transpose(x: Array, *, perm: Any = None) -> Array:
    return np.transpose(x, perm)


@kernel("Squeeze")
def squeeze(x: Array, given: Array = None, *, axes: Any = None) -> Array:
    along = axes if given is None else _ints(given)
    return np.squeeze(x, axis=None if along is None else tuple(along))


@kernel("Unsqueeze")
def unsqueeze(x: Array, given: Array = None, *, axes: Any = None) -> Array:
    return np.expand_dims(x, tuple(axes) if given is None else _ints(given))


@kernel("Expand")
def expand(x: Array, target: Array) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(np.shape(x), _ints(target)))


@kernel("Tile")
def tile(x: Array, repeats: Array) -> Array:
    return np.tile(x, _ints(repeats))


@kernel("Concat")
def concat(*values: Array, axis: int) -> Array:
    return np.concatenate(values, axis=axis)


@kernel("Split")
def split(
    x: Array,
    given: Array = None,
    *,
    axis: int = 0,
    num_outputs: Any = None,
    split: Any = None,
    types: Any,
) -> Any:
    sizes = split if given is None else _ints(given)
    if sizes is None:
        part = -(-x.shape[axis] // len(types))
        bounds = [min(part * i, x.shape[axis]) for i in range(1, len(types))]
    else:
        if sum(sizes) != x.shape[axis]:
            raise ValueError(f"parts of {list(sizes)} do not make {x.shape[axis]} elements")
        bounds = list(np.cumsum(sizes)[:-1])
    parts = tuple(np.split(x, bounds, axis=axis))
    return parts if len(types) > 1 else parts[0]


@kernel("Slice")
def slice_(
    x: Array,
    starts_: Array = None,
    ends_: Array = None,
    axes_: Array = None,
    steps_: Array = None,
    *,
    starts: Any = None,
    ends: Any = None,
    axes: Any = None,
) -> Array:
    first = _ints(starts if starts_ is None else starts_)
    stops = _ints(ends if ends_ is None else ends_)
    along = axes if axes_ is None else axes_
    places = tuple(range(len(first))) if along is None else _ints(along)
    steps = (1,) * len(first) if steps_ is None else _ints(steps_)
    index = [slice(None)] * x.ndim
    for start, stop, axis, step in zip(first, stops, places, steps, strict=True):
        size = x.shape[axis]
        if step < 0 and stop < 0:  # Python would count it from the end once more
            stop = stop + size
            index[axis] = slice(start, stop if stop >= 0 else None, step)
        else:
            index[axis] = slice(start, stop, step)
    return x[tuple(index)]


@kernel("Pad")
def pad(
    x: Array,
    given: Array = None,
    fill: Array = None,
    axes: Array = None,
    *,
    mode: str = "constant",
    pads: Any = None,
    paddings: Any = None,
    value: float = 0.0,
) -> Array:
    amounts = _ints((pads or paddings) if given is None else given)
    along = tuple(range(x.ndim)) if axes is None else _ints(axes)
    pairs = [[0, 0] for _ in range(x.ndim)]
    for i, axis in enumerate(along):
        pairs[axis] = [amounts[i], amounts[i + len(along)]]
    cut = tuple(slice(max(-b, 0), n - max(-a, 0)) for n, (b, a) in zip(x.shape, pairs, strict=True))
    x = x[cut]  # a negative pad takes away
    grow = [(max(b, 0), max(a, 0)) for b, a in pairs]
    if mode == "constant":
        constant = value if fill is None or not np.size(fill) else np.reshape(fill, ())[()]
        if x.dtype == np.object_:
            return np.pad(x, grow, constant_values=constant)
        return np.pad(x, grow, constant_values=np.asarray(constant, x.dtype))
    return np.pad(x, grow, mode=mode)  # type: ignore[call-overload] # NumPy's own names


@kernel("ConstantOfShape")
def constant_of_shape(sizes: Array, *, value: Any = None) -> Array:
    fill = np.zeros(1, np.float32) if value is None else np.asarray(value)
    return np.full(_ints(sizes), fill.reshape(()), fill.dtype)


@kernel("EyeLike")
def eye_like(x: Array, *, dtype: Any = None, k: int = 0, types: Any) -> Array:
    rows, columns = x.shape
    return np.eye(rows, columns, k=k, dtype=types[0].dtype.numpy)


@kernel("Trilu")
def trilu(x: Array, k: Array = None, *, upper: int = 1) -> Array:
    at = 0 if k is None else int(np.reshape(k, ()))
    return np.triu(x, at) if upper else np.tril(x, at)


@kernel("Range")
def range_(start: Array, limit: Array, delta: Array) -> Array:
    start, limit, delta = (np.reshape(v, ()) for v in (start, limit, delta))
    wide = np.float64 if start.dtype.kind not in "iu" else np.int64
    first, last, step = (v.astype(wide) for v in (start, limit, delta))
    count = max(int(np.ceil((last - first) / step)), 0)
    return (first + step * np.arange(count)).astype(start.dtype)


@kernel("DepthToSpace")
def depth_to_space(x: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    n, c, h, w = x.shape
    b, rest = blocksize, c // blocksize**2
    if mode == "DCR":
        y = np.transpose(x.reshape(n, b, b, rest, h, w), (0, 3, 4, 1, 5, 2))
    else:
        y = np.transpose(x.reshape(n, rest, b, b, h, w), (0, 1, 4, 2, 5, 3))
    return y.reshape(n, rest, h * b, w * b)


@kernel("SpaceToDepth")
def space_to_depth(x: Array, *, blocksize: int, mode: str = "DCR") -> Array:
    n, c, h, w = x.shape
    b = blocksize
    y = x.reshape(n, c, h // b, b, w // b, b)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return np.transpose(y, order).reshape(n, c * b * b, h // b, w // b)


@kernel("ReverseSequence")
def reverse_sequence(x: Array, lengths: Array, *, batch_axis: int = 1, time_axis: int = 0) -> Array:
    out = np.array(x)
    source, target = (np.moveaxis(v, (batch_axis, time_axis), (0, 1)) for v in (x, out))
    for row, length in enumerate(_ints(lengths)):
        target[row, :length] = source[row, :length][::-1]
    return out


@kernel("Compress")
def compress(x: Array, condition: Array, *, axis: Any = None) -> Array:
    return np.compress(condition, x, axis=axis)


@kernel("NonZero")
def non_zero(x: Array) -> Array:
    return np.asarray(np.nonzero(np.atleast_1d(x)), np.int64).reshape(max(np.ndim(x), 1), -1)


@kernel("Unique")
def unique(x: Array, *, axis: Any = None, sorted: int = 1, types: Any) -> Any:
    values, first, inverse, number = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = np.reshape(inverse, -1)
    if not sorted:  # in order of first appearance
        order = np.argsort(first)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        values = np.take(values, order, axis=0 if axis is None else axis)
        first, number, inverse = first[order], number[order], rank[inverse]
    out = (values, *(v.astype(np.int64) for v in (first, inverse, number)))[: len(types)]
    return out if len(types) > 1 else out[0]


@kernel("TopK")
def top_k(
    x: Array, k: Array = None, *, axis: int = -1, largest: int = 1, sorted: int = 1, k_: Any = None
) -> Any:
    count = int(np.reshape(k, ()))
    # a stable sort, so that of equal elements the one with the lower index comes first
    if largest:
        back = np.flip(x, axis)
        order = x.shape[axis] - 1 - np.flip(np.argsort(back, axis=axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis=axis, kind="stable")
    at = np.take(order, np.arange(count), axis=axis)
    return np.take_along_axis(x, at, axis), at.astype(np.int64)


@kernel("OneHot")
def one_hot(indices: Array, depth: Array, values: Array, *, axis: int = -1) -> Array:
    count = int(np.reshape(depth, ()))
    wanted = np.asarray(indices).astype(np.int64)
    wanted = np.where(wanted < 0, wanted + count, wanted)
    at = axis if axis >= 0 else axis + wanted.ndim + 1
    shape = [1] * (wanted.ndim + 1)
    shape[at] = count
    hit = np.expand_dims(wanted, at) == np.arange(count).reshape(shape)
    return np.where(hit, values[1], values[0]).astype(values.dtype)


@kernel("CenterCropPad")
def center_crop_pad(x: Array, target: Array, *, axes: Any = None) -> Array:
    for axis, size in zip(axes or range(x.ndim), _ints(target), strict=True):
        have = x.shape[axis]
        if have > size:
            start = (have - size) // 2
            x = np.take(x, np.arange(start, start + size), axis=axis)
        elif have < size:
            pads = [(0, 0)] * x.ndim
            pads[axis] = ((size - have) // 2, size - have - (size - have) // 2)
            x = np.pad(x, pads)
    return x
