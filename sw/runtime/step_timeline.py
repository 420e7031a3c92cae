"""A traced step as a timeline: every op on every device, every transfer between two.

Perfetto's format, or Chrome's JSON for a name that ends in `.json`: open it at ui.perfetto.dev
(nothing is uploaded). Times are microseconds of the host's clock from the start of the step.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TrackEvent
from perfetto.trace_builder.proto_builder import TraceProtoBuilder

from sw.graph.errors import InvalidArgumentError
from sw.runtime.trace import StepStats

_SEQUENCE = 1
_TRANSFERS = "transfers"


@dataclass(frozen=True)
class _Slice:
    track: str
    name: str
    begin: float
    end: float
    details: dict[str, str | int]


class Timeline:
    """The timeline of `RunMetadata.step_stats`; raises `InvalidArgumentError` for a run that was
    not traced."""

    def __init__(self, step_stats: StepStats) -> None:
        if not step_stats.nodes:
            raise InvalidArgumentError(
                "nothing was traced: run with "
                "options=st.RunOptions(trace_level=st.RunOptions.FULL_TRACE)"
            )
        self._stats = step_stats
        self._start = min(
            [n.start for n in step_stats.nodes] + [t.start for t in step_stats.transfers]
        )

    def _slices(self) -> Iterator[_Slice]:
        """Bars by begin; what overlaps on one device is on a second track of it."""
        free: dict[str, list[float]] = {}
        bars = [
            _Slice(n.device, n.name, n.start, n.end, {
                "op": n.type, "thread": n.thread, "bytes": n.bytes,
                "outputs": ", ".join(f"{o.dtype}{list(o.shape)}" for o in n.outputs),
                **({"note": n.note} if n.note else {}),
            })
            for n in self._stats.nodes
        ]  # fmt: skip
        bars += [
            _Slice(_TRANSFERS, t.key, t.start, t.end, {"bytes": t.bytes})
            for t in self._stats.transfers
        ]
        for bar in sorted(bars, key=lambda b: (b.begin, -b.end)):
            lanes = free.setdefault(bar.track, [])
            lane = next((i for i, end in enumerate(lanes) if end <= bar.begin), len(lanes))
            lanes[lane : lane + 1] = [bar.end]
            track = bar.track + (f" ({lane + 1})" if lane else "")
            yield _Slice(track, bar.name, bar.begin, bar.end, bar.details)

    def _micros(self, seconds: float) -> float:
        return (seconds - self._start) * 1e6

    def generate_chrome_trace_format(
        self, show_dataflow: bool = True, show_memory: bool = False
    ) -> str:
        """Chrome's JSON, as text."""
        tracks: dict[str, int] = {}
        events: list[dict[str, Any]] = []
        for bar in self._slices():
            number = tracks.setdefault(bar.track, len(tracks) + 1)
            events.append(
                {"ph": "X", "pid": 1, "tid": number, "name": bar.name, "args": bar.details,
                 "ts": self._micros(bar.begin), "dur": (bar.end - bar.begin) * 1e6}
            )  # fmt: skip
        for name, number in tracks.items():
            events.append(
                {"ph": "M", "pid": 1, "tid": number, "name": "thread_name", "args": {"name": name}}
            )
        return json.dumps({"traceEvents": events})

    def _perfetto(self) -> bytes:
        builder = TraceProtoBuilder()
        tracks: dict[str, int] = {}
        for bar in self._slices():
            if bar.track not in tracks:
                tracks[bar.track] = len(tracks) + 1
                made = builder.add_packet().track_descriptor
                made.uuid, made.name = tracks[bar.track], bar.track
            for seconds, kind in (
                (bar.begin, TrackEvent.TYPE_SLICE_BEGIN),
                (bar.end, TrackEvent.TYPE_SLICE_END),
            ):
                packet = builder.add_packet()
                packet.timestamp = round(self._micros(seconds) * 1000)
                packet.trusted_packet_sequence_id = _SEQUENCE
                event = packet.track_event
                event.type, event.track_uuid = kind, tracks[bar.track]
                if kind == TrackEvent.TYPE_SLICE_BEGIN:
                    event.name = bar.name
                    for key, value in bar.details.items():
                        note = event.debug_annotations.add()
                        note.name = key
                        if isinstance(value, int):
                            note.int_value = value
                        else:
                            note.string_value = value
        return bytes(builder.serialize())

    def write(self, path: str | Path) -> None:
        """Write a file: JSON if the name ends in `.json`, else Perfetto's format."""
        if str(path).endswith(".json"):
            Path(path).write_text(self.generate_chrome_trace_format())
        else:
            Path(path).write_bytes(self._perfetto())
