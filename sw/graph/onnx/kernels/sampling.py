"""Sampling images at places between their pixels: GridSample, RoiAlign, DeformConv and kin."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from sw.graph.onnx.kernels.resizing import _cubic
from sw.graph.onnx.kernels.windows import counts, window
from sw.graph.onnx.registry import kernel

Array = Any


def _reflected(x: Array, low: float, high: float) -> Array:
    """`x` folded back into [low, high] as by mirrors at both ends."""
    span = high - low
    if span <= 0:
        return np.zeros_like(x)
    away = np.mod(x - low, 2 * span)
    return low + np.where(away > span, 2 * span - away, away)


def _bounded(x: Array, size: int, padding: str, align: bool) -> Array:
    if padding == "reflection":
        x = _reflected(x, 0.0 if align else -0.5, size - 1.0 if align else size - 0.5)
    return np.clip(x, 0, size - 1) if padding in ("border", "reflection") else x


def _pick(image: Array, places: list[Array]) -> Array:
    """`image` [C, *S] at integer places, one array per axis; 0 outside."""
    inside = np.ones(places[0].shape, np.bool_)
    index: list[Any] = [slice(None)]
    for place, size in zip(places, image.shape[1:], strict=True):
        whole = place.astype(np.int64)
        inside &= (whole >= 0) & (whole < size)
        index.append(np.clip(whole, 0, size - 1))
    return np.where(inside, image[tuple(index)], 0)


@kernel("GridSample")
def grid_sample(
    x: Array,
    grid: Array,
    *,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
) -> Array:
    spatial, align = x.shape[2:], bool(align_corners)
    out = np.zeros((*x.shape[:2], *grid.shape[1:-1]), x.dtype)
    kind = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    for batch, image in enumerate(x):
        at = []
        for axis, size in enumerate(spatial):
            unit = grid[batch, ..., len(spatial) - 1 - axis].astype(np.float64)
            place = (unit + 1) / 2 * (size - 1) if align else ((unit + 1) * size - 1) / 2
            if kind != "cubic":
                place = _bounded(place, size, padding_mode, align)
            at.append(place)
        if kind == "nearest":
            out[batch] = _pick(image, [np.rint(a) for a in at])
            continue
        taps = range(2) if kind == "linear" else range(-1, 3)
        base = [np.floor(a) for a in at]
        total = np.zeros(out.shape[1:], np.float64)
        for offsets in itertools.product(taps, repeat=len(spatial)):
            factor, places = np.ones(at[0].shape), []
            for a, b, offset, size in zip(at, base, offsets, spatial, strict=True):
                distance = np.abs(a - b - offset)
                factor = factor * (_cubic(distance, -0.75) if kind == "cubic" else 1 - distance)
                places.append(_bounded(b + offset, size, padding_mode, align))
            total += factor * _pick(image, places)
        out[batch] = total
    return out


def _bilinear(image: Array, y: Array, x: Array) -> Array:
    """`image` [C, H, W] between pixels; what lies outside is 0."""
    y0, x0 = np.floor(y), np.floor(x)
    total: Any = 0.0
    for dy, dx in itertools.product((0, 1), repeat=2):
        factor = (1 - np.abs(y - y0 - dy)) * (1 - np.abs(x - x0 - dx))
        total = total + factor * _pick(image, [y0 + dy, x0 + dx])
    return total


def _corners(image: Array, y: Array, x: Array) -> list[Array]:
    """The four weighted corners of places that are first moved into the image; places more than a
    pixel outside count as 0."""
    h, w = image.shape[1:]
    far = (y < -1) | (y > h) | (x < -1) | (x > w)
    y, x = np.clip(y, 0, None), np.clip(x, 0, None)
    y0, x0 = np.minimum(np.floor(y), h - 1), np.minimum(np.floor(x), w - 1)
    y1, x1 = np.minimum(y0 + 1, h - 1), np.minimum(x0 + 1, w - 1)
    ly = np.where(y0 >= h - 1, 0.0, y - y0)
    lx = np.where(x0 >= w - 1, 0.0, x - x0)
    parts = []
    for py, px, factor in (
        (y0, x0, (1 - ly) * (1 - lx)),
        (y0, x1, (1 - ly) * lx),
        (y1, x0, ly * (1 - lx)),
        (y1, x1, ly * lx),
    ):
        parts.append(np.where(far, 0.0, factor * _pick(image, [py, px])))
    return parts


@kernel("RoiAlign")
def roi_align(
    x: Array,
    rois: Array,
    batches: Array,
    *,
    coordinate_transformation_mode: Any = None,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
    opset: int,
) -> Array:
    how = coordinate_transformation_mode or ("half_pixel" if opset >= 16 else "output_half_pixel")
    shift = 0.5 if how == "half_pixel" else 0.0
    out = np.zeros((len(rois), x.shape[1], output_height, output_width), x.dtype)
    for index, (roi, batch) in enumerate(zip(rois, batches, strict=True)):
        left, top, right, bottom = (float(v) * spatial_scale - shift for v in roi)
        width, height = right - left, bottom - top
        if how != "half_pixel":
            width, height = max(width, 1.0), max(height, 1.0)
        bin_h, bin_w = height / output_height, width / output_width
        rows = sampling_ratio or int(np.ceil(bin_h))
        columns = sampling_ratio or int(np.ceil(bin_w))
        y = top + bin_h * (np.arange(output_height)[:, None] + (np.arange(rows) + 0.5)[None] / rows)
        z = left + bin_w * (
            np.arange(output_width)[:, None] + (np.arange(columns) + 0.5)[None] / columns
        )
        yy, zz = np.broadcast_arrays(y[:, None, :, None], z[None, :, None, :])
        parts = _corners(x[int(batch)], yy, zz)
        if mode == "avg":
            out[index] = np.mean(sum(parts), axis=(-2, -1))
        else:
            out[index] = np.max(np.maximum.reduce(parts), axis=(-2, -1))
    return out


@kernel("MaxRoiPool")
def max_roi_pool(x: Array, rois: Array, *, pooled_shape: Any, spatial_scale: float = 1.0) -> Array:
    height, width = pooled_shape
    out = np.zeros((len(rois), x.shape[1], height, width), x.dtype)
    for index, roi in enumerate(rois):
        left, top, right, bottom = (int(np.floor(v * spatial_scale + 0.5)) for v in roi[1:])
        bin_h = max(bottom - top + 1, 1) / height
        bin_w = max(right - left + 1, 1) / width
        for i, j in itertools.product(range(height), range(width)):
            rows = [top + int(np.floor(i * bin_h)), top + int(np.ceil((i + 1) * bin_h))]
            columns = [left + int(np.floor(j * bin_w)), left + int(np.ceil((j + 1) * bin_w))]
            a, b = np.clip(rows, 0, x.shape[2])
            c, d = np.clip(columns, 0, x.shape[3])
            part = x[int(roi[0]), :, a:b, c:d]
            if part.size:
                out[index, :, i, j] = part.max(axis=(1, 2))
    return out


@kernel("DeformConv")
def deform_conv(
    x: Array,
    w: Array,
    offset: Array,
    b: Array = None,
    mask: Array = None,
    *,
    dilations: Any = None,
    group: int = 1,
    kernel_shape: Any = None,
    offset_group: int = 1,
    pads: Any = None,
    strides: Any = None,
) -> Array:
    """Each tap reads where the window says plus its own offset (Zhu et al., 2019)."""
    size = w.shape[2:]
    found = window(x.shape[2:], size, strides, dilations, pads, "NOTSET")
    oh, ow = counts(x.shape[2:], found)
    n, c = x.shape[:2]
    taps = int(np.prod(size))
    offsets = offset.reshape(n, offset_group, taps, 2, oh, ow).astype(np.float64)
    masks = None if mask is None else mask.reshape(n, offset_group, taps, oh, ow)
    grid_y = np.arange(oh)[:, None] * found.strides[0] - found.before[0]
    grid_x = np.arange(ow)[None, :] * found.strides[1] - found.before[1]
    columns = np.zeros((n, c, taps, oh, ow), np.float64)
    per = c // offset_group
    for batch, g, tap in itertools.product(range(n), range(offset_group), range(taps)):
        i, j = divmod(tap, size[1])
        y = grid_y + i * found.dilations[0] + offsets[batch, g, tap, 0]
        z = grid_x + j * found.dilations[1] + offsets[batch, g, tap, 1]
        part = _bilinear(x[batch, g * per : (g + 1) * per], y, z)
        columns[batch, g * per : (g + 1) * per, tap] = (
            part if masks is None else part * masks[batch, g, tap]
        )
    inputs, outputs = c // group, w.shape[0] // group
    kernels = w.reshape(group, outputs, inputs, taps)
    grouped = columns.reshape(n, group, inputs, taps, oh, ow)
    y = np.einsum("goit,ngithw->ngohw", kernels, grouped).reshape(n, -1, oh, ow)
    if b is not None:
        y = y + b.reshape(-1, 1, 1)
    return y.astype(x.dtype)


def _corner_boxes(boxes: Array, centred: int) -> Array:
    if centred:
        x, y, w, h = np.moveaxis(boxes, -1, 0)
        return np.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], -1)
    low = np.minimum(boxes[..., :2], boxes[..., 2:])
    return np.concatenate([low, np.maximum(boxes[..., :2], boxes[..., 2:])], -1)


def _overlap(box: Array, others: Array) -> Array:
    """Intersection over union."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=-1)
    area = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=-1)
    union = area - common
    return np.where(union > 0, common / np.where(union > 0, union, 1), 0)


@kernel("NonMaxSuppression")
def non_max_suppression(
    boxes: Array,
    scores: Array,
    most: Array = None,
    overlap: Array = None,
    least: Array = None,
    *,
    center_point_box: int = 0,
) -> Array:
    limit = 0 if most is None else int(np.reshape(most, ()))
    threshold = 0.0 if overlap is None else float(np.reshape(overlap, ()))
    floor = None if least is None else float(np.reshape(least, ()))
    corners = _corner_boxes(boxes.astype(np.float64), center_point_box)
    chosen = []
    for batch, kind in itertools.product(range(scores.shape[0]), range(scores.shape[1])):
        row = scores[batch, kind]
        order = [i for i in np.argsort(-row, kind="stable") if floor is None or row[i] > floor]
        kept: list[int] = []
        while order and len(kept) < limit:
            best = order.pop(0)
            kept.append(best)
            if order:
                close = _overlap(corners[batch, best], corners[batch, order])
                order = [i for i, o in zip(order, close, strict=True) if o <= threshold]
        chosen += [[batch, kind, i] for i in kept]
    return np.asarray(chosen, np.int64).reshape(-1, 3)
