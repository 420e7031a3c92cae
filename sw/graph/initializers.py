"""Initial values of variables: callables `f(shape, dtype=None, partition_info=None) -> Tensor`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sw.graph.build import apply
from sw.graph.dtypes import as_dtype, float32
from sw.graph.errors import InvalidArgumentError
from sw.graph.ops.basic import constant
from sw.graph.ops.creation import ones, zeros
from sw.graph.ops.random import random_normal, random_uniform, truncated_normal
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor


class Initializer:
    """Base of the initialisers; `dtype` is used when the call names none."""

    def __init__(self, dtype: Any = float32) -> None:
        self.dtype = as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        kind = self.dtype if dtype is None else as_dtype(dtype)
        return self._make(Shape(shape).sizes(), kind)

    def _make(self, shape: tuple[int, ...], dtype: Any) -> Tensor:
        raise NotImplementedError


class Zeros(Initializer):
    """Zeros."""

    def _make(self, shape: tuple[int, ...], dtype: Any) -> Tensor:
        return zeros(shape, dtype)


class Ones(Initializer):
    """Ones."""

    def _make(self, shape: tuple[int, ...], dtype: Any) -> Tensor:
        return ones(shape, dtype)


class Constant(Initializer):
    """One value, or as many as fill the shape."""

    def __init__(self, value: Any = 0, dtype: Any = float32, verify_shape: bool = False) -> None:
        super().__init__(dtype)
        self.value, self.verify_shape = value, verify_shape

    def _make(self, shape: tuple[int, ...], dtype: Any) -> Tensor:
        return constant(self.value, dtype, shape, verify_shape=self.verify_shape)


class RandomUniform(Initializer):
    """Uniform in [minval, maxval)."""

    def __init__(
        self,
        minval: Any = 0,
        maxval: Any = None,
        seed: int | None = None,
        dtype: Any = float32,
    ) -> None:
        super().__init__(dtype)
        self.minval, self.maxval, self.seed = minval, maxval, seed

    def _make(self, shape: tuple[int, ...], dtype: Any) -> Tensor:
        return random_uniform(shape, self.minval, self.maxval, dtype, self.seed)


class RandomNormal(Initializer):
    """Normal with `mean` and `stddev`."""

    draw = staticmethod(random_normal)

    def __init__(
        self,
        mean: float = 0.0,
        stddev: float = 1.0,
        seed: int | None = None,
        dtype: Any = float32,
    ) -> None:
        super().__init__(dtype)
        self.mean, self.stddev, self.seed = mean, stddev, seed

    def _make(self, shape: tuple[int, ...], dtype: Any) -> Tensor:
        return self.draw(shape, self.mean, self.stddev, dtype, self.seed)


class TruncatedNormal(RandomNormal):
    """Normal, without values further than two standard deviations from the mean."""

    draw = staticmethod(truncated_normal)


_TRUNCATED = 0.87962566103423978  # the deviation of a normal number within two of its own


class VarianceScaling(Initializer):
    """Numbers whose variance is `scale / n`, n the fan in, the fan out or their mean (`mode`
    "fan_in", "fan_out", "fan_avg"); `distribution` "normal" (truncated) or "uniform"."""

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "normal",
        seed: int | None = None,
        dtype: Any = float32,
    ) -> None:
        if scale <= 0:
            raise InvalidArgumentError(f"scale must be positive, not {scale}")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise InvalidArgumentError(f"mode {mode!r} is not fan_in, fan_out or fan_avg")
        if distribution not in ("normal", "uniform", "truncated_normal", "untruncated_normal"):
            raise InvalidArgumentError(f"distribution {distribution!r} is not normal or uniform")
        super().__init__(dtype)
        self.scale, self.mode, self.distribution, self.seed = scale, mode, distribution, seed

    def _make(self, shape: tuple[int, ...], dtype: Any) -> Tensor:
        fan_in, fan_out = fans(shape)
        count = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, count)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return random_uniform(shape, -limit, limit, dtype, self.seed)
        if self.distribution == "untruncated_normal":
            return random_normal(shape, 0.0, math.sqrt(variance), dtype, self.seed)
        deviation = math.sqrt(variance) / _TRUNCATED
        return truncated_normal(shape, 0.0, deviation, dtype, self.seed)


class UniformUnitScaling(Initializer):
    """Uniform in +-`factor` sqrt(3 / inputs), which keeps the scale of what goes through a layer
    (Sussillo and Abbott, 2014)."""

    def __init__(self, factor: float = 1.0, seed: int | None = None, dtype: Any = float32) -> None:
        super().__init__(dtype)
        self.factor, self.seed = factor, seed

    def _make(self, shape: tuple[int, ...], dtype: Any) -> Tensor:
        limit = self.factor * math.sqrt(3 / max(1.0, math.prod(shape[:-1])))
        return random_uniform(shape, -limit, limit, dtype, self.seed)


class Orthogonal(Initializer):
    """A matrix (higher ranks are flattened to one) with orthonormal rows or columns, times `gain`
    (Saxe et al., ICLR 2014)."""

    def __init__(self, gain: float = 1.0, seed: int | None = None, dtype: Any = float32) -> None:
        super().__init__(dtype)
        self.gain, self.seed = gain, seed

    def _make(self, shape: tuple[int, ...], dtype: Any) -> Tensor:
        if len(shape) < 2:
            raise InvalidArgumentError(f"an orthogonal matrix has at least two axes, not {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall, narrow = max(rows, columns), min(rows, columns)
        q, r = apply("qr", random_normal((tall, narrow), dtype=dtype, seed=self.seed))
        # without the signs of r's diagonal, q would not be uniform over the orthogonal matrices
        q = q * apply("sign", apply("matrix_diag_part", r))
        q = q if rows >= columns else apply("transpose", q, perm=(1, 0))
        out: Tensor = apply("reshape", q, np.asarray(shape, np.int32)) * self.gain
        return out


class Identity(Initializer):
    """A matrix with `gain` on its diagonal."""

    def __init__(self, gain: float = 1.0, dtype: Any = float32) -> None:
        super().__init__(dtype)
        self.gain = gain

    def _make(self, shape: tuple[int, ...], dtype: Any) -> Tensor:
        if len(shape) != 2:
            raise InvalidArgumentError(f"an identity matrix has two axes, not {shape}")
        return constant(self.gain * np.eye(*shape), dtype)


def fans(shape: tuple[int, ...]) -> tuple[float, float]:
    """(fan in, fan out) of a weight [..., in, out]; leading axes are a filter's window."""
    if not shape:
        return 1.0, 1.0
    if len(shape) == 1:
        return float(shape[0]), float(shape[0])
    window = math.prod(shape[:-2])
    return float(window * shape[-2]), float(window * shape[-1])


def glorot_uniform(seed: int | None = None, dtype: Any = float32) -> Initializer:
    """Uniform with variance 2 / (fan in + fan out) (Glorot and Bengio, AISTATS 2010)."""
    return VarianceScaling(1.0, "fan_avg", "uniform", seed, dtype)


def glorot_normal(seed: int | None = None, dtype: Any = float32) -> Initializer:
    """Truncated normal with variance 2 / (fan in + fan out)."""
    return VarianceScaling(1.0, "fan_avg", "normal", seed, dtype)


def xavier(uniform: bool = True, seed: int | None = None, dtype: Any = float32) -> Initializer:
    """Glorot and Bengio's initialiser by the name of `contrib.layers`."""
    return glorot_uniform(seed, dtype) if uniform else glorot_normal(seed, dtype)


def variance_scaling(
    factor: float = 2.0,
    mode: str = "FAN_IN",
    uniform: bool = False,
    seed: int | None = None,
    dtype: Any = float32,
) -> Initializer:
    """`VarianceScaling` with the arguments and defaults of `contrib.layers` (He et al., 2015)."""
    return VarianceScaling(factor, mode.lower(), "uniform" if uniform else "normal", seed, dtype)
