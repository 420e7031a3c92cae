"""Learning-rate schedules, moving averages, clipping, initialisers, regularisers, row writes."""

import math
from typing import Any

import numpy as np
import pytest

import systolica as st

STEPS = [0, 1, 4, 5, 9, 10, 11, 25, 40]


def sgdr(step: int) -> float:
    """Restarts written as a loop."""
    start, length, height = 0, 10.0, 1.0
    while step >= start + length:
        start, length, height = start + length, length * 2, height * 0.5
    return 0.2 * height * 0.5 * (1 + math.cos(math.pi * (step - start) / length))


def polynomial(step: int, cycle: bool) -> float:
    length = 10 * max(1, math.ceil(step / 10)) if cycle else 10
    step = step if cycle else min(step, 10)
    return (0.2 - 0.01) * (1 - step / length) ** 2 + 0.01


def linear_cosine(s: int, noise: float) -> float:
    wave = 0.5 * (1 + math.cos(math.pi * 2 * 1.5 * s / 10))
    return 0.2 * ((0.1 + (10 - s) / 10 + noise) * wave + 0.01)


SCHEDULES: list[tuple[str, Any, Any]] = [
    ("exponential", lambda s: st.train.exponential_decay(0.2, s, 10, 0.5),
     lambda s: 0.2 * 0.5 ** (s / 10)),
    ("staircase", lambda s: st.train.exponential_decay(0.2, s, 10, 0.5, True),
     lambda s: 0.2 * 0.5 ** (s // 10)),
    ("natural", lambda s: st.train.natural_exp_decay(0.2, s, 10, 0.5),
     lambda s: 0.2 * math.exp(-0.5 * s / 10)),
    ("inverse", lambda s: st.train.inverse_time_decay(0.2, s, 10, 0.5),
     lambda s: 0.2 / (1 + 0.5 * s / 10)),
    ("piecewise", lambda s: st.train.piecewise_constant(s, [4, 10], [3.0, 2.0, 1.0]),
     lambda s: 3.0 if s <= 4 else 2.0 if s <= 10 else 1.0),
    ("polynomial", lambda s: st.train.polynomial_decay(0.2, s, 10, 0.01, 2.0),
     lambda s: polynomial(s, False)),
    ("cycle", lambda s: st.train.polynomial_decay(0.2, s, 10, 0.01, 2.0, True),
     lambda s: polynomial(s, True)),
    ("cosine", lambda s: st.train.cosine_decay(0.2, s, 10, 0.1),
     lambda s: 0.2 * (0.9 * 0.5 * (1 + math.cos(math.pi * min(s, 10) / 10)) + 0.1)),
    ("linear cosine", lambda s: st.train.linear_cosine_decay(0.2, s, 10, 1.5, 0.1, 0.01),
     lambda s: linear_cosine(min(s, 10), 0.0)),
    ("noisy without noise", lambda s: st.train.noisy_linear_cosine_decay(
        0.2, s, 10, 0.0, 0.55, 1.5, 0.1, 0.01), lambda s: linear_cosine(min(s, 10), 0.0)),
    ("piecewise by its later name", lambda s: st.train.piecewise_constant_decay(
        s, [3, 7], [1.0, 0.5, 0.1]), lambda s: 1.0 if s <= 3 else 0.5 if s <= 7 else 0.1),
    ("restarts", lambda s: st.train.cosine_decay_restarts(0.2, s, 10, m_mul=0.5), sgdr),
]  # fmt: skip


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


@pytest.mark.parametrize(("name", "make", "want"), SCHEDULES, ids=[s[0] for s in SCHEDULES])
def test_schedule(name: str, make: Any, want: Any) -> None:
    """At and around the borders of its periods; follows a step variable."""
    step = st.Variable(0, trainable=False)
    rate, at = make(step), st.placeholder(st.int32, [])
    move = step.assign(at)
    with st.Session() as session:
        for value in STEPS:
            session.run(move, {at: value})
            assert session.run(rate) == pytest.approx(want(value), rel=1e-4, abs=1e-6)


def test_schedule_drives_the_optimizer() -> None:
    """The step counter that `minimize` raises sets the next rate."""
    step, v = st.Variable(0, trainable=False), st.Variable(10.0)
    rate = st.train.exponential_decay(1.0, step, 1, 0.5)
    train = st.train.GradientDescentOptimizer(rate).minimize(v * 1.0, step)
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        for _ in range(3):
            session.run(train)
        assert session.run([v, step]) == [10 - 1.75, 3]


def test_piecewise_needs_rising_boundaries() -> None:
    """And one value more than boundaries."""
    with pytest.raises(st.errors.InvalidArgumentError, match="do not rise"):
        st.train.piecewise_constant(st.constant(1), [2, 2], [1.0, 2.0, 3.0])
    with pytest.raises(st.errors.InvalidArgumentError, match="3 values"):
        st.train.piecewise_constant(st.constant(1), [2, 4], [1.0, 2.0])


@pytest.mark.parametrize("updates", [False, True])
def test_moving_average(updates: bool) -> None:
    """Of a variable (from its initial value), of a tensor (from zero, its bias divided out)."""
    v = st.Variable(5.0, name="v")
    x = st.placeholder(st.float32, [])
    doubled = st.identity(x * 2, name="doubled")
    step = st.Variable(0)
    ema = st.train.ExponentialMovingAverage(0.9, step if updates else None, zero_debias=True)
    move = ema.apply([v, doubled])
    load = v.assign(x)
    bump = step.assign_add(1)
    want_v, want_t, weight = 5.0, 0.0, 0.0
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        for count, value in enumerate([1.0, -3.0, 4.0]):
            session.run(load, {x: value})
            session.run(move, {x: value})
            decay = min(0.9, (1 + count) / (10 + count)) if updates else 0.9
            want_v = decay * want_v + (1 - decay) * value
            want_t = decay * want_t + (1 - decay) * 2 * value
            weight = decay * weight + (1 - decay)
            session.run(bump)
        got = session.run([ema.average(v), ema.average(doubled)])
        np.testing.assert_allclose(got, [want_v, want_t / weight], rtol=1e-5)
    assert ema.average_name(v) == "v/ExponentialMovingAverage"
    assert ema.variables_to_restore()["v/ExponentialMovingAverage"] is v
    assert ema.average(x) is None


def test_clipping() -> None:
    """By value, by norm (overall and per row), by average norm, by the norm of all."""
    x = np.asarray([[3.0, 4.0], [0.3, 0.4]], np.float32)
    rows = st.IndexedSlices(st.constant(x), st.constant([0, 1]), [5, 2])
    both, norm = st.clip_by_global_norm([st.constant(x), None, rows], 1.0)
    with st.Session() as session:
        got = session.run(st.clip_by_value(x, 0.35, 3.5))
        np.testing.assert_array_equal(got, np.clip(x, np.float32(0.35), 3.5))
        np.testing.assert_allclose(
            session.run(st.clip_by_norm(x, 1.0, axes=[1])), [[0.6, 0.8], [0.3, 0.4]], rtol=1e-6
        )
        full = np.linalg.norm(x)
        np.testing.assert_allclose(session.run(st.clip_by_norm(x, 2.0)), x * 2 / full, rtol=1e-6)
        np.testing.assert_allclose(
            session.run(st.clip_by_average_norm(x, 0.5)), x * 0.5 / (full / 4), rtol=1e-6
        )
        (a, _, b), n = session.run([[both[0], st.no_op(), both[2]], norm])
        assert n == pytest.approx(full * math.sqrt(2), rel=1e-6)
        np.testing.assert_allclose(a, x / n, rtol=1e-6)
        np.testing.assert_allclose(b.values, x / n, rtol=1e-6)
    assert both[1] is None


def test_clip_by_norm_of_zeros_has_a_finite_gradient() -> None:
    """The square root at zero must not make NaN."""
    x = st.constant([0.0, 0.0])
    (grad,) = st.gradients(st.clip_by_norm(x, 1.0), x)
    with st.Session() as session:
        np.testing.assert_array_equal(session.run(grad), [1, 1])


INITIALIZERS: list[tuple[str, Any, float, float, float]] = [
    ("normal", lambda: st.random_normal_initializer(1.0, 2.0, seed=1), 1.0, 2.0, 99.0),
    ("truncated", lambda: st.truncated_normal_initializer(0.0, 1.0, seed=1), 0.0, 0.8796, 2.0),
    ("uniform", lambda: st.random_uniform_initializer(-1.0, 3.0, seed=1), 1.0, 4 / 12**0.5, 3.0),
    ("glorot", lambda: st.glorot_uniform_initializer(seed=1), 0.0, (2 / 500) ** 0.5,
     (6 / 500) ** 0.5),
    ("he", lambda: st.contrib.layers.variance_scaling_initializer(seed=1), 0.0,
     (2 / 200) ** 0.5, 2 / 0.8796 * (2 / 200) ** 0.5),
    ("xavier", lambda: st.contrib.layers.xavier_initializer(False, seed=1), 0.0,
     (2 / 500) ** 0.5, 2 / 0.8796 * (2 / 500) ** 0.5),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "make", "mean", "deviation", "limit"), INITIALIZERS, ids=[i[0] for i in INITIALIZERS]
)
def test_initializer_statistics(
    name: str, make: Any, mean: float, deviation: float, limit: float
) -> None:
    """Mean, standard deviation and bound of 60,000 numbers."""
    with st.Session() as session:
        value = session.run(make()([200, 300]))
    assert value.dtype == np.float32
    assert value.mean() == pytest.approx(mean, abs=5 * deviation / 200)
    assert value.std() == pytest.approx(deviation, rel=0.02)
    assert np.abs(value - 0).max() <= limit * (1 + 1e-6)


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (2, 3, 4)])
def test_orthogonal(shape: Any) -> None:
    """Rows or columns, whichever are fewer, are orthonormal."""
    with st.Session() as session:
        value = session.run(st.orthogonal_initializer(2.0, seed=3)(shape))
    matrix = value.reshape(-1, shape[-1]) / 2
    matrix = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(matrix.shape[1]), atol=1e-5)


