"""How a step runs: requests to devices, when values are received, what waits holding no thread."""

import threading
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

import systolica as st
from docs import prefetch
from sw.compiler.passes import compile_unit
from sw.compiler.unit import Unit

CPUS = [f"/cpu:{i}" for i in range(4)]
FOUR = st.SessionConfig(device_count={"CPU": 4})


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def back_and_forth(hops: int) -> Any:
    """A value that goes from device to device."""
    x = st.constant(1.0)
    with st.device("/cpu:0"):
        x = st.random_uniform([], 1.0, 1.0)
    for hop in range(hops):
        with st.device(CPUS[hop % 4]):
            x = st.sqrt(x) + 1.0
    return x


@pytest.mark.parametrize("hops", [1, 4, 40])
def test_one_request_per_device_and_step(hops: int) -> None:
    """Whatever the number of ops, and however often values go there and back."""
    y = back_and_forth(hops)
    metadata = st.RunMetadata()
    with st.Session(config=FOUR) as session:
        for _ in range(2):
            value = session.run(y, run_metadata=metadata)
            assert len(metadata.partitions) >= hops
            assert len(metadata.requests) == len(set(metadata.requests)) == min(hops, 4)
            assert {p.device for p in metadata.partitions} == set(metadata.requests)
    expected = 1.0
    for _ in range(hops):
        expected = np.sqrt(expected) + 1.0
    assert value == pytest.approx(expected, rel=1e-6)


def test_a_recv_stands_right_before_its_first_use() -> None:
    """In the plan, and not at the beginning of its partition."""
    with st.device("/cpu:0"):
        values = [st.random_uniform([2]) for _ in range(5)]
    with st.device("/cpu:1"):
        total = st.random_uniform([2])
        for value in values:
            total = total + st.exp(value)
    with st.Session(config=FOUR) as session:
        plan = compile_unit(Unit(st.get_default_graph(), (), (total,)), session.devices)
    ops = plan.partitions[-1].graph.get_operations()
    received = [i for i, op in enumerate(ops) if op.type == "recv"]
    assert len(received) > 5 and received != list(range(len(received)))
    assert all(ops[i].outputs[0] in ops[i + 1].inputs for i in received)


@pytest.mark.parametrize("traced", [False, True])
def test_late_recv_lowers_peak_memory(traced: bool) -> None:
    """Sixteen values that cross in 16 bits and are used one after the other: received late only
    one is there in full at a time. Peak bytes as Python's own accounting has them."""
    count, size = 16, 1 << 18
    fed = [st.placeholder(st.float32, [size]) for _ in range(count)]
    with st.device("/cpu:0"):
        sent = [st.exp(x) for x in fed]
    with st.device("/cpu:1"):
        total = st.constant(np.zeros(size, np.float32))
        for value in sent:
            total = total * 0.5 + value
    rng = np.random.default_rng(0)
    feeds = {x: rng.uniform(size=size).astype(np.float32) for x in fed}
    options = st.RunOptions(trace_level=3) if traced else None
    metadata = st.RunMetadata() if traced else None
    peaks, results = [], []
    for late in (False, True):
        config = st.SessionConfig(
            device_count={"CPU": 2}, compress_transfers=True, enable_recv_scheduling=late
        )
        with st.Session(config=config) as session:
            session.run(total, feeds)
            tracemalloc.start()
            results.append(session.run(total, feeds, options, metadata))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    np.testing.assert_array_equal(*results)
    early, late_peak = (peak / (4 * size) for peak in peaks)
    assert early > count, "received at once, each value is there in full"
    assert late_peak < 0.75 * early and late_peak < count


def blocked(session: Any) -> int:
    """How many operations wait in the session's queues."""
    queues = session.container.resources.values()
    return sum(q.starved() + q.waiting_for_room() for q in queues)


def eventually(condition: Any) -> None:
    until = time.monotonic() + 20
    while not condition() and time.monotonic() < until:
        time.sleep(0.002)
    assert condition()


def call(target: Any) -> tuple[threading.Thread, list[Any]]:
    """A thread that runs `target`, and the list that its result or error goes to."""
    out: list[Any] = []

    def run() -> None:
        try:
            out.append(target())
        except st.errors.OpError as error:
            out.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, out


def hundred_queues() -> tuple[list[Any], list[Any], Any]:
    queues = []
    for i in range(100):
        with st.device(CPUS[i % 4]):
            queues.append(st.FIFOQueue(1, st.int32, [()], name=f"q{i}"))
    value = st.placeholder(st.int32, [])
    return [q.dequeue() for q in queues], [q.enqueue(value) for q in queues], value


