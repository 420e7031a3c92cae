"""Random classes, permutations and gamma numbers, from the same counters as the others; and
histograms."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, constant_shape, constant_value, graph_of, register_op
from sw.graph.dtypes import DType, as_dtype, float32, int32, int64
from sw.graph.errors import DTypeError, InvalidArgumentError
from sw.graph.ops.creation import sizes_vector
from sw.graph.ops.helpers import require_rank
from sw.graph.ops.random import Seeds, generator, op_seeds
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.state import OpState
from sw.graph.tensor import Tensor


def _multinomial(xp: Any, state: OpState, logits: Any, count: Any, seeds: Seeds) -> Any:
    # the largest of logits plus Gumbel noise is drawn with the softmax's probability
    number = int(count)
    noise = generator(state, seeds).random((len(logits), number, logits.shape[1]))
    gumbel = -np.log(-np.log(np.clip(noise, 1e-300, None)))
    return np.argmax(logits.astype(np.float64)[:, None] + gumbel, -1).astype(np.int64)


def _multinomial_type(inputs: tuple[Tensor, ...], seeds: Seeds) -> TensorType:
    require_rank(inputs[0], 2, "logits [batch, classes]")
    count = constant_value(inputs[1])
    rows = inputs[0].shape.dims[0] if inputs[0].shape.dims else None
    return TensorType(int64, Shape((rows, None if count is None else int(count))))


def _shuffle(xp: Any, state: OpState, value: Any, seeds: Seeds) -> Any:
    return value[generator(state, seeds).permutation(len(value))]


def _gamma(xp: Any, state: OpState, shape: Any, alpha: Any, seeds: Seeds) -> Any:
    sizes = (*(int(s) for s in shape), *np.shape(alpha))
    drawn = generator(state, seeds).standard_gamma(np.asarray(alpha, np.float64), sizes)
    return np.asarray(drawn).astype(alpha.dtype)


def _poisson(xp: Any, state: OpState, shape: Any, rate: Any, dtype: DType, seeds: Seeds) -> Any:
    if (np.asarray(rate) < 0).any():
        raise InvalidArgumentError(f"the rate {np.min(rate)} of a Poisson distribution is negative")
    sizes = (*(int(s) for s in shape), *np.shape(rate))
    drawn = generator(state, seeds).poisson(np.asarray(rate, np.float64), sizes)
    return np.asarray(drawn).astype(dtype.numpy)


register_op(
    "random_poisson",
    kernel=_poisson,
    infer=lambda inputs, dtype, seeds: TensorType(
        dtype, constant_shape(inputs[0]).concatenate(inputs[1].shape)
    ),
    gradient=NOT_DIFFERENTIABLE,
    attrs={"dtype": REQUIRED, "seeds": REQUIRED},
    stateful=True,
    host_only=True,
    doc="inputs[0] numbers of each Poisson distribution of mean inputs[1].",
)
register_op(
    "multinomial",
    kernel=_multinomial,
    infer=_multinomial_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"seeds": REQUIRED},
    stateful=True,
    host_only=True,
    doc="inputs[1] classes per row, with the probabilities of the softmax of the logits.",
)
register_op(
    "random_shuffle",
    kernel=_shuffle,
    infer=lambda inputs, seeds: TensorType(inputs[0].dtype, inputs[0].shape),
    gradient=NOT_DIFFERENTIABLE,
    attrs={"seeds": REQUIRED},
    stateful=True,
    host_only=True,
    doc="The rows of its input in random order.",
)
register_op(
    "random_gamma",
    kernel=_gamma,
    infer=lambda inputs, seeds: TensorType(
        inputs[1].dtype, constant_shape(inputs[0]).concatenate(inputs[1].shape)
    ),
    gradient=NOT_DIFFERENTIABLE,
    attrs={"seeds": REQUIRED},
    stateful=True,
    host_only=True,
    doc="Gamma numbers of shapes inputs[1], inputs[0] of each.",
)


def multinomial(
    logits: Any, num_samples: Any, seed: int | None = None, name: str | None = None
) -> Tensor:
    """int64 classes [batch, num_samples] drawn with probabilities softmax(`logits`)."""
    out: Tensor = apply("multinomial", logits, num_samples, name=name, seeds=op_seeds(seed))
    return out


def random_shuffle(value: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """The rows of `value` in random order."""
    out: Tensor = apply("random_shuffle", value, name=name, seeds=op_seeds(seed))
    return out


def random_gamma(
    shape: Any,
    alpha: Any,
    beta: Any = None,
    dtype: Any = float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """`shape` numbers of each gamma distribution of shape `alpha` and rate `beta`."""
    graph = graph_of((shape, alpha, beta))
    kind = as_dtype(dtype)
    if not kind.is_floating:
        raise DTypeError(f"random_gamma makes floating-point numbers, not {kind}")
    with graph.name_scope(name or "random_gamma"):
        a = graph.convert(alpha, kind)
        if beta is not None:
            b = graph.convert(beta, kind)
            a = a + apply("zeros_like", b)
        out: Tensor = apply("random_gamma", sizes_vector(shape), a, seeds=op_seeds(seed))
        return out if beta is None else out / b


def random_poisson(
    lam: Any, shape: Any, dtype: Any = float32, seed: int | None = None, name: str | None = None
) -> Tensor:
    """[*shape, *lam.shape]: `shape` numbers of each Poisson distribution of mean `lam`."""
    graph = graph_of((lam, shape))
    rate = graph.convert(lam)
    kind = as_dtype(dtype)
    out: Tensor = apply(
        "random_poisson", sizes_vector(shape), rate, name=name, dtype=kind, seeds=op_seeds(seed)
    )
    return out


def _histogram(xp: Any, values: Any, limits: Any, bins: Any, dtype: DType) -> Any:
    number, low, high = int(bins), float(limits[0]), float(limits[1])
    if number < 1 or low >= high:
        raise InvalidArgumentError(f"{number} bins from {low} to {high}")
    at = np.floor((np.ravel(values).astype(np.float64) - low) / (high - low) * number)
    at = np.clip(at, 0, number - 1).astype(np.int64)
    return np.bincount(at, minlength=number).astype(dtype.numpy)


def _histogram_type(inputs: tuple[Tensor, ...], dtype: DType) -> TensorType:
    bins = constant_value(inputs[2])
    return TensorType(dtype, Shape((None if bins is None else int(bins),)))


register_op(
    "histogram_fixed_width",
    kernel=_histogram,
    infer=_histogram_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"dtype": int32},
    host_only=True,
    doc="How many values fall in each of inputs[2] equal bins of the range inputs[1].",
)


def histogram_fixed_width(
    values: Any, value_range: Any, nbins: Any = 100, dtype: Any = int32, name: str | None = None
) -> Tensor:
    """Counts of `values` in `nbins` equal bins; what is outside `value_range` counts in the first
    or last."""
    graph = graph_of((values, value_range))
    tensor = graph.convert(values)
    limits = graph.convert(value_range, tensor.dtype)
    out: Tensor = apply(
        "histogram_fixed_width", tensor, limits, nbins, name=name, dtype=as_dtype(dtype)
    )
    return out
