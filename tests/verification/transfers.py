"""Random LOADs and STOREs: 2-D strides, lanes, fill, any alignment, at every edge."""

from __future__ import annotations

from dataclasses import dataclass

from hw.tpu.config import PARAMETER_SUBROWS
from hw.tpu.isa import ROW_SPAN, Instruction, Memory, Opcode
from tests.verification.operands import (
    ATTEMPTS,
    DoesNotFitError,
    Operands,
    Placed,
    defaults,
    relative,
    shifted,
    touch,
)

MOST_BYTES = 3000
"""Of one transfer."""
FAR = 1 << 40
"""More than any distance in DRAM."""


@dataclass(frozen=True)
class Layout:
    """Where in DRAM a program finds what: instructions, parameter entries, then free data."""

    pool: int
    data: int
    end: int


POOL_ENTRIES = 8
"""Parameter entries in DRAM that are fit for REQUANTISE."""


def transfer(draw: Operands, layout: Layout, opcode: Opcode, memory: Memory) -> Placed:
    """A LOAD or STORE between data and `memory`."""
    for attempt in range(ATTEMPTS):
        try:
            return _transfer(draw, layout, opcode, memory, timid=attempt > ATTEMPTS // 2)
        except DoesNotFitError:
            continue
    return _transfer(draw, layout, opcode, memory, timid=True, most=1)


def _transfer(
    draw: Operands, layout: Layout, opcode: Opcode, memory: Memory, timid: bool, most: int = 0
) -> Placed:
    rng, n = draw.rng, draw.config.array
    lane, row_bytes = _lanes(draw)
    lines, rows = draw.counts(2, most or max(1, min(12 * n, MOST_BYTES // row_bytes)))
    values = defaults(opcode) | {
        "tag": rng.getrandbits(16),
        "lines": lines,
        "rows": rows,
        "lane": lane,
        "row_bytes": row_bytes,
        "dram_row_stride": _dram_stride(draw, row_bytes),
        "dram_line_stride": _dram_stride(draw, row_bytes * rows),
        "fill": rng.randint(-128, 127),
        "fill_others": rng.getrandbits(1),
        "memory": int(memory),
    }
    counts = {"row_stride": rows, "line_stride": lines}
    values |= {name: 1 for name in counts} if timid else draw.strides(counts)
    found = touch(opcode, values)
    values["address"] = _address(draw, layout, opcode, found[0].rows)
    placed = [shifted(found[0], values["address"], FAR)]
    if memory == Memory.WEIGHTS:
        values |= draw.garbage(opcode, "base", "row_stride", "line_stride")
    else:
        config = draw.config
        size = {
            Memory.SCRATCHPAD: config.scratchpad_rows,
            Memory.PARAMETERS: config.parameter_subrows,
            Memory.LANES: config.lane_rows,
        }[memory]
        base = draw.base(relative(found[1], ROW_SPAN), size, "scratchpad")
        values["base"] = base
        placed.append(shifted(found[1], base, ROW_SPAN))
    return Placed(Instruction(opcode, values), placed)


def _lanes(draw: Operands) -> tuple[int, int]:
    """(first lane, bytes in a row): often the whole row."""
    n, rng = draw.config.array, draw.rng
    if rng.random() < 0.5:
        return 0, n
    lane = rng.randrange(n)
    return lane, rng.randint(1, n - lane)


def _dram_stride(draw: Operands, packed: int) -> int:
    rng, n = draw.rng, draw.config.array
    return rng.choice(
        (packed, packed, packed, n, 64, -packed, packed + rng.randint(1, 9), 0, 4096,
         rng.randint(-100, 100), rng.randint(-3000, 3000))
    )  # fmt: skip


def _address(draw: Operands, layout: Layout, opcode: Opcode, offsets) -> int:
    """A DRAM offset: anywhere, at a 4 KiB border, at the end, or where others go."""
    rng = draw.rng
    # a STORE must spare the instructions and the parameters that are to stay fit for use
    first = layout.data if opcode is Opcode.STORE else layout.pool
    low, high = first - int(offsets.min()), layout.end - 1 - int(offsets.max())
    if low > high:
        raise DoesNotFitError
    page = 4096 * rng.randrange(layout.data // 4096 + 1, layout.end // 4096)
    drawn = rng.choice(
        (
            rng.randint(low, high),
            page - rng.randint(0, 70),
            high - rng.randint(0, 3),
            layout.data + rng.randint(0, 300),
            layout.data + 8 * rng.randint(0, 100),
        )
    )
    return max(low, min(high, drawn))


def parameters(draw: Operands, layout: Layout) -> tuple[Placed, set[int]]:
    """A LOAD of whole entries fit for REQUANTISE, and which entries they become.

    Their sub-rows come in either order, entry by entry or sub-row by sub-row.
    """
    rng, config = draw.rng, draw.config
    n, size = config.array, PARAMETER_SUBROWS
    count = min(rng.choice((1, 1, 2, 3)), config.parameter_entries)
    source = rng.randrange(POOL_ENTRIES - count + 1)
    entry = rng.choice((0, config.parameter_entries - count))
    entry = rng.choice((entry, rng.randrange(config.parameter_entries - count + 1)))
    inner, outer = (size, 1), (count, size)
    if rng.random() < 0.3:
        inner, outer = outer, inner
    first = 0
    if rng.random() < 0.3:
        first, inner = (inner[0] - 1) * inner[1], (inner[0], -inner[1])
    values = defaults(Opcode.LOAD) | {
        "tag": rng.getrandbits(16),
        "memory": int(Memory.PARAMETERS),
        "row_bytes": n,
        "rows": inner[0],
        "lines": outer[0],
        "row_stride": inner[1] % ROW_SPAN,
        "line_stride": outer[1] % ROW_SPAN,
        "dram_row_stride": inner[1] * n,
        "dram_line_stride": outer[1] * n,
        "base": entry * size + first,
        "address": layout.pool + (source * size + first) * n,
        "fill_others": rng.getrandbits(1),
    }
    return Placed(Instruction(Opcode.LOAD, values), touch(Opcode.LOAD, values)), set(
        range(entry, entry + count)
    )
