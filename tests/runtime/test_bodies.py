"""Branches and loops whose bodies stand on several devices."""

from typing import Any

import numpy as np
import pytest

import systolica as st

THREE = st.SessionConfig(device_count={"CPU": 3})
W = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32) * 0.4


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def looped(first: str, second: str, turns: int = 5) -> Any:
    """A fed value multiplied and squashed `turns` times, by devices of their own; its gradients."""
    x = st.placeholder(st.float32, [2, 8])
    w = st.constant(W)

    def body(i: Any, h: Any) -> Any:
        with st.device(first):
            product = st.matmul(h, w)
        with st.device(second):
            squashed = st.tanh(product)
        return i + 1, squashed

    _, y = st.while_loop(lambda i, h: i < turns, body, [st.constant(0), x])
    return x, y, st.gradients(st.reduce_sum(y * y), [x, w])


def used(session: Any) -> set[str]:
    return {device.name.rsplit("/", 1)[1] for device in session.devices.made()}


def test_loops_over_devices_equal_those_on_one() -> None:
    """Values and gradients bit for bit; the devices named in the body did the work."""
    feed = np.random.default_rng(1).normal(size=(2, 8)).astype(np.float32)
    results = []
    for places in (("/cpu:1", "/cpu:2"), ("", "")):
        with st.Graph().as_default(), st.Session(config=THREE) as session:
            x, y, grads = looped(*places)
            results.append(session.run([y, *grads], {x: feed}))
            assert used(session) == ({"cpu:0", "cpu:1", "cpu:2"} if places[0] else {"cpu:0"})
    expected = feed
    for _ in range(5):
        expected = np.tanh(expected @ W)
    np.testing.assert_allclose(results[0][0], expected, rtol=1e-5, atol=1e-6)
    for over, one in zip(*results, strict=True):
        np.testing.assert_array_equal(over, one)


def test_the_tpu_works_in_a_loop() -> None:
    """A product in a body runs there in every turn, and equals the same turns written out; what it
    does not take falls back with a reason."""
    x, y, _ = looped("/tpu:0", "/tpu:0", 3)
    h = x
    for _ in range(3):
        with st.device("/tpu:0"):
            product = st.matmul(h, W)
        h = st.tanh(product)
    feed = np.random.default_rng(1).normal(size=(2, 8)).astype(np.float32)
    with st.Session() as session:
        once = session.run(y, {x: feed})
        assert sum(report.runs for report in session.tpu_reports) == 3
        assert [f.op for f in session.fallback] == ["tanh"]
        np.testing.assert_array_equal(once, session.run(h, {x: feed}))


def test_branches_change_variables_elsewhere() -> None:
    """Each variable on its device, each branch over both; loops in branches, too."""
    with st.device("/cpu:1"):
        near = st.Variable(1.0)
    with st.device("/cpu:2"):
        far = st.Variable(10.0)
    which = st.placeholder(st.bool, [])

    def grow() -> Any:
        def turn(i: Any) -> Any:
            with st.device("/cpu:1"):
                a = near.assign_add(1.0)
            with st.device("/cpu:2"), st.control_dependencies([a]):
                b = far.assign_add(a)
            with st.control_dependencies([b]):
                return i + 1

        with st.control_dependencies([st.while_loop(lambda i: i < 3, turn, [st.constant(0)])]):
            return far.read_value()

    y = st.cond(which, grow, lambda: st.identity(near) * 100.0)
    with st.Session(config=THREE) as session:
        session.run(st.global_variables_initializer())
        assert session.run(y, {which: True}) == 10 + 2 + 3 + 4
        assert session.run(y, {which: False}) == 400
        assert used(session) >= {"cpu:1", "cpu:2"}


def test_errors_and_deadlines_reach_into_bodies() -> None:
    """The op inside is named; an operation that waits inside gives up in time."""
    queue = st.FIFOQueue(1, st.float32, [()], name="jobs")
    x = st.placeholder(st.float32, [])

    def checked() -> Any:
        with st.device("/cpu:1"):
            return st.check_numerics(x, "bad", name="inner")

    def waiting() -> Any:
        with st.device("/cpu:2"):
            return queue.dequeue() + x

    y = st.cond(x > 0.0, waiting, checked)
    with st.Session(config=THREE) as session:
        with pytest.raises(st.errors.InvalidArgumentError, match="inner"):
            session.run(y, {x: np.nan})
        with pytest.raises(st.errors.DeadlineExceededError, match="jobs"):
            session.run(y, {x: 1.0}, st.RunOptions(timeout_in_ms=50))
        session.run(queue.enqueue(2.0))
        assert session.run(y, {x: 1.0}) == 3


def test_deep_lstm_over_time_with_a_device_per_layer() -> None:
    """dynamic_rnn, a loop, with each layer on its device: values and gradients as on one."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2, 5, 4)).astype(np.float32)
    results = []
    for places in (["/cpu:1", "/cpu:2"], ["/cpu:0", "/cpu:0"]):
        with st.Graph().as_default(), st.Session(config=THREE) as session:
            init = st.random_normal_initializer(0, 0.5, seed=3)
            with st.variable_scope("deep", initializer=init):
                cells = [
                    st.nn.rnn_cell.DeviceWrapper(st.nn.rnn_cell.BasicLSTMCell(6), place)
                    for place in places
                ]
                cell = st.nn.rnn_cell.MultiRNNCell(cells)
                outputs, _ = st.nn.dynamic_rnn(cell, st.constant(x), [5, 3], dtype=st.float32)
            grads = st.gradients(st.reduce_sum(outputs * outputs), st.trainable_variables())
            session.run(st.global_variables_initializer())
            results.append(session.run([outputs, *grads]))
            assert used(session) == {"cpu:0", *(p[1:] for p in places)}
    assert len(results[0]) == 1 + 4
    for over, one in zip(*results, strict=True):
        np.testing.assert_array_equal(over, one)
