"""How alike two images are, and where an image changes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.dtypes import float32
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.image.colour import convert_image_dtype
from sw.graph.tensor import Tensor

_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al., Asilomar 2003


def _pair(a: Any, b: Any, max_val: Any) -> tuple[Tensor, Tensor, Any]:
    """Both images as float32 and the range of their values, likewise scaled."""
    graph = graph_of((a, b))
    left = graph.convert(a)
    right = graph.convert(b, left.dtype)
    left.shape.merge(right.shape)
    if left.shape.rank is None or left.shape.rank < 3:
        raise ShapeError(f"images [..., H, W, C] are needed, not {left!r}")
    top = convert_image_dtype(graph.convert(max_val, left.dtype), float32)
    return convert_image_dtype(left, float32), convert_image_dtype(right, float32), top


def psnr(a: Any, b: Any, max_val: Any, name: str | None = None) -> Tensor:
    """Peak signal-to-noise ratio in decibels, one number per image: 20 log10(max_val) - 10
    log10(mean squared difference)."""
    with graph_of((a, b)).name_scope(name or "PSNR"):
        x, y, top = _pair(a, b, max_val)
        error = apply(
            "reduce_mean", apply("squared_difference", x, y), axis=(-3, -2, -1), keepdims=False
        )
        out: Tensor = (20 * apply("log", top) - 10 * apply("log", error)) / math.log(10.0)
        return out


def _gaussian(size: int, sigma: float) -> Any:
    at = np.arange(size) - (size - 1) / 2
    line = np.exp(-0.5 * (at / sigma) ** 2)
    window = np.outer(line, line)
    return (window / window.sum()).astype(np.float32)


def _per_channel(
    x: Tensor, y: Tensor, top: Any, size: int, sigma: float, k1: float, k2: float
) -> tuple[Tensor, Tensor]:
    """(structural similarity, contrast and structure alone) of each channel [N, C]."""
    _, height, width, channels = x.shape.dims or (None,) * 4
    if channels is None:
        raise ShapeError(f"the number of channels of {x!r} must be known")
    for side in (height, width):
        if side is not None and side < size:
            raise ShapeError(f"a window of {size} does not fit images of {x.shape}")
    window = np.repeat(_gaussian(size, sigma)[:, :, None, None], channels, 2)

    def blurred(image: Tensor) -> Any:
        return apply("depthwise_conv2d", image, window, strides=(1, 1), padding="VALID")

    c1, c2 = (k1 * top) ** 2, (k2 * top) ** 2
    mean_x, mean_y = blurred(x), blurred(y)
    product, squares = 2 * mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    luminance = (product + c1) / (squares + c1)
    structure = (2 * blurred(x * y) - product + c2) / (blurred(x * x + y * y) - squares + c2)
    whole = apply("reduce_mean", luminance * structure, axis=(1, 2), keepdims=False)
    return whole, apply("reduce_mean", structure, axis=(1, 2), keepdims=False)


def _as_batch(x: Tensor) -> Tensor:
    if x.shape.rank == 4:
        return x
    if not x.shape[-3:].known:
        raise ShapeError(f"the size of {x!r} must be known")
    out: Tensor = apply("reshape", x, np.asarray([-1, *x.shape[-3:].sizes()], np.int32))
    return out


def _like_batch(value: Tensor, image: Tensor) -> Tensor:
    if image.shape.rank == 4:
        return value
    out: Tensor = apply("reshape", value, apply("shape", image)[:-3])
    return out


def ssim(
    img1: Any,
    img2: Any,
    max_val: Any,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    name: str | None = None,
) -> Tensor:
    """Structural similarity, at most 1, one number per image, the mean over windows and channels
    (Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004).
    `max_val`: the range of the values."""
    with graph_of((img1, img2)).name_scope(name or "SSIM"):
        x, y, top = _pair(img1, img2, max_val)
        whole, _ = _per_channel(_as_batch(x), _as_batch(y), top, filter_size, filter_sigma, k1, k2)
        return _like_batch(apply("reduce_mean", whole, axis=(-1,), keepdims=False), x)


def _half(x: Tensor) -> Tensor:
    """Half the size, by means of four; an odd last row or column counts twice."""
    for axis in (1, 2):
        size = x.shape[axis]
        if size is None:
            raise ShapeError(f"the size of {x!r} must be known")
        if size % 2:
            last = [(None, None, None)] * axis + [(-1, None, None)]
            x = apply("concat", x, apply("strided_slice", x, spec=tuple(last)), axis=axis)
    out: Tensor = apply("avg_pool", x, ksize=(2, 2), strides=(2, 2), padding="VALID")
    return out


def ssim_multiscale(
    img1: Any,
    img2: Any,
    max_val: Any,
    power_factors: Any = _SCALES,
    filter_size: int = 11,
    filter_sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
    name: str | None = None,
) -> Tensor:
    """Structural similarity at `len(power_factors)` scales, each of half the size of the one
    before, multiplied as powers (Wang et al., 2003); one number per image."""
    factors = np.asarray(power_factors, np.float32)
    if factors.ndim != 1 or not len(factors):
        raise InvalidArgumentError(f"power_factors {power_factors!r} are a list of numbers")
    with graph_of((img1, img2)).name_scope(name or "MS-SSIM"):
        x, y, top = _pair(img1, img2, max_val)
        a, b = _as_batch(x), _as_batch(y)
        parts = []
        for number in range(len(factors)):
            if number:
                a, b = _half(a), _half(b)
            whole, structure = _per_channel(a, b, top, filter_size, filter_sigma, k1, k2)
            parts.append(apply("relu", whole if number == len(factors) - 1 else structure))
        stacked = apply("pow", apply("stack", *parts, axis=-1), factors)
        product = apply("reduce_prod", stacked, axis=(-1,), keepdims=False)
        return _like_batch(apply("reduce_mean", product, axis=(-1,), keepdims=False), x)


def image_gradients(image: Any) -> tuple[Tensor, Tensor]:
    """(dy, dx) of [N, H, W, C]: the next pixel minus this one, 0 in the last row (column)."""
    graph = graph_of((image,))
    with graph.name_scope("image_gradients"):
        x = graph.convert(image)
        if x.shape.rank != 4:
            raise ShapeError(f"images [N, H, W, C] are needed, not {x!r}")
        dy, dx = x[:, 1:] - x[:, :-1], x[:, :, 1:] - x[:, :, :-1]
        pads = ((0, 0), (0, 1), (0, 0), (0, 0)), ((0, 0), (0, 0), (0, 1), (0, 0))
        down, right = (apply("pad", d, paddings=p) for d, p in zip((dy, dx), pads, strict=True))
        return down, right


def sobel_edges(image: Any) -> Tensor:
    """[N, H, W, C, 2]: Sobel's filters of each channel, dy and dx; borders are mirrored."""
    graph = graph_of((image,))
    with graph.name_scope("sobel_edges"):
        x = graph.convert(image)
        if x.shape.rank != 4 or x.shape[3] is None:
            raise ShapeError(f"images [N, H, W, C] of known depth are needed, not {x!r}")
        dy = np.outer([-1, 0, 1], [1, 2, 1])
        pair = np.stack([dy, dy.T], -1).astype(x.dtype.numpy)
        window = np.repeat(pair[:, :, None], x.shape[3], 2)
        pads = ((0, 0), (1, 1), (1, 1), (0, 0))
        wide = apply("pad", x, paddings=pads, mode="REFLECT")
        flat = apply("depthwise_conv2d", wide, window, strides=(1, 1), padding="VALID")
        sizes = apply("concat", apply("shape", x), np.asarray([2], np.int32), axis=0)
        out: Tensor = apply("reshape", flat, sizes)
        out.set_shape(x.shape.concatenate([2]))
        return out
