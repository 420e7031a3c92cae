"""Kernels against independent references (SciPy, plain NumPy, loops)."""

from typing import Any

import numpy as np
import pytest
import scipy.signal
import scipy.special

import systolica as st

X = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
P = np.abs(X) + np.float32(0.1)
I = np.asarray([[7, -7, 3], [2, 5, -9]], np.int32)  # noqa: E741 (a matrix of integers)
J = np.asarray([3, 2, -4], np.int32)
B = np.asarray([True, False, True, False])


def run(tensor: Any, feeds: Any = None) -> Any:
    """Value in a fresh session."""
    with st.Session(graph=getattr(tensor, "graph", None) or tensor[0].graph) as session:
        return session.run(tensor, feeds)


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


REFERENCES: list[tuple[str, Any, Any]] = [
    ("abs", lambda: st.abs(X), np.abs(X)),
    ("add", lambda: st.add(X, 2.0), X + 2),
    ("argmax", lambda: st.argmax(X, 1), np.argmax(X, 1)),
    ("argmin", lambda: st.argmin(X), np.argmin(X, 0)),
    ("batch norm", lambda: st.nn.batch_normalization(X, X.mean(0), X.var(0), 1.0, 2.0, 1e-3),
     (X - X.mean(0)) / np.sqrt(X.var(0) + 1e-3) * 2 + 1),
    ("bias_add", lambda: st.nn.bias_add(X, X[0]), X + X[0]),
    ("cast", lambda: st.cast(X * 10, st.int32), (X * 10).astype(np.int32)),
    ("ceil", lambda: st.ceil(X), np.ceil(X)),
    ("concat", lambda: st.concat([X, P], 1), np.hstack([X, P])),
    ("div ints", lambda: st.div(I, J), I // J),
    ("truediv ints", lambda: st.divide(I, J), I / J),
    ("elu", lambda: st.nn.elu(X), np.where(X > 0, X, np.exp(X) - 1)),
    ("equal", lambda: st.equal(I, 3), I == 3),
    ("erf", lambda: st.erf(X), scipy.special.erf(X)),
    ("expand_dims", lambda: st.expand_dims(X, -1), X[..., None]),
    ("fill", lambda: st.fill([2, 3], 7), np.full((2, 3), 7)),
    ("floordiv", lambda: st.floordiv(I, J), I // J),
    ("gather", lambda: st.gather(X, [2, 0]), X[[2, 0]]),
    ("gelu", lambda: st.nn.gelu(X), X * scipy.special.ndtr(X)),
    ("l2_loss", lambda: st.nn.l2_loss(X), (X**2).sum() / 2),
    ("l2_normalize", lambda: st.nn.l2_normalize(X, 1),
     X / np.linalg.norm(X, axis=1, keepdims=True)),
    ("leaky_relu", lambda: st.nn.leaky_relu(st.constant(X), 0.1), np.where(X > 0, X, X * 0.1)),
    ("log_softmax", lambda: st.nn.log_softmax(X), scipy.special.log_softmax(X, -1)),
    ("logical", lambda: st.logical_and(B, ~st.constant(B[::-1].copy())), B & ~B[::-1]),
    ("matmul", lambda: st.matmul(X, P, transpose_b=True), X @ P.T),
    ("maximum", lambda: st.maximum(X, 0.0), np.maximum(X, 0)),
    ("mod", lambda: st.mod(I, J), np.mod(I, J)),
    ("not_equal", lambda: st.not_equal(I, 3), I != 3),
    ("one_hot", lambda: st.one_hot([0, 2, -1], 3, 5.0, 1.0), [[5, 1, 1], [1, 1, 5], [1, 1, 1]]),
    ("pad", lambda: st.pad(X, [[1, 0], [0, 2]]), np.pad(X, [[1, 0], [0, 2]])),
    ("pad reflect", lambda: st.pad(X, [[1, 0], [0, 2]], "REFLECT"),
     np.pad(X, [[1, 0], [0, 2]], "reflect")),
    ("pow", lambda: st.pow(P, 2.5), P**2.5),
    ("range", lambda: st.range(3, 18, 3), np.arange(3, 18, 3)),
    ("range float", lambda: st.range(0.0, 1.0, 0.25), np.arange(0, 1, 0.25)),
    ("rank", lambda: st.rank(X), 2),
    ("reduce_all", lambda: st.reduce_all(B), False),
    ("reduce_any", lambda: st.reduce_any(B), True),
    ("reduce_max", lambda: st.reduce_max(X, 0), X.max(0)),
    ("reduce_mean", lambda: st.reduce_mean(X, [0, 1], keepdims=True), X.mean(keepdims=True)),
    ("reduce_prod", lambda: st.reduce_prod(X, 1), X.prod(1)),
    ("reduce_sum ints", lambda: st.reduce_sum(I), I.sum()),
    ("relu6", lambda: st.nn.relu6(X * 9), np.clip(X * 9, 0, 6)),
    ("reshape", lambda: st.reshape(X, [2, -1]), X.reshape(2, -1)),
    ("round", lambda: st.round(np.float32([0.5, 1.5, -2.5])), [0, 2, -2]),
    ("rsqrt", lambda: st.rsqrt(P), 1 / np.sqrt(P)),
    ("shape", lambda: st.shape(X), [3, 4]),
    ("sigmoid", lambda: st.sigmoid(X * 20), scipy.special.expit(X * 20)),
    ("sigmoid xent", lambda: st.nn.sigmoid_cross_entropy_with_logits(labels=P, logits=X),
     -P * scipy.special.log_expit(X) - (1 - P) * scipy.special.log_expit(-X)),
    ("size", lambda: st.size(X), 12),
    ("slice", lambda: st.slice(X, [1, 0], [2, -1]), X[1:3]),
    ("softmax", lambda: st.nn.softmax(X, 0), scipy.special.softmax(X, 0)),
    ("softmax huge", lambda: st.nn.softmax(X * 1e4), scipy.special.softmax(X * 1e4, -1)),
    ("softplus", lambda: st.nn.softplus(X * 50), np.logaddexp(0, X * 50)),
    ("softsign", lambda: st.nn.softsign(X), X / (1 + np.abs(X))),
    ("split", lambda: st.split(X, 2, 1)[1], X[:, 2:]),
    ("split sizes", lambda: st.split(X, [1, 3], 1)[1], X[:, 1:]),
    ("squared_difference", lambda: st.squared_difference(X, P), (X - P) ** 2),
    ("squeeze", lambda: st.squeeze(X[None, :, None]), X),
    ("stack", lambda: st.stack([X, P], 1), np.stack([X, P], 1)),
    ("strided_slice", lambda: st.strided_slice(X, [2, 0], [0, 4], [-1, 2]), X[2:0:-1, 0:4:2]),
    ("tile", lambda: st.tile(X, [2, 3]), np.tile(X, [2, 3])),
    ("transpose", lambda: st.transpose(X), X.T),
    ("unstack", lambda: st.unstack(st.constant(X))[2], X[2]),
    ("where", lambda: st.where(X > 0, st.constant(X), P), np.where(X > 0, X, P)),
    ("where indices", lambda: st.where(st.constant(X > 0)), np.argwhere(X > 0)),
    ("where rows", lambda: st.where(st.constant([True, False, True]), st.constant(X), P),
     np.where([[True], [False], [True]], X, P)),
    ("python operators", lambda: (1 - st.constant(X)) * 2 / P + -st.constant(X) ** 2.0,
     (1 - X) * 2 / P - X**2),
    ("numpy on the left", lambda: X + st.constant(X) @ (P.T @ X), X + X @ P.T @ X),
    ("index", lambda: st.constant(X)[1, ::-1], X[1, ::-1]),
    ("ellipsis", lambda: st.constant(X)[..., None, -1], X[..., None, -1]),
    ("tensor index", lambda: st.constant(X)[st.constant(1)], X[1]),
    ("shift ints", lambda: st.constant(I) + 1, I + 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "want"), REFERENCES, ids=[r[0] for r in REFERENCES])
def test_against_reference(name: str, make: Any, want: Any) -> None:
    """Values, shapes; and that the static type says what the value is."""
    tensor = make()
    value = run(tensor)
    assert value.dtype == tensor.dtype.numpy
    assert tensor.shape.compatible(value.shape)
    assert value.shape == np.shape(want)
    np.testing.assert_allclose(value, want, rtol=2e-5, atol=1e-6)


UNARY = ("exp", "log", "log1p", "sqrt", "square", "sign", "floor", "sin", "cos", "tanh")


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "bfloat16"])
def test_unary_in_every_float_type(name: str, kind: str) -> None:
    """The result has the dtype of the input."""
    value = P.astype(st.as_dtype(kind).numpy)
    got = run(getattr(st, name)(value))
    want = getattr(np, name)(value.astype(np.float64))
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2}.get(kind, 2e-6)
    assert got.dtype == value.dtype
    np.testing.assert_allclose(got.astype(np.float64), want, rtol=tolerance, atol=tolerance)


