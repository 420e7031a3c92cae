"""Images in another size, and normalised across channels: ops with kernels of their own.

Resizing is linear, so its gradient is the transposed interpolation: rows and columns are each a
sparse matrix of a few entries per output pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, constant_shape, register_op
from sw.graph.dtypes import float32
from sw.graph.errors import DTypeError
from sw.graph.ops.helpers import floating_type, require_rank
from sw.graph.registry import NOT_DIFFERENTIABLE, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor

_ATTRS = {"method": "bilinear", "align_corners": False}


def _scale(size: int, out: int, align: bool) -> float:
    return (size - 1) / (out - 1) if align and out > 1 else size / out


def _taps(size: int, out: int, method: str, align: bool) -> tuple[Any, Any, Any]:
    """For each output pixel: lower source, upper source, weight of the upper one."""
    at = np.arange(out) * _scale(size, out, align)
    if method == "nearest":
        near = np.floor(at + 0.5) if align else np.floor(at)
        index = np.minimum(near.astype(np.int64), size - 1)
        return index, index, np.zeros(out)
    low = np.minimum(np.floor(at).astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    return low, high, at - low


def _cubic(distance: Any) -> Any:
    """The cubic convolution kernel with a = -0.75 (Keys, 1981), as TensorFlow 1.x tabulates it: at
    1024 steps per pixel."""
    x, a = np.abs(distance), -0.75
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _spread(size: int, out: int, method: str, align: bool, dtype: Any) -> Any:
    """The matrix of the methods with more than two taps."""
    matrix = np.zeros((out, size), dtype)
    scale = _scale(size, out, align)
    for row in range(out):
        if method == "area":
            ends = row * scale, (row + 1) * scale
            pixels = np.arange(int(ends[0]), int(np.ceil(ends[1] - 1e-9)))
            share = np.minimum(pixels + 1, ends[1]) - np.maximum(pixels, ends[0])
            weights = share / scale
        else:
            first = int(np.floor(row * scale))
            step = np.rint((row * scale - first) * 1024) / 1024
            pixels = first + np.arange(-1, 3)
            weights = _cubic(step - np.arange(-1, 3))
        np.add.at(matrix[row], np.clip(pixels, 0, size - 1), weights)
    return matrix


def _matrix(size: int, out: int, method: str, align: bool, dtype: Any) -> Any:
    if method in ("area", "bicubic"):
        return _spread(size, out, method, align, dtype)
    low, high, weight = _taps(size, out, method, align)
    matrix = np.zeros((out, size), dtype)
    rows = np.arange(out)
    np.add.at(matrix, (rows, low), 1 - weight)
    np.add.at(matrix, (rows, high), weight)
    return matrix


def _resize(xp: Any, x: Any, size: Any, method: str, align_corners: bool) -> Any:
    height, width = (int(s) for s in size)
    if method == "nearest":
        rows = _taps(x.shape[1], height, method, align_corners)[0]
        columns = _taps(x.shape[2], width, method, align_corners)[0]
        return x[:, rows][:, :, columns]
    kind = x.dtype if x.dtype.kind == "f" else np.dtype(np.float32)
    rows = _matrix(x.shape[1], height, method, align_corners, kind)
    columns = _matrix(x.shape[2], width, method, align_corners, kind)
    return np.einsum("ah,nhwc,bw->nabc", rows, x.astype(kind), columns, optimize=True)


def _resize_grad(xp: Any, g: Any, shape: Any, method: str, align_corners: bool) -> Any:
    _, height, width, _ = (int(s) for s in shape)
    rows = _matrix(height, g.shape[1], method, align_corners, g.dtype)
    columns = _matrix(width, g.shape[2], method, align_corners, g.dtype)
    return np.einsum("ah,nabc,bw->nhwc", rows, g, columns, optimize=True)


def _type(inputs: tuple[Tensor, ...], method: str, align_corners: bool) -> TensorType:
    require_rank(inputs[0], 4, "the images [N, H, W, C]")
    n, _, _, c = inputs[0].shape.dims or (None,) * 4
    height, width = constant_shape(inputs[1]).dims or (None, None)
    keeps = method == "nearest" or inputs[0].dtype.is_floating
    return TensorType(inputs[0].dtype if keeps else float32, Shape((n, height, width, c)))


def _back(op: Any, g: Tensor) -> list[Any]:
    if not op.inputs[0].dtype.is_floating:
        return [None, None]
    return [apply("resize_grad", g, apply("shape", op.inputs[0]), **op.attrs), None]


register_op(
    "resize_grad",
    kernel=_resize_grad,
    infer=lambda inputs, **attrs: TensorType(inputs[0].dtype, constant_shape(inputs[1])),
    gradient=lambda op, g: [
        apply("resize", g, apply("shape", op.inputs[0])[1:3], **op.attrs),
        None,
    ],
    attrs=_ATTRS,
    host_only=True,
    doc="The transpose of resize; inputs[1] is the shape before it.",
)
register_op(
    "resize",
    kernel=_resize,
    infer=_type,
    gradient=_back,
    attrs=_ATTRS,
    host_only=True,
    doc="Images [N, H, W, C] at the size inputs[1]: nearest, bilinear, bicubic or by area.",
)


_LRN = {"depth_radius": 5, "bias": 1.0, "alpha": 1.0, "beta": 0.5}


def _window_sum(x: Any, radius: int) -> Any:
    """Sums over `2 radius + 1` neighbours of the last axis, zeros beyond its ends."""
    pads = [(0, 0)] * (x.ndim - 1) + [(radius + 1, radius)]
    total = np.cumsum(np.pad(x, pads), -1)
    width = 2 * radius + 1
    return total[..., width:] - total[..., :-width]


def _lrn(xp: Any, x: Any, depth_radius: int, bias: float, alpha: float, beta: float) -> Any:
    norm = bias + alpha * _window_sum(x * x, depth_radius)
    return (x * norm**-beta).astype(x.dtype)


def _lrn_back(
    xp: Any, g: Any, x: Any, depth_radius: int, bias: float, alpha: float, beta: float
) -> Any:
    norm = bias + alpha * _window_sum(x * x, depth_radius)
    inner = _window_sum(g * x * norm ** (-beta - 1), depth_radius)
    return (g * norm**-beta - 2 * alpha * beta * x * inner).astype(x.dtype)


register_op(
    "lrn_grad",
    kernel=_lrn_back,
    gradient=None,
    attrs=_LRN,
    host_only=True,
    doc="The gradient of lrn; inputs its output's gradient and its input.",
)
register_op(
    "lrn",
    kernel=_lrn,
    infer=floating_type,
    gradient=lambda op, g: [apply("lrn_grad", g, op.inputs[0], **op.attrs)],
    attrs=_LRN,
    host_only=True,
    doc="Each channel divided by a power of its neighbours' energy (Krizhevsky et al., 2012).",
)


def local_response_normalization(
    input: Any,
    depth_radius: int = 5,
    bias: float = 1.0,
    alpha: float = 1.0,
    beta: float = 0.5,
    name: str | None = None,
) -> Tensor:
    """`x / (bias + alpha * sum of x**2 over the nearest 2 depth_radius + 1 channels) ** beta`."""
    how = {"bias": float(bias), "alpha": float(alpha), "beta": float(beta)}
    out: Tensor = apply("lrn", input, name=name, depth_radius=int(depth_radius), **how)
    return out


def _to_hsv(xp: Any, rgb: Any) -> Any:
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    value, low = rgb.max(-1), rgb.min(-1)
    span = value - low
    safe = np.where(span > 0, span, 1)
    hue = np.where(
        value == r,
        (g - b) / safe,
        np.where(value == g, 2 + (b - r) / safe, 4 + (r - g) / safe),
    )
    hue = np.where(span > 0, hue / 6 % 1, 0)
    saturation = np.where(value > 0, span / np.where(value > 0, value, 1), 0)
    return np.stack([hue, saturation, value], -1).astype(rgb.dtype)


def _to_rgb(xp: Any, hsv: Any) -> Any:
    hue, saturation, value = hsv[..., 0] * 6, hsv[..., 1], hsv[..., 2]
    shares = [np.clip(np.abs((hue + shift) % 6 - 3) - 1, 0, 1) for shift in (0, 4, 2)]
    rgb = [value * (1 + saturation * (share - 1)) for share in shares]
    return np.stack(rgb, -1).astype(hsv.dtype)


def _colour_type(inputs: tuple[Tensor, ...]) -> TensorType:
    kind = floating_type(inputs)
    if kind.shape.dims is not None and (
        not kind.shape.dims or kind.shape.dims[-1] not in (3, None)
    ):
        raise DTypeError(f"colours [..., 3] are needed, not shape {kind.shape}")
    return kind


for _name, _kernel in (("rgb_to_hsv", _to_hsv), ("hsv_to_rgb", _to_rgb)):
    register_op(
        _name,
        kernel=_kernel,
        infer=_colour_type,
        gradient=NOT_DIFFERENTIABLE,
        host_only=True,
        doc=f"{_name} of colours in [0, 1] along the last axis.",
    )
