"""The layers that the back half of the TPU compiler takes: quantised, fused, in order.

A matmul `[M, K] x [K, N]` is a 1x1 convolution on an activation of shape `[1, 1, M, K]`; a fully
connected layer on a feature map is a convolution whose kernel covers the map.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from hw.tpu import numerics

Shape = tuple[int, int, int, int]
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
MOST_STEP = 255
"""Largest kernel side, stride and dilation that an instruction can hold."""
MOST_PADDING = 1 << 14


class CompileError(ValueError):
    """A network that is inconsistent or cannot run on this core; names the layer and the value."""


@dataclass(frozen=True)
class Activation:
    """An int8 tensor `shape` NHWC; real values are `(q - zero_point) * scale`."""

    name: str
    shape: Shape
    scale: float = 1.0
    zero_point: int = 0

    @property
    def positions(self) -> int:
        return prod(self.shape[:3])

    def blocks(self, array: int) -> int:
        """Blocks of `array` channels."""
        return -(-self.shape[3] // array)


@dataclass(frozen=True)
class Axis:
    """One spatial axis of a layer: sizes in positions, `before` the padding before the image."""

    source: int
    result: int
    kernel: int
    stride: int
    dilation: int
    before: int

    def reads(self, first: int, last: int) -> Pair:
        """Image positions `[low, high)`, never empty, that results `[first, last)` read."""
        low = first * self.stride - self.before
        high = (last - 1) * self.stride - self.before + (self.kernel - 1) * self.dilation + 1
        low = min(max(low, 0), self.source - 1)
        return low, max(low + 1, min(high, self.source))


@dataclass(frozen=True, eq=False)
class Convolution:
    """`output = clamp(requantise(sum((x - x_zero) * weights) + bias))`; padding reads as real zero.

    `weights` int8 `[kh, kw, cin, cout]`; `bias` int32 `[cout]` at scale `s_x * s_w`, without
    zero-point products, which the compiler folds in (None: zeros); `scale` float32 `[cout]`, see
    `numerics.effective_scale`; `low`, `high` clamp the int8 result (ReLU, ReLU6).

    With `accumulators` the output is int32 instead: `sum(x * weights)` of the int8 codes, modulo
    2**32, where padding reads as the input's zero point. Nothing is added and `bias`, `scale` and
    clamp are unused; `correction()` added to it gives `sum((x - x_zero) * weights) + bias`. Such
    an output can only be an output of the network.
    """

    name: str
    input: str
    output: str
    weights: NDArray[np.int8]
    bias: NDArray[np.int32] | None = None
    scale: NDArray[np.float32] | None = None
    strides: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))
    dilations: Pair = (1, 1)
    low: int = numerics.INT8_MIN
    high: int = numerics.INT8_MAX
    accumulators: bool = False

    @property
    def kernel(self) -> Pair:
        return self.weights.shape[0], self.weights.shape[1]

    @property
    def channels(self) -> int:
        return self.weights.shape[3]

    def correction(self, zero_point: int) -> NDArray[np.int32]:
        """int32 `[cout]`: bias with the products of the input's `zero_point` folded in."""
        bias = np.int64(0) if self.bias is None else self.bias.astype(np.int64)
        return numerics.wrap_int32(
            bias - zero_point * self.weights.sum(axis=(0, 1, 2), dtype=np.int64)
        )


