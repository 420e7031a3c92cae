"""Linear algebra against NumPy and SciPy."""

from typing import Any

import numpy as np
import pytest
import scipy.linalg

import systolica as st

RNG = np.random.default_rng(5)
A = RNG.standard_normal((2, 4, 4)) + 3 * np.eye(4)
B = RNG.standard_normal((2, 4, 3))
S = A @ np.swapaxes(A, -1, -2)
T = RNG.standard_normal((3, 4, 5))
X = RNG.standard_normal((4, 3))

REFERENCES: list[tuple[str, Any, Any]] = [
    ("cholesky", lambda: st.cholesky(S), np.linalg.cholesky(S)),
    ("cholesky_solve", lambda: st.cholesky_solve(st.cholesky(S), B), np.linalg.solve(S, B)),
    ("cross", lambda: st.cross(X, X[::-1].copy()), np.cross(X, X[::-1])),
    ("determinant", lambda: st.matrix_determinant(A), np.linalg.det(A)),
    ("diag", lambda: st.diag([1.0, 2.0]), np.diag([1.0, 2.0])),
    ("diag matrix", lambda: st.diag(st.constant([[1.0, 2.0]])),
     np.float32([1, 0, 0, 2]).reshape(1, 2, 1, 2)),
    ("diag_part", lambda: st.diag_part(st.constant(A[0])), np.diag(A[0])),
    ("einsum", lambda: st.einsum("abc,dc->bad", T, T[0]), np.einsum("abc,dc->bad", T, T[0])),
    ("einsum implicit", lambda: st.einsum("ba,bc", X, X), np.einsum("ba,bc", X, X)),
    ("eye", lambda: st.eye(2, 3, [2]), np.broadcast_to(np.eye(2, 3), (2, 2, 3))),
    ("inverse", lambda: st.matrix_inverse(A, adjoint=True),
     np.linalg.inv(np.swapaxes(A, -1, -2))),
    ("band", lambda: st.matrix_band_part(A[0], 1, -1), np.triu(A[0], -1)),
    ("matrix_diag", lambda: st.matrix_diag(X), np.stack([np.diag(r) for r in X])),
    ("set_diag", lambda: st.matrix_set_diag(A[0], np.zeros(4)), A[0] * (1 - np.eye(4))),
    ("solve", lambda: st.matrix_solve(A, B), np.linalg.solve(A, B)),
    ("solve adjoint", lambda: st.matrix_solve(A[0], B[0], True), np.linalg.solve(A[0].T, B[0])),
    ("least squares tall", lambda: st.matrix_solve_ls(X, B[0]), np.linalg.lstsq(X, B[0])[0]),
    ("least squares wide", lambda: st.matrix_solve_ls(X.T.copy(), B[0, :3]),
     np.linalg.lstsq(X.T, B[0, :3])[0]),
    ("ridge", lambda: st.matrix_solve_ls(X, B[0], 0.5),
     np.linalg.solve(X.T @ X + 0.5 * np.eye(3), X.T @ B[0])),
    ("triangular", lambda: st.matrix_triangular_solve(A[0], B[0], lower=False),
     scipy.linalg.solve_triangular(A[0], B[0])),
    ("norm", lambda: st.norm(X), np.linalg.norm(X)),
    ("norm rows", lambda: st.norm(X, axis=1, keep_dims=True),
     np.linalg.norm(X, axis=1, keepdims=True)),
    ("norm 1", lambda: st.norm(X, 1, 0), np.linalg.norm(X, 1, 0)),
    ("norm inf", lambda: st.norm(X, np.inf, 0), np.abs(X).max(0)),
    ("norm 3", lambda: st.norm(X, 3, 0), np.linalg.norm(X, 3, 0)),
    ("norm fro", lambda: st.norm(A, "fro", [1, 2]), np.linalg.norm(A, "fro", (1, 2))),
    ("eigenvalues", lambda: st.self_adjoint_eigvals(S), np.linalg.eigvalsh(S)),
    ("singular values", lambda: st.svd(T, compute_uv=False),
     np.linalg.svd(T, compute_uv=False)),
    ("tensordot", lambda: st.tensordot(T, X, [[1], [0]]), np.tensordot(T, X, [[1], [0]])),
    ("trace", lambda: st.trace(A), np.trace(A, axis1=1, axis2=2)),
    ("transpose", lambda: st.matrix_transpose(T), np.swapaxes(T, -1, -2)),
]  # fmt: skip


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