def test_constant_initializers() -> None:
    """With dtypes, and too many values refused."""
    with st.Session() as session:
        assert session.run(st.zeros_initializer()([2], st.int32)).dtype == np.int32
        np.testing.assert_array_equal(session.run(st.ones_initializer()([2])), [1, 1])
        np.testing.assert_array_equal(
            session.run(st.constant_initializer([1.0, 2.0])([2, 2])), [[1, 2], [2, 2]]
        )
    with pytest.raises(st.errors.ShapeError):
        st.constant_initializer([1.0, 2.0, 3.0])([2])


def test_regularizers() -> None:
    """Sums, and a collection."""
    layers = st.contrib.layers
    w = st.constant([3.0, -4.0])
    st.add_to_collection(st.GraphKeys.WEIGHTS, w)
    total = layers.apply_regularization(layers.l1_l2_regularizer(0.5, 0.1))
    assert st.get_collection(st.GraphKeys.REGULARIZATION_LOSSES) == [total]
    assert layers.l1_regularizer(0.0)(w) is None
    with pytest.raises(st.errors.InvalidArgumentError, match="not be negative"):
        layers.l2_regularizer(-0.1)
    with st.Session() as session:
        assert session.run(total) == pytest.approx(0.5 * 7 + 0.1 * 12.5)


