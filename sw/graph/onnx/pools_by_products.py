"""Quantised pools for which the TPU has no window, as products: over one or three axes, with
dilations, with padding that counts in an average.

An average is a product with zeros and ones, a row for the image of every channel. A maximum is
taken over what a convolution with one-hot kernels puts side by side, two axes at a time.
"""

from __future__ import annotations

from functools import reduce
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.tpu.numerics import INT8_MIN
from sw.graph.dtypes import int8
from sw.graph.onnx.geometry import Geometry, geometry, with_ceiling
from sw.graph.onnx.node import Node
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

MOST_WEIGHTS = 1 << 25
"""Zeros and ones at most: a larger product is the CPU's."""
MOST_SIDE = 255
"""Of windows and paddings."""


def pool(node: Node) -> Tensor | None:
    """A pool of int8 codes, or an average of dequantised ones, in ONNX's order of axes; None where
    the TPU's own windows, or only the CPU, can do it."""
    tensor, sizes = node.x(0), tuple(node.attr("kernel_shape", ()))
    if not tensor.shape.known or node.outputs > 1 or len(sizes) != len(tensor.shape) - 2:
        return None
    average = node.proto.op_type == "AveragePool"
    spatial = tensor.shape[2:]
    given = geometry(node, sizes, spatial)
    found = with_ceiling(given, spatial) if given and node.attr("ceil_mode", 0) else given
    if given is None or found is None or found.same:
        return None
    if max(*found.kernel, *(side for pair in found.pads for side in pair)) > MOST_SIDE:
        return None
    dilated, padded = any(d != 1 for d in found.dilations), any(map(any, found.pads))
    if average:
        counted = bool(node.attr("count_include_pad", 0))
        if len(sizes) == 2 and not dilated and not (counted and padded):
            return None
        return _average(node, tensor, found, given if counted else None)
    if tensor.dtype is not int8 or len(sizes) != 3 and not dilated:
        return None
    if prod(sizes[-2:]) ** 2 > MOST_WEIGHTS:
        return None
    if padded:  # never the largest, or as large as all of a window
        pairs = ((0, 0), (0, 0), *found.pads)
        tensor = node.make("pad", tensor, paddings=pairs, constant=INT8_MIN)
        found = found._replace(pads=((0, 0),) * len(sizes))
    return _maximum(node, tensor, found)


