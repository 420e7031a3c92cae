"""Mutants of MATMUL's address generator (`positions.walk`) and sequencer, against nested loops."""

from __future__ import annotations

import dataclasses

import numpy as np
from amaranth.hdl import Cat, Mux, Signal

from hw.tpu import isa
from hw.tpu.config import PRESETS
from hw.tpu.interfaces import POSITION_BITS, Fault
from hw.tpu.matmul import FEED_LATENCY, MatmulSequencer
from tests.verification.mutants.block import Block, Field

# sizes that are no power of two, so that every address bit matters to the range checks
CONFIG = dataclasses.replace(
    PRESETS["tiny"], array=2, scratchpad_rows=0xC0000, accumulator_rows=1 << 14
)
N = CONFIG.array
FIELDS = {name: item for name, item in isa.Matmul.fields.items() if name != "opcode"}
INPUTS = [
    *(Field(name, item.bits) for name, item in FIELDS.items()),
    Field("position", POSITION_BITS),
    Field("valid", 1),
    Field("tile_ready", 1),
    Field("data", 8 * N),
    Field("clear", 1),
]
SHORT, LONG, MIDDLE = 60000, 66000, 80000
"""Cycles of random instructions, of each instruction with a count of 16 bits, and of instructions
with one count of up to 255."""
CYCLES = SHORT + 4 * LONG + MIDDLE
COUNTS = ("channel_blocks", "kernel_rows", "kernel_columns", "batches", "rows", "columns")


def connect(m, unit, given):
    op = unit.commands.p.op
    m.d.comb += [
        *(op[name].eq(given[name]) for name in FIELDS),
        unit.commands.p.position.eq(given["position"]),
        unit.commands.valid.eq(given["valid"]),
        unit.tile_ready.eq(given["tile_ready"]),
        unit.scratchpad.data.eq(given["data"]),
        unit.scratchpad.ready.eq(1),
    ]
    feeding = unit.streaming
    for stage in range(FEED_LATENCY):
        later = Signal(name=f"feeding_{stage}")
        m.d.sync += later.eq(feeding & ~given["clear"])
        feeding = later
    landing, fault = unit.landing, unit.fault
    return {
        "started": unit.started,
        "streaming": unit.streaming,
        "starving": unit.starving,
        "reads": unit.scratchpad.valid,
        "address": Mux(unit.scratchpad.valid, unit.scratchpad.row, 0),
        "tile_take": unit.tile_take,
        "macs": unit.macs,
        "ready": unit.commands.ready,
        "feeds": feeding,
        "row": Mux(feeding, unit.row, 0),
        "switch": unit.switch,
        "lands": landing.valid,
        "target": Mux(landing.valid, Cat(landing.row, landing.overwrite, landing.last), 0),
        "completed": unit.completed.valid,
        "signal": Mux(unit.completed.valid, unit.completed.signal, 0),
        "fault": fault.valid,
        "cause": Mux(fault.valid, Cat(fault.code, fault.position, fault.tag, fault.detail), 0),
    }


