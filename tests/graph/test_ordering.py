"""Sorting, searching, counting, lookups by row, repeating, and scattering into tensors, against
NumPy."""

from typing import Any

import numpy as np
import pytest

import systolica as st

RNG = np.random.default_rng(31)
X = RNG.standard_normal((3, 4))
CUBE = RNG.standard_normal((2, 3, 4))
TIED = np.int32([[2, 1, 2, 1], [0, 0, 3, 3]])
BYTES = np.uint8([3, 255, 0, 3])
ROWS = np.sort(RNG.standard_normal((2, 5)), -1)
NUMBERS = np.int32([[1, 3, 1], [0, 6, 1]])
WEIGHTS = RNG.standard_normal((2, 3))
AT = np.int32([[0, 3, 3], [1, 1, 0], [2, 0, 1]])
PLACES = np.int32([[0, 1], [2, 3], [0, 1]])
CHANGES = np.float64([1.5, -9.0, 4.0])


def scattered(start: Any, change: Any) -> Any:
    out = np.array(start)
    if change is None:
        for at, value in zip(PLACES, CHANGES, strict=True):
            out[tuple(at)] = value
    else:
        change.at(out, tuple(PLACES.T), CHANGES)
    return out


def binned(values: Any, low: float, high: float, bins: int) -> Any:
    edges = np.linspace(low, high, bins + 1)
    return np.clip(np.digitize(values, edges) - 1, 0, bins - 1)


REFERENCES: list[tuple[str, Any, Any]] = [
    ("sort", lambda: st.sort(X), np.sort(X)),
    ("sort axis", lambda: st.sort(CUBE, 1), np.sort(CUBE, 1)),
    ("sort falling", lambda: st.sort(X, 0, "DESCENDING"), -np.sort(-X, 0)),
    ("sort bytes falling", lambda: st.sort(BYTES, direction="DESCENDING"), [255, 3, 3, 0]),
    ("argsort", lambda: st.argsort(TIED), np.argsort(TIED, kind="stable")),
    ("argsort falling", lambda: st.argsort(TIED, direction="DESCENDING"),
     np.argsort(-TIED, kind="stable")),
    ("argsort axis", lambda: st.argsort(CUBE, 0), np.argsort(CUBE, 0)),
    ("searchsorted", lambda: st.searchsorted(ROWS, WEIGHTS),
     [np.searchsorted(r, v) for r, v in zip(ROWS, WEIGHTS, strict=True)]),
    ("searchsorted right", lambda: st.searchsorted([1, 2, 2, 5], [2, 6, 0], "right", st.int64),
     np.int64([3, 4, 0])),
    ("batch_gather", lambda: st.batch_gather(X, AT), np.take_along_axis(X, AT, 1)),
    ("batch_gather of rows", lambda: st.batch_gather(CUBE, [[2, 0], [1, 1]]),
     np.stack([CUBE[0, [2, 0]], CUBE[1, [1, 1]]])),
    ("repeat", lambda: st.repeat(X, 2, axis=1), np.repeat(X, 2, 1)),
    ("repeat each", lambda: st.repeat(X, [2, 0, 3], axis=0), np.repeat(X, [2, 0, 3], 0)),
    ("repeat flat", lambda: st.repeat(X, 3), np.repeat(X, 3)),
    ("unravel_index", lambda: st.unravel_index([5, 22, 0], [3, 8]),
     np.stack(np.unravel_index([5, 22, 0], (3, 8)))),
    ("bincount", lambda: st.bincount(NUMBERS), np.bincount(NUMBERS.ravel())),
    ("bincount weights", lambda: st.bincount(NUMBERS, WEIGHTS),
     np.bincount(NUMBERS.ravel(), WEIGHTS.ravel())),
    ("bincount longer", lambda: st.bincount(NUMBERS, minlength=9),
     np.bincount(NUMBERS.ravel(), minlength=9)),
    ("bincount shorter", lambda: st.bincount(NUMBERS, maxlength=3, dtype=st.float32),
     np.float32([1, 3, 0])),
    ("bincount of none", lambda: st.bincount(np.zeros(0, np.int32)), np.zeros(0, np.int32)),
    ("histogram_fixed_width_bins", lambda: st.histogram_fixed_width_bins(X, [-1.0, 1.0], 7),
     binned(X, -1, 1, 7)),
    ("broadcast_to", lambda: st.broadcast_to(X[:, None], [2, 3, 5, 4]),
     np.broadcast_to(X[:, None], (2, 3, 5, 4))),
    ("broadcast_dynamic_shape", lambda: st.broadcast_dynamic_shape(
        st.constant([3, 1, 4]), st.constant([5, 1])), [3, 5, 4]),
    ("tensor_scatter_update", lambda: st.tensor_scatter_update(X, PLACES, CHANGES),
     scattered(X, None)),
    ("tensor_scatter_nd_update", lambda: st.tensor_scatter_nd_update(X, [[1]], X[:1]),
     np.stack([X[0], X[0], X[2]])),
    ("tensor_scatter_add", lambda: st.tensor_scatter_add(X, PLACES, CHANGES),
     scattered(X, np.add)),
    ("tensor_scatter_nd_add", lambda: st.tensor_scatter_nd_add(X, PLACES, CHANGES),
     scattered(X, np.add)),
    ("tensor_scatter_sub", lambda: st.tensor_scatter_sub(X, PLACES, CHANGES),
     scattered(X, np.subtract)),
    ("tensor_scatter_nd_sub", lambda: st.tensor_scatter_nd_sub(X, PLACES, CHANGES),
     scattered(X, np.subtract)),
    ("tensor_scatter_nd_min", lambda: st.tensor_scatter_nd_min(X, PLACES, CHANGES),
     scattered(X, np.minimum)),
    ("tensor_scatter_nd_max", lambda: st.tensor_scatter_nd_max(X, PLACES, CHANGES),
     scattered(X, np.maximum)),
    ("arg_max", lambda: st.arg_max(X, 1), X.argmax(1)),
    ("arg_min", lambda: st.arg_min(X, 1), X.argmin(1)),
    ("reverse_v2", lambda: st.reverse_v2(X, [0, -1]), X[::-1, ::-1]),
    ("where_v2", lambda: st.where_v2([True, False, True, False], X, 2.0),
     np.where([True, False, True, False], X, 2.0)),
    ("newaxis", lambda: st.constant(X)[:, st.newaxis, 0], X[:, None, 0]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "want"), REFERENCES, ids=[r[0] for r in REFERENCES])
