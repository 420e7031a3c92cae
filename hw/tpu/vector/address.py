"""The nested counters of VECTOR: which source row to read next, and where its result goes."""

from types import SimpleNamespace

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.tpu import isa
from hw.tpu.config import TpuConfig
from hw.tpu.interfaces import POSITION_BITS, Fault, command

IMAGE_BITS = 25
"""Bits of a signed image coordinate: 32767 + 65534 * 255 + 254 is below 2**24."""


WEIGHT_ROW_BITS = isa.Vector.fields["weights"].bits + 1
"""Bits of a lane memory row, one more than its largest size, so that going beyond it shows."""


class Job(data.Struct):
    """What is the same for all positions of one instruction."""

    position: POSITION_BITS
    tag: 16
    signal: isa.SEMAPHORES
    source: 1
    convert: 2
    byte: 2
    reduce: 2
    parameters: 12
    zero_point: signed(8)
    pad: signed(8)
    add: 1
    swap: 1
    table: 1
    table_number: 4
    second_parameters: 12
    low: signed(8)
    high: signed(8)


class Position(data.Struct):
    """One window position of one output."""

    row: isa.ROW_BITS
    """Source row; without meaning unless `inside`."""
    destination: isa.ROW_BITS
    second: isa.ROW_BITS
    """Row of the second operand of this output."""
    weights: WEIGHT_ROW_BITS
    """Row of the lane memory that multiplies the source row."""
    inside: 1
    """The image holds this position: read it."""
    first: 1
    """First position of its window."""
    last: 1
    """Last position of its window: the output is complete."""
    final: 1
    """Last position of the instruction."""
    fault: Fault
    """NONE, or why the position must not be used; then `detail` is the row to blame."""
    detail: isa.ROW_BITS
    job: Job


def multiplies(op: data.View) -> Value:
    """Whether a command or job reads the lane memory's weights."""
    return op.reduce == isa.Reduce.MULTIPLY_ACCUMULATE