def stimulus(rng):
    """A new instruction in every cycle (the unit looks at one only when it takes it)."""
    found = {}
    for name, item in FIELDS.items():
        low, high = item.range
        if name in COUNTS:
            value = rng.choice([1, 1, 2, 3, 4], CYCLES)
        elif name in ("height", "width"):
            value = rng.integers(1, 40, CYCLES)
        elif name in ("top", "left"):
            value = rng.integers(-12, 12, CYCLES)
        elif name in ("used_rows", "used_columns"):
            value = rng.integers(1, 4, CYCLES)
        elif name.startswith(("step", "dilation")):
            value = rng.integers(0, 6, CYCLES)
        elif name.endswith("stride"):
            value = rng.integers(-64, 64, CYCLES)
            wide = rng.random(CYCLES) < 0.2
            value = np.where(wide, rng.integers(0, high + 1, CYCLES), value)
        elif name in ("source", "accumulator"):
            value = rng.integers(0, int(high * 0.45), CYCLES)
        else:
            value = rng.integers(low, high + 1, CYCLES)
        # now and then anything, or a bound
        if name not in COUNTS and name not in ("source", "accumulator"):
            odd = rng.random(CYCLES)
            value = np.where(odd < 0.06, rng.integers(low, high + 1, CYCLES), value)
            value = np.where(odd > 0.97, rng.choice([low, high], CYCLES), value)
        found[name] = value.astype(np.int64)
    # one loop with a count of any size, the others short
    long = rng.random(CYCLES) < 0.15
    which = rng.integers(0, len(COUNTS), CYCLES)
    for number, name in enumerate(COUNTS):
        most = (1 << isa.Matmul.fields[name].bits) - 1
        count = np.minimum(1 << rng.integers(2, 11, CYCLES), most) - rng.integers(0, 3, CYCLES)
        found[name] = np.where(
            long, np.where(which == number, count, rng.integers(1, 3, CYCLES)), found[name]
        )
    rare = rng.random(CYCLES) < 0.02
    found["source"] = np.where(rare, rng.integers(0, 1 << 20, CYCLES), found["source"])
    rare = rng.random(CYCLES) < 0.02
    found["accumulator"] = np.where(rare, rng.integers(0, 1 << 16, CYCLES), found["accumulator"])
    found["position"] = rng.integers(0, 1 << POSITION_BITS, CYCLES)
    found["valid"] = (rng.random(CYCLES) < 0.8).astype(np.int64)
    found["tile_ready"] = (rng.random(CYCLES) < 0.7).astype(np.int64)
    found["data"] = rng.integers(0, 1 << 8 * N, CYCLES)
    found["clear"] = (rng.random(CYCLES) < 0.003).astype(np.int64)
    # a count of 16 bits to its end, in each loop that has one; coordinates to both of their ends
    for number, name in enumerate(("channel_blocks", "batches", "rows", "columns")):
        part = slice(SHORT + number * LONG, SHORT + (number + 1) * LONG)
        found["clear"][part] = 0
        found["clear"][part.start] = 1
        found["tile_ready"][part] = 1
        for each in COUNTS:
            found[each][part] = (1 << 16) - 1 if each == name else 1
        for each in FIELDS:
            if each.endswith("stride"):
                found[each][part] = 0
        for axis, start, size in (("y", "top", "height"), ("x", "left", "width")):
            found[f"step_{axis}"][part] = 255
            found[start][part] = 32767 if number % 2 else -32768
            found[size][part] = (1 << 16) - 1
        found["source"][part] = 1234
        found["accumulator"][part] = 321
    middling(found, rng)
    for name, item in FIELDS.items():
        found[name] &= (1 << item.bits) - 1
    return found


def middling(found, rng):
    """The last part: any count of eight bits in one loop, few in another, addresses in range,
    coordinates near the image's borders, so that every bit of a counter and a step is seen."""
    part = slice(CYCLES - MIDDLE, CYCLES)
    of_most, of_few = rng.integers(0, len(COUNTS), (2, MIDDLE))
    for number, name in enumerate(COUNTS):
        count = np.where(of_few == number, rng.integers(1, 5, MIDDLE), 1)
        found[name][part] = np.where(of_most == number, rng.integers(1, 256, MIDDLE), count)
    for name in FIELDS:
        if name.endswith("stride"):
            most = 8 if name.startswith("accumulator") else 256
            found[name][part] = rng.integers(-most, most, MIDDLE)
        elif name.startswith(("step", "dilation")):
            found[name][part] = rng.integers(0, 256, MIDDLE) >> rng.integers(0, 8, MIDDLE)
    for name in ("height", "width"):
        found[name][part] = rng.integers(1, 1 << rng.integers(2, 16, MIDDLE))
    for name in ("top", "left"):
        found[name][part] = rng.integers(-300, 300, MIDDLE)
    found["source"][part] = rng.integers(1 << 18, 1 << 19, MIDDLE)
    found["accumulator"][part] = rng.integers(4096, 12288, MIDDLE)
    found["clear"][part] = rng.random(MIDDLE) < 0.001
    found["clear"][part.start] = 1
    found["tile_ready"][part] = rng.random(MIDDLE) < 0.9


def signed(value: int, bits: int) -> int:
    return value - (value >> bits - 1 << bits)


