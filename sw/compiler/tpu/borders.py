"""Borders: where windows reach beyond an image, and what of them lies inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sw.compiler.tpu.layers import Axis
from sw.compiler.tpu.tile import Tile


def parts(axes: tuple[Axis, Axis], tile: Tile) -> Iterator[tuple[int, Tile]]:
    """A tile of one image as boxes of results whose windows have equally many positions inside
    the image, each with that number.

    >>> axis = Axis(source=5, result=5, kernel=3, stride=1, dilation=1, before=1)
    >>> [(count, part.y0, part.y1) for count, part in parts((axis, axis), Tile(0, 1, 0, 5, 1, 4))]
    [(6, 0, 1), (9, 1, 4), (6, 4, 5)]
    """
    rows, columns = (axis.inside() for axis in axes)
    for y0, y1 in _runs(rows, tile.y0, tile.y1):
        for x0, x1 in _runs(columns, tile.x0, tile.x1):
            yield rows[y0] * columns[x0], Tile(tile.b0, tile.b1, y0, y1, x0, x1)


def _runs(counts: Sequence[int], first: int, end: int) -> Iterator[tuple[int, int]]:
    """Ranges of `[first, end)` of one count each."""
    while first < end:
        last = first + 1
        while last < end and counts[last] == counts[first]:
            last += 1
        yield first, last
        first = last
