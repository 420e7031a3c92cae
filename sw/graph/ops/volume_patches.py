"""The voxels under each window of a volume, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, constant_shape, register_op
from sw.graph.ops.helpers import require_rank, shape_of
from sw.graph.ops.volumes import Frame, Sizes, triple
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor


def _patches(xp: Any, x: Any, ksize: Sizes, strides: Sizes, padding: str) -> Any:
    frame = Frame(ksize, strides, padding)
    return np.concatenate([view for _, view in frame.taps(frame.padded(x))], -1)


def _gather(xp: Any, g: Any, shape: Any, ksize: Sizes, strides: Sizes, padding: str) -> Any:
    frame = Frame(ksize, strides, padding)
    sizes = tuple(int(s) for s in shape)
    total = frame.padded(np.zeros(sizes, g.dtype)).copy()
    parts = np.split(g, int(np.prod(ksize)), -1)
    for (_, view), part in zip(frame.taps(total), parts, strict=True):
        view += part
    return frame.inner(total, sizes[1:-1])


def _type(inputs: tuple[Tensor, ...], ksize: Sizes, strides: Sizes, padding: str) -> TensorType:
    require_rank(inputs[0], 5, "the volume [N, D, H, W, C]")
    dims = inputs[0].shape.dims or (None,) * 5
    frame = Frame(ksize, strides, padding)
    spatial = [frame.out(i, d) for i, d in enumerate(dims[1:-1])]
    depth = None if dims[-1] is None else dims[-1] * int(np.prod(ksize))
    return TensorType(inputs[0].dtype, Shape((dims[0], *spatial, depth)))


_ATTRS = dict.fromkeys(("ksize", "strides", "padding"), REQUIRED)
register_op(
    "extract_volume_patches_grad",
    kernel=_gather,
    infer=lambda inputs, **attrs: TensorType(inputs[0].dtype, constant_shape(inputs[1])),
    gradient=lambda op, g: [apply("extract_volume_patches", g, **op.attrs), None],
    attrs=_ATTRS,
    host_only=True,
    doc="The transpose of extract_volume_patches, of shape inputs[1].",
)
register_op(
    "extract_volume_patches",
    kernel=_patches,
    infer=_type,
    gradient=lambda op, g: [
        apply("extract_volume_patches_grad", g, shape_of(op.inputs[0]), **op.attrs)
    ],
    attrs=_ATTRS,
    host_only=True,
    doc="The voxels under each window of a volume, side by side in the last axis.",
)


def extract_volume_patches(
    input: Any, ksizes: Any, strides: Any, padding: str, name: str | None = None
) -> Tensor:
    """[N, OD, OH, OW, KD*KH*KW*C]: the voxels of [N, D, H, W, C] under each window; `ksizes` and
    `strides` are n, [d, h, w] or [1, d, h, w, 1]."""
    how = {"ksize": triple(ksizes, "ksizes"), "strides": triple(strides, "strides")}
    out: Tensor = apply("extract_volume_patches", input, name=name, padding=padding, **how)
    return out
