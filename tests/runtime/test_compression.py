"""Transfers in 16 bits: what they cost, what they lose, and that nothing else changes."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import systolica as st

FULL = st.RunOptions(trace_level=st.RunOptions.FULL_TRACE)


def config(compress: bool) -> st.SessionConfig:
    return st.SessionConfig(device_count={"CPU": 2}, compress_transfers=compress)


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def crossed(dtype: Any, value: Any, compress: bool) -> tuple[Any, Any, int]:
    """`value` squared on cpu:0, and what came of it on cpu:1; the bytes that crossed."""
    x = st.placeholder(dtype, np.shape(value))
    with st.device("/cpu:0"):
        y = x * x
    with st.device("/cpu:1"):
        z = st.identity(y)
    metadata = st.RunMetadata()
    with st.Session(config=config(compress)) as session:
        here, there = session.run([y, z], {x: value}, FULL, metadata)
    (transfer,) = metadata.step_stats.transfers
    assert here.dtype == there.dtype == dtype.numpy
    return here, there, transfer.bytes


def test_half_the_bytes_and_a_bounded_error() -> None:
    """Each value the nearest bfloat16, over the whole range; without the option every bit."""
    rng = np.random.default_rng(3)
    value = (rng.standard_normal(4096) * 2.0 ** rng.integers(-50, 50, 4096)).astype(np.float32)
    here, there, size = crossed(st.float32, value, True)
    np.testing.assert_array_equal(here, value * value)
    assert (np.abs(there - here) <= 2.0**-8 * np.abs(here)).all() and (there != here).mean() > 0.9
    np.testing.assert_array_equal(there, here.astype(ml_dtypes.bfloat16).astype(np.float32))
    here, there, plain = crossed(st.float32, value, False)
    np.testing.assert_array_equal(there, here)
    assert (size, plain) == (4096 * 2, 4096 * 4)


def test_special_values_survive() -> None:
    """NaN, infinities, zero, and what is beyond bfloat16's largest number."""
    value = np.float32([np.nan, np.inf, 0, 1, 1.84e19, 1.844e19])
    here, there, _ = crossed(st.float32, value, True)
    np.testing.assert_array_equal(there[:4], [np.nan, np.inf, 0, 1])
    assert np.isfinite(here[4:]).all()
    assert there[4] == pytest.approx(here[4], rel=2.0**-8) and there[5] == np.inf


@pytest.mark.parametrize("dtype", [st.float64, st.float16, st.bfloat16, st.int32, st.complex64])
def test_other_types_cross_exactly(dtype: Any) -> None:
    """Only float32 is narrowed, and what is 16 bits wide already stays itself."""
    value = (np.arange(1, 9) / 3 * 7).astype(dtype.numpy)
    here, there, size = crossed(dtype, value, True)
    np.testing.assert_array_equal(here, there)
    assert size == value.nbytes


def test_to_the_tpu_and_back() -> None:
    """Each border on its own, scalars too; fetches and feeds are no borders."""
    x = st.placeholder(st.float32, [4, 16])
    with st.device("/tpu:0"):
        y = st.matmul(st.tanh(x), st.constant(np.eye(16, dtype=np.float32)), name="y")
    total = st.reduce_sum(st.exp(y))
    value = np.random.default_rng(4).standard_normal((4, 16)).astype(np.float32)
    found = {}
    for compress in (False, True):
        metadata = st.RunMetadata()
        with st.Session(config=st.SessionConfig(compress_transfers=compress)) as session:
            got = session.run([total, x], {x: value}, FULL, metadata)
        np.testing.assert_array_equal(got[1], value)
        found[compress] = got[0], sum(t.bytes for t in metadata.step_stats.transfers)
    assert found[True][1] * 2 == found[False][1] > 0
    np.testing.assert_allclose(found[True][0], found[False][0], rtol=2e-2)


def test_training_over_compressed_borders() -> None:
    """A net over two devices, both ways half the bytes; it learns as without, to 2 %."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((64, 8)).astype(np.float32)
    y = np.tanh(x @ rng.standard_normal((8, 1))).astype(np.float32)
    init = st.random_normal_initializer(0, 0.4, seed=1)
    with st.device("/cpu:0"):
        hidden = st.layers.dense(st.constant(x), 16, st.tanh, kernel_initializer=init)
    with st.device("/cpu:1"):
        guess = st.layers.dense(hidden, 1, kernel_initializer=init)
        loss = st.reduce_mean(st.square(guess - y))
    made = st.train.GradientDescentOptimizer(0.1)
    pairs = made.compute_gradients(loss, colocate_gradients_with_ops=True)
    train = made.apply_gradients(pairs)
    losses, sizes = [], []
    for compress in (False, True):
        metadata = st.RunMetadata()
        with st.Session(config=config(compress)) as session:
            session.run(st.global_variables_initializer())
            curve = [session.run([loss, train], None, FULL, metadata)[0] for _ in range(100)]
        losses.append(curve)
        sizes.append(sum(t.bytes for t in metadata.step_stats.transfers))
    assert losses[1][-1] < losses[1][0] / 5 and losses[0] != losses[1]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)
    assert sizes[1] * 2 == sizes[0] > 0
    assert any("cpu:1->" in key for key in metadata.transfers)


def test_partial_runs_compress_too() -> None:
    """The option is the session's, whichever way a step runs."""
    x = st.placeholder(st.float32, [])
    with st.device("/cpu:1"):
        y = st.identity(st.exp(x))
    with st.device("/cpu:0"):
        z = st.identity(y)
    with st.Session(config=config(True)) as session:
        handle = session.partial_run_setup([z], [x])
        got = session.partial_run(handle, z, {x: 1.0})
        assert got == session.run(z, {x: 1.0}) == np.float32(ml_dtypes.bfloat16(np.exp(1.0)))
