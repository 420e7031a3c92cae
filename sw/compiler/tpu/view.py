"""`View`: where the positions of a tensor lie, in rows of the scratchpad or of DRAM."""

from __future__ import annotations

from dataclasses import dataclass

from sw.compiler.tpu.network import Network
from sw.compiler.tpu.synchronise import Box, Space
from sw.compiler.tpu.tile import Tile


@dataclass(frozen=True)
class View:
    """Block c of position (b, y, x) is row `base + (c - c0)*block + (b - b0)*image + (y - y0)*row
    + (x - x0)*column`, with `origin` (c0, b0, y0, x0)."""

    base: int
    block: int
    image: int
    row: int
    column: int = 1
    origin: tuple[int, int, int, int] = (0, 0, 0, 0)

    def at(self, c: int, b: int, y: int, x: int) -> int:
        c0, b0, y0, x0 = self.origin
        return (
            self.base
            + (c - c0) * self.block
            + (b - b0) * self.image
            + (y - y0) * self.row
            + (x - x0) * self.column
        )

    def dense(self, tile: Tile) -> bool:
        """Whether the positions of `tile` lie one behind the other."""
        b, y, x = tile.sides
        return self.column == 1 and self.row == x and (b == 1 or self.image == y * x)

    def box(self, first: int, last: int, tile: Tile) -> Box:
        """Rows of the scratchpad of channel blocks `[first, last)` of the positions of `tile`."""
        b, y, x = tile.sides
        return Box(
            Space.SCRATCHPAD,
            self.at(first, tile.b0, tile.y0, tile.x0),
            ((last - first, self.block), (b, self.image), (y, self.row), (x, self.column)),
        )


def packed(base: int, block: int, tile: Tile) -> View:
    """A view of just the positions of `tile`, from channel block `block` on."""
    b, y, x = tile.sides
    return View(base, b * y * x, y * x, x, origin=(block, tile.b0, tile.y0, tile.x0))


def inside(network: Network, name: str, base: int) -> View:
    """An activation where it belongs in the one that it lies in, which is
    `[channel block][image][row][column]` from row `base` on."""
    part, whole = network.part(name), network.by_name[network.whole(name)]
    _, height, width, _ = whole.shape
    start = part.block * whole.positions + part.first[0] * width + part.first[1]
    down, across = part.step
    return View(base + start, whole.positions, height * width, down * width, across)
