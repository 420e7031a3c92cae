"""Images as files: PNG, JPEG, GIF, BMP and WebP, through Pillow. A file is a uint8 vector."""

from __future__ import annotations

import importlib
import io
from typing import Any

import numpy as np

from sw.graph.build import apply, constant_value, graph_of, register_op
from sw.graph.dtypes import DType, as_dtype, uint8, uint16
from sw.graph.errors import InvalidArgumentError
from sw.graph.image.colour import convert_image_dtype
from sw.graph.ops.random import random_uniform
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor

_MOVING = ("GIF", "WEBP")  # files of several pictures
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def _pillow() -> Any:
    return importlib.import_module("PIL.Image")  # only when an image is read or written


def _pixels(image: Any, channels: int, dtype: DType) -> Any:
    deep = image.mode in ("I", "I;16", "I;16B")
    if deep:
        gray = np.asarray(image).astype(np.uint16)[..., None]
        if dtype is uint8:
            gray = (gray >> 8).astype(np.uint8)
        return np.repeat(gray, channels or 1, -1)
    if channels == 0:
        channels = {"L": 1, "1": 1, "LA": 2, "RGBA": 4}.get(image.mode, 3)
    array = np.asarray(image.convert(_MODES[channels]))
    array = array[..., None] if array.ndim == 2 else array
    return array.astype(np.uint16) * 257 if dtype is uint16 else array


def _decode(xp: Any, data: Any, formats: tuple[str, ...], channels: int, dtype: DType) -> Any:
    pillow = _pillow()
    try:
        with pillow.open(io.BytesIO(bytes(data)), formats=formats) as image:
            if image.format not in _MOVING:
                return _pixels(image, channels, dtype)
            frames = []
            for number in range(getattr(image, "n_frames", 1)):
                image.seek(number)
                frames.append(_pixels(image, 3 if image.format == "GIF" else channels, dtype))
            return np.stack(frames)
    except (OSError, SyntaxError, ValueError) as error:
        what = " or ".join(formats)
        raise InvalidArgumentError(f"{np.size(data)} bytes are no {what} image: {error}") from None


def _decode_type(
    inputs: tuple[Tensor, ...], formats: tuple[str, ...], channels: int, dtype: DType
) -> TensorType:
    if len(formats) == 1 and formats[0] in _MOVING:
        depth = 3 if formats == ("GIF",) else channels or None
        return TensorType(dtype, Shape((None, None, None, depth)))
    return TensorType(dtype, Shape(None if "GIF" in formats else (None, None, channels or None)))


def _encode(xp: Any, image: Any, *given: Any, form: str, quality: int, compression: int) -> Any:
    if image.ndim != 3 or image.shape[2] not in _MODES:
        raise InvalidArgumentError(f"an image [H, W, 1 to 4] is needed, not {image.shape}")
    if image.dtype == np.uint16 and image.shape[2] != 1:
        raise InvalidArgumentError("a uint16 image has one channel")
    pixels = image[..., 0] if image.shape[2] == 1 else image
    file = io.BytesIO()
    quality = int(given[0]) if given else quality
    if not 0 <= quality <= 100:
        raise InvalidArgumentError(f"quality {quality} is not in [0, 100]")
    options = {"quality": quality} if form == "JPEG" else {"compress_level": compression}
    _pillow().fromarray(np.ascontiguousarray(pixels)).save(file, form, **options)
    return np.frombuffer(file.getvalue(), np.uint8)


register_op(
    "decode_image",
    kernel=_decode,
    infer=_decode_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"formats": REQUIRED, "channels": 0, "dtype": uint8},
    host_only=True,
    doc="The pixels [H, W, channels] of an image file.",
)
register_op(
    "encode_image",
    kernel=_encode,
    infer=lambda inputs, **attrs: TensorType(uint8, Shape((None,))),
    gradient=NOT_DIFFERENTIABLE,
    attrs={"form": REQUIRED, "quality": 95, "compression": -1},
    host_only=True,
    doc="An image [H, W, channels] as the bytes of a file; inputs[1]: the quality of a JPEG.",
)


