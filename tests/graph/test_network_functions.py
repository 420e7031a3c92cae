"""Functions of `st.nn` by their names of every dimension and version, against NumPy, SciPy and
definitions."""

from typing import Any

import numpy as np
import pytest
import scipy.signal
import scipy.special

import systolica as st

RNG = np.random.default_rng(51)
LINE = RNG.standard_normal((2, 9, 3))
IMAGE = RNG.standard_normal((2, 7, 6, 3))
VOLUME = RNG.standard_normal((1, 4, 5, 4, 2))
K1 = RNG.standard_normal((3, 2, 3))
K2 = RNG.standard_normal((3, 2, 3, 2))
K3 = RNG.standard_normal((2, 3, 2, 2, 3))


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def run(made: Any) -> Any:
    with st.Session() as session:
        return session.run(made)


def pooled(x: Any, reduce: Any) -> Any:
    """Windows of 2 at steps of 2, the rest left out."""
    spatial = tuple(range(1, x.ndim - 1))
    views = np.lib.stride_tricks.sliding_window_view(x, [2] * len(spatial), spatial)
    views = views[(slice(None), *[slice(None, None, 2)] * len(spatial))]
    return reduce(views, tuple(range(x.ndim, views.ndim)))


POOLS: list[tuple[Any, Any, Any]] = [
    (st.nn.max_pool1d, LINE, np.max),
    (st.nn.max_pool2d, IMAGE, np.max),
    (st.nn.max_pool_v2, LINE, np.max),
    (st.nn.max_pool_v2, IMAGE, np.max),
    (st.nn.max_pool_v2, VOLUME, np.max),
    (st.nn.avg_pool1d, LINE, np.mean),
    (st.nn.avg_pool2d, IMAGE, np.mean),
    (st.nn.avg_pool_v2, LINE, np.mean),
    (st.nn.avg_pool_v2, IMAGE, np.mean),
    (st.nn.avg_pool_v2, VOLUME, np.mean),
]


@pytest.mark.parametrize(("function", "x", "reduce"), POOLS)
def test_pooling_by_dimension(function: Any, x: Any, reduce: Any) -> None:
    want = pooled(x, reduce)
    np.testing.assert_allclose(run(function(x, 2, 2, "VALID")), want)
    spelled = [1, *[2] * (x.ndim - 2), 1]
    np.testing.assert_allclose(run(function(x, spelled, spelled, "VALID")), want)
    with pytest.raises(st.errors.InvalidArgumentError, match="NCHW"):
        function(x, 2, 2, "VALID", data_format="NCHW")


def test_transposed_convolutions() -> None:
    """<conv(x), y> = <x, conv_transpose(y)> over one, two and three axes, by rank and by name."""
    cases: list[tuple[Any, Any, Any, Any, Any]] = [
        (LINE, K1.swapaxes(1, 2), st.nn.conv1d, st.nn.conv1d_transpose, 2),
        (IMAGE, K2, st.nn.conv2d, st.nn.conv2d_transpose, 2),
        (VOLUME, K3, st.nn.conv3d, st.nn.conv3d_transpose, 2),
    ]
    for x, kernel, forward, named, stride in cases:
        out = forward(x, kernel, stride, "SAME")
        y = RNG.standard_normal(out.shape.sizes())
        backs = [named(y, kernel, x.shape, stride, "SAME"),
                 st.nn.conv_transpose(y, kernel, x.shape, stride, "SAME")]  # fmt: skip
        value, *found = run([out, *backs])
        for back in found:
            assert np.vdot(value, y) == pytest.approx(np.vdot(x, back))
    dilated = st.nn.atrous_conv2d(IMAGE, K2, 2, "SAME")
    y = RNG.standard_normal(dilated.shape.sizes())
    back = st.nn.atrous_conv2d_transpose(y, K2, IMAGE.shape, 2, "SAME")
    assert np.vdot(*run([dilated, st.constant(y)])) == pytest.approx(np.vdot(IMAGE, run(back)))
    with pytest.raises(st.errors.ShapeError, match="rank 3 to 5"):
        st.nn.conv_transpose(LINE, K1[0], LINE.shape, 1)


def test_separable_convolution() -> None:
    """Each channel by its own filters with SciPy, then all of them mixed."""
    deep, mix = RNG.standard_normal((3, 2, 3, 2)), RNG.standard_normal((1, 1, 6, 4))
    got = run(st.nn.separable_conv2d(IMAGE, deep, mix, [1, 1, 1, 1], "VALID"))
    for n in range(2):
        middle = [
            scipy.signal.correlate(IMAGE[n, ..., c], deep[..., c, m], "valid")
            for c in range(3) for m in range(2)
        ]  # fmt: skip
        np.testing.assert_allclose(got[n], np.stack(middle, -1) @ mix[0, 0])


