"""Instructions, one function each, with the rows that they touch.

Nothing here decides: the scheduler says which box of which tensor, the emitter fills the fields.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hw.tpu import isa
from hw.tpu.config import PARAMETER_SUBROWS, TpuConfig
from hw.tpu.isa import Convert, Opcode, Reduce, Source
from hw.tpu.isa import Memory as Target
from sw.compiler.tpu.constants import Memory, shares
from sw.compiler.tpu.layers import (
    Activation,
    Axis,
    Convolution,
    Multiply,
    Product,
    Worker,
)
from sw.compiler.tpu.network import Network
from sw.compiler.tpu.packing import Packing
from sw.compiler.tpu.synchronise import Box, Operation, Space
from sw.compiler.tpu.tile import MOST_ROWS, Tile
from sw.compiler.tpu.view import View, packed


@dataclass(frozen=True)
class Window:
    """How a tile's positions read its input: instruction fields shared by MATMUL and VECTOR."""

    height: int
    width: int
    top: int
    left: int

    @classmethod
    def of(cls, axes: tuple[Axis, Axis], tile: Tile, region: Tile) -> Window:
        rows, columns = axes
        return cls(
            region.y1 - region.y0,
            region.x1 - region.x0,
            tile.y0 * rows.stride - rows.before - region.y0,
            tile.x0 * columns.stride - columns.before - region.x0,
        )


@dataclass(frozen=True)
class Finish:
    """What VECTOR does with what it reads, as fields, and where a second operand lies."""

    fields: dict[str, int]
    second: View | None = None


