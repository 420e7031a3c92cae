"""Brightness, contrast, hue and saturation of images."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.dtypes import as_dtype
from sw.graph.errors import InvalidArgumentError
from sw.graph.ops.einsum import tensordot
from sw.graph.ops.random import random_uniform
from sw.graph.tensor import Tensor


def convert_image_dtype(
    image: Any, dtype: Any, saturate: bool = False, name: str | None = None
) -> Tensor:
    """`image` as `dtype`: floats run from 0 to 1, integers from 0 to their maximum. `saturate`
    clips what is outside."""
    graph = graph_of((image,))
    x, want = graph.convert(image), as_dtype(dtype)
    with graph.name_scope(name or "convert_image"):
        if x.dtype is want:
            return x
        if x.dtype.is_integer and want.is_integer:
            scale = (want.max + 1) / (x.dtype.max + 1)
            wide = apply("cast", x, dtype=as_dtype("float64")) * scale
            out: Tensor = apply("cast", apply("floor", wide), dtype=want)
            return out
        if x.dtype.is_integer:
            out = apply("cast", x, dtype=want) * (1.0 / x.dtype.max)
            return out
        if want.is_integer:
            scaled = x * (want.max + 0.5)
            if saturate:
                scaled = apply("minimum", apply("maximum", scaled, 0.0), float(want.max))
            out = apply("cast", scaled, dtype=want)
            return out
        out = apply("cast", x, dtype=want)
        return out


def _in_floats(image: Any, name: str, change: Any) -> Tensor:
    """`change` of the image as float32, in the image's own dtype again."""
    graph = graph_of((image,))
    with graph.name_scope(name):
        x = graph.convert(image)
        flat = x if x.dtype.is_floating else convert_image_dtype(x, np.float32)
        return convert_image_dtype(change(flat), x.dtype, saturate=True)


def adjust_brightness(image: Any, delta: Any) -> Tensor:
    """`delta`, in [-1, 1], added to every channel."""
    return _in_floats(image, "adjust_brightness", lambda x: x + delta)


def adjust_contrast(images: Any, contrast_factor: Any) -> Tensor:
    """`(x - mean) * contrast_factor + mean`, the mean of each channel of each image."""

    def change(x: Tensor) -> Tensor:
        mean = apply("reduce_mean", x, axis=(-3, -2), keepdims=True)
        out: Tensor = (x - mean) * contrast_factor + mean
        return out

    return _in_floats(images, "adjust_contrast", change)


def adjust_hue(image: Any, delta: Any, name: str | None = None) -> Tensor:
    """The hue turned by `delta`, 1 being once round."""

    def change(x: Tensor) -> Tensor:
        hsv = apply("rgb_to_hsv", x)
        hue, rest = hsv[..., :1], hsv[..., 1:]
        turned = apply("mod", hue + delta, apply("ones_like", hue))
        out: Tensor = apply("hsv_to_rgb", apply("concat", turned, rest, axis=-1))
        return out

    return _in_floats(image, name or "adjust_hue", change)


def adjust_saturation(image: Any, saturation_factor: Any, name: str | None = None) -> Tensor:
    """The saturation times `saturation_factor`."""

    def change(x: Tensor) -> Tensor:
        hsv = apply("rgb_to_hsv", x)
        scaled = apply("minimum", hsv[..., 1:2] * saturation_factor, 1.0)
        out: Tensor = apply(
            "hsv_to_rgb", apply("concat", hsv[..., :1], scaled, hsv[..., 2:], axis=-1)
        )
        return out

    return _in_floats(image, name or "adjust_saturation", change)


def adjust_gamma(image: Any, gamma: Any = 1, gain: Any = 1) -> Tensor:
    """`gain * x ** gamma`."""
    return _in_floats(image, "adjust_gamma", lambda x: gain * apply("pow", x, float(gamma)))


def _between(low: float, high: float, seed: int | None) -> Tensor:
    if low >= high:
        raise InvalidArgumentError(f"lower {low} must be below upper {high}")
    return random_uniform([], low, high, seed=seed)


def random_brightness(image: Any, max_delta: float, seed: int | None = None) -> Tensor:
    """`adjust_brightness` by a number in [-max_delta, max_delta)."""
    return adjust_brightness(image, _between(-max_delta, max_delta, seed))


def random_contrast(image: Any, lower: float, upper: float, seed: int | None = None) -> Tensor:
    """`adjust_contrast` by a number in [lower, upper)."""
    return adjust_contrast(image, _between(lower, upper, seed))


def random_hue(image: Any, max_delta: float, seed: int | None = None) -> Tensor:
    """`adjust_hue` by a number in [-max_delta, max_delta), at most one half."""
    if not 0 <= max_delta <= 0.5:
        raise InvalidArgumentError(f"max_delta {max_delta} is not in [0, 0.5]")
    return adjust_hue(image, _between(-max_delta, max_delta, seed))


