"""Resizing, cropping, padding, flipping and turning images [H, W, C] or [N, H, W, C]."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.control_flow import cond
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.ops.arithmetic import cast
from sw.graph.ops.creation import sizes_vector
from sw.graph.ops.random import random_uniform
from sw.graph.ops.shaping import static_ints
from sw.graph.tensor import Tensor


class ResizeMethod:
    """How `resize_images` finds pixels in between."""

    BILINEAR, NEAREST_NEIGHBOR, BICUBIC, AREA = 0, 1, 2, 3


def _image(image: Any, name: str) -> tuple[Any, Tensor]:
    """The graph and the image as a tensor; raises `ShapeError` unless it has rank 3 or 4."""
    graph = graph_of((image,))
    tensor = graph.convert(image)
    if tensor.shape.rank not in (3, 4):
        raise ShapeError(f"{name} needs an image [H, W, C] or images [N, H, W, C], not {tensor!r}")
    return graph, tensor


def _axes(image: Tensor) -> tuple[int, int]:
    """The axes of rows and of columns."""
    first = (image.shape.rank or 3) - 3
    return first, first + 1


def resize_images(
    images: Any,
    size: Any,
    method: int = ResizeMethod.BILINEAR,
    align_corners: bool = False,
    preserve_aspect_ratio: bool = False,
    name: str | None = None,
) -> Tensor:
    """`images` at `size` = (height, width), or as large as fits it with `preserve_aspect_ratio`.
    Bilinear results are float32 for integer images."""
    functions = [resize_bilinear, resize_nearest_neighbor, resize_bicubic, resize_area]
    if method not in range(len(functions)):
        raise InvalidArgumentError(f"method {method} is none of ResizeMethod's")
    function = functions[method]
    _, image = _image(images, "resize_images")
    if preserve_aspect_ratio:
        height, width = (int(v) for v in static_ints(size, "size"))
        have = _sizes(image, "resize_images")
        scale = min(height / have[0], width / have[1])
        size = [int(np.rint(side * scale)) for side in have]
    if image.shape.rank == 4:
        return function(image, size, align_corners)
    many = function(apply("expand_dims", image, axis=0), size, align_corners)
    out: Tensor = apply("squeeze", many, axis=(0,))
    return out


def _resizer(method: str, title: str, words: str) -> Any:
    def function(
        images: Any, size: Any, align_corners: bool = False, name: str | None = None
    ) -> Tensor:
        how = {"method": method, "align_corners": bool(align_corners)}
        out: Tensor = apply("resize", images, sizes_vector(size), name=name, **how)
        return out

    function.__name__ = function.__qualname__ = title
    function.__doc__ = f"[N, H, W, C] at `size`, each pixel {words}."
    return function


resize_bilinear = _resizer("bilinear", "resize_bilinear", "the weighted mean of four")
resize_nearest_neighbor = _resizer("nearest", "resize_nearest_neighbor", "the nearest one's copy")
resize_bicubic = _resizer("bicubic", "resize_bicubic", "a cubic interpolation of sixteen")
resize_area = _resizer("area", "resize_area", "the mean of the area that it covers")


def _cut(image: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    rows, _ = _axes(image)
    spec = [(None, None, None)] * rows + [(top, top + height, None), (left, left + width, None)]
    out: Tensor = apply("strided_slice", image, spec=tuple(spec))
    return out


def _sizes(image: Tensor, name: str) -> tuple[int, int]:
    rows, columns = _axes(image)
    height, width = image.shape[rows], image.shape[columns]
    if height is None or width is None:
        raise ShapeError(f"{name} needs an image of known size, not {image!r}")
    return height, width


def crop_to_bounding_box(
    image: Any, offset_height: int, offset_width: int, target_height: int, target_width: int
) -> Tensor:
    """The part of that size at that offset; raises `ShapeError` when it leaves the image."""
    _, given = _image(image, "crop_to_bounding_box")
    rows, columns = _axes(given)
    ends = (offset_height + target_height, offset_width + target_width)
    for end, size in zip(ends, (given.shape[rows], given.shape[columns]), strict=True):
        if size is not None and end > size or min(offset_height, offset_width) < 0:
            raise ShapeError(f"the box ends at {ends}, the image is {given.shape}")
    return _cut(given, offset_height, offset_width, target_height, target_width)


def pad_to_bounding_box(
    image: Any, offset_height: int, offset_width: int, target_height: int, target_width: int
) -> Tensor:
    """Zeros of the target size with the image at that offset."""
    _, given = _image(image, "pad_to_bounding_box")
    height, width = _sizes(given, "pad_to_bounding_box")
    below = target_height - offset_height - height
    right = target_width - offset_width - width
    if min(below, right, offset_height, offset_width) < 0:
        raise ShapeError(f"the image {given.shape} does not fit {target_height}x{target_width}")
    pads = [(0, 0)] * _axes(given)[0] + [(offset_height, below), (offset_width, right), (0, 0)]
    out: Tensor = apply("pad", given, paddings=tuple(pads))
    return out


def resize_image_with_crop_or_pad(image: Any, target_height: int, target_width: int) -> Tensor:
    """The middle of the image, cut or surrounded by zeros to the target size."""
    _, given = _image(image, "resize_image_with_crop_or_pad")
    height, width = _sizes(given, "resize_image_with_crop_or_pad")
    smaller = _cut(
        given,
        max(height - target_height, 0) // 2,
        max(width - target_width, 0) // 2,
        min(height, target_height),
        min(width, target_width),
    )
    return pad_to_bounding_box(
        smaller,
        max(target_height - height, 0) // 2,
        max(target_width - width, 0) // 2,
        target_height,
        target_width,
    )


resize_with_crop_or_pad = resize_image_with_crop_or_pad


def resize_image_with_pad(
    image: Any,
    target_height: int,
    target_width: int,
    method: int = ResizeMethod.BILINEAR,
    align_corners: bool = False,
) -> Tensor:
    """As large as fits the target size without distortion, zeros around it."""
    _, given = _image(image, "resize_image_with_pad")
    height, width = _sizes(given, "resize_image_with_pad")
    if min(target_height, target_width) < 1:
        raise InvalidArgumentError(f"a target of {target_height}x{target_width} holds no image")
    shrink = max(height / target_height, width / target_width)
    new = int(height / shrink), int(width / shrink)
    top = max(0, int((target_height - height / shrink) // 2))
    left = max(0, int((target_width - width / shrink) // 2))
    resized = resize_images(given, new, method, align_corners)
    return pad_to_bounding_box(resized, top, left, target_height, target_width)


def central_crop(image: Any, central_fraction: float) -> Tensor:
    """The middle `central_fraction` of each side."""
    if not 0 < central_fraction <= 1:
        raise InvalidArgumentError(f"central_fraction {central_fraction} is not in (0, 1]")
    _, given = _image(image, "central_crop")
    height, width = _sizes(given, "central_crop")
    top = int((height - height * central_fraction) / 2)
    left = int((width - width * central_fraction) / 2)
    return _cut(given, top, left, height - 2 * top, width - 2 * left)


def flip_left_right(image: Any) -> Tensor:
    """Columns in reverse order."""
    _, given = _image(image, "flip_left_right")
    out: Tensor = apply("reverse", given, axis=(_axes(given)[1],))
    return out


def flip_up_down(image: Any) -> Tensor:
    """Rows in reverse order."""
    _, given = _image(image, "flip_up_down")
    out: Tensor = apply("reverse", given, axis=(_axes(given)[0],))
    return out


def transpose_image(image: Any) -> Tensor:
    """Rows and columns swapped."""
    _, given = _image(image, "transpose_image")
    rows, columns = _axes(given)
    perm = (*range(rows), columns, rows, columns + 1)
    out: Tensor = apply("transpose", given, perm=perm)
    return out


def rot90(image: Any, k: int = 1, name: str | None = None) -> Tensor:
    """Turned counter-clockwise by `k` quarters."""
    _, given = _image(image, "rot90")
    turns = int(static_ints(k, "k")) % 4
    if turns == 0:
        out: Tensor = apply("identity", given, name=name)
        return out
    if turns == 1:
        return flip_up_down(transpose_image(given))
    if turns == 2:
        return flip_up_down(flip_left_right(given))
    return transpose_image(flip_up_down(given))


def _maybe(image: Any, seed: int | None, change: Any, name: str) -> Tensor:
    graph, given = _image(image, name)
    with graph.name_scope(name):
        coin = random_uniform([], seed=seed) < 0.5
        out: Tensor = cond(coin, lambda: change(given), lambda: apply("identity", given))
        return out


def random_flip_left_right(image: Any, seed: int | None = None) -> Tensor:
    """Mirrored with probability one half."""
    return _maybe(image, seed, flip_left_right, "random_flip_left_right")


def random_flip_up_down(image: Any, seed: int | None = None) -> Tensor:
    """Upside down with probability one half."""
    return _maybe(image, seed, flip_up_down, "random_flip_up_down")


def random_crop(value: Any, size: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """A part of shape `size` of `value`, at a random place."""
    graph = graph_of((value,))
    with graph.name_scope(name or "random_crop"):
        x = graph.convert(value)
        target = np.asarray(static_ints(size, "size"), np.int32)
        room = apply("shape", x) - target
        check = apply("assert", apply("greater_equal", room, 0), apply("shape", x), summarize=9)
        with graph.control_dependencies([check]):
            draw = random_uniform(target.shape, seed=seed)
        wide = cast(room + 1, draw.dtype)
        offset = apply("minimum", cast(draw * wide, room.dtype), room)
        out: Tensor = apply("dynamic_slice", x, offset, target)
        return out
