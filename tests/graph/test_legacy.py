"""Names of 2015 and 2016 do what their successors do."""

from typing import Any

import numpy as np
import pytest

import systolica as st

RNG = np.random.default_rng(6)
M = RNG.standard_normal((2, 3, 3)) + 4 * np.eye(3)
P = M @ M.swapaxes(1, 2)
R = RNG.standard_normal((2, 3, 2))

REFERENCES: list[tuple[str, Any, Any]] = [
    ("batch_cholesky", lambda: st.batch_cholesky(P), np.linalg.cholesky(P)),
    ("batch_cholesky_solve", lambda: st.batch_cholesky_solve(np.linalg.cholesky(P), R),
     np.linalg.solve(P, R)),
    ("batch_matrix_band_part", lambda: st.batch_matrix_band_part(M, 0, -1), np.triu(M)),
    ("batch_matrix_determinant", lambda: st.batch_matrix_determinant(M), np.linalg.det(M)),
    ("batch_matrix_diag", lambda: st.batch_matrix_diag(R[:, :, 0]),
     R[:, :, 0, None] * np.eye(3)),
    ("batch_matrix_diag_part", lambda: st.batch_matrix_diag_part(M),
     np.diagonal(M, axis1=1, axis2=2)),
    ("batch_matrix_inverse", lambda: st.batch_matrix_inverse(M), np.linalg.inv(M)),
    ("batch_matrix_set_diag", lambda: st.batch_matrix_set_diag(M, R[:, :, 0]),
     M * (1 - np.eye(3)) + R[:, :, 0, None] * np.eye(3)),
    ("batch_matrix_solve", lambda: st.batch_matrix_solve(M, R), np.linalg.solve(M, R)),
    ("batch_matrix_solve_ls", lambda: st.batch_matrix_solve_ls(M, R), np.linalg.solve(M, R)),
    ("batch_matrix_transpose", lambda: st.batch_matrix_transpose(M), M.swapaxes(1, 2)),
    ("batch_matrix_triangular_solve", lambda: st.batch_matrix_triangular_solve(M, R),
     np.linalg.solve(np.tril(M), R)),
    ("batch_matmul", lambda: st.batch_matmul(M, R), M @ R),
    ("batch_self_adjoint_eigvals", lambda: st.batch_self_adjoint_eigvals(P),
     np.linalg.eigvalsh(P)),
    ("batch_self_adjoint_eig", lambda: st.batch_self_adjoint_eig(P)[0], np.linalg.eigvalsh(P)),
    ("batch_svd", lambda: st.batch_svd(M)[0], np.linalg.svd(M, compute_uv=False)),
    ("inv", lambda: st.inv(M), 1 / M),
    ("listdiff", lambda: st.listdiff([1, 2, 3], [2])[0], [1, 3]),
    ("pack", lambda: st.pack([R, R], 1), np.stack([R, R], 1)),
    ("unpack", lambda: st.unpack(st.constant(R), axis=2)[1], R[:, :, 1]),
    ("shape_n", lambda: st.shape_n([M, R])[1], [2, 3, 2]),
    ("scalar_mul", lambda: st.scalar_mul(2.0, st.constant(R)), 2 * R),
    ("select", lambda: st.select(R > 0, st.constant(R), -R), abs(R)),
    ("sub", lambda: st.sub(M, 1.0), M - 1),
    ("neg", lambda: st.neg(M), -M),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "want"), REFERENCES, ids=[r[0] for r in REFERENCES])
def test_against_numpy(name: str, make: Any, want: Any) -> None:
    with st.Graph().as_default(), st.Session() as session:
        np.testing.assert_allclose(session.run(make()), want, rtol=1e-9, atol=1e-12)


def test_slices_stay_slices() -> None:
    with st.Graph().as_default(), st.Session() as session:
        x = st.IndexedSlices(st.constant([[1.0], [2.0]]), st.constant([0, 3]))
        value = session.run(st.scalar_mul(3.0, x))
        assert value.values.ravel().tolist() == [3, 6] and value.indices.tolist() == [0, 3]


def test_scopes_and_variables() -> None:
    with st.Graph().as_default(), st.Session() as session:
        with st.op_scope([], None, "group"):
            assert st.constant(1.0, name="x").name == "group/x:0"
        with st.variable_op_scope([], "layer"):
            v = st.get_variable("v", [2])
        w = st.Variable(1.0, collections=[st.GraphKeys.LOCAL_VARIABLES], trainable=False)
        assert st.all_variables() == [v] and v.name == "layer/v:0"
        session.run([st.initialize_variables([v]), st.initialize_local_variables()])
        assert session.run(w) == 1
