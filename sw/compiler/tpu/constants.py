"""What DRAM holds: weights and parameters in the order that the core reads them, then buffers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.tpu.config import PARAMETER_SUBROWS, TpuConfig
from hw.tpu.program import Port
from sw.compiler.tpu.allocate import Placement
from sw.compiler.tpu.layers import Convolution, Depthwise, MaxPool, Network


def pack_weights(weights: NDArray[np.int8], array: int) -> NDArray[np.uint8]:
    """int8 `[kh, kw, cin, cout]` to tiles `[cout block][cin block][kh][kw][array][array]`."""
    kh, kw, cin, cout = weights.shape
    blocks_in, blocks_out = -(-cin // array), -(-cout // array)
    full = np.zeros((kh, kw, blocks_in * array, blocks_out * array), np.int8)
    full[:, :, :cin, :cout] = weights
    tiles = full.reshape(kh, kw, blocks_in, array, blocks_out, array).transpose(4, 2, 0, 1, 3, 5)
    return np.ascontiguousarray(tiles).view(np.uint8).ravel()


def pack_lanes(weights: NDArray[np.int8], array: int) -> NDArray[np.uint8]:
    """int8 `[kh, kw, c]` to rows of the lane memory `[c block][kh][kw][array]`."""
    kh, kw, channels = weights.shape
    full = np.zeros((kh, kw, -(-channels // array) * array), np.int8)
    full[:, :, :channels] = weights
    return full.reshape(kh, kw, -1, array).transpose(2, 0, 1, 3).copy().view(np.uint8).ravel()


def pack_parameters(
    layer: Convolution | Depthwise, zero_point: int, array: int
) -> NDArray[np.uint8]:
    """Entries `[cout block][8][array]`: byte planes of folded int32 bias, then of float32 scale."""
    channels = layer.channels
    blocks = -(-channels // array)
    words = np.zeros((2, blocks * array), "<u4")
    words[0, :channels] = layer.correction(zero_point).view(np.uint32)
    scale = np.ones(blocks * array, "<f4")
    if layer.scale is not None:
        scale[:channels] = layer.scale
    words[1] = scale.view("<u4")
    planes = words.view(np.uint8).reshape(2, blocks, array, 4).transpose(1, 0, 3, 2)
    return np.ascontiguousarray(planes).reshape(blocks * PARAMETER_SUBROWS * array)


@dataclass(frozen=True)
class Memory:
    """The DRAM image and where things are in it, byte offsets; `buffers` by activation."""

    image: NDArray[np.uint8]
    weights: dict[str, int]
    parameters: dict[str, int]
    buffers: dict[str, int]
    size: int


def lay_out(network: Network, config: TpuConfig, placement: Placement, stored: set[str]) -> Memory:
    """Constants of all layers from offset 0, then a buffer for each activation in `stored`."""
    align = max(64, config.array)
    parts: list[NDArray[np.uint8]] = []
    places: list[dict[str, int]] = [{}, {}]
    end = 0
    for layer, shape in zip(network.layers, placement.shapes, strict=True):
        if isinstance(layer, MaxPool):
            continue
        pack = pack_weights if isinstance(layer, Convolution) else pack_lanes
        if shape.packing is not None:
            pack = shape.packing.pack_weights
        zero_point = network.by_name[layer.input].zero_point
        for table, data in zip(
            places,
            (
                pack(layer.weights, config.array),
                pack_parameters(layer, zero_point, config.array),
            ),
            strict=True,
        ):
            table[layer.name] = end
            size = -(-data.size // align) * align
            parts.append(np.concatenate([data, np.zeros(size - data.size, np.uint8)]))
            end += size
    image = np.concatenate(parts) if parts else np.zeros(0, np.uint8)
    buffers: dict[str, int] = {}
    dense = placement.packed(network)
    for name in [item.name for item in network.activations if item.name in stored]:
        buffers[name] = end
        size = port(network, name, end, dense=name in dense).size(config.array)
        end += -(-size // align) * align
    return Memory(image, places[0], places[1], buffers, end)


def port(network: Network, name: str, address: int, *, dense: bool) -> Port:
    """The port of an activation whose buffer is at `address`."""
    item = network.by_name[name]
    raw = any(
        isinstance(layer, Convolution) and layer.accumulators and layer.output == name
        for layer in network.layers
    )
    return Port(name, address, item.shape, item.scale, item.zero_point, raw, dense)
