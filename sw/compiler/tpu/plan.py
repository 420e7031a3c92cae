"""From tiled layers to a list of groups: stretches of work that share one staged piece of input.

A convolution has one group per tile (one per tile, output block and channel chunk where the
reduction is split), a pooling one per tile and channel block. A group knows what it must load, in
the order in which its steps need it; a step is one MATMUL with its weights, or one pooling.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hw.tpu.config import TpuConfig
from sw.compiler.tpu.allocate import Placement
from sw.compiler.tpu.layers import STREAMED, Activation, Worker
from sw.compiler.tpu.network import Network
from sw.compiler.tpu.tile import Shape, Tile, Tiling
from sw.compiler.tpu.view import View, inside, packed

MOST_EXPOSED_CHUNKS = 32
"""Parts into which a tile's reduction is cut when nothing of its input is there yet."""


@dataclass(frozen=True)
class Piece:
    """Channel blocks `[first, last)` of the input positions in `tile`, one LOAD of a group."""

    first: int
    last: int
    tile: Tile

    def serves(self, first: int, last: int, region: Tile) -> bool:
        """Whether it holds some of these channel blocks of these positions."""
        mine, other = self.tile, region
        return (
            self.first < last
            and first < self.last
            and mine.b0 < other.b1
            and other.b0 < mine.b1
            and mine.y0 < other.y1
            and other.y0 < mine.y1
            and mine.x0 < other.x1
            and other.x0 < mine.x1
        )


@dataclass(frozen=True)
class Step:
    """Output block `block` from input channel blocks `[first, last)`; `last_of_block`: results
    are complete; `first_of_block`: accumulators are taken: `offset` rows into the other bank, or,
    if `stay`, into the same bank as the block before."""

    block: int
    first: int
    last: int
    first_of_block: bool
    last_of_block: bool
    offset: int = 0
    stay: bool = False


