"""Functions of neural networks that are made of others."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.dtypes import as_dtype
from sw.graph.errors import InvalidArgumentError
from sw.graph.tensor import Tensor


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """`x @ weights + biases`."""
    with graph_of((x, weights)).name_scope(name or "xw_plus_b"):
        out: Tensor = apply("bias_add", apply("matmul", x, weights), biases)
        return out


def relu_layer(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """`relu(x @ weights + biases)`."""
    with graph_of((x, weights)).name_scope(name or "relu_layer"):
        out: Tensor = apply("relu", xw_plus_b(x, weights, biases))
        return out


def crelu(features: Any, name: str | None = None) -> Tensor:
    """relu(x) and relu(-x) side by side on the last axis (Shang et al., ICML 2016)."""
    with graph_of((features,)).name_scope(name or "CRelu"):
        x = graph_of((features,)).convert(features)
        out: Tensor = apply("relu", apply("concat", x, -x, axis=-1))
        return out


def selu(features: Any, name: str | None = None) -> Tensor:
    """Scaled exponential linear unit (Klambauer et al., NIPS 2017)."""
    with graph_of((features,)).name_scope(name or "Selu"):
        x = graph_of((features,)).convert(features)
        low = 1.6732632423543772 * apply("elu", apply("minimum", x, 0.0))
        out: Tensor = 1.0507009873554805 * (apply("relu", x) + low)
        return out


def zero_fraction(value: Any, name: str | None = None) -> Tensor:
    """The share of elements that are zero."""
    graph = graph_of((value,))
    with graph.name_scope(name or "zero_fraction"):
        x = graph.convert(value)
        flags = apply("equal", x, apply("zeros_like", x))
        out: Tensor = apply("reduce_mean", apply("cast", flags, dtype=as_dtype("float32")))
        return out


def weighted_cross_entropy_with_logits(
    targets: Any, logits: Any, pos_weight: Any, name: str | None = None
) -> Tensor:
    """Sigmoid cross entropy in which positive targets count `pos_weight` times."""
    graph = graph_of((logits, targets))
    with graph.name_scope(name or "logistic_loss"):
        z, x = graph.convert(targets), graph.convert(logits)
        factor = 1.0 + (pos_weight - 1.0) * z
        out: Tensor = (1.0 - z) * x + factor * apply("softplus", -x)
        return out


def log_poisson_loss(
    targets: Any, log_input: Any, compute_full_loss: bool = False, name: str | None = None
) -> Tensor:
    """Negative log likelihood of counts under Poisson rates exp(`log_input`); with
    `compute_full_loss` including Stirling's term."""
    graph = graph_of((log_input, targets))
    with graph.name_scope(name or "log_poisson_loss"):
        z, c = graph.convert(targets), graph.convert(log_input)
        out: Tensor = apply("exp", c) - c * z
        if compute_full_loss:
            safe = apply("maximum", z, 1.0)
            term = z * apply("log", safe) - z + 0.5 * apply("log", 2 * np.pi * safe)
            out = out + apply("where", apply("greater", z, 1.0), term, apply("zeros_like", z))
        return out


def sufficient_statistics(
    x: Any, axes: Any, shift: Any = None, keep_dims: bool = False, name: str | None = None
) -> tuple[Tensor, Tensor, Tensor, Any]:
    """(count, sum, sum of squares, shift) over `axes`, of `x - shift`."""
    graph = graph_of((x,))
    with graph.name_scope(name or "sufficient_statistics"):
        value = graph.convert(x)
        axis = tuple(int(a) for a in np.atleast_1d(axes))
        ones = apply("reduce_sum", apply("ones_like", value), axis=axis, keepdims=True)
        count = apply("reduce_max", ones)
        moved = value if shift is None else value - shift
        how: dict[str, Any] = {"axis": axis, "keepdims": keep_dims}
        total = apply("reduce_sum", moved, **how)
        return count, total, apply("reduce_sum", moved * moved, **how), shift


