"""Public names that no other test calls, each once against NumPy or its meaning."""

from typing import Any

import numpy as np
import pytest

import systolica as st

RNG = np.random.default_rng(21)
X = RNG.uniform(-0.9, 0.9, (3, 4))
IMAGE = RNG.uniform(0.2, 0.8, (4, 6, 3)).astype(np.float32)
CUBE = RNG.standard_normal((4, 2, 3, 1))


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def blocks_of_batch(x: Any) -> Any:
    """batch_to_space with blocks of 2 by definition."""
    n, h, w, c = x.shape
    out = np.zeros((n // 4, 2 * h, 2 * w, c))
    for i in range(2):
        for j in range(2):
            start = (2 * i + j) * (n // 4)
            out[:, i::2, j::2] = x[start : start + n // 4]
    return out


REFERENCES: list[tuple[str, Any, Any]] = [
    ("ones_like", lambda: st.ones_like(st.constant(X)), np.ones_like(X)),
    ("zeros_like", lambda: st.zeros_like(st.constant(X)), np.zeros_like(X)),
    ("batch_to_space", lambda: st.batch_to_space(CUBE, [[0, 1], [1, 0]], 2),
     blocks_of_batch(CUBE)[:, :-1, 1:]),
    ("to_double", lambda: st.to_double(np.float32([1.5])), np.float64([1.5])),
    ("to_float", lambda: st.to_float(np.int32([3])), np.float32([3])),
    ("to_int64", lambda: st.to_int64(np.float32([3.7])), np.int64([3])),
    ("to_bfloat16", lambda: st.cast(st.to_bfloat16(np.float32([3.14159])), st.float32), [3.140625]),
    ("accumulate_n", lambda: st.accumulate_n([st.constant(X), st.constant(X)]), 2 * X),
    ("acos", lambda: st.acos(X), np.arccos(X)),
    ("asin", lambda: st.asin(X), np.arcsin(X)),
    ("atan", lambda: st.atan(X), np.arctan(X)),
    ("floor", lambda: st.floor(3 * X), np.floor(3 * X)),
    ("sinh", lambda: st.sinh(X), np.sinh(X)),
    ("cosh", lambda: st.cosh(X), np.cosh(X)),
    ("asinh", lambda: st.asinh(X), np.arcsinh(X)),
    ("atanh", lambda: st.atanh(X), np.arctanh(X)),
    ("expm1", lambda: st.expm1(X), np.expm1(X)),
    ("rint", lambda: st.rint(3 * X), np.rint(3 * X)),
    ("floor_div", lambda: st.floor_div(np.int32([7, -7]), np.int32([2, 2])), [3, -4]),
    ("floormod", lambda: st.floormod(np.int32([7, -7]), np.int32([3, 3])), [1, 2]),
    ("lin_space", lambda: st.lin_space(0.0, 1.0, 5), np.linspace(0, 1, 5)),
    ("parallel_stack", lambda: st.parallel_stack([st.constant(X), 2 * X]), np.stack([X, 2 * X])),
    ("resize by method", lambda: [st.image.resize_images(IMAGE, [2, 3], method)
                                  for method in (st.image.ResizeMethod.NEAREST_NEIGHBOR,
                                                 st.image.ResizeMethod.AREA)],
     [IMAGE[::2, ::2], IMAGE.reshape(2, 2, 3, 2, 3).mean((1, 3))]),
    ("sign", lambda: st.sign(X), np.sign(X)),
    ("matrix_diag_part", lambda: st.matrix_diag_part(X), np.diag(X)),
    ("mul", lambda: st.mul(X, X), X * X),
    ("truediv", lambda: st.truediv(np.int32([7, -7]), np.int32([2, 2])), [3.5, -3.5]),
    ("reduce_min", lambda: st.reduce_min(X, 1), X.min(1)),
    ("greater", lambda: st.greater(X, 0.0), X > 0),
    ("less", lambda: st.less(X, 0.0), X < 0),
    ("less_equal", lambda: st.less_equal(X, X[0]), X[0] >= X),
    ("tuple", lambda: st.tuple([st.constant(X), st.constant(2 * X)])[1], 2 * X),
    ("global_norm", lambda: st.global_norm([st.constant(X), st.constant(X)]),
     np.sqrt(2 * (X**2).sum())),
    ("nn.sigmoid", lambda: st.nn.sigmoid(X), 1 / (1 + np.exp(-X))),
    ("nn.tanh", lambda: st.nn.tanh(X), np.tanh(X)),
    ("depthwise_conv2d_native", lambda: st.nn.depthwise_conv2d_native(
        CUBE, np.ones((1, 1, 1, 2)), [1, 1, 1, 1], "SAME"), np.repeat(CUBE, 2, -1)),
    ("image.transpose_image", lambda: st.image.transpose_image(IMAGE), IMAGE.swapaxes(0, 1)),
    ("double", lambda: st.constant([1, 2], st.double), np.float64([1, 2])),
    ("half", lambda: st.constant(1, st.half), np.float16(1)),
    ("float16", lambda: st.constant([1.5], st.float16) * 2.0, np.float16([3])),
    ("confusion_matrix", lambda: st.confusion_matrix([0, 2, 2], [0, 2, 1], dtype=st.int64),
     np.asarray([[1, 0, 0], [0, 0, 0], [0, 1, 1]])),
    ("confusion_matrix weighed", lambda: st.confusion_matrix(
        [0, 1], [1, 1], 2, st.float32, weights=[0.5, 2.0]), [[0, 0.5], [0, 2]]),
    ("mean of integers", lambda: st.reduce_mean(np.int32([[-3, 0], [3, 0]]), 1), [-1, 1]),
    ("complex64", lambda: st.constant([1 + 2j], st.complex64), np.complex64([1 + 2j])),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "want"), REFERENCES, ids=[r[0] for r in REFERENCES])
def test_against_numpy(name: str, make: Any, want: Any) -> None:
    with st.Session() as session:
        np.testing.assert_allclose(session.run(make()), want, rtol=1e-6)


def test_variables_by_function() -> None:
    """Assignments and scattered updates, against the same done to an array."""
    start = np.arange(6, dtype=np.float32).reshape(3, 2) + 1
    v = st.Variable(start)
    rows = np.asarray([2, 0])
    change = np.float32([[10, 20], [30, 40]])
    steps: list[tuple[Any, Any]] = [
        (st.assign(v, start), lambda x: start),
        (st.assign_add(v, start), lambda x: x + start),
        (st.assign_sub(v, start), lambda x: x - start),
        (st.scatter_update(v, rows, change), lambda x: put(x, lambda r: change)),
        (st.scatter_sub(v, rows, change), lambda x: put(x, lambda r: r - change)),
        (st.scatter_mul(v, rows, change), lambda x: put(x, lambda r: r * change)),
        (st.scatter_div(v, rows, change), lambda x: put(x, lambda r: r / change)),
        (st.scatter_max(v, rows, change), lambda x: put(x, lambda r: np.maximum(r, change))),
        (
            st.scatter_min(v, rows, change / 2),
            lambda x: put(x, lambda r: np.minimum(r, change / 2)),
        ),
    ]

    def put(x: Any, function: Any) -> Any:
        out = x.copy()
        out[rows] = function(x[rows])
        return out

    with st.Session() as session:
        session.run(st.initialize_all_variables())
        want = start
        for op, step in steps:
            want = step(want)
            session.run(op)
            np.testing.assert_allclose(session.run(v), want, rtol=1e-6)


def test_scopes_and_collections() -> None:
    with st.variable_scope("a") as scope:
        assert st.get_variable_scope() is scope and isinstance(scope, st.VariableScope)
    v = st.Variable(1.0)
    st.add_to_collection(st.GraphKeys.MODEL_VARIABLES, v)
    st.add_to_collection(st.GraphKeys.MOVING_AVERAGE_VARIABLES, v)
    assert st.model_variables() == [v] and st.moving_average_variables() == [v]
    assert isinstance(st.float32, st.DType)
    assert str(st.DeviceSpec(job="worker", task=1)) == "/job:worker/task:1"


def test_shapes_before_anything_runs() -> None:
    assert st.broadcast_static_shape([3, 1], [2, 1, 4]) == [2, 3, 4]
    with pytest.raises(st.errors.ShapeError, match="broadcast"):
        st.broadcast_static_shape([3], [2])


def test_initialisers_have_their_spread() -> None:
    """Glorot's: variance 2 / (in + out); variance scaling: scale / in. Within 3 %."""
    glorot = st.glorot_normal_initializer(seed=1)([200, 300])
    scaled = st.variance_scaling_initializer(2.0, mode="fan_in", seed=2)([200, 300])
    with st.Session() as session:
        found = session.run([glorot, scaled])
    for got, variance in zip(found, (2 / 500, 2 / 200), strict=True):
        assert abs(got.mean()) < 0.03 * got.std()
        assert got.std() == pytest.approx(np.sqrt(variance), rel=0.03)


def test_some_variables_and_all_tables_are_initialised() -> None:
    """Those that are listed and no others; a table's initialiser by its collection."""
    v, w = st.Variable(1.0), st.Variable(2.0)
    st.add_to_collection(st.GraphKeys.TABLE_INITIALIZERS, w.initializer)
    some, tables = st.variables_initializer([v]), st.tables_initializer()
    with st.Session() as session:
        session.run(some)
        assert session.run(v) == 1
        assert session.run(st.is_variable_initialized(w)) == np.False_
        session.run(tables)
        assert session.run(w) == 2


def test_an_op_without_gradient() -> None:
    """Asking for one is an error before `no_gradient` and None after."""
    step = st.register_op("test_step", kernel=lambda xp, x: np.sign(x))
    x = st.constant([1.0, -2.0])
    with pytest.raises(st.errors.NotFoundError, match="test_step"):
        st.gradients(step(x), x)
    st.no_gradient("test_step")
    assert st.gradients(step(x), x) == [None]


def test_default_graph_is_replaced() -> None:
    """Only outside of `as_default`."""
    with pytest.raises(st.errors.GraphError):
        st.reset_default_graph()


def test_random_changes_of_images_stay_within_their_bounds() -> None:
    """Each is its `adjust_` with a number from the range."""
    with st.Session() as session:
        flips = st.image.random_flip_up_down(IMAGE, seed=1)
        seen = [session.run(flips) for _ in range(12)]
        kinds = {np.array_equal(s, IMAGE) for s in seen}
        assert kinds == {True, False}
        assert all(np.array_equal(s, IMAGE) or np.array_equal(s, IMAGE[::-1]) for s in seen)
        contrast = session.run(st.image.random_contrast(IMAGE, 0.5, 0.9, seed=1))
        assert 0.45 < contrast.std() / IMAGE.std() < 0.95
        hue = session.run(st.image.random_hue(IMAGE, 0.2, seed=1))
        np.testing.assert_allclose(hue.max(-1), IMAGE.max(-1), atol=1e-5)
        assert (hue != IMAGE).any()
        paler = session.run(st.image.random_saturation(IMAGE, 0.2, 0.6, seed=1))
        spread = (paler.max(-1) - paler.min(-1)) / (IMAGE.max(-1) - IMAGE.min(-1))
        assert (spread < 0.61).all() and (spread > 0.19).all()


def test_samplers_know_what_they_expect() -> None:
    """Over many draws each class comes as often as expected."""
    true = np.asarray([[0], [4]])
    for sampler in (st.nn.uniform_candidate_sampler, st.nn.log_uniform_candidate_sampler):
        found = sampler(true, 1, 2000, False, 5, seed=3)
        with st.Session() as session:
            drawn, expected, _ = session.run(found)
        counts = np.bincount(drawn, minlength=5)[[0, 4]]
        np.testing.assert_allclose(counts, expected.ravel(), rtol=0.15)


def test_classes_of_queues_and_training() -> None:
    """The bases, and states by name."""
    queue = st.FIFOQueue(3, st.int32, [()])
    assert isinstance(queue, st.QueueBase) and issubclass(st.TextLineReader, st.ReaderBase)
    assert issubclass(st.train.AdamOptimizer, st.train.Optimizer)
    state = st.nn.rnn_cell.LSTMStateTuple(1, 2)
    assert (state.c, state.h) == (1, 2)
    start = st.contrib.layers.xavier_initializer_conv2d(seed=1)([3, 3, 4, 8])
    both = st.contrib.layers.sum_regularizer(
        [st.contrib.layers.l1_regularizer(0.5), st.contrib.layers.l2_regularizer(1.0)]
    )
    with st.Session() as session:
        assert np.abs(session.run(start)).max() <= np.sqrt(6 / (9 * 12))
        assert session.run(both(st.constant([2.0, -1.0]))) == pytest.approx(0.5 * 3 + 0.5 * 5)


def test_producers_end_after_their_epochs() -> None:
    """A queue of rows, its runner, and a joined shuffle."""
    queue = st.train.input_producer(np.float32([[1], [2]]), num_epochs=2, shuffle=False)
    row = queue.dequeue()
    limited = st.train.limit_epochs(st.constant(1.0), 1)
    rows = [[row, row], [row, row]]
    batch = st.train.shuffle_batch_join(rows, 2, 10, 1, allow_smaller_final_batch=True)
    other = st.FIFOQueue(5, st.float32, [()])
    runner = st.train.QueueRunner(other, [other.enqueue(7.0)])
    st.train.add_queue_runner(runner)
    with st.Session() as session:
        session.run([st.global_variables_initializer(), st.local_variables_initializer()])
        assert session.run(limited) == 1
        with pytest.raises(st.errors.OutOfRangeError):
            session.run(limited)
        coord = st.train.Coordinator()
        threads = st.train.start_queue_runners(session, coord)
        assert session.run(other.dequeue()) == 7
        seen: list[float] = []
        with pytest.raises(st.errors.OutOfRangeError):
            while True:
                seen += session.run(batch)[0].ravel().tolist()
        assert len(seen) >= 1 and set(seen) <= {1.0, 2.0}
        coord.request_stop()
        coord.join(threads)
