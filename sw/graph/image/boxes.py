"""Boxes in images: cropping, drawing, and drawing at random. A box is [y1, x1, y2, x2], each from 0
to 1 over the image's height or width."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, constant_shape, constant_value, graph_of, register_op
from sw.graph.dtypes import float32
from sw.graph.errors import InvalidArgumentError
from sw.graph.ops.creation import sizes_vector
from sw.graph.ops.helpers import require_rank
from sw.graph.ops.random import Seeds, generator, op_seeds
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.state import OpState
from sw.graph.tensor import Tensor


def _samples(first: Any, last: Any, size: int, count: int) -> Any:
    """Where in the image, in pixels, `count` samples between two ends of [0, 1] lie."""
    if count == 1:
        return np.asarray([0.5 * (first + last) * (size - 1)])
    return (first + np.arange(count) * (last - first) / (count - 1)) * (size - 1)


def _weights(places: Any, size: int) -> tuple[Any, Any]:
    """The interpolation matrix of `places` in `size` pixels, and which places are outside."""
    outside = (places < 0) | (places > size - 1)
    matrix = np.zeros((len(places), size))
    inner = np.clip(places, 0, size - 1)
    low = np.floor(inner).astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    rows = np.arange(len(places))
    np.add.at(matrix, (rows, low), 1 - (inner - low))
    np.add.at(matrix, (rows, high), inner - low)
    matrix[outside] = 0
    return matrix, outside


def _matrices(box: Any, image: tuple[int, ...], size: Any) -> Any:
    height, width = image
    y1, x1, y2, x2 = (float(v) for v in box)
    rows, above = _weights(_samples(y1, y2, height, int(size[0])), height)
    columns, beside = _weights(_samples(x1, x2, width, int(size[1])), width)
    return rows, columns, above[:, None] | beside


def _crop(xp: Any, image: Any, boxes: Any, index: Any, size: Any, extrapolation: float) -> Any:
    out = np.empty((len(boxes), int(size[0]), int(size[1]), image.shape[3]), np.float32)
    for at, (box, which) in enumerate(zip(boxes, index, strict=True)):
        if not 0 <= which < len(image):
            raise IndexError(f"box_ind {int(which)} is outside of {len(image)} images")
        rows, columns, outside = _matrices(box, image.shape[1:3], size)
        out[at] = np.einsum("ah,hwc,bw->abc", rows, image[which], columns, optimize=True)
        out[at][outside] = extrapolation
    return out


def _crop_grad(xp: Any, g: Any, shape: Any, boxes: Any, index: Any) -> Any:
    out = np.zeros(tuple(int(s) for s in shape), g.dtype)
    for part, box, which in zip(g, boxes, index, strict=True):
        rows, columns, _ = _matrices(box, out.shape[1:3], g.shape[1:3])
        out[which] += np.einsum("ah,abc,bw->hwc", rows, part, columns, optimize=True)
    return out


def _crop_type(inputs: tuple[Tensor, ...], extrapolation: float) -> TensorType:
    require_rank(inputs[0], 4, "the images [N, H, W, C]")
    require_rank(inputs[1], 2, "the boxes [M, 4]")
    count = inputs[1].shape.dims[0] if inputs[1].shape.dims else None
    height, width = constant_shape(inputs[3]).dims or (None, None)
    depth = inputs[0].shape.dims[3] if inputs[0].shape.dims else None
    return TensorType(float32, Shape((count, height, width, depth)))


def _crop_back(op: Any, g: Tensor) -> list[Any]:
    image, boxes, index, _ = op.inputs
    if not image.dtype.is_floating:
        return [None] * 4
    back = apply("crop_and_resize_grad", g, apply("shape", image), boxes, index)
    if back.dtype is not image.dtype:
        back = apply("cast", back, dtype=image.dtype)
    return [back, None, None, None]


register_op(
    "crop_and_resize_grad",
    kernel=_crop_grad,
    infer=lambda inputs: TensorType(inputs[0].dtype, constant_shape(inputs[1])),
    host_only=True,
    doc="The transpose of crop_and_resize with respect to its images, of shape inputs[1].",
)
register_op(
    "crop_and_resize",
    kernel=_crop,
    infer=_crop_type,
    gradient=_crop_back,
    attrs={"extrapolation": 0.0},
    host_only=True,
    doc="The boxes inputs[1] of the images inputs[2], by bilinear interpolation at size inputs[3]; "
    "differentiable in the images.",
)


def crop_and_resize(
    image: Any,
    boxes: Any,
    box_ind: Any,
    crop_size: Any,
    method: str = "bilinear",
    extrapolation_value: float = 0,
    name: str | None = None,
) -> Tensor:
    """float32 [M, height, width, C]: box m of `image[box_ind[m]]` at `crop_size`."""
    if method != "bilinear":
        raise InvalidArgumentError(f"method {method!r}: only 'bilinear' is known")
    size = sizes_vector(crop_size)
    value = float(extrapolation_value)
    out: Tensor = apply(
        "crop_and_resize", image, boxes, box_ind, size, name=name, extrapolation=value
    )
    return out


_PALETTE = np.asarray(
    [[1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [0.5, 0, 0.5], [0.5, 0.5, 0], [0.5, 0, 0],
     [0, 0, 0.5], [0, 1, 1], [1, 0, 1]]
)  # fmt: skip


def _draw(xp: Any, images: Any, boxes: Any) -> Any:
    out = images.copy()
    height, width, depth = images.shape[1:]
    for image, own in zip(out, boxes, strict=True):
        for number, box in enumerate(own):
            colour = _PALETTE[number % len(_PALETTE)]
            ink = np.ones(depth) if depth == 1 else np.r_[colour, 1.0][:depth]
            y1, x1, y2, x2 = box * (height - 1, width - 1, height - 1, width - 1)
            top, left, bottom, right = (int(v) for v in (y1, x1, y2, x2))
            if top >= height or left >= width or bottom < 0 or right < 0 or top > bottom:
                continue
            rows = slice(max(top, 0), min(bottom, height - 1) + 1)
            columns = slice(max(left, 0), min(right, width - 1) + 1)
            for edge, inside in ((top, top >= 0), (bottom, bottom < height)):
                if inside:
                    image[edge, columns] = ink
            for edge, inside in ((left, left >= 0), (right, right < width)):
                if inside:
                    image[rows, edge] = ink
    return out


register_op(
    "draw_bounding_boxes",
    kernel=_draw,
    gradient=NOT_DIFFERENTIABLE,
    host_only=True,
    doc="Images [N, H, W, C] with the edges of boxes [N, M, 4] drawn, each in another colour.",
)


def draw_bounding_boxes(images: Any, boxes: Any, name: str | None = None) -> Tensor:
    """`images` [N, H, W, C] with the edges of `boxes` [N, M, 4] drawn."""
    out: Tensor = apply("draw_bounding_boxes", images, boxes, name=name)
    return out


def _glimpse(
    xp: Any,
    state: OpState,
    images: Any,
    size: Any,
    offsets: Any,
    how: tuple[bool, ...],
    seeds: Seeds,
) -> Any:
    centred, normalized, noise = how
    height, width = int(size[0]), int(size[1])
    rows, columns = images.shape[1:3]
    out = np.empty((len(images), height, width, images.shape[3]), images.dtype)
    random = generator(state, seeds)
    for at, (image, offset) in enumerate(zip(images, offsets, strict=True)):
        y, x = (float(v) for v in offset)
        if normalized:
            y, x = y * rows, x * columns
        if centred:
            y, x = (y + rows) / 2, (x + columns) / 2
        top, left = int(y - height / 2), int(x - width / 2)
        if noise:
            out[at] = (
                random.uniform(0, 1, out[at].shape) * (image.max() - image.min()) + image.min()
            )
        else:
            out[at] = 0
        inner = (
            slice(max(top, 0), max(min(top + height, rows), 0)),
            slice(max(left, 0), max(min(left + width, columns), 0)),
        )
        part = image[inner]
        if part.size:
            first = (inner[0].start - top, inner[1].start - left)
            out[at][first[0] : first[0] + part.shape[0], first[1] : first[1] + part.shape[1]] = part
    return out


def _glimpse_type(inputs: tuple[Tensor, ...], how: Any, seeds: Any) -> TensorType:
    require_rank(inputs[0], 4, "the images [N, H, W, C]")
    n, _, _, c = inputs[0].shape.dims or (None,) * 4
    height, width = constant_shape(inputs[1]).dims or (None, None)
    return TensorType(inputs[0].dtype, Shape((n, height, width, c)))


register_op(
    "extract_glimpse",
    kernel=_glimpse,
    infer=_glimpse_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"how": REQUIRED, "seeds": REQUIRED},
    stateful=True,
    host_only=True,
    doc="A window of size inputs[1] of each image, its middle at inputs[2]; noise or 0 outside.",
)


def extract_glimpse(
    input: Any,
    size: Any,
    offsets: Any,
    centered: bool = True,
    normalized: bool = True,
    uniform_noise: bool = True,
    name: str | None = None,
) -> Tensor:
    """A window of `size` of each image around `offsets` [N, 2]: (y, x), from the image's middle
    with `centered` (else its upper left), in halves or wholes of it with `normalized` (else in
    pixels). Outside is noise in the image's range, or zeros."""
    how = (bool(centered), bool(normalized), bool(uniform_noise))
    out: Tensor = apply(
        "extract_glimpse",
        input,
        sizes_vector(size),
        offsets,
        name=name,
        how=how,
        seeds=op_seeds(None),
    )
    return out


