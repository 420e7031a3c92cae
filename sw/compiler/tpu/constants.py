"""What DRAM holds: weights and parameters in the order that the core reads them, then buffers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.tpu import numerics
from hw.tpu.config import TpuConfig
from hw.tpu.program import Port
from sw.compiler.tpu.allocate import Placement
from sw.compiler.tpu.layers import OPERANDS, Convolution, Depthwise, Product, Worker
from sw.compiler.tpu.network import Network
from sw.compiler.tpu.packing import Packing
from sw.compiler.tpu.view import View, inside


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
    bias: NDArray[np.int32], scales: NDArray[np.float32] | None, array: int
) -> NDArray[np.uint8]:
    """Entries `[cout block][8][array]`: byte planes of folded int32 bias, then of float32 scale;
    of `scales` `[several, channels]` `[cout block][several][8][array]`."""
    channels = bias.size
    blocks = -(-channels // array)
    given = np.ones((1, channels), "<f4") if scales is None else np.atleast_2d(scales)
    words = np.zeros((len(given), 2, blocks * array), "<u4")
    words[:, 0, :channels] = bias.view(np.uint32)
    full = np.ones((len(given), blocks * array), "<f4")
    full[:, :channels] = given
    words[:, 1] = full.view("<u4")
    planes = words.view(np.uint8).reshape(len(given), 2, blocks, array, 4)
    return np.ascontiguousarray(planes.transpose(2, 0, 1, 4, 3)).ravel()


def pack_addition(constants: tuple[int, int, int], array: int) -> NDArray[np.uint8]:
    """A parameter entry `[8][array]` with the constants of an add in lanes 0 and 1."""
    words = np.zeros((2, array), "<u4")
    packed = np.frombuffer(numerics.pack_add_constants(constants), "<u4")
    words[:, :2] = packed.reshape(2, 2).T
    return np.ascontiguousarray(
        words.view(np.uint8).reshape(2, array, 4).transpose(0, 2, 1)
    ).ravel()


def pack_table(table: NDArray[np.int8], array: int) -> NDArray[np.uint8]:
    """int8 `[256]` or `[256, c]` to rows of the lane memory: `[256][array]` for all channels, or
    `[c block][256][array]`."""
    if table.ndim == 1:
        return np.repeat(table, array).view(np.uint8)
    blocks = -(-table.shape[1] // array)
    full = np.zeros((256, blocks * array), np.int8)
    full[:, : table.shape[1]] = table
    return full.reshape(256, blocks, array).transpose(1, 0, 2).copy().view(np.uint8).ravel()


def shares(zero_point: int) -> tuple[int, ...]:
    """`-zero_point` as int8 numbers whose sum it is; none for 0.

    >>> shares(5), shares(-128), shares(0)
    ((-5,), (64, 64), ())
    """
    if zero_point == numerics.INT8_MIN:
        return (64, 64)
    return (-zero_point,) if zero_point else ()


def pack_shares(depth: int, zero_point: int, array: int) -> NDArray[np.uint8]:
    """What the products with an activation of `zero_point` need in DRAM: a row of zeros, then, for
    each of its `shares`, tiles `[cin block][array][array]` that hold it in the first `depth` rows.
    """
    rows = np.zeros((-(-depth // array) * array, array), np.int8)
    parts = [np.zeros(max(64, array), np.int8)]
    for share in shares(zero_point):
        rows[:depth] = share
        parts.append(rows.copy().ravel())
    return np.concatenate(parts).view(np.uint8)


@dataclass(frozen=True)
class Turned:
    """A transposed copy of an activation `[B, 1, rows, depth]` at `address`: image b's row of
    channel k is `pitch` bytes at `address + b*image + k*pitch`, a byte for each position."""

    address: int
    pitch: int
    image: int


@dataclass(frozen=True)
class Memory:
    """The DRAM image and where things are in it, byte offsets: constants by the name of their
    layer's output, `buffers` by activation."""

    image: NDArray[np.uint8]
    weights: dict[str, int]
    parameters: dict[str, int]
    additions: dict[str, int]
    tables: dict[str, int]
    buffers: dict[str, View]
    """Where activations lie, in rows."""
    turned: dict[str, Turned]
    size: int


