"""Dense layers, dropout and flattening."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sw.graph.build import apply
from sw.graph.dtypes import as_dtype
from sw.graph.errors import InvalidArgumentError
from sw.graph.initializers import Zeros
from sw.graph.layers.base import Activation, Layer, known
from sw.graph.ops.nn import dropout as nn_dropout
from sw.graph.shapes import Shape
from sw.graph.tensor import Operators, Tensor


class Dense(Layer):
    """`activation(inputs @ kernel + bias)` over the last axis. Variables: kernel, bias."""

    def __init__(
        self,
        units: int,
        activation: Activation = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = None,
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        trainable: bool = True,
        name: str | None = None,
        reuse: Any = None,
    ) -> None:
        super().__init__(trainable, name, None, activity_regularizer, reuse)
        if units < 1:
            raise InvalidArgumentError(f"units must be positive, not {units}")
        self.units, self.activation, self.use_bias = int(units), activation, use_bias
        self._kernel = (kernel_initializer, kernel_regularizer)
        self._bias = (Zeros() if bias_initializer is None else bias_initializer, bias_regularizer)

    def build(self, shape: Shape) -> None:
        self.kernel = self.add_variable(
            "kernel", [known(shape, -1, self), self.units], *self._kernel
        )
        self.bias = self.add_variable("bias", [self.units], *self._bias) if self.use_bias else None

    def call(self, inputs: Any, **options: Any) -> Tensor:
        rank = inputs.shape.rank
        flat = (
            inputs
            if rank == 2
            else apply("reshape", inputs, np.asarray([-1, inputs.shape[-1]], np.int32))
        )
        out: Tensor = apply("matmul", flat, self.kernel)
        if rank != 2:
            lead = apply("shape", inputs)[:-1]
            out = apply(
                "reshape", out, apply("concat", lead, np.asarray([self.units], np.int32), axis=0)
            )
            out.set_shape(inputs.shape[:-1].concatenate([self.units]))
        if self.bias is not None:
            out = apply("bias_add", out, self.bias)
        return out if self.activation is None else self.activation(out)


def dense(inputs: Any, units: int, *args: Any, **options: Any) -> Tensor:
    """`Dense(units, ...)(inputs)`: [..., C] to [..., units]."""
    out: Tensor = Dense(units, *args, **options)(inputs)
    return out


class Dropout(Layer):
    """In training, elements are zero with probability `rate` and the others scaled up."""

    def __init__(
        self,
        rate: Any = 0.5,
        noise_shape: Any = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.rate, self.noise_shape, self.seed = rate, noise_shape, seed

    def call(self, inputs: Any, training: Any = False, **options: Any) -> Tensor:
        if isinstance(training, Operators):
            flag = apply("cast", training, dtype=as_dtype(inputs.dtype))
            return nn_dropout(inputs, 1.0 - flag * self.rate, self.noise_shape, self.seed)
        if not training:
            same: Tensor = apply("identity", inputs)
            return same
        return nn_dropout(inputs, 1.0 - self.rate, self.noise_shape, self.seed)


def dropout(
    inputs: Any,
    rate: Any = 0.5,
    noise_shape: Any = None,
    seed: int | None = None,
    training: Any = False,
    name: str | None = None,
) -> Tensor:
    """Dropout with probability `rate` when `training` (a bool or a bool tensor)."""
    out: Tensor = Dropout(rate, noise_shape, seed, name)(inputs, training=training)
    return out


class Flatten(Layer):
    """[N, ...] to [N, product of the rest]."""

    def call(self, inputs: Any, **options: Any) -> Tensor:
        dims = inputs.shape.dims
        width = -1 if dims is None or None in dims[1:] else math.prod(dims[1:])
        if width == -1:
            batch = apply("shape", inputs)[0]
            shape = apply("stack", batch, np.int32(-1), axis=0)
            out: Tensor = apply("reshape", inputs, shape)
            return out
        out = apply("reshape", inputs, np.asarray([-1, width], np.int32))
        out.set_shape([dims[0], width])
        return out


def flatten(inputs: Any, name: str | None = None) -> Tensor:
    """`inputs` with all axes but the first in one."""
    out: Tensor = Flatten(name=name)(inputs)
    return out
