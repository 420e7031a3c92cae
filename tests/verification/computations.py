"""Random MATMULs and VECTORs: all nested counters, padding, dilation, windows, conversions."""

from __future__ import annotations

from math import prod

from hw.tpu.isa import ROW_SPAN, Convert, Instruction, Opcode, Reduce, Source
from tests.verification.operands import (
    ATTEMPTS,
    MOST_WORK,
    DoesNotFitError,
    Operands,
    Placed,
    defaults,
    overlap,
    relative,
    shifted,
    touch,
)

ACCUMULATOR_SPAN = 1 << 16


def _image(draw: Operands, rows: int, columns: int, taps: tuple[int, int]) -> dict[str, int]:
    """Bounds and steps: all inside, some outside, or nothing but padding."""
    rng = draw.rng
    image = {"step_y": rng.choice((1, 1, 2, 3, 0)), "step_x": rng.choice((1, 1, 2, 3, 0))}
    for name, start, count, tap in (("height", "top", rows, 0), ("width", "left", columns, 1)):
        step = image["step_x" if tap else "step_y"]
        reach = count * step + taps[tap] + 1
        kind = rng.random()
        if kind < 0.45:
            image |= {name: reach + rng.randint(0, 9), start: 0}
        elif kind < 0.95:
            image |= {name: rng.randint(1, reach), start: rng.randint(-taps[tap] - 1, 2)}
        else:
            image |= {name: rng.randint(1, 9), start: rng.choice((-32768, 32767))}
    return image


