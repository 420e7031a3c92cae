"""Arrange: concatenations and interleavings become addresses.

Channel blocks are the outermost axis of an activation on the chip and in DRAM, so that the parts
of a concatenation can be written where they belong in the whole (`Network.parts`). Where a part
does not fill its last block, the whole has idle lanes there, and the weights of its convolutions
get zeros for them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sw.compiler.tpu.layers import (
    Activation,
    Concat,
    Convolution,
    Epilogue,
    Interleave,
    Joined,
    Layer,
    Pointwise,
    Worker,
)
from sw.compiler.tpu.network import Network, Part

SPREAD = "/spread"
"""Ends the name of a concatenation with idle lanes; its own name is that of a dense copy."""


def arrange(network: Network, array: int) -> Network:
    """The same network without `Joined` layers, for a core with `array` lanes.

    A source that is a network input, has another place already or is there twice is copied to its
    place. A whole with idle lanes that anything but a convolution reads is made dense by one more
    convolution, with a permutation for weights.
    """
    if not any(isinstance(layer, Joined) for layer in network.layers):
        return network
    return _Arranger(network, array).run()


class _Arranger:
    def __init__(self, network: Network, array: int) -> None:
        self.network, self.array = network, array
        self.concats = {
            layer.output: layer for layer in network.layers if isinstance(layer, Concat)
        }
        self.items = dict(network.by_name)
        self.inside: dict[str, tuple[str, int]] = {}
        """Of each part the concatenation that it is written into, and its channel block there."""
        self.copies: dict[str, list[Pointwise]] = {}
        self.lanes: dict[str, NDArray[np.int64]] = {}
        """Of each concatenation with idle lanes, the lane of every channel."""

    def run(self) -> Network:
        sources = {layer.output: list(layer.sources) for layer in self.concats.values()}
        for layer in reversed(self.concats.values()):  # a larger one takes in those that it holds
            self._adopt(layer, sources[layer.output])
        for layer in self.concats.values():
            self._lay_out(layer, sources[layer.output])
        layers: list[Layer] = []
        for made in self.network.layers:
            if isinstance(made, Concat):
                layers += self.copies.get(made.output, [])
                layers += self._dense(made)
            elif not isinstance(made, Interleave):
                layers.append(self._reading(made))
        parts = {self._spelt(name): self._place(name) for name in self.inside}
        for made in self.network.layers:
            if isinstance(made, Interleave):
                whole = self._place(made.output)
                for name, first in zip(made.sources, made.phases(), strict=True):
                    parts[name] = replace(whole, first=first, step=made.steps)
        return Network(
            self.network.inputs, tuple(layers), self.network.outputs, self._activations(), parts
        )

    def _adopt(self, layer: Concat, sources: list[str]) -> None:
        """Decide which sources are written to their places and which are copied."""
        taken = Counter(sources)
        for number, name in enumerate(layer.sources):
            free = name not in self.inside and name not in self.network.inputs
            if free and taken[name] == 1:
                self.inside[name] = (layer.output, 0)
                continue
            item = self.items[name]
            copy = replace(item, name=f"{layer.output}/copy{number}")
            self.items[copy.name] = copy
            sources[number] = copy.name
            self.inside[copy.name] = (layer.output, 0)
            epilogue = Epilogue((item.scale, item.zero_point))
            self.copies.setdefault(layer.output, []).append(
                Pointwise(f"{layer.name}/copy{number}", name, copy.name, epilogue)
            )

    def _lay_out(self, layer: Concat, sources: list[str]) -> None:
        """Give every source its channel block; note the lanes if some stay idle."""
        lanes, block = [], 0
        for name in sources:
            self.inside[name] = (layer.output, block)
            own = self.lanes.get(name, np.arange(self.items[name].shape[3]))
            lanes.append(block * self.array + own)
            block += -(-self._width(name) // self.array)
        found = np.concatenate(lanes)
        if not np.array_equal(found, np.arange(len(found))):
            self.lanes[layer.output] = found

    def _width(self, name: str) -> int:
        """Channels of an activation, idle lanes counted."""
        lanes = self.lanes.get(name)
        return self.items[name].shape[3] if lanes is None else int(lanes.max()) + 1

    def _spelt(self, name: str) -> str:
        """The name under which what has idle lanes is found."""
        return name + SPREAD if name in self.lanes else name

    def _place(self, name: str) -> Part:
        """The outermost concatenation that a part lies in, and its channel block there."""
        block = 0
        while name in self.inside:
            name, offset = self.inside[name]
            block += offset
        return Part(self._spelt(name), block)

    def _activations(self) -> tuple[Activation, ...]:
        made = []
        for name, item in self.items.items():
            if name in self.lanes:
                shape = (*item.shape[:3], self._width(name))
                made.append(replace(item, name=self._spelt(name), shape=shape))
            if name not in self.lanes or name in self._wanted():
                made.append(item)
        return tuple(made)

    def _wanted(self) -> set[str]:
        """What is read by anything but a convolution that streams it."""
        names = set(self.network.outputs)
        copies = (layer for made in self.copies.values() for layer in made)
        for layer in (*self.network.layers, *copies):
            if not isinstance(layer, Joined):
                names.update(layer.inputs[isinstance(layer, Convolution) :])
        return names

    def _dense(self, layer: Concat) -> list[Layer]:
        """What makes a whole without idle lanes, where it is wanted."""
        lanes = self.lanes.get(layer.output)
        if lanes is None or layer.output not in self._wanted():
            return []
        weights = np.zeros((1, 1, self._width(layer.output), len(lanes)), np.int8)
        weights[0, 0, lanes, np.arange(len(lanes))] = 1
        scale = np.ones(len(lanes), np.float32)
        source = self._spelt(layer.output)
        return [Convolution(layer.name, source, layer.output, weights, None, scale)]

    def _reading(self, layer: Worker) -> Layer:
        """A layer that reads wholes with idle lanes where it can."""
        lanes = self.lanes.get(layer.input)
        if lanes is None or not isinstance(layer, Convolution):
            return layer
        weights = np.zeros((*layer.kernel, self._width(layer.input), layer.channels), np.int8)
        weights[:, :, lanes] = layer.weights
        return replace(layer, input=self._spelt(layer.input), weights=weights)
