"""Which activations stay in the scratchpad, and where.

An activation lives from its producer to its last consumer (a network input from the layer before
its first consumer on, so that it can be loaded early). It becomes resident if that makes the
layers of its life cheaper by the estimate of `tile.choose`; otherwise it lives in DRAM and passes
through staging buffers. Addresses alternate between the two ends of the scratchpad, so that input
and output of a layer lie in different banks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hw.tpu.config import TpuConfig
from sw.compiler.tpu.layers import (
    STREAMED,
    Activation,
    CompileError,
    Convolution,
    seconds_of,
)
from sw.compiler.tpu.network import Network
from sw.compiler.tpu.packing import pack
from sw.compiler.tpu.tile import Gap, Shape, Tiling, choose


@dataclass(frozen=True)
class Resident:
    """Rows `[base, base + rows)` hold an activation during layers `first` ... `last`."""

    base: int
    rows: int
    first: int
    last: int


@dataclass(frozen=True)
class Placement:
    """Resident activations by name (whole ones, see `Network.parts`), and every layer's tiling."""

    resident: dict[str, Resident]
    tilings: tuple[Tiling, ...]
    shapes: tuple[Shape, ...]

    def packed(self, network: Network) -> set[str]:
        """Activations that lie densely in DRAM, because all that read them pack them."""
        return {
            layer.input
            for layer, shape in zip(network.workers, self.shapes, strict=True)
            if shape.packing is not None
        }

    def home(self, network: Network, name: str) -> int | None:
        """The scratchpad row at which what an activation lies in begins; None if it is not
        resident."""
        found = self.resident.get(network.whole(name))
        return None if found is None else found.base

    def occupied(self, layer: int) -> list[Gap]:
        """Rows that resident activations and the output ring of a layer hold during it."""
        spans = [
            (item.base, item.base + item.rows)
            for item in self.resident.values()
            if item.first <= layer <= item.last
        ]
        ring = self.tilings[layer]
        return [*spans, (ring.ring, ring.ring + ring.depth * ring.output_rows)]


def free_rows(total: int, occupied: Iterable[Gap]) -> list[Gap]:
    """What `occupied` leaves of rows `[0, total)`, in order.

    >>> free_rows(10, [(6, 8), (0, 2)])
    [(2, 6), (8, 10)]
    """
    gaps, first = [], 0
    for low, high in sorted(occupied):
        if low > first:
            gaps.append((first, low))
        first = max(first, high)
    return gaps + ([(first, total)] if first < total else [])


def place(network: Network, config: TpuConfig, *, packing: bool = True) -> Placement:
    """Residents and tilings for a network; `CompileError` names a layer that cannot fit."""
    return _Placer(network, config, packing).run()


