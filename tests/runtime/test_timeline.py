"""Timeline and plot: break if a viewer would show nothing, or the wrong names and times."""

import json

import numpy as np
import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace as PerfettoTrace
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TrackEvent

from hw.tpu.config import PRESETS
from hw.tpu.isa import Opcode, Queue, make
from hw.tpu.program import TpuProgram
from hw.tpu.trace import ArrayState
from sim.attribution import attribute
from sim.trace import Span, Trace
from sw.runtime import plots, timeline


@pytest.fixture
def run():
    """Two overlapping MATMULs of two operations: trace, program, attribution."""
    sizes = {"used_rows": 4, "used_columns": 4, "columns": 10}
    program = TpuProgram.link(
        PRESETS["tiny"],
        (
            make(Opcode.MATMUL, tag=0, **sizes),
            make(Opcode.MATMUL, tag=1, **sizes),
            make(Opcode.HALT),
        ),
        np.zeros(0, np.uint8), 0, inputs=(), outputs=(), tags={0: "scope/first", 1: "second"},
    )  # fmt: skip
    spans = (Span(Queue.MATMUL, 0, 4, 25), Span(Queue.MATMUL, 1, 14, 35))
    states = ((0, ArrayState.IDLE), (5, ArrayState.STREAMING), (25, ArrayState.IDLE))
    trace = Trace(spans, states, 40)
    return trace, program, attribute(trace, program)


def test_perfetto(run, tmp_path):
    timeline.write(tmp_path / "run.pftrace", *run)
    parsed = PerfettoTrace.FromString((tmp_path / "run.pftrace").read_bytes())
    tracks = {
        packet.track_descriptor.uuid: packet.track_descriptor.name
        for packet in parsed.packet
        if packet.HasField("track_descriptor")
    }
    assert {"array", "matmul queue", "matmul queue'", "utilisation"} <= set(tracks.values())
    assert len(tracks) == len(set(tracks.values()))
    open_slices, found = {}, []
    for packet in parsed.packet:
        event = packet.track_event
        if event.type == TrackEvent.TYPE_SLICE_BEGIN:
            assert event.track_uuid not in open_slices
            open_slices[event.track_uuid] = (tracks[event.track_uuid], event.name, packet.timestamp)
        elif event.type == TrackEvent.TYPE_SLICE_END:
            found.append((*open_slices.pop(event.track_uuid), packet.timestamp))
    assert not open_slices
    assert ("matmul queue", "scope/first", 4, 25) in found
    assert ("matmul queue'", "second", 14, 35) in found
    assert ("array", "scope/first", 5, 15) in found
    assert ("array", "second", 15, 25) in found


def test_json(run, tmp_path):
    timeline.write(tmp_path / "run.json", *run)
    events = json.loads((tmp_path / "run.json").read_text())["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    assert sum(event["dur"] for event in slices if event["tid"] == 1) == 40
    assert any("MATMUL" in event["args"].get("instruction", "") for event in slices)


def test_utilisation_adds_up(run):
    _, program, owners = run
    edges, active, useful = timeline.utilisation(owners, program.config.peak_macs_per_cycle, 7)
    assert np.sum(active * np.diff(edges)) == pytest.approx(20)
    assert np.sum(useful * np.diff(edges)) == pytest.approx(20 * 16 / 16)


def test_plot(run, tmp_path):
    _, program, owners = run
    plots.save(tmp_path / "run.png", program, owners, "title")
    assert (tmp_path / "run.png").stat().st_size > 10_000
    empty = attribute(Trace((), (), 1), program)
    plots.save(tmp_path / "empty.png", program, empty, "nothing ran")