def _distort(
    xp: Any, state: OpState, size: Any, boxes: Any, seeds: Seeds, least: float, ratios: Any,
    areas: Any, tries: int, whole: bool,
) -> Any:  # fmt: skip
    height, width, depth = (int(s) for s in size)
    random = generator(state, seeds)
    found = np.reshape(boxes, (-1, 4)).astype(np.float64) * (height, width, height, width)
    if not len(found):
        if not whole:
            raise InvalidArgumentError(
                "no bounding boxes are given; use use_image_if_no_bounding_boxes=True"
            )
        found = np.asarray([[0, 0, height, width]], np.float64)
    top, left, high, wide = 0, 0, height, width
    for _ in range(tries):
        ratio = random.uniform(*ratios)
        area = random.uniform(*areas) * height * width
        h = int(np.rint(np.sqrt(area / ratio)))
        w = int(np.rint(h * ratio))
        if not (0 < h <= height and 0 < w <= width):
            continue
        y, x = int(random.integers(0, height - h + 1)), int(random.integers(0, width - w + 1))
        low = np.maximum(found[:, :2], (y, x))
        far = np.minimum(found[:, 2:], (y + h, x + w))
        shared = np.prod(np.clip(far - low, 0, None), 1)
        if (shared >= least * np.prod(found[:, 2:] - found[:, :2], 1)).any() and shared.max() > 0:
            top, left, high, wide = y, x, h, w
            break
    box = [top / height, left / width, (top + high) / height, (left + wide) / width]
    return (
        np.asarray([top, left, 0], size.dtype),
        np.asarray([high, wide, -1], size.dtype),
        np.asarray([[box]], np.float32),
    )


