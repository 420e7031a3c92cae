"""What layers mean, in plain NumPy int64: one loop over kernel positions, no compiler involved."""

import numpy as np

from hw.tpu import numerics
from sw.compiler.tpu.layers import Convolution, Depthwise


def run(network, inputs):
    """Every activation of a network by name, from int8 `inputs` by name."""
    values = dict(inputs)
    for layer in network.layers:
        x = values[layer.input]
        zero = network.by_name[layer.input].zero_point
        result = network.by_name[layer.output]
        if isinstance(layer, Convolution):
            values[layer.output] = convolution(layer, x, zero, result)
        elif isinstance(layer, Depthwise):
            values[layer.output] = depthwise(layer, x, zero, result)
        else:
            values[layer.output] = windows(layer, x, -128, result.shape).max(0).astype(np.int8)
    return values


def windows(layer, x, fill, shape):
    """int64 `[kh*kw, B, oh, ow, C]`: what each kernel position reads."""
    (top, bottom), (left, right) = layer.padding
    padded = np.pad(
        x.astype(np.int64),
        ((0, 0), (top, bottom), (left, right), (0, 0)),
        constant_values=fill,
    )
    height, width = shape[1:3]
    (sy, sx), (dy, dx) = layer.strides, layer.dilations
    return np.stack(
        [
            padded[
                :,
                ky * dy : ky * dy + (height - 1) * sy + 1 : sy,
                kx * dx : kx * dx + (width - 1) * sx + 1 : sx,
            ]
            for ky in range(layer.kernel[0])
            for kx in range(layer.kernel[1])
        ]
    )


def convolution(layer, x, zero, result):
    weights = layer.weights.astype(np.int64).reshape(-1, *layer.weights.shape[2:])
    offset = 0 if layer.accumulators else zero
    total = np.zeros(result.shape, np.int64)
    for read, tap in zip(windows(layer, x, zero, result.shape), weights, strict=True):
        total += (read - offset) @ tap
    if layer.accumulators:
        return numerics.wrap_int32(total)
    if layer.bias is not None:
        total += layer.bias
    return np.clip(
        numerics.requantise(numerics.wrap_int32(total), layer.scale, result.zero_point),
        layer.low,
        layer.high,
    )


def depthwise(layer, x, zero, result):
    taps = layer.weights.astype(np.int64).reshape(-1, layer.weights.shape[2])
    total = np.zeros(result.shape, np.int64)
    for read, tap in zip(windows(layer, x, zero, result.shape), taps, strict=True):
        total += (read - zero) * tap
    if layer.bias is not None:
        total += layer.bias
    return np.clip(
        numerics.requantise(numerics.wrap_int32(total), layer.scale, result.zero_point),
        layer.low,
        layer.high,
    )
