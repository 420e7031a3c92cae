"""Batch normalisation (Ioffe and Szegedy, ICML 2015)."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply
from sw.graph.graph import GraphKeys, get_default_graph
from sw.graph.initializers import Ones, Zeros
from sw.graph.layers.base import Layer, known
from sw.graph.ops.nn import batch_normalization as nn_batch_normalization
from sw.graph.ops.nn import moments
from sw.graph.shapes import Shape, normalise_axis
from sw.graph.tensor import Operators, Tensor


class BatchNormalization(Layer):
    """In training, each channel of `axis` to mean 0 and variance 1 over the batch; otherwise by
    moving averages. Variables: gamma, beta, moving_mean, moving_variance.

    The averages move when the ops in the collection `UPDATE_OPS` run: make the training op
    depend on them.
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = None,
        gamma_initializer: Any = None,
        moving_mean_initializer: Any = None,
        moving_variance_initializer: Any = None,
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        trainable: bool = True,
        name: str | None = None,
        reuse: Any = None,
    ) -> None:
        super().__init__(trainable, name, reuse=reuse)
        self.axis, self.momentum, self.epsilon = axis, momentum, epsilon
        self.center, self.scale = center, scale
        self._start = (
            beta_initializer or Zeros(),
            gamma_initializer or Ones(),
            moving_mean_initializer or Zeros(),
            moving_variance_initializer or Ones(),
        )
        self._penalty = (beta_regularizer, gamma_regularizer)

    def build(self, shape: Shape) -> None:
        size = [known(shape, self.axis, self)]
        beta, gamma, mean, variance = self._start
        self.gamma = (
            self.add_variable("gamma", size, gamma, self._penalty[1]) if self.scale else None
        )
        self.beta = self.add_variable("beta", size, beta, self._penalty[0]) if self.center else None
        self.moving_mean = self.add_variable("moving_mean", size, mean, trainable=False)
        self.moving_variance = self.add_variable("moving_variance", size, variance, trainable=False)

    def call(self, inputs: Any, training: Any = False, **options: Any) -> Tensor:
        rank = len(inputs.shape)
        at = normalise_axis(self.axis, rank)
        wide = np.ones(rank, np.int32)
        wide[at] = -1

        def shaped(value: Any) -> Any:
            return value if value is None or at == rank - 1 else apply("reshape", value, wide)

        mean: Any = self.moving_mean
        variance: Any = self.moving_variance
        if isinstance(training, Operators) or training:
            axes = [i for i in range(rank) if i != at]
            mean, variance = moments(inputs, axes)
            keep: Any = self.momentum
            if isinstance(training, Operators):
                keep = apply("where", training, np.float32(keep), np.float32(1))
                keep = apply("cast", keep, dtype=self.moving_mean.dtype)
            self._move(self.moving_mean, mean, keep)
            self._move(self.moving_variance, variance, keep)
            if isinstance(training, Operators):
                mean = apply("where", training, mean, self.moving_mean)
                variance = apply("where", training, variance, self.moving_variance)
        return nn_batch_normalization(
            inputs,
            shaped(mean),
            shaped(variance),
            shaped(self.beta),
            shaped(self.gamma),
            self.epsilon,
        )

    def _move(self, variable: Any, value: Any, keep: Any) -> None:
        update = variable.assign_sub((variable.read_value() - value) * (1.0 - keep))
        get_default_graph().add_to_collection(GraphKeys.UPDATE_OPS, update)


def batch_normalization(
    inputs: Any,
    axis: int = -1,
    momentum: float = 0.99,
    epsilon: float = 1e-3,
    center: bool = True,
    scale: bool = True,
    *args: Any,
    training: Any = False,
    **options: Any,
) -> Tensor:
    """`BatchNormalization(...)(inputs, training=training)`."""
    layer = BatchNormalization(axis, momentum, epsilon, center, scale, *args, **options)
    out: Tensor = layer(inputs, training=training)
    return out
