"""Biases and scales: the parameter memory as two halves, one in use while the other is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from hw.tpu.config import TpuConfig
from sw.compiler.tpu.emit import Emitter
from sw.compiler.tpu.layers import Convolution
from sw.compiler.tpu.plan import Group

Need = tuple[int, int]
"""Layer number and number of the part of its output blocks that fills a half at most."""


class ParameterSlots:
    """Loads parts of the layers' parameters in the order in which the groups need them.

    Part k of that order goes to half `k % 2`, as soon as part k - 1 is in use: part k - 2, which
    it overwrites, is then done with.
    """

    def __init__(self, config: TpuConfig, groups: Sequence[Group]) -> None:
        self.halves = 2 if config.parameter_entries > 1 else 1
        self.size = config.parameter_entries // self.halves
        self.layers: dict[int, Convolution] = {}
        self.order: list[Need] = []
        for group in groups:
            if not isinstance(group.layer, Convolution) or group.layer.accumulators:
                continue
            self.layers[group.number] = group.layer
            if group.chunk_last < group.shape.blocks_in:
                continue
            first, last = group.blocks[0] // self.size, group.blocks[-1] // self.size
            for part in range(first, last + 1):
                if not self.order or self.order[-1] != (group.number, part):
                    self.order.append((group.number, part))
        self.loaded: list[Need | None] = [None] * self.halves
        self.position = -1
        self.fetched = -1

    def entry(self, emitter: Emitter, group: Group, block: int) -> int:
        """The entry of an output block, loaded first if it is not there."""
        need = group.number, block // self.size
        if self.position < 0 or self.order[self.position] != need:
            self.position += 1
            assert self.order[self.position] == need
            self._fetch(emitter, self.position)
        return self.position % self.halves * self.size + block % self.size

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
        layer = self.layers[number]
        blocks = -(-layer.weights.shape[3] // emitter.config.array)
        first = part * self.size
        emitter.parameters(layer, first, min(first + self.size, blocks), half * self.size, number)
