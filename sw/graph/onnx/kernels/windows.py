"""Windows over any number of spatial axes, [N, C, ...]: convolutions and pools in ONNX's order."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from sw.graph.onnx.registry import kernel

Ints = tuple[int, ...]
Array = Any


class Window(NamedTuple):
    """Sizes, strides, dilations and (before, after) pads, one per spatial axis."""

    size: Ints
    strides: Ints
    dilations: Ints
    before: Ints
    after: Ints

    def extent(self, axis: int) -> int:
        """Elements from the first tap to the last."""
        return (self.size[axis] - 1) * self.dilations[axis] + 1


def window(
    spatial: Ints,
    size: Ints,
    strides: Ints | None,
    dilations: Ints | None,
    pads: Ints | None,
    auto_pad: str,
) -> Window:
    """The window with `auto_pad` resolved."""
    rank = len(spatial)
    strides = strides or (1,) * rank
    dilations = dilations or (1,) * rank
    pads = pads or (0,) * (2 * rank)
    before, after = pads[:rank], pads[rank:]
    if auto_pad.startswith("SAME"):
        total = [
            max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            for n, k, s, d in zip(spatial, size, strides, dilations, strict=True)
        ]
        small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
        before, after = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
    elif auto_pad == "VALID":
        before = after = (0,) * rank
    return Window(size, strides, dilations, before, after)


def counts(spatial: Ints, found: Window, ceiling: bool = False) -> Ints:
    """Positions of the window along each axis."""
    out = []
    for axis, n in enumerate(spatial):
        s, room = found.strides[axis], n + found.before[axis] + found.after[axis]
        left = room - found.extent(axis)
        if left < 0 and not ceiling:
            raise ValueError(f"a window of {found.extent(axis)} does not fit {room} elements")
        steps = -(-left // s) if ceiling else left // s
        if ceiling and steps * s >= n + found.before[axis]:
            steps -= 1
        out.append(steps + 1)
    return tuple(out)


def taps(x: Array, found: Window, out: Ints, fill: Any) -> Any:
    """For each tap its index and the view [N, C, *out] of its elements, `fill` outside of `x`."""
    pads = [(0, 0), (0, 0)]
    for axis, n in enumerate(x.shape[2:]):
        reach = (out[axis] - 1) * found.strides[axis] + found.extent(axis)
        pads.append((found.before[axis], max(reach - n - found.before[axis], 0)))
    wide = np.pad(x, pads, constant_values=np.asarray(fill, x.dtype)) if np.any(pads) else x
    for at in itertools.product(*map(range, found.size)):
        index = [slice(None), slice(None)]
        for axis, tap in enumerate(at):
            start = tap * found.dilations[axis]
            stop = start + (out[axis] - 1) * found.strides[axis] + 1
            index.append(slice(start, stop, found.strides[axis]))
        yield at, wide[tuple(index)]


def convolve(x: Array, w: Array, found: Window, group: int, fill: Any = 0) -> Array:
    """The sum over taps and input channels: one matrix product per tap and group."""
    out = counts(x.shape[2:], found)
    total = np.zeros((x.shape[0], w.shape[0], *out), x.dtype)
    inputs, outputs = x.shape[1] // group, w.shape[0] // group
    for at, tap in taps(x, found, out, fill):
        for g in range(group):
            rows = slice(g * outputs, (g + 1) * outputs)
            part = tap[:, g * inputs : (g + 1) * inputs]
            total[:, rows] += np.moveaxis(
                np.tensordot(w[(rows, slice(None), *at)], part, axes=(1, 1)), 0, 1
            )
    return total


def _widened(x: Array) -> Array:
    return x.astype(np.float32) if x.dtype.itemsize < 4 else x


@kernel("Conv")
def conv(
    x: Array,
    w: Array,
    b: Array = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Array:
    found = window(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    total = convolve(_widened(x), _widened(w), found, group)
    if b is not None:
        total = total + b.reshape(-1, *(1,) * (x.ndim - 2))
    return total.astype(x.dtype)


@kernel("ConvTranspose")
def conv_transpose(
    x: Array,
    w: Array,
    b: Array = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    output_padding: Any = None,
    output_shape: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Array:
    rank = x.ndim - 2
    size = w.shape[2:]
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    extra, pads = output_padding or (0,) * rank, pads or (0,) * (2 * rank)
    before, shape = [], []
    for i in range(rank):
        reach = strides[i] * (x.shape[2 + i] - 1) + (size[i] - 1) * dilations[i] + 1 + extra[i]
        if output_shape is not None or auto_pad.startswith("SAME"):
            wanted = output_shape[i - rank] if output_shape else x.shape[2 + i] * strides[i]
            total = reach - wanted
            small = total // 2
            before.append(small if auto_pad == "SAME_UPPER" else total - small)
            shape.append(wanted)
        else:
            p, q = (0, 0) if auto_pad == "VALID" else (pads[i], pads[i + rank])
            before.append(p)
            shape.append(reach - p - q)
    full = [
        max(
            strides[i] * (x.shape[2 + i] - 1) + (size[i] - 1) * dilations[i] + 1,
            before[i] + shape[i],
        )
        for i in range(rank)
    ]
    outputs = w.shape[1]
    y = np.zeros((x.shape[0], outputs * group, *full), _widened(x).dtype)
    inputs = x.shape[1] // group
    for at in itertools.product(*map(range, size)):
        place = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(at, dilations, x.shape[2:], strides, strict=True)
        )
        for g in range(group):
            part = x[:, g * inputs : (g + 1) * inputs]
            weight = w[(slice(g * inputs, (g + 1) * inputs), slice(None), *at)]
            y[(slice(None), slice(g * outputs, (g + 1) * outputs), *place)] += np.moveaxis(
                np.tensordot(weight, part, axes=(0, 1)), 0, 1
            )
    cut = tuple(slice(max(p, 0), max(p, 0) + n) for p, n in zip(before, shape, strict=True))
    y = y[(slice(None), slice(None), *cut)]
    missing = [(0, n - h) for n, h in zip(shape, y.shape[2:], strict=True)]
    y = np.pad(y, [(0, 0), (0, 0), *missing])
    if b is not None:
        y = y + b.reshape(-1, *(1,) * rank)
    return y.astype(x.dtype)


def _lowest(dtype: Any) -> Any:
    return -np.inf if dtype.kind not in "iu" else np.iinfo(dtype).min


@kernel("MaxPool")
def max_pool(
    x: Array,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Any = None,
    kernel_shape: Any,
    pads: Any = None,
    storage_order: int = 0,
    strides: Any = None,
    types: Any,
) -> Any:
    found = window(x.shape[2:], tuple(kernel_shape), strides, dilations, pads, auto_pad)
    out = counts(x.shape[2:], found, bool(ceil_mode))
    best = np.full((*x.shape[:2], *out), _lowest(x.dtype), x.dtype)
    where = np.full(best.shape, -1, np.int64)
    spatial = x.shape[2:]
    order = spatial if not storage_order else spatial[::-1]
    steps = np.cumprod([1, *order[::-1]])[:-1][::-1]
    steps = steps if not storage_order else steps[::-1]
    grids = np.ogrid[tuple(slice(n) for n in out)]
    for at, tap in taps(x, found, out, _lowest(x.dtype)):
        place = 0
        for axis, grid in enumerate(grids):
            element = grid * found.strides[axis] + at[axis] * found.dilations[axis]
            place = place + (element - found.before[axis]) * int(steps[axis])
        better = (tap > best) | (where < 0) & (tap == best)
        best = np.where(better, tap, best)
        where = np.where(better, place, where)
    if len(types) == 1:
        return best
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * len(out))
    return best, where + planes * int(np.prod(spatial))


@kernel("AveragePool")
def average_pool(
    x: Array,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Any = None,
    kernel_shape: Any,
    pads: Any = None,
    strides: Any = None,
) -> Array:
    found = window(x.shape[2:], tuple(kernel_shape), strides, dilations, pads, auto_pad)
    out = counts(x.shape[2:], found, bool(ceil_mode))
    total = sum(tap for _, tap in taps(_widened(x), found, out, 0))
    ones = np.ones((1, 1, *x.shape[2:]), np.float32)
    if count_include_pad:
        pads_ = [(0, 0), (0, 0), *zip(found.before, found.after, strict=True)]
        ones = np.pad(ones, pads_, constant_values=1)
        found = found._replace(before=(0,) * len(out), after=(0,) * len(out))
    number: Any = sum(tap for _, tap in taps(ones, found, out, 0))
    return (total / number).astype(x.dtype)


@kernel("LpPool")
def lp_pool(
    x: Array,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Any = None,
    kernel_shape: Any,
    p: int = 2,
    pads: Any = None,
    strides: Any = None,
) -> Array:
    found = window(x.shape[2:], tuple(kernel_shape), strides, dilations, pads, auto_pad)
    out = counts(x.shape[2:], found, bool(ceil_mode))
    total: Any = sum(np.abs(tap) ** p for _, tap in taps(_widened(x), found, out, 0))
    return (total ** (1 / p)).astype(x.dtype)


@kernel("GlobalAveragePool")
def global_average_pool(x: Array) -> Array:
    return np.mean(_widened(x), axis=tuple(range(2, x.ndim)), keepdims=True).astype(x.dtype)


@kernel("GlobalMaxPool")
def global_max_pool(x: Array) -> Array:
    return np.max(x, axis=tuple(range(2, x.ndim)), keepdims=True)


@kernel("GlobalLpPool")
def global_lp_pool(x: Array, *, p: int = 2) -> Array:
    total = np.sum(np.abs(_widened(x)) ** p, axis=tuple(range(2, x.ndim)), keepdims=True)
    return (total ** (1 / p)).astype(x.dtype)


@kernel("MaxUnpool")
def max_unpool(
    x: Array,
    indices: Array,
    output_shape: Array = None,
    *,
    kernel_shape: Any,
    pads: Any = None,
    strides: Any = None,
) -> Array:
    rank = x.ndim - 2
    strides, pads = strides or (1,) * rank, pads or (0,) * (2 * rank)
    natural = [
        (n - 1) * s - pads[i] - pads[i + rank] + k
        for i, (n, s, k) in enumerate(zip(x.shape[2:], strides, kernel_shape, strict=True))
    ]
    shape = [*x.shape[:2], *natural]
    small = np.zeros(int(np.prod(shape)), x.dtype)
    small[indices.ravel()] = x.ravel()
    small = small.reshape(shape)
    if output_shape is None:
        return small
    # indices count in the smaller image, which stands at the start of the wanted one
    large = np.zeros(tuple(int(s) for s in output_shape), x.dtype)
    large[tuple(slice(n) for n in shape)] = small
    return large


@kernel("Col2Im")
def col2im(
    x: Array,
    image_shape: Array,
    block_shape: Array,
    *,
    dilations: Any = None,
    pads: Any = None,
    strides: Any = None,
) -> Array:
    size, spatial = tuple(map(int, block_shape)), tuple(map(int, image_shape))
    found = window(spatial, size, strides, dilations, pads, "NOTSET")
    out = counts(spatial, found)
    channels = x.shape[1] // int(np.prod(size))
    blocks = x.reshape(x.shape[0], channels, *size, *out)
    wide = [n + b + a for n, b, a in zip(spatial, found.before, found.after, strict=True)]
    image = np.zeros((x.shape[0], channels, *wide), x.dtype)
    for at in itertools.product(*map(range, size)):
        place = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(at, found.dilations, out, found.strides, strict=True)
        )
        image[(slice(None), slice(None), *place)] += blocks[(slice(None), slice(None), *at)]
    cut = tuple(slice(b, b + n) for b, n in zip(found.before, spatial, strict=True))
    return image[(slice(None), slice(None), *cut)]
