"""Quantise: the numbers of a layer from the scales around it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hw.tpu import numerics
from sw.compiler.tpu.fuse import Group, Weights, bias_codes, weights_of
from sw.compiler.tpu.layers import (
    Activation,
    Convolution,
    Depthwise,
    MaxPool,
    Multiply,
    Product,
    average_pool,
)
from sw.compiler.tpu.operands import Scaled, operand, parameters
from sw.compiler.tpu.support import original_name
from sw.graph.errors import InvalidArgumentError
from sw.graph.operation import Operation
from sw.graph.ops.windows import Window
from sw.graph.tensor import Tensor

L = TypeVar("L", bound=Convolution | Depthwise)
_INT32 = np.iinfo(np.int32)


def geometry(op: Operation, image: tuple[int, ...], kernel: tuple[int, int]) -> dict[str, Any]:
    """Strides, explicit padding and (of a convolution) dilations on an image NHWC."""
    dilations = op.attrs.get("dilations", (1, 1))
    window = Window(kernel, op.attrs["strides"], dilations, op.attrs["padding"])
    found = {
        "strides": op.attrs["strides"],
        "padding": (window.pads(0, image[1]), window.pads(1, image[2])),
    }
    return found if op.type.endswith("pool") else {**found, "dilations": dilations}


def required_weights(op: Operation) -> Weights:
    """The constant weights of an op that fusion has found to have some."""
    weights = weights_of(op)
    assert weights is not None
    return weights


def bias_at(bias: Tensor, scale: NDArray[np.float32]) -> NDArray[np.int32]:
    """A constant bias as int32 `[cout]` at `scale` (s_x * s_w per channel), saturated."""
    found = bias_codes(bias)
    assert found is not None
    values, own = found
    if own is not None and np.array_equal(np.broadcast_to(own, scale.shape), scale):
        return values.astype(np.int32)
    real = values.astype(np.float64) * (1.0 if own is None else own.astype(np.float64))
    steps = np.rint(real / scale.astype(np.float64))
    return np.clip(steps, _INT32.min, _INT32.max).astype(np.int32)


def clamp(clamps: tuple[str, ...], scale: float, zero_point: int) -> tuple[int, int]:
    """The int8 limits that relu and relu6 become behind a requantisation to `scale`."""
    low, high = numerics.INT8_MIN, numerics.INT8_MAX
    if clamps:
        low = zero_point
    if "relu6" in clamps:
        high = max(low, int(numerics.quantize(np.float32(6.0), np.float32(scale), zero_point)))
    return low, high


def requantised(group: Group, layer: L) -> L:
    """`layer` (codes and geometry) with the bias, scale and clamp of its group."""
    root, target = group.root, parameters(group.quantise)
    assert root is not None and target is not None
    weights = required_weights(root)
    try:
        scale = numerics.effective_scale(group.source.scale, weights.scale, target[0])
    except ValueError as error:
        raise InvalidArgumentError(f"op {root.where()}: {error}", root) from None
    bias = None
    if group.bias is not None:
        bias = bias_at(group.bias, np.float32(group.source.scale) * weights.scale)
    low, high = clamp(group.clamps, *target)
    return replace(layer, bias=bias, scale=scale, low=low, high=high)


def dense(codes: NDArray[np.int8]) -> NDArray[np.int8]:
    """Depthwise weights `[kh, kw, c, m]` as those of a convolution `[kh, kw, c, c * m]`."""
    kh, kw, channels, several = codes.shape
    full = np.zeros((kh, kw, channels, channels, several), np.int8)
    every = np.arange(channels)
    full[:, :, every, every] = codes
    return full.reshape(kh, kw, channels, -1)


def depthwise(op: Operation, image: tuple[int, ...], source: str) -> Convolution | Depthwise:
    """A depthwise op's codes and geometry; as a convolution where the vector unit cannot."""
    codes = required_weights(op).codes
    found = geometry(op, image, (codes.shape[0], codes.shape[1]))
    names = original_name(op), source, op.outputs[0].name
    if codes.shape[3] != 1 or found["dilations"] != (1, 1):
        return Convolution(*names, dense(codes), **found)
    del found["dilations"]
    return Depthwise(*names, codes[..., 0], np.ones(codes.shape[2], np.float32), **found)


def average(group: Group, source: Activation, result: str) -> Depthwise:
    """A mean over windows as a layer."""
    op, target = group.root, parameters(group.quantise)
    assert op is not None and target is not None
    found = geometry(op, source.shape, op.attrs["ksize"])
    made = Activation(result, source.shape, *target)
    low, high = clamp(group.clamps, *target)
    try:
        layer = average_pool(
            original_name(op), source, made, op.attrs["ksize"], **found, counted=False
        )
    except ValueError as error:
        raise InvalidArgumentError(f"op {op.where()}: {error}", op) from None
    return replace(layer, low=low, high=high)


def product(group: Group, names: tuple[str, str, str, str], channels: int) -> Product | Multiply:
    """A product of two activations as a layer; `names` are its own, those of its operands and that
    of its result."""
    op, target = group.root, parameters(group.quantise)
    assert op is not None and target is not None
    first, second = group.sources
    try:
        scale = np.float32(numerics.effective_scale(first.scale, second.scale, target[0]))
    except ValueError as error:
        raise InvalidArgumentError(f"op {op.where()}: {error}", op) from None
    low, high = clamp(group.clamps, *target)
    if op.type == "mul":
        return Multiply(*names, channels, scale, low, high)
    right = operand(op.inputs[1])
    assert right is not None
    return Product(*names, right.sides[0], channels, scale, right.transposed, low, high)


def accumulated(
    source: Scaled, weights: Weights, layer: Convolution
) -> tuple[Convolution, NDArray[np.int32], NDArray[np.float32]]:
    """`layer` without requantisation, and the correction and scale that make its int32 output
    float32."""
    raw = replace(layer, accumulators=True)
    scale = np.float32(source.scale) * weights.scale
    return raw, raw.correction(source.zero_point), scale


def pool(op: Operation, image: tuple[int, ...], source: str, result: str) -> MaxPool:
    """A max_pool op as a layer."""
    ksize = op.attrs["ksize"]
    return MaxPool(original_name(op), source, result, ksize, **geometry(op, image, ksize))