def test_convolution_of_volumes_by_rank() -> None:
    """`st.nn.convolution` with a filter of rank 5, against SciPy."""
    got = run(st.nn.convolution(VOLUME, K3, "VALID"))
    for out in range(3):
        want = sum(
            scipy.signal.correlate(VOLUME[0, ..., c], K3[..., c, out], "valid") for c in range(2)
        )
        np.testing.assert_allclose(got[0, ..., out], want)


def test_gradients_of_convolutions_by_name() -> None:
    """What `gradients` gives, and so what central differences check."""
    x, w, v, u = (st.constant(a) for a in (IMAGE, K2, VOLUME, K3))
    deep, solid = st.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME"), st.nn.conv3d(v, u, 1, "SAME")
    y = RNG.standard_normal(deep.shape.sizes())
    z = RNG.standard_normal(solid.shape.sizes())
    dx, dw = st.gradients(deep, [x, w], grad_ys=[y])
    (du,) = st.gradients(solid, [u], grad_ys=[z])
    flat = st.nn.conv2d(x, w, 1, "SAME")
    q = RNG.standard_normal(flat.shape.sizes())
    dx2, dw2 = st.gradients(flat, [x, w], grad_ys=[q])
    nn = st.nn
    strides = [1, 1, 1, 1]
    pairs = [
        (nn.conv2d_backprop_input(IMAGE.shape, K2, q, strides, "SAME"), dx2),
        (nn.conv2d_backprop_filter(IMAGE, K2.shape, q, strides, "SAME"), dw2),
        (nn.depthwise_conv2d_backprop_input(IMAGE.shape, K2, y, strides, "SAME"), dx),
        (nn.depthwise_conv2d_native_backprop_input(IMAGE.shape, K2, y, strides, "SAME"), dx),
        (nn.depthwise_conv2d_backprop_filter(IMAGE, K2.shape, y, strides, "SAME"), dw),
        (nn.depthwise_conv2d_native_backprop_filter(IMAGE, K2.shape, y, strides, "SAME"), dw),
        (nn.conv3d_backprop_filter(VOLUME, K3.shape, z, 1, "SAME"), du),
        (nn.conv3d_backprop_filter_v2(VOLUME, K3.shape, z, 1, "SAME"), du),
    ]
    for got, want in run(pairs):
        np.testing.assert_allclose(got, want)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_dilation_by_blocks(padding: str) -> None:
    """Equal to the dilated convolution, for rates that do not divide the sizes."""
    got = st.nn.with_space_to_batch(
        IMAGE, [2, 3], padding, lambda x, axes, pad: st.nn.convolution(x, K2, pad), K2.shape[:2]
    )
    want = st.nn.convolution(IMAGE, K2, padding, dilation_rate=[2, 3])
    np.testing.assert_allclose(*run([got, want]))
    plain = st.nn.with_space_to_batch(IMAGE, [1, 1], padding, lambda x, n, pad: x + n)
    np.testing.assert_array_equal(run(plain), IMAGE + 2)
    with pytest.raises(st.errors.InvalidArgumentError, match="filter_shape"):
        st.nn.with_space_to_batch(IMAGE, [2, 2], "SAME", lambda x, n, pad: x)


def test_fused_normalisation() -> None:
    """In training by its own moments, else by the given ones; moving averages on the way."""
    x = IMAGE.astype(np.float32)
    scale, offset = np.float32([1, 2, -1]), np.float32([0.5, 0, 1])
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    own = (x - mean) / np.sqrt(variance + 0.001) * scale + offset
    unbiased = variance * 84 / 83
    given = np.float32([1, 0, 2]), np.float32([1, 4, 9])
    other = (x - given[0]) / np.sqrt(given[1] + 0.01) * scale + offset
    batch_norm = st.nn.fused_batch_norm
    cases = [
        (batch_norm(x, scale, offset), (own, mean, unbiased)),
        (batch_norm(x, scale, offset, *given, 0.01, is_training=False), (other, *given)),
        (batch_norm(x, scale, offset, *given, exponential_avg_factor=0.25),
         (own, 0.75 * given[0] + 0.25 * mean, 0.75 * given[1] + 0.25 * unbiased)),
    ]  # fmt: skip
    for made, wants in cases:
        for got, want in zip(run(list(made)), wants, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    half = run(batch_norm(x.astype(np.float16), scale, offset)[0])
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, own, atol=0.01)
    with pytest.raises(st.errors.InvalidArgumentError, match="mean and variance"):
        batch_norm(x, scale, offset, is_training=False)