def normalize_moments(
    counts: Any, mean_ss: Any, variance_ss: Any, shift: Any, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """(mean, variance) of what `sufficient_statistics` gives."""
    with graph_of((counts, mean_ss)).name_scope(name or "normalize"):
        divisor = apply("reciprocal", counts)
        shifted = mean_ss * divisor
        mean: Tensor = shifted if shift is None else shifted + shift
        return mean, variance_ss * divisor - shifted * shifted


def weighted_moments(
    x: Any, axes: Any, frequency_weights: Any, name: str | None = None, keep_dims: bool = False
) -> tuple[Tensor, Tensor]:
    """(mean, variance) over `axes`, each element counted by its weight, which broadcasts."""
    graph = graph_of((x, frequency_weights))
    with graph.name_scope(name or "weighted_moments"):
        value = graph.convert(x)
        weights = graph.convert(frequency_weights)
        weights = (
            weights if weights.dtype is value.dtype else apply("cast", weights, dtype=value.dtype)
        )
        weights = weights + apply("zeros_like", value)
        axis = tuple(int(a) for a in np.atleast_1d(axes))
        how: dict[str, Any] = {"axis": axis, "keepdims": True}
        total = apply("reduce_sum", weights, **how)
        mean = apply("reduce_sum", weights * value, **how) / total
        spread = apply("reduce_sum", weights * apply("square", value - mean), **how) / total
        if keep_dims:
            return mean, spread
        return apply("squeeze", mean, axis=axis), apply("squeeze", spread, axis=axis)


def batch_norm_with_global_normalization(
    t: Any,
    m: Any,
    v: Any,
    beta: Any,
    gamma: Any,
    variance_epsilon: float,
    scale_after_normalization: bool,
    name: str | None = None,
) -> Tensor:
    """Batch normalisation by given moments, in the form of 2015."""
    with graph_of((t, m)).name_scope(name or "batch_norm"):
        factor = apply("rsqrt", v + variance_epsilon)
        factor = factor * gamma if scale_after_normalization else factor
        out: Tensor = (t - m) * factor + beta
        return out


def fused_batch_norm(
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any = None,
    variance: Any = None,
    epsilon: float = 0.001,
    data_format: str = "NHWC",
    is_training: bool = True,
    name: str | None = None,
    exponential_avg_factor: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """(images [N, H, W, C] normalised per channel, mean, variance). In training by their own
    moments, of which the returned variance has N - 1 in place of N; with an
    `exponential_avg_factor` f below 1 the returned moments are (1 - f) times the given ones plus f
    times the new ones. Otherwise by the given `mean` and `variance`."""
    if data_format != "NHWC":
        raise InvalidArgumentError(f"data_format {data_format!r}: only NHWC is supported")
    blending = exponential_avg_factor != 1.0
    if (mean is None or variance is None) and (not is_training or blending):
        raise InvalidArgumentError("fused_batch_norm needs mean and variance")
    graph = graph_of((x, scale, offset))
    with graph.name_scope(name or "FusedBatchNorm"):
        images = graph.convert(x)
        wide = as_dtype("float32") if images.dtype.size == 2 else images.dtype
        values = images if images.dtype is wide else apply("cast", images, dtype=wide)
        low = max(epsilon, 1.001e-5)  # TensorFlow's least
        if not is_training:
            known = graph.convert(mean, wide), graph.convert(variance, wide)
            out = _normalised(values, *known, scale, offset, low)
            return _as(out, images), *known
        axes: dict[str, Any] = {"axis": (0, 1, 2), "keepdims": False}
        centre = apply("reduce_mean", values, **axes)
        spread = apply("reduce_mean", apply("square", values - centre), **axes)
        out = _normalised(values, centre, spread, scale, offset, low)
        count = apply("cast", apply("reduce_prod", apply("shape", images)[:3]), dtype=wide)
        unbiased = spread * (count / apply("maximum", count - 1, 1.0))
        if blending:
            new = exponential_avg_factor
            centre = (1 - new) * graph.convert(mean, wide) + new * centre
            unbiased = (1 - new) * graph.convert(variance, wide) + new * unbiased
        return _as(out, images), centre, unbiased


def _normalised(x: Any, mean: Any, variance: Any, scale: Any, offset: Any, low: float) -> Tensor:
    out: Tensor = (x - mean) * (apply("rsqrt", variance + low) * scale) + offset
    return out


def _as(value: Tensor, like: Tensor) -> Tensor:
    out: Tensor = value if value.dtype is like.dtype else apply("cast", value, dtype=like.dtype)
    return out


def cast_to(name_: str, kind: str) -> Any:
    """The function that casts to a dtype, under its name of 2015."""

    def function(x: Any, name: str | None = None) -> Tensor:
        out: Tensor = apply("cast", x, name=name or name_, dtype=as_dtype(kind))
        return out

    function.__name__ = function.__qualname__ = name_
    function.__doc__ = f"`x` as {kind}."
    return function


to_float = cast_to("to_float", "float32")
to_double = cast_to("to_double", "float64")
to_int32 = cast_to("to_int32", "int32")
to_int64 = cast_to("to_int64", "int64")
to_bfloat16 = cast_to("to_bfloat16", "bfloat16")
to_complex64 = cast_to("to_complex64", "complex64")
to_complex128 = cast_to("to_complex128", "complex128")


def saturate_cast(value: Any, dtype: Any, name: str | None = None) -> Tensor:
    """`value` as `dtype`, what is outside its range at the end of it."""
    graph = graph_of((value,))
    with graph.name_scope(name or "saturate_cast"):
        x, want = graph.convert(value), as_dtype(dtype)
        if float(x.dtype.min) < float(want.min):
            x = apply("maximum", x, np.asarray(want.min).astype(x.dtype.numpy))
        if float(x.dtype.max) > float(want.max):
            x = apply("minimum", x, np.asarray(want.max).astype(x.dtype.numpy))
        out: Tensor = apply("cast", x, dtype=want)
        return out
