"""How a layer is cut into tiles: the choice with the least estimated cycles.

A tile is a box of output positions: whole images, or a range of rows and columns of one image. A
convolution's tile fits one accumulator bank; its output blocks run one after the other. The
estimate is a closed form: array, DRAM reads (weights again for each tile), DRAM writes and vector
unit work at the same time, so the slowest of them counts, plus what cannot overlap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hw.tpu.config import TpuConfig
from sw.compiler.tpu.layers import (
    STREAMED,
    Axis,
    Convolution,
    Multiply,
    Product,
    Worker,
)
from sw.compiler.tpu.network import Network
from sw.compiler.tpu.packing import Packing

Gap = tuple[int, int]
"""Free scratchpad rows `[first, end)`."""
INSTRUCTION_CYCLES = 8
TILE_CYCLES = 80
"""What a tile costs beyond its work: fetch, DRAM latency, filling and draining of pipelines."""
MOST_ROWS = 1 << 15
"""Rows of a run, or positions along an axis, that instruction fields hold in every case."""


@dataclass(frozen=True)
class Tile:
    """Output positions: images `[b0, b1)`, rows `[y0, y1)`, columns `[x0, x1)`."""

    b0: int
    b1: int
    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def sides(self) -> tuple[int, int, int]:
        return self.b1 - self.b0, self.y1 - self.y0, self.x1 - self.x0

    @property
    def positions(self) -> int:
        b, y, x = self.sides
        return b * y * x


@dataclass(frozen=True)
class Shape:
    """What tiling needs to know of a layer: axes, images and channel blocks in and out."""

    rows: Axis
    columns: Axis
    images: int
    blocks_in: int
    blocks_out: int
    convolution: bool
    planes: int
    """4 for int32 outputs, else 1."""
    packing: Packing | None = None
    """If the input is packed, its sections take the place of channel blocks."""
    separate: bool = False
    """Each image has weights of its own."""
    lanes: bool = False
    """Each position takes a row of the lane memory."""

    @classmethod
    def of(
        cls, network: Network, layer: Worker, array: int, packing: Packing | None = None
    ) -> Shape:
        source, result = network.by_name[layer.input], network.by_name[layer.output]
        raw = isinstance(layer, Convolution) and layer.accumulators
        return cls(
            *network.axes(layer),
            source.shape[0],
            source.blocks(array) if packing is None else len(packing.sections),
            result.blocks(array),
            isinstance(layer, STREAMED),
            4 if raw else 1,
            packing,
            isinstance(layer, Product),
            isinstance(layer, Multiply),
        )

    def axes(self, block: int) -> tuple[Axis, Axis]:
        """Rows and columns as input block `block` sees them."""
        if self.packing is None:
            return self.rows, self.columns
        section = self.packing.sections[block]
        return section.rows, section.columns

    def region(self, tile: Tile, block: int = 0) -> Tile:
        """Positions of an input block that a tile reads; whole images if it has several."""
        rows, columns = self.axes(block)
        if tile.b1 - tile.b0 > 1:
            return Tile(tile.b0, tile.b1, 0, rows.source, 0, columns.source)
        return Tile(
            tile.b0, tile.b1, *rows.reads(tile.y0, tile.y1), *columns.reads(tile.x0, tile.x1)
        )

    def passes(self) -> int:
        if self.packing is not None:
            return self.packing.passes()
        return self.blocks_in * self.rows.kernel * self.columns.kernel


@dataclass(frozen=True)
class Tiling:
    """A way to cut a layer and the scratchpad that it takes besides resident tensors.

    `images` per tile, `row_parts` x `column_parts` per image; `chunk` channel blocks of the input
    are staged at once; `ring` is the base of `depth` output buffers of `output_rows` rows each.
    """

    images: int
    row_parts: int
    column_parts: int
    chunk: int
    input_rows: int
    output_rows: int
    ring: int
    depth: int
    cycles: int

    def tiles(self, shape: Shape) -> Iterator[Tile]:
        """Every tile, images outermost, sizes of an axis differing by one at most."""
        height, width = shape.rows.result, shape.columns.result
        for b0 in range(0, shape.images, self.images):
            for y in range(self.row_parts):
                for x in range(self.column_parts):
                    yield Tile(
                        b0,
                        min(b0 + self.images, shape.images),
                        *_part(height, self.row_parts, y),
                        *_part(width, self.column_parts, x),
                    )


def choose(
    shape: Shape, config: TpuConfig, gaps: Sequence[Gap], staged_in: bool, staged_out: bool,
    stored: bool, seconds: int = 0,
) -> Tiling | None:  # fmt: skip
    """The cheapest tiling whose buffers fit into the free rows `gaps`; None if there is none.

    `staged_in`, `staged_out`: input and output pass through staging buffers; `stored`: the output
    goes to DRAM; `seconds` operands of the output's size are loaded beside the input.
    """
    best: Tiling | None = None
    for images, row_parts, column_parts in _candidates(shape, config):
        for chunk in _chunks(shape, staged_in):
            work = _Work(shape, config, images, row_parts, column_parts, chunk)
            if work.too_long():
                continue
            cycles = work.cycles(staged_in, stored, seconds)
            if best is not None and cycles >= best.cycles:
                continue
            rows_in = work.input_rows * staged_in
            rows_out = shape.planes * work.positions * staged_out
            for buffers, depth in ((2, 4), (2, 2), (1, 2), (1, 1)):
                ring = _fit(gaps, rows_in, buffers, rows_out * depth)
                if ring is None:
                    continue
                total = cycles + work.serial(staged_in, staged_out, buffers, depth)
                if best is None or total < best.cycles:
                    best = Tiling(
                        images, row_parts, column_parts, chunk, rows_in, rows_out, ring, depth,
                        total,
                    )  # fmt: skip
                break
    return best


class _Work:
    """Loads of the units for one candidate, from its largest tile."""

    def __init__(
        self, shape: Shape, config: TpuConfig, images: int, row_parts: int, column_parts: int,
        chunk: int,
    ) -> None:  # fmt: skip
        self.shape, self.config, self.chunk = shape, config, chunk
        rows = -(-shape.rows.result // row_parts)
        columns = -(-shape.columns.result // column_parts)
        self.tiles = -(-shape.images // images) * row_parts * column_parts
        self.positions = images * rows * columns
        boxes = []
        for block in range(1 if shape.packing is None else shape.blocks_in):
            y, x = shape.axes(block)
            sides = (y.source, x.source) if images > 1 else (_reach(y, rows), _reach(x, columns))
            boxes.append((*sides, images * sides[0] * sides[1]))
        self.longest = max(max(box) for box in boxes)
        self.block_rows = boxes[0][2]
        self.input_rows = chunk * self.block_rows
        if shape.packing is not None:
            self.input_rows = sum(box[2] for box in boxes)
        self.runs = [box[2] for box in boxes]

    def too_long(self) -> bool:
        return max(self.longest, self.positions) > MOST_ROWS

    def cycles(self, staged_in: bool, stored: bool, seconds: int) -> int:
        """Cycles if all transfers overlap."""
        shape, n, bus = self.shape, self.config.array, self.config.bus_bytes
        results = self.positions * self.tiles * shape.blocks_out * shape.planes
        vector, array, weights = results, 0, 0
        if shape.convolution:
            passes = self.tiles * shape.blocks_out * shape.passes()
            array = passes * max(self.positions, n)
            weights = passes * self.config.tile_bytes // bus
        else:
            vector *= shape.rows.kernel * shape.columns.kernel
        reads = weights + self._input_cycles() * staged_in + results * n // bus * seconds
        writes = results * n // bus * stored
        steps = self.tiles * shape.blocks_out * (shape.blocks_in // self.chunk if staged_in else 1)
        overhead = steps * INSTRUCTION_CYCLES + self.tiles * TILE_CYCLES
        return max(array, reads, writes, vector) + overhead

    def serial(self, staged_in: bool, staged_out: bool, buffers: int, depth: int) -> int:
        """Cycles that do not overlap when there are too few buffers."""
        single_in = self._input_cycles() if staged_in and buffers == 1 and self.tiles > 1 else 0
        results = self.positions * self.tiles * self.shape.blocks_out * self.shape.planes
        return single_in + (results if staged_out and depth == 1 else 0)

    def _input_cycles(self) -> int:
        again = self.shape.blocks_out if self.chunk < self.shape.blocks_in else 1
        if not self.shape.convolution:
            again = 1
        if self.shape.packing is not None:
            return self.tiles * sum(
                positions * sum(_beats(run.length, self.config) for run in section.runs)
                for positions, section in zip(self.runs, self.shape.packing.sections, strict=True)
            )
        rows = self.tiles * self.block_rows * self.shape.blocks_in * again
        return rows * self.config.array // self.config.bus_bytes


def _beats(size: int, config: TpuConfig) -> int:
    """Most beats of a piece of `size` bytes at any address."""
    return (size + 2 * config.bus_bytes - 2) // config.bus_bytes


def _reach(axis: Axis, results: int) -> int:
    """Most image positions that `results` neighbours read."""
    span = (results - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1
    return min(axis.source, span)


def _part(size: int, parts: int, number: int) -> tuple[int, int]:
    return number * size // parts, (number + 1) * size // parts


def _splits(size: int) -> list[int]:
    """Numbers of parts that give different largest parts."""
    result, parts = [], 1
    while True:
        result.append(parts)
        largest = -(-size // parts)
        if largest == 1:
            return result
        parts = -(-size // (largest - 1))


def _candidates(shape: Shape, config: TpuConfig) -> Iterator[tuple[int, int, int]]:
    """(images, row parts, column parts) whose tiles fit an accumulator bank."""
    limit = config.accumulator_rows if shape.convolution else MOST_ROWS
    if shape.lanes:
        limit = config.lane_rows // 2
    height, width = shape.rows.result, shape.columns.result
    if shape.convolution and not shape.separate:
        for parts in _splits(shape.images):
            images = -(-shape.images // parts)
            if images > 1 and images * height * width <= limit:
                yield images, 1, 1
    for columns in _splits(width):
        for rows in _splits(height):
            largest = -(-height // rows) * -(-width // columns)
            if largest <= limit:
                yield 1, rows, columns


def _chunks(shape: Shape, staged_in: bool) -> Sequence[int]:
    """Channel blocks staged at once: all, or parts of the reduction."""
    if not shape.convolution:
        return (1,)
    if not staged_in or shape.blocks_in == 1 or shape.packing is not None:
        return (shape.blocks_in,)
    parts = [-(-shape.blocks_in // parts) for parts in _splits(shape.blocks_in)]
    return [chunk for i, chunk in enumerate(parts) if i < 6 or chunk & chunk - 1 == 0]


def _fit(gaps: Sequence[Gap], rows_in: int, buffers: int, rows_out: int) -> int | None:
    """Base of the output ring if everything fits: outputs high, inputs low."""
    for number in reversed(range(len(gaps))):
        first, end = gaps[number]
        if end - first < rows_out:
            continue
        ring = end - rows_out
        rest = [*gaps[:number], (first, ring), *gaps[number + 1 :]]
        if not rows_in or sum((high - low) // rows_in for low, high in rest) >= buffers:
            return ring
    return 0 if not rows_in and not rows_out else None
