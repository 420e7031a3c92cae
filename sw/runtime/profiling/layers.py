"""The profile as data: each layer with its cycles, what bounds it, and what was lost to what."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hw.tpu.isa import Instruction, Memory, Opcode, Queue
from sim.attribution import NO_TAG, Cause
from sw.runtime.profiling.join import Joined

BOUNDS = ("compute", "memory", "weights", "vector")
LOSSES = {
    Cause.WEIGHTS: "weights",
    Cause.LOAD: "load",
    Cause.VECTOR: "vector",
    Cause.STORE: "store",
    Cause.OTHER: "other",
}
"""Why the array stood still, by the name in the table; "partial" is what it did in vain."""


@dataclass(frozen=True)
class LayerProfile:
    """One layer. `cycles` add up to the run's over all layers and "everything else".

    `needs` are the cycles that each resource is busy for this layer, whatever the others do:
    "compute" (rows entering the array), "memory" (activations over the bus, whose reads and
    writes do not hinder each other), "weights" (weights and parameters over the bus), "vector"
    (the vector unit). `bound` is the greatest of them, the two on the bus counting together.
    `lost` are the cycles in which the array was not active, by what it waited for, and "partial":
    active cycles' worth of unused array.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    macs: int
    cycles: int
    peak_share: float
    bound: str
    needs: dict[str, float]
    lost: dict[str, float]
    dram_bytes: int


def layer_profiles(run: Joined, bytes_per_cycle: float) -> list[LayerProfile]:
    """The layers in program order, then "everything else" if cycles belong to nobody."""
    peak = run.program.config.peak_macs_per_cycle
    causes, useful = run.owners.by_tag(), run.owners.macs_by_tag()
    traffic, vector = _traffic(run), _vector_cycles(run)
    found = []
    for tag, facts in enumerate(run.layers):
        mine = causes.get(tag, {})
        active, cycles = mine.get(Cause.STREAMING, 0), sum(mine.values())
        weights, read, written = (traffic.get((tag, way), 0) for way in ("weights", "in", "out"))
        needs = {
            "compute": float(active),
            "memory": max(read, written) / bytes_per_cycle,
            "weights": weights / bytes_per_cycle,
            "vector": float(vector.get(tag, 0)),
        }
        lost = {LOSSES[cause]: float(n) for cause, n in mine.items() if cause in LOSSES and n}
        partial = active - useful.get(tag, 0.0) / peak
        if partial > 0.5:
            lost["partial"] = partial
        found.append(
            LayerProfile(
                facts.name,
                facts.op,
                facts.shape,
                facts.macs,
                cycles,
                facts.macs / (peak * cycles) if cycles else 0.0,
                _bound(needs),
                needs,
                lost,
                weights + read + written,
            )
        )
    rest = causes.get(NO_TAG, {})
    if sum(rest.values()):
        lost = {LOSSES[cause]: float(n) for cause, n in rest.items() if cause in LOSSES and n}
        nothing = dict.fromkeys(BOUNDS, 0.0)
        found.append(
            LayerProfile(
                "everything else", "", (), 0, sum(rest.values()), 0.0, "", nothing, lost, 0
            )
        )
    return found


def _bound(needs: dict[str, float]) -> str:
    bus = "memory" if needs["memory"] > needs["weights"] else "weights"
    times = {
        "compute": needs["compute"],
        bus: needs["memory"] + needs["weights"],
        "vector": needs["vector"],
    }
    greatest = max(times, key=lambda name: times[name])
    return greatest if times[greatest] else ""


def _traffic(run: Joined) -> dict[tuple[int, str], int]:
    """Bytes over the bus by tag: "weights" (and parameters), activations "in" and "out"."""
    total: dict[tuple[int, str], int] = {}
    for item in run.program.instructions:
        if item.opcode in (Opcode.LOAD, Opcode.STORE):
            way = "out" if item.opcode is Opcode.STORE else "in"
            key = (item.tag, way if item.memory == Memory.SCRATCHPAD else "weights")
            total[key] = total.get(key, 0) + bytes_moved(item, run.program.config.bus_bytes)
    return total


def bytes_moved(item: Instruction, bus_bytes: int) -> int:
    """What a LOAD or STORE moves over the bus: whole words for every row, needed or not."""
    lines = np.arange(item.lines, dtype=np.int64)[:, None] * item.dram_line_stride
    begins = item.address + lines + np.arange(item.rows, dtype=np.int64) * item.dram_row_stride
    words = -(-(begins % bus_bytes + item.row_bytes) // bus_bytes)
    return int(words.sum()) * bus_bytes


def _vector_cycles(run: Joined) -> dict[int, int]:
    """Cycles in which the vector unit was at work, by tag."""
    instructions = [item for item in run.program.instructions if item.queue is Queue.VECTOR]
    total: dict[int, int] = {}
    free = 0
    for span in run.trace.spans:
        if span.queue is Queue.VECTOR:
            tag = instructions[span.number].tag
            total[tag] = total.get(tag, 0) + max(0, span.end - max(span.begin, free))
            free = max(free, span.end)
    return total


def to_dict(layer: LayerProfile) -> dict[str, Any]:
    """As data for JSON."""
    return {**asdict(layer), "shape": list(layer.shape)}
