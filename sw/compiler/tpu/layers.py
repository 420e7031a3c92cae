"""The layers that the back half of the TPU compiler takes: quantised, one vector pass each.

A matmul `[M, K] x [K, N]` is a 1x1 convolution on an activation of shape `[1, 1, M, K]`; a fully
connected layer on a feature map is a convolution whose kernel covers the map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
MOST_COUNTS = 8
"""Numbers of positions inside the image that windows of an average may have: a scale for each."""


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

    def inside(self) -> tuple[int, ...]:
        """For each result, how many positions of its window lie in the image."""
        starts = range(-self.before, -self.before + self.result * self.stride, self.stride)
        taps = range(0, self.kernel * self.dilation, self.dilation)
        return tuple(sum(0 <= start + tap < self.source for tap in taps) for start in starts)


Quantisation = tuple[float, int]
"""Scale and zero point."""


@dataclass(frozen=True, eq=False)
class Epilogue:
    """What happens to a layer's int8 value, quantised as `value`, before its clamp.

    `second` names an activation of the result's shape that is added to it as QLinearAdd does, as
    the operator's first operand if `swap`; `sum` is how that sum is quantised. Then `table`, int8
    `[256]` or one for each channel `[256, channels]`, gives the result of code q in entry q + 128.
    Without both the value stays as it is.
    """

    value: Quantisation
    second: str | None = None
    swap: bool = False
    sum: Quantisation = (1.0, 0)
    table: NDArray[np.int8] | None = None

    @property
    def seconds(self) -> tuple[str, ...]:
        """The second operand, if there is one."""
        return () if self.second is None else (self.second,)

    @property
    def result(self) -> Quantisation:
        """How the value is quantised before the table."""
        return self.value if self.second is None else self.sum

    def add_constants(self, second: Activation) -> tuple[int, int, int]:
        """`numerics.add_constants` of the sum with `second`; `ValueError` if there are none."""
        operands = [self.value, (second.scale, second.zero_point)]
        (a, za), (b, zb) = operands[::-1] if self.swap else operands
        return numerics.add_constants((a, b, self.sum[0]), (za, zb, self.sum[1]))


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
    epilogue: Epilogue | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return inputs_of(self.input, self.epilogue)

    @property
    def kernel(self) -> Pair:
        return self.weights.shape[0], self.weights.shape[1]

    @property
    def depth(self) -> int:
        return self.weights.shape[2]

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

    `scale_by_count`: of an average whose padding does not count, (positions of a window inside
    the image, scale there) for all such numbers, in the place of `scale`.
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
    epilogue: Epilogue | None = None
    scale_by_count: tuple[tuple[int, float], ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        return inputs_of(self.input, self.epilogue)

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
    padding: Padding = ((0, 0), (0, 0)), counted: bool = True,
) -> Depthwise:  # fmt: skip
    """The mean over windows (QLinearGlobalAveragePool's arithmetic); padding counts as zeros or,
    unless `counted`, not at all. `ValueError` for a window of padding alone."""
    channels = source.shape[3]
    scale = numerics.pool_scale(source.scale, result.scale, prod(window))
    weights = np.ones((*window, channels), np.int8)
    scales = np.full(channels, scale, np.float32)
    made = Depthwise(name, source.name, result.name, weights, scales, None, strides, padding)
    if counted or padding == ((0, 0), (0, 0)):
        return made
    numbers = [
        set(
            Axis(
                source.shape[1 + i],
                result_size(source.shape[1 + i], window[i], strides[i], 1, padding[i]),
                window[i], strides[i], 1, padding[i][0],
            ).inside()
        )
        for i in (0, 1)
    ]  # fmt: skip
    counts = sorted({rows * columns for rows in numbers[0] for columns in numbers[1]})
    if 0 in counts:
        raise ValueError(f"padding {padding} holds a whole window of {window}")
    by_count = ((n, float(numerics.pool_scale(source.scale, result.scale, n))) for n in counts)
    return replace(made, scale_by_count=tuple(by_count))


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows; positions outside the image do not take part."""

    name: str
    input: str
    output: str
    window: Pair
    strides: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))
    epilogue: None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)

    @property
    def kernel(self) -> Pair:
        return self.window

    @property
    def dilations(self) -> Pair:
        return 1, 1


