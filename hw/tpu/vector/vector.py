"""The vector unit: from accumulators or scratchpad, through the lanes, to the scratchpad."""

from types import SimpleNamespace

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.tpu import isa, numerics
from hw.tpu.config import TpuConfig
from hw.tpu.interfaces import Completion, FaultReport, RowRead, RowWrite, command
from hw.tpu.parameters import lane_parameters
from hw.tpu.vector import epilogue, lane, requantiser, window
from hw.tpu.vector.address import PositionCounter, multiplies
from hw.tpu.vector.epilogue import Epilogue
from hw.tpu.vector.lane import Lane
from hw.tpu.vector.lane_memory import TableRead, WeightRead
from hw.tpu.vector.window import WindowSum

RESULTS = 24
"""Outputs under way between the last read of their window and the scratchpad."""

LATENCY = 1 + lane.LATENCY + 1
"""Cycles from an accepted read to its result at the write port: memory, lane, result queue.

Sums take `window.LATENCY` more, adds and tables `epilogue.LATENCY`.
"""


class Ticket(data.Struct):
    """What travels beside a position through the lanes."""

    signal: isa.SEMAPHORES
    destination: isa.ROW_BITS
    zero_point: 8
    low: 8
    high: 8
    add: 1
    inside: 1
    first: 1
    last: 1
    final: 1


class Slot(data.Struct):
    """Where a result in the queue goes."""

    destination: isa.ROW_BITS
    signal: isa.SEMAPHORES
    final: 1


def _ticket(m: Module, position: data.View) -> data.View:
    """The ticket of a position."""
    ticket, job = Signal(Ticket), position.job
    m.d.comb += [ticket[n].eq(job[n]) for n in ("signal", "zero_point", "low", "high", "add")]
    with m.If(job.add | job.table):  # the epilogue clamps
        m.d.comb += [ticket.low.eq(numerics.INT8_MIN), ticket.high.eq(numerics.INT8_MAX)]
    names = ("destination", "inside", "first", "last", "final")
    m.d.comb += [ticket[n].eq(position[n]) for n in names]
    return ticket


