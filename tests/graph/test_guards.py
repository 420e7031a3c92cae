"""Checks of shapes, values and types, printing, and small names beside them."""

import gzip
import logging
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

import systolica as st

RNG = np.random.default_rng(6)
X = RNG.standard_normal((3, 4))
Z = X[:, :3] + 1j * RNG.standard_normal((3, 3))


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def test_shape_is_made_sure_of() -> None:
    x = st.placeholder(st.float32, [None, None])
    y = st.ensure_shape(x, [2, None])
    assert y.shape.as_list() == [2, None]
    with st.Session() as session:
        np.testing.assert_array_equal(session.run(y, {x: np.eye(2)}), np.eye(2))
        with pytest.raises(st.errors.InvalidArgumentError, match=r"\(3, 3\), not \(2, \?\)"):
            session.run(y, {x: np.eye(3)})
    with pytest.raises(st.errors.ShapeError):
        st.ensure_shape(y, [3, 3])


def test_near() -> None:
    """The tolerances of the dtype, and given ones."""
    one = np.float32([1.0])
    with st.Session() as session:
        session.run(st.assert_near(one, one * np.float32(1 + 1e-6)))
        session.run(st.assert_near(X, X * 1.01, rtol=0.02))
        session.run(st.assert_near(X, X + 0.01, atol=0.02))
        for op in (st.assert_near(one, one * np.float32(1.00001)), st.assert_near(X, X + 0.03, 0)):
            with pytest.raises(st.errors.InvalidArgumentError, match="assertion failed"):
                session.run(op)


def test_none_equal_and_ranks() -> None:
    x = st.placeholder(st.float32)
    ops = [st.assert_none_equal(x, 2.0), st.assert_rank_in(x, [1, 3])]
    with st.Session() as session:
        session.run(ops, {x: [1.0]})
        with pytest.raises(st.errors.InvalidArgumentError, match="assertion failed"):
            session.run(ops[0], {x: [1.0, 2.0]})
        with pytest.raises(st.errors.InvalidArgumentError, match="assertion failed"):
            session.run(ops[1], {x: [[1.0]]})
    with pytest.raises(st.errors.InvalidArgumentError, match="differs"):
        st.assert_none_equal([1, 2], [3, 2])
    with pytest.raises(st.errors.ShapeError, match=r"among \[0, 1\]"):
        st.assert_rank_in(X, (0, 1))


def test_common_dtype() -> None:
    assert st.assert_same_float_dtype([st.constant(X), st.Variable(X)]) is st.float64
    assert st.assert_same_float_dtype() is st.float32
    with pytest.raises(st.errors.DTypeError, match="float64, not st.float32|float64, not float32"):
        st.assert_same_float_dtype([X], st.float32)
    with pytest.raises(st.errors.DTypeError, match="int32"):
        st.assert_same_float_dtype([[1, 2]])


def test_lines_are_printed(capfd: Any, tmp_path: Path) -> None:
    """Scalars bare, long axes cut, everything else as text; to any of the streams."""
    x = st.constant(np.arange(10))
    ops = [
        st.print("x:", x, st.constant(2.5)),
        st.print(x, summarize=-1, output_stream=sys.stdout),
        st.print(st.constant([[1, 2], [3, 4]]), "|", sep="", end="", output_stream=sys.stdout),
        st.print(st.constant(True), output_stream=f"file://{tmp_path}/log"),
    ]
    with st.Session() as session:
        for op in ops:
            assert session.run(op) is None
    out, err = capfd.readouterr()
    assert err == "x: [0 1 2 ... 7 8 9] 2.5\n"
    assert out == "[0 1 2 3 4 5 6 7 8 9]\n[[1 2]\n [3 4]]|"
    assert (tmp_path / "log").read_text() == "True\n"
    with pytest.raises(st.errors.InvalidArgumentError, match="nowhere"):
        st.print(x, output_stream="nowhere")


def test_clock() -> None:
    """Read each time that it runs."""
    now = st.timestamp()
    with st.Session() as session:
        before = time.time()
        seen = [session.run(now) for _ in range(2)]
        assert before <= seen[0] <= seen[1] <= time.time()


def test_what_is_a_tensor() -> None:
    x = st.constant([1, 2])
    sparse = st.SparseTensor([[0]], [1.0], [2])
    v = st.Variable(1.0)
    assert [st.is_tensor(i) for i in (x, v, sparse, 3, X)] == [True, True, True, False, False]
    assert st.is_symbolic_tensor(x) and not st.is_symbolic_tensor(v)
    np.testing.assert_array_equal(st.get_static_value(x), [1, 2])
    assert st.get_static_value(x + 1) is None
    assert v.handle.dtype is st.resource
    assert st.TensorArray(st.float32, 1).flow.dtype is st.variant
    st.add_to_collections(["a", "b"], x)
    assert st.get_collection("a") == st.get_collection("b") == [x]


def test_several_at_once() -> None:
    x = st.constant(X)
    parts = st.identity_n([x, st.constant(1)])
    with st.Session() as session:
        got = session.run([*parts, st.guarantee_const(x)])
    np.testing.assert_array_equal(got[0], X)
    np.testing.assert_array_equal(got[2], X)
    assert got[1] == 1


def test_messages_have_a_logger() -> None:
    assert st.get_logger() is logging.getLogger("systolica")


