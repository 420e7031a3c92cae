"""Mutants of the LOAD unit, from segments to rows, against the bytes of a DRAM."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib.fifo import SyncFIFO

from hw.tpu import isa
from hw.tpu.config import PRESETS
from hw.tpu.dma.load import LoadUnit
from hw.tpu.interfaces import POSITION_BITS, Fault
from tests.verification.mutants.block import Block, Field

CONFIG = dataclasses.replace(
    PRESETS["tiny"],
    array=4,
    scratchpad_rows=0xC0000,
    parameter_entries=200,
    lane_rows=2304,
    address_bits=40,
    burst_beats=4,
    outstanding_bursts=2,
)
N, BYTES = CONFIG.array, CONFIG.bus_bytes
FIELDS = {name: item for name, item in isa.Load.fields.items() if name != "opcode"}


def key_of(name: str) -> str:
    """The stimulus of a field of LOAD: its `base` is a row, the bench's that of the DRAM."""
    return "base_row" if name == "base" else name


INPUTS = [
    *(Field(key_of(name), item.bits) for name, item in FIELDS.items()),
    Field("position", POSITION_BITS),
    Field("valid", 1),
    Field("request_ready", 1),
    Field("answer", 1),
    Field("error", 1),
    Field("scratchpad_ready", 1),
    Field("weights_ready", 1),
    Field("stop", 1),
    Field("dram", 28),
    Field("size", 32),
    Field("clear", 1),
]
SHORT, LONG, LONGEST = (500, 1000), (12, 8000), (6, 40000)
"""Runs and cycles of each, from one reset to the next; base and size of the DRAM hold as long."""
ENDS = np.cumsum(np.repeat(*np.transpose([SHORT, LONG, LONGEST])[::-1]))
STARTS = np.concatenate([[0], ENDS[:-1]])
CYCLES = int(ENDS[-1])


def content(address):
    """The byte of DRAM at a bus address; works on numbers and on Amaranth values."""
    return address * 37 + (address >> 8) * 101 + (address >> 16) * 59 + (address >> 24) * 11


def connect(m: Module, unit, given):
    op = unit.commands.p.op
    # a memory that answers in order, at any pace
    width = len(unit.requests.payload.as_value())
    memory = SyncFIFO(width=width, depth=4)
    m.submodules.memory = ResetInserter(given["clear"])(memory)
    asked = unit.requests.payload.shape()(memory.r_data)
    beat = Signal(8)
    done, answer = Signal(), Signal()
    address = Signal(CONFIG.address_bits)
    taken = unit.requests.valid & unit.requests.ready
    m.d.comb += [
        unit.requests.ready.eq(given["request_ready"] & memory.w_rdy),
        memory.w_data.eq(unit.requests.payload.as_value()),
        memory.w_en.eq(taken),
        answer.eq(memory.r_rdy & given["answer"] & ~given["clear"]),
        done.eq(answer & (beat + 1 == asked.beats)),
        memory.r_en.eq(done),
        address.eq(asked.address + beat * BYTES),
        unit.response.valid.eq(answer),
        unit.response.last.eq(done),
        unit.response.error.eq(given["error"]),
        unit.response.data.eq(Cat(content(address + k)[:8] for k in range(BYTES))),
    ]
    with m.If(answer):
        m.d.sync += beat.eq(Mux(done, 0, beat + 1))
    with m.If(given["clear"]):
        m.d.sync += beat.eq(0)
    m.d.comb += [
        *(op[name].eq(given[key_of(name)]) for name in FIELDS),
        unit.commands.p.position.eq(given["position"]),
        unit.commands.valid.eq(given["valid"]),
        unit.scratchpad.ready.eq(given["scratchpad_ready"]),
        unit.weights.ready.eq(given["weights_ready"]),
        unit.stop.eq(given["stop"]),
        unit.dram_base.eq(given["dram"] << 12),
        unit.dram_size.eq(given["size"]),
    ]
    pad, fault = unit.scratchpad, unit.fault

    def written(data, mask):
        return Cat(Mux(mask[k], data.word_select(k, 8), 0) for k in range(N))

    def shown(port, row):
        return Mux(port.valid, Cat(row, port.mask, written(port.data, port.mask)), 0)

    return {
        "started": unit.started,
        "completed": unit.completed.valid,
        "signal": Mux(unit.completed.valid, unit.completed.signal, 0),
        "fault": fault.valid,
        "cause": Mux(fault.valid, Cat(fault.code, fault.position, fault.tag, fault.detail), 0),
        "quiet": unit.quiet,
        "request": Mux(unit.requests.valid, Cat(unit.requests.payload.as_value(), 1), 0),
        "pad_valid": pad.valid,
        "pad": shown(pad, pad.row),
        "weights_valid": unit.weights.valid,
        "weights": Mux(unit.weights.valid, unit.weights.payload, 0),
        "parameters_valid": unit.parameters.valid,
        "parameters": shown(unit.parameters, unit.parameters.subrow),
        "lanes_valid": unit.lanes.valid,
        "lanes": shown(unit.lanes, unit.lanes.row),
    }