def walk(op: dict[str, int]) -> dict[str, np.ndarray]:
    """Every row of a MATMUL, from its definition in `isa.Matmul`."""
    shape = [op[name] for name in COUNTS]
    c, ky, kx, b, y, x = (each.ravel() for each in np.indices(shape))
    top, left = signed(op["top"], 16), signed(op["left"], 16)
    image_y = top + y * op["step_y"] + ky * op["dilation_y"]
    image_x = left + x * op["step_x"] + kx * op["dilation_x"]
    loops = {"channel": c, "kernel_row": ky, "kernel_column": kx}
    outputs = {"batch": b, "row": y, "column": x}
    address = op["source"] + sum(n * op[f"{k}_stride"] for k, n in (loops | outputs).items())
    target = op["accumulator"] + sum(n * op[f"accumulator_{k}_stride"] for k, n in outputs.items())
    first = (c == 0) & (ky == 0) & (kx == 0)
    lanes = np.where(c == op["channel_blocks"] - 1, min(op["used_rows"], N), N)
    last = np.zeros(len(c), np.int64)
    last[-1] = 1
    return {
        "address": address % (1 << 20),
        "target": target % (1 << 16),
        "inside": (image_y >= 0)
        & (image_y < op["height"])
        & (image_x >= 0)
        & (image_x < op["width"]),
        "overwrite": (first & (not op["accumulate"])).astype(np.int64),
        "take": (b == 0) & (y == 0) & (x == 0) & ~(first & bool(op["keep"])),
        "macs": lanes * min(op["used_columns"], N),
        "last": last.astype(np.int64),
    }


def check(stimulus, response):
    starts = response["started"].nonzero()[0]
    steps = response["streaming"].nonzero()[0]
    faults = response["fault"].nonzero()[0]
    clears = np.append(stimulus["clear"].nonzero()[0], CYCLES)
    for begin, end in zip(np.append(-1, clears[:-1]), clears, strict=True):
        mine = starts[(starts > begin) & (starts <= end)]
        walks, has_tile = [], False
        for at in mine:
            op = {name: int(stimulus[name][at]) for name in FIELDS}
            found = walk(op)
            # a tile can be kept only once one was taken
            rootless = np.full(len(found["last"]), bool(op["keep"]) and not has_tile)
            walks.append(found | {"rootless": rootless})
            has_tile = True
        if not walks:
            continue
        expected = {k: np.concatenate([w[k] for w in walks]) for k in walks[0]}
        done = steps[(steps > begin) & (steps <= end)]
        count = len(done)
        bad = expected["inside"] & (expected["address"] >= CONFIG.scratchpad_rows)
        bad |= expected["target"] >= CONFIG.accumulator_total_rows
        bad |= expected["rootless"]
        first_bad = int(bad.argmax()) if bad.any() else len(bad)
        assert count <= first_bad, f"steps beyond a fault before cycle {end}"
        told = faults[(faults > begin) & (faults <= end)]
        assert len(told) <= 1 and (not len(told) or count == first_bad)
        if len(told):
            wide = expected["target"][first_bad] >= CONFIG.accumulator_total_rows
            code = Fault.ACCUMULATOR_RANGE if wide else Fault.SCRATCHPAD_RANGE
            if expected["rootless"][first_bad]:
                code = Fault.ILLEGAL_OPERAND
            cause = int(response["cause"][told[0]])
            assert cause & 15 == code.value, f"cause in cycle {told[0]}"
            if code is not Fault.ILLEGAL_OPERAND:
                detail = expected["target" if wide else "address"][first_bad]
                assert cause >> 44 == detail, f"detail in cycle {told[0]}"
        reads = response["reads"][done].astype(bool)
        assert (reads == expected["inside"][:count]).all(), f"padding before cycle {end}"
        address = response["address"][done][reads]
        assert (address == expected["address"][:count][reads]).all(), f"rows before cycle {end}"
        for name, key in (("tile_take", "take"), ("macs", "macs")):
            assert (response[name][done] == expected[key][:count]).all(), f"{name} before {end}"
        landed = response["lands"].nonzero()[0]
        landed = landed[(landed > begin) & (landed <= end)]
        want = expected["target"] | expected["overwrite"] << 16 | expected["last"] << 17
        assert (response["target"][landed] == want[: len(landed)]).all(), f"targets before {end}"


BLOCK = Block(
    "address generator",
    "MatmulSequencer with positions.walk",
    lambda: MatmulSequencer(CONFIG),
    INPUTS,
    connect,
    stimulus,
    check,
    count=400,
    response_bits=256,
)
