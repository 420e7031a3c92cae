"""Sparse tensors against the same done with dense arrays, and their gradients by differences."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse
import scipy.special

import systolica as st

RNG = np.random.default_rng(12)


def random_dense(*shape: int) -> Any:
    x = RNG.standard_normal(shape)
    return np.where(RNG.uniform(size=shape) < 0.5, x, 0)


A, B = random_dense(3, 4), random_dense(3, 4)
CUBE = random_dense(2, 3, 4)
RIGHT = RNG.standard_normal((4, 2))
IDS = np.asarray([[2, 0, -1], [1, -1, -1], [3, 3, 1]])


def sparse(x: Any, keep: Any = None) -> Any:
    """`x` as a SparseTensor of its nonzero (or chosen) elements."""
    at = np.argwhere(x != 0 if keep is None else keep)
    return st.SparseTensor(at, x[tuple(at.T)], x.shape)


def dense(value: Any) -> Any:
    out = np.zeros(tuple(value.dense_shape), np.asarray(value.values).dtype)
    out[tuple(np.asarray(value.indices).T)] = value.values
    return out


def run(make: Any) -> Any:
    with st.Graph().as_default(), st.Session() as session:
        return session.run(make())


def largest(x: Any, axis: Any) -> Any:
    """Of the elements that are not zero; 0 where there is none."""
    top = np.where(x != 0, x, -np.inf).max(axis)
    return np.where(np.isfinite(top), top, 0)


def mixed() -> Any:
    return st.SparseTensor([[1, 0], [0, 1]], [1.0, 2.0], [2, 2])


REFERENCES: list[tuple[str, Any, Any]] = [
    ("sparse_add", lambda: st.sparse_add(sparse(A), sparse(B)), A + B),
    ("sparse_add dense", lambda: st.sparse_add(sparse(A), st.constant(B)), A + B),
    ("sparse_add thresh", lambda: st.sparse_add(sparse(A), sparse(B), 0.8),
     np.where(abs(A + B) >= 0.8, A + B, 0)),
    ("sparse_concat", lambda: st.sparse_concat(1, [sparse(A), sparse(B)]), np.hstack([A, B])),
    ("sparse_concat rows", lambda: st.sparse_concat(0, [sparse(A), sparse(B)]), np.vstack([A, B])),
    ("sparse_maximum", lambda: st.sparse_maximum(sparse(A), sparse(B)), np.maximum(A, B)),
    ("sparse_minimum", lambda: st.sparse_minimum(sparse(A), sparse(B)), np.minimum(A, B)),
    ("sparse_reduce_sum", lambda: st.sparse_reduce_sum(sparse(CUBE), [0, 2]), CUBE.sum((0, 2))),
    ("sparse_reduce_sum all", lambda: st.sparse_reduce_sum(sparse(CUBE)), CUBE.sum()),
    ("sparse_reduce_sum keep", lambda: st.sparse_reduce_sum(sparse(CUBE), 1, keep_dims=True),
     CUBE.sum(1, keepdims=True)),
    ("sparse_reduce_sum_sparse", lambda: st.sparse_reduce_sum_sparse(sparse(CUBE), 1),
     CUBE.sum(1)),
    ("sparse_reduce_sum_sparse keep",
     lambda: st.sparse_reduce_sum_sparse(sparse(CUBE), 1, keep_dims=True),
     CUBE.sum(1, keepdims=True)),
    ("sparse_reduce_max", lambda: st.sparse_reduce_max(sparse(CUBE), [0, 2]),
     largest(CUBE, (0, 2))),
    ("sparse_reduce_max all", lambda: st.sparse_reduce_max(sparse(-np.abs(A))),
     largest(-np.abs(A), None)),
    ("sparse_reduce_max keep", lambda: st.sparse_reduce_max(sparse(CUBE), 1, keep_dims=True),
     largest(CUBE, 1)[:, None]),
    ("sparse_reduce_max_sparse", lambda: st.sparse_reduce_max_sparse(sparse(CUBE), 1),
     largest(CUBE, 1)),
    ("sparse_slice", lambda: st.sparse_slice(sparse(CUBE), [0, 1, 0], [1, 9, 2]),
     CUBE[:1, 1:, :2]),
    ("sparse_slice outside", lambda: st.sparse_slice(sparse(A), st.constant([9, 0], st.int64),
                                                     [2, 2]), np.zeros((0, 2), A.dtype)),
    ("sparse_reorder", lambda: st.sparse_reorder(mixed()),
     np.asarray([[0, 2], [1, 0]], np.float32)),
    ("sparse_reset_shape", lambda: st.sparse_reset_shape(sparse(np.pad(A[:2], [(0, 2), (0, 3)]))),
     A[:2][:, : np.argwhere(A[:2])[:, 1].max() + 1]),
    ("sparse_reset_shape to", lambda: st.sparse_reset_shape(sparse(A), [5, 5]),
     np.pad(A, [(0, 2), (0, 1)])),
    ("sparse_reshape", lambda: st.sparse_reshape(sparse(CUBE), [4, -1]), CUBE.reshape(4, 6)),
    ("sparse_retain", lambda: st.sparse_retain(sparse(A), A[A != 0] > 0), np.maximum(A, 0)),
    ("sparse_tensor_dense_matmul", lambda: st.sparse_tensor_dense_matmul(sparse(A), RIGHT),
     A @ RIGHT),
    ("sparse_tensor_dense_matmul adjoint",
     lambda: st.sparse_tensor_dense_matmul(sparse(A.T.copy()), RIGHT.T.copy(), True, True),
     A @ RIGHT),
    ("sparse_tensor_to_dense", lambda: st.sparse_tensor_to_dense(sparse(A)), A),
    ("sparse_to_dense", lambda: st.sparse_to_dense([[0, 1], [2, 0]], [3, 2], [5, 6], -1),
     [[-1, 5], [-1, -1], [6, -1]]),
    ("sparse_to_dense vector", lambda: st.sparse_to_dense([1, 3], [5], 7.0), [0, 7, 0, 7, 0]),
    ("sparse_to_indicator", lambda: st.sparse_to_indicator(sparse(IDS, IDS >= 0), 5),
     [[1, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 1, 0, 1, 0]]),
    ("sparse_transpose", lambda: st.sparse_transpose(sparse(CUBE), [2, 0, 1]),
     CUBE.transpose(2, 0, 1)),
    ("sparse_transpose reversed", lambda: st.sparse_transpose(sparse(A)), A.T),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "want"), REFERENCES, ids=[r[0] for r in REFERENCES])
def test_against_dense(name: str, make: Any, want: Any) -> None:
    value = run(make)
    if hasattr(value, "dense_shape"):
        flat = np.ravel_multi_index(tuple(value.indices.T), tuple(value.dense_shape))
        assert (np.diff(flat) > 0).all(), "coordinates in order, none twice"
        value = dense(value)
    np.testing.assert_allclose(value, want, rtol=1e-12)


def test_against_scipy() -> None:
    """The product with SciPy's own sparse matrices."""
    got = run(lambda: st.sparse_tensor_dense_matmul(sparse(A), RIGHT))
    np.testing.assert_allclose(got, scipy.sparse.csr_matrix(A) @ RIGHT)


