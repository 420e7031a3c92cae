"""Which parts of spilled activations have been stored so far, in program order."""

from __future__ import annotations

import numpy as np

from hw.tpu.config import TpuConfig
from sw.compiler.tpu.network import Network
from sw.compiler.tpu.plan import Piece
from sw.compiler.tpu.tile import Tile

LAG = 2
"""Steps from a STORE to the first LOAD of its rows worth emitting: an earlier one would keep the
weights behind it waiting."""


class Stored:
    """For each activation that a layer produces, the step in which each row was stored."""

    def __init__(self, network: Network, config: TpuConfig) -> None:
        self.step = 0
        self.when = {}
        self.network = network
        for name in {network.whole(layer.output) for layer in network.workers}:
            item = network.by_name[name]
            shape = (item.blocks(config.array), *item.shape[:3])
            self.when[name] = np.full(shape, np.iinfo(np.int32).max, np.int32)

    def tick(self) -> None:
        """Another step has been emitted."""
        self.step += 1

    def add(self, name: str, block: int, tile: Tile) -> None:
        """A STORE of this box was emitted."""
        part = self.network.part(name)
        (y, x), (down, across) = part.first, part.step
        mine = self.when[part.whole][part.block + block, :, y::down, x::across]
        mine[tile.b0 : tile.b1, tile.y0 : tile.y1, tile.x0 : tile.x1] = self.step

    def ready(self, name: str, piece: Piece) -> bool:
        """Whether a piece can be loaded without keeping the load queue waiting for long."""
        part = self.network.part(name)
        if part.whole not in self.when:
            return True
        tile = piece.tile
        box = self.when[part.whole][
            part.block + piece.first : part.block + piece.last,
            tile.b0 : tile.b1,
            tile.y0 : tile.y1,
            tile.x0 : tile.x1,
        ]
        return int(box.max()) + LAG <= self.step
