"""Quantisation played in floating point, for training nets that will be quantised (Jacob et al.,
"Quantization and training of neural networks for efficient integer-arithmetic-only inference",
CVPR 2018).

The range [min, max] is moved a little so that 0 is one of its levels; values are rounded to the
nearest level, halves up. Gradients go straight through within the range and to its ends outside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, register_op
from sw.graph.dtypes import float32
from sw.graph.errors import DTypeError, InvalidArgumentError, ShapeError
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.tensor import Tensor

_ATTRS = {"bits": REQUIRED, "narrow": REQUIRED}


def _nudged(low: Any, high: Any, bits: int, narrow: bool) -> tuple[Any, Any, Any]:
    """(lowest level, highest level, distance of levels), float32 as TensorFlow computes them."""
    first, last = np.float32(narrow), np.float32(2**bits - 1)
    low, high = np.float32(low), np.float32(high)
    if (low > high).any() or (low > 0).any() or (high < 0).any():
        raise InvalidArgumentError(f"the range [{np.min(low)}, {np.max(high)}] must hold 0")
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = (high - low) / (last - first)
        zero = np.where(scale > 0, first - low / scale, first)
    zero = np.clip(np.floor(zero + np.float32(0.5)), first, last).astype(np.float32)
    return (first - zero) * scale, (last - zero) * scale, scale


def _quantise(xp: Any, x: Any, low: Any, high: Any, bits: int, narrow: bool) -> Any:
    bottom, top, scale = _nudged(low, high, bits, narrow)
    inside = np.clip(x, bottom, top) - bottom
    inverse = np.where(scale > 0, 1 / np.where(scale > 0, scale, 1), 0).astype(np.float32)
    levels = np.floor(inside * inverse + np.float32(0.5))
    return (levels * scale + bottom).astype(np.float32)


def _back(xp: Any, g: Any, x: Any, low: Any, high: Any, bits: int, narrow: bool) -> Any:
    bottom, top, _ = _nudged(low, high, bits, narrow)
    below, above = x < bottom, x > top
    axes = tuple(range(x.ndim - np.ndim(low)))  # all, or all but the channels

    def end(where: Any) -> Any:
        return np.asarray(np.sum(np.where(where, g, 0), axis=axes), np.float32)

    return np.where(below | above, 0, g).astype(np.float32), end(below), end(above)


def _type(inputs: tuple[Tensor, ...], bits: int, narrow: bool) -> TensorType:
    x, low, high = inputs
    for tensor in inputs:
        if tensor.dtype is not float32:
            raise DTypeError(f"fake_quant is of float32, not {tensor.dtype}")
    ends = low.shape.merge(high.shape)
    if ends.rank not in (None, 0, 1):
        raise ShapeError(f"min and max are scalars or one for each channel, not {ends}")
    if ends.rank == 1 and x.shape.rank is not None:
        x.shape[-1:].merge(ends)
    return TensorType(float32, x.shape)


register_op(
    "fake_quant_grad",
    kernel=_back,
    infer=lambda inputs, **attrs: [TensorType(float32, t.shape) for t in inputs[1:]],
    attrs=_ATTRS,
    host_only=True,
    doc="The gradients of fake_quant; inputs: its output's gradient and its inputs.",
)
register_op(
    "fake_quant",
    kernel=_quantise,
    infer=_type,
    gradient=lambda op, g: apply("fake_quant_grad", g, *op.inputs, **op.attrs),
    attrs=_ATTRS,
    host_only=True,
    doc="inputs[0] rounded to the levels of the range inputs[1] to inputs[2] (or one for each "
    "channel).",
)


def _bits(num_bits: int, narrow_range: bool) -> dict[str, Any]:
    if not 2 <= num_bits <= 16:
        raise InvalidArgumentError(f"num_bits {num_bits} is not in [2, 16]")
    return {"bits": int(num_bits), "narrow": bool(narrow_range)}


def fake_quant_with_min_max_args(
    inputs: Any,
    min: float = -6.0,
    max: float = 6.0,
    num_bits: int = 8,
    narrow_range: bool = False,
    name: str | None = None,
) -> Tensor:
    """`inputs` rounded to the 2**num_bits levels of [min, max] (one less with `narrow_range`)."""
    how = _bits(num_bits, narrow_range)
    if not min < max:
        raise InvalidArgumentError(f"min {min} must be below max {max}")
    ends = np.float32(min), np.float32(max)
    out: Tensor = apply("fake_quant", inputs, *ends, name=name, **how)
    return out


def fake_quant_with_min_max_args_gradient(
    gradients: Any,
    inputs: Any,
    min: float = -6.0,
    max: float = 6.0,
    num_bits: int = 8,
    narrow_range: bool = False,
    name: str | None = None,
) -> Tensor:
    """`gradients` where `inputs` are in the range, else 0."""
    how = _bits(num_bits, narrow_range)
    ends = np.float32(min), np.float32(max)
    out: list[Tensor] = apply("fake_quant_grad", gradients, inputs, *ends, name=name, **how)
    return out[0]


def fake_quant_with_min_max_vars(
    inputs: Any,
    min: Any,
    max: Any,
    num_bits: int = 8,
    narrow_range: bool = False,
    name: str | None = None,
) -> Tensor:
    """`fake_quant_with_min_max_args` with a range that is trained: scalars."""
    out: Tensor = apply("fake_quant", inputs, min, max, name=name, **_bits(num_bits, narrow_range))
    return out


def fake_quant_with_min_max_vars_gradient(
    gradients: Any,
    inputs: Any,
    min: Any,
    max: Any,
    num_bits: int = 8,
    narrow_range: bool = False,
    name: str | None = None,
) -> list[Tensor]:
    """The gradients with respect to `inputs`, `min` and `max`."""
    how = _bits(num_bits, narrow_range)
    out: list[Tensor] = apply("fake_quant_grad", gradients, inputs, min, max, name=name, **how)
    return out


def fake_quant_with_min_max_vars_per_channel(
    inputs: Any,
    min: Any,
    max: Any,
    num_bits: int = 8,
    narrow_range: bool = False,
    name: str | None = None,
) -> Tensor:
    """`fake_quant_with_min_max_vars` with a range for each channel of the last axis."""
    return fake_quant_with_min_max_vars(inputs, min, max, num_bits, narrow_range, name)


def fake_quant_with_min_max_vars_per_channel_gradient(
    gradients: Any,
    inputs: Any,
    min: Any,
    max: Any,
    num_bits: int = 8,
    narrow_range: bool = False,
    name: str | None = None,
) -> list[Tensor]:
    """The gradients with respect to `inputs`, `min` [C] and `max` [C]."""
    return fake_quant_with_min_max_vars_gradient(
        gradients, inputs, min, max, num_bits, narrow_range, name
    )