def test_softmax_counts_only_what_is_there() -> None:
    got = run(lambda: st.sparse_softmax(sparse(CUBE)))
    want = np.where(CUBE != 0, CUBE, -np.inf)
    rows = (CUBE != 0).any(-1)
    np.testing.assert_allclose(dense(got)[rows], scipy.special.softmax(want[rows], -1))


def test_split_and_fill() -> None:
    parts = run(lambda: st.sparse_split(sp_input=sparse(CUBE), num_split=3, axis=2))
    for got, want in zip(parts, np.array_split(CUBE, 3, 2), strict=True):
        np.testing.assert_array_equal(dense(got), want)
    x = np.asarray([[0.0, 2], [0, 0], [3, 0]])
    filled, empty = run(lambda: st.sparse_fill_empty_rows(sparse(x), 9.0))
    np.testing.assert_array_equal(dense(filled), [[0, 2], [9, 0], [3, 0]])
    assert empty.tolist() == [False, True, False]


def test_merge_and_mask() -> None:
    ids, weights = sparse_ids(), np.asarray([0.5, 1, 2, 4, 8])
    got = run(lambda: st.sparse_merge(ids(), ids().with_values(weights), 6))
    want = np.zeros((3, 6))
    want[[0, 0, 1, 2, 2], [2, 0, 1, 3, 5]] = weights
    np.testing.assert_array_equal(dense(got), want)

    def masked() -> Any:
        slices = st.IndexedSlices(st.constant([[1.0], [2.0], [3.0]]), st.constant([4, 0, 7]))
        return st.sparse_mask(slices, [0])

    value = run(masked)
    assert value.indices.tolist() == [4, 7] and value.values.ravel().tolist() == [1, 3]


