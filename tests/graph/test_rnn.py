"""Recurrent cells against NumPy; unrolled, looped and bidirectional; candidate sampling."""

from typing import Any

import numpy as np
import pytest

import systolica as st
from tests.graph.test_control_flow import check_gradient

RNG = np.random.default_rng(6)
X = RNG.standard_normal((2, 5, 3))
LENGTHS = np.asarray([5, 2], np.int32)
CELL = st.nn.rnn_cell


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def lstm(weights: dict[str, Any], x: Any, state: Any, peepholes: bool = False) -> Any:
    c, h = state
    gates = np.concatenate([x, h], 1) @ weights["kernel"] + weights["bias"]
    i, j, f, o = np.split(gates, 4, 1)
    w = weights if peepholes else dict.fromkeys(("w_i_diag", "w_f_diag", "w_o_diag"), 0.0)
    new = c * sigmoid(f + 1 + w["w_f_diag"] * c) + sigmoid(i + w["w_i_diag"] * c) * np.tanh(j)
    out = np.tanh(new) * sigmoid(o + w["w_o_diag"] * new)
    if "projection/kernel" in weights:
        out = out @ weights["projection/kernel"]
    return out, (new, out)


def gru(weights: dict[str, Any], x: Any, h: Any) -> Any:
    both = np.concatenate([x, h], 1)
    r, u = np.split(sigmoid(both @ weights["gates/kernel"] + weights["gates/bias"]), 2, 1)
    fresh = np.concatenate([x, r * h], 1) @ weights["candidate/kernel"]
    out = u * h + (1 - u) * np.tanh(fresh + weights["candidate/bias"])
    return out, out


def rnn(weights: dict[str, Any], x: Any, h: Any) -> Any:
    out = np.tanh(np.concatenate([x, h], 1) @ weights["kernel"] + weights["bias"])
    return out, out


ZERO = np.zeros((2, 4))
CELLS: list[tuple[str, Any, Any, Any]] = [
    ("rnn", lambda: CELL.BasicRNNCell(4), rnn, ZERO),
    ("gru", lambda: CELL.GRUCell(4), gru, ZERO),
    ("basic lstm", lambda: CELL.BasicLSTMCell(4), lstm, (ZERO, ZERO)),
    ("lstm peepholes", lambda: CELL.LSTMCell(4, use_peepholes=True),
     lambda w, x, s: lstm(w, x, s, True), (ZERO, ZERO)),
    ("lstm projected", lambda: CELL.LSTMCell(4, num_proj=2), lstm, (ZERO, ZERO[:, :2])),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "step", "start"), CELLS, ids=[c[0] for c in CELLS])
@pytest.mark.parametrize("dynamic", [False, True])
def test_cell_over_time(name: str, make: Any, step: Any, start: Any, dynamic: bool) -> None:
    """Outputs and last state of both drivers, rows of two lengths, variables shared over time."""
    batch = st.placeholder(st.float64, [None, None, 3] if dynamic else [None, 5, 3])
    init = st.random_normal_initializer(stddev=0.5, seed=1)
    with st.variable_scope("net", initializer=init):
        if dynamic:
            outputs, state = st.nn.dynamic_rnn(make(), batch, LENGTHS, dtype=st.float64)
        else:
            steps = st.unstack(batch, axis=1)
            listed, state = st.nn.static_rnn(make(), steps, None, st.float64, LENGTHS)
            outputs = st.stack(listed, 1)
    variables = {v.name.split("/", 3)[3][:-2]: v for v in st.global_variables()}
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        weights, got, last = session.run([variables, outputs, state], {batch: X})
    want, now = np.zeros_like(got), start
    for t in range(5):
        out, new = step(weights, X[:, t], now)
        runs = (t < LENGTHS)[:, None]
        want[:, t] = np.where(runs, out, 0)
        now = tuple(np.where(runs, a, b) for a, b in zip(new, now, strict=True)) if isinstance(
            new, tuple) else np.where(runs, new, now)  # fmt: skip
    np.testing.assert_allclose(got, want, rtol=1e-9)
    pairs = zip(last, now, strict=True) if isinstance(now, tuple) else [(last, now)]
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_gradient_through_time() -> None:
    """Of a deep LSTM in a loop, with respect to its inputs; and training reaches all variables."""

    def build(x: Any) -> Any:
        with st.variable_scope("net", reuse=st.AUTO_REUSE, dtype=st.float64):
            cell = CELL.MultiRNNCell([CELL.BasicLSTMCell(2), CELL.GRUCell(2)])
            outputs, state = st.nn.dynamic_rnn(cell, x, LENGTHS, dtype=st.float64)
        return outputs * outputs + st.reduce_sum(state[0].c)

    st.set_random_seed(1)
    check_gradient(build, X)
    loss = st.reduce_sum(build(st.constant(X)))
    assert all(g is not None for g in st.gradients(loss, st.trainable_variables()))
    assert len(st.trainable_variables()) == 6