class Emitter:
    """Appends operations to `operations`, in program order."""

    def __init__(self, network: Network, config: TpuConfig, memory: Memory) -> None:
        self.network, self.config, self.memory = network, config, memory
        self.operations: list[Operation] = []
        self.first_buffer = min((view.base for view in memory.buffers.values()), default=0)
        self.sizes = {
            Space.SCRATCHPAD: config.scratchpad_rows,
            Space.ACCUMULATORS: config.accumulator_total_rows,
            Space.PARAMETERS: config.parameter_subrows,
            Space.LANES: config.lane_rows,
            Space.DRAM: (memory.size - self.first_buffer) // config.array,
        }

    def _append(
        self, opcode: Opcode, values: dict[str, int], reads: list[Box], writes: list[Box]
    ) -> None:
        self.operations.append(Operation(opcode, values, tuple(reads), tuple(writes)))

    # --- DRAM --------------------------------------------------------------------------------

    def _transfers(
        self, item: Activation, plane: int, first: int, last: int, tile: Tile, view: View
    ) -> list[tuple[dict[str, int], Box, Box]]:
        """(fields, DRAM rows, scratchpad rows) of the transfers that move a box of a tensor."""
        n = self.config.array
        dram = self.memory.buffers[item.name]
        start = plane * item.blocks(n) * item.positions
        b, y, x = tile.sides
        result = []

        def add(c: int, image: int, rows: int, lines: int, strides: tuple[int, int]) -> None:
            far, near = strides
            row = start + dram.at(c, image, tile.y0, tile.x0)
            base = view.at(c, image, tile.y0, tile.x0)
            fields = {
                "address": row * n,
                "dram_row_stride": n * dram.column,
                "dram_line_stride": n * far,
                "rows": rows,
                "lines": lines,
                "row_bytes": n,
                "base": base,
                "row_stride": view.column,
                "line_stride": near % isa.ROW_SPAN,
            }
            sides = ((lines, far), (rows, dram.column))
            outside = Box(Space.DRAM, row - self.first_buffer, sides)
            inside = Box(Space.SCRATCHPAD, base, ((lines, near), (rows, view.column)))
            result.append((fields, outside, inside))

        if dram.dense(tile) and view.dense(tile) and b * y * x <= MOST_ROWS:
            add(first, tile.b0, b * y * x, last - first, (dram.block, view.block))
            return result
        for c in range(first, last):
            for image in range(tile.b0, tile.b1):
                add(c, image, x, y, (dram.row, view.row))
        return result

    def load(self, item: Activation, first: int, last: int, tile: Tile, view: View, tag: int
             ) -> None:  # fmt: skip
        """LOAD channel blocks `[first, last)` of the positions of `tile` into the scratchpad."""
        for fields, outside, inside in self._transfers(item, 0, first, last, tile, view):
            self._append(Opcode.LOAD, fields | {"tag": tag}, [outside], [inside])

    def load_packed(
        self, item: Activation, packing: Packing, section: int, tile: Tile, view: View, tag: int
    ) -> None:
        """LOAD positions `tile` of a section's image."""
        image = item.shape[1] * item.shape[2] * item.shape[3]
        line_bytes = item.shape[2] * item.shape[3]
        start = self.memory.buffers[item.name].base * self.config.array
        for b in range(tile.b0, tile.b1):
            for line in packing.lines(section, tile.y0, tile.y1, tile.x0, tile.x1):
                base = view.at(section, b, line.v0, line.u0)
                across, down = line.u1 - line.u0, line.v1 - line.v0
                fields = {
                    "address": start + b * image + line.offset,
                    "dram_row_stride": packing.step * packing.channels,
                    "dram_line_stride": line_bytes,
                    "rows": across,
                    "lines": down,
                    "row_bytes": line.lanes,
                    "lane": line.lane,
                    "base": base,
                    "row_stride": 1,
                    "line_stride": view.row,
                    "fill_others": int(line.fill),
                    "fill": item.zero_point,
                    "tag": tag,
                }
                sides = ((down, view.row), (across, 1))
                self._append(Opcode.LOAD, fields, [], [Box(Space.SCRATCHPAD, base, sides)])

    def store(self, item: Activation, plane: int, block: int, tile: Tile, view: View, tag: int
              ) -> None:  # fmt: skip
        """STORE a channel block of the positions of `tile`."""
        for fields, outside, inside in self._transfers(item, plane, block, block + 1, tile, view):
            self._append(Opcode.STORE, fields | {"tag": tag}, [inside], [outside])

    def weights(self, layer: Convolution, first_tile: int, tiles: int, tag: int) -> None:
        """LOAD consecutive weight tiles into the FIFO."""
        n = self.config.array
        address = self.memory.weights[layer.output] + first_tile * self.config.tile_bytes
        most = max(1, MOST_ROWS // n)
        while tiles:
            now = min(tiles, most)
            lines = min(tiles // now, MOST_ROWS)
            fields = {
                "address": address,
                "dram_row_stride": n,
                "dram_line_stride": now * self.config.tile_bytes,
                "rows": now * n,
                "lines": lines,
                "row_bytes": n,
                "memory": Target.WEIGHTS,
                "tag": tag,
            }
            self._append(Opcode.LOAD, fields, [], [])
            address += lines * now * self.config.tile_bytes
            tiles -= lines * now

    def parameters(self, layer: Worker, first: int, last: int, entry: int, tag: int) -> None:
        """LOAD parameters `[first, last)` of a layer to entries from `entry` on."""
        n, each = self.config.array, PARAMETER_SUBROWS
        rows = (last - first) * each
        fields = {
            "address": self.memory.parameters[layer.output] + first * each * n,
            "dram_row_stride": n,
            "rows": rows,
            "row_bytes": n,
            "base": entry * each,
            "row_stride": 1,
            "memory": Target.PARAMETERS,
            "tag": tag,
        }
        self._append(Opcode.LOAD, fields, [], [Box(Space.PARAMETERS, entry * each, ((rows, 1),))])

    def addition(self, layer: Worker, entry: int, tag: int) -> None:
        """LOAD the constants of a layer's add to a parameter entry."""
        n, each = self.config.array, PARAMETER_SUBROWS
        fields = {
            "address": self.memory.additions[layer.output],
            "dram_row_stride": n,
            "rows": each,
            "row_bytes": n,
            "base": entry * each,
            "row_stride": 1,
            "memory": Target.PARAMETERS,
            "tag": tag,
        }
        self._append(Opcode.LOAD, fields, [], [Box(Space.PARAMETERS, entry * each, ((each, 1),))])

    def lanes(self, address: int, rows: int, row: int, tag: int) -> None:
        """LOAD `rows` rows to the lane memory from `row` on."""
        n = self.config.array
        fields = {
            "address": address,
            "dram_row_stride": n,
            "rows": rows,
            "row_bytes": n,
            "base": row,
            "row_stride": 1,
            "memory": Target.LANES,
            "tag": tag,
        }
        self._append(Opcode.LOAD, fields, [], [Box(Space.LANES, row, ((rows, 1),))])

    # --- array -------------------------------------------------------------------------------

    def matmul(
        self, layer: Convolution, tile: Tile, region: Tile, blocks: tuple[int, int, int],
        view: View, accumulator: int, tag: int,
    ) -> None:  # fmt: skip
        """MATMUL of input channel blocks `[c0, c1)` for output block o; `blocks` is (o, c0, c1)."""
        o, c0, c1 = blocks
        n = self.config.array
        used = min(n, layer.depth - (c1 - 1) * n), int(c0 > 0)
        axes = self.network.axes(layer)
        fields = self._matmul(layer, tile, region, axes, blocks, view, accumulator, used)
        target = Box(Space.ACCUMULATORS, accumulator, ((tile.positions, 1),))
        reads = [view.box(c0, c1, region)]
        self._append(Opcode.MATMUL, fields | {"tag": tag}, reads, [target])

    def matmul_packed(
        self, layer: Convolution, packing: Packing, number: int, tile: Tile, region: Tile,
        block: int, view: View, accumulator: int, tag: int,
    ) -> None:  # fmt: skip
        """MATMULs of a section of a packed input: the last kernel row may use fewer lanes."""
        section = packing.sections[number]
        last = section.rows.kernel - 1
        taps = [section.taps(j, layer.weights.shape[0]) for j in (0, last)]
        parts = [(0, last, taps[0]), (last, last + 1, taps[1])]
        if taps[0] == taps[1]:
            parts = [(0, last + 1, taps[0])]
        for first, end, lanes in parts:
            if first == end:
                continue
            rows = section.rows
            part = replace(rows, kernel=end - first, before=rows.before - first * rows.dilation)
            axes, blocks = (part, section.columns), (block, number, number + 1)
            used = lanes, int(number > 0 or first > 0)
            fields = self._matmul(layer, tile, region, axes, blocks, view, accumulator, used)
            target = Box(Space.ACCUMULATORS, accumulator, ((tile.positions, 1),))
            reads = [view.box(number, number + 1, region)]
            self._append(Opcode.MATMUL, fields | {"tag": tag}, reads, [target])

    def _matmul(
        self, layer: Convolution | Product, tile: Tile, region: Tile, axes: tuple[Axis, Axis],
        blocks: tuple[int, int, int], view: View, accumulator: int, used: tuple[int, int],
    ) -> dict[str, int]:  # fmt: skip
        """Fields; `used` says how many lanes the last block has and whether to accumulate."""
        o, c0, c1 = blocks
        n = self.config.array
        rows, columns = axes
        window = Window.of(axes, tile, region)
        b, y, x = tile.sides
        cout = layer.channels
        origin = view.at(c0, region.b0, region.y0, region.x0)
        return {
            "source": (origin + window.top * view.row + window.left) % isa.ROW_SPAN,
            "batches": b,
            "rows": y,
            "columns": x,
            "batch_stride": view.image % isa.ROW_SPAN,
            "row_stride": rows.stride * view.row % isa.ROW_SPAN,
            "column_stride": columns.stride,
            "channel_blocks": c1 - c0,
            "kernel_rows": rows.kernel,
            "kernel_columns": columns.kernel,
            "channel_stride": view.block % isa.ROW_SPAN,
            "kernel_row_stride": rows.dilation * view.row % isa.ROW_SPAN,
            "kernel_column_stride": columns.dilation,
            "height": window.height,
            "width": window.width,
            "top": window.top,
            "left": window.left,
            "step_y": rows.stride,
            "step_x": columns.stride,
            "dilation_y": rows.dilation,
            "dilation_x": columns.dilation,
            "accumulator": accumulator,
            "accumulator_batch_stride": y * x,
            "accumulator_row_stride": x,
            "accumulator_column_stride": 1,
            "used_rows": used[0],
            "used_columns": min(n, cout - o * n),
            "pad": self.network.by_name[layer.input].zero_point,
            "accumulate": used[1],
        }

    def product(
        self, layer: Product, tile: Tile, blocks: tuple[int, int, int], view: View,
        accumulator: int, tag: int,
    ) -> None:  # fmt: skip
        """The same of a `Product`, tiles and all: `sum((x - zx) * (w - zw))` but for a constant.

        `-zx * w` is a second pass over a tile whose rows all lie outside the image and read
        `-zx`; `-zw * x` takes tiles that hold nothing but `-zw`.
        """
        o, c0, c1 = blocks
        n = self.config.array
        zeros = [self.network.by_name[name].zero_point for name in (layer.input, layer.operand)]
        axes = self.network.axes(layer)
        used = min(n, layer.depth - (c1 - 1) * n)
        target = Box(Space.ACCUMULATORS, accumulator, ((tile.positions, 1),))

        def pass_over(first: int, last: int, more: int, **fields: int) -> None:
            lanes = used if last == c1 else n
            made = self._matmul(
                layer, tile, tile, axes, (o, first, last), view, accumulator, (lanes, more)
            )
            reads = [] if "keep" in fields else [view.box(first, last, tile)]
            self._append(Opcode.MATMUL, made | fields | {"tag": tag}, reads, [target])

        outside = {"keep": 1, "height": 1, "top": 1, "step_y": 0, "used_rows": 1, "used_columns": 1}
        for first in range(c0, c1, 1 if zeros[0] else c1 - c0):
            last = first + 1 if zeros[0] else c1
            self._operand(layer, tile.b0, o, first, last, tag)
            pass_over(first, last, int(first > 0))
            for share in shares(zeros[0]):
                pass_over(first, last, 1, **outside, pad=share)
        start = self.memory.weights[layer.output] + max(64, n)
        deep = -(-layer.depth // n)
        for number, _ in enumerate(shares(zeros[1])):
            address = start + (number * deep + c0) * self.config.tile_bytes
            self._tiles(address, (c1 - c0) * n, n, n, [], tag)
            pass_over(c0, c1, 1, used_rows=1, used_columns=1)

    def _operand(self, layer: Product, image: int, o: int, c0: int, c1: int, tag: int) -> None:
        """LOAD tiles `[c0, c1)` of output block `o` from an activation in DRAM."""
        n = self.config.array
        lanes = min(n, layer.channels - o * n)
        first, last = c0 * n, min(c1 * n, layer.depth)
        if layer.transposed:
            place = self.memory.turned[layer.operand]
            address = place.address + image * place.image + first * place.pitch + o * n
            stride = place.pitch
        else:
            view = self.memory.buffers[layer.operand]
            address, stride = view.at(o, image, 0, first) * n, view.column * n
        row = address // n - self.first_buffer
        reads = [Box(Space.DRAM, row, ((last - first, stride // n),))]
        self._tiles(address, last - first, stride, lanes, reads, tag)
        if missing := c1 * n - last:
            self._tiles(self.memory.weights[layer.output], missing, 0, 1, [], tag)

    def _tiles(
        self, address: int, rows: int, stride: int, lanes: int, reads: list[Box], tag: int
    ) -> None:
        """LOAD rows into the weight FIFO, their lanes beyond `lanes` zero."""
        while rows:
            now = min(rows, MOST_ROWS)
            fields = {
                "address": address,
                "dram_row_stride": stride,
                "rows": now,
                "row_bytes": lanes,
                "fill_others": 1,
                "memory": Target.WEIGHTS,
                "tag": tag,
            }
            self._append(Opcode.LOAD, fields, reads, [])
            address += now * stride
            rows -= now

    def store_turned(self, item: Activation, block: int, tile: Tile, view: View, tag: int) -> None:
        """STORE a channel block of the positions of `tile` transposed, one lane at a time."""
        n, place = self.config.array, self.memory.turned[item.name]
        images, _, columns = tile.sides
        for lane in range(min(n, item.shape[3] - block * n)):
            row = place.address + tile.b0 * place.image + (block * n + lane) * place.pitch
            base = view.at(block, tile.b0, 0, tile.x0)
            fields = {
                "address": row + tile.x0,
                "dram_row_stride": 1,
                "dram_line_stride": place.image,
                "rows": columns,
                "lines": images,
                "row_bytes": 1,
                "lane": lane,
                "base": base,
                "row_stride": 1,
                "line_stride": view.image % isa.ROW_SPAN,
                "tag": tag,
            }
            begin = (row + tile.x0) // n - self.first_buffer
            end = (row + tile.x1 - 1) // n - self.first_buffer + 1
            sides = ((images, place.image // n), (end - begin, 1))
            outside = Box(Space.DRAM, begin, sides)
            inside = Box(Space.SCRATCHPAD, base, ((images, view.image), (columns, 1)))
            self._append(Opcode.STORE, fields, [inside], [outside])

    def operand_lanes(self, item: Activation, block: int, tile: Tile, row: int, tag: int) -> None:
        """LOAD a channel block of the positions of `tile` into the lane memory from `row` on."""
        view = packed(row, block, tile)
        for fields, outside, inside in self._transfers(item, 0, block, block + 1, tile, view):
            target = replace(inside, space=Space.LANES)
            self._append(
                Opcode.LOAD, fields | {"memory": Target.LANES, "tag": tag}, [outside], [target]
            )

    # --- vector ------------------------------------------------------------------------------

    def multiply(
        self, layer: Multiply, tile: Tile, region: Tile, block: int, source: View, target: View,
        finish: Finish, lanes: tuple[int, int], tag: int,
    ) -> None:  # fmt: skip
        """VECTOR of a block of one image with an operand in the lane memory: a row of its own for
        each position, or one for all. `lanes` are its first row and rows from one to the next."""
        row, each = lanes
        parts = [(tile, region)]
        if each:
            ones = [
                Tile(tile.b0, tile.b1, y, y + 1, x, x + 1)
                for y in range(tile.y0, tile.y1)
                for x in range(tile.x0, tile.x1)
            ]
            parts = [(one, one) for one in ones]
        for number, (part, read) in enumerate(parts):
            fields = finish.fields | {"weights": row + number * each}
            self.pool(layer, part, read, block, source, target, Finish(fields, finish.second), tag)

    def convert(
        self, layer: Convolution | Product, tile: Tile, block: int, accumulator: int, view: View,
        finish: Finish, tag: int,
    ) -> None:  # fmt: skip
        """VECTOR from accumulators, one for each image where images do not follow one another;
        `finish` says how."""
        b, y, x = tile.sides
        views = [view] if finish.second is None else [view, finish.second]
        dense = all(item.dense(tile) for item in views)
        if b > 1 and not dense:
            for image in range(b):
                part = replace(tile, b0=tile.b0 + image, b1=tile.b0 + image + 1)
                place = accumulator + image * y * x
                self.convert(layer, part, block, place, view, finish, tag)
            return
        rows, columns = (1, b * y * x) if dense else (y, x)
        fields = {
            "source": Source.ACCUMULATORS,
            "base": accumulator,
            "rows": rows,
            "columns": columns,
            "row_stride": columns % isa.ROW_SPAN,
            "column_stride": 1,
            "height": rows,
            "width": columns,
            "step_y": 1,
            "step_x": 1,
        }
        reads = [Box(Space.ACCUMULATORS, accumulator, ((tile.positions, 1),))]
        self._vector(fields, finish, reads, tile, block, view, tag)

    def pool(
        self, layer: Worker, tile: Tile, region: Tile, block: int,
        source: View, target: View, finish: Finish, tag: int,
    ) -> None:  # fmt: skip
        """VECTOR over windows of a channel block of one image; `finish` says what it does."""
        rows, columns = axes = self.network.axes(layer)
        window = Window.of(axes, tile, region)
        _, y, x = tile.sides
        origin = source.at(block, region.b0, region.y0, region.x0)
        fields = {
            "source": Source.SCRATCHPAD,
            "base": (origin + window.top * source.row + window.left) % isa.ROW_SPAN,
            "rows": y,
            "columns": x,
            "row_stride": rows.stride * source.row % isa.ROW_SPAN,
            "column_stride": columns.stride,
            "window_rows": rows.kernel,
            "window_columns": columns.kernel,
            "window_row_stride": source.row % isa.ROW_SPAN,
            "window_column_stride": 1,
            "height": window.height,
            "width": window.width,
            "top": window.top,
            "left": window.left,
            "step_y": rows.stride,
            "step_x": columns.stride,
        }
        reads = [source.box(block, block + 1, region)]
        if finish.fields.get("reduce") == Reduce.MULTIPLY_ACCUMULATE:
            taps = rows.kernel * columns.kernel
            reads.append(Box(Space.LANES, finish.fields["weights"], ((taps, 1),)))
        self._vector(fields, finish, reads, tile, block, target, tag)

    def _vector(
        self, fields: dict[str, int], finish: Finish, reads: list[Box], tile: Tile, block: int,
        target: View, tag: int,
    ) -> None:  # fmt: skip
        """The half of VECTOR that all its uses share: what follows the value, and where to."""
        fields |= finish.fields
        entries = [fields["parameters"]] if fields["convert"] == Convert.REQUANTISE else []
        second = finish.second
        if second is not None:
            entries.append(fields["second_parameters"])
            reads.append(second.box(block, block + 1, tile))
            fields |= {
                "second": second.at(block, tile.b0, tile.y0, tile.x0),
                "second_row_stride": second.row % isa.ROW_SPAN,
                "second_column_stride": second.column,
            }
        if fields.get("table"):
            reads.append(Box(Space.LANES, 256 * fields["table_number"], ((256, 1),)))
        for entry in entries:
            first = entry * PARAMETER_SUBROWS
            reads.append(Box(Space.PARAMETERS, first, ((PARAMETER_SUBROWS, 1),)))
        fields |= {
            "destination": target.at(block, tile.b0, tile.y0, tile.x0),
            "destination_row_stride": target.row % isa.ROW_SPAN,
            "destination_column_stride": target.column,
            "tag": tag,
        }
        self._append(Opcode.VECTOR, fields, reads, [target.box(block, block + 1, tile)])
