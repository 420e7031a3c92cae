"""Layers' pieces: bias, softmax, dropout, normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.ops.helpers import floating_type
from sw.graph.ops.random import random_uniform
from sw.graph.registry import TensorType
from sw.graph.tensor import Operators, Tensor


def _bias_type(inputs: tuple[Tensor, ...]) -> TensorType:
    x, bias = inputs
    if bias.shape.rank not in (None, 1):
        raise ShapeError(f"the bias must be a vector, not of shape {bias.shape}")
    if x.shape.dims and bias.shape.dims:
        have, want = bias.shape.dims[0], x.shape.dims[-1]
        if have is not None and want is not None and have != want:
            raise ShapeError(f"{have} biases for {want} channels")
    return TensorType(x.dtype, x.shape)


def _bias_sum(xp: Any, g: Any) -> Any:
    return xp.sum(g, axis=tuple(range(g.ndim - 1)), dtype=g.dtype)


register_op(
    "bias_add_grad",
    kernel=_bias_sum,
    infer=lambda inputs: TensorType(inputs[0].dtype, inputs[0].shape[-1:]),
    doc="The sum over all axes but the last.",
)
register_op(
    "bias_add",
    kernel="add",
    infer=_bias_type,
    gradient=lambda op, g: [g, apply("bias_add_grad", g)],
    share_dtype=True,
    inline="{0} + {1}",
    doc="A vector added along the last axis.",
)


def _softmax(xp: Any, x: Any, axis: int) -> Any:
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return e / xp.sum(e, axis=axis, keepdims=True)


def _log_softmax(xp: Any, x: Any, axis: int) -> Any:
    shifted = x - xp.max(x, axis=axis, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))


def _total(value: Tensor, axis: int) -> Any:
    return apply("reduce_sum", value, axis=(axis,), keepdims=True)


def _softmax_grad(op: Any, g: Tensor) -> list[Tensor]:
    y, axis = op.outputs[0], op.attrs["axis"]
    return [(g - _total(g * y, axis)) * y]


def _log_softmax_grad(op: Any, g: Tensor) -> list[Tensor]:
    axis = op.attrs["axis"]
    return [g - apply("exp", op.outputs[0]) * _total(g, axis)]


register_op(
    "softmax",
    kernel=_softmax,
    infer=floating_type,
    gradient=_softmax_grad,
    attrs={"axis": -1},
    doc="exp(x) divided by its sum along `axis`.",
)
register_op(
    "log_softmax",
    kernel=_log_softmax,
    infer=floating_type,
    gradient=_log_softmax_grad,
    attrs={"axis": -1},
    doc="The logarithm of softmax.",
)


def bias_add(
    value: Any, bias: Any, data_format: str | None = None, name: str | None = None
) -> Tensor:
    """`bias` [C] added to `value` [..., C]."""
    out: Tensor = apply("bias_add", value, bias, name=name or "BiasAdd")
    return out


def softmax(
    logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None
) -> Tensor:
    """exp(x) / sum(exp(x)) along `axis` (default: the last)."""
    chosen = dim if axis is None else axis
    out: Tensor = apply("softmax", logits, name=name, axis=-1 if chosen is None else int(chosen))
    return out


def log_softmax(
    logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None
) -> Tensor:
    """The logarithm of `softmax`, without overflow."""
    chosen = dim if axis is None else axis
    at = -1 if chosen is None else int(chosen)
    out: Tensor = apply("log_softmax", logits, name=name, axis=at)
    return out


def dropout(
    x: Any,
    keep_prob: Any = None,
    noise_shape: Any = None,
    seed: int | None = None,
    name: str | None = None,
    rate: Any = None,
) -> Tensor:
    """Keep each element with probability `keep_prob`, scaled by 1 / keep_prob; else 0.

    `keep_prob` may be a tensor (fed 1.0 for inference); `rate` is 1 - keep_prob.
    """
    if (keep_prob is None) == (rate is None):
        raise InvalidArgumentError("dropout needs keep_prob or rate")
    keep = 1.0 - rate if keep_prob is None else keep_prob
    if not isinstance(keep, Operators) and not 0 < keep <= 1:
        raise InvalidArgumentError(f"keep_prob must lie in (0, 1], not {keep}")
    if not isinstance(keep, Operators) and keep == 1:
        return graph_of((x,)).convert(x)
    graph = graph_of((x,))
    with graph.name_scope(name or "dropout"):
        value = graph.convert(x)
        shape = noise_shape
        if shape is None:
            sizes = value.shape
            shape = sizes if sizes.known else apply("shape", value)
        noise = random_uniform(shape, dtype=value.dtype, seed=seed)
        mask = apply("floor", noise + keep)
        out: Tensor = value / keep * mask
        return out


def moments(
    x: Any,
    axes: Any,
    shift: Any = None,
    name: str | None = None,
    keep_dims: bool = False,
) -> tuple[Tensor, Tensor]:
    """Mean and variance over `axes`."""
    axis = tuple(int(a) for a in np.atleast_1d(axes))
    with graph_of((x,)).name_scope(name or "moments"):
        mean = apply("reduce_mean", x, axis=axis, keepdims=True)
        variance = apply(
            "reduce_mean",
            apply("squared_difference", x, apply("stop_gradient", mean)),
            axis=axis,
            keepdims=keep_dims,
        )
        return (mean if keep_dims else apply("squeeze", mean, axis=axis)), variance


def batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    offset: Any,
    scale: Any,
    variance_epsilon: float,
    name: str | None = None,
) -> Tensor:
    """`(x - mean) / sqrt(variance + epsilon) * scale + offset`; offset and scale may be None."""
    with graph_of((x, mean, variance)).name_scope(name or "batchnorm"):
        factor = apply("rsqrt", variance + variance_epsilon)
        if scale is not None:
            factor = factor * scale
        shift = -mean * factor if offset is None else offset - mean * factor
        out: Tensor = x * factor + shift
        return out


def l2_normalize(x: Any, dim: Any, epsilon: float = 1e-12, name: str | None = None) -> Tensor:
    """`x` divided by its Euclidean length along `dim`."""
    axis = tuple(int(a) for a in np.atleast_1d(dim))
    with graph_of((x,)).name_scope(name or "l2_normalize"):
        total = apply("reduce_sum", apply("square", x), axis=axis, keepdims=True)
        out: Tensor = x * apply("rsqrt", apply("maximum", total, epsilon))
        return out