def _jpeg_shape(xp: Any, data: Any, dtype: DType) -> Any:
    try:
        with _pillow().open(io.BytesIO(bytes(data)), formats=("JPEG",)) as image:
            return np.asarray([image.height, image.width, len(image.getbands())], dtype.numpy)
    except (OSError, SyntaxError) as error:
        raise InvalidArgumentError(f"{np.size(data)} bytes are no JPEG image: {error}") from None


register_op(
    "jpeg_shape",
    kernel=_jpeg_shape,
    infer=lambda inputs, dtype: TensorType(dtype, Shape((3,))),
    gradient=NOT_DIFFERENTIABLE,
    attrs={"dtype": REQUIRED},
    host_only=True,
    doc="The height, width and channels of a JPEG file, of which only the header is read.",
)
register_op(
    "is_jpeg",
    kernel=lambda xp, data: np.bool_(bytes(data[:3]) == b"\xff\xd8\xff"),
    infer=lambda inputs: TensorType(as_dtype("bool"), Shape(())),
    gradient=NOT_DIFFERENTIABLE,
    host_only=True,
    doc="Whether the bytes begin like a JPEG file.",
)


def _read(contents: Any, formats: tuple[str, ...], channels: int, dtype: Any, name: Any) -> Tensor:
    kind = as_dtype(dtype)
    if channels not in (0, 1, 3, 4):
        raise InvalidArgumentError(f"channels are 0 (the file's), 1, 3 or 4, not {channels}")
    if kind not in (uint8, uint16):
        raise InvalidArgumentError(f"pixels are uint8 or uint16, not {kind}")
    how = {"formats": formats, "channels": int(channels), "dtype": kind}
    out: Tensor = apply("decode_image", contents, name=name, **how)
    return out


def decode_png(
    contents: Any, channels: int = 0, dtype: Any = uint8, name: str | None = None
) -> Tensor:
    """The pixels of a PNG file, uint8 or uint16; `channels` 0: as many as the file has."""
    return _read(contents, ("PNG",), channels, dtype, name)


def decode_jpeg(
    contents: Any,
    channels: int = 0,
    ratio: int = 1,
    fancy_upscaling: bool = True,
    try_recover_truncated: bool = False,
    acceptable_fraction: float = 1.0,
    name: str | None = None,
) -> Tensor:
    """The uint8 pixels of a JPEG file, every `ratio`-th of them."""
    if ratio not in (1, 2, 4, 8):
        raise InvalidArgumentError(f"ratio is 1, 2, 4 or 8, not {ratio}")
    pixels = _read(contents, ("JPEG",), channels, uint8, name)
    if ratio == 1:
        return pixels
    step = (None, None, int(ratio))
    out: Tensor = apply("strided_slice", pixels, spec=(step, step))
    return out


def decode_gif(contents: Any, name: str | None = None) -> Tensor:
    """All pictures [N, H, W, 3] of a GIF file."""
    return _read(contents, ("GIF",), 3, uint8, name)


def decode_bmp(contents: Any, channels: int = 0, name: str | None = None) -> Tensor:
    """The uint8 pixels of a BMP file."""
    return _read(contents, ("BMP",), channels, uint8, name)


def decode_webp(
    contents: Any, channels: int = 0, dtype: Any = uint8, name: str | None = None
) -> Tensor:
    """The pixels [N, H, W, C] of the pictures of a WebP file, of which a still one has one."""
    return _read(contents, ("WEBP",), channels, dtype, name)


def decode_image(contents: Any, channels: int = 0, name: str | None = None) -> Tensor:
    """The pixels of a PNG, JPEG, GIF or BMP file, whichever it is."""
    return _read(contents, ("PNG", "JPEG", "GIF", "BMP"), channels, uint8, name)


