"""Values as TensorBoard's summaries: serialised `Summary` messages, which join by concatenation.

The messages are TensorBoard's own (package `tensorboard`, the extra of that name), imported when
the first one is made.
"""

from __future__ import annotations

import functools
import importlib
import io
import math
import wave
from types import SimpleNamespace
from typing import Any

import numpy as np

from sw.graph.errors import InvalidArgumentError, UnavailableError

_GROWTH = 1.1  # TensorFlow's: each bucket's limit over the one before
_SMALLEST, _LARGEST = 1e-12, 1e20
_MESSAGES = ("summary", "event", "graph", "step_stats", "config", "types", "attr_value")


@functools.cache
def protos() -> Any:
    """TensorBoard's message modules (`summary`, `event`, ...); raises `UnavailableError` saying
    what to install."""
    try:
        found = {n: importlib.import_module(f"tensorboard.compat.proto.{n}_pb2") for n in _MESSAGES}
    except ImportError as error:
        raise UnavailableError(
            f"summaries need TensorBoard ({error}): pip install 'systolica[tensorboard]'"
        ) from None
    return SimpleNamespace(**found)


def _message(tag: str, **kind: Any) -> bytes:
    summary = protos().summary.Summary
    return bytes(summary(value=[summary.Value(tag=tag, **kind)]).SerializeToString())


def scalar(tag: str, value: Any) -> bytes:
    """One number."""
    return _message(tag, simple_value=float(value))


@functools.cache
def _limits() -> np.ndarray[Any, Any]:
    count = math.ceil(math.log(_LARGEST / _SMALLEST) / math.log(_GROWTH))
    up = _SMALLEST * _GROWTH ** np.arange(count)
    return np.concatenate([-up[::-1], [0.0], up, [np.finfo(np.float64).max]])


def histogram(tag: str, values: Any) -> bytes:
    """How often numbers lie in buckets whose limits grow by a tenth. Raises
    `InvalidArgumentError` naming the tag when one is not finite."""
    flat = np.asarray(values, np.float64).reshape(-1)
    if not np.isfinite(flat).all():
        what = "NaN" if np.isnan(flat).any() else "Inf"
        raise InvalidArgumentError(f"histogram summary {tag!r}: {what} among its values")
    limits = _limits()
    counts = np.bincount(np.searchsorted(limits, flat, "right"), minlength=len(limits))
    used = np.flatnonzero(counts)
    first, last = (max(0, used[0] - 1), used[-1] + 1) if len(used) else (0, 1)
    return _message(
        tag,
        histo=protos().summary.HistogramProto(
            min=flat.min() if len(flat) else 0.0,
            max=flat.max() if len(flat) else 0.0,
            num=len(flat),
            sum=flat.sum(),
            sum_squares=(flat**2).sum(),
            bucket_limit=limits[first:last],
            bucket=counts[first:last],
        ),
    )


def _pixels(tag: str, image: Any) -> np.ndarray[Any, Any]:
    """An image as uint8. Floats are scaled as TensorFlow does it: from [0, max] to [0, 255], or,
    with negative values, from [-m, m] so that 0 becomes 127."""
    if image.dtype == np.uint8:
        return np.asarray(image)
    finite = np.isfinite(image)
    if not finite.any():
        return np.zeros(image.shape, np.uint8)
    low, high = float(image[finite].min()), float(image[finite].max())
    if low < 0:
        most = max(-low, high)
        scaled = np.where(finite, image, 0) * (127 / most) + 127
    else:
        scaled = np.where(finite, image, 0) * (255 / high if high > 0 else 0)
    return np.clip(scaled, 0, 255).astype(np.uint8)


def images(tag: str, values: Any, max_outputs: int) -> bytes:
    """The first images of a batch [N, height, width, 1, 3 or 4] as PNG."""
    picture = importlib.import_module("PIL.Image")  # heavy, and only for those who write images
    chosen = values[:max_outputs]
    out = []
    for number, image in enumerate(chosen):
        pixels = _pixels(tag, image)
        height, width, channels = pixels.shape
        file = io.BytesIO()
        picture.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file, format="png")
        message = protos().summary.Summary.Image(
            height=height,
            width=width,
            colorspace=channels,
            encoded_image_string=file.getvalue(),
        )
        title = f"{tag}/image" if len(chosen) == 1 else f"{tag}/image/{number}"
        out.append(_message(title, image=message))
    return b"".join(out)


def audio(tag: str, values: Any, sample_rate: float, max_outputs: int) -> bytes:
    """The first clips of [N, frames] or [N, frames, channels], in [-1, 1], as 16-bit WAV."""
    clips = values[..., np.newaxis] if values.ndim == 2 else values
    out = []
    for number, clip in enumerate(clips[:max_outputs]):
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setnchannels(clip.shape[1])
            writer.setsampwidth(2)
            writer.setframerate(int(sample_rate))
            writer.writeframes(np.round(np.clip(clip, -1, 1) * 32767).astype("<i2").tobytes())
        message = protos().summary.Summary.Audio(
            sample_rate=sample_rate,
            num_channels=clip.shape[1],
            length_frames=clip.shape[0],
            encoded_audio_string=file.getvalue(),
            content_type="audio/wav",
        )
        single = len(clips[:max_outputs]) == 1
        out.append(_message(f"{tag}/audio" if single else f"{tag}/audio/{number}", audio=message))
    return b"".join(out)


def text(tag: str, words: str) -> bytes:
    """Text, which TensorBoard shows as Markdown."""
    metadata = protos().summary.SummaryMetadata()
    metadata.plugin_data.plugin_name = "text"
    kind = importlib.import_module("tensorboard.compat.proto.tensor_pb2").TensorProto
    tensor = kind(dtype=protos().types.DT_STRING, string_val=[words.encode()])
    tensor.tensor_shape.dim.add(size=1)
    return _message(f"{tag}/text_summary", tensor=tensor, metadata=metadata)
