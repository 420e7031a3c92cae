"""Traced runs, their timelines, and runs that take too long."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

import systolica as st

FULL = st.RunOptions(trace_level=st.RunOptions.FULL_TRACE)


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


def traced() -> st.RunMetadata:
    """A step on two devices."""
    x = st.placeholder(st.float32, [2, 64])
    with st.device("/tpu:0"):
        y = st.matmul(x, st.constant(np.ones([64, 8], np.float32)), name="y")
    z = st.while_loop(lambda a: st.reduce_sum(a) < 1e4, lambda a: a * 2, [y], name="loop")
    metadata = st.RunMetadata()
    with st.Session() as session:
        plain = session.run(z, {x: np.ones([2, 64])})
        np.testing.assert_array_equal(session.run(z, {x: np.ones([2, 64])}, FULL, metadata), plain)
    return metadata


def test_every_op_and_every_transfer() -> None:
    """Names, devices, shapes, bytes; one transfer to and fro; times in order."""
    stats = traced().step_stats
    by_name = {node.name: node for node in stats.nodes}
    loop = next(node for node in stats.nodes if node.type == "while")
    assert by_name["y"].device.endswith("tpu:0") and by_name["y"].outputs[0].shape == (2, 8)
    assert loop.bytes == 64
    assert all(node.start <= node.end for node in stats.nodes)
    assert len(stats.devices) == 2 and [t.bytes for t in stats.transfers] == [64]
    crossing = stats.transfers[0]
    assert by_name["y"].end <= crossing.start <= crossing.end <= loop.start


def test_ops_in_bodies_are_traced() -> None:
    """Each turn's, within the loop's own time; on other devices, with their transfers, too."""
    x = st.placeholder(st.float32, [])

    def turn(i: Any, v: Any) -> Any:
        with st.device("/cpu:1"):
            v = st.exp(v, name="far")
        return i + 1, st.cond(v > 0.0, lambda: st.sin(v, name="near"), lambda: v)

    y = st.while_loop(lambda i, v: i < 3, turn, [0, x], name="loop")[1]
    metadata = st.RunMetadata()
    with st.Session(config=st.SessionConfig(device_count={"CPU": 2})) as session:
        plain = session.run(y, {x: 0.5})
        assert session.run(y, {x: 0.5}, FULL, metadata) == plain
    stats = metadata.step_stats
    (loop,) = (node for node in stats.nodes if node.type == "while")
    inner = {kind: [n for n in stats.nodes if n.type == kind] for kind in ("exp", "cond", "sin")}
    assert {kind: len(nodes) for kind, nodes in inner.items()} == {"exp": 3, "cond": 3, "sin": 3}
    for nodes in inner.values():
        assert all(loop.start <= n.start <= n.end <= loop.end for n in nodes)
    assert {n.device[-5:] for n in inner["exp"]} == {"cpu:1"}
    assert {n.device[-5:] for n in inner["sin"]} == {"cpu:0"}
    assert len(stats.transfers) == 3  # back in every turn; what a body is given is a feed


def test_timeline(tmp_path: Path) -> None:
    """Both formats hold the same slices, on a track per device, one after the other."""
    stats = traced().step_stats
    st.Timeline(stats).write(tmp_path / "step.pftrace")
    st.Timeline(stats).write(tmp_path / "step.json")
    events = json.loads((tmp_path / "step.json").read_text())["traceEvents"]
    bars = [e for e in events if e["ph"] == "X"]
    tracks = {e["args"]["name"] for e in events if e["ph"] == "M"}
    cpu = next(name for name in stats.devices if "cpu" in name)
    assert tracks == {*stats.devices, "transfers", f"{cpu} (2)"}, "the loop's ops beside the loop"
    assert len(bars) == len(stats.nodes) + len(stats.transfers)
    assert min(b["ts"] for b in bars) == 0
    trace = Trace.FromString((tmp_path / "step.pftrace").read_bytes())
    packets = [p.track_event for p in trace.packet if p.HasField("track_event")]
    names = [e.name for e in packets if e.type == TrackEvent.TYPE_SLICE_BEGIN]
    assert sorted(names) == sorted(b["name"] for b in bars)
    with pytest.raises(st.errors.InvalidArgumentError, match="nothing was traced"):
        st.Timeline(st.RunMetadata().step_stats)


def test_errors_of_traced_runs_name_their_op() -> None:
    """As those of plain runs do."""
    x = st.placeholder(st.float32, [None])
    y = st.check_numerics(x + 1, "bad", name="looked_at")
    with st.Session() as session:
        with pytest.raises(st.errors.InvalidArgumentError, match="looked_at"):
            session.run(y, {x: [np.nan]}, FULL, st.RunMetadata())


def test_waiting_ends_at_the_deadline() -> None:
    """Empty and full queues, on one device or several, by run or by session; the queue is named and
    stays usable."""
    queue = st.FIFOQueue(1, st.float32, [[]], name="jobs")
    put, take = queue.enqueue(1.0), queue.dequeue()
    soon = st.RunOptions(timeout_in_ms=50)
    with st.Session() as session:
        with pytest.raises(
            st.errors.DeadlineExceededError, match="1 more of queue 'jobs', which has 0"
        ):
            session.run(take, options=soon)
        session.run(put)
        with pytest.raises(st.errors.DeadlineExceededError, match="'jobs' is full"):
            session.run(put, options=soon)
        assert session.run(take, options=soon) == 1
    with st.Session(config=st.SessionConfig(operation_timeout_in_ms=50)) as session:
        began = time.monotonic()
        with pytest.raises(st.errors.DeadlineExceededError, match="start_queue_runners"):
            session.run(take)
        assert time.monotonic() - began < 5


def test_two_queues_that_wait_for_each_other() -> None:
    """A deadlock ends at the deadline; so it does when the session is closed."""
    a = st.FIFOQueue(1, st.float32, [[]], name="a")
    b = st.FIFOQueue(1, st.float32, [[]], name="b")
    forth, back = b.enqueue(a.dequeue()), a.enqueue(b.dequeue())
    for timeout, kind in ((100, "DeadlineExceededError"), (0, "CancelledError")):
        session = st.Session()
        found: list[str] = []

        def run(op: Any, session: Any = session, ms: int = timeout, found: Any = found) -> None:
            try:
                session.run(op, options=st.RunOptions(timeout_in_ms=ms))
            except st.errors.OpError as error:
                found.append(type(error).__name__)

        threads = [threading.Thread(target=run, args=(op,)) for op in (forth, back)]
        for thread in threads:
            thread.start()
        if not timeout:
            time.sleep(0.05)
            session.close()
        for thread in threads:
            thread.join(10)
        session.close()
        assert found == [kind, kind]


def test_a_long_wait_is_mentioned(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a deadline: who forgot to start the queue runners reads why nothing happens."""
    monkeypatch.setattr("sw.graph.deadline.PATIENCE", 0.01)
    queue = st.FIFOQueue(1, st.float32, [[]], name="jobs")
    take, put = queue.dequeue(), queue.enqueue(1.0)
    with st.Session() as session:
        thread = threading.Thread(target=session.run, args=(take,))
        thread.start()
        until = time.monotonic() + 5
        while not caplog.records and time.monotonic() < until:
            time.sleep(0.01)
        session.run(put)
        thread.join()
    assert "'jobs', which has 0" in caplog.text and "start_queue_runners" in caplog.text


@pytest.mark.parametrize("options", [{"trace_level": 9}, {"timeout_in_ms": -1}])
def test_bad_options(options: dict[str, Any]) -> None:
    """They are named."""
    with pytest.raises(st.errors.InvalidArgumentError, match=next(iter(options))):
        st.RunOptions(**options)