class PositionCounter(wiring.Component):
    """Turns each VECTOR command into its positions: y, x, wy, wx, the last fastest.

    One position per cycle, the first two cycles after its command was taken; a command that waits
    when the last position of the one before it is counted follows without a gap. Positions outside
    the image take a cycle as well. The output is registered and holds until taken.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "commands": In(stream.Signature(command(isa.Vector))),
                "positions": Out(stream.Signature(Position)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        active, step, take = Signal(), Signal(), Signal()
        op = self._held(m, take)
        ends = self._loops(m, op, take, step)
        m.d.comb += [
            step.eq(active & (~self.positions.valid | self.positions.ready)),
            self.commands.ready.eq(~active | (step & ends.final)),
            take.eq(self.commands.valid & self.commands.ready),
        ]
        with m.If(take):
            m.d.sync += active.eq(1)
        with m.Elif(step & ends.final):
            m.d.sync += active.eq(0)

        found = {
            "row": self._row(m, op, ends, take, step),
            "destination": self._output_row(m, "destination", op, ends, take, step),
            "second": self._output_row(m, "second", op, ends, take, step),
            "weights": self._weights(m, op, ends, take, step),
            "inside": self._image(m, op, ends, take, step),
            "last": ends.output,
            "final": ends.final,
        }
        self._emit(m, op, found, step)
        return m

    def _held(self, m: Module, take: Value) -> SimpleNamespace:
        """The command's fields, each in a register of its own."""
        held = {}
        payload = self.commands.p
        for name in isa.Vector.fields:
            held[name] = Signal(payload.op[name].shape(), name=name, reset_less=True)
            with m.If(take):
                m.d.sync += held[name].eq(payload.op[name])
        held["position"] = Signal(POSITION_BITS, name="position", reset_less=True)
        with m.If(take):
            m.d.sync += held["position"].eq(payload.position)
        return SimpleNamespace(**held)

    def _loops(self, m: Module, op, take: Value, step: Value) -> SimpleNamespace:
        """Whether this position is the last of its window row, output, output row, instruction."""
        ends = SimpleNamespace()
        inner = Const(1)
        for name, field in (
            ("window_row", "window_columns"),
            ("output", "window_rows"),
            ("output_row", "columns"),
            ("final", "rows"),
        ):
            left = Signal(isa.Vector.fields[field].bits, name=f"{field}_left", reset_less=True)
            end, one_left = Signal(name=f"{name}_ends"), Signal(name=f"{field}_one_left")
            m.d.comb += one_left.eq(left == 1)
            m.d.comb += end.eq(inner & one_left)
            with m.If(take):
                m.d.sync += left.eq(self.commands.p.op[field])
            with m.Elif(step & inner):
                m.d.sync += left.eq(Mux(one_left, getattr(op, field), left - 1))
            setattr(ends, name, end)
            inner = end
        return ends

    def _row(self, m: Module, op, ends, take: Value, step: Value) -> Signal:
        """The source row: each loop remembers where it began, one adder moves all of them."""
        row, window_row, output, output_row = (
            Signal(isa.ROW_BITS, name=name, reset_less=True)
            for name in ("row", "window_row_start", "output_start", "output_row_start")
        )
        start, stride, following = (Signal(isa.ROW_BITS, name=f"row_{n}") for n in "abc")
        with m.If(ends.output_row):
            m.d.comb += [start.eq(output_row), stride.eq(op.row_stride)]
        with m.Elif(ends.output):
            m.d.comb += [start.eq(output), stride.eq(op.column_stride)]
        with m.Elif(ends.window_row):
            m.d.comb += [start.eq(window_row), stride.eq(op.window_row_stride)]
        with m.Else():
            m.d.comb += [start.eq(row), stride.eq(op.window_column_stride)]
        m.d.comb += following.eq(start + stride)
        for register, moves in (
            (row, Const(1)),
            (window_row, ends.window_row),
            (output, ends.output),
            (output_row, ends.output_row),
        ):
            with m.If(take):
                m.d.sync += register.eq(self.commands.p.op.base)
            with m.Elif(step & moves):
                m.d.sync += register.eq(following)
        return row

    def _output_row(self, m: Module, name: str, op, ends, take: Value, step: Value) -> Signal:
        """The row `name` of the output of this position."""
        row, start = (
            Signal(isa.ROW_BITS, name=each, reset_less=True) for each in (name, f"{name}_start")
        )
        following = Signal(isa.ROW_BITS, name=f"{name}_following")
        row_stride = getattr(op, f"{name}_row_stride")
        column_stride = getattr(op, f"{name}_column_stride")
        m.d.comb += following.eq(
            Mux(ends.output_row, start, row) + Mux(ends.output_row, row_stride, column_stride)
        )
        for register, moves in ((row, ends.output), (start, ends.output_row)):
            with m.If(take):
                m.d.sync += register.eq(self.commands.p.op[name])
            with m.Elif(step & moves):
                m.d.sync += register.eq(following)
        return row

    def _weights(self, m: Module, op, ends, take: Value, step: Value) -> Signal:
        """The lane memory's row: one after the other, again for each output."""
        row = Signal(WEIGHT_ROW_BITS, name="weights_row", reset_less=True)
        with m.If(take):
            m.d.sync += row.eq(self.commands.p.op.weights)
        with m.Elif(step & multiplies(op)):
            m.d.sync += row.eq(Mux(ends.output, op.weights, row + 1))
        return row

    def _image(self, m: Module, op, ends, take: Value, step: Value) -> Value:
        """Whether the image holds this position."""
        y, y_start, x, x_start = (
            Signal(signed(IMAGE_BITS), name=name, reset_less=True)
            for name in ("image_y", "image_y_start", "image_x", "image_x_start")
        )
        new = self.commands.p.op
        next_y, next_x = Signal(signed(IMAGE_BITS)), Signal(signed(IMAGE_BITS))
        m.d.comb += [
            next_y.eq(y_start + Mux(ends.output_row, op.step_y, 0)),
            next_x.eq(x_start + op.step_x),
        ]
        with m.If(take):
            m.d.sync += [y.eq(new.top), y_start.eq(new.top), x.eq(new.left), x_start.eq(new.left)]
        with m.Elif(step):
            with m.If(ends.output):
                m.d.sync += y.eq(next_y)
            with m.Elif(ends.window_row):
                m.d.sync += y.eq(y + 1)
            with m.If(ends.output_row):
                m.d.sync += [y_start.eq(next_y), x.eq(op.left), x_start.eq(op.left)]
            with m.Elif(ends.output):
                m.d.sync += [x.eq(next_x), x_start.eq(next_x)]
            with m.Elif(ends.window_row):
                m.d.sync += x.eq(x_start)
            with m.Else():
                m.d.sync += x.eq(x + 1)
        # Read as unsigned, a negative coordinate is far above any size.
        return (y.as_unsigned() < op.height) & (x.as_unsigned() < op.width)

    def _emit(self, m: Module, op, found: dict[str, Value], step: Value) -> None:
        """The output register, ranges checked on the way in."""
        config, out = self.config, self.positions
        inside = Signal()
        m.d.comb += inside.eq(found["inside"])
        fault, detail = Signal(Fault), Signal(isa.ROW_BITS)
        accumulators = op.source == isa.Source.ACCUMULATORS
        row_limit = Mux(accumulators, config.accumulator_total_rows, config.scratchpad_rows)
        requantise = op.convert == isa.Convert.REQUANTISE
        with m.If(requantise & (op.parameters >= config.parameter_entries)):
            m.d.comb += [fault.eq(Fault.PARAMETER_RANGE), detail.eq(op.parameters)]
        with m.Elif(op.add & (op.second_parameters >= config.parameter_entries)):
            m.d.comb += [fault.eq(Fault.PARAMETER_RANGE), detail.eq(op.second_parameters)]
        with m.Elif(op.table & (op.table_number >= config.lane_rows // 256)):
            m.d.comb += [fault.eq(Fault.PARAMETER_RANGE), detail.eq(op.table_number << 8)]
        with m.Elif(multiplies(op) & (found["weights"] >= config.lane_rows)):
            m.d.comb += [fault.eq(Fault.PARAMETER_RANGE), detail.eq(found["weights"])]
        with m.Elif(inside & (found["row"] >= row_limit)):
            m.d.comb += detail.eq(found["row"])
            m.d.comb += fault.eq(Mux(accumulators, Fault.ACCUMULATOR_RANGE, Fault.SCRATCHPAD_RANGE))
        with m.Elif(op.add & found["last"] & (found["second"] >= config.scratchpad_rows)):
            m.d.comb += [fault.eq(Fault.SCRATCHPAD_RANGE), detail.eq(found["second"])]
        with m.Elif(found["last"] & (found["destination"] >= config.scratchpad_rows)):
            m.d.comb += [fault.eq(Fault.SCRATCHPAD_RANGE), detail.eq(found["destination"])]

        starts = Signal(init=1)
        with m.If(step):
            m.d.sync += out.valid.eq(1)
            m.d.sync += starts.eq(found["last"])
            m.d.sync += [
                out.p.inside.eq(inside),
                out.p.first.eq(starts),
                out.p.fault.eq(fault),
                out.p.detail.eq(detail),
            ]
            m.d.sync += [
                out.p[name].eq(found[name])
                for name in ("row", "second", "weights", "destination", "last", "final")
            ]
            m.d.sync += [out.p.job[name].eq(getattr(op, name)) for name, _ in Job.as_shape()]
        with m.Elif(out.ready):
            m.d.sync += out.valid.eq(0)
