"""Combine: additions, tables and clamps join the layer before them.

The vector unit does them on the way from the accumulators to the scratchpad. The value between is
int8 as before, so that the result is the same, bit for bit.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hw.tpu.config import TpuConfig
from hw.tpu.numerics import INT8_MAX, INT8_MIN
from sw.compiler.tpu.layers import (
    Convolution,
    Depthwise,
    Epilogue,
    Layer,
    Multiply,
    Pointwise,
    Product,
)
from sw.compiler.tpu.network import Network
from sw.compiler.tpu.parameters import TABLE_ROWS


def combine(network: Network, config: TpuConfig) -> Network:
    """The same network with every `Pointwise` layer whose input has no other use in the layer
    that makes it, where the core's memories hold what both need."""
    uses = Counter(name for layer in network.layers for name in layer.inputs)
    uses.update(network.outputs)
    layers: list[Layer] = []
    places: dict[str, int] = {}
    for layer in network.layers:
        joined = None
        if isinstance(layer, Pointwise):
            for item in _turns(layer, network):
                before = places.get(item.input)
                if before is None or uses[item.input] != 1 or item.input in network.parts:
                    continue
                if any(places.get(name, -1) >= before for name in item.inputs[1:]):
                    continue
                joined = join(layers[before], item, config)
                if joined is not None:
                    layers[before] = joined
                    places[layer.output] = places.pop(item.input)
                    break
        if joined is None:
            places[layer.output] = len(layers)
            layers.append(layer)
    made = {layer.output for layer in layers}.union(network.inputs)
    kept = tuple(item for item in network.activations if item.name in made)
    return replace(network, layers=tuple(layers), activations=kept)


def _turns(layer: Pointwise, network: Network) -> list[Pointwise]:
    """An addition seen from either operand."""
    epilogue = layer.epilogue
    if epilogue.second is None or epilogue.second == layer.input:
        return [layer]
    second = network.by_name[epilogue.second]
    turned = replace(
        epilogue,
        value=(second.scale, second.zero_point),
        second=layer.input,
        swap=not epilogue.swap,
    )
    return [layer, replace(layer, input=second.name, epilogue=turned)]


def join(before: Layer, after: Pointwise, config: TpuConfig) -> Layer | None:
    """Both as one layer; None if the vector unit cannot do that in one pass."""
    if not isinstance(before, (Convolution, Product, Depthwise, Multiply, Pointwise)):
        return None
    if isinstance(before, Convolution) and before.accumulators:
        return None
    if any(map(any, after.padding)):
        return None  # a copy of some rows
    first, then = before.epilogue, after.epilogue
    adds, maps = then.second is not None, then.table is not None
    if isinstance(before, Multiply) and maps:
        return None  # its operand has the lane memory
    if first is not None and (first.table is not None or (adds and first.second is not None)):
        return None
    clamped = before.low > INT8_MIN or before.high < INT8_MAX
    if adds and clamped:
        return None
    table = then.table
    low, high = after.low, after.high
    if clamped and table is not None:
        table = clamped_table(table, before.low, before.high)
    elif clamped:
        low, high = _both((before.low, before.high), (low, high))
    if first is None:
        epilogue = replace(then, table=table)
    else:
        epilogue = replace(first, table=table)
        if adds:
            epilogue = replace(epilogue, second=then.second, swap=then.swap, sum=then.sum)
    if isinstance(before, Depthwise) and maps and not fits(before, epilogue, config):
        return None
    if isinstance(before, Depthwise) and adds and before.scale_by_count:
        if len(before.scale_by_count) + 1 > config.parameter_entries // 2:
            return None
    return replace(before, output=after.output, epilogue=epilogue, low=low, high=high)


def _both(first: tuple[int, int], then: tuple[int, int]) -> tuple[int, int]:
    """One clamp for two."""
    low, high = (int(np.clip(value, *then)) for value in first)
    return low, high


def clamped_table(table: NDArray[np.int8], low: int, high: int) -> NDArray[np.int8]:
    """A table with a clamp before it."""
    return table[np.clip(np.arange(INT8_MIN, INT8_MAX + 1), low, high) - INT8_MIN]


def fits(layer: Depthwise, epilogue: Epilogue, config: TpuConfig) -> bool:
    """Whether a half of the lane memory holds a table beside a layer's weights."""
    if layer.averages:
        return True
    taps = layer.kernel[0] * layer.kernel[1]
    one = epilogue.table is not None and epilogue.table.ndim == 1
    half = config.lane_rows // 2
    return one and half - half % TABLE_ROWS >= TABLE_ROWS + taps
