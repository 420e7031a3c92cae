"""The matmul unit's sequencer: walks MATMULs, reads rows, feeds the array, names accumulators."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from hw.tpu import array, isa
from hw.tpu.config import TpuConfig
from hw.tpu.interfaces import (
    POSITION_BITS,
    Completion,
    Fault,
    FaultReport,
    RowRead,
    command,
)
from hw.tpu.isa import ROW_BITS, SEMAPHORES
from hw.tpu.positions import Level, Quantity, walk

COORDINATE_BITS = 26
"""Image positions cannot overflow: 2**15 + 2**16 * 2**8 + 2**8 * 2**8 in magnitude."""
FEED_LATENCY = 2
"""Cycles from issuing a row to its arrival at the array's input."""
PASS_LEVELS = 3
"""The outer loops of a MATMUL: one pass of the array each."""


class Landing(data.Struct):
    """Where a row's product goes; one cycle ahead of the product itself."""

    valid: 1
    row: 16
    overwrite: 1
    last: 1
    signal: SEMAPHORES


class MatmulSequencer(Component):
    """One row a cycle into the array, without a bubble between passes or instructions.

    A pass's first row waits for `tile_ready` (unless it keeps its tile, which is a fault where no
    tile was taken since reset). Row data is wanted from
    `scratchpad` in the next cycle and reaches the array's input (`row`, `switch`) one cycle after
    that. `landing` describes the product that the array puts out one cycle later. `completed`
    comes when the last product of an instruction has been written. `streaming`, `starving` and
    `macs` (useful multiply-accumulates of this cycle) are for the counters.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "commands": In(stream.Signature(command(isa.Matmul))),
                "started": Out(1),
                "completed": Out(Completion),
                "fault": Out(FaultReport),
                "scratchpad": Out(RowRead(config.array * 8)),
                "tile_ready": In(1),
                "tile_take": Out(1),
                "row": Out(config.array * 8),
                "switch": Out(1),
                "landing": Out(Landing),
                "streaming": Out(1),
                "starving": Out(1),
                "macs": Out(18),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        n = config.array
        incoming = self.commands.payload.op
        op = Signal(isa.Matmul.layout, reset_less=True)
        position = Signal(POSITION_BITS, reset_less=True)
        busy = Signal()
        broken = Signal()
        take = Signal()
        step = Signal()

        address = Signal(ROW_BITS, reset_less=True)
        target = Signal(16, reset_less=True)
        y = Signal(signed(COORDINATE_BITS), reset_less=True)
        x = Signal(signed(COORDINATE_BITS), reset_less=True)
        levels = [
            Level("channel", op.channel_blocks, {"address": op.channel_stride}),
            Level(
                "kernel_row",
                op.kernel_rows,
                {"address": op.kernel_row_stride, "y": op.dilation_y},
            ),
            Level(
                "kernel_column",
                op.kernel_columns,
                {"address": op.kernel_column_stride, "x": op.dilation_x},
            ),
            Level(
                "batch",
                op.batches,
                {"address": op.batch_stride, "target": op.accumulator_batch_stride},
            ),
            Level(
                "row",
                op.rows,
                {
                    "address": op.row_stride,
                    "target": op.accumulator_row_stride,
                    "y": op.step_y,
                },
            ),
            Level(
                "column",
                op.columns,
                {
                    "address": op.column_stride,
                    "target": op.accumulator_column_stride,
                    "x": op.step_x,
                },
            ),
        ]
        at = walk(
            m,
            levels,
            [
                Quantity("address", incoming.source, address),
                Quantity("target", incoming.accumulator, target),
                Quantity("y", incoming.top, y),
                Quantity("x", incoming.left, x),
            ],
            load=take,
            step=step,
        )

        inside = Signal()
        first_pass = Signal()
        wants_tile = Signal()
        has_tile = Signal()
        tile_bad = Signal()
        scratchpad_bad = Signal()
        accumulator_bad = Signal()
        m.d.comb += [
            inside.eq((y >= 0) & (y < op.height) & (x >= 0) & (x < op.width)),
            first_pass.eq(Cat(*at.at_first[:PASS_LEVELS]).all()),
            wants_tile.eq(Cat(*at.at_first[PASS_LEVELS:]).all() & ~(op.keep & first_pass)),
            tile_bad.eq(busy & op.keep & ~has_tile),
            scratchpad_bad.eq(busy & inside & (address >= config.scratchpad_rows)),
            accumulator_bad.eq(busy & (target >= config.accumulator_total_rows)),
            self.starving.eq(busy & wants_tile & ~self.tile_ready),
            step.eq(
                busy & ~broken & ~tile_bad & ~scratchpad_bad & ~accumulator_bad & ~self.starving
            ),
            self.streaming.eq(step),
            self.tile_take.eq(step & wants_tile),
            self.commands.ready.eq(~broken & (~busy | (step & at.last))),
            take.eq(self.commands.valid & self.commands.ready),
            self.started.eq(take),
            self.scratchpad.valid.eq(step & inside),
            self.scratchpad.row.eq(address),
        ]
        with m.If(take):
            m.d.sync += [op.eq(incoming), position.eq(self.commands.payload.position), busy.eq(1)]
        with m.Elif(step & at.last):
            m.d.sync += busy.eq(0)

        with m.If(self.tile_take):
            m.d.sync += has_tile.eq(1)

        with m.If((tile_bad | scratchpad_bad | accumulator_bad) & ~broken):
            m.d.sync += broken.eq(1)
            m.d.comb += [
                self.fault.valid.eq(1),
                self.fault.code.eq(
                    Mux(accumulator_bad, Fault.ACCUMULATOR_RANGE, Fault.SCRATCHPAD_RANGE)
                ),
                self.fault.position.eq(position),
                self.fault.tag.eq(op.tag),
                self.fault.detail.eq(Mux(accumulator_bad, target, address)),
            ]
            with m.If(tile_bad):
                m.d.comb += [self.fault.code.eq(Fault.ILLEGAL_OPERAND), self.fault.detail.eq(0)]

        lanes = Signal(range(n + 1))
        m.d.comb += [
            lanes.eq(Mux(at.at_last[0] & (op.used_rows < n), op.used_rows, n)),
            self.macs.eq(Mux(step, lanes * Mux(op.used_columns < n, op.used_columns, n), 0)),
        ]
        self._feed(m, step, inside, op.pad)
        landing = Signal(Landing)
        m.d.comb += [
            landing.valid.eq(step),
            landing.row.eq(target),
            landing.overwrite.eq(first_pass & ~op.accumulate),
            landing.last.eq(at.last),
            landing.signal.eq(op.signal),
        ]
        self._land(m, landing)
        return m

    def _feed(self, m: Module, step: Signal, inside: Signal, pad: Value) -> None:
        """Scratchpad data or padding, registered once, and the switch in step with it."""
        reading = Signal()
        padding = Signal()
        pad_value = Signal(8, reset_less=True)
        switching = Signal()
        row = Signal(self.config.array * 8, reset_less=True)
        m.d.sync += [
            reading.eq(step),
            padding.eq(step & ~inside),
            switching.eq(self.tile_take),
            self.switch.eq(switching),
        ]
        with m.If(step):
            m.d.sync += pad_value.eq(pad)
        with m.If(reading):
            m.d.sync += row.eq(
                Mux(padding, pad_value.replicate(self.config.array), self.scratchpad.data)
            )
        m.d.comb += self.row.eq(row)

    def _land(self, m: Module, landing: Signal) -> None:
        """Delay `landing` until one cycle before the array puts out its product."""
        for stage in range(FEED_LATENCY + array.latency(self.config) - 1):
            later = Signal(Landing, name=f"landing_{stage}")
            m.d.sync += later.eq(landing)
            landing = later
        m.d.comb += self.landing.eq(landing)
        written = Signal()
        signals = Signal(SEMAPHORES, reset_less=True)
        m.d.sync += [written.eq(landing.valid & landing.last), signals.eq(landing.signal)]
        m.d.comb += [self.completed.valid.eq(written), self.completed.signal.eq(signals)]