@dataclass(frozen=True, eq=False)
class Depthwise:
    """A convolution of each channel with a kernel of its own.

    `output = clamp(requantise(sum((x - x_zero) * weights) + bias))`; padding reads as real zero.
    `weights` int8 `[kh, kw, c]`, `scale` float32 and `bias` int32 `[c]` as in a `Convolution`.
    Weights that are all one make an average (see `average_pool`), which needs no weight memory.
    """

    name: str
    input: str
    output: str
    weights: NDArray[np.int8]
    scale: NDArray[np.float32]
    bias: NDArray[np.int32] | None = None
    strides: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))
    low: int = numerics.INT8_MIN
    high: int = numerics.INT8_MAX

    @property
    def kernel(self) -> Pair:
        return self.weights.shape[0], self.weights.shape[1]

    @property
    def dilations(self) -> Pair:
        return 1, 1

    @property
    def channels(self) -> int:
        return self.weights.shape[2]

    @property
    def averages(self) -> bool:
        """Whether all weights are one."""
        return bool((self.weights == 1).all())

    def correction(self, zero_point: int) -> NDArray[np.int32]:
        """int32 `[c]`: bias with the products of the input's `zero_point` folded in."""
        bias = np.int64(0) if self.bias is None else self.bias.astype(np.int64)
        return numerics.wrap_int32(bias - zero_point * self.weights.sum((0, 1), dtype=np.int64))


