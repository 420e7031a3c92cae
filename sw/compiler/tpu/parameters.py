"""Biases, scales, depthwise weights: memories as two halves, one in use, the other loading."""

from __future__ import annotations

from collections.abc import Sequence

from hw.tpu.config import TpuConfig
from sw.compiler.tpu.emit import Emitter
from sw.compiler.tpu.layers import CompileError, Convolution, Depthwise, Layer, MaxPool
from sw.compiler.tpu.plan import Group

Need = tuple[int, int]
"""Layer number and number of the part of its output blocks that fills a half at most."""


class Slots:
    """Loads parts of the layers' constants in the order in which the groups need them.

    Part k of that order goes to half `k % 2`, as soon as part k - 1 is in use: part k - 2, which
    it overwrites, is then done with. A block of output channels takes `each(layer)` of the
    `entries` of the memory.
    """

    def __init__(self, entries: int, groups: Sequence[Group]) -> None:
        self.halves = 2 if entries > 1 else 1
        self.half = entries // self.halves
        self.layers: dict[int, Convolution | Depthwise] = {}
        self.order: list[Need] = []
        for group in groups:
            if not self.serves(group.layer):
                continue
            assert not isinstance(group.layer, MaxPool)
            self.layers[group.number] = group.layer
            if group.shape.convolution and group.chunk_last < group.shape.blocks_in:
                continue
            size = self._size(group.number)
            for part in range(group.blocks[0] // size, group.blocks[-1] // size + 1):
                if not self.order or self.order[-1] != (group.number, part):
                    self.order.append((group.number, part))
        self.loaded: list[Need | None] = [None] * self.halves
        self.position = -1
        self.fetched = -1

    def serves(self, layer: Layer) -> bool:
        """Whether the layer needs this memory."""
        raise NotImplementedError

    def each(self, layer: Convolution | Depthwise) -> int:
        """Entries of a block."""
        raise NotImplementedError

    def load(
        self, emitter: Emitter, layer: Convolution | Depthwise, blocks: range, at: int, tag: int
    ) -> None:
        """Bring these blocks' entries to entry `at` and those behind it."""
        raise NotImplementedError

    def _size(self, number: int) -> int:
        """Blocks of a layer in a half."""
        layer = self.layers[number]
        if self.each(layer) > self.half:
            raise CompileError(f"layer {layer.name!r}: kernel {layer.kernel} has too many weights")
        return self.half // self.each(layer)

    def entry(self, emitter: Emitter, group: Group, block: int) -> int:
        """The first entry of an output block, loaded first if it is not there."""
        size = self._size(group.number)
        need = group.number, block // size
        if self.position < 0 or self.order[self.position] != need:
            self.position += 1
            assert self.order[self.position] == need
            self._fetch(emitter, self.position)
        half = self.position % self.halves
        return half * self.half + block % size * self.each(self.layers[group.number])

    def prefetch(self, emitter: Emitter) -> None:
        """Load the part after the one in use."""
        if self.halves > 1 and self.position + 1 < len(self.order):
            self._fetch(emitter, self.position + 1)

    def _fetch(self, emitter: Emitter, position: int) -> None:
        number, part = need = self.order[position]
        half = position % self.halves
        if position <= self.fetched:
            return
        self.fetched = position
        if self.loaded[half] == need:
            return
        self.loaded[half] = need
        layer, size = self.layers[number], self._size(number)
        blocks = -(-layer.channels // emitter.config.array)
        taken = range(part * size, min((part + 1) * size, blocks))
        self.load(emitter, layer, taken, half * self.half, number)


class ParameterSlots(Slots):
    """The parameter memory: an entry for each block of output channels."""

    def __init__(self, config: TpuConfig, groups: Sequence[Group]) -> None:
        super().__init__(config.parameter_entries, groups)

    def serves(self, layer: Layer) -> bool:
        if isinstance(layer, Convolution):
            return not layer.accumulators
        return isinstance(layer, Depthwise)

    def each(self, layer: Convolution | Depthwise) -> int:
        return 1

    def load(
        self, emitter: Emitter, layer: Convolution | Depthwise, blocks: range, at: int, tag: int
    ) -> None:
        emitter.parameters(layer, blocks.start, blocks.stop, at, tag)


class LaneSlots(Slots):
    """The lane memory: depthwise weights, a row for each kernel position."""

    def __init__(self, config: TpuConfig, groups: Sequence[Group]) -> None:
        super().__init__(config.lane_rows, groups)

    def serves(self, layer: Layer) -> bool:
        return isinstance(layer, Depthwise) and not layer.averages

    def each(self, layer: Convolution | Depthwise) -> int:
        return layer.kernel[0] * layer.kernel[1]

    def load(
        self, emitter: Emitter, layer: Convolution | Depthwise, blocks: range, at: int, tag: int
    ) -> None:
        assert isinstance(layer, Depthwise)
        emitter.lanes(layer, blocks.start, blocks.stop, at, tag)