def test_a_hundred_blocked_dequeues_hold_no_threads() -> None:
    """In one step over four devices: only the caller's own thread waits, all devices work for
    others meanwhile, and the elements may come in any order."""
    takes, puts, value = hundred_queues()
    other = back_and_forth(8)
    with st.Session(config=FOUR) as session:
        run = session.make_callable([st.add_n(takes), takes[7] * 2])
        expected = session.run(other)  # the pool's threads exist now
        before = threading.active_count()
        thread, out = call(run)
        eventually(lambda: blocked(session) == 100)
        helpers = [t for t in threading.enumerate() if t.name.startswith("session")]
        most = len(session.list_devices())
        assert threading.active_count() <= before + 1 + most and len(helpers) <= most
        assert session.run(other) == expected
        for i in np.random.default_rng(0).permutation(100):
            assert thread.is_alive()
            session.run(puts[i], {value: i})
        thread.join(10)
        assert out == [[4950, 14]]


def test_a_hundred_blocked_runs_add_no_threads() -> None:
    """Each waits in the thread that called it, with partitions on several devices too."""
    queue = st.FIFOQueue(200, st.int32, [()])
    with st.device("/cpu:1"):
        element = queue.dequeue() * 1
    value = st.placeholder(st.int32, [None])
    put = queue.enqueue_many(value)
    with st.Session(config=FOUR) as session:
        run = session.make_callable(element)
        session.run(put, {value: [0]})
        run()
        before = threading.active_count()
        calls = [call(run) for _ in range(100)]
        eventually(lambda: blocked(session) == 100)
        assert threading.active_count() <= before + 100 + len(session.list_devices())
        session.run(put, {value: np.arange(100)})
        for thread, _ in calls:
            thread.join(10)
    assert sorted(int(out[0]) for _, out in calls) == list(range(100))


def test_what_does_not_need_the_element_goes_on() -> None:
    """One step may wait for what it puts itself; on one device, where ops stand in a row."""
    queue = st.FIFOQueue(1, st.float32, [()])
    take = queue.dequeue()
    v = st.Variable(2.0)
    put = queue.enqueue(v * 3.0)
    with st.Session() as session:
        session.run(v.initializer)
        assert session.run([take + 1.0, put], options=st.RunOptions(timeout_in_ms=10_000))[0] == 7


def test_a_failing_step_takes_nothing() -> None:
    """What waits in it is withdrawn: elements that come later stay in the queue."""
    queue, full = (st.FIFOQueue(1, st.float32, [()], name=n) for n in ("queue", "full"))
    x = st.placeholder(st.float32, [])
    wrong = st.check_numerics(x, "bad", name="wrong")
    put, fill = queue.enqueue(5.0), full.enqueue(1.0)
    with st.Session() as session:
        session.run(fill)
        with pytest.raises(st.errors.InvalidArgumentError, match="wrong"):
            session.run([queue.dequeue(), fill, wrong], {x: np.nan})
        assert blocked(session) == 0
        session.run(put)
        assert session.run([queue.size(), full.size(), queue.dequeue()]) == [1, 1, 5]


def test_waiting_in_a_branch_blocks_only_its_run() -> None:
    """Bodies of branches and loops wait in their thread; other runs go on."""
    queue = st.FIFOQueue(1, st.float32, [()])
    with st.device("/cpu:1"):
        taken = st.cond(st.constant(True), lambda: queue.dequeue(), lambda: st.constant(0.0))
    with st.device("/cpu:2"):
        other = st.random_uniform([]) * 0.0
    with st.Session(config=FOUR) as session:
        calls = [call(lambda: session.run([taken, other])[0]) for _ in range(8)]
        eventually(lambda: blocked(session) == 8)
        assert session.run(other) == 0
        for i in range(8):
            session.run(queue.enqueue(float(i)))
        for thread, _ in calls:
            thread.join(10)
    assert sorted(out[0] for _, out in calls) == list(range(8))


def test_input_is_prepared_while_the_model_trains() -> None:
    """By the intervals of the timeline: with a queue of two between them a good part of the
    preparing lies within steps (one after the other, none would); no enqueue counts as work."""
    found = prefetch.measure(steps=4, batch=16)
    assert len(found.prepared) == len(found.trained) == 5 and found.share > 0.2
    for (_, ready), (begin, end) in zip(found.prepared, found.full, strict=True):
        assert ready <= end and begin <= end
