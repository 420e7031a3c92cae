"""A session with a second device: made on demand, compiled once, fallbacks recorded once."""

from typing import Any

import numpy as np
import pytest

import systolica as st
from sw.runtime.devices import registry
from tests.runtime.toy_device import LOG


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The toy beside the CPU, and a graph of one's own."""
    monkeypatch.setitem(registry.KINDS, "toy", ("tests.runtime.toy_device", "ToyDevice"))
    LOG.clear()
    with st.Graph().as_default() as graph:
        yield graph


def test_device_is_made_on_demand_and_closed_with_the_session() -> None:
    """A session that does not use a device never makes it."""
    x = st.placeholder(st.float32, [2])
    with st.device("/toy:0"):
        y = -x + x + x
    with st.Session() as session:
        assert any(name.endswith("/toy:0") for name in session.list_devices())
        session.run(x + 1, {x: [1, 2]})
        assert LOG == []
        for _ in range(3):
            np.testing.assert_array_equal(session.run(y, {x: [1, 2]}), [1, 2])
        assert LOG == ["made", "compiled"]
    assert LOG == ["made", "compiled", "closed"]


def test_fallback_is_said_once_and_the_result_is_right() -> None:
    """toy -> cpu -> toy, in two plans with the same op."""
    x = st.placeholder(st.float32, [2])
    with st.device("/toy:0"):
        y = -st.exp(-x, name="e")
        z = y + y
    with st.Session() as session:
        metadata = st.RunMetadata()
        got = session.run([y, z], {x: [0, 1]}, run_metadata=metadata)
        session.run(z, {x: [0, 1]})
        assert [(f.op, f.name, f.reason) for f in session.fallback] == [
            ("exp", "e", "a toy has no exp")
        ]
        assert [p.device.rsplit("/", 1)[1] for p in metadata.partitions] == [
            "toy:0", "cpu:0", "toy:0",
        ]  # fmt: skip
        assert len(metadata.transfers) == 2
    np.testing.assert_allclose(got[1], -2 * np.exp([0, -1]), rtol=1e-6)


def test_training_with_a_layer_on_the_device() -> None:
    """Variables stay with the host; reads cross, updates are seen by the next run."""
    v = st.Variable([4.0, 2.0])
    with st.device("/toy:0"):
        y = v + v
    train = st.train.GradientDescentOptimizer(0.25).minimize(st.nn.l2_loss(y))
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        np.testing.assert_array_equal(session.run(y), [8, 4])
        session.run(train)
        np.testing.assert_array_equal(session.run(y), [0, 0])
        assert session.fallback == []