def sparse_ids() -> Any:
    places = [[0, 0], [0, 1], [1, 0], [2, 0], [2, 1]]
    return lambda: st.SparseTensor(places, np.asarray([2, 0, 1, 3, 5]), [3, 2])


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
@pytest.mark.parametrize("tables", [1, 2])
def test_embedding_lookup_sparse(combiner: str, tables: int) -> None:
    """The rows of each sparse row, combined; also from a table in two parts."""
    table = RNG.standard_normal((6, 3))
    ids, weights = sparse_ids(), np.asarray([0.5, 1, 2, 4, 8])
    params = table if tables == 1 else [table[::2], table[1::2]]
    rows = [[(2, 0.5), (0, 1)], [(1, 2)], [(3, 4), (5, 8)]]
    want = []
    for row in rows:
        total = sum(w * table[i] for i, w in row)
        norm = {"sum": 1, "mean": sum(w for _, w in row),
                "sqrtn": np.sqrt(sum(w * w for _, w in row))}[combiner]  # fmt: skip
        want.append(total / norm)
    got = run(
        lambda: st.nn.embedding_lookup_sparse(
            params, ids(), ids().with_values(weights), combiner=combiner
        )
    )
    np.testing.assert_allclose(got, want)
    plain = run(lambda: st.nn.embedding_lookup_sparse(params, ids(), None, combiner="sum"))
    np.testing.assert_allclose(plain[0], table[2] + table[0])


def test_edit_distance_by_definition() -> None:
    """Against the recursion, over random sequences."""

    def distance(a: Any, b: Any) -> int:
        if not len(a) or not len(b):
            return len(a) + len(b)
        same = distance(a[1:], b[1:]) + (a[0] != b[0])
        return int(min(same, distance(a[1:], b) + 1, distance(a, b[1:]) + 1))

    def rows(count: int) -> Any:
        return [RNG.integers(0, 3, RNG.integers(0, 6)).tolist() for _ in range(count)]

    left, right = rows(8), rows(8)
    right[0], left[0] = [1], []

    def packed(values: Any) -> Any:
        at = [(i, j) for i, row in enumerate(values) for j in range(len(row))]
        return st.SparseTensor(at, np.asarray([v for r in values for v in r]), [8, 6])

    got = run(lambda: st.edit_distance(packed(left), packed(right), normalize=False))
    assert got.tolist() == [distance(a, b) for a, b in zip(left, right, strict=True)]
    share = run(lambda: st.edit_distance(packed(left), packed(right)))
    assert share[0] == pytest.approx(1.0)


GRADIENTS: dict[str, Any] = {
    "sparse_add": lambda s, d: st.sparse_add(s, s).values,
    "sparse_concat": lambda s, d: st.sparse_concat(0, [s, s]).values,
    "sparse_fill_empty_rows": lambda s, d: st.sparse_fill_empty_rows(s, 2.0)[0].values,
    "sparse_maximum": lambda s, d: st.sparse_maximum(s, st.sparse_transpose(s)).values,
    "sparse_reduce_sum": lambda s, d: st.sparse_reduce_sum(s, 1),
    "sparse_reduce_max": lambda s, d: st.sparse_reduce_max(s, 1),
    "sparse_slice": lambda s, d: st.sparse_slice(s, [0, 0], [2, 3]).values,
    "sparse_reorder": lambda s, d: st.sparse_reorder(s).values,
    "sparse_softmax": lambda s, d: st.sparse_softmax(s).values,
    "sparse_tensor_dense_matmul": lambda s, d: st.sparse_tensor_dense_matmul(s, d),
    "sparse_tensor_to_dense": lambda s, d: st.sparse_tensor_to_dense(s),
}


