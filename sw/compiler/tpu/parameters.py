"""Biases, scales, depthwise weights, tables: memories as two halves, one in use, one loading."""

from __future__ import annotations

from collections.abc import Sequence

from hw.tpu.config import TpuConfig
from sw.compiler.tpu.emit import Emitter
from sw.compiler.tpu.layers import (
    REQUANTISED,
    CompileError,
    Convolution,
    Depthwise,
    Multiply,
    Worker,
)
from sw.compiler.tpu.plan import Group
from sw.compiler.tpu.tile import Tile

Need = tuple[int, int]
"""Layer number and number of the part of its output blocks that fills a half at most."""
TABLE_ROWS = 256


class Slots:
    """Loads parts of the layers' constants in the order in which the groups need them.

    Part k of that order goes to half `k % 2`, as soon as part k - 1 is in use: part k - 2, which
    it overwrites, is then done with. Of the `entries` of the memory a part takes `head(layer)`
    that all its blocks of output channels share, then `each(layer)` for every block.
    """

    def __init__(self, entries: int, groups: Sequence[Group]) -> None:
        self.halves = 2 if entries > 1 else 1
        self.half = self.usable(entries // self.halves)
        self.layers: dict[int, Worker] = {}
        self.order: list[Need] = []
        for group in groups:
            if not self.head(group.layer) and not self.each(group.layer):
                continue
            self.layers[group.number] = group.layer
            if group.shape.convolution and group.chunk_last < group.shape.blocks_in:
                continue
            for part in self.parts(group):
                if not self.order or self.order[-1] != (group.number, part):
                    self.order.append((group.number, part))
        self.loaded: list[Need | None] = [None] * self.halves
        self.position = -1
        self.fetched = -1

    @staticmethod
    def usable(half: int) -> int:
        """How much of a half is used."""
        return half

    def head(self, layer: Worker) -> int:
        """Entries that a part begins with."""
        raise NotImplementedError

    def each(self, layer: Worker) -> int:
        """Entries of a block."""
        raise NotImplementedError

    def load(self, emitter: Emitter, layer: Worker, blocks: range, at: int, tag: int) -> None:
        """Bring a part, its head to entry `at`."""
        raise NotImplementedError

    def _size(self, number: int) -> int:
        """Blocks of a layer in a half."""
        layer = self.layers[number]
        head, each = self.head(layer), self.each(layer)
        if head + each > self.half:
            raise CompileError(
                f"layer {layer.name!r}: its constants take {head + each} entries of a memory that "
                f"holds {self.half} at once"
            )
        return (self.half - head) // each if each else 1 << 20

    def parts(self, group: Group) -> range:
        """The parts that a group needs."""
        size = self._size(group.number)
        return range(group.blocks[0] // size, group.blocks[-1] // size + 1)

    def entry(self, emitter: Emitter, group: Group, block: int) -> tuple[int, int]:
        """The first entries of the head and of an output block, loaded first if not there."""
        size = self._size(group.number)
        need = group.number, block // size
        if self.position < 0 or self.order[self.position] != need:
            self.position += 1
            assert self.order[self.position] == need
            self._fetch(emitter, self.position)
        layer, at = self.layers[group.number], self.position % self.halves * self.half
        return at, at + self.head(layer) + block % size * self.each(layer)

    def prefetch(self, emitter: Emitter) -> None:
        """Load the part after the one in use, unless it is still to be computed."""
        after = self.position + 1
        if self.halves > 1 and after < len(self.order) and self.order[after][1] >= 0:
            self._fetch(emitter, after)

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
        channels = emitter.network.by_name[layer.output].blocks(emitter.config.array)
        taken = range(part * size, min((part + 1) * size, channels))
        self.load(emitter, layer, taken, half * self.half, number)


class ParameterSlots(Slots):
    """The parameter memory: constants of an add, then an entry for each output block, or one for
    each of its scales."""

    def __init__(self, config: TpuConfig, groups: Sequence[Group]) -> None:
        super().__init__(config.parameter_entries, groups)

    def head(self, layer: Worker) -> int:
        return int(layer.epilogue is not None and layer.epilogue.second is not None)

    def each(self, layer: Worker) -> int:
        if isinstance(layer, Convolution):
            return int(not layer.accumulators)
        if isinstance(layer, Depthwise) and layer.scale_by_count:
            return len(layer.scale_by_count)
        return int(isinstance(layer, REQUANTISED))

    def load(self, emitter: Emitter, layer: Worker, blocks: range, at: int, tag: int) -> None:
        if self.head(layer):
            emitter.addition(layer, at, tag)
        if isinstance(layer, REQUANTISED):
            first, last = (number * self.each(layer) for number in (blocks.start, blocks.stop))
            emitter.parameters(layer, first, last, at + self.head(layer), tag)


class LaneSlots(Slots):
    """The lane memory: a table for all channels, then for each output block depthwise weights, a
    row for each kernel position, or a table of its own."""

    def __init__(self, config: TpuConfig, groups: Sequence[Group]) -> None:
        self.turns = 0
        super().__init__(config.lane_rows, groups)

    @staticmethod
    def usable(half: int) -> int:
        return half - half % TABLE_ROWS if half >= TABLE_ROWS else half

    def parts(self, group: Group) -> range:
        if not isinstance(group.layer, Multiply):
            return super().parts(group)
        self.turns -= 1  # a part of its own, of which none is loaded twice
        return range(self.turns, self.turns + 1)

    def operand(
        self, emitter: Emitter, group: Group, layer: Multiply, block: int
    ) -> tuple[int, int]:
        """Load the operand of a group; its first row and the rows from position to position."""
        self.position += 1
        self.fetched = self.position
        assert self.order[self.position][1] < 0
        half = self.position % self.halves
        self.loaded[half] = None
        row = half * self.half
        item, tile = emitter.network.by_name[layer.operand], group.tile
        each = int(item.shape == emitter.network.by_name[layer.input].shape)
        read = tile if each else Tile(tile.b0, tile.b1, 0, 1, 0, 1)
        emitter.operand_lanes(item, block, read, row, group.number)
        return row, each

    def head(self, layer: Worker) -> int:
        return TABLE_ROWS if _table_axes(layer) == 1 else 0

    def each(self, layer: Worker) -> int:
        if isinstance(layer, Multiply):
            return 1
        taps = layer.kernel[0] * layer.kernel[1] if _multiplies(layer) else 0
        return TABLE_ROWS if _table_axes(layer) == 2 else taps

    def load(self, emitter: Emitter, layer: Worker, blocks: range, at: int, tag: int) -> None:
        memory, n, each = emitter.memory, emitter.config.array, self.each(layer)
        if self.head(layer):
            emitter.lanes(memory.tables[layer.output], TABLE_ROWS, at, tag)
        if each:
            table = memory.weights if _multiplies(layer) else memory.tables
            address = table[layer.output] + blocks.start * each * n
            emitter.lanes(address, len(blocks) * each, at + self.head(layer), tag)


def _multiplies(layer: Worker) -> bool:
    """Whether a layer's weights are in the lane memory."""
    return isinstance(layer, Depthwise) and not layer.averages


def _table_axes(layer: Worker) -> int:
    """Axes of a layer's table, 0 if it has none."""
    if layer.epilogue is None or layer.epilogue.table is None:
        return 0
    return layer.epilogue.table.ndim
