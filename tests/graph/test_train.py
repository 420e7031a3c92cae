"""Optimisers against their update rules in plain NumPy, and what `minimize` promises."""

from typing import Any

import numpy as np
import pytest

import systolica as st

START = np.float32([1.0, -2.0, 3.0])
SCALE = np.float32([1.0, 2.0, 0.5])


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


def trained(optimizer: Any, steps: int = 5) -> Any:
    """The variable after some steps on `sum(SCALE * v**2) / 2`."""
    v = st.Variable(START)
    step = st.Variable(0, trainable=False)
    train = optimizer.minimize(st.reduce_sum(v * v * SCALE) / 2, global_step=step)
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        for _ in range(steps):
            session.run(train)
        assert session.run(step) == steps
        return session.run(v)


def test_gradient_descent() -> None:
    """v -= rate * gradient."""
    want = START * (1 - np.float32(0.1) * SCALE) ** 5
    np.testing.assert_allclose(trained(st.train.GradientDescentOptimizer(0.1)), want, rtol=1e-5)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum(nesterov: bool) -> None:
    """Against a loop."""
    v, speed = START.copy(), np.zeros(3, np.float32)
    for _ in range(5):
        grad = v * SCALE
        speed = 0.9 * speed + grad
        v = v - 0.1 * (grad + 0.9 * speed if nesterov else speed)
    got = trained(st.train.MomentumOptimizer(0.1, 0.9, use_nesterov=nesterov))
    np.testing.assert_allclose(got, v, rtol=1e-5)


def test_adam() -> None:
    """Against a loop."""
    v, m, s = START.astype(np.float64), np.zeros(3), np.zeros(3)
    for t in range(1, 6):
        grad = v * SCALE
        m, s = 0.9 * m + 0.1 * grad, 0.999 * s + 0.001 * grad**2
        v = v - 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(s) + 1e-8)
    np.testing.assert_allclose(trained(st.train.AdamOptimizer(0.1)), v, rtol=1e-5)


def test_slots_and_collections() -> None:
    """Slots are variables, but not trainable ones."""
    v = st.Variable(START, name="v")
    optimizer = st.train.MomentumOptimizer(st.constant(0.1), 0.9)
    optimizer.minimize(st.nn.l2_loss(v))
    slot = optimizer.get_slot(v, "momentum")
    assert optimizer.get_slot_names() == ["momentum"]
    assert slot in st.global_variables() and slot not in st.trainable_variables()
    assert slot is not None and slot.shape == [3]


def test_float64_and_chosen_variables() -> None:
    """Hyperparameters follow the variable's dtype; others stay."""
    a, b = st.Variable(np.float64(1.0)), st.Variable(np.float64(1.0))
    train = st.train.AdamOptimizer(0.5).minimize(a * a + b * b, var_list=[a])
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        session.run(train)
        moved, kept = session.run([a, b])
    assert moved.dtype == np.float64 and moved == pytest.approx(0.5) and kept == 1


def test_compute_then_apply() -> None:
    """Gradients can be changed in between; None ones are skipped."""
    v, unused = st.Variable(START), st.Variable(1.0)
    optimizer = st.train.GradientDescentOptimizer(1.0)
    pairs = optimizer.compute_gradients(st.reduce_sum(v))
    assert [p[0] is None for p in pairs] == [False, True] and pairs[1][1] is unused
    train = optimizer.apply_gradients([(g * 2.0 if g is not None else None, v) for g, v in pairs])
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        session.run(train)
        np.testing.assert_array_equal(session.run(v), START - 2)


def test_loss_without_variables_is_an_error() -> None:
    """Nothing would be trained."""
    st.Variable(1.0, name="lonely")
    with pytest.raises(st.errors.InvalidArgumentError, match="lonely"):
        st.train.GradientDescentOptimizer(0.1).minimize(st.constant(1.0) * 2.0)


def test_every_optimizer_updates_from_the_same_step() -> None:
    """All reads of one step come before its writes: two variables swap exactly."""
    a, b = st.Variable(1.0), st.Variable(2.0)
    train = st.train.GradientDescentOptimizer(1.0).minimize(a * b)
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        session.run(train)
        assert session.run([a, b]) == [-1.0, 1.0]


def test_convolutional_net_learns() -> None:
    """Every layer type of the deep MNIST tutorial, trained together on a toy problem."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((64, 8, 8, 1)).astype(np.float32)
    classes = (images[:, :4].mean((1, 2, 3)) > images[:, 4:].mean((1, 2, 3))).astype(np.int32)
    st.set_random_seed(1)
    x, y = st.placeholder(st.float32, [None, 8, 8, 1]), st.placeholder(st.int32, [None])
    keep = st.placeholder(st.float32, [])

    def weights(*shape: int) -> st.Variable:
        return st.Variable(st.truncated_normal(shape, stddev=0.2))

    h = st.nn.relu(st.nn.bias_add(st.nn.conv2d(x, weights(3, 3, 1, 8), 1, "SAME"), weights(8)))
    h = st.nn.max_pool(h, 2, 2, "SAME")
    h = st.nn.dropout(st.reshape(h, [-1, 128]), keep)
    logits = st.matmul(h, weights(128, 2)) + weights(2)
    loss = st.reduce_mean(st.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
    train = st.train.AdamOptimizer(0.02).minimize(loss)
    right = st.reduce_mean(
        st.cast(st.equal(st.argmax(logits, 1, output_type=st.int32), y), "float")
    )
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        for _ in range(60):
            session.run(train, {x: images, y: classes, keep: 0.8})
        assert session.run(right, {x: images, y: classes, keep: 1.0}) > 0.95
