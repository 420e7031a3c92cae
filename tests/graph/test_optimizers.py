"""Each optimiser's rule against NumPy, for whole gradients and for rows."""

from typing import Any

import numpy as np
import pytest

import systolica as st

START = np.asarray([[1.0, -2.0], [0.5, 3.0], [-1.5, 0.25], [2.0, 2.0]], np.float64)
GRADS = [np.random.default_rng(i).standard_normal(START.shape) for i in range(5)]


def momentum(v: Any, g: Any, s: Any, nesterov: bool = False) -> Any:
    s["a"] = 0.9 * s.get("a", 0) + g
    return v - 0.1 * (g + 0.9 * s["a"] if nesterov else s["a"])


def adagrad(v: Any, g: Any, s: Any) -> Any:
    s["a"] = s.get("a", 0.1) + g**2
    return v - 0.1 * g / np.sqrt(s["a"])


def adadelta(v: Any, g: Any, s: Any) -> Any:
    s["a"] = 0.95 * s.get("a", 0) + 0.05 * g**2
    step = np.sqrt(s.get("u", 0) + 1e-8) / np.sqrt(s["a"] + 1e-8) * g
    s["u"] = 0.95 * s.get("u", 0) + 0.05 * step**2
    return v - 0.5 * step


def rms(v: Any, g: Any, s: Any, centered: bool = False) -> Any:
    s["r"] = 0.8 * s.get("r", 1.0) + 0.2 * g**2
    s["g"] = 0.8 * s.get("g", 0) + 0.2 * g
    spread = s["r"] - s["g"] ** 2 if centered else s["r"]
    s["m"] = 0.3 * s.get("m", 0) + 0.1 * g / np.sqrt(spread + 1e-10)
    return v - s["m"]


def ftrl(v: Any, g: Any, s: Any) -> Any:
    old = s.get("n", 0.1)
    s["n"] = old + g**2
    s["z"] = s.get("z", 0) + g - (np.sqrt(s["n"]) - np.sqrt(old)) / 0.3 * v
    answer = -(s["z"] - np.sign(s["z"]) * 0.2) / (np.sqrt(s["n"]) / 0.3 + 2 * 0.1)
    return np.where(np.abs(s["z"]) <= 0.2, 0, answer)


def proximal(v: Any, g: Any, s: Any) -> Any:
    z = v - 0.1 * g
    return np.sign(z) * np.maximum(np.abs(z) - 0.1 * 0.2, 0) / (1 + 0.1 * 0.3)


def proximal_adagrad(v: Any, g: Any, s: Any) -> Any:
    s["a"] = s.get("a", 0.1) + g**2
    rate = 0.1 / np.sqrt(s["a"])
    z = v - rate * g
    return np.sign(z) * np.maximum(np.abs(z) - rate * 0.2, 0) / (1 + rate * 0.3)


RULES: list[tuple[str, Any, Any]] = [
    ("sgd", lambda: st.train.GradientDescentOptimizer(0.1), lambda v, g, s: v - 0.1 * g),
    ("momentum", lambda: st.train.MomentumOptimizer(0.1, 0.9), momentum),
    ("nesterov", lambda: st.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
     lambda v, g, s: momentum(v, g, s, True)),
    ("adagrad", lambda: st.train.AdagradOptimizer(0.1), adagrad),
    ("adadelta", lambda: st.train.AdadeltaOptimizer(0.5), adadelta),
    ("rms", lambda: st.train.RMSPropOptimizer(0.1, 0.8, 0.3), rms),
    ("rms centered", lambda: st.train.RMSPropOptimizer(0.1, 0.8, 0.3, centered=True),
     lambda v, g, s: rms(v, g, s, True)),
    ("ftrl", lambda: st.train.FtrlOptimizer(
        0.3, l1_regularization_strength=0.2, l2_regularization_strength=0.1), ftrl),
    ("proximal", lambda: st.train.ProximalGradientDescentOptimizer(0.1, 0.2, 0.3), proximal),
    ("proximal adagrad", lambda: st.train.ProximalAdagradOptimizer(0.1, 0.1, 0.2, 0.3),
     proximal_adagrad),
]  # fmt: skip
IDS = [r[0] for r in RULES]


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


@pytest.mark.parametrize(("name", "make", "rule"), RULES, ids=IDS)
def test_dense_rule(name: str, make: Any, rule: Any) -> None:
    """Five steps with changing gradients."""
    v, g = st.Variable(START), st.placeholder(st.float64, START.shape)
    train = make().apply_gradients([(g, v)])
    want, slots = START, {}
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        for grad in GRADS:
            session.run(train, {g: grad})
            want = rule(want, grad, slots)
        np.testing.assert_allclose(session.run(v), want, rtol=1e-12)