SCATTERS: list[tuple[str, Any]] = [
    ("update", None),
    ("add", np.add),
    ("sub", np.subtract),
    ("mul", np.multiply),
    ("div", np.divide),
    ("min", np.minimum),
    ("max", np.maximum),
]


@pytest.mark.parametrize(("name", "function"), SCATTERS, ids=[s[0] for s in SCATTERS])
def test_scatter(name: str, function: Any) -> None:
    """Repeated indices count each time; a scalar goes everywhere; other rows stay."""
    start = np.arange(1.0, 9.0, dtype=np.float32).reshape(4, 2)
    v = st.Variable(start)
    rows = np.float32([[2, 3], [4, 5], [6, 7]])
    out = getattr(st, f"scatter_{name}")(v, [2, 0, 2], rows)
    scalar = getattr(st, f"scatter_{name}")(v, [[3]], 9.0)
    want = start.copy()
    for i, row in zip([2, 0, 2], rows, strict=True):
        want[i] = row if function is None else function(want[i], row)
    with st.Session() as session:
        session.run(v.initializer)
        np.testing.assert_allclose(session.run(out), want)
        want[3] = 9 if function is None else function(want[3], np.float32(9))
        np.testing.assert_allclose(session.run(scalar), want)
    with pytest.raises(st.errors.ShapeError, match="updates"):
        st.scatter_add(v, [0, 1], rows)


def test_noise_of_a_schedule() -> None:
    """Its variance falls with the step as is said; its mean is that of the smooth one."""
    step = st.placeholder(st.int32, [])
    st.set_random_seed(7)
    rate = st.train.noisy_linear_cosine_decay(0.2, step, 10, 2.0, 0.5, 1.5, 0.1, 0.01)
    with st.Session() as session:
        for now in (0, 3):
            seen = np.asarray([session.run(rate, {step: now}) for _ in range(1000)])
            one = linear_cosine(now, 1.0) - linear_cosine(now, 0.0)  # what noise of 1 changes
            want = abs(one) * math.sqrt(2 / math.sqrt(1 + now))
            assert seen.std() == pytest.approx(want, rel=0.1)
            middle = linear_cosine(now, 0.0)
            assert abs(seen.mean() - middle) < 4 * want / math.sqrt(1000)