def conv_by_loops(x: Any, w: Any, strides: Any, pads: Any, dilations: Any) -> Any:
    """Direct convolution in float64 by SciPy, one channel pair at a time."""
    x = np.pad(x.astype(np.float64), [(0, 0), *pads, (0, 0)])
    kh, kw, ci, co = w.shape
    wide = np.zeros(((kh - 1) * dilations[0] + 1, (kw - 1) * dilations[1] + 1, ci, co))
    wide[:: dilations[0], :: dilations[1]] = w
    maps = [
        [
            sum(
                scipy.signal.correlate2d(x[n, :, :, i], wide[:, :, i, o], "valid")
                for i in range(ci)
            )
            for o in range(co)
        ]
        for n in range(len(x))
    ]
    return np.moveaxis(np.asarray(maps), 1, -1)[:, :: strides[0], :: strides[1]]


def same_pads(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """TensorFlow's definition."""
    span = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return total // 2, total - total // 2


@pytest.mark.parametrize("seed_", range(12))
def test_conv2d_on_random_geometries(seed_: int) -> None:
    """Strides, dilations and the three kinds of padding."""
    rng = np.random.default_rng(seed_)
    h, w, ci, co = (int(v) for v in rng.integers([5, 5, 1, 1], [12, 12, 4, 5]))
    kh, kw, sh, sw = (int(v) for v in rng.integers([1, 1, 1, 1], [4, 4, 4, 4]))
    dh, dw = (int(v) for v in rng.integers(1, 3, 2))
    x = rng.standard_normal((2, h, w, ci)).astype(np.float32)
    k = rng.standard_normal((kh, kw, ci, co)).astype(np.float32)
    explicit = ((1, 0), (2, 1))
    for padding, pads in (
        ("VALID", ((0, 0), (0, 0))),
        ("SAME", (same_pads(h, kh, sh, dh), same_pads(w, kw, sw, dw))),
        (explicit, explicit),
    ):
        got = run(st.nn.conv2d(x, k, [1, sh, sw, 1], padding, dilations=[1, dh, dw, 1]))
        want = conv_by_loops(x, k, (sh, sw), pads, (dh, dw))
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_depthwise_is_convolution_per_channel() -> None:
    """Channel c with multiplier m is output c * M + m."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((1, 6, 5, 3)).astype(np.float32)
    k = rng.standard_normal((3, 2, 3, 2)).astype(np.float32)
    got = run(st.nn.depthwise_conv2d(x, k, [1, 1, 1, 1], "VALID"))
    for c in range(3):
        want = conv_by_loops(
            x[..., c : c + 1], k[:, :, c : c + 1], (1, 1), ((0, 0), (0, 0)), (1, 1)
        )
        np.testing.assert_allclose(got[..., 2 * c : 2 * c + 2], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_pooling_ignores_padding(padding: str) -> None:
    """A window over the border takes only what is inside."""
    x = np.random.default_rng(4).standard_normal((2, 7, 6, 3)) - 5
    pads = [same_pads(7, 3, 2, 1), same_pads(6, 2, 2, 1)] if padding == "SAME" else [(0, 0)] * 2
    wide = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=np.nan)
    oh, ow = (wide.shape[1] - 3) // 2 + 1, (wide.shape[2] - 2) // 2 + 1
    cut = [[wide[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 2] for j in range(ow)] for i in range(oh)]
    for op, function in ((st.nn.max_pool, np.nanmax), (st.nn.avg_pool, np.nanmean)):
        want = np.stack([np.stack([function(c, (1, 2)) for c in row], 1) for row in cut], 1)
        got = run(op(x, [1, 3, 2, 1], [1, 2, 2, 1], padding))
        np.testing.assert_allclose(got, want)


def test_max_pool_of_int8_pads_with_the_smallest() -> None:
    """Zero padding would win over negative values."""
    x = np.full((1, 3, 3, 1), -100, np.int8)
    got = run(st.nn.max_pool(x, 2, 2, "SAME"))
    assert got.dtype == np.int8 and (got == -100).all()


def test_cross_entropies() -> None:
    """Dense and sparse agree with the definition, also where exp overflows."""
    logits = X * 300
    labels = scipy.special.softmax(P, -1)
    want = -(labels * scipy.special.log_softmax(logits.astype(np.float64), -1)).sum(-1)
    got = run(st.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits))
    np.testing.assert_allclose(got, want, rtol=1e-5)
    classes = [3, 0, 1]
    got = run(st.nn.sparse_softmax_cross_entropy_with_logits(labels=classes, logits=logits))
    want = -scipy.special.log_softmax(logits.astype(np.float64), -1)[range(3), classes]
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_moments() -> None:
    """Mean and variance."""
    mean, variance = run(list(st.nn.moments(st.constant(X), [0])))
    np.testing.assert_allclose(mean, X.mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, X.var(0), rtol=1e-5)


def test_half_types_accumulate_in_float32() -> None:
    """2048 + 1 is 2048 in float16: a sum kept there would stop growing."""
    a = np.ones((1, 4096), np.float16)
    assert run(st.matmul(a, a.T.copy()))[0, 0] == 4096
    wide = a.astype(st.bfloat16.numpy)
    assert float(run(st.matmul(wide, wide.T.copy()))[0, 0]) == 4096


def test_quantised_ops_against_integers() -> None:
    """QLinearMatMul and QLinearConv by their definition in float64 on exact integer sums."""
    rng = np.random.default_rng(5)
    a, b = (rng.integers(-128, 128, s).astype(np.int8) for s in ((5, 700), (700, 6)))
    b = np.clip(b, -127, 127)
    scales = rng.uniform(0.001, 0.01, 6).astype(np.float32)
    got = run(st.qlinear_matmul(a, 0.02, 3, b, scales, 0, 0.9, -5))
    total = (a.astype(np.int64) - 3) @ b.astype(np.int64)
    factor = (np.float32(0.02) * scales) / np.float32(0.9)
    want = np.clip(np.rint(total.astype(np.float32) * factor) - 5, -128, 127)
    np.testing.assert_array_equal(got, want)

    x = rng.integers(-128, 128, (2, 5, 6, 3)).astype(np.int8)
    w = rng.integers(-127, 128, (3, 3, 3, 6)).astype(np.int8)
    bias = rng.integers(-1000, 1000, 6).astype(np.int32)
    got = run(st.qlinear_conv(x, 0.02, 7, w, scales, 0, 0.3, 11, bias, 2, "SAME"))
    pads = (same_pads(5, 3, 2, 1), same_pads(6, 3, 2, 1))
    exact = conv_by_loops(x.astype(np.float64) - 7, w.astype(np.float64), (2, 2), pads, (1, 1))
    factor = (np.float32(0.02) * scales) / np.float32(0.3)
    want = np.clip(np.rint((exact + bias).astype(np.float32) * factor) + 11, -128, 127)
    np.testing.assert_array_equal(got, want)


def test_quantise_and_back_per_channel() -> None:
    """Round half even, saturation, an axis of scales."""
    x = np.float32([[0.5, 1.5, 1000.0], [-0.5, 2.5, -1000.0]])
    q = st.quantize_linear(x, np.float32([1, 1, 2]), np.int8([0, 1, 0]))
    got, back = run([q, st.dequantize_linear(q, np.float32([1, 1, 2]), np.int8([0, 1, 0]))])
    np.testing.assert_array_equal(got, [[0, 3, 127], [0, 3, -128]])
    np.testing.assert_array_equal(back, [[0, 2, 254], [0, 2, -256]])


def test_random_numbers_repeat_by_seed_and_advance_by_run() -> None:
    """Same (graph seed, op seed): same stream in every session; each run draws anew."""
    st.set_random_seed(7)
    a, b = st.random_normal([500], seed=1), st.random_uniform([500], -2, 2)
    c = st.random_uniform([500], 3, 9, st.int32)
    t = st.truncated_normal([500], 1.0, 0.5)
    with st.Session() as one, st.Session() as two:
        first, again = one.run([a, b, c, t]), one.run([a, b, c, t])
        other = two.run([a, b, c, t])
    for x, y, z in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(x, z)
        assert (x != y).any()
    assert abs(first[0].mean()) < 0.2 and abs(first[0].std() - 1) < 0.15
    assert first[1].min() >= -2 and first[1].max() < 2
    assert set(first[2]) == set(range(3, 9))
    assert first[3].min() >= 0 and first[3].max() <= 2


def test_unseeded_random_numbers_differ_between_sessions() -> None:
    """As in TensorFlow."""
    x = st.random_normal([8])
    assert (run(x) != run(x)).any()


def test_dropout_keeps_the_mean() -> None:
    """Kept elements are scaled; keep_prob may be fed."""
    keep = st.placeholder(st.float32, [])
    y = st.nn.dropout(st.ones([100, 100]), keep, seed=3)
    value = run(y, {keep: 0.25})
    assert set(np.unique(value)) == {0, 4}
    assert value.mean() == pytest.approx(1, abs=0.1)
    np.testing.assert_array_equal(run(y, {keep: 1.0}), 1)