def results(found: Geometry, spatial: tuple[int, ...]) -> tuple[int, ...]:
    """Positions that a pool gives along each axis."""
    axes = zip(
        spatial, found.kernel, found.strides, found.dilations, found.pads, strict=True
    )  # fmt: skip
    return tuple((size + sum(pads) - (k - 1) * d - 1) // s + 1 for size, k, s, d, pads in axes)


def _average(
    node: Node, tensor: Tensor, found: Geometry, counted: Geometry | None
) -> Tensor | None:
    """`counted`: the geometry whose padding counts, None if none does."""
    op, (batch, channels, *spatial) = tensor.op, tensor.shape.sizes()
    if op.type != "dequantize_linear" or op.inputs[0].dtype is not int8 or min(spatial) < 1:
        return None
    made = results(found, tuple(spatial))
    if min(made) < 1:
        return None
    if prod(spatial) * prod(made) > MOST_WEIGHTS:
        return _average_of_planes(node, op, found, made) if len(spatial) == 3 else None
    pads = found.pads if counted is None else counted.pads
    axes = [
        _axis(
            size, out, found.kernel[i], found.strides[i], found.dilations[i], found.pads[i][0],
            None if counted is None else pads[i][1],
        )
        for i, (size, out) in enumerate(zip(spatial, made, strict=True))
    ]  # fmt: skip
    ones = reduce(np.kron, (inside for inside, _ in axes))
    counts = reduce(np.kron, (count for _, count in axes))
    if not counts.all():
        return None
    weights = node.make(
        "dequantize_linear", ones, (1 / counts).astype(np.float32), np.int8(0), axis=1
    )
    rows = node.make("reshape", tensor, np.array([batch * channels, prod(spatial)]))
    means = node.make("matmul", rows, weights)
    out: Tensor = node.main("reshape", means, np.array([batch, channels, *made]))
    return out


def _average_of_planes(
    node: Node, op: Operation, found: Geometry, made: tuple[int, ...]
) -> Tensor | None:
    """The same for a large volume, its depth as channels: planes are convolved with a band of
    ones. Without padding only."""
    codes, scale, zero = op.inputs
    batch, channels, depth, *plane = codes.shape.sizes()
    sides = found.kernel[1:]
    if any(map(any, found.pads)) or depth * made[0] * prod(sides) > MOST_WEIGHTS:
        return None
    band, _ = _axis(depth, made[0], found.kernel[0], found.strides[0], found.dilations[0], 0, None)
    ones = np.broadcast_to(band, (*sides, *band.shape))
    share = np.float32(1 / prod(found.kernel))
    volumes = node.make("reshape", codes, np.array([batch * channels, depth, *plane]))
    deep = node.make("transpose", volumes, perm=(0, 2, 3, 1))
    image = node.make("dequantize_linear", deep, scale, zero)
    weights = node.make("dequantize_linear", np.ascontiguousarray(ones), share, np.int8(0))
    attrs = {"strides": found.strides[1:], "dilations": found.dilations[1:], "padding": "VALID"}
    means = node.make("conv2d", image, weights, **attrs)
    back = node.make("transpose", means, perm=(0, 3, 1, 2))
    out: Tensor = node.main("reshape", back, np.array([batch, channels, *made]))
    return out


def _axis(
    size: int, out: int, kernel: int, stride: int, dilation: int, before: int, after: int | None
) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Which positions each result adds `[size, out]`, and by what it divides; positions of the
    padding count as far as `after` behind the image, if that is given."""
    inside, counts = np.zeros((size, out), np.int8), np.zeros(out, np.int64)
    for result in range(out):
        for tap in range(kernel):
            at = result * stride + tap * dilation - before
            if 0 <= at < size:
                inside[at, result] = 1
            counts[result] += 0 <= at < size or after is not None and at < size + after
    return inside, counts


def _maximum(node: Node, tensor: Tensor, found: Geometry) -> Tensor:
    batch, channels, *spatial = tensor.shape.sizes()
    made = results(found, tuple(spatial))
    pads = (1,) * (2 - len(spatial))  # a line is an image of one row
    sides, steps, spread = (
        (*pads, *values[-2:]) for values in (found.kernel, found.strides, found.dilations)
    )
    images = prod((batch, channels, *spatial[:-2]))
    last = _largest(node, tensor, (images, *pads, *spatial[-2:]), sides, steps, spread)
    if len(spatial) == 3:
        volume = (batch * channels, spatial[0], made[1] * made[2])
        one = [(values[0], 1) for values in (found.kernel, found.strides, found.dilations)]
        last = _largest(node, last, volume, *one)
    out: Tensor = node.main("reshape", last, np.array([batch, channels, *made]))
    return out


def _largest(
    node: Node, codes: Tensor, shape: tuple[int, ...], kernel: Any, strides: Any, dilations: Any
) -> Tensor:
    """Maxima over windows of `shape` [images, rows, columns], in that order of axes."""
    taps, one = prod(kernel), (np.float32(1), np.int8(0))
    image = node.make("reshape", codes, np.array([*shape, 1]))
    apart = np.eye(taps, dtype=np.int8).reshape(*kernel, 1, taps)
    attrs = {"strides": strides, "padding": "VALID", "dilations": dilations}
    beside = node.make("qlinear_conv", image, *one, apart, *one, *one, **attrs)
    row = node.make("reshape", beside, np.array([1, prod(beside.shape.sizes()[:3]), taps, 1]))
    same = {"strides": (1, 1), "padding": "VALID", "dilations": (1, 1)}
    behind = node.make(
        "qlinear_conv", row, *one, np.ones((1, 1, 1, 1), np.int8), *one, *one, **same
    )
    window = {"ksize": (1, taps), "strides": (1, taps), "padding": "VALID"}
    out: Tensor = node.make("max_pool", behind, **window)
    return out