register_op(
    "sample_distorted_bounding_box",
    kernel=_distort,
    infer=lambda inputs, **attrs: [
        TensorType(inputs[0].dtype, Shape((3,))),
        TensorType(inputs[0].dtype, Shape((3,))),
        TensorType(float32, Shape((1, 1, 4))),
    ],
    gradient=NOT_DIFFERENTIABLE,
    attrs=dict.fromkeys(("seeds", "least", "ratios", "areas", "tries", "whole"), REQUIRED),
    stateful=True,
    host_only=True,
    doc="A random part of an image of size inputs[0] that covers enough of a box.",
)


def sample_distorted_bounding_box(
    image_size: Any,
    bounding_boxes: Any,
    seed: int | None = None,
    seed2: int | None = None,
    min_object_covered: float = 0.1,
    aspect_ratio_range: Any = (0.75, 1.33),
    area_range: Any = (0.05, 1.0),
    max_attempts: int = 100,
    use_image_if_no_bounding_boxes: bool = False,
    name: str | None = None,
) -> list[Tensor]:
    """(begin, size, box) for `st.slice` and `draw_bounding_boxes`: a random part of an image of
    `image_size` [H, W, C] that covers `min_object_covered` of one of `bounding_boxes` [1, M, 4];
    the whole image when `max_attempts` find none."""
    graph = graph_of((image_size, bounding_boxes))
    size = graph.convert(image_size)
    known = constant_value(size)
    if known is not None and known.shape != (3,):
        raise InvalidArgumentError(f"image_size is [height, width, channels], not {known.tolist()}")
    out: list[Tensor] = apply(
        "sample_distorted_bounding_box",
        size,
        bounding_boxes,
        name=name,
        seeds=op_seeds(seed),
        least=float(min_object_covered),
        ratios=tuple(float(v) for v in aspect_ratio_range),
        areas=tuple(float(v) for v in area_range),
        tries=int(max_attempts),
        whole=bool(use_image_if_no_bounding_boxes),
    )
    return out
