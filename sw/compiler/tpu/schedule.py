"""The order of everything: groups of all layers in one stream, each loading for the next.

For each step of the current group come, in program order: the loads that it cannot do without,
its weights, its MATMUL, then a share of the next group's loads, and after the last step of an
output block its VECTOR and STORE. So the load queue alternates between weights and data in small
portions, and the array always has its next weights at hand. Weights stand directly before their
MATMUL, with no other LOAD in between: whatever waits behind a full weight FIFO is then never
needed by the MATMUL that empties it, at any queue depth, so that no program can lock up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hw.tpu.config import TpuConfig
from hw.tpu.isa import Convert, Reduce
from hw.tpu.numerics import INT8_MAX, INT8_MIN
from sw.compiler.tpu.allocate import Placement, free_rows
from sw.compiler.tpu.borders import parts
from sw.compiler.tpu.constants import Memory
from sw.compiler.tpu.emit import Emitter, Finish
from sw.compiler.tpu.layers import (
    REQUANTISED,
    STREAMED,
    CompileError,
    Convolution,
    Depthwise,
    MaxPool,
    Multiply,
    Pointwise,
    Product,
    Worker,
    seconds_of,
)
from sw.compiler.tpu.network import Network
from sw.compiler.tpu.parameters import TABLE_ROWS, LaneSlots, ParameterSlots
from sw.compiler.tpu.plan import Group, Piece, Step, groups
from sw.compiler.tpu.stored import Stored
from sw.compiler.tpu.synchronise import Operation
from sw.compiler.tpu.tile import Tile
from sw.compiler.tpu.view import View, inside, packed

PLANES = 4


def schedule(network: Network, config: TpuConfig, placement: Placement, memory: Memory) -> Emitter:
    """All operations of a network in program order, without semaphores."""
    return _Scheduler(network, config, placement, memory).run()


class _Scheduler:
    def __init__(
        self, network: Network, config: TpuConfig, placement: Placement, memory: Memory
    ) -> None:
        self.network, self.config, self.placement = network, config, placement
        self.emitter = Emitter(network, config, memory)
        self.groups = [item for made in groups(network, config, placement) for item in made]
        self.parameters = ParameterSlots(config, self.groups)
        self.lanes = LaneSlots(config, self.groups)
        self.stored = Stored(network, config)
        self.bank = 1
        self.places: dict[int, int] = {}
        self.ring = 0
        self.open: dict[int, View] = {}
        self.staged: list[Group] = []

    @property
    def operations(self) -> list[Operation]:
        return self.emitter.operations

    def run(self) -> Emitter:
        for position, group in enumerate(self.groups):
            after = self.groups[position + 1] if position + 1 < len(self.groups) else None
            before = self.groups[position - 1] if position else None
            self._work(group, after, before)
        return self.emitter

    def _work(self, group: Group, after: Group | None, before: Group | None) -> None:
        if not group.placed and not self._stage(group, group.number):
            raise CompileError(f"layer {group.layer.name!r}: no room to stage its input")
        exposed = group.fresh and bool(group.pieces)
        follows = before is not None and before.layer.output == group.layer.input
        fillers = len(after.pieces) if after else 0
        steps = group.steps(self.config, exposed, follows and not group.rows, fillers)
        work = sum(step.last - step.first for step in steps)
        left = work
        for number, step in enumerate(steps):
            self._bring(group, step)
            if step.first_of_block:
                self._open(group, step)
            if isinstance(group.layer, STREAMED):
                self._multiply(group, group.layer, step)
            left -= step.last - step.first
            if not self._bring_share(group, steps, number) and after is not None:
                if number or len(steps) < 3:
                    self._prefetch(group, after, fillers * left // work)
            if step.last_of_block:
                self._finish(group, step)
            self.stored.tick()
        for piece in group.pieces:  # what later layers need of a resident network input
            self._load(group, piece)
        group.pieces = []
        if group in self.staged:
            self.staged.remove(group)

    # --- input -------------------------------------------------------------------------------

    def _stage(self, group: Group, now: int) -> bool:
        """Find room for a group's input, used from layer `now` on; False if there is none."""
        busy = [
            span
            for layer in range(now, group.number + 1)
            for span in self.placement.occupied(layer)
        ]
        busy += [(item.base, item.base + item.rows) for item in self.staged]
        for low, high in free_rows(self.config.scratchpad_rows, busy):
            if high - low >= group.rows:
                group.place(low)
                self.staged.append(group)
                return True
        return False

    def _bring(self, group: Group, step: Step) -> None:
        """Load now what a step needs and is not there."""
        needed = [piece for piece in group.pieces if group.needs(piece, step.first, step.last)]
        for piece in needed:
            self._load(group, piece)
        group.pieces = [piece for piece in group.pieces if piece not in needed]

    def _bring_share(self, group: Group, steps: list[Step], number: int) -> bool:
        """Load a share of what the group's next channel blocks need; False if all is there.

        The share is such that nothing is left when the steps on the present blocks are done.
        """
        if not group.pieces:
            return False
        now = steps[number].first, steps[number].last
        rest = [(step.first, step.last) for step in steps[number:]]
        following = next((part for part in rest if part != now), None)
        if following is None:
            return False
        needed = [piece for piece in group.pieces if group.needs(piece, *following)]
        for piece in needed[: -(-len(needed) // rest.index(following))]:
            self._load(group, piece)
            group.pieces.remove(piece)
        return bool(needed)

    def _prefetch(self, group: Group, after: Group, keep: int) -> None:
        """Load the next group's input until `keep` pieces are left."""
        if len(after.pieces) <= keep:
            return
        if not after.placed and not self._stage(after, group.number):
            return
        while len(after.pieces) > keep:
            if not self.stored.ready(after.layer.input, after.pieces[0]):
                return
            self._load(after, after.pieces.pop(0))

    def _load(self, group: Group, piece: Piece) -> None:
        item = self.network.by_name[group.layer.input]
        packing, view = group.shape.packing, group.view_of(piece.first)
        if packing is not None:
            self.emitter.load_packed(item, packing, piece.first, piece.tile, view, group.number)
        else:
            self.emitter.load(item, piece.first, piece.last, piece.tile, view, group.number)
        group.fresh = False

    # --- work --------------------------------------------------------------------------------

    def _multiply(self, group: Group, layer: Convolution | Product, step: Step) -> None:
        if step.first_of_block:
            self.bank ^= not step.stay
            self.places[step.block] = self.bank * self.config.accumulator_rows + step.offset
        place = self.places[step.block]
        packing = group.shape.packing
        if isinstance(layer, Product):
            blocks = step.block, step.first, step.last
            self.emitter.product(layer, group.tile, blocks, group.views[0], place, group.number)
            return
        if packing is None:
            kernel = layer.weights.shape[0] * layer.weights.shape[1]
            first = (step.block * group.shape.blocks_in + step.first) * kernel
            self.emitter.weights(layer, first, (step.last - step.first) * kernel, group.number)
            self.emitter.matmul(
                layer, group.tile, group.region, (step.block, step.first, step.last),
                group.views[0], place, group.number,
            )  # fmt: skip
            return
        first = step.block * packing.passes() + packing.passes(step.first)
        tiles = packing.passes(step.last) - packing.passes(step.first)
        self.emitter.weights(layer, first, tiles, group.number)
        for number in range(step.first, step.last):
            self.emitter.matmul_packed(
                layer, packing, number, group.tile, group.region_of(number), step.block,
                group.view_of(number), place, group.number,
            )  # fmt: skip

    # --- output ------------------------------------------------------------------------------

    def _open(self, group: Group, step: Step) -> None:
        """Choose where an output block goes; what is to be added to it is loaded to that place,
        where the sum replaces it, unless it is resident.

        A block of several that are worked on at once gets its place only when it is complete, if
        the output ring is too short for all.
        """
        tiling = self.placement.tilings[group.number]
        resident = self.placement.home(self.network, group.layer.output) is not None
        if step.block not in self.open and (resident or len(self.open) < tiling.depth):
            self.open[step.block] = self._place(group, step.block)

    def _place(self, group: Group, block: int) -> View:
        layer = group.layer
        home = self.placement.home(self.network, layer.output)
        if home is not None:
            view = inside(self.network, layer.output, home)
        else:
            view = packed(self._slot(group.number), block, group.tile)
        for name in seconds_of(layer):
            if self.placement.home(self.network, name) is None:
                item = self.network.by_name[name]
                self.emitter.load(item, block, block + 1, group.tile, view, group.number)
        return view

    def _slot(self, layer: int) -> int:
        """Base of the next output buffer of the layer's ring."""
        tiling = self.placement.tilings[layer]
        self.ring = (self.ring + 1) % tiling.depth
        return tiling.ring + self.ring * tiling.output_rows

    def _finish(self, group: Group, step: Step) -> None:
        """VECTOR and STORE of an output block."""
        layer, tile, block = group.layer, group.tile, step.block
        item = self.network.by_name[layer.output]
        view = self.open.pop(block, None) or self._place(group, block)
        if isinstance(layer, Convolution) and layer.accumulators:
            self._planes(group, layer, step, view)
            return
        finish = Finish(self._fields(group, layer, block), self._second(layer, view))
        if isinstance(layer, STREAMED):
            base = self.places[block]
            self.emitter.convert(layer, tile, block, base, view, finish, group.number)
        elif isinstance(layer, Multiply):
            lanes = self.lanes.operand(self.emitter, group, layer, block)
            self.emitter.multiply(
                layer, tile, group.region, block, group.views[0], view, finish, lanes, group.number
            )
        else:
            for part, how in self._parts(layer, tile, finish):
                self.emitter.pool(
                    layer, part, group.region, block, group.views[0], view, how, group.number
                )
        self.parameters.prefetch(self.emitter)
        self.lanes.prefetch(self.emitter)
        if layer.output in self.emitter.memory.buffers:
            self.emitter.store(item, 0, block, tile, view, group.number)
            self.stored.add(layer.output, block, tile)
        if layer.output in self.emitter.memory.turned:
            self.emitter.store_turned(item, block, tile, view, group.number)

    def _parts(
        self, layer: Depthwise | MaxPool | Pointwise, tile: Tile, finish: Finish
    ) -> Iterator[tuple[Tile, Finish]]:
        """The boxes of a tile, one VECTOR each: several where an average has several scales."""
        if not isinstance(layer, Depthwise) or not layer.scale_by_count:
            yield tile, finish
            return
        entries = [count for count, _ in layer.scale_by_count]
        for count, part in parts(self.network.axes(layer), tile):
            entry = finish.fields["parameters"] + entries.index(count)
            yield part, replace(finish, fields=finish.fields | {"parameters": entry})

    def _planes(self, group: Group, layer: Convolution, step: Step, view: View) -> None:
        """VECTOR and STORE of the four byte planes of an int32 block; `view` is the first one's."""
        tile, block = group.tile, step.block
        each = self.placement.tilings[group.number].output_rows // PLANES
        for plane in range(PLANES):
            fields = {"convert": int(Convert.BYTE), "byte": plane}
            finish = Finish(fields | {"low": INT8_MIN, "high": INT8_MAX})
            target = packed(view.base + plane * each, block, tile)
            base = self.places[block]
            self.emitter.convert(layer, tile, block, base, target, finish, group.number)
            item = self.network.by_name[layer.output]
            self.emitter.store(item, plane, block, tile, target, group.number)
        self.stored.add(layer.output, block, tile)

    def _second(self, layer: Worker, view: View) -> View | None:
        """Where the second operand of a block that goes to `view` lies."""
        for name in seconds_of(layer):
            home = self.placement.home(self.network, name)
            return view if home is None else inside(self.network, name, home)
        return None

    def _fields(self, group: Group, layer: Worker, block: int) -> dict[str, int]:
        """The fields of VECTOR that say what happens to a block."""
        result, source = (self.network.by_name[name] for name in (layer.output, layer.input))
        epilogue = layer.epilogue
        zero_point = result.zero_point if epilogue is None else epilogue.value[1]
        low, high = (INT8_MIN, INT8_MAX) if isinstance(layer, MaxPool) else (layer.low, layer.high)
        fields = {"low": low, "high": high, "convert": int(Convert.NONE)}
        head = entry = 0
        if self.parameters.head(layer) or self.parameters.each(layer):
            head, entry = self.parameters.entry(self.emitter, group, block)
        if isinstance(layer, REQUANTISED):
            fields |= {
                "convert": int(Convert.REQUANTISE),
                "parameters": entry,
                "zero_point": zero_point,
            }
        if isinstance(layer, MaxPool):
            fields["reduce"] = int(Reduce.MAX)
        elif isinstance(layer, Depthwise):
            fields["reduce"] = int(Reduce.SUM if layer.averages else Reduce.MULTIPLY_ACCUMULATE)
            fields["pad"] = source.zero_point
        elif isinstance(layer, Multiply):
            fields["reduce"] = int(Reduce.MULTIPLY_ACCUMULATE)
        if epilogue is not None and epilogue.second is not None:
            fields |= {"add": 1, "second_parameters": head, "swap": int(epilogue.swap)}
        if not isinstance(layer, Multiply) and (self.lanes.head(layer) or self.lanes.each(layer)):
            head, entry = self.lanes.entry(self.emitter, group, block)
            if isinstance(layer, Depthwise) and not layer.averages:
                fields["weights"] = entry
            if epilogue is not None and epilogue.table is not None:
                own = epilogue.table.ndim == 2
                fields |= {"table": 1, "table_number": (entry if own else head) // TABLE_ROWS}
        return fields