def random_saturation(image: Any, lower: float, upper: float, seed: int | None = None) -> Tensor:
    """`adjust_saturation` by a number in [lower, upper)."""
    return adjust_saturation(image, _between(lower, upper, seed))


def rgb_to_grayscale(images: Any, name: str | None = None) -> Tensor:
    """Luma of [..., 3] as [..., 1] (ITU-R BT.601)."""
    weights = np.asarray([0.2989, 0.5870, 0.1140])

    def change(x: Tensor) -> Tensor:
        out: Tensor = apply(
            "reduce_sum", x * weights.astype(x.dtype.numpy), axis=(-1,), keepdims=True
        )
        return out

    return _in_floats(images, name or "rgb_to_grayscale", change)


def grayscale_to_rgb(images: Any, name: str | None = None) -> Tensor:
    """[..., 1] as [..., 3]."""
    graph = graph_of((images,))
    x = graph.convert(images)
    out: Tensor = apply("concat", x, x, x, name=name, axis=-1)
    return out


def rgb_to_hsv(images: Any, name: str | None = None) -> Tensor:
    """Hue, saturation and value, all in [0, 1], of colours in [0, 1]."""
    out: Tensor = apply("rgb_to_hsv", images, name=name)
    return out


def hsv_to_rgb(images: Any, name: str | None = None) -> Tensor:
    """The inverse of `rgb_to_hsv`."""
    out: Tensor = apply("hsv_to_rgb", images, name=name)
    return out


def per_image_standardization(image: Any) -> Tensor:
    """Mean 0 and variance 1 over each image, without dividing by less than 1 / sqrt(pixels)."""
    graph = graph_of((image,))
    with graph.name_scope("per_image_standardization"):
        x = graph.convert(image)
        x = x if x.dtype.is_floating else apply("cast", x, dtype=as_dtype("float32"))
        axes = (-3, -2, -1)
        mean = apply("reduce_mean", x, axis=axes, keepdims=True)
        variance = apply("reduce_mean", apply("square", x - mean), axis=axes, keepdims=True)
        ones = apply("reduce_sum", apply("ones_like", x), axis=axes, keepdims=True)
        deviation = apply("maximum", apply("sqrt", variance), apply("rsqrt", ones))
        out: Tensor = (x - mean) / deviation
        return out


def total_variation(images: Any, name: str | None = None) -> Tensor:
    """The sum of absolute differences of neighbouring pixels, one number per image."""
    graph = graph_of((images,))
    with graph.name_scope(name or "total_variation"):
        x = graph.convert(images)
        down = abs(x[..., 1:, :, :] - x[..., :-1, :, :])
        right = abs(x[..., :, 1:, :] - x[..., :, :-1, :])
        axes = (-3, -2, -1)
        out: Tensor = apply("reduce_sum", down, axis=axes) + apply("reduce_sum", right, axis=axes)
        return out


# NTSC (FCC 1953) and PAL (ITU-R BT.470), as TensorFlow has them; a column per result.
_TO_YIQ = [[0.299, 0.59590059, 0.2115], [0.587, -0.27455667, -0.52273617],
           [0.114, -0.32134392, 0.31119955]]  # fmt: skip
_FROM_YIQ = [[1, 1, 1], [0.95598634, -0.27201283, -1.10674021],
             [0.6208248, -0.64720424, 1.70423049]]  # fmt: skip
_TO_YUV = [[0.299, -0.14714119, 0.61497538], [0.587, -0.28886916, -0.51496512],
           [0.114, 0.43601035, -0.10001026]]  # fmt: skip
_FROM_YUV = [[1, 1, 1], [0, -0.394642334, 2.03206185], [1.13988303, -0.58062185, 0]]


def _mixed(name_: str, matrix: Any, words: str) -> Any:
    def function(images: Any) -> Tensor:
        graph = graph_of((images,))
        with graph.name_scope(name_):
            x = graph.convert(images)
            out: Tensor = tensordot(x, np.asarray(matrix, x.dtype.numpy), [[-1], [0]])
            return out

    function.__name__ = function.__qualname__ = name_
    function.__doc__ = f"{words}, of floating-point [..., 3]."
    return function


rgb_to_yiq = _mixed("rgb_to_yiq", _TO_YIQ, "Luma and two colour differences (NTSC)")
yiq_to_rgb = _mixed("yiq_to_rgb", _FROM_YIQ, "The inverse of `rgb_to_yiq`")
rgb_to_yuv = _mixed("rgb_to_yuv", _TO_YUV, "Luma and two colour differences (PAL)")
yuv_to_rgb = _mixed("yuv_to_rgb", _FROM_YUV, "The inverse of `rgb_to_yuv`")
