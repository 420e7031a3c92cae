"""Random numbers; a given seed means NumPy's Mersenne Twister, so that results can be told."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.onnx.registry import kernel
from sw.graph.ops.random import generator

Array = Any


def _stream(state: Any, seed: Any) -> Any:
    return generator(state, (None, None)) if seed is None else np.random.RandomState(int(seed))


@kernel("RandomUniform", stateful=True)
def uniform(
    state: Any,
    *,
    dtype: int = 1,
    high: float = 1.0,
    low: float = 0.0,
    seed: Any = None,
    shape: Any,
    types: Any,
) -> Array:
    return np.asarray(_stream(state, seed).uniform(low, high, shape)).astype(types[0].dtype.numpy)


@kernel("RandomNormal", stateful=True)
def normal(
    state: Any,
    *,
    dtype: int = 1,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: Any = None,
    shape: Any,
    types: Any,
) -> Array:
    return np.asarray(_stream(state, seed).normal(mean, scale, shape)).astype(types[0].dtype.numpy)


@kernel("RandomUniformLike", stateful=True)
def uniform_like(
    state: Any,
    x: Array,
    *,
    dtype: Any = None,
    high: float = 1.0,
    low: float = 0.0,
    seed: Any = None,
    types: Any,
) -> Array:
    drawn = _stream(state, seed).uniform(low, high, np.shape(x))
    return np.asarray(drawn).astype(types[0].dtype.numpy)


@kernel("RandomNormalLike", stateful=True)
def normal_like(
    state: Any,
    x: Array,
    *,
    dtype: Any = None,
    mean: float = 0.0,
    scale: float = 1.0,
    seed: Any = None,
    types: Any,
) -> Array:
    drawn = _stream(state, seed).normal(mean, scale, np.shape(x))
    return np.asarray(drawn).astype(types[0].dtype.numpy)


@kernel("Bernoulli", stateful=True)
def bernoulli(state: Any, x: Array, *, dtype: Any = None, seed: Any = None, types: Any) -> Array:
    drawn = _stream(state, seed).uniform(0.0, 1.0, np.shape(x))
    return (drawn < x).astype(types[0].dtype.numpy)


@kernel("Multinomial", stateful=True)
def multinomial(
    state: Any, x: Array, *, dtype: int = 6, sample_size: int = 1, seed: Any = None, types: Any
) -> Array:
    """Classes by their unnormalised log-probabilities [N, classes]."""
    weights = np.exp(x - x.max(axis=1, keepdims=True))
    edges = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    drawn = _stream(state, seed).uniform(0.0, 1.0, (len(x), sample_size))
    out = (drawn[:, :, None] >= edges[:, None, :]).sum(-1)
    return np.minimum(out, x.shape[1] - 1).astype(types[0].dtype.numpy)