@pytest.mark.parametrize(("name", "make", "want"), REFERENCES, ids=[r[0] for r in REFERENCES])
def test_against_reference(name: str, make: Any, want: Any) -> None:
    """Values and static shapes."""
    tensor = make()
    with st.Session() as session:
        value = session.run(tensor)
    assert tensor.shape.compatible(value.shape)
    assert value.dtype == tensor.dtype.numpy
    np.testing.assert_allclose(value, want, rtol=1e-8, atol=1e-10)


def test_factors_multiply_to_the_matrix() -> None:
    """QR, SVD and the eigenvectors, whatever their signs."""
    q, r = st.qr(T[..., :3])
    s, u, v = st.svd(T)
    e, w = st.self_adjoint_eig(S)
    with st.Session() as session:
        q_, r_, s_, u_, v_, e_, w_ = session.run([q, r, s, u, v, e, w])
    np.testing.assert_allclose(q_ @ r_, T[..., :3], atol=1e-12)
    np.testing.assert_allclose((u_ * s_[:, None]) @ np.swapaxes(v_, 1, 2), T, atol=1e-12)
    np.testing.assert_allclose((w_ * e_[:, None]) @ np.swapaxes(w_, 1, 2), S, atol=1e-10)


def test_partition_and_stitch_are_inverse() -> None:
    """Numbers, order within a part, and later parts winning."""
    data = st.constant(np.arange(12.0).reshape(6, 2))
    parts = st.dynamic_partition(data, [1, 0, 2, 1, 0, 2], 4)
    places = st.dynamic_partition(st.range(6), [1, 0, 2, 1, 0, 2], 4)
    again = st.dynamic_stitch(places, parts)
    over = st.dynamic_stitch([[0, 2], [2]], [[1.0, 2.0], [3.0]])
    with st.Session() as session:
        np.testing.assert_array_equal(session.run(parts[1]), [[0, 1], [6, 7]])
        assert session.run(parts[3]).shape == (0, 2)
        np.testing.assert_array_equal(*session.run([again, data]))
        np.testing.assert_array_equal(session.run(over), [1, 0, 3])
        with pytest.raises(st.errors.InvalidArgumentError, match="partition 4 is outside"):
            session.run(st.dynamic_partition([1.0], [4], 2))


ERRORS: list[tuple[Any, str]] = [
    (lambda: st.matrix_inverse(X), "square"),
    (lambda: st.matrix_determinant([1.0, 2.0]), "matrices"),
    (lambda: st.einsum("ii->i", A[0]), "repeated"),
    (lambda: st.einsum("ij->ik", X), "label of no input"),
    (lambda: st.einsum("ij,jk->ik", X, X), "sizes 3 and 4"),
    (lambda: st.norm(X, "nuclear"), "nuclear"),
    (lambda: st.matrix_solve(A, B[:, :3]), "not compatible"),
]


@pytest.mark.parametrize(("make", "match"), ERRORS)
def test_errors_while_building(make: Any, match: str) -> None:
    """With what is wrong."""
    with pytest.raises(st.errors.InvalidArgumentError, match=match):
        make()


def test_singular_matrix_is_an_error_that_names_the_op() -> None:
    """NumPy's exception does not escape."""
    bad = st.matrix_inverse(np.zeros((2, 2)), name="bad")
    with st.Session() as session:
        with pytest.raises(st.errors.InvalidArgumentError, match="'bad'"):
            session.run(bad)