@pytest.mark.parametrize(("name", "make", "rule"), RULES, ids=IDS)
def test_rows_without_gradient_do_not_move(name: str, make: Any, rule: Any) -> None:
    """A repeated index counts as the sum of its rows; untouched rows and slots keep still."""
    v, g = st.Variable(START), st.placeholder(st.float64, [None, 2])
    rows = st.placeholder(st.int64, [None])
    train = make().apply_gradients([(st.IndexedSlices(g, rows, START.shape), v)])
    want: Any = START.copy()
    slots: list[dict[str, Any]] = [{} for _ in START]
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        for index, grad in enumerate(GRADS):
            picked = [[2, 0, 2], [3], [0, 0, 0], [3, 2], []][index]
            session.run(train, {g: grad[: len(picked)], rows: np.asarray(picked, np.int64)})
            for row in set(picked):
                total = sum(grad[i] for i, p in enumerate(picked) if p == row)
                want[row] = rule(want[row], total, slots[row])
        np.testing.assert_allclose(session.run(v), want, rtol=1e-12)
        assert session.run(v)[1] == pytest.approx(START[1])


def test_adam_with_rows_equals_dense() -> None:
    """Adam's averages decay everywhere, so rows must give what a dense gradient gives."""
    a, b = st.Variable(START), st.Variable(START)
    ids = st.placeholder(st.int32, [None])
    one_hot = st.cast(st.one_hot(ids, 4), st.float64)
    loss_a = st.reduce_sum(st.square(st.nn.embedding_lookup(a, ids)))
    loss_b = st.reduce_sum(st.square(st.matmul(one_hot, b)))
    train = st.train.AdamOptimizer(0.1).minimize(loss_a + loss_b)
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        for picked in ([0, 2, 2], [1], [3, 0]):
            session.run(train, {ids: picked})
        np.testing.assert_allclose(*session.run([a, b]), rtol=1e-12)


def test_embedding_gradient_is_rows() -> None:
    """The gradient of a lookup is as large as the lookup; as a tensor it is dense."""
    v = st.Variable(START)
    (grad,) = st.gradients(2.0 * st.nn.embedding_lookup(v, [1, 1, 3]), v)
    with st.Session() as session:
        session.run(v.initializer)
        got = session.run(grad)
        assert isinstance(got, st.IndexedSlicesValue)
        np.testing.assert_array_equal(got.indices, [1, 1, 3])
        np.testing.assert_array_equal(got.values, np.full((3, 2), 2.0))
        np.testing.assert_array_equal(got.dense_shape, [4, 2])
        want = [[0, 0], [4, 4], [0, 0], [2, 2]]
        np.testing.assert_array_equal(session.run(grad + 0.0), want)
        assert session.run({"g": [grad, v]})["g"][0].values.shape == (3, 2)


def test_two_lookups_and_a_dense_use_add_up() -> None:
    """Rows and rows stay rows; rows and a tensor become a tensor."""
    v = st.Variable(START)
    first = st.reduce_sum(st.gather(v, [0, 1])) + st.reduce_sum(st.gather(v, [[1], [3]]))
    (rows,) = st.gradients(first, v)
    (dense,) = st.gradients(first + st.reduce_sum(v), v)
    with st.Session() as session:
        session.run(v.initializer)
        assert sorted(session.run(rows).indices) == [0, 1, 1, 3]
        np.testing.assert_array_equal(session.run(dense)[:, 0], [2, 3, 1, 2])


def test_row_outside_is_an_error() -> None:
    """The bad index is named, nothing is written."""
    v = st.Variable(START)
    grad = st.IndexedSlices(st.constant(np.ones((1, 2))), st.constant([4]), [4, 2])
    train = st.train.AdagradOptimizer(0.1).apply_gradients([(grad, v)])
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        with pytest.raises(st.errors.InvalidArgumentError, match="index 4 is outside"):
            session.run(train)
        np.testing.assert_array_equal(session.run(v), START)


@pytest.mark.parametrize("strategy", ["mod", "div"])
def test_embedding_over_several_tables(strategy: str) -> None:
    """Equal to one table; each table's gradient holds only its own rows."""
    table = np.random.default_rng(0).standard_normal((7, 3))
    split = [table[i::3] for i in range(3)] if strategy == "mod" else np.split(table, [3, 5])
    parts = [st.Variable(p) for p in split]
    ids = st.placeholder(st.int32, [2, None])
    found = st.nn.embedding_lookup(parts, ids, strategy)
    grads = st.gradients(st.reduce_sum(st.square(found)), parts)
    given = np.asarray([[0, 6, 3], [6, 1, 5]])
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        np.testing.assert_array_equal(session.run(found, {ids: given}), table[given])
        assert found.shape.as_list() == [2, None, 3]
        values = session.run(grads, {ids: given})
        assert sum(len(g.indices) for g in values) == 6
        for value, part in zip(values, split, strict=True):
            np.testing.assert_allclose(value.values, 2 * part[value.indices])


def test_embedding_max_norm() -> None:
    """Long rows are cut to the norm, short ones stay."""
    found = st.nn.embedding_lookup(st.constant([[3.0, 4.0], [0.3, 0.4]]), [0, 1], max_norm=1.0)
    with st.Session() as session:
        np.testing.assert_allclose(session.run(found), [[0.6, 0.8], [0.3, 0.4]], rtol=1e-6)
