"""Convolutional layers over one to three spatial axes, channels last."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply
from sw.graph.errors import InvalidArgumentError
from sw.graph.initializers import Zeros
from sw.graph.layers.base import Activation, Layer, known
from sw.graph.ops.conv_variants import conv_transpose, convolution
from sw.graph.ops.conv_variants import separable_conv2d as nn_separable
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor


class _Convolution(Layer):
    """What the convolutional layers share. Variables: kernel, bias."""

    spatial = 2

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
        dilation_rate: Any = 1,
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
        if data_format != "channels_last":
            raise InvalidArgumentError(f"data_format {data_format!r}: only channels_last is there")
        if padding.upper() not in ("SAME", "VALID"):
            raise InvalidArgumentError(f"padding {padding!r} is not valid or same")
        self.filters, self.padding = int(filters), padding.upper()
        self.kernel_size = self._sizes(kernel_size)
        self.strides, self.dilation = self._sizes(strides), self._sizes(dilation_rate)
        self.activation, self.use_bias = activation, use_bias
        self._kernel = (kernel_initializer, kernel_regularizer)
        self._bias = (Zeros() if bias_initializer is None else bias_initializer, bias_regularizer)

    def _sizes(self, value: Any) -> list[int]:
        return [int(v) for v in np.broadcast_to(value, self.spatial)]

    def build(self, shape: Shape) -> None:
        size = [*self.kernel_size, known(shape, -1, self), self.filters]
        self.kernel = self.add_variable("kernel", size, *self._kernel)
        self._build_bias()

    def _build_bias(self) -> None:
        wanted = self.use_bias
        self.bias = self.add_variable("bias", [self.filters], *self._bias) if wanted else None

    def call(self, inputs: Any, **options: Any) -> Tensor:
        return self._finish(
            convolution(inputs, self.kernel, self.padding, self.strides, self.dilation)
        )

    def _finish(self, out: Tensor) -> Tensor:
        if self.bias is not None:
            out = apply("bias_add", out, self.bias)
        return out if self.activation is None else self.activation(out)


class Conv1D(_Convolution):
    """Convolution of [N, W, C] with `filters` filters of `kernel_size`."""

    spatial = 1


class Conv2D(_Convolution):
    """Convolution of [N, H, W, C] with `filters` filters of `kernel_size` (a number or a pair)."""


class Conv3D(_Convolution):
    """Convolution of [N, D, H, W, C] with `filters` filters of `kernel_size`."""

    spatial = 3


class _Transposed(_Convolution):
    def build(self, shape: Shape) -> None:
        size = [*self.kernel_size, self.filters, known(shape, -1, self)]
        self.kernel = self.add_variable("kernel", size, *self._kernel)
        self._build_bias()

    def call(self, inputs: Any, **options: Any) -> Tensor:
        sizes = [known(inputs.shape, axis, self) for axis in range(1, self.spatial + 1)]
        out = [
            n * s + (0 if self.padding == "SAME" else max(k - s, 0))
            for n, s, k in zip(sizes, self.strides, self.kernel_size, strict=True)
        ]
        batch = inputs.shape[0]
        first = apply("shape", inputs)[0] if batch is None else batch
        result = conv_transpose(
            inputs, self.kernel, [first, *out, self.filters], self.strides, self.padding
        )
        result.set_shape([batch, *out, self.filters])
        return self._finish(result)


class Conv2DTranspose(_Transposed):
    """The transpose of `Conv2D`: [N, H, W, C] to [N, about H * stride, W * stride, filters]."""


class Conv3DTranspose(_Transposed):
    """The transpose of `Conv3D`: [N, D, H, W, C] to [N, about D * stride, ..., filters]."""

    spatial = 3


class _Separable(_Convolution):
    """A depthwise convolution, then one with a window of 1. Variables: depthwise_kernel,
    pointwise_kernel, bias."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        *args: Any,
        depth_multiplier: int = 1,
        depthwise_initializer: Any = None,
        pointwise_initializer: Any = None,
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(filters, kernel_size, *args, **options)
        self.depth_multiplier = int(depth_multiplier)
        start, penalty = self._kernel
        self._parts = (
            (depthwise_initializer or start, depthwise_regularizer or penalty),
            (pointwise_initializer or start, pointwise_regularizer or penalty),
        )

    def build(self, shape: Shape) -> None:
        channels, many = known(shape, -1, self), self.depth_multiplier
        size = [*self.kernel_size, channels, many]
        self.depthwise = self.add_variable("depthwise_kernel", size, *self._parts[0])
        size = [*[1] * self.spatial, channels * many, self.filters]
        self.pointwise = self.add_variable("pointwise_kernel", size, *self._parts[1])
        self._build_bias()

    def call(self, inputs: Any, **options: Any) -> Tensor:
        deep: Any = self.depthwise
        point: Any = self.pointwise
        steps, rates = self.strides, self.dilation
        if self.spatial == 1:
            inputs = apply("expand_dims", inputs, axis=1)
            deep, point = (apply("expand_dims", k, axis=0) for k in (deep, point))
            # both strides alike: along the axis of one row it makes no difference
            steps, rates = steps * 2, [1, *rates]
        out = nn_separable(inputs, deep, point, steps, self.padding, rates)
        return self._finish(apply("squeeze", out, axis=(1,)) if self.spatial == 1 else out)


class SeparableConv1D(_Separable):
    """A depthwise convolution of [N, W, C], then one with a window of 1. Variables:
    depthwise_kernel, pointwise_kernel, bias."""

    spatial = 1


class SeparableConv2D(_Separable):
    """A depthwise convolution of [N, H, W, C], then one with a window of 1. Variables:
    depthwise_kernel, pointwise_kernel, bias."""


def _function(cls: type[_Convolution], title: str) -> Any:
    def function(inputs: Any, filters: int, kernel_size: Any, *args: Any, **options: Any) -> Tensor:
        out: Tensor = cls(filters, kernel_size, *args, **options)(inputs)
        return out

    function.__name__ = function.__qualname__ = title
    function.__doc__ = f"`{cls.__name__}(filters, kernel_size, ...)(inputs)`."
    return function


conv1d = _function(Conv1D, "conv1d")
conv2d = _function(Conv2D, "conv2d")
conv3d = _function(Conv3D, "conv3d")
conv2d_transpose = _function(Conv2DTranspose, "conv2d_transpose")
conv3d_transpose = _function(Conv3DTranspose, "conv3d_transpose")
separable_conv1d = _function(SeparableConv1D, "separable_conv1d")
separable_conv2d = _function(SeparableConv2D, "separable_conv2d")
