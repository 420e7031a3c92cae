"""ImageDecoder, by Pillow."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from sw.graph.onnx.registry import kernel

Array = Any
MOST_PIXELS = 1 << 26
"""Larger images are refused before they are decoded."""


@kernel("ImageDecoder")
def image_decoder(encoded: Array, *, pixel_format: str = "RGB") -> Array:
    with Image.open(io.BytesIO(np.asarray(encoded, np.uint8).tobytes())) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"an image of {image.width}x{image.height} is too large")
        if pixel_format == "Grayscale":
            return np.asarray(image.convert("L"))[..., None]
        pixels = np.asarray(image.convert("RGB"))
    return pixels[..., ::-1] if pixel_format == "BGR" else pixels