@dataclass(eq=False)
class Group:
    """Work on one tile. `rows` of staging, 0 if the input is resident; `blocks` of the output and
    channel blocks `[chunk_first, chunk_last)` of the input take part."""

    number: int
    layer: Worker
    shape: Shape
    tile: Tile
    region: Tile
    blocks: range
    chunk_first: int
    chunk_last: int
    rows: int
    views: list[View]
    """One for all input blocks, or, of a packed input, one for each."""
    pieces: list[Piece] = field(default_factory=list)
    fresh: bool = True
    """Nothing has been loaded for it yet."""
    placed: bool = False
    base: int = 0
    """First row of its staging."""

    def place(self, base: int) -> None:
        """Give its staged input rows from `base` on."""
        if self.shape.packing is None:
            self.views = [packed(base, self.chunk_first, self.region)]
        else:
            self.views = []
            for block in range(self.shape.blocks_in):
                region = self.region_of(block)
                self.views.append(packed(base, block, region))
                base += region.positions
        self.base = self.views[0].base
        self.placed = True

    def region_of(self, block: int) -> Tile:
        """Input positions of a block that the tile reads."""
        return self.region if self.shape.packing is None else self.shape.region(self.tile, block)

    def needs(self, piece: Piece, first: int, last: int) -> bool:
        """Whether input blocks `[first, last)` of its work need something of a piece."""
        if self.shape.packing is not None:
            return first < piece.last and piece.first < last
        return piece.serves(first, last, self.region)

    def view_of(self, block: int) -> View:
        """Where an input block lies."""
        return self.views[0 if self.shape.packing is None else block - self.chunk_first]

    def steps(self, config: TpuConfig, exposed: bool, follows: bool, fillers: int) -> list[Step]:
        """Its steps in order.

        `exposed`: its input is still to be loaded, so several output blocks start on each channel
        block as it arrives. `follows`: the layer before writes its input meanwhile, the last
        channel block last. `fillers`: so many loads are to be spread between the steps.
        """
        blocks, count = list(self.blocks), self.chunk_last - self.chunk_first
        if not isinstance(self.layer, STREAMED):
            return [Step(o, o, o + 1, True, True) for o in blocks]
        plan: list[Step] = []
        if exposed and count > 1:
            wide = min(len(blocks), self._wide(config))
            half = -(-wide // 2)
            most = 4 if self._weights_bound(config) else MOST_EXPOSED_CHUNKS
            for part in self._cut(min(count, most)):
                plan += [
                    self._step(o, *part, i % half * self.tile.positions, i % half > 0)
                    for i, o in enumerate(blocks[:wide])
                ]
            blocks = blocks[wide:]
        elif follows and count > 1:
            edge = self.chunk_last - 1
            plan.append(self._step(blocks[0], self.chunk_first, edge))
            plan.append(self._step(blocks[0], edge, self.chunk_last))
            blocks = blocks[1:]
        each = min(count, max(1, -(-(fillers + 1) // max(1, len(self.blocks)))))
        parts = tuple(self._cut(each))
        return plan + [self._step(o, *part) for o in blocks for part in parts]

    def _weights_bound(self, config: TpuConfig) -> bool:
        """Whether weights take longer to arrive than the array works on them."""
        return self.tile.positions <= config.tile_bytes // config.bus_bytes

    def _wide(self, config: TpuConfig) -> int:
        """Output blocks to work on at once so that loading a channel block hides behind them.

        Per channel block the array is busy `wide * kernel * positions` cycles while the bus brings
        the block and `wide * kernel` weight tiles; and a share of the block must fit behind each
        MATMUL while the weight FIFO lasts.
        """
        positions = self.tile.positions
        kernel = self.shape.rows.kernel * self.shape.columns.kernel
        block = self.region.positions * config.array // config.bus_bytes
        spare = positions - config.tile_bytes // config.bus_bytes
        most = 2 * (config.accumulator_rows // positions)
        if self._weights_bound(config):  # nothing to hide behind
            return 2
        behind = min(kernel, config.weight_tiles) * positions
        return min(most, max(2, -(-block // (kernel * spare)), -(-block // behind)))

    def _cut(self, parts: int) -> Iterator[tuple[int, int]]:
        count = self.chunk_last - self.chunk_first
        for part in range(parts):
            yield (
                self.chunk_first + part * count // parts,
                self.chunk_first + (part + 1) * count // parts,
            )

    def _step(self, block: int, first: int, last: int, offset: int = 0, stay: bool = False) -> Step:
        return Step(block, first, last, first == 0, last == self.shape.blocks_in, offset, stay)


def groups(network: Network, config: TpuConfig, placement: Placement) -> list[list[Group]]:
    """The groups of every layer, in order."""
    arrived: set[str] = set()
    result = []
    for number, (layer, tiling) in enumerate(zip(network.workers, placement.tilings, strict=True)):
        shape = placement.shapes[number]
        made = list(_groups(network, config, placement, number, layer, shape, tiling))
        item = network.by_name[layer.input]
        home = placement.home(network, layer.input)
        if home is None:
            for group in made:
                group.pieces = _staged_pieces(group, config)
        elif layer.input in network.inputs and layer.input not in arrived:
            arrived.add(layer.input)
            _arrivals(made, item, shape.blocks_in)
        result.append(made)
    return result


def _groups(
    network: Network, config: TpuConfig, placement: Placement, number: int, layer: Worker,
    shape: Shape, tiling: Tiling,
) -> Iterator[Group]:  # fmt: skip
    home = placement.home(network, layer.input)
    view = inside(network, layer.input, home) if home is not None else View(0, 0, 0, 0)
    for tile in tiling.tiles(shape):
        region = shape.region(tile)

        def group(blocks: range, first: int, last: int, tile: Tile = tile, region: Tile = region
                  ) -> Group:  # fmt: skip
            return Group(
                number, layer, shape, tile, region, blocks, first, last, tiling.input_rows, [view],
                placed=home is not None,
            )  # fmt: skip

        if not shape.convolution:
            for o in range(shape.blocks_out):
                yield group(range(o, o + 1), o, o + 1)
        elif tiling.chunk < shape.blocks_in:
            for o in range(shape.blocks_out):
                for first in range(0, shape.blocks_in, tiling.chunk):
                    last = min(first + tiling.chunk, shape.blocks_in)
                    yield group(range(o, o + 1), first, last)
        else:
            yield group(range(shape.blocks_out), 0, shape.blocks_in)


def _staged_pieces(group: Group, config: TpuConfig) -> list[Piece]:
    """Loads short enough that the weight FIFO does not run dry behind one of them."""
    region, tile = group.region, group.tile
    most = max(64, 2 * tile.positions * config.bus_bytes // config.array)
    if group.shape.packing is not None:
        return _packed_pieces(group, most)
    together = max(1, most // region.positions)
    pieces = []
    lines = region.y1 - region.y0
    height = lines
    if region.b1 - region.b0 == 1 and region.positions > most:
        height = max(1, lines * most // region.positions)
    for first in range(group.chunk_first, group.chunk_last, together):
        last = min(first + together, group.chunk_last)
        for y in range(region.y0, region.y1, height):
            part = Tile(region.b0, region.b1, y, min(y + height, region.y1), region.x0, region.x1)
            pieces.append(Piece(first, last, part))
    return pieces


def _packed_pieces(group: Group, most: int) -> list[Piece]:
    """Rows of each section in turn."""
    pieces = []
    for block in range(group.chunk_first, group.chunk_last):
        region = group.region_of(block)
        lines = region.y1 - region.y0
        height = max(1, lines * most // region.positions)
        for y in range(region.y0, region.y1, height):
            part = Tile(region.b0, region.b1, y, min(y + height, region.y1), region.x0, region.x1)
            pieces.append(Piece(block, block + 1, part))
    return pieces


def _arrivals(made: list[Group], item: Activation, blocks: int) -> None:
    """Spread the loads of a resident network input over the groups that first need its rows."""
    images, height, width, _ = item.shape
    loaded = {
        (image, block): 0 for image in range(images) for block in range(blocks)
    }  # rows of the image from 0 on

    def bring(group: Group, block: int, b0: int, b1: int, y1: int) -> None:
        if b1 - b0 > 1:
            if loaded[b0, block] < height:
                group.pieces.append(Piece(block, block + 1, Tile(b0, b1, 0, height, 0, width)))
        elif loaded[b0, block] < y1:
            rows = Tile(b0, b1, loaded[b0, block], y1, 0, width)
            group.pieces.append(Piece(block, block + 1, rows))
        for image in range(b0, b1):
            loaded[image, block] = max(loaded[image, block], y1)

    for group in made:
        for block in range(group.chunk_first, group.chunk_last):
            bring(group, block, group.region.b0, group.region.b1, group.region.y1)
    for image in range(images):
        for block in range(blocks):
            bring(made[-1], block, image, image + 1, height)