@pytest.mark.parametrize("name", list(GRADIENTS))
def test_gradient_of_the_values(name: str) -> None:
    x = np.asarray([[0, 1.5, 0], [2.0, 0, 0.7], [0.3, 0, -1]])
    start = [x[x != 0], RNG.standard_normal((3, 2))]
    with st.Graph().as_default(), st.Session() as session:
        v, d = st.placeholder(st.float64, [None]), st.placeholder(st.float64, [3, 2])
        out = GRADIENTS[name](st.SparseTensor(np.argwhere(x), v, [3, 3]), d)
        feeds = {v: start[0], d: start[1]}
        weights = RNG.standard_normal(session.run(out, feeds).shape)
        loss = st.reduce_sum(out * weights)
        grads = [
            st.convert_to_tensor(g)
            for g in st.gradients(loss, [v, d], unconnected_gradients="zero")
        ]
        got = session.run(grads, feeds)
        evaluate = session.make_callable(loss, [v, d])
        for position in range(2):
            want = np.zeros(start[position].shape)
            for at in np.ndindex(want.shape):
                sides = []
                for step in (1e-6, -1e-6):
                    moved = [s.copy() for s in start]
                    moved[position][at] += step
                    sides.append(evaluate(*moved))
                want[at] = (sides[0] - sides[1]) / 2e-6
            np.testing.assert_allclose(got[position], want, rtol=1e-5, atol=1e-7)


def test_placeholders_are_fed_with_values() -> None:
    """A triple or a SparseTensorValue; what a session gives can be fed again."""
    with st.Graph().as_default(), st.Session() as session:
        s = st.sparse_placeholder(st.float64, [3, 4])
        open_ = st.sparse_placeholder(st.float64)
        value = session.run(sparse(A))
        assert isinstance(value, st.SparseTensorValue)
        total = st.sparse_reduce_sum(s)
        assert session.run(total, {s: value}) == pytest.approx(A.sum())
        assert session.run(total, {s: tuple(value)}) == pytest.approx(A.sum())
        np.testing.assert_array_equal(dense(session.run(open_, {open_: value})), A)
        assert open_.eval({open_: value}).dense_shape.tolist() == [3, 4]
        with pytest.raises(st.errors.InvalidArgumentError, match="3 parts"):
            session.run(total, {s: A})
        with pytest.raises(st.errors.InvalidArgumentError, match="cannot feed"):
            session.run(total, {s: (value.indices, value.values, [3, 5])})


def test_errors() -> None:
    """Unordered or outside coordinates are told, as is a sparse tensor of the wrong parts."""
    with pytest.raises(st.errors.InvalidArgumentError, match="must rise"):
        run(lambda: st.sparse_to_dense([[1], [0]], [2], [1.0, 2.0]))
    with pytest.raises(st.errors.InvalidArgumentError, match=r"index \[5\] is outside"):
        run(lambda: st.sparse_to_dense([[5]], [2], [1.0]))
    with st.Graph().as_default():
        with pytest.raises(st.errors.ShapeError):
            st.SparseTensor([[0, 0]], [1.0, 2.0], [2, 2])
        with pytest.raises(st.errors.InvalidArgumentError, match="dense_shape"):
            st.SparseTensor([[0, 0]], [1.0])
        with pytest.raises(st.errors.DTypeError):
            st.sparse_reorder(st.constant(1.0))
        both = st.convert_to_tensor_or_sparse_tensor
        assert isinstance(both(st.SparseTensorValue([[0]], [1.0], [1])), st.SparseTensor)
        assert isinstance(both([1.0]), st.Tensor)