def test_looped_equals_unrolled_gradient() -> None:
    """The same weights give the same gradients either way."""
    with st.variable_scope("a"):
        outputs, _ = st.nn.dynamic_rnn(CELL.LSTMCell(3, True), st.constant(X), dtype=st.float64)
    with st.variable_scope("a", reuse=True):
        listed, _ = st.nn.static_rnn(
            CELL.LSTMCell(3, True), st.unstack(st.constant(X), axis=1), dtype=st.float64
        )
    variables = st.trainable_variables()
    first = st.gradients(st.reduce_sum(st.sin(outputs)), variables)
    second = st.gradients(st.add_n([st.reduce_sum(st.sin(o)) for o in listed]), variables)
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        for a, b in session.run(list(zip(first, second, strict=True))):
            np.testing.assert_allclose(a, b, rtol=1e-9)


def test_bidirectional() -> None:
    """The second cell reads each row from its own end."""
    with st.variable_scope("both"):
        (ahead, behind), (_, last) = st.nn.bidirectional_dynamic_rnn(
            CELL.GRUCell(3), CELL.GRUCell(3), st.constant(X), LENGTHS, dtype=st.float64
        )
    with st.variable_scope("both/bidirectional_rnn/bw", reuse=True):
        turned = st.reverse_sequence(X, LENGTHS, 1, 0)
        again, _ = st.nn.dynamic_rnn(CELL.GRUCell(3), turned, LENGTHS, dtype=st.float64)
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        a, b, c, d = session.run([ahead, behind, last, again])
    assert a.shape == b.shape == (2, 5, 3)
    np.testing.assert_allclose(c, b[:, 0])
    np.testing.assert_allclose(d[1, :2], b[1, 1::-1])


def test_wrappers() -> None:
    """Dropout differs from step to step and keeps the state; residuals add; devices are set."""
    x = st.ones([1, 50])
    cell = CELL.DropoutWrapper(CELL.BasicRNNCell(50), output_keep_prob=0.5, seed=1)
    outputs, state = st.nn.static_rnn(cell, [x, x], dtype=st.float32)
    residual, _ = CELL.ResidualWrapper(CELL.BasicRNNCell(50))(x, st.zeros([1, 50]), "res")
    placed, _ = CELL.DeviceWrapper(CELL.BasicRNNCell(50), "/cpu:0")(x, st.zeros([1, 50]), "dev")
    assert placed.device == "/cpu:0"
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        (a, b), s, r = session.run([outputs, state, residual])
    assert ((a == 0) != (b == 0)).any() and (s != 0).all()
    np.testing.assert_allclose(b[b != 0], 2 * s[b != 0])
    assert ((r > 0) & (r < 2)).all()


def test_lists_of_states_as_one_tensor() -> None:
    """The older form of the LSTM state."""
    cell = CELL.BasicLSTMCell(3, state_is_tuple=False)
    assert cell.state_size == 6
    _, state = cell(st.ones([2, 4]), cell.zero_state(2, st.float32))
    assert state.shape.as_list() == [2, 6]


@pytest.mark.parametrize("kind", ["log_uniform", "uniform"])
@pytest.mark.parametrize("unique", [True, False])
def test_candidate_samplers(kind: str, unique: bool) -> None:
    """Draws follow the distribution; expected counts are what is counted."""
    sampler = getattr(st.nn, f"{kind}_candidate_sampler")
    true = np.arange(10, dtype=np.int64)[:, None]
    parts = sampler(true, 1, 4, unique, 10, seed=1)
    counts, expected = np.zeros(10), np.zeros(10)
    with st.Session() as session:
        for _ in range(2000):
            drawn, known, own = session.run(parts)
            assert not unique or len(set(drawn)) == 4
            np.add.at(counts, drawn, 1)
            expected += known[:, 0]
            np.testing.assert_allclose(own, known[drawn, 0], rtol=1e-6)
    np.testing.assert_allclose(counts, expected, rtol=0.15, atol=20)


def test_sampled_losses() -> None:
    """With all classes sampled, sampled softmax is softmax; NCE is its formula."""
    w, b = RNG.standard_normal((6, 3)), RNG.standard_normal(6)
    x, labels = RNG.standard_normal((4, 3)), np.asarray([[0], [5], [2], [2]])
    every = (
        st.constant(np.arange(6, dtype=np.int64)),
        st.constant(np.ones((4, 1))),
        st.constant(np.ones(6)),
    )
    soft = st.nn.sampled_softmax_loss(w, b, labels, x, 6, 6, sampled_values=every)
    nce = st.nn.nce_loss(w, b, labels, x, 6, 6, sampled_values=every)
    logits = x @ w.T + b
    true = np.take_along_axis(logits, labels, 1)
    with st.Session() as session:
        got_soft, got_nce = session.run([soft, nce])
    np.testing.assert_allclose(got_soft, np.log(np.exp(logits).sum(1)) - true[:, 0], rtol=1e-9)
    want = np.logaddexp(0, -true).sum(1) + np.logaddexp(0, logits).sum(1)
    np.testing.assert_allclose(got_nce, want, rtol=1e-9)
