"""What layers mean, in plain NumPy int64: one loop over kernel positions, no compiler involved."""

import dataclasses

import numpy as np

from hw.tpu import numerics
from sw.compiler.tpu.layers import (
    OPERANDS,
    Concat,
    Convolution,
    Depthwise,
    Interleave,
    MaxPool,
    Pointwise,
    Product,
)


def run(network, inputs):
    """Every activation of a network by name, from int8 `inputs` by name."""
    values = dict(inputs)
    for layer in network.layers:
        if isinstance(layer, Concat):
            values[layer.output] = np.concatenate([values[name] for name in layer.sources], -1)
            continue
        if isinstance(layer, Interleave):
            whole = np.zeros(network.by_name[layer.output].shape, np.int8)
            for number, name in enumerate(layer.sources):
                y, x = divmod(number, layer.steps[1])
                whole[:, y :: layer.steps[0], x :: layer.steps[1]] = values[name]
            values[layer.output] = whole
            continue
        x = values[layer.input]
        zero = network.by_name[layer.input].zero_point
        result = network.by_name[layer.output]
        if layer.epilogue is not None:
            scale, zero_point = layer.epilogue.value
            result = dataclasses.replace(result, scale=scale, zero_point=zero_point)
        if isinstance(layer, Convolution):
            y = convolution(layer, x, zero, result)
        elif isinstance(layer, Depthwise):
            y = depthwise(layer, x, zero, result)
        elif isinstance(layer, OPERANDS):
            operand = values[layer.operand].astype(np.int64)
            operand -= network.by_name[layer.operand].zero_point
            y = two_operands(layer, x.astype(np.int64) - zero, operand, result)
        elif isinstance(layer, Pointwise):
            (top, bottom), (left, right) = layer.padding
            y = x[:, -top : x.shape[1] + bottom, -left : x.shape[2] + right]
        else:
            y = windows(layer, x, -128, result.shape).max(0).astype(np.int8)
        if layer.epilogue is not None:
            y = epilogue(layer.epilogue, y, values, network)
        if not isinstance(layer, MaxPool) and not getattr(layer, "accumulators", False):
            y = np.clip(y, layer.low, layer.high)
        values[layer.output] = y
    return values


def epilogue(follows, y, values, network):
    """What an epilogue makes of int8 codes."""
    if follows.second is not None:
        second = network.by_name[follows.second]
        scales, zeros = (follows.value[0], second.scale), (follows.value[1], second.zero_point)
        operands = [y, values[follows.second]]
        if follows.swap:
            operands, scales, zeros = operands[::-1], scales[::-1], zeros[::-1]
        constants = numerics.add_constants((*scales, follows.sum[0]), (*zeros, follows.sum[1]))
        y = numerics.residual_add(*operands, constants)
    if follows.table is not None:
        codes = y.astype(np.int64) + 128
        table = follows.table
        y = table[codes] if table.ndim == 1 else table[codes, np.arange(table.shape[1])]
    return y


def windows(layer, x, fill, shape):
    """int64 `[kh*kw, B, oh, ow, C]`: what each kernel position reads."""
    sides = [(0, 0), *layer.padding, (0, 0)]
    padded = np.pad(
        x.astype(np.int64),
        [(max(0, before), max(0, after)) for before, after in sides],
        constant_values=fill,
    )
    cut = [slice(max(0, -a), n - max(0, -b)) for (a, b), n in zip(sides, padded.shape, strict=True)]
    padded = padded[tuple(cut)]
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
    return numerics.requantise(numerics.wrap_int32(total), layer.scale, result.zero_point)


def two_operands(layer, x, operand, result):
    """The product of two activations, as matrices or value by value."""
    if isinstance(layer, Product):
        total = x @ (operand.swapaxes(-1, -2) if layer.transposed else operand)
    else:
        total = x * operand
    return numerics.requantise(numerics.wrap_int32(total), layer.scale, result.zero_point)


def depthwise(layer, x, zero, result):
    taps = layer.weights.astype(np.int64).reshape(-1, layer.weights.shape[2])
    total = np.zeros(result.shape, np.int64)
    for read, tap in zip(windows(layer, x, zero, result.shape), taps, strict=True):
        total += (read - zero) * tap
    if layer.bias is not None:
        total += layer.bias
    scale = layer.scale
    if layer.scale_by_count:
        inside = windows(layer, np.ones_like(x), 0, result.shape).sum(0)
        scale = np.vectorize(dict(layer.scale_by_count).__getitem__, otypes=["f4"])(inside)
    return numerics.requantise(numerics.wrap_int32(total), scale, result.zero_point)