class _Placer:
    def __init__(self, network: Network, config: TpuConfig, packing: bool) -> None:
        self.network, self.config = network, config
        self.layers = network.workers
        self.shapes = [Shape.of(network, layer, config.array) for layer in self.layers]
        self.lives = self._lives()
        self.resident: dict[str, Resident] = {}
        self.known: dict[tuple[object, ...], Tiling | None] = {}
        for name in network.inputs if packing else ():
            self._consider_packing(name)

    def run(self) -> Placement:
        for item in self._in_order():
            self._consider(item)
        tilings = []
        for number, layer in enumerate(self.layers):
            tiling = self._tiling(number)
            if tiling is None:
                raise CompileError(
                    f"layer {layer.name!r}: not even its smallest tile fits the "
                    f"{self.config.scratchpad_rows} rows of the scratchpad"
                )
            tilings.append(tiling)
        return Placement(self.resident, tuple(tilings), tuple(self.shapes))

    def _consider_packing(self, name: str) -> None:
        """Pack a network input if that makes the layers that read it cheaper."""
        readers = [i for i, layer in enumerate(self.layers) if name in layer.inputs]
        everything = [(0, self.config.scratchpad_rows)]
        plain = packed = 0
        shapes = {}
        for number in readers:
            layer = self.layers[number]
            if not isinstance(layer, Convolution) or name in layer.inputs[1:]:
                return
            packing = pack(layer, self.network.axes(layer), self.config.array)
            if packing is None:
                return
            shapes[number] = Shape.of(self.network, layer, self.config.array, packing)
            costs = [
                choose(shape, self.config, everything, True, True, True)
                for shape in (self.shapes[number], shapes[number])
            ]
            if costs[1] is None:
                return
            plain += costs[0].cycles if costs[0] is not None else costs[1].cycles + 1
            packed += costs[1].cycles
        if packed < plain:
            for number, shape in shapes.items():
                self.shapes[number] = shape

    def _in_order(self) -> list[Activation]:
        names = [*self.network.inputs, *(layer.output for layer in self.layers)]
        wholes = dict.fromkeys(self.network.whole(name) for name in names)
        return [self.network.by_name[name] for name in wholes]

    def _lives(self) -> dict[str, tuple[int, int]]:
        """First and last layer of every activation that is read and may become resident."""
        made: dict[str, int] = {}
        used: dict[str, list[int]] = {}
        for number, layer in enumerate(self.layers):
            made.setdefault(self.network.whole(layer.output), number)
            for name in (layer.input, *seconds_of(layer)):
                used.setdefault(self.network.whole(name), []).append(number)
        lives = {}
        for name, uses in used.items():
            first = made.get(name, max(0, uses[0] - 1))
            # only the layer that streams it knows how to bring a network input along
            if name in made or self.layers[uses[0]].input == name:
                lives[name] = first, uses[-1]
        return lives

    def _consider(self, item: Activation) -> None:
        life = self.lives.get(item.name)
        rows = item.blocks(self.config.array) * item.positions
        if life is None or rows > self.config.scratchpad_rows:
            return
        if self.shapes[life[1]].packing is not None:
            return
        layers = range(life[0], life[1] + 1)
        best = self._cost(layers)
        busy = [
            (other.base, other.base + other.rows)
            for other in self.resident.values()
            if other.first <= life[1] and life[0] <= other.last
        ]
        for base in self._bases(busy, rows):
            self.resident[item.name] = Resident(base, rows, *life)
            cost = self._cost(layers)
            if cost is not None and (best is None or cost <= best):
                return
            del self.resident[item.name]

    def _bases(self, busy: list[Gap], rows: int) -> list[int]:
        gaps = [
            gap for gap in free_rows(self.config.scratchpad_rows, busy) if gap[1] - gap[0] >= rows
        ]
        if not gaps:
            return []
        ends = [gaps[0][0], gaps[-1][1] - rows]
        return ends if len(self.resident) % 2 == 0 else ends[::-1]

    def _cost(self, layers: range) -> int | None:
        """Estimated cycles of some layers; None if one of them has no tiling."""
        total = 0
        for number in layers:
            tiling = self._tiling(number)
            if tiling is None:
                return None
            total += tiling.cycles
        return total

    def _tiling(self, number: int) -> Tiling | None:
        layer = self.layers[number]
        busy = [
            (item.base, item.base + item.rows)
            for item in self.resident.values()
            if item.first <= number <= item.last
        ]
        gaps = tuple(free_rows(self.config.scratchpad_rows, busy))
        whole, resident = self.network.whole, self.resident
        staged_in = whole(layer.input) not in resident
        staged_out = whole(layer.output) not in resident
        stored = staged_out or layer.output in self.network.outputs
        seconds = sum(whole(name) not in resident for name in seconds_of(layer))
        key = (number, gaps, staged_in, staged_out, stored, seconds)
        if key not in self.known:
            self.known[key] = choose(
                self.shapes[number], self.config, gaps, staged_in, staged_out, stored, seconds
            )
        return self.known[key]


def estimate(network: Network, config: TpuConfig) -> list[tuple[str, int, int]]:
    """For each layer its name, estimated cycles, and the cycles of a core that never waits."""
    placement = place(network, config)
    ideal = [
        -(-network.macs_of(layer) // config.tile_bytes) if isinstance(layer, STREAMED) else 0
        for layer in network.workers
    ]
    return [
        (layer.name, tiling.cycles, cycles)
        for layer, tiling, cycles in zip(network.workers, placement.tilings, ideal, strict=True)
    ]