@dataclass(frozen=True, eq=False)
class Pointwise:
    """`output = clamp(epilogue(input))`: a sum of two activations, a table, a clamp or a copy.

    Negative `padding` takes so many rows and columns away.
    """

    name: str
    input: str
    output: str
    epilogue: Epilogue
    low: int = numerics.INT8_MIN
    high: int = numerics.INT8_MAX
    kernel: Pair = (1, 1)
    strides: Pair = (1, 1)
    dilations: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))

    @property
    def inputs(self) -> tuple[str, ...]:
        return inputs_of(self.input, self.epilogue)


@dataclass(frozen=True, eq=False)
class Product:
    """A matrix product of two activations, image by image:
    `output = clamp(requantise(sum((x - x_zero) * (operand - operand_zero))))`.

    `input` is `[B, 1, M, K]`, `operand` `[B, 1, K, N]`, or `[B, 1, N, K]` if `transposed`, and
    `output` `[B, 1, M, N]`; `depth` is K, `channels` N, `scale` one float32.
    """

    name: str
    input: str
    operand: str
    output: str
    depth: int
    channels: int
    scale: np.float32
    transposed: bool = False
    low: int = numerics.INT8_MIN
    high: int = numerics.INT8_MAX
    epilogue: Epilogue | None = None
    kernel: Pair = (1, 1)
    strides: Pair = (1, 1)
    dilations: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))

    @property
    def inputs(self) -> tuple[str, ...]:
        return (*inputs_of(self.input, self.epilogue), self.operand)


@dataclass(frozen=True, eq=False)
class Multiply:
    """`output = clamp(requantise(x * operand))`, value by value; both have zero point 0.

    `operand` has the shape of `input`, or one position in each image, which all take part with.
    """

    name: str
    input: str
    operand: str
    output: str
    channels: int
    scale: np.float32
    low: int = numerics.INT8_MIN
    high: int = numerics.INT8_MAX
    epilogue: Epilogue | None = None
    kernel: Pair = (1, 1)
    strides: Pair = (1, 1)
    dilations: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))

    @property
    def inputs(self) -> tuple[str, ...]:
        return (*inputs_of(self.input, self.epilogue), self.operand)


@dataclass(frozen=True)
class Concat:
    """Channels of `sources` one after the other; all share one quantisation.

    The back half turns it into addresses (`arrange.py`): it takes no instruction where a source
    can be written to its place, and one copy where it cannot.
    """

    name: str
    sources: tuple[str, ...]
    output: str
    epilogue: None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.sources


@dataclass(frozen=True)
class Interleave:
    """Position (y, x) is the next one of source `(y % down) * across + x % across`, `steps` being
    (down, across): the phases of a transposed convolution.

    The back half turns it into addresses: every source must be the output of a layer and serve
    nothing else.
    """

    name: str
    sources: tuple[str, ...]
    output: str
    steps: Pair
    epilogue: None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.sources

    def phases(self) -> tuple[Pair, ...]:
        """First row and column of each source."""
        down, across = self.steps
        return tuple((y, x) for y in range(down) for x in range(across))


Worker = Convolution | Product | Depthwise | Multiply | MaxPool | Pointwise
"""Layers that take instructions."""
Joined = Concat | Interleave
"""Layers that are addresses only."""
Layer = Worker | Joined
STREAMED = (Convolution, Product)
"""Layers whose input streams through the array."""
OPERANDS = (Product, Multiply)
"""Layers whose weights are an activation, which they read from DRAM."""
REQUANTISED = (Convolution, Product, Depthwise, Multiply)
"""Layers whose sums become int8 by a scale."""


def seconds_of(layer: Worker) -> tuple[str, ...]:
    """What is added to a layer's result."""
    return () if layer.epilogue is None else layer.epilogue.seconds


def inputs_of(first: str, epilogue: Epilogue | None) -> tuple[str, ...]:
    """The activations that a layer reads, its own input first."""
    return (first,) if epilogue is None else (first, *epilogue.seconds)


def result_size(source: int, kernel: int, stride: int, dilation: int, padding: Pair) -> int:
    """Output positions along an axis (0 or less: the window does not fit)."""
    return (source + sum(padding) - (kernel - 1) * dilation - 1) // stride + 1
