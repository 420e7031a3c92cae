"""The scratchpad over time: which tensor lies in which rows, from first write to last read.

Seen from the instructions alone, so that it shows what the core did and not what the compiler
meant. Of a large scratchpad only evenly spaced rows are followed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw.tpu.isa import ROW_SPAN, Instruction, Memory, Opcode, Queue
from sim.hazards import accesses
from sw.runtime.profiling.join import Joined

MOST_ROWS = 512
TIME_BINS = 700
EMPTY = -1


@dataclass(frozen=True, eq=False)
class MemoryMap:
    """`owner[r, t]`: the tag whose data sampled row `rows[r]` holds in bin `t` of `edges`
    (`EMPTY`: none that anyone reads later); tag k written by a load is `k + staged`: the input of
    layer k, brought from DRAM."""

    rows: NDArray[np.int64]
    edges: NDArray[np.float64]
    owner: NDArray[np.int32]
    staged: int

    def occupancy(self) -> NDArray[np.float64]:
        """Share of the rows that hold something, for each bin."""
        return np.asarray((self.owner != EMPTY).mean(axis=0), np.float64)


@dataclass(frozen=True)
class _Touch:
    moment: int
    tag: int
    reads: NDArray[np.int64]
    writes: NDArray[np.int64]


def memory_map(run: Joined, most_rows: int = MOST_ROWS, bins: int = TIME_BINS) -> MemoryMap:
    """Who lives where in the scratchpad, and when."""
    total = run.program.config.scratchpad_rows
    step = max(1, total // most_rows)
    rows = np.arange(0, total, step)
    staged = 1 + max(run.program.tags, default=0)
    owner = np.full((len(rows), bins), EMPTY, np.int32)
    length = max(1, run.trace.end)
    tag = np.full(len(rows), EMPTY, np.int32)
    since = np.zeros(len(rows), np.int64)
    last = np.zeros(len(rows), np.int64)

    def flush(which: NDArray[np.int64]) -> None:
        for row in which[tag[which] != EMPTY]:
            first = int(since[row] * bins // length)
            owner[row, first : int(last[row] * bins // length) + 1] = tag[row]

    for touch in _touches(run, step, staged):
        last[touch.reads] = np.maximum(last[touch.reads], touch.moment)
        written = touch.writes
        fresh = written[tag[written] != touch.tag]
        flush(fresh)
        tag[fresh], since[fresh] = touch.tag, touch.moment
        last[written] = np.maximum(last[written], touch.moment)
    flush(np.arange(len(rows)))
    return MemoryMap(rows, np.linspace(0, run.trace.end, bins + 1), owner, staged)


def _touches(run: Joined, step: int, staged: int) -> list[_Touch]:
    """What each instruction does to the sampled rows, in the order of time: its reads count when
    it ends, its writes when it begins."""
    by_queue = {
        queue: [item for item in run.program.instructions if item.queue is queue] for queue in Queue
    }
    found = []
    nothing = np.zeros(0, np.int64)
    for span in run.trace.spans:
        item = by_queue[span.queue][span.number]
        if item.opcode in (Opcode.LOAD, Opcode.STORE):
            if item.memory != Memory.SCRATCHPAD:
                continue
            rows = _transferred(item)
            load = item.opcode is Opcode.LOAD
            reads, writes = (nothing, rows) if load else (rows, nothing)
        else:
            load = False
            seen = [access for access in accesses(item) if access.memory == "scratchpad"]
            reads = _together([access.rows for access in seen if not access.writes])
            writes = _together([access.rows for access in seen if access.writes])
        reads, writes = (np.unique(r[r % step == 0] // step) for r in (reads, writes))
        if writes.size:
            found.append(_Touch(span.begin, item.tag + staged * load, nothing, writes))
        if reads.size:
            found.append(_Touch(span.end, item.tag, reads, nothing))
    return sorted(found, key=lambda touch: touch.moment)


def _transferred(item: Instruction) -> NDArray[np.int64]:
    lines = np.arange(item.lines, dtype=np.int64)[:, None] * item.line_stride
    rows = np.arange(item.rows, dtype=np.int64) * item.row_stride
    return (item.base + lines + rows).ravel() % ROW_SPAN


def _together(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