def decode_and_crop_jpeg(
    contents: Any,
    crop_window: Any,
    channels: int = 0,
    ratio: int = 1,
    fancy_upscaling: bool = True,
    try_recover_truncated: bool = False,
    acceptable_fraction: float = 1.0,
    name: str | None = None,
) -> Tensor:
    """The part `crop_window` [top, left, height, width] of `decode_jpeg`."""
    graph = graph_of((contents, crop_window))
    with graph.name_scope(name or "DecodeAndCropJpeg"):
        pixels = decode_jpeg(contents, channels, ratio)
        window = graph.convert(crop_window, as_dtype("int32"))
        begin = apply("concat", window[:2], np.asarray([0], np.int32), axis=0)
        size = apply("concat", window[2:], apply("shape", pixels)[2:], axis=0)
        out: Tensor = apply("dynamic_slice", pixels, begin, size)
        known = constant_value(crop_window)
        sides = (None, None) if known is None else (int(known[2]), int(known[3]))
        out.set_shape([*sides, channels or None])
        return out


def is_jpeg(contents: Any, name: str | None = None) -> Tensor:
    """A bool scalar: whether the bytes begin like a JPEG file."""
    out: Tensor = apply("is_jpeg", contents, name=name)
    return out


def extract_jpeg_shape(
    contents: Any, output_type: Any = "int32", name: str | None = None
) -> Tensor:
    """[height, width, channels] of a JPEG file."""
    out: Tensor = apply("jpeg_shape", contents, name=name, dtype=as_dtype(output_type))
    return out


def encode_png(image: Any, compression: int = -1, name: str | None = None) -> Tensor:
    """The bytes of a PNG file of a uint8 (or gray uint16) image; `compression` from 0 to 9."""
    how = {"form": "PNG", "compression": int(compression)}
    out: Tensor = apply("encode_image", image, name=name, **how)
    return out


def encode_jpeg(
    image: Any,
    format: str = "",
    quality: int = 95,
    progressive: bool = False,
    optimize_size: bool = False,
    name: str | None = None,
) -> Tensor:
    """The bytes of a JPEG file of a uint8 image with 1 or 3 channels."""
    if format not in ("", "grayscale", "rgb"):
        raise InvalidArgumentError(f"format is '', 'grayscale' or 'rgb', not {format!r}")
    how = {"form": "JPEG", "quality": int(quality)}
    out: Tensor = apply("encode_image", image, name=name, **how)
    return out


def adjust_jpeg_quality(image: Any, jpeg_quality: Any, name: str | None = None) -> Tensor:
    """`image` after a turn as a JPEG file of that quality, from 0 to 100, in its own dtype."""
    graph = graph_of((image, jpeg_quality))
    with graph.name_scope(name or "adjust_jpeg_quality"):
        given = graph.convert(image)
        quality = graph.convert(jpeg_quality)
        depth = given.shape[-1]
        flat = convert_image_dtype(given, uint8, saturate=True)
        file = apply("encode_image", flat, quality, form="JPEG")
        back = decode_jpeg(file, 0 if depth is None else depth)
        back.set_shape(given.shape)
        return convert_image_dtype(back, given.dtype, saturate=True)


def random_jpeg_quality(
    image: Any, min_jpeg_quality: int, max_jpeg_quality: int, seed: int | None = None
) -> Tensor:
    """`adjust_jpeg_quality` by a whole number in [min, max), drawn at each run."""
    if not 0 <= min_jpeg_quality < max_jpeg_quality <= 100:
        raise InvalidArgumentError(
            f"qualities from {min_jpeg_quality} to {max_jpeg_quality}: they rise within [0, 100]"
        )
    quality = random_uniform([], min_jpeg_quality, max_jpeg_quality, "int32", seed)
    return adjust_jpeg_quality(image, quality, "random_jpeg_quality")
