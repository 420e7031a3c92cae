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
from sw.compiler.tpu.layers import Activation, CompileError, Convolution, Network
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
    """Resident activations by name, and the tiling of every layer."""

    resident: dict[str, Resident]
    tilings: tuple[Tiling, ...]
    shapes: tuple[Shape, ...]

    def packed(self, network: Network) -> set[str]:
        """Activations that lie densely in DRAM, because all that read them pack them."""
        return {
            layer.input
            for layer, shape in zip(network.layers, self.shapes, strict=True)
            if shape.packing is not None
        }

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
        self.shapes = [Shape.of(network, layer, config.array) for layer in network.layers]
        self.resident: dict[str, Resident] = {}
        self.known: dict[tuple[object, ...], Tiling | None] = {}
        for name in network.inputs if packing else ():
            self._consider_packing(name)

    def run(self) -> Placement:
        for item in self._in_order():
            self._consider(item)
        tilings = []
        for number, layer in enumerate(self.network.layers):
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
        readers = [i for i, layer in enumerate(self.network.layers) if layer.input == name]
        everything = [(0, self.config.scratchpad_rows)]
        plain = packed = 0
        shapes = {}
        for number in readers:
            layer = self.network.layers[number]
            if not isinstance(layer, Convolution):
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
        names = [*self.network.inputs, *(layer.output for layer in self.network.layers)]
        return [self.network.by_name[name] for name in names]

    def _life(self, name: str) -> tuple[int, int] | None:
        """First and last layer; None if nothing reads the activation."""
        layers = self.network.layers
        uses = [i for i, layer in enumerate(layers) if layer.input == name]
        if not uses:
            return None
        made = [i for i, layer in enumerate(layers) if layer.output == name]
        return (made[0] if made else max(0, uses[0] - 1)), uses[-1]

    def _consider(self, item: Activation) -> None:
        life = self._life(item.name)
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
        layer = self.network.layers[number]
        busy = [
            (item.base, item.base + item.rows)
            for item in self.resident.values()
            if item.first <= number <= item.last
        ]
        gaps = tuple(free_rows(self.config.scratchpad_rows, busy))
        staged_in = layer.input not in self.resident
        staged_out = layer.output not in self.resident
        stored = staged_out or layer.output in self.network.outputs
        key = (number, gaps, staged_in, staged_out, stored)
        if key not in self.known:
            self.known[key] = choose(
                self.shapes[number], self.config, gaps, staged_in, staged_out, stored
            )
        return self.known[key]


def estimate(network: Network, config: TpuConfig) -> list[tuple[str, int, int]]:
    """For each layer its name, estimated cycles, and the cycles of a core that never waits."""
    placement = place(network, config)
    ideal = [
        -(-network.by_name[layer.output].positions * layer.weights.size // config.tile_bytes)
        if isinstance(layer, Convolution)
        else 0
        for layer in network.layers
    ]
    return [
        (layer.name, tiling.cycles, cycles)
        for layer, tiling, cycles in zip(network.layers, placement.tilings, ideal, strict=True)
    ]