def matmul(draw: Operands, most_passes: int, keep: bool) -> Placed:
    """A MATMUL of at most `most_passes` passes; it may `keep` the tile if there is one."""
    for attempt in range(ATTEMPTS):
        try:
            return _matmul(draw, most_passes, keep, timid=attempt > ATTEMPTS // 2)
        except DoesNotFitError:
            continue
    return _matmul(draw, most_passes, keep, timid=True, most=2)


def _matmul(draw: Operands, most_passes: int, keep: bool, timid: bool, most: int = 0) -> Placed:
    rng, config = draw.rng, draw.config
    passes = dict(
        zip(
            ("channel_blocks", "kernel_rows", "kernel_columns"),
            draw.counts(3, rng.randint(1, most_passes)),
            strict=True,
        )
    )
    room = most or min(3 * config.accumulator_rows // 2, MOST_WORK // prod(passes.values()))
    counts = dict(zip(("batches", "rows", "columns"), draw.counts(3, room), strict=True))
    values = defaults(Opcode.MATMUL) | passes | counts
    dilation = {"dilation_y": rng.choice((1, 1, 2, 0)), "dilation_x": rng.choice((1, 1, 2, 0))}
    taps = (
        values["kernel_rows"] * dilation["dilation_y"],
        values["kernel_columns"] * dilation["dilation_x"],
    )
    values |= dilation | _image(draw, values["rows"], values["columns"], taps)
    loops = {
        "batch_stride": values["batches"],
        "row_stride": values["rows"],
        "column_stride": values["columns"],
        "channel_stride": values["channel_blocks"],
        "kernel_row_stride": values["kernel_rows"],
        "kernel_column_stride": values["kernel_columns"],
    }
    targets = {
        "accumulator_batch_stride": values["batches"],
        "accumulator_row_stride": values["rows"],
        "accumulator_column_stride": values["columns"],
    }
    if timid:
        values |= {name: 1 for name in (*loops, *targets)}
    else:
        values |= draw.strides(loops) | _targets(draw, values, targets)
    values |= {
        "tag": rng.getrandbits(16),
        "used_rows": rng.choice((config.array, rng.randint(1, config.array), 511)),
        "used_columns": rng.choice((config.array, rng.randint(1, config.array), 511)),
        "pad": rng.randint(-128, 127),
        "accumulate": int(rng.random() < 0.4),
        "keep": int(keep and rng.random() < 0.3),
    }
    read, written = touch(Opcode.MATMUL, values)
    values["source"] = draw.base(relative(read, ROW_SPAN), config.scratchpad_rows, "scratchpad")
    values["accumulator"] = draw.base(
        relative(written, ACCUMULATOR_SPAN), config.accumulator_total_rows, "accumulators"
    )
    return Placed(
        Instruction(Opcode.MATMUL, values),
        [
            shifted(read, values["source"], ROW_SPAN),
            shifted(written, values["accumulator"], ACCUMULATOR_SPAN),
        ],
    )


def _targets(draw: Operands, values: dict[str, int], targets: dict[str, int]) -> dict[str, int]:
    """Accumulator strides: packed as a compiler would, or anything, equal rows included."""
    if draw.rng.random() < 0.4:
        return {
            "accumulator_batch_stride": values["rows"] * values["columns"],
            "accumulator_row_stride": values["columns"],
            "accumulator_column_stride": 1,
        }
    return draw.strides(targets, bits=16)


def vector(draw: Operands, entries: set[int]) -> Placed:
    """A VECTOR; REQUANTISE only with one of `entries`."""
    for attempt in range(ATTEMPTS):
        try:
            return _vector(draw, entries, timid=attempt > ATTEMPTS // 2)
        except DoesNotFitError:
            continue
    return _vector(draw, entries, timid=True, most=2)


def _vector(draw: Operands, entries: set[int], timid: bool, most: int = 0) -> Placed:
    rng, config = draw.rng, draw.config
    source = Source.ACCUMULATORS if timid else rng.choice(list(Source))
    convert, sums = Convert.NONE, None
    if source is Source.ACCUMULATORS:
        convert = Convert.REQUANTISE if entries and rng.random() < 0.6 else Convert.BYTE
    elif entries and rng.random() < 0.5:
        convert, sums = Convert.REQUANTISE, rng.choice((Reduce.SUM, Reduce.MULTIPLY_ACCUMULATE))
    window = [1, 1] if rng.random() < 0.5 else draw.counts(2, 9)
    room = most or min(2 * config.accumulator_rows, MOST_WORK // prod(window))
    rows, columns = draw.counts(2, room)
    windowed = window != [1, 1]
    low = rng.choice((-128, -128, 0, rng.randint(-128, 127)))
    values = defaults(Opcode.VECTOR) | _image(draw, rows, columns, (window[0], window[1]))
    values |= {
        "tag": rng.getrandbits(16),
        "source": int(source),
        "convert": int(convert),
        "reduce": int(sums or (Reduce.MAX if windowed or rng.random() < 0.2 else Reduce.NONE)),
        "byte": rng.randrange(4) if convert is Convert.BYTE else 0,
        "rows": rows,
        "columns": columns,
        "window_rows": window[0],
        "window_columns": window[1],
        "zero_point": rng.randint(-128, 127),
        "low": low,
        "high": rng.choice((127, 127, rng.randint(low, 127))),
    }
    loops = {
        "row_stride": rows,
        "column_stride": columns,
        "window_row_stride": window[0],
        "window_column_stride": window[1],
        "destination_row_stride": rows,
        "destination_column_stride": columns,
    }
    values |= {name: 1 for name in loops} if timid else draw.strides(loops)
    if convert is Convert.REQUANTISE:
        values["parameters"] = rng.choice(sorted(entries))
    else:
        values |= draw.garbage(Opcode.VECTOR, "parameters")
    if sums:
        values["pad"] = rng.randint(-128, 127)
        values["weights"] = rng.randint(0, config.lane_rows - window[0] * window[1])
    else:
        values |= draw.garbage(Opcode.VECTOR, "pad", "weights")
    values |= _last_steps(draw, rows, columns, timid)
    found = touch(Opcode.VECTOR, values)
    memory = found[0].memory
    size = config.scratchpad_rows if memory == "scratchpad" else config.accumulator_total_rows
    values["base"] = draw.base(relative(found[0], ROW_SPAN), size, memory)
    for name, access in (("destination", found[1]), ("second", found[-1])):
        if name == "destination" or values["add"]:
            rows_ = relative(access, ROW_SPAN)
            values[name] = draw.base(rows_, config.scratchpad_rows, "scratchpad")
    found = touch(Opcode.VECTOR, values)
    # rows that an instruction both reads and writes have no defined order
    for access in (found[0], found[-1] if values["add"] else found[0]):
        if access.memory == "scratchpad" and overlap(
            access.rows, found[1].rows, config.scratchpad_rows
        ):
            raise DoesNotFitError
    return Placed(Instruction(Opcode.VECTOR, values), found)


def _last_steps(draw: Operands, rows: int, columns: int, timid: bool) -> dict[str, int]:
    """A residual add, with constants that may be anything, and a table; mostly neither."""
    rng, config = draw.rng, draw.config
    values = {"add": int(not timid and rng.random() < 0.25), "table": int(rng.random() < 0.2)}
    if values["add"]:
        values |= draw.strides({"second_row_stride": rows, "second_column_stride": columns})
        values["second_parameters"] = rng.randrange(config.parameter_entries)
        values["swap"] = rng.getrandbits(1)
    else:
        names = ("second", "second_row_stride", "second_column_stride", "second_parameters", "swap")
        values |= draw.garbage(Opcode.VECTOR, *names)
    if values["table"]:
        values["table_number"] = rng.randrange(config.lane_rows // 256)
    else:
        values |= draw.garbage(Opcode.VECTOR, "table_number")
    return values
