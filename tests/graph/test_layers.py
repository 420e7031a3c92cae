"""Layers, losses and metrics against NumPy and scikit-learn."""

from typing import Any

import numpy as np
import pytest
import sklearn.metrics

import systolica as st

RNG = np.random.default_rng(4)
X = RNG.standard_normal((5, 4)).astype(np.float32)
IMAGE = RNG.standard_normal((2, 6, 5, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


def started() -> Any:
    """A session with initialised variables."""
    session = st.Session()
    session.run([st.global_variables_initializer(), st.local_variables_initializer()])
    return session


def test_dense_of_any_rank_with_names_and_sharing() -> None:
    """kernel and bias, Glorot and zeros; a second layer is dense_1; reuse by name and by object."""
    layer = st.layers.Dense(3, st.nn.relu, name="fc")
    a = layer(X)
    b = layer(st.placeholder_with_default(X[None], [None, 5, 4]))
    c = st.layers.dense(X, 3, st.nn.relu, name="fc", reuse=True)
    st.layers.dense(X, 2)
    st.layers.dense(X, 2, use_bias=False)
    assert [v.name for v in st.trainable_variables()] == [
        "fc/kernel:0", "fc/bias:0", "dense/kernel:0", "dense/bias:0", "dense_1/kernel:0",
    ]  # fmt: skip
    assert b.shape.as_list() == [None, 5, 3]
    with started() as session:
        kernel = session.run(layer.kernel)
        assert np.abs(kernel).max() <= (6 / 7) ** 0.5
        want = np.maximum(X @ kernel, 0)
        for got in session.run([a, b, c]):
            np.testing.assert_allclose(got.reshape(5, 3), want, rtol=1e-5)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_convolutional_layers(padding: str) -> None:
    """Equal to the functions of `st.nn` with the layer's own variables."""
    conv = st.layers.Conv2D(4, (3, 2), 2, padding)
    flat = st.layers.Conv1D(4, 3, padding=padding, dilation_rate=2)
    deep = st.layers.SeparableConv2D(4, 3, padding=padding, depth_multiplier=2)
    up = st.layers.Conv2DTranspose(4, 3, 2, padding)
    outs = [conv(IMAGE), flat(IMAGE[:, 0]), deep(IMAGE), up(IMAGE)]
    size = [12, 10] if padding == "same" else [13, 11]
    assert outs[3].shape.as_list() == [2, *size, 4]
    wants = [
        st.nn.conv2d(IMAGE, conv.kernel, 2, padding),
        st.nn.convolution(IMAGE[:, 0], flat.kernel, padding, dilation_rate=[2]),
        st.nn.separable_conv2d(IMAGE, deep.depthwise, deep.pointwise, 1, padding),
        st.nn.conv2d_transpose(IMAGE, up.kernel, [2, *size, 4], 2, padding),
    ]
    with started() as session:
        for got, want in session.run(list(zip(outs, wants, strict=True))):
            np.testing.assert_allclose(got, want, rtol=1e-5)


CUBE = RNG.standard_normal((2, 5, 6, 4, 3)).astype(np.float32)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_layers_of_volumes_and_separable_lines(padding: str) -> None:
    """Equal to the functions of `st.nn` with the layer's variables, as classes and functions."""
    conv = st.layers.Conv3D(4, (3, 2, 1), 2, padding, name="conv")
    up = st.layers.Conv3DTranspose(4, 3, 2, padding, name="up")
    line = st.layers.SeparableConv1D(
        4, 3, 2, padding, depth_multiplier=2, pointwise_initializer=st.ones_initializer(), name="s"
    )
    flat = CUBE[:, 0, 0]
    outs = [conv(CUBE), up(CUBE), line(flat)]
    functions = [
        st.layers.conv3d(CUBE, 4, (3, 2, 1), 2, padding, name="conv", reuse=True),
        st.layers.conv3d_transpose(CUBE, 4, 3, 2, padding, name="up", reuse=True),
        st.layers.separable_conv1d(
            flat, 4, 3, 2, padding, depth_multiplier=2, name="s", reuse=True
        ),
    ]
    size = [10, 12, 8] if padding == "same" else [11, 13, 9]
    assert outs[1].shape.as_list() == [2, *size, 4]
    assert [v.name for v in line.variables] == [
        "s/depthwise_kernel:0", "s/pointwise_kernel:0", "s/bias:0",
    ]  # fmt: skip
    deep = st.reshape(line.depthwise, [1, 3, 3, 2])
    middle = st.nn.depthwise_conv2d(flat[:, None], deep, [1, 2, 2, 1], padding.upper())
    wants = [
        st.nn.conv3d(CUBE, conv.kernel, 2, padding.upper()),
        st.nn.conv3d_transpose(CUBE, up.kernel, [2, *size, 4], 2, padding.upper()),
        st.reduce_sum(middle, -1, keepdims=True)[:, 0] * np.ones(4, np.float32),
    ]
    with started() as session:
        for got, again, want in session.run(list(zip(outs, functions, wants, strict=True))):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(got, again)


def windows(x: Any, size: int, step: int) -> Any:
    """All whole windows over the spatial axes of [N, ..., C], their elements in the last axis."""
    spatial = tuple(range(1, x.ndim - 1))
    views = np.lib.stride_tricks.sliding_window_view(x, [size] * len(spatial), spatial)
    views = views[(slice(None), *[slice(None, None, step)] * len(spatial))]
    return views.reshape(*views.shape[: x.ndim], -1)


POOLS: list[tuple[Any, Any, Any]] = [
    (st.layers.MaxPooling1D, st.layers.max_pooling1d, np.max),
    (st.layers.MaxPooling2D, st.layers.max_pooling2d, np.max),
    (st.layers.MaxPooling3D, st.layers.max_pooling3d, np.max),
    (st.layers.AveragePooling1D, st.layers.average_pooling1d, np.mean),
    (st.layers.AveragePooling2D, st.layers.average_pooling2d, np.mean),
    (st.layers.AveragePooling3D, st.layers.average_pooling3d, np.mean),
]


@pytest.mark.parametrize(("cls", "function", "reduce"), POOLS)
def test_pooling_layers(cls: Any, function: Any, reduce: Any) -> None:
    """Classes and functions over one to three axes, against all windows by NumPy."""
    axes = int(cls.__name__[-2])
    x = CUBE[(slice(None), *[0] * (3 - axes))]
    layer = cls(3, 2, name="pool")
    want = reduce(windows(x, 3, 2), -1)
    with started() as session:
        for got in session.run([layer(x), function(x, [3] * axes, [2] * axes)]):
            np.testing.assert_allclose(got, want, atol=1e-6)
        same = session.run(function(x, 1, 2, "same"))
        np.testing.assert_array_equal(same, x[(slice(None), *[slice(None, None, 2)] * axes)])
    assert not layer.variables
    with pytest.raises(st.errors.InvalidArgumentError, match="full"):
        function(x, 3, 2, "full")
    with pytest.raises(st.errors.InvalidArgumentError, match="channels_first"):
        function(x, 3, 2, data_format="channels_first")


def test_layers_as_functions_and_of_the_user() -> None:
    """A function shares the variables of the class by name; a user's layer makes its own."""

    class Scale(st.layers.Layer):
        def build(self, shape: Any) -> None:
            self.factor = self.add_variable("factor", [shape[-1]], st.ones_initializer())

        def call(self, inputs: Any, **options: Any) -> Any:
            return inputs * self.factor * 2.0

    line, image = IMAGE[:, 0], IMAGE
    pairs = [
        (st.layers.Conv1D(2, 3, name="c1")(line),
         st.layers.conv1d(line, 2, 3, name="c1", reuse=True)),
        (st.layers.Conv2DTranspose(2, 3, 2, name="t")(image),
         st.layers.conv2d_transpose(image, 2, 3, 2, name="t", reuse=True)),
        (st.layers.SeparableConv2D(2, 3, name="s")(image),
         st.layers.separable_conv2d(image, 2, 3, name="s", reuse=True)),
        (st.layers.BatchNormalization(name="bn")(image, training=True),
         st.layers.batch_normalization(image, training=True, name="bn", reuse=True)),
        (st.layers.Flatten()(image), st.constant(image.reshape(2, -1))),
        (Scale(name="own")(image), st.constant(2 * image)),
    ]  # fmt: skip
    assert "own/factor:0" in [v.name for v in st.trainable_variables()]
    with started() as session:
        for got, want in session.run(pairs):
            np.testing.assert_array_equal(got, want)
            assert np.abs(got).max() > 0


def test_averaged_losses() -> None:
    """Over the examples, over a larger batch, with weights; penalties add up."""
    losses, weights = X[:, 0], np.float32([1, 0, 2, 1, 1])
    outs = [
        st.nn.compute_average_loss(losses),
        st.nn.compute_average_loss(losses, weights, 20),
        st.nn.scale_regularization_loss([1.5, 2.0]),
    ]
    with st.Session() as session:
        got = session.run(outs)
    np.testing.assert_allclose(got, [losses.mean(), losses @ weights / 20, 3.5], rtol=1e-6)
    with pytest.raises(st.errors.DTypeError, match="int32"):
        st.nn.compute_average_loss([1, 2])


def test_transposed_convolution_is_the_transpose() -> None:
    """<conv(x), y> = <x, conv_transpose(y)>."""
    w = RNG.standard_normal((3, 3, 3, 4))
    x, y = RNG.standard_normal((1, 6, 5, 3)), RNG.standard_normal((1, 3, 3, 4))
    a = st.reduce_sum(st.nn.conv2d(x, w, 2, "SAME") * y)
    b = st.reduce_sum(st.nn.conv2d_transpose(y, w, [1, 6, 5, 3], 2) * x)
    with st.Session() as session:
        np.testing.assert_allclose(*session.run([a, b]), rtol=1e-10)


def test_dilated_convolution_sees_every_second_pixel() -> None:
    """And conv1d is conv2d of height one."""
    w = RNG.standard_normal((3, 3, 3, 2)).astype(np.float32)
    wide = np.zeros((5, 5, 3, 2), np.float32)
    wide[::2, ::2] = w
    a, b = st.nn.atrous_conv2d(IMAGE, w, 2, "SAME"), st.nn.conv2d(IMAGE, wide, 1, "SAME")
    c, d = (
        st.nn.conv1d(IMAGE[:, 1], w[1], 2, "SAME"),
        st.nn.conv2d(IMAGE[:, 1:2], w[1:2], [1, 2], "SAME"),
    )
    with st.Session() as session:
        a_, b_, c_, d_ = session.run([a, b, c, d])
    np.testing.assert_allclose(a_, b_, atol=1e-5)
    np.testing.assert_allclose(c_, d_[:, 0], atol=1e-6)


def test_pooling_flatten_dropout() -> None:
    """Shapes and values; dropout only in training."""
    pooled = st.layers.max_pooling2d(IMAGE, 2, 2)
    mean = st.layers.average_pooling1d(IMAGE[:, 0], 5, 1)
    flat = st.layers.flatten(st.placeholder_with_default(IMAGE, [None, 6, 5, 3]))
    training = st.placeholder(st.bool, [])
    dropped = st.layers.dropout(np.ones(1000, np.float32), 0.3, training=training, seed=1)
    with st.Session() as session:
        want = IMAGE[:, :, :4].reshape(2, 3, 2, 2, 2, 3).max((2, 4))
        np.testing.assert_array_equal(session.run(pooled), want)
        np.testing.assert_allclose(session.run(mean)[:, 0], IMAGE[:, 0].mean(1), rtol=1e-5)
        assert flat.shape.as_list() == [None, 90] and session.run(flat).shape == (2, 90)
        assert (session.run(dropped, {training: False}) == 1).all()
        kept = session.run(dropped, {training: True})
        assert set(np.round(kept, 4)) == {0, np.float32(np.round(1 / 0.7, 4))}
        assert 0.6 < (kept > 0).mean() < 0.8


def test_batch_normalization() -> None:
    """Batch statistics in training, moving averages otherwise and only moved in training."""
    x, training = st.placeholder(st.float32, [None, 4]), st.placeholder(st.bool, [])
    layer = st.layers.BatchNormalization(momentum=0.9)
    y = layer(x, training=training)
    updates = st.get_collection(st.GraphKeys.UPDATE_OPS)
    assert len(updates) == 2 and len(st.trainable_variables()) == 2
    with started() as session:
        got = session.run([y, *updates], {x: X, training: True})[0]
        want = (X - X.mean(0)) / np.sqrt(X.var(0) + 1e-3)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
        moved = session.run([layer.moving_mean, layer.moving_variance])
        np.testing.assert_allclose(moved[0], 0.1 * X.mean(0), rtol=1e-5)
        np.testing.assert_allclose(moved[1], 0.9 + 0.1 * X.var(0), rtol=1e-5)
        got = session.run([y, *updates], {x: X, training: False})[0]
        np.testing.assert_allclose(got, (X - moved[0]) / np.sqrt(moved[1] + 1e-3), rtol=1e-4)
        np.testing.assert_array_equal(session.run(layer.moving_mean), moved[0])


Y, P = RNG.uniform(0, 1, (4, 3)), RNG.uniform(0.05, 0.95, (4, 3))
ONE_HOT = np.eye(3)[[0, 2, 1, 1]]
LOG_SOFTMAX = P - np.log(np.exp(P).sum(1, keepdims=True))
W = np.asarray([1.0, 0.0, 2.0, 0.5])

LOSSES: list[tuple[str, Any, Any]] = [
    ("absolute", lambda w: st.losses.absolute_difference(Y, P, w), np.abs(Y - P)),
    ("squared", lambda w: st.losses.mean_squared_error(Y, P, w), (Y - P) ** 2),
    ("hinge", lambda w: st.losses.hinge_loss(ONE_HOT, P, w),
     np.maximum(0, 1 - (2 * ONE_HOT - 1) * P)),
    ("huber", lambda w: st.losses.huber_loss(Y, P, w, 0.2),
     np.where(np.abs(Y - P) < 0.2, (Y - P) ** 2 / 2, 0.2 * np.abs(Y - P) - 0.02)),
    ("log", lambda w: st.losses.log_loss(Y, P, w),
     -Y * np.log(P + 1e-7) - (1 - Y) * np.log(1 - P + 1e-7)),
    ("cosine", lambda w: st.losses.cosine_distance(Y, P, -1, w), 1 - (Y * P).sum(1, keepdims=True)),
    ("sigmoid", lambda w: st.losses.sigmoid_cross_entropy(Y, P, w, 0.1),
     np.logaddexp(0, P) - P * (Y * 0.9 + 0.05)),
    ("softmax", lambda w: st.losses.softmax_cross_entropy(ONE_HOT, P, np.ravel(w), 0.1),
     -((ONE_HOT * 0.9 + 0.1 / 3) * LOG_SOFTMAX).sum(1)),
    ("sparse", lambda w: st.losses.sparse_softmax_cross_entropy([[0], [2], [1], [1]], P,
     np.ravel(w)), -(ONE_HOT * LOG_SOFTMAX).sum(1)),
    ("pairwise", lambda w: st.losses.mean_pairwise_squared_error(Y, P, np.ravel(w)),
     np.asarray([np.mean([((p[i] - p[j]) - (y[i] - y[j])) ** 2
                          for i in range(3) for j in range(3) if i != j])
                 for y, p in zip(Y, P, strict=True)])),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "element"), LOSSES, ids=[r[0] for r in LOSSES])
def test_losses(name: str, make: Any, element: Any) -> None:
    """Weights per row, averaged over the rows whose weight is not zero."""
    loss = make(W[:, None])
    wide = np.broadcast_to(W.reshape(-1, *[1] * (element.ndim - 1)), element.shape)
    with st.Session() as session:
        got = session.run(loss)
    assert got == pytest.approx((element * wide).sum() / (wide != 0).sum(), rel=1e-6)
    assert st.losses.get_losses() == [loss]


@pytest.mark.parametrize("reduction", st.losses.Reduction.ALL)
def test_reductions(reduction: str) -> None:
    """Each way of making one number."""
    values = np.asarray([1.0, 2.0, 3.0, 4.0])
    loss = st.losses.compute_weighted_loss(values, W, reduction=reduction)
    total = (values * W).sum()
    want = {
        "none": values * W,
        "weighted_sum": total,
        "weighted_mean": total / 3.5,
        "weighted_sum_over_batch_size": total / 4,
        "weighted_sum_by_nonzero_weights": total / 3,
    }[reduction]
    none = st.losses.compute_weighted_loss(values, 0.0)
    with st.Session() as session:
        np.testing.assert_allclose(session.run(loss), want)
        assert session.run(none) == 0


def test_total_loss_adds_penalties() -> None:
    """Both collections."""
    st.losses.add_loss(st.constant(2.0))
    w = st.get_variable("w", [2], initializer=st.ones_initializer(),
                        regularizer=st.contrib.layers.l2_regularizer(3.0))  # fmt: skip
    total, data = st.losses.get_total_loss(), st.losses.get_total_loss(False)
    with started() as session:
        assert session.run([total, data]) == [5, 2]
        assert session.run(st.losses.get_regularization_loss()) == 3
    assert w.shape == [2]


LABELS = RNG.integers(0, 2, (3, 20)).astype(np.float32)
SCORES = np.clip(LABELS * 0.3 + RNG.uniform(0, 0.7, (3, 20)), 0, 1).astype(np.float32)
GUESS = (SCORES > 0.5).astype(np.float32)
CLASSES, SEEN = RNG.integers(0, 3, (3, 20)), RNG.integers(0, 3, (3, 20))
FLAT = (LABELS.ravel(), GUESS.ravel())
MATRIX = sklearn.metrics.confusion_matrix(CLASSES.ravel(), SEEN.ravel())

METRICS: list[tuple[str, Any, Any, Any, Any]] = [
    ("accuracy", st.metrics.accuracy, LABELS, GUESS, sklearn.metrics.accuracy_score(*FLAT)),
    ("precision", st.metrics.precision, LABELS, GUESS, sklearn.metrics.precision_score(*FLAT)),
    ("recall", st.metrics.recall, LABELS, GUESS, sklearn.metrics.recall_score(*FLAT)),
    ("auc", st.metrics.auc, LABELS, SCORES,
     sklearn.metrics.roc_auc_score(LABELS.ravel(), SCORES.ravel())),
    ("mae", st.metrics.mean_absolute_error, LABELS, SCORES, np.abs(LABELS - SCORES).mean()),
    ("mse", st.metrics.mean_squared_error, LABELS, SCORES, ((LABELS - SCORES) ** 2).mean()),
    ("rmse", st.metrics.root_mean_squared_error, LABELS, SCORES,
     ((LABELS - SCORES) ** 2).mean() ** 0.5),
    ("tp", st.metrics.true_positives, LABELS, GUESS, (LABELS * GUESS).sum()),
    ("fp", st.metrics.false_positives, LABELS, GUESS, ((1 - LABELS) * GUESS).sum()),
    ("fn", st.metrics.false_negatives, LABELS, GUESS, (LABELS * (1 - GUESS)).sum()),
    ("tn", st.metrics.true_negatives, LABELS, GUESS, ((1 - LABELS) * (1 - GUESS)).sum()),
    ("iou", lambda y, p: st.metrics.mean_iou(y, p, 3), CLASSES, SEEN,
     np.mean(np.diag(MATRIX) / (MATRIX.sum(0) + MATRIX.sum(1) - np.diag(MATRIX)))),
    ("per class", lambda y, p: st.metrics.mean_per_class_accuracy(y, p, 3), CLASSES, SEEN,
     np.mean(np.diag(MATRIX) / MATRIX.sum(1))),
    ("below", lambda y, p: st.metrics.percentage_below(p, 0.5), LABELS, SCORES,
     (SCORES < 0.5).mean()),
    ("relative", lambda y, p: st.metrics.mean_relative_error(y, p, y), LABELS, SCORES,
     (np.abs(LABELS - SCORES) * (LABELS > 0)).mean()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "make", "labels", "predictions", "want"), METRICS, ids=[m[0] for m in METRICS]
)
def test_metrics_over_batches(
    name: str, make: Any, labels: Any, predictions: Any, want: float
) -> None:
    """Three batches equal all at once; the update gives the value after it; start over."""
    y = st.placeholder(labels.dtype, [None])
    p = st.placeholder(predictions.dtype, [None])
    value, update = make(y, p)
    tolerance = 0.01 if name == "auc" else 1e-5
    with started() as session:
        for row in range(3):
            after = session.run(update, {y: labels[row], p: predictions[row]})
            assert session.run(value) == pytest.approx(after)
        assert after == pytest.approx(want, rel=tolerance)
        session.run(st.local_variables_initializer())
        assert session.run(value) == pytest.approx(0, abs=0.5 + 1e-6)


def test_metric_weights() -> None:
    """A weight of zero leaves an example out."""
    value, update = st.metrics.accuracy([1, 0, 1], [1, 1, 1], [1.0, 0.0, 2.0])
    with started() as session:
        assert session.run(update) == 1 and session.run(value) == 1