def average_pool(
    name: str, source: Activation, result: Activation, window: Pair, strides: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
) -> Depthwise:  # fmt: skip
    """The mean over windows, padding counted as zeros (QLinearGlobalAveragePool without)."""
    channels = source.shape[3]
    scale = numerics.pool_scale(source.scale, result.scale, prod(window))
    weights = np.ones((*window, channels), np.int8)
    scales = np.full(channels, scale, np.float32)
    return Depthwise(name, source.name, result.name, weights, scales, None, strides, padding)


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows; positions outside the image do not take part."""

    name: str
    input: str
    output: str
    window: Pair
    strides: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))

    @property
    def kernel(self) -> Pair:
        return self.window

    @property
    def dilations(self) -> Pair:
        return 1, 1


Layer = Convolution | Depthwise | MaxPool


def result_size(source: int, kernel: int, stride: int, dilation: int, padding: Pair) -> int:
    """Output positions along an axis (0 or less: the window does not fit)."""
    return (source + sum(padding) - (kernel - 1) * dilation - 1) // stride + 1


@dataclass(frozen=True)
class Network:
    """Layers in an order in which they can run, and the activations between them.

    Raises `CompileError` unless every activation has one producer, comes before its consumers and
    has the shape that its layer gives it.
    """

    inputs: tuple[str, ...]
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]
    activations: tuple[Activation, ...]
    by_name: dict[str, Activation] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = {item.name: item for item in self.activations}
        object.__setattr__(self, "by_name", names)
        if len(names) != len(self.activations):
            raise CompileError("two activations share a name")
        for item in self.activations:
            if len(item.shape) != 4 or min(item.shape) < 1:
                raise CompileError(f"activation {item.name!r}: shape {item.shape} is not NHWC")
            if not numerics.INT8_MIN <= item.zero_point <= numerics.INT8_MAX:
                raise CompileError(f"activation {item.name!r}: zero point {item.zero_point}")
        known: set[str] = set()
        for name in self.inputs:
            self._define(name, known, "network input")
        raw: set[str] = set()
        for layer in self.layers:
            if layer.input not in known:
                raise CompileError(f"layer {layer.name!r}: input {layer.input!r} is not there yet")
            if layer.input in raw:
                raise CompileError(f"layer {layer.name!r}: input {layer.input!r} is int32")
            self._define(layer.output, known, f"layer {layer.name!r}")
            self._check(layer)
            if isinstance(layer, Convolution) and layer.accumulators:
                raw.add(layer.output)
        produced = {layer.output for layer in self.layers}
        for name in self.outputs:
            if name not in produced:
                raise CompileError(f"network output {name!r} is the output of no layer")
        if not self.outputs or len(set(self.outputs)) != len(self.outputs):
            raise CompileError(f"network outputs {self.outputs} must be some different activations")
        if raw - set(self.outputs):
            raise CompileError(f"int32 activation {min(raw - set(self.outputs))!r} is no output")

    def _define(self, name: str, known: set[str], who: str) -> None:
        if name not in self.by_name:
            raise CompileError(f"{who}: no activation {name!r}")
        if name in known:
            raise CompileError(f"{who}: activation {name!r} has a producer already")
        known.add(name)

    def _check(self, layer: Layer) -> None:
        source, result = self.by_name[layer.input], self.by_name[layer.output]
        where = f"layer {layer.name!r}"
        for what, values in (
            ("kernel", layer.kernel),
            ("strides", layer.strides),
            ("dilations", layer.dilations),
        ):
            if not all(1 <= value <= MOST_STEP for value in values):
                raise CompileError(f"{where}: {what} {values} must be from 1 to {MOST_STEP}")
        if not all(0 <= value <= MOST_PADDING for pair in layer.padding for value in pair):
            raise CompileError(f"{where}: padding {layer.padding} must be 0 to {MOST_PADDING}")
        channels = source.shape[3]
        if isinstance(layer, Convolution):
            channels = self._check_convolution(layer, source, where)
        elif isinstance(layer, Depthwise):
            self._check_channels(layer, channels, where)
        elif (source.scale, source.zero_point) != (result.scale, result.zero_point):
            raise CompileError(f"{where}: input and output must share scale and zero point")
        elif any(max(p) >= k for p, k in zip(layer.padding, layer.kernel, strict=True)):
            raise CompileError(f"{where}: padding {layer.padding} is not below {layer.kernel}")
        size = zip(
            source.shape[1:3], layer.kernel, layer.strides, layer.dilations, layer.padding,
            strict=True,
        )  # fmt: skip
        expected = (source.shape[0], *(result_size(*axis) for axis in size), channels)
        if result.shape != expected:
            raise CompileError(f"{where}: output has shape {result.shape}, should be {expected}")

    @staticmethod
    def _check_convolution(layer: Convolution, source: Activation, where: str) -> int:
        """The number of output channels."""
        weights = layer.weights
        if weights.ndim != 4 or weights.dtype != np.int8:
            raise CompileError(
                f"{where}: weights are {weights.dtype} {weights.shape}, not int8 4-D"
            )
        if weights.shape[2] != source.shape[3]:
            raise CompileError(
                f"{where}: weights take {weights.shape[2]} channels, input has {source.shape[3]}"
            )
        Network._check_channels(layer, layer.channels, where)
        if layer.scale is None and not layer.accumulators:
            raise CompileError(f"{where}: a requantised output needs a scale")
        return layer.channels

    @staticmethod
    def _check_channels(layer: Convolution | Depthwise, channels: int, where: str) -> None:
        """What belongs to each output channel."""
        if layer.weights.shape[-1] != channels or layer.weights.dtype != np.int8:
            raise CompileError(f"{where}: weights must be int8, one kernel for each of {channels}")
        for what, values, dtype in (
            ("bias", layer.bias, np.int32),
            ("scale", layer.scale, np.float32),
        ):
            if values is not None and (values.shape != (channels,) or values.dtype != dtype):
                raise CompileError(f"{where}: {what} must be {np.dtype(dtype)} [{channels}]")
        if not numerics.INT8_MIN <= layer.low <= layer.high <= numerics.INT8_MAX:
            raise CompileError(f"{where}: clamp [{layer.low}, {layer.high}] is no int8 range")

    def axes(self, layer: Layer) -> tuple[Axis, Axis]:
        """Rows and columns of a layer."""
        source, result = self.by_name[layer.input].shape, self.by_name[layer.output].shape
        rows, columns = (
            Axis(
                source[1 + i],
                result[1 + i],
                layer.kernel[i],
                layer.strides[i],
                layer.dilations[i],
                layer.padding[i][0],
            )
            for i in (0, 1)
        )
        return rows, columns

    def macs(self) -> int:
        """Useful multiply-accumulates: output positions x kernel x cin x cout."""
        return sum(
            self.by_name[layer.output].positions * layer.weights.size
            for layer in self.layers
            if isinstance(layer, Convolution)
        )
