"""Summary ops: each yields a serialised message for a `FileWriter`, as a uint8 vector (there are no
string tensors), and joins the collection `SUMMARIES`."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph import summaries
from sw.graph.build import apply, graph_of, register_op
from sw.graph.dtypes import uint8
from sw.graph.errors import DTypeError, InvalidArgumentError, ShapeError
from sw.graph.graph import GraphKeys, get_default_graph
from sw.graph.ops.helpers import numeric_type, require_rank
from sw.graph.ops.readers import encode
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor

_BYTES = TensorType(uint8, Shape((None,)))


def _as_vector(message: bytes) -> Any:
    return np.frombuffer(message, np.uint8)


def _scalar_kernel(xp: Any, x: Any, tags: tuple[str, ...]) -> Any:
    values = np.asarray(x).reshape(-1)
    return _as_vector(b"".join(summaries.scalar(t, v) for t, v in zip(tags, values, strict=True)))


def _scalar_type(inputs: tuple[Tensor, ...], tags: tuple[str, ...]) -> TensorType:
    numeric_type(inputs)
    count = inputs[0].shape.num_elements() if inputs[0].shape.known else len(tags)
    if count != len(tags):
        raise ShapeError(f"{len(tags)} tags for values of shape {inputs[0].shape}")
    return _BYTES


def _histogram_type(inputs: tuple[Tensor, ...], tag: str) -> TensorType:
    numeric_type(inputs)
    return _BYTES


def _image_type(inputs: tuple[Tensor, ...], tag: str, most: int) -> TensorType:
    require_rank(inputs[0], 4, f"the images of {tag!r}")
    if inputs[0].shape.rank == 4 and inputs[0].shape[3] not in (None, 1, 3, 4):
        raise ShapeError(f"the images of {tag!r} have 1, 3 or 4 channels, not {inputs[0].shape}")
    if inputs[0].dtype is not uint8 and not inputs[0].dtype.is_floating:
        raise DTypeError(f"the images of {tag!r} are uint8 or floats, not {inputs[0].dtype}")
    return _BYTES


def _audio_type(inputs: tuple[Tensor, ...], tag: str, most: int) -> TensorType:
    if inputs[0].shape.rank not in (None, 2, 3):
        raise ShapeError(f"the audio of {tag!r} is [N, frames(, channels)], not {inputs[0].shape}")
    return _BYTES


def _text_type(inputs: tuple[Tensor, ...], tag: str) -> TensorType:
    if inputs[0].dtype is not uint8:
        raise DTypeError(f"the text of {tag!r} is uint8 (UTF-8), not {inputs[0].dtype}")
    return _BYTES


def _register(name: str, kernel: Any, infer: Any, doc: str, **attrs: Any) -> None:
    register_op(
        name,
        kernel=kernel,
        infer=infer,
        gradient=NOT_DIFFERENTIABLE,
        attrs=attrs,
        host_only=True,
        doc=doc,
    )


_register("scalar_summary", _scalar_kernel, _scalar_type,
          "A message with a number per tag.", tags=REQUIRED)  # fmt: skip
_register("histogram_summary",
          lambda xp, x, tag: _as_vector(summaries.histogram(tag, x)),
          _histogram_type, "A message with a histogram.", tag=REQUIRED)  # fmt: skip
_register("image_summary",
          lambda xp, x, tag, most: _as_vector(summaries.images(tag, x, most)),
          _image_type, "A message with images.", tag=REQUIRED, most=3)  # fmt: skip
_register("audio_summary",
          lambda xp, x, rate, tag, most: _as_vector(summaries.audio(tag, x, float(rate), most)),
          _audio_type, "A message with sound at inputs[1] frames per second.",
          tag=REQUIRED, most=3)  # fmt: skip
_register("text_summary",
          lambda xp, x, tag: _as_vector(summaries.text(tag, bytes(x).decode())),
          _text_type, "A message with text.", tag=REQUIRED)  # fmt: skip
_register("merge_summary", lambda xp, *parts: np.concatenate(parts),
          lambda inputs: _BYTES, "Several messages as one.")  # fmt: skip


def _made(
    op: str, inputs: Any, title: str, collections: Any, family: str | None, **attrs: Any
) -> Tensor:
    """The op, in a name scope of its own; without a tag that scope is its tag."""
    graph = graph_of(inputs)
    with graph.name_scope(f"{family}/{title}" if family else title) as scope:
        if op == "scalar_summary":
            attrs.setdefault("tags", (scope[:-1],))
        else:
            attrs.setdefault("tag", scope[:-1])
        return _collected(graph.apply(op, *inputs, name="summary", **attrs), collections)


def _collected(out: Tensor, collections: Any) -> Tensor:
    keys = [GraphKeys.SUMMARIES] if collections is None else collections
    for key in keys:
        out.graph.root.add_to_collection(key, out)
    return out


def scalar(name: str, tensor: Any, collections: Any = None, family: str | None = None) -> Tensor:
    """A summary of one number."""
    return _made("scalar_summary", (tensor,), name, collections, family)


def histogram(name: str, values: Any, collections: Any = None, family: str | None = None) -> Tensor:
    """A summary of how numbers are distributed."""
    return _made("histogram_summary", (values,), name, collections, family)


def image(
    name: str,
    tensor: Any,
    max_outputs: int = 3,
    collections: Any = None,
    family: str | None = None,
) -> Tensor:
    """A summary of the first `max_outputs` images of [N, height, width, 1, 3 or 4]."""
    return _made("image_summary", (tensor,), name, collections, family, most=int(max_outputs))


def audio(
    name: str,
    tensor: Any,
    sample_rate: Any,
    max_outputs: int = 3,
    collections: Any = None,
    family: str | None = None,
) -> Tensor:
    """A summary of the first `max_outputs` clips of [N, frames] or [N, frames, channels]."""
    rate = sample_rate if hasattr(sample_rate, "_operand") else np.float32(sample_rate)
    inputs = (tensor, rate)
    return _made("audio_summary", inputs, name, collections, family, most=int(max_outputs))


def text(name: str, tensor: Any, collections: Any = None) -> Tensor:
    """A summary of text: a Python string, or a uint8 vector of UTF-8."""
    words = encode(tensor) if isinstance(tensor, (str, bytes)) else tensor
    return _made("text_summary", (words,), name, collections, None)


def merge(inputs: Any, collections: Any = None, name: str | None = None) -> Tensor:
    """Several summaries as one."""
    parts = list(inputs)
    if not parts:
        raise InvalidArgumentError("there are no summaries to merge")
    out: Tensor = apply("merge_summary", *parts, name=name or "Merge")
    return out if collections is None else _collected(out, collections)


def merge_all(key: str = GraphKeys.SUMMARIES, scope: str | None = None) -> Tensor | None:
    """All summaries of the graph as one, or None when there are none."""
    found = get_default_graph().root.get_collection(key, scope)
    return merge(found) if found else None


# --- names of 2016 -------------------------------------------------------------------------------


def scalar_summary(
    tags: Any, values: Any, collections: Any = None, name: str | None = None
) -> Tensor:
    """`scalar`, with a tag, or one per value."""
    many = (tags,) if isinstance(tags, str) else tuple(np.ravel(np.asarray(tags, object)))
    title = name or "ScalarSummary"
    return _made("scalar_summary", (values,), title, collections, None, tags=many)


def histogram_summary(
    tag: str, values: Any, collections: Any = None, name: str | None = None
) -> Tensor:
    """`histogram` with a tag."""
    title = name or "HistogramSummary"
    return _made("histogram_summary", (values,), title, collections, None, tag=str(tag))


def image_summary(
    tag: str, tensor: Any, max_images: int = 3, collections: Any = None, name: str | None = None
) -> Tensor:
    """`image` with a tag."""
    title, most = name or "ImageSummary", int(max_images)
    return _made("image_summary", (tensor,), title, collections, None, tag=str(tag), most=most)


def audio_summary(
    tag: str,
    tensor: Any,
    sample_rate: Any,
    max_outputs: int = 3,
    collections: Any = None,
    name: str | None = None,
) -> Tensor:
    """`audio` with a tag."""
    title, most = name or "AudioSummary", int(max_outputs)
    inputs = (tensor, np.float32(sample_rate))
    return _made("audio_summary", inputs, title, collections, None, tag=str(tag), most=most)


merge_summary = merge
merge_all_summaries = merge_all
