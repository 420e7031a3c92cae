"""Layers and losses of contrib: shapes, values by hand, variables shared where scopes say so."""

from typing import Any

import numpy as np
import pytest

import systolica as st

RNG = np.random.default_rng(2)
IMAGE = RNG.standard_normal((2, 6, 4, 3)).astype(np.float32)
ROWS = RNG.standard_normal((4, 3)).astype(np.float32)
layers = st.contrib.layers


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def run(fetch: Any) -> Any:
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        return session.run(fetch)


SHAPES: dict[str, Any] = {
    "conv2d": (lambda: layers.conv2d(IMAGE, 5, 3, stride=2), (2, 3, 2, 5)),
    "conv2d rate": (lambda: layers.conv2d(IMAGE, 5, [3, 2], padding="VALID", rate=2), (2, 2, 2, 5)),
    "convolution2d_in_plane": (lambda: layers.convolution2d_in_plane(IMAGE, 3), (2, 6, 4, 3)),
    "convolution2d_transpose": (
        lambda: layers.convolution2d_transpose(IMAGE, 5, 3, 2), (2, 12, 8, 5)
    ),
    "convolution2d_transpose valid": (
        lambda: layers.convolution2d_transpose(IMAGE, 5, 3, 2, "VALID"), (2, 13, 9, 5)
    ),
    "separable_convolution2d": (
        lambda: layers.separable_convolution2d(IMAGE, 5, 3, 2), (2, 6, 4, 5)
    ),
    "max_pool2d": (lambda: layers.max_pool2d(IMAGE, 2), (2, 3, 2, 3)),
    "avg_pool2d": (lambda: layers.avg_pool2d(IMAGE, [3, 2], 1), (2, 4, 3, 3)),
    "fully_connected": (lambda: layers.fully_connected(ROWS, 7), (4, 7)),
    "relu": (lambda: layers.relu(ROWS, 7), (4, 7)),
    "flatten": (lambda: layers.flatten(st.constant(IMAGE)), (2, 72)),
    "repeat": (lambda: layers.repeat(ROWS, 3, layers.fully_connected, 7), (4, 7)),
    "stack": (lambda: layers.stack(ROWS, layers.fully_connected, [5, 6]), (4, 6)),
    "bias_add": (lambda: layers.bias_add(IMAGE), (2, 6, 4, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", list(SHAPES))
def test_shapes_static_and_real(name: str) -> None:
    make, want = SHAPES[name]
    out = make()
    assert out.shape == want and run(out).shape == want


def test_fully_connected_by_hand() -> None:
    out = layers.fully_connected(ROWS, 2, weights_regularizer=layers.l2_regularizer(0.1))
    kernel, bias = (v for v in st.trainable_variables())
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        session.run(bias.assign([0.3, -0.2]))
        want = np.maximum(ROWS @ session.run(kernel) + [0.3, -0.2], 0)
        np.testing.assert_allclose(session.run(out), want, rtol=1e-5, atol=1e-6)
    assert len(st.losses.get_regularization_losses()) == 1


def test_normalisers() -> None:
    """Batch norm over rows, its averages moved at once on request; layer norm over a row."""
    x = st.constant(ROWS)
    out = layers.batch_norm(x, decay=0.5, updates_collections=None, scope="bn")
    np.testing.assert_allclose(run(out).mean(0), 0, atol=1e-6)
    mean = next(v for v in st.global_variables() if "moving_mean" in v.name)
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        session.run(out)
        np.testing.assert_allclose(session.run(mean), ROWS.mean(0) / 2, rtol=1e-5, atol=1e-7)
    value = run(layers.layer_norm(st.constant(IMAGE)))
    np.testing.assert_allclose(value.mean((1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(value.std((1, 2, 3)), 1, rtol=1e-4)
    normal = layers.fully_connected(ROWS, 5, normalizer_fn=layers.batch_norm)
    assert run(normal).min() == 0


def test_small_ones() -> None:
    assert run(layers.one_hot_encoding([0, 2], 3)).tolist() == [[1, 0, 0], [0, 0, 1]]
    lengths = np.linalg.norm(run(layers.unit_norm(ROWS, 1)), axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)
    np.testing.assert_array_equal(run(layers.dropout(st.constant(ROWS), is_training=False)), ROWS)
    kept = run(layers.dropout(st.ones([1000]), 0.25))
    assert set(np.unique(kept)) == {0, 4}


def test_scopes_share_variables() -> None:
    layers.fully_connected(ROWS, 2, scope="same")
    layers.fully_connected(ROWS, 2, scope="same", reuse=True)
    assert len(st.global_variables()) == 2


def test_safe_lookup_forgives() -> None:
    """Ids below 0 and weights of 0 do not count; a row without any is zeros."""
    ids = st.SparseTensor([[0, 0], [0, 1], [2, 0]], np.asarray([1, -1, 0]), [3, 2])
    table = st.constant(ROWS)
    got = run(layers.safe_embedding_lookup_sparse(table, ids))
    np.testing.assert_allclose(got, [ROWS[1], np.zeros(3), ROWS[0]])
    weights = ids.with_values(st.constant([2.0, 1.0, 0.0]))
    got = run(layers.safe_embedding_lookup_sparse(table, ids, weights, "sum", default_id=3))
    np.testing.assert_allclose(got, [2 * ROWS[1], ROWS[3], ROWS[3]], rtol=1e-6)


LABELS = np.asarray([[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]], np.float32)
SQUASHED = 1 / (1 + np.exp(-ROWS))
LOSSES = [
    (st.contrib.losses.absolute_difference, st.losses.absolute_difference, SQUASHED),
    (st.contrib.losses.hinge_loss, st.losses.hinge_loss, ROWS),
    (st.contrib.losses.log_loss, st.losses.log_loss, SQUASHED),
    (st.contrib.losses.mean_pairwise_squared_error, st.losses.mean_pairwise_squared_error, ROWS),
    (st.contrib.losses.mean_squared_error, st.losses.mean_squared_error, ROWS),
    (st.contrib.losses.sigmoid_cross_entropy, st.losses.sigmoid_cross_entropy, ROWS),
    (st.contrib.losses.softmax_cross_entropy, st.losses.softmax_cross_entropy, ROWS),
]


@pytest.mark.parametrize(("ours", "other", "x"), LOSSES, ids=[p[0].__name__ for p in LOSSES])
def test_losses_take_predictions_first(ours: Any, other: Any, x: Any) -> None:
    assert run(ours(x, LABELS, 0.5)) == pytest.approx(run(other(LABELS, x, weights=0.5)))
    assert len(st.contrib.losses.get_losses()) == 2


def test_cosine_and_totals() -> None:
    unit = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    value = run(st.contrib.losses.cosine_distance(unit, unit, 1))
    assert value == pytest.approx(0, abs=1e-6)
    st.contrib.losses.add_loss(st.constant(2.0))
    assert run(st.contrib.losses.get_total_loss()) == pytest.approx(2, abs=1e-6)
    assert st.contrib.losses.get_regularization_losses() == []
