"""A network: layers in an order in which they can run, checked, and where tensors lie in others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hw.tpu import numerics
from sw.compiler.tpu.layers import (
    MOST_PADDING,
    MOST_STEP,
    OPERANDS,
    STREAMED,
    Activation,
    Axis,
    CompileError,
    Concat,
    Convolution,
    Depthwise,
    Interleave,
    Joined,
    Layer,
    Multiply,
    Pair,
    Pointwise,
    Product,
    Worker,
    result_size,
)


@dataclass(frozen=True)
class Part:
    """Where an activation lies in `whole`: from channel block `block` and position `first` (row,
    column) on, its neighbours `step` positions of the whole apart."""

    whole: str
    block: int = 0
    first: Pair = (0, 0)
    step: Pair = (1, 1)


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
    parts: Mapping[str, Part] = field(default_factory=dict)
    """Activations that lie inside others: a whole one is made when all its parts are. `arrange`
    finds them; they are no business of who makes layers."""
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
        wholes = {*self.parts, *(part.whole for part in self.parts.values())}
        wholes -= {layer.output for layer in self.layers}
        known = set(self.inputs) | wholes
        if missing := sorted(known - set(names)):
            raise CompileError(f"no activation {missing[0]!r}")
        raw: set[str] = set()
        for layer in self.layers:
            for name in layer.inputs:
                if name not in known:
                    raise CompileError(f"layer {layer.name!r}: input {name!r} is not there yet")
                if name in raw:
                    raise CompileError(f"layer {layer.name!r}: input {name!r} is int32")
            self._define(layer.output, known, f"layer {layer.name!r}")
            self._check(layer)
            if isinstance(layer, Convolution) and layer.accumulators:
                raw.add(layer.output)
        produced = {layer.output for layer in self.layers} | wholes
        for name in self.outputs:
            if name not in produced:
                raise CompileError(f"network output {name!r} is the output of no layer")
        if not self.outputs or len(set(self.outputs)) != len(self.outputs):
            raise CompileError(f"network outputs {self.outputs} must be some different activations")
        if raw - set(self.outputs):
            raise CompileError(f"int32 activation {min(raw - set(self.outputs))!r} is no output")

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The layers that take instructions: all, once a network is arranged."""
        return tuple(layer for layer in self.layers if not isinstance(layer, Joined))

    def whole(self, name: str) -> str:
        """The activation that `name` lies in: itself, for most."""
        return self.part(name).whole

    def part(self, name: str) -> Part:
        """Where an activation lies: in itself, for most."""
        return self.parts.get(name, Part(name))

    def _define(self, name: str, known: set[str], who: str) -> None:
        if name not in self.by_name:
            raise CompileError(f"{who}: no activation {name!r}")
        if name in known:
            raise CompileError(f"{who}: activation {name!r} has a producer already")
        known.add(name)

    def _check(self, layer: Layer) -> None:
        where = f"layer {layer.name!r}"
        result = self.by_name[layer.output]
        if isinstance(layer, Concat):
            self._check_concat(layer, result, where)
            return
        if isinstance(layer, Interleave):
            self._check_interleave(layer, result, where)
            return
        source = self.by_name[layer.input]
        self._check_epilogue(layer, result, where)
        for what, values in (
            ("kernel", layer.kernel),
            ("strides", layer.strides),
            ("dilations", layer.dilations),
        ):
            if not all(1 <= value <= MOST_STEP for value in values):
                raise CompileError(f"{where}: {what} {values} must be from 1 to {MOST_STEP}")
        least = -MOST_PADDING if isinstance(layer, (Convolution, Pointwise)) else 0
        if not all(least <= value <= MOST_PADDING for pair in layer.padding for value in pair):
            raise CompileError(
                f"{where}: padding {layer.padding} must be {least} to {MOST_PADDING}"
            )
        channels = source.shape[3]
        if isinstance(layer, Convolution):
            channels = self._check_convolution(layer, source, where)
        elif isinstance(layer, OPERANDS):
            channels = layer.channels
            self._check_operand(layer, source, where)
        elif isinstance(layer, Depthwise):
            self._check_channels(layer, channels, where)
            if layer.scale_by_count and not layer.averages:
                raise CompileError(f"{where}: only an average has scales by count")
        elif isinstance(layer, Pointwise):
            if layer.epilogue.value != (source.scale, source.zero_point):
                raise CompileError(f"{where}: its epilogue begins with {layer.epilogue.value}")
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

    def _check_concat(self, layer: Concat, result: Activation, where: str) -> None:
        sources = [self.by_name[name] for name in layer.sources]
        channels = sum(item.shape[3] for item in sources)
        for item in sources:
            expected = (*item.shape[:3], channels)
            if result.shape != expected:
                raise CompileError(f"{where}: output has shape {result.shape}, not {expected}")
            if (item.scale, item.zero_point) != (result.scale, result.zero_point):
                raise CompileError(f"{where}: {item.name!r} is quantised unlike the output")

    def _check_interleave(self, layer: Interleave, result: Activation, where: str) -> None:
        batch, height, width, channels = result.shape
        (down, across), made = layer.steps, {item.output for item in self.workers}
        uses = Counter(name for item in self.layers for name in item.inputs)
        if len(layer.sources) != down * across:
            raise CompileError(f"{where}: {len(layer.sources)} sources for steps {layer.steps}")
        for name, (y, x) in zip(layer.sources, layer.phases(), strict=True):
            item = self.by_name[name]
            expected = (batch, -(-(height - y) // down), -(-(width - x) // across), channels)
            if item.shape != expected:
                raise CompileError(f"{where}: {name!r} has shape {item.shape}, not {expected}")
            if (item.scale, item.zero_point) != (result.scale, result.zero_point):
                raise CompileError(f"{where}: {name!r} is quantised unlike the output")
            if name not in made or name in self.outputs or uses[name] > 1:
                raise CompileError(f"{where}: {name!r} must be a layer's output, used here only")

    def _check_epilogue(self, layer: Worker, result: Activation, where: str) -> None:
        epilogue = layer.epilogue
        if epilogue is None:
            return
        for name in epilogue.seconds:
            second = self.by_name[name]
            if second.shape != result.shape:
                raise CompileError(f"{where}: it adds {second.shape} to {result.shape}")
            try:
                epilogue.add_constants(second)
            except ValueError as error:
                raise CompileError(f"{where}: {error}") from None
        table = epilogue.table
        if table is None:
            if epilogue.result != (result.scale, result.zero_point):
                raise CompileError(f"{where}: its result is quantised as {epilogue.result}")
        elif table.dtype != np.int8 or table.shape not in ((256,), (256, result.shape[3])):
            raise CompileError(f"{where}: its table is {table.dtype} {table.shape}")

    def _check_operand(self, layer: Product | Multiply, source: Activation, where: str) -> None:
        operand = self.by_name[layer.operand]
        images, rows, columns, channels = source.shape
        if isinstance(layer, Product):
            sides = (layer.channels, layer.depth) if layer.transposed else None
            wanted = [(images, 1, *(sides or (layer.depth, layer.channels)))]
            given = rows == 1 and channels == layer.depth
        else:
            wanted = [source.shape, (images, 1, 1, channels)]
            given = channels == layer.channels and not (source.zero_point or operand.zero_point)
        if not given or operand.shape not in wanted:
            raise CompileError(
                f"{where}: {source.shape} at zero point {source.zero_point} and {operand.shape} "
                f"at {operand.zero_point} do not go together"
            )
        if isinstance(layer, Multiply) and layer.epilogue and layer.epilogue.table is not None:
            raise CompileError(f"{where}: its operand has the lane memory, a table has no room")
        if layer.scale.dtype != np.float32 or not layer.scale > 0:
            raise CompileError(f"{where}: scale {layer.scale} must be a positive float32")

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

    def axes(self, layer: Worker) -> tuple[Axis, Axis]:
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

    def macs_of(self, layer: Layer) -> int:
        """Useful multiply-accumulates: output positions x kernel x cin x cout; of convolutions in
        which half the pairs of channels or more do not meet (groups) those that do."""
        if not isinstance(layer, STREAMED):
            return 0
        pairs = layer.depth * layer.channels
        if isinstance(layer, Convolution):
            met = int(layer.weights.any(axis=(0, 1)).sum())
            pairs = met if 2 * met <= pairs else pairs
        kernel = layer.kernel[0] * layer.kernel[1]
        return self.by_name[layer.output].positions * kernel * pairs

    def macs(self) -> int:
        """Those of all layers."""
        return sum(self.macs_of(layer) for layer in self.layers)

    @property
    def operands(self) -> set[str]:
        """The activations that layers read from DRAM in the place of weights; see `turned`."""
        return {
            layer.operand
            for layer in self.layers
            if isinstance(layer, OPERANDS) and not (isinstance(layer, Product) and layer.transposed)
        }

    @property
    def turned(self) -> set[str]:
        """The activations that are transposed on their way to DRAM, to be weights."""
        return {
            layer.operand
            for layer in self.layers
            if isinstance(layer, Product) and layer.transposed
        }
