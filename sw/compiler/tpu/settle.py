"""Settle: what is transposed on its way to DRAM gets a layer that brings it there.

The transposed copy of an operand is written by the layer that makes it, while it leaves the chip.
A network input and a concatenation have no such layer, so they are copied by one of their own.
"""

from __future__ import annotations

from dataclasses import replace

from sw.compiler.tpu.layers import Concat, Epilogue, Layer, Pointwise, Product
from sw.compiler.tpu.network import Network


def settle(network: Network) -> Network:
    """The same network with a copy of every transposed operand that no worker makes."""
    made = {layer.output for layer in network.layers if not isinstance(layer, Concat)}
    lost = network.turned - made
    if not lost:
        return network
    layers: list[Layer] = []
    copies = {}
    for layer in network.layers:
        if isinstance(layer, Product) and layer.transposed and layer.operand in lost:
            item = network.by_name[layer.operand]
            copy = replace(item, name=f"{item.name}/copy")
            if copy.name not in copies:
                copies[copy.name] = copy
                epilogue = Epilogue((item.scale, item.zero_point))
                layers.append(Pointwise(copy.name, item.name, copy.name, epilogue))
            layer = replace(layer, operand=copy.name)
        layers.append(layer)
    items = (*network.activations, *copies.values())
    return replace(network, layers=tuple(layers), activations=items)