REFERENCES: list[tuple[str, Any, Any]] = [
    ("div_no_nan", lambda: st.div_no_nan(X, np.float64([2, 0, -1, 0])),
     np.where([True, False, True, False], X / [2, 1, -1, 1], 0)),
    ("div_no_nan of integers", lambda: st.div_no_nan(np.int32([3, 1]), np.int32([2, 0])),
     np.float64([1.5, 0])),
    ("realdiv", lambda: st.realdiv(X, 2 * X), np.full((3, 4), 0.5)),
    ("log_sigmoid", lambda: st.log_sigmoid(np.float64([-800, 0.3, 40])),
     [-800, -np.log1p(np.exp(-0.3)), -np.exp(-40.0)]),
    ("to_complex64", lambda: st.to_complex64(np.float32([2])), np.complex64([2])),
    ("to_complex128", lambda: st.to_complex128(np.float64([2])), np.complex128([2])),
    ("matrix_square_root", lambda: st.matrix_square_root(X @ X.T), scipy.linalg.sqrtm(X @ X.T)),
    ("sparse_matmul", lambda: st.sparse_matmul(X, X, transpose_b=True, a_is_sparse=True),
     X @ X.T),
    ("numpy_function", lambda: st.numpy_function(np.cumsum, [X], st.float64), np.cumsum(X)),
    ("fftnd", lambda: st.fftnd(Z), np.fft.fftn(Z)),
    ("fftnd axis", lambda: st.fftnd(Z, [5], [0]), np.fft.fft(Z, 5, 0)),
    ("fftnd cut", lambda: st.fftnd(Z, [2, 4], [1, 0]), np.fft.fftn(Z, (2, 4), (1, 0))),
    ("ifftnd", lambda: st.ifftnd(Z, axes=[0, 1]), np.fft.ifftn(Z)),
    ("rfftnd", lambda: st.rfftnd(X), np.fft.rfftn(X)),
    ("rfftnd axes", lambda: st.rfftnd(X, [3, 5], [1, 0]), np.fft.rfftn(X, (3, 5), (1, 0))),
    ("irfftnd", lambda: st.irfftnd(Z), np.fft.irfftn(Z)),
    ("irfftnd odd", lambda: st.irfftnd(Z, [3, 5]), np.fft.irfftn(Z, (3, 5), (0, 1))),
    ("irfftnd of one", lambda: st.irfftnd(Z, [6], [0]), np.fft.irfft(Z, 6, 0)),
    ("decode zlib", lambda: st.decode_compressed(
        np.frombuffer(zlib.compress(b"the bytes"), np.uint8), "ZLIB"), list(b"the bytes")),
    ("decode gzip", lambda: st.decode_compressed(
        np.frombuffer(gzip.compress(b"more"), np.uint8), "GZIP"), list(b"more")),
    ("decode none", lambda: st.decode_compressed(np.uint8([3, 4])), [3, 4]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "want"), REFERENCES, ids=[r[0] for r in REFERENCES])
def test_against_numpy(name: str, make: Any, want: Any) -> None:
    with st.Session() as session:
        got = session.run(make())
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
        if isinstance(want, np.ndarray):
            assert got.dtype == want.dtype


def test_what_they_refuse() -> None:
    with st.Session() as session:
        with pytest.raises(st.errors.OpError, match="no real square root"):
            session.run(st.matrix_square_root(-np.eye(2)))
        with pytest.raises(st.errors.InvalidArgumentError, match="4 bytes are no ZLIB"):
            session.run(st.decode_compressed(np.uint8([1, 2, 3, 4]), "ZLIB"))
        with pytest.raises(st.errors.InvalidArgumentError, match="negative"):
            session.run(st.random_poisson([-1.0], [2]))
    with pytest.raises(st.errors.InvalidArgumentError, match="BZIP"):
        st.decode_compressed(np.uint8([1]), "BZIP")
    with pytest.raises(st.errors.ShapeError, match="1 lengths for 2 axes"):
        st.fftnd(Z, [4], [0, 1])
    with pytest.raises(st.errors.DTypeError, match="real"):
        st.rfftnd(Z)


def test_gradient_of_transforms_and_of_quotients() -> None:
    """Of |F x|^2 it is 2 n x (Parseval); of a quotient by zero it is zero."""
    x = st.constant(X)
    power = st.reduce_sum(st.square(st.abs(st.fftnd(st.to_complex128(x)))))
    quotient = st.reduce_sum(st.div_no_nan(x, [2.0, 0, 1, 0]))
    with st.Session() as session:
        got = session.run([st.gradients(y, x)[0] for y in (power, quotient)])
    np.testing.assert_allclose(got[0], 2 * X.size * X)
    np.testing.assert_array_equal(got[1], np.broadcast_to([0.5, 0, 1, 0], (3, 4)))


def test_poisson_numbers_have_their_distribution() -> None:
    """Each count as often as its probability says, within five standard deviations."""
    with st.Session() as session:
        drawn = session.run(st.random_poisson([0.7, 4.0], [20000], st.int32, seed=3))
    assert drawn.shape == (20000, 2) and drawn.dtype == np.int32
    for column, rate in enumerate((0.7, 4.0)):
        for count in range(4):
            p = scipy.stats.poisson.pmf(count, rate)
            seen = (drawn[:, column] == count).mean()
            assert abs(seen - p) < 5 * np.sqrt(p * (1 - p) / 20000)


def test_variable_in_parts() -> None:
    """As a list, each initialised with its part of the whole."""
    parts = st.create_partitioned_variables([3, 4], [1, 3], X, st.float64, name="w")
    assert [p.name for p in parts] == ["w/part_0:0", "w/part_1:0", "w/part_2:0"]
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        np.testing.assert_array_equal(np.concatenate(session.run(parts), 1), X)
    with pytest.raises(st.errors.InvalidArgumentError, match="one axis"):
        st.create_partitioned_variables([3, 4], [2, 2], X, st.float64)