def test_gradient_of_fused_normalisation() -> None:
    """Also through the moments: the gradient of the sum of the outputs is zero."""
    x = st.constant(IMAGE)
    y, _, _ = st.nn.fused_batch_norm(x, np.ones(3), np.zeros(3))
    weights = RNG.standard_normal(IMAGE.shape)
    grads = st.gradients(y, x)[0], st.gradients(y * weights, x)[0]
    plain, weighed = run(list(grads))
    np.testing.assert_allclose(plain, 0, atol=1e-9)
    axes = (0, 1, 2)
    norm = (IMAGE - IMAGE.mean(axes)) / np.sqrt(IMAGE.var(axes) + 0.001)
    want = weights - weights.mean(axes) - norm * (weights * norm).mean(axes)
    np.testing.assert_allclose(weighed, want / np.sqrt(IMAGE.var(axes) + 0.001), atol=1e-9)


def blocks_by_hand(x: Any) -> Any:
    n, h, w, c = x.shape
    parts = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(2, 4, 0, 1, 3, 5)
    return parts.reshape(4 * n, h // 2, w // 2, c)


EVEN = IMAGE[:, :6]
REFERENCES: list[tuple[str, Any, Any]] = [
    ("silu", lambda: st.nn.silu(LINE), LINE * scipy.special.expit(LINE)),
    ("swish", lambda: st.nn.swish(LINE, 1.5), LINE * scipy.special.expit(1.5 * LINE)),
    ("log_sigmoid", lambda: st.nn.log_sigmoid(LINE), scipy.special.log_expit(LINE)),
    ("space_to_batch", lambda: st.nn.space_to_batch(EVEN, [[0, 0], [0, 0]], 2),
     blocks_by_hand(EVEN)),
    ("space_to_depth", lambda: st.nn.space_to_depth(EVEN, 2),
     np.concatenate(np.split(blocks_by_hand(EVEN), 4), -1)),
    ("depth_to_space", lambda: st.nn.depth_to_space(
        np.concatenate(np.split(blocks_by_hand(EVEN), 4), -1), 2), EVEN),
    ("softmax_cross_entropy_with_logits_v2",
     lambda: st.nn.softmax_cross_entropy_with_logits_v2(labels=np.eye(3)[[2, 0]],
                                                        logits=LINE[0, :2]),
     -scipy.special.log_softmax(LINE[0, :2], -1)[[0, 1], [2, 0]]),
    ("extract_volume_patches", lambda: st.extract_volume_patches(VOLUME, [1, 2, 2, 1, 1],
                                                                 [1, 2, 1, 3, 1], "VALID"),
     np.concatenate([VOLUME[:, i : i + 3 : 2, j : j + 4, ::3] for i in (0, 1) for j in (0, 1)],
                    -1)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "want"), REFERENCES, ids=[r[0] for r in REFERENCES])
def test_against_numpy(name: str, make: Any, want: Any) -> None:
    np.testing.assert_allclose(run(make()), want, rtol=1e-9)


def test_safe_lookup() -> None:
    """Negative ids and weights that are not positive do not count; a row without ids is zeros, or
    the default row."""
    table = RNG.standard_normal((5, 2))
    places = [[0, 0], [0, 1], [1, 0], [3, 0], [3, 1]]
    ids = st.SparseTensor(places, np.int64([1, -1, -1, 2, 4]), [4, 2])
    weights = st.SparseTensor(places, [2.0, 1.0, 1.0, 3.0, 0.0], [4, 2])
    zero = np.zeros(2)
    lookup = st.nn.safe_embedding_lookup_sparse
    cases = [
        (lookup(table, ids), [table[1], zero, zero, (table[2] + table[4]) / 2]),
        (lookup(table, ids, weights, "sum"), [2 * table[1], zero, zero, 3 * table[2]]),
        (
            lookup(table, ids, default_id=3),
            [table[1], table[3], table[3], (table[2] + table[4]) / 2],
        ),
    ]
    for made, want in cases:
        np.testing.assert_allclose(run(made), np.stack(want), rtol=1e-6)
    short = run(lookup(table, ids, combiner="sum", max_norm=0.1))
    np.testing.assert_allclose(np.linalg.norm(short[0]), min(0.1, np.linalg.norm(table[1])))
    with pytest.raises(st.errors.InvalidArgumentError, match="combiner"):
        lookup(table, ids, combiner="most")
