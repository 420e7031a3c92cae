"""Resize and Upsample: interpolation along each axis in turn, as a small matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sw.graph.onnx.registry import kernel

Array = Any


def _position(i: Array, scale: float, old: int, new: int, how: str, roi: Any) -> Array:
    """Where in the old axis the new elements lie; names and formulas are the standard's."""
    if how == "half_pixel":
        return (i + 0.5) / scale - 0.5
    if how == "half_pixel_symmetric":
        # a size that is no whole multiple is cut evenly at both ends
        cut = new / (scale * old)
        return old / 2 * (1 - cut) + (i + 0.5) / scale - 0.5
    if how == "pytorch_half_pixel":
        return (i + 0.5) / scale - 0.5 if new > 1 else np.zeros_like(i)
    if how == "align_corners":
        exact = scale * old  # not rounded down to a size
        return i * (old - 1) / (exact - 1) if exact > 1 else np.zeros_like(i)
    if how == "asymmetric":
        return i / scale
    if how == "tf_crop_and_resize":
        start, end = roi
        if new > 1:
            return start * (old - 1) + i * (end - start) * (old - 1) / (new - 1)
        return np.full_like(i, 0.5 * (start + end) * (old - 1))
    raise ValueError(f"coordinate_transformation_mode {how!r} is not known")


def _nearest(x: Array, how: str) -> Array:
    if how == "floor":
        return np.floor(x)
    if how == "ceil":
        return np.ceil(x)
    if how == "round_prefer_floor":
        return np.ceil(x - 0.5)
    if how == "round_prefer_ceil":
        return np.floor(x + 0.5)
    raise ValueError(f"nearest_mode {how!r} is not known")


def _cubic(distance: Array, a: float) -> Array:
    """The cubic convolution kernel (Keys, 1981)."""
    d = np.abs(distance)
    inner = ((a + 2) * d - (a + 3)) * d * d + 1
    outer = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, inner, np.where(d < 2, outer, 0.0))


def _weights(
    x: Array, old: int, scale: float, mode: str, nearest: str, a: float, outside: bool, smooth: bool
) -> Array:
    """The matrix [new, old] of an axis."""
    rows = np.arange(len(x))
    matrix = np.zeros((len(x), old))
    if mode == "nearest":
        matrix[rows, np.clip(_nearest(x, nearest), 0, old - 1).astype(np.int64)] = 1
        return matrix
    # with antialiasing the kernel is as much wider as the image gets smaller
    stretch = min(scale, 1.0) if smooth else 1.0
    reach = math.ceil((2 if mode == "cubic" else 1) / stretch)
    base = np.floor(x)
    taps = np.arange(1 - reach, reach + 1)
    distance = (taps[None] - (x - base)[:, None]) * stretch
    values = _cubic(distance, a) if mode == "cubic" else np.clip(1 - np.abs(distance), 0, None)
    places = base[:, None].astype(np.int64) + taps[None]
    if outside:
        values = np.where((places >= 0) & (places < old), values, 0.0)
    total = values.sum(1, keepdims=True)
    values = values / np.where(total == 0, 1, total)
    np.add.at(matrix, (rows[:, None], np.clip(places, 0, old - 1)), values)
    return matrix


def _apply(x: Array, matrix: Array, axis: int) -> Array:
    return np.moveaxis(np.tensordot(matrix, x, axes=(1, axis)), 0, axis)


def _sizes(
    shape: Any, axes: Any, scales: Any, sizes: Any, policy: str
) -> tuple[list[float], list[int]]:
    """Scale and new size of each axis in `axes`."""
    if sizes is None or not np.size(sizes):
        factors = [float(s) for s in scales]
        return factors, [math.floor(shape[a] * s) for a, s in zip(axes, factors, strict=True)]
    wanted = [int(s) for s in sizes]
    factors = [w / shape[a] for a, w in zip(axes, wanted, strict=True)]
    if policy != "stretch":
        one = min(factors) if policy == "not_larger" else max(factors)
        factors = [one] * len(axes)
        wanted = [math.floor(one * shape[a] + 0.5) for a in axes]
    return factors, wanted


@kernel("Resize")
def resize(
    x: Array,
    second: Array = None,
    third: Array = None,
    fourth: Array = None,
    *,
    antialias: int = 0,
    axes: Any = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
    opset: int,
) -> Array:
    roi, scales, sizes = second, third, fourth
    if opset < 11:
        roi, scales, sizes = None, second, None
        coordinate_transformation_mode, nearest_mode = "asymmetric", "floor"
    along = [a % x.ndim for a in (axes or range(x.ndim))]
    factors, new = _sizes(x.shape, along, scales, sizes, keep_aspect_ratio_policy)
    crop = coordinate_transformation_mode == "tf_crop_and_resize"
    out = x.astype(np.float64)
    beyond = np.zeros((1,) * x.ndim, np.bool_)
    for index, axis in enumerate(along):
        old = x.shape[axis]
        part = (float(roi[index]), float(roi[index + len(along)])) if crop else (0.0, 1.0)
        if new[index] == old and factors[index] == 1 and not crop:
            continue
        place = np.arange(new[index], dtype=np.float64)
        at = _position(place, factors[index], old, new[index], coordinate_transformation_mode, part)
        if crop:
            shape = [1] * x.ndim
            shape[axis] = -1
            beyond = beyond | ((at < 0) | (at > old - 1)).reshape(shape)
        matrix = _weights(
            at,
            old,
            factors[index],
            mode,
            nearest_mode,
            cubic_coeff_a,
            bool(exclude_outside),
            bool(antialias),
        )
        out = _apply(out, matrix, axis)
    if crop:
        out = np.where(beyond, extrapolation_value, out)
    if x.dtype.kind in "iu":
        limits = np.iinfo(x.dtype)
        return np.clip(np.rint(out), limits.min, limits.max).astype(x.dtype)
    return out.astype(x.dtype)


@kernel("Upsample")
def upsample(x: Array, given: Array = None, *, mode: str = "nearest", scales: Any = None) -> Array:
    return resize(x, given if scales is None else scales, mode=mode, opset=10)
