"""A run of a program as a timeline: Perfetto's format, or JSON for older viewers.

Open the file at ui.perfetto.dev (nothing is uploaded) or in chrome://tracing. One core cycle is
shown as one nanosecond (Perfetto) or one microsecond (JSON).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TracePacket, TrackEvent
from perfetto.trace_builder.proto_builder import TraceProtoBuilder

from hw.tpu.isa import Queue
from hw.tpu.program import TpuProgram
from sim.attribution import Attribution, Cause
from sim.trace import Trace

SEQUENCE = 1
"""Perfetto's id of the writer; one writer, one id."""
CORE_TRACK = 1
UTILISATION_BINS = 500


@dataclass(frozen=True)
class Slice:
    """One bar of the timeline, in cycles; `details` are shown when it is selected."""

    track: str
    name: str
    begin: int
    end: int
    details: dict[str, str | int]


def slices(trace: Trace, program: TpuProgram, owners: Attribution) -> Iterator[Slice]:
    """The array's states by graph operation, then each queue's instructions.

    Instructions of one queue may overlap by their pipeline's depth; the second of two is then on
    the queue's second lane, a track of the same name with a prime.
    """
    for begin, end, cause, tag in zip(
        owners.edges[:-1], owners.edges[1:], owners.cause, owners.tag, strict=True
    ):
        op = op_name(program, int(tag))
        state = Cause(int(cause)).text
        name = op if cause == Cause.STREAMING else f"{state} · {op}" if op else state
        yield Slice("array", name, int(begin), int(end), {"op": op, "state": state})
    for queue in Queue:
        instructions = [item for item in program.instructions if item.queue is queue]
        free = [0, 0]
        for span in (span for span in trace.spans if span.queue is queue):
            lane = 0 if free[0] <= span.begin else 1
            begin = max(span.begin, free[lane])
            free[lane] = max(begin, span.end)
            item = instructions[span.number]
            yield Slice(
                f"{queue.name.lower()} queue{chr(39) * lane}",
                op_name(program, item.tag) or item.opcode.name,
                begin,
                free[lane],
                {"instruction": str(item), "number": span.number, "tag": item.tag},
            )


def op_name(program: TpuProgram, tag: int) -> str:
    """The graph operation of a tag; empty for what belongs to none."""
    return program.tags.get(tag, f"tag {tag}" if tag > 0 else "")


def utilisation(owners: Attribution, peak: int, bins: int) -> tuple[Any, Any, Any]:
    """Edges of equal bins in cycles, and in each the array's active share and its useful share.

    The useful share counts multiply-accumulates that the model asked for, of `peak` per cycle.
    """
    total = int(owners.edges[-1])
    edges = np.unique(np.linspace(0, total, min(bins, max(1, total)) + 1).round().astype(np.int64))
    shares = []
    active = owners.lengths * (owners.cause == Cause.STREAMING)
    for amount in (active.astype(float), owners.macs / peak):
        running = np.interp(edges, owners.edges, owners.cumulative(amount))
        shares.append(np.diff(running) / np.diff(edges))
    return edges, shares[0], shares[1]


def write_perfetto(path: Path, trace: Trace, program: TpuProgram, owners: Attribution) -> None:
    """The timeline with a counter track of utilisation, in Perfetto's protobuf."""
    builder = TraceProtoBuilder()
    root = builder.add_packet().track_descriptor
    root.uuid, root.name = CORE_TRACK, f"TPU {program.config.name} (1 ns = 1 cycle)"
    tracks: dict[str, int] = {}

    def packet(cycle: int, track: int, kind: TrackEvent.Type) -> TracePacket:
        made = builder.add_packet()
        made.timestamp, made.trusted_packet_sequence_id = cycle, SEQUENCE
        made.track_event.type, made.track_event.track_uuid = kind, track
        return made

    def track(name: str) -> int:
        if name not in tracks:
            tracks[name] = CORE_TRACK + 1 + len(tracks)
            made = builder.add_packet().track_descriptor
            made.uuid, made.parent_uuid, made.name = tracks[name], CORE_TRACK, name
            made.sibling_order_rank = len(tracks)
        return tracks[name]

    counter = builder.add_packet().track_descriptor
    counter.uuid, counter.parent_uuid = CORE_TRACK + 1000, CORE_TRACK
    counter.name, counter.counter.unit_name = "utilisation", "%"
    edges, _, useful = utilisation(owners, program.config.peak_macs_per_cycle, UTILISATION_BINS)
    for cycle, share in zip(edges[:-1], useful, strict=True):
        made = packet(int(cycle), CORE_TRACK + 1000, TrackEvent.TYPE_COUNTER)
        made.track_event.double_counter_value = 100 * float(share)
    for item in slices(trace, program, owners):
        where = track(item.track)
        begin = packet(item.begin, where, TrackEvent.TYPE_SLICE_BEGIN).track_event
        begin.name = item.name
        for key, value in item.details.items():
            note = begin.debug_annotations.add()
            note.name = key
            if isinstance(value, int):
                note.int_value = value
            else:
                note.string_value = value
        packet(item.end, where, TrackEvent.TYPE_SLICE_END)
    path.write_bytes(builder.serialize())


def write_json(path: Path, trace: Trace, program: TpuProgram, owners: Attribution) -> None:
    """The same slices as Chrome trace events."""
    tracks: dict[str, int] = {}
    events: list[dict[str, Any]] = []
    for item in slices(trace, program, owners):
        number = tracks.setdefault(item.track, len(tracks) + 1)
        events.append(
            {"ph": "X", "pid": 1, "tid": number, "name": item.name, "ts": item.begin,
             "dur": item.end - item.begin, "args": item.details}
        )  # fmt: skip
    for name, number in tracks.items():
        events.append(
            {"ph": "M", "pid": 1, "tid": number, "name": "thread_name", "args": {"name": name}}
        )
    path.write_text(json.dumps({"traceEvents": events}))


def write(path: Path, trace: Trace, program: TpuProgram, owners: Attribution) -> None:
    """JSON if the name ends in `.json`, else Perfetto."""
    writer = write_json if path.suffix == ".json" else write_perfetto
    writer(path, trace, program, owners)
