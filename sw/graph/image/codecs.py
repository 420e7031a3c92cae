"""Images as files: PNG, JPEG and GIF, through Pillow. A file's contents are a uint8 vector."""

from __future__ import annotations

import importlib
import io
from typing import Any

import numpy as np

from sw.graph.build import apply, register_op
from sw.graph.dtypes import DType, as_dtype, uint8, uint16
from sw.graph.errors import InvalidArgumentError
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor

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
            if image.format != "GIF":
                return _pixels(image, channels, dtype)
            frames = []
            for number in range(getattr(image, "n_frames", 1)):
                image.seek(number)
                frames.append(_pixels(image, 3, dtype))
            return np.stack(frames)
    except (OSError, SyntaxError, ValueError) as error:
        what = " or ".join(formats)
        raise InvalidArgumentError(f"{np.size(data)} bytes are no {what} image: {error}") from None


def _decode_type(
    inputs: tuple[Tensor, ...], formats: tuple[str, ...], channels: int, dtype: DType
) -> TensorType:
    if formats == ("GIF",):
        return TensorType(dtype, Shape((None, None, None, 3)))
    return TensorType(dtype, Shape(None if "GIF" in formats else (None, None, channels or None)))


def _encode(xp: Any, image: Any, form: str, quality: int, compression: int) -> Any:
    if image.ndim != 3 or image.shape[2] not in _MODES:
        raise InvalidArgumentError(f"an image [H, W, 1 to 4] is needed, not {image.shape}")
    if image.dtype == np.uint16 and image.shape[2] != 1:
        raise InvalidArgumentError("a uint16 image has one channel")
    pixels = image[..., 0] if image.shape[2] == 1 else image
    file = io.BytesIO()
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
    doc="An image [H, W, channels] as the bytes of a file.",
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


def decode_image(contents: Any, channels: int = 0, name: str | None = None) -> Tensor:
    """The pixels of a PNG, JPEG or GIF file, whichever it is."""
    return _read(contents, ("PNG", "JPEG", "GIF"), channels, uint8, name)


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
