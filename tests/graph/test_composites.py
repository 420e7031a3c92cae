"""Python functions, printing, and functions made of others, against NumPy."""

from typing import Any

import numpy as np
import pytest
import scipy.special

import systolica as st

X = np.random.default_rng(2).standard_normal((3, 4)).astype(np.float32)
Z = np.abs(X)
W, B = X.T @ X, X[0]


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


REFERENCES: list[tuple[str, Any, Any]] = [
    ("xw_plus_b", lambda: st.nn.xw_plus_b(X, W, B), X @ W + B),
    ("relu_layer", lambda: st.nn.relu_layer(X, W, B), np.maximum(X @ W + B, 0)),
    ("crelu", lambda: st.nn.crelu(X), np.maximum(np.hstack([X, -X]), 0)),
    ("selu", lambda: st.nn.selu(X),
     1.0507009873554805 * np.where(X > 0, X, 1.6732632423543772 * np.expm1(X))),
    ("zero_fraction", lambda: st.nn.zero_fraction([0.0, 1.0, 0.0, 2.0]), 0.5),
    ("weighted", lambda: st.nn.weighted_cross_entropy_with_logits(Z, X, 3.0),
     -3 * Z * scipy.special.log_expit(X) - (1 - Z) * scipy.special.log_expit(-X)),
    ("poisson", lambda: st.nn.log_poisson_loss(Z * 3, X, True),
     np.exp(X) - X * Z * 3 + np.where(Z * 3 > 1, Z * 3 * np.log(Z * 3) - Z * 3
                                      + 0.5 * np.log(2 * np.pi * Z * 3), 0)),
    ("global norm", lambda: st.nn.batch_norm_with_global_normalization(
        X, B, B * B, 1.0, 2.0, 0.1, True), (X - B) / np.sqrt(B * B + 0.1) * 2 + 1),
    ("to_int32", lambda: st.to_int32(X * 5), (X * 5).astype(np.int32)),
    ("saturate", lambda: st.saturate_cast(X * 400, st.uint8),
     np.clip(X * 400, 0, 255).astype(np.uint8)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "want"), REFERENCES, ids=[r[0] for r in REFERENCES])
def test_against_reference(name: str, make: Any, want: Any) -> None:
    """Values and static shapes."""
    tensor = make()
    with st.Session() as session:
        value = session.run(tensor)
    assert tensor.shape.compatible(value.shape)
    np.testing.assert_allclose(value, want, rtol=1e-5, atol=1e-5)


def test_statistics_make_moments() -> None:
    """Whatever the shift."""
    for shift in (None, 1.5):
        stats = st.nn.sufficient_statistics(X, [0], shift)
        mean, variance = st.nn.normalize_moments(*stats)
        with st.Session() as session:
            got = session.run([mean, variance])
        np.testing.assert_allclose(got, [X.mean(0), X.var(0)], rtol=1e-4, atol=1e-6)


def test_py_func() -> None:
    """Several results, other dtypes refused, errors named, not merged with its twin."""
    calls = []

    def halves(x: Any) -> Any:
        calls.append(1)
        return x[::2], np.int64(len(x))

    a, n = st.py_func(halves, [st.constant([1.0, 2.0, 3.0])], [st.float32, st.int64])
    st.py_func(halves, [st.constant([1.0, 2.0, 3.0])], [st.float32, st.int64])
    bad = st.py_func(lambda x: x, [st.constant(1)], st.float32, name="bad")
    with st.Session() as session:
        got, count = session.run([a, n])
        np.testing.assert_array_equal(got, [1, 3])
        assert count == 3 and len(calls) == 1
        with pytest.raises(st.errors.InvalidArgumentError, match="int32, not float32.*'bad'"):
            session.run(bad)
    with pytest.raises(st.errors.NotFoundError, match="py_func"):
        st.gradients(a, a.op.inputs[0])


def test_print(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, the first n times; the gradient passes."""
    x = st.constant([1.0, 2.0])
    y = st.Print(x, [x, st.shape(x)], "x: ", first_n=2)
    (grad,) = st.gradients(y * y, x)
    with st.Session() as session:
        for _ in range(3):
            np.testing.assert_array_equal(session.run(y), [1, 2])
    assert capsys.readouterr().err == "x: [1. 2.][2]\n" * 2
    with st.Session() as session:
        np.testing.assert_array_equal(session.run(grad), [2, 4])