def stimulus(rng):
    """A new LOAD in every cycle (the unit looks at one only when it takes it)."""

    def sometimes(share, other, value):
        return np.where(rng.random(CYCLES) < share, other, value)

    found = {}
    for name, item in FIELDS.items():
        low, high = item.range
        found[name] = rng.integers(low, high + 1, CYCLES)
    run = np.repeat(np.arange(len(ENDS)), ENDS - STARTS)
    runs, left = len(ENDS), ENDS[run] - np.arange(CYCLES)
    long = run >= SHORT[0]

    def pick(values):
        return np.asarray(values)[run]

    size = pick(np.where(rng.random(runs) < 0.3, 0xFFFFFFFF, rng.integers(1 << 16, 1 << 30, runs)))
    lane = rng.integers(0, N, CYCLES)
    row_bytes = sometimes(0.5, N - lane, rng.integers(1, N - lane + 1))
    found["lane"] = lane
    illegal = np.where(rng.random(CYCLES) < 0.5, N - lane, 0) + (1 << rng.integers(3, 9, CYCLES))
    illegal = sometimes(0.5, rng.integers(1, 512, CYCLES), illegal)
    found["row_bytes"] = np.where(~long & (rng.random(CYCLES) < 0.01), illegal, row_bytes)
    found["rows"] = sometimes(0.15, rng.integers(1, 40, CYCLES), rng.integers(1, 7, CYCLES))
    found["rows"] = sometimes(0.01, 1 << rng.integers(5, 11, CYCLES), found["rows"])
    found["lines"] = sometimes(0.4, rng.integers(1, 5, CYCLES), 1)
    found["lines"] = sometimes(0.01, 1 << rng.integers(3, 9, CYCLES), found["lines"])
    # counts that only a long run can end, one at a time
    many = 1 << rng.integers(6, 12, CYCLES)
    many += rng.integers(0, many)
    longest = run >= SHORT[0] + LONG[0]
    many = np.where(longest, 0x8000 + rng.integers(0, 4000, CYCLES), many)
    which = np.where(longest, run % 2, rng.random(CYCLES) < 0.5)
    found["rows"] = np.where(long, np.where(which, many, 1), found["rows"])
    found["lines"] = np.where(long, np.where(which, 1, many), found["lines"])
    small = rng.integers(-64, 64, CYCLES)
    bits = isa.Load.fields["dram_row_stride"].bits
    stride = sometimes(
        0.6, found["row_bytes"], sometimes(0.3, rng.integers(-5000, 5000, CYCLES), small)
    )
    stride = np.where(long, rng.integers(0, 9, CYCLES), stride)
    found["dram_row_stride"] = stride & ((1 << bits) - 1)
    bits = isa.Load.fields["dram_line_stride"].bits
    stride = sometimes(
        0.5, rng.integers(-1 << 20, 1 << 20, CYCLES), rng.integers(-200, 200, CYCLES)
    )
    stride = np.where(long, rng.integers(0, 600, CYCLES), stride)
    found["dram_line_stride"] = stride & ((1 << bits) - 1)
    address = (rng.random(CYCLES) * (size - 4000)).astype(np.int64) + 1500
    near = rng.integers(-300, 40, CYCLES) + sometimes(
        0.5, size, 0x1000 * rng.integers(1, 10, CYCLES)
    )
    near = np.where(long, rng.integers(0, 1 << 13, CYCLES), near)
    found["address"] = np.where(long | (rng.random(CYCLES) < 0.08), near, address) & 0xFFFFFFFF
    limit = np.choose(
        found["memory"],
        [CONFIG.scratchpad_rows, 1 << 20, CONFIG.parameter_subrows, CONFIG.lane_rows],
    )
    base = (rng.random(CYCLES) * np.maximum(limit - 200, 1)).astype(np.int64) + 60
    rows = sometimes(0.2, rng.integers(-9, 9, CYCLES), 1)
    for name in ("row_stride", "line_stride"):
        found[name] = np.where(long, 0, rows) & 0xFFFFF
    del found["base"]
    found["base_row"] = (
        np.where(~long & (rng.random(CYCLES) < 0.01), limit - rng.integers(0, 3, CYCLES), base)
        & 0xFFFFF
    )
    found["position"] = rng.integers(0, 1 << POSITION_BITS, CYCLES)
    pace = np.where(long, 1.0, pick(rng.choice([0.2, 0.6, 1.0], runs)))
    for name, share in (("valid", 0.5), ("request_ready", 0.7), ("scratchpad_ready", 0.8)):
        found[name] = (rng.random(CYCLES) < share).astype(np.int64)
    found["answer"] = (rng.random(CYCLES) < pace).astype(np.int64)
    found["weights_ready"] = (rng.random(CYCLES) < pace).astype(np.int64)
    failing = pick(np.where(rng.random(runs) < 0.3, rng.choice([0.001, 0.02], runs), 0))
    found["error"] = (~long & (rng.random(CYCLES) < failing)).astype(np.int64)
    stopping = pick(rng.random(runs) < 0.3)
    found["stop"] = (stopping & ~long & (left < 60)).astype(np.int64)
    # the first run follows the reset of the whole core
    found["valid"][STARTS] = 0
    found["clear"] = np.isin(np.arange(CYCLES), STARTS[1:]).astype(np.int64)
    found["dram"] = pick(rng.integers(0, 1 << 28, runs))
    found["size"] = size
    for name, item in FIELDS.items():
        found[key_of(name)] &= (1 << item.bits) - 1
    return found