class VectorUnit(wiring.Component):
    """Executes VECTOR: see `isa.Vector`.

    A command with an add or a table starts when all before it is written, reads its constants in
    one cycle, and keeps what follows and has none waiting in the same way; within it, rows flow at
    full rate where source and second operand lie in different banks.

    One source position per cycle, windows and commands back to back without a gap; the first read
    is asked for two cycles after its command is taken, a row is offered to the scratchpad `LATENCY`
    cycles after the last read of its window (sums: `window.LATENCY` more; what follows them and is
    none waits for as long). Reads stop while `RESULTS` outputs are under way, so
    that nothing in the lanes ever waits; one command's reads overlap the writes of those before it.

    `busy` tells that a row is read, `moving` that a position is, inside the image or not.
    `completed` strobes in the cycle after the command's last row was accepted. `fault` strobes
    when the position at fault would be read (the parameter entries first, then the table, the row
    of weights, the source, the second operand, the destination); from then on nothing is taken,
    read, written or completed until reset.
    """

    def __init__(self, config: TpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "commands": In(stream.Signature(command(isa.Vector))),
                "started": Out(1),
                "completed": Out(Completion),
                "fault": Out(FaultReport),
                "accumulators": Out(RowRead(config.array * 32)),
                "scratchpad_read": Out(RowRead(config.array * 8)),
                "second": Out(RowRead(config.array * 8)),
                "scratchpad_write": Out(RowWrite(config)),
                "parameters": Out(
                    wiring.Signature({"entry": Out(12), "data": In(config.array * 64)})
                ),
                "weights": Out(WeightRead(config)),
                "table": Out(TableRead(config)),
                "busy": Out(1),
                "stalled": Out(1),
                "moving": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.counter = counter = PositionCounter(self.config)
        position = counter.positions.p
        stopped, halt, room, ordered = Signal(), Signal(), Signal(), Signal()
        m.submodules.epilogue = last_steps = Epilogue(self.config)
        under_way = Signal(range(RESULTS + 1))

        self._take_commands(m, counter, halt)
        issue, free, second_ready = Signal(), Signal(), Signal()
        settled, in_epilogue, settling = self._settle(
            m, counter.positions, issue, halt, under_way == 0, last_steps
        )
        m.d.comb += free.eq(counter.positions.valid & ~halt & room & ordered & settled)
        second = self._read_second(m, position, issue, free, second_ready)
        self._read(m, counter.positions, issue, free & second_ready)
        self._report(m, counter.positions, stopped, halt)
        summed = self._sum(m, issue, position, ordered, settling)
        done, ticket, results = self._convert(m, issue, position, summed)
        done, ticket, results = self._finish(
            m, last_steps, second, in_epilogue, done & ticket.last, ticket, results
        )
        written = self._write(m, done, ticket, results, stopped)

        m.d.comb += room.eq((under_way != RESULTS) | ~position.last)
        m.d.sync += under_way.eq(under_way + (issue & position.last) - written)

        reads = (self.accumulators, self.scratchpad_read, self.second)
        m.d.comb += [
            self.moving.eq(issue),
            self.busy.eq(Cat(port.valid & port.ready for port in reads).any()),
            self.stalled.eq(Cat(p.valid & ~p.ready for p in (*reads, self.scratchpad_write)).any()),
        ]
        return m

    def _take_commands(self, m: Module, counter: PositionCounter, halt: Signal) -> None:
        m.d.comb += [
            counter.commands.p.eq(self.commands.p),
            counter.commands.valid.eq(self.commands.valid & ~halt),
            self.commands.ready.eq(counter.commands.ready & ~halt),
            self.started.eq(self.commands.valid & self.commands.ready),
        ]

    def _settle(
        self, m: Module, positions, issue: Signal, halt: Signal, empty: Value, last_steps: Epilogue
    ) -> tuple[Signal, Signal, Signal]:
        """Prepare the epilogue for commands that want it.

        The result says whether positions may flow, whether what is under way passes through the
        epilogue, and whether the parameter memory is wanted for constants.
        """
        job = positions.p.job
        wanted, prepared, used = Signal(), Signal(), Signal()
        ask, answered = Signal(name="asks_constants"), Signal(name="has_constants")
        settled = Signal(name="epilogue_settled")
        m.d.comb += [
            wanted.eq(job.add | job.table),
            settled.eq(Mux(wanted, prepared, ~used)),
            ask.eq(positions.valid & ~halt & empty & wanted & ~prepared & ~answered),
            last_steps.settle.eq(answered),
            last_steps.constants.eq(
                Cat(lane_parameters(self.parameters.data, j) for j in range(2))
            ),
        ]
        m.d.comb += [
            last_steps.settings[name].eq(job[name]) for name, _ in epilogue.Settings.as_shape()
        ]
        m.d.sync += answered.eq(ask)
        with m.If(answered):
            m.d.sync += [prepared.eq(1), used.eq(1)]
        with m.If(issue & positions.p.final):
            m.d.sync += prepared.eq(0)
        with m.If(positions.valid & empty & ~wanted):
            m.d.sync += used.eq(0)
        return settled, used, ask

    def _read_second(
        self, m: Module, position, issue: Signal, free: Signal, ready: Signal
    ) -> SyncFIFO:
        """Ask for an output's second operand before its last position; rows wait for the add."""
        done, wants, arrives = Signal(), Signal(), Signal()
        m.submodules.seconds = rows = SyncFIFO(width=self.config.array * 8, depth=RESULTS)
        m.d.comb += [
            wants.eq(position.job.add & position.last & ~done),
            self.second.valid.eq(free & wants),
            self.second.row.eq(position.second),
            ready.eq(~wants | self.second.ready),
            rows.w_en.eq(arrives),
            rows.w_data.eq(self.second.data),
        ]
        m.d.sync += arrives.eq(self.second.valid & self.second.ready)
        with m.If(issue):
            m.d.sync += done.eq(0)
        with m.Elif(self.second.valid & self.second.ready):
            m.d.sync += done.eq(1)
        return rows

    def _read(self, m: Module, positions, issue: Signal, may: Value) -> None:
        """Ask for the position's row; `issue` says that the position enters the pipeline."""
        position = positions.p
        from_scratchpad = position.job.source == isa.Source.SCRATCHPAD
        wants = may & position.inside
        m.d.comb += [
            self.accumulators.row.eq(position.row),
            self.accumulators.valid.eq(wants & ~from_scratchpad),
            self.scratchpad_read.row.eq(position.row),
            self.scratchpad_read.valid.eq(wants & from_scratchpad),
            issue.eq(
                may
                & (
                    ~position.inside
                    | Mux(from_scratchpad, self.scratchpad_read.ready, self.accumulators.ready)
                )
            ),
            positions.ready.eq(issue),
        ]

    def _report(self, m: Module, positions, stopped: Signal, halt: Signal) -> None:
        at_fault, position = Signal(), positions.p
        m.d.comb += [
            at_fault.eq(positions.valid & position.fault.as_value().any()),
            halt.eq(stopped | at_fault),
            self.fault.valid.eq(at_fault & ~stopped),
            self.fault.code.eq(position.fault),
            self.fault.position.eq(position.job.position),
            self.fault.tag.eq(position.job.tag),
            self.fault.detail.eq(position.detail),
        ]
        with m.If(at_fault):
            m.d.sync += stopped.eq(1)

    def _sum(
        self, m: Module, issue: Signal, position, ordered: Signal, settling: Signal
    ) -> SimpleNamespace:
        """Sums of windows, one of which may enter the lanes in each cycle in which no row does.

        `ordered`: the position will not overtake a sum. `settling`: no sum is under way, and the
        parameter memory is wanted for an add's constants.
        """
        m.submodules.window = total = WindowSum(self.config)
        job = position.job
        sums, multiply = Signal(), Signal()
        # Index 0 is the cycle in which the row arrives.
        valid = [Signal(name=f"sum_valid_{i}") for i in range(window.LATENCY)]
        ticket, entry = (
            [Signal(shape, name=f"{name}_{i}", reset_less=True) for i in range(window.LATENCY)]
            for name, shape in (("sum_ticket", Ticket), ("sum_entry", 12))
        )
        summand = Signal(window.Summand, reset_less=True)
        m.d.comb += [
            sums.eq(job.reduce[1]),
            multiply.eq(multiplies(job)),
            ordered.eq(sums | ~Cat(valid).any()),
            self.weights.valid.eq(issue & multiply),
            self.weights.row.eq(position.weights),
            total.row.eq(self.scratchpad_read.data),
            total.weights.eq(self.weights.data),
            total.summand.eq(summand),
            total.first.eq(ticket[1].first),
            total.enable.eq(Cat(valid)),
            # The parameters arrive together with the finished sum.
            self.parameters.entry.eq(
                Mux(valid[1], entry[1], Mux(settling, job.second_parameters, job.parameters))
            ),
        ]
        m.d.sync += valid[0].eq(issue & sums), valid[1].eq(valid[0])
        with m.If(issue & sums):
            m.d.sync += [
                entry[0].eq(job.parameters),
                ticket[0].eq(_ticket(m, position)),
                summand.inside.eq(position.inside),
                summand.multiply.eq(multiply),
                summand.pad.eq(job.pad),
            ]
        with m.If(valid[0]):
            m.d.sync += [entry[1].eq(entry[0]), ticket[1].eq(ticket[0])]
        finished = Signal(name="sum_finished")
        whole_window = Signal(Ticket)
        m.d.comb += [
            finished.eq(valid[1] & ticket[1].last),
            whole_window.eq(ticket[1]),
            whole_window.inside.eq(1),
            whole_window.first.eq(1),
        ]
        return SimpleNamespace(
            position=sums, finished=finished, ticket=whole_window, total=total.total
        )

    def _convert(
        self, m: Module, issue: Signal, position, summed: SimpleNamespace
    ) -> tuple[Signal, Signal, list[Signal]]:
        """The lanes, and what travels beside them: valid bits, a ticket, rows that are int8."""
        array, depth = self.config.array, lane.LATENCY
        # Index 0 is the cycle in which the row arrives, `depth` that of the lanes' results.
        valid = [Signal(name=f"valid_{i}") for i in range(depth + 1)]
        whole = [Signal(name=f"whole_{i}", reset_less=True) for i in range(depth)]
        ticket = [Signal(Ticket, name=f"ticket_{i}", reset_less=True) for i in range(depth + 1)]
        source, byte = Signal(reset_less=True), Signal(2, reset_less=True)
        row_enters = issue & ~summed.position
        m.d.sync += valid[0].eq(row_enters | summed.finished)
        with m.If(summed.finished):
            m.d.sync += [
                source.eq(isa.Source.SCRATCHPAD),
                whole[0].eq(0),
                ticket[0].eq(summed.ticket),
            ]
        with m.Elif(row_enters):
            job = position.job
            m.d.sync += [
                source.eq(job.source),
                byte.eq(job.byte),
                whole[0].eq(job.convert != isa.Convert.REQUANTISE),
                ticket[0].eq(_ticket(m, position)),
            ]
        for i in range(depth):
            m.d.sync += valid[i + 1].eq(valid[i])
            with m.If(valid[i]):
                m.d.sync += ticket[i + 1].eq(ticket[i])
                if i + 1 < depth:
                    m.d.sync += whole[i + 1].eq(whole[i])

        # Rows of bytes wait beside the requantisers, as wide as they come.
        accumulators, row = self.accumulators.data, Signal(array * 8)
        with m.If(source == isa.Source.SCRATCHPAD):
            m.d.comb += row.eq(self.scratchpad_read.data)
        with m.Else():
            with m.Switch(byte):
                for b in range(4):
                    with m.Case(b):
                        m.d.comb += row.eq(
                            Cat(accumulators.word_select(4 * j + b, 8) for j in range(array))
                        )
        for i in range(requantiser.LATENCY):
            wait = Signal(array * 8, name=f"row_{i + 1}", reset_less=True)
            with m.If(valid[i] & whole[i]):
                m.d.sync += wait.eq(row)
            row = wait

        end = requantiser.LATENCY
        enable = Signal(end)
        m.d.comb += enable.eq(Cat(v & ~w for v, w in zip(valid, whole, strict=False))[:end])
        results = []
        for j in range(array):
            m.submodules[f"lane_{j}"] = one = Lane()
            parameters = lane_parameters(self.parameters.data, j)
            m.d.comb += [
                one.accumulator.eq(
                    Mux(
                        source == isa.Source.SCRATCHPAD,
                        summed.total.word_select(j, 32),
                        accumulators.word_select(j, 32),
                    )
                ),
                one.bias.eq(parameters[:32]),
                one.scale.eq(parameters[32:]),
                one.zero_point.eq(ticket[end - 1].zero_point),
                one.enable.eq(enable),
                one.byte.eq(row.word_select(j, 8)),
                one.reduce.valid.eq(valid[end]),
                one.reduce.whole.eq(whole[end]),
            ]
            m.d.comb += [
                one.reduce[name].eq(ticket[end][name])
                for name in ("inside", "first", "low", "high")
            ]
            results.append(one.result)
        return valid[depth], ticket[depth], results

    def _finish(
        self,
        m: Module,
        last_steps: Epilogue,
        second: SyncFIFO,
        in_epilogue: Signal,
        done: Value,
        ticket,
        results: list[Signal],
    ) -> tuple[Signal, Signal, Value]:
        """The finished outputs, by way of the epilogue or past it, each with its slot."""
        valid = [Signal(name=f"epilogue_valid_{i}") for i in range(epilogue.LATENCY + 1)]
        slot = [Signal(Slot, name=f"slot_{i}") for i in range(epilogue.LATENCY + 1)]
        finished, chosen = Signal(name="output_finished"), Signal(Slot)
        results = Cat(results)
        m.d.comb += [
            valid[0].eq(done & in_epilogue),
            *(slot[0][name].eq(ticket[name]) for name, _ in Slot.as_shape()),
            last_steps.enable.eq(Cat(valid)),
            last_steps.value.eq(results),
            last_steps.second.eq(second.r_data),
            second.r_en.eq(valid[0] & ticket.add),
            finished.eq(Mux(in_epilogue, valid[-1], done)),
            chosen.eq(Mux(in_epilogue, slot[-1], slot[0])),
        ]
        for i in range(epilogue.LATENCY):
            m.d.sync += valid[i + 1].eq(valid[i])
            with m.If(valid[i]):
                m.d.sync += slot[i + 1].eq(slot[i])
        connect(m, last_steps.table, flipped(self.table))
        return finished, chosen, Mux(in_epilogue, last_steps.result, results)

    def _write(self, m: Module, done, slot_in, results: Value, stopped: Signal) -> Signal:
        """Queue the finished outputs and write them; the result says that one was written."""
        slot_bits = Slot.as_shape().size
        row_bits = self.config.array * 8
        m.submodules.queue = queue = SyncFIFO(width=row_bits + slot_bits, depth=RESULTS)
        slot = Signal(Slot)
        m.d.comb += [
            queue.w_data.eq(Cat(results, slot_in)),
            queue.w_en.eq(done),
            slot.eq(queue.r_data[row_bits:]),
        ]
        port, written = self.scratchpad_write, Signal()
        m.d.comb += [
            port.valid.eq(queue.r_rdy & ~stopped),
            port.row.eq(slot.destination),
            port.data.eq(queue.r_data[:row_bits]),
            port.mask.eq(~0),
            written.eq(port.valid & port.ready),
            queue.r_en.eq(written),
        ]
        m.d.sync += self.completed.valid.eq(written & slot.final)
        with m.If(written):
            m.d.sync += self.completed.signal.eq(slot.signal)
        return written