def _constants(
    network: Network, layer: Worker, packing: Packing | None, array: int
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """What a layer needs in DRAM, as (field of `Memory`, bytes)."""
    if isinstance(layer, (Convolution, Depthwise)):
        pack = pack_weights if isinstance(layer, Convolution) else pack_lanes
        if packing is not None:
            pack = packing.pack_weights
        yield "weights", pack(layer.weights, array)
        bias = layer.correction(network.by_name[layer.input].zero_point)
        scale = layer.scale
        if isinstance(layer, Depthwise) and layer.scale_by_count:
            each = np.array([[value] for _, value in layer.scale_by_count], np.float32)
            scale = np.repeat(each, layer.channels, axis=1)
        yield "parameters", pack_parameters(bias, scale, array)
    elif isinstance(layer, OPERANDS):
        zeros = [network.by_name[name].zero_point for name in (layer.input, layer.operand)]
        bias = np.full(layer.channels, zeros[0] * zeros[1], np.int32)
        if isinstance(layer, Product):
            bias *= layer.depth
            yield "weights", pack_shares(layer.depth, zeros[1], array)
        scale = np.full(layer.channels, layer.scale, np.float32)
        yield "parameters", pack_parameters(bias, scale, array)
    epilogue = layer.epilogue
    if epilogue is not None:
        for name in epilogue.seconds:
            constants = epilogue.add_constants(network.by_name[name])
            yield "additions", pack_addition(constants, array)
        if epilogue.table is not None:
            yield "tables", pack_table(epilogue.table, array)


def lay_out(network: Network, config: TpuConfig, placement: Placement, stored: set[str]) -> Memory:
    """Constants of all layers from offset 0, then a buffer for each of the whole activations in
    `stored`. Parts of a stored whole have their buffers in it."""
    align = max(64, config.array)
    images: list[NDArray[np.uint8]] = []
    places: dict[str, dict[str, int]] = {
        kind: {} for kind in ("weights", "parameters", "additions", "tables")
    }
    end = 0
    for layer, shape in zip(network.workers, placement.shapes, strict=True):
        for kind, data in _constants(network, layer, shape.packing, config.array):
            places[kind][layer.output] = end
            size = -(-data.size // align) * align
            images.append(np.concatenate([data, np.zeros(size - data.size, np.uint8)]))
            end += size
    image = np.concatenate(images) if images else np.zeros(0, np.uint8)
    buffers: dict[str, View] = {}
    dense = placement.packed(network)
    for name in [item.name for item in network.activations if item.name in stored]:
        buffers[name] = inside(network, name, end // config.array)
        size = port(network, name, end, dense=name in dense).size(config.array)
        end += -(-size // align) * align
    for name in network.parts:
        if network.whole(name) in buffers:
            buffers[name] = inside(network, name, buffers[network.whole(name)].base)
    turned: dict[str, Turned] = {}
    for name in sorted(network.turned):
        item = network.by_name[name]
        pitch = -(-item.shape[2] // align) * align
        image_bytes = item.blocks(config.array) * config.array * pitch
        turned[name] = Turned(end, pitch, image_bytes)
        end += item.shape[0] * image_bytes
    return Memory(image, buffers=buffers, turned=turned, size=end, **places)


def port(network: Network, name: str, address: int, *, dense: bool) -> Port:
    """The port of an activation whose buffer is at `address`."""
    item = network.by_name[name]
    raw = any(
        isinstance(layer, Convolution) and layer.accumulators and layer.output == name
        for layer in network.workers
    )
    return Port(name, address, item.shape, item.scale, item.zero_point, raw, dense)