def rows(op: dict[str, int], base: int) -> Iterator[tuple[int, int, bytes]]:
    """(row on chip, offset in DRAM, bytes) of each row of a LOAD, from `isa.Load`."""
    widths = {name: isa.Load.fields[name].bits for name in op if name.startswith("dram_")}
    row_stride, line_stride = (
        op[name] - (op[name] >> widths[name] - 1 << widths[name])
        for name in ("dram_row_stride", "dram_line_stride")
    )
    for line in range(op["lines"]):
        for row in range(op["rows"]):
            offset = op["address"] + line * line_stride + row * row_stride
            place = op["base"] + line * op["line_stride"] + row * op["row_stride"]
            found = bytes(content(base + offset + k) & 255 for k in range(op["row_bytes"]))
            yield place % (1 << 20), offset, found


def check(stimulus, response):
    starts = response["started"].nonzero()[0]
    ports = ("pad", "weights", "parameters", "lanes")
    accepted = {
        "pad": stimulus["scratchpad_ready"] == 1,
        "weights": stimulus["weights_ready"] == 1,
        "parameters": np.ones(CYCLES, bool),
        "lanes": np.ones(CYCLES, bool),
    }
    memory_of = {"pad": 0, "weights": 1, "parameters": 2, "lanes": 3}
    events = sorted(
        (int(at), port)
        for port in ports
        for at in ((response[f"{port}_valid"] == 1) & accepted[port]).nonzero()[0]
    )
    faults = response["fault"].nonzero()[0]
    for begin, end in zip(STARTS, ENDS, strict=True):
        base = int(stimulus["dram"][begin + 1]) << 12
        size = int(stimulus["size"][begin + 1])
        expected, cause, least = [], None, 0
        for at in starts[(starts > begin) & (starts <= end)]:
            op = {name: int(stimulus[key_of(name)][at]) for name in FIELDS}
            position = int(stimulus["position"][at])
            if op["lane"] + op["row_bytes"] > N:
                cause = (Fault.ILLEGAL_OPERAND, position, op["lane"] + op["row_bytes"])
                break
            every = list(rows(op, base))
            outside = [n for n, (_, o, b) in enumerate(every) if o < 0 or o + len(b) > size]
            if outside:
                # rows ahead of the first outside may be written, or not
                cause = (Fault.DRAM_RANGE, position, every[outside[0]][1] % (1 << 32))
                every = every[: outside[0]]
            most = (CONFIG.scratchpad_rows, 1 << 20, CONFIG.parameter_subrows, CONFIG.lane_rows)
            for place, _, found in every:
                if op["memory"] != 1 and place >= most[op["memory"]]:
                    code = Fault.PARAMETER_RANGE if op["memory"] else Fault.SCRATCHPAD_RANGE
                    cause = (code, position, place)
                    break
                lanes = [op["fill"]] * N
                lanes[op["lane"] : op["lane"] + len(found)] = found
                mask = ((1 << len(found)) - 1) << op["lane"]
                if op["fill_others"]:
                    mask = (1 << N) - 1
                expected.append((op["memory"], place, mask, lanes))
            if cause:
                break
            least = len(expected)
        mine = [(at, port) for at, port in events if begin < at <= end]
        assert len(mine) <= len(expected), f"rows too many before cycle {end}"
        for (at, port), (memory, place, mask, lanes) in zip(mine, expected, strict=False):
            assert memory_of[port] == memory, f"row to {port} in cycle {at}"
            if port == "weights":
                word = sum(b << 8 * k for k, b in enumerate(lanes))
                assert response["weights"][at] == word, (
                    f"weights in cycle {at}: {response['weights'][at]:#x}, right: {word:#x}"
                )
                continue
            bits = {"pad": 20, "parameters": 11, "lanes": 12}[port]
            shown = [b if mask >> k & 1 else 0 for k, b in enumerate(lanes)]
            word = sum(b << 8 * k for k, b in enumerate(shown))
            right = place | mask << bits | word << bits + N
            assert response[port][at] == right, (
                f"row in cycle {at}: {response[port][at]:#x}, right: {right:#x}"
            )
        told = faults[(faults > begin) & (faults <= end)]
        assert len(told) <= 1, f"faults before cycle {end}"
        if len(told):
            word = int(response["cause"][told[0]])
            if word & 15 == Fault.READ_BUS.value:
                continue
            assert cause, f"fault without a reason in cycle {told[0]}"
            got = (word & 15, word >> 4 & 0xFFFFFF, word >> 44)
            assert got == (cause[0].value, cause[1], cause[2]), f"cause in cycle {told[0]}"
            assert len(mine) >= least, f"fault too early in cycle {told[0]}"


BLOCK = Block(
    "DMA",
    "LoadUnit with segments, bursts, read queue, unpacker and row walker",
    lambda: LoadUnit(CONFIG),
    INPUTS,
    connect,
    stimulus,
    check,
    count=400,
    response_bits=512,
)