def test_against_numpy(name: str, make: Any, want: Any) -> None:
    with st.Graph().as_default(), st.Session() as session:
        out = make()
        got = session.run(out)
        np.testing.assert_allclose(got, want, rtol=1e-12)
        assert out.shape.compatible(got.shape)


REFUSED: list[tuple[str, Any, Any, str]] = [
    ("direction", lambda: st.sort(X, direction="UP"), st.errors.InvalidArgumentError, "UP"),
    ("order of complex", lambda: st.sort(st.constant([1j])), st.errors.DTypeError, "complex"),
    ("side", lambda: st.searchsorted(X, X, "middle"), st.errors.InvalidArgumentError, "middle"),
    ("rows", lambda: st.searchsorted(X, X[:2]), st.errors.ShapeError, "compatible"),
    ("place", lambda: st.batch_gather(X, [[4], [0], [0]]), st.errors.OpError, "outside"),
    ("repeats", lambda: st.repeat(X, [1, 2], axis=0), st.errors.ShapeError, "2 repeats"),
    ("flat", lambda: st.unravel_index([24], [3, 8]), st.errors.InvalidArgumentError, "24"),
    ("negative", lambda: st.bincount([2, -3]), st.errors.InvalidArgumentError, "-3"),
    ("negative later", lambda: st.bincount(st.constant([2, 0]) - 3),
     st.errors.InvalidArgumentError, "assertion"),
    ("range", lambda: st.histogram_fixed_width_bins(X, [1.0, 1.0]),
     st.errors.InvalidArgumentError, "rise"),
    ("broadcast", lambda: st.broadcast_to(X, [3, 5]), st.errors.ShapeError, "broadcast"),
    ("shapes", lambda: st.broadcast_dynamic_shape([2, 3], [4]),
     st.errors.InvalidArgumentError, "broadcast"),
    ("updates", lambda: st.tensor_scatter_nd_add(X, PLACES, CHANGES[:2]),
     st.errors.ShapeError, "updates"),
    ("outside", lambda: st.tensor_scatter_nd_max(X, [[3, 0]], [1.0]), st.errors.OpError, "outside"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "error", "words"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused(name: str, make: Any, error: Any, words: str) -> None:
    """While the graph is built where it can be known, else when it runs."""
    with (
        st.Graph().as_default(),
        st.Session() as session,
        pytest.raises(error, match=words),
    ):
        session.run(make())


def test_what_is_known_only_when_it_runs() -> None:
    """Unknown sizes: of the rows, of the repeats, of the weights."""
    with st.Graph().as_default(), st.Session() as session:
        x = st.placeholder(st.float64, [None, None])
        many = st.placeholder(st.int64, [None])
        outs = [st.sort(x), st.batch_gather(x, st.argsort(x)[:, :2]), st.repeat(x, many, axis=0)]
        found = session.run(outs, {x: X, many: [1, 0, 2]})
    for got, want in zip(found, [np.sort(X), np.sort(X)[:, :2], X[[0, 2, 2]]], strict=True):
        np.testing.assert_array_equal(got, want)


def test_gradients_of_what_is_made_of_others() -> None:
    """A sorted element's goes back to its place; repeated ones add up; counted weights spread."""
    weights = np.arange(12.0).reshape(3, 4)
    with st.Graph().as_default(), st.Session() as session:
        x = st.constant(X)
        sums = [
            st.reduce_sum(st.sort(x) * weights),
            st.reduce_sum(st.repeat(x, [2, 0, 3], axis=0) * np.ones((5, 1))),
            st.reduce_sum(st.bincount(NUMBERS[:, :2], x[:2, :2]) * np.arange(7.0)),
        ]
        got = session.run([st.convert_to_tensor(st.gradients(s, x)[0]) for s in sums])
    order = np.argsort(np.argsort(X))
    np.testing.assert_array_equal(got[0], np.take_along_axis(weights, order, 1))
    np.testing.assert_array_equal(got[1], np.broadcast_to([[2.0], [0], [3]], (3, 4)))
    np.testing.assert_array_equal(got[2][:2, :2], NUMBERS[:, :2])


def test_slices_of_variables() -> None:
    """Written, added and subtracted by coordinates, and by row."""
    with st.Graph().as_default(), st.Session() as session:
        v = st.Variable(X)
        steps = [
            (st.scatter_nd_update(v, PLACES, CHANGES), scattered(X, None)),
            (st.scatter_nd_add(v, PLACES, CHANGES), scattered(X, np.add)),
            (st.scatter_nd_sub(v, PLACES, CHANGES), scattered(X, np.subtract)),
        ]
        rows = np.stack([[9.0, 8], [7, 6], [5, 4]])
        batched = np.array(X)
        np.put_along_axis(batched, AT[:, 1:], rows, 1)
        steps.append((st.batch_scatter_update(v, AT[:, 1:], rows), batched))
        for op, want in steps:
            session.run(v.initializer)
            np.testing.assert_array_equal(session.run(op), want)
            np.testing.assert_array_equal(session.run(v), want)
        with pytest.raises(st.errors.ShapeError, match="updates"):
            st.scatter_nd_add(v, PLACES, CHANGES[:1])
        with pytest.raises(st.errors.OpError, match="outside"):
            session.run(st.scatter_nd_add(v, [[7, 0]], [1.0]))


UNSORTED_IDS = np.int32([2, 0, -1, 2])
SEGMENTS: list[tuple[str, Any, float, Any]] = [
    ("min", st.unsorted_segment_min, np.finfo("d").max, lambda rows: rows.min(0)),
    ("max", st.unsorted_segment_max, np.finfo("d").min, lambda rows: rows.max(0)),
    ("prod", st.unsorted_segment_prod, 1, lambda rows: rows.prod(0)),
    ("mean", st.unsorted_segment_mean, 0, lambda rows: rows.mean(0)),
    ("sqrt_n", st.unsorted_segment_sqrt_n, 0, lambda rows: rows.sum(0) / np.sqrt(len(rows))),
]


@pytest.mark.parametrize(("name", "function", "empty", "reduce"), SEGMENTS)
def test_unsorted_segments(name: str, function: Any, empty: float, reduce: Any) -> None:
    """Also where nothing belongs, and with ids of two axes."""
    rows = RNG.standard_normal((4, 2))
    want = [reduce(rows[i == UNSORTED_IDS]) if (i == UNSORTED_IDS).any() else np.full(2, empty)
            for i in range(4)]  # fmt: skip
    with st.Graph().as_default(), st.Session() as session:
        flat = function(rows, UNSORTED_IDS, 4)
        square = function(rows.reshape(2, 2, 2), UNSORTED_IDS.reshape(2, 2), 4)
        for got in session.run([flat, square]):
            np.testing.assert_allclose(got, want)
        with pytest.raises(st.errors.OpError, match="outside"):
            session.run(function(rows, UNSORTED_IDS, 2))
