"""Functions, running sums, segments, sorting, scattering, rearranging and images against NumPy and
SciPy."""

import colorsys
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.special

import systolica as st

RNG = np.random.default_rng(8)
X = RNG.standard_normal((3, 4))
U = RNG.uniform(-0.9, 0.9, (3, 4))
I = np.asarray([[7, -7, 3], [2, 5, -9]], np.int32)  # noqa: E741 (a matrix of integers)
J = np.asarray([3, 2, -4], np.int32)
IDS = np.asarray([0, 0, 1, 3], np.int32)
ROWS = RNG.standard_normal((4, 2))
IMAGE = RNG.uniform(0, 1, (2, 6, 4, 3)).astype(np.float32)
BYTES = RNG.integers(0, 256, (6, 4, 3)).astype(np.uint8)
PLACES = np.asarray([[0, 1], [2, 3], [0, 1]], np.int32)


def scattered() -> Any:
    out = np.zeros((3, 4))
    np.add.at(out, (PLACES[:, 0], PLACES[:, 1]), [1.0, 2.0, 4.0])
    return out


def blocks(x: Any, b: int) -> Any:
    """space_to_depth by definition."""
    n, h, w, c = x.shape
    out = np.zeros((n, h // b, w // b, c * b * b), x.dtype)
    for i in range(b):
        for j in range(b):
            k = (i * b + j) * c
            out[..., k : k + c] = x[:, i::b, j::b]
    return out


def lrn(x: Any) -> Any:
    out = np.zeros_like(x)
    for d in range(x.shape[-1]):
        near = x[..., max(0, d - 1) : d + 2]
        out[..., d] = x[..., d] / (2 + 0.5 * (near**2).sum(-1)) ** 0.75
    return out


def hsv(image: Any) -> Any:
    flat = [colorsys.rgb_to_hsv(*map(float, p)) for p in image.reshape(-1, 3)]
    return np.asarray(flat).reshape(image.shape)


def resized(image: Any, height: int, width: int, align: bool) -> Any:
    """Bilinear interpolation by SciPy."""
    _, h, w, _ = image.shape
    scale = lambda a, b: (a - 1) / (b - 1) if align else a / b  # noqa: E731
    rows, columns = np.arange(height) * scale(h, height), np.arange(width) * scale(w, width)
    grid = np.meshgrid(rows, columns, indexing="ij")

    def one(plane: Any) -> Any:
        return scipy.ndimage.map_coordinates(plane, grid, order=1, mode="nearest")

    return np.stack([np.stack([one(p[..., c]) for c in range(3)], -1) for p in image])


REFERENCES: list[tuple[str, Any, Any]] = [
    *((n, lambda n=n: getattr(st, n)(U), getattr(np, m)(U)) for n, m in (
        ("tan", "tan"), ("asin", "arcsin"), ("acos", "arccos"), ("atan", "arctan"),
        ("sinh", "sinh"), ("cosh", "cosh"), ("asinh", "arcsinh"), ("atanh", "arctanh"),
        ("expm1", "expm1"), ("rint", "rint"))),
    ("acosh", lambda: st.acosh(U + 2), np.arccosh(U + 2)),
    ("atan2", lambda: st.atan2(X, U), np.arctan2(X, U)),
    ("erfc", lambda: st.erfc(X), scipy.special.erfc(X)),
    ("lgamma", lambda: st.lgamma(X * 3), scipy.special.loggamma(X * 3 + 0j).real),
    ("digamma", lambda: st.digamma(X * 3), scipy.special.digamma(X * 3)),
    ("truncatediv", lambda: st.truncatediv(I, J), np.trunc(I / J)),
    ("truncatemod", lambda: st.truncatemod(I, J), np.fmod(I, J)),
    ("is_inf", lambda: st.is_inf([1.0, np.inf, -np.inf]), [False, True, True]),
    ("cumsum", lambda: st.cumsum(X, 1), np.cumsum(X, 1)),
    ("cumsum exclusive", lambda: st.cumsum(X, exclusive=True), np.cumsum(X, 0) - X),
    ("cumsum reverse", lambda: st.cumsum(X, 1, reverse=True), np.cumsum(X[:, ::-1], 1)[:, ::-1]),
    ("cumsum ints", lambda: st.cumsum(I, 1), np.cumsum(I, 1)),
    ("cumprod", lambda: st.cumprod(X, 1, True, True),
     np.cumprod(np.c_[np.ones(3), X[:, :0:-1]], 1)[:, ::-1]),
    ("logsumexp", lambda: st.reduce_logsumexp(X * 1e3, 1), scipy.special.logsumexp(X * 1e3, 1)),
    ("logsumexp all", lambda: st.reduce_logsumexp(X, keepdims=True),
     scipy.special.logsumexp(X).reshape(1, 1)),
    ("count_nonzero", lambda: st.count_nonzero(I > 0, 1), [2, 2]),
    ("segment_sum", lambda: st.segment_sum(ROWS, IDS), [ROWS[:2].sum(0), ROWS[2], [0, 0], ROWS[3]]),
    ("segment_mean", lambda: st.segment_mean(ROWS, IDS),
     [ROWS[:2].mean(0), ROWS[2], [0, 0], ROWS[3]]),
    ("segment_prod", lambda: st.segment_prod(ROWS, IDS),
     [ROWS[:2].prod(0), ROWS[2], [1, 1], ROWS[3]]),
    ("segment_max", lambda: st.segment_max(ROWS, IDS), [ROWS[:2].max(0), ROWS[2], [0, 0], ROWS[3]]),
    ("segment_min", lambda: st.segment_min(ROWS, IDS), [ROWS[:2].min(0), ROWS[2], [0, 0], ROWS[3]]),
    ("unsorted sum", lambda: st.unsorted_segment_sum(ROWS, [2, -1, 2, 0], 3),
     [ROWS[3], [0, 0], ROWS[0] + ROWS[2]]),
    ("unsorted max", lambda: st.unsorted_segment_max(ROWS, [1, 1, 1, 0], 2),
     [ROWS[3], ROWS[:3].max(0)]),
    ("sparse sum", lambda: st.sparse_segment_sum(ROWS, [3, 0, 1], [0, 0, 1]),
     [ROWS[3] + ROWS[0], ROWS[1]]),
    ("sparse mean", lambda: st.sparse_segment_mean(ROWS, [3, 0, 1], [0, 0, 1]),
     [(ROWS[3] + ROWS[0]) / 2, ROWS[1]]),
    ("sparse sqrt n", lambda: st.sparse_segment_sqrt_n(ROWS, [3, 0, 1], [0, 0, 1]),
     [(ROWS[3] + ROWS[0]) / 2**0.5, ROWS[1]]),
    ("top_k", lambda: st.nn.top_k([[3.0, 1.0, 3.0, 2.0]], 3)[1], [[0, 2, 3]]),
    ("top_k ints", lambda: st.nn.top_k(I, 2)[0], np.sort(I, 1)[:, :0:-1]),
    ("in_top_k", lambda: st.nn.in_top_k([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]], [2, 2], 2),
     [True, False]),
    ("unique", lambda: st.unique([7, 3, 7, 7, 1])[0], [7, 3, 1]),
    ("unique index", lambda: st.unique([7, 3, 7, 7, 1])[1], [0, 1, 0, 0, 2]),
    ("unique with counts", lambda: st.concat(st.unique_with_counts([7, 3, 7, 7, 1]), 0),
     [7, 3, 1, 0, 1, 0, 0, 2, 3, 1, 1]),
    ("unique counts", lambda: st.unique_with_counts([7, 3, 7, 7, 1])[2], [3, 1, 1]),
    ("setdiff1d", lambda: st.setdiff1d([5, 1, 2, 5, 3], [1, 3])[1], [0, 2, 3]),
    ("invert_permutation", lambda: st.invert_permutation([2, 0, 1]), [1, 2, 0]),
    ("gather_nd", lambda: st.gather_nd(X, PLACES), X[PLACES[:, 0], PLACES[:, 1]]),
    ("gather_nd rows", lambda: st.gather_nd(X, [[[2]], [[0]]]), X[[[2], [0]]]),
    ("scatter_nd", lambda: st.scatter_nd(PLACES, np.asarray([1.0, 2.0, 4.0]), [3, 4]),
     scattered()),
    ("reverse", lambda: st.reverse(X, [1]), X[:, ::-1]),
    ("reverse bools", lambda: st.reverse(X, [True, False]), X[::-1]),
    ("roll", lambda: st.roll(X, [1, -1], [0, 1]), np.roll(X, (1, -1), (0, 1))),
    ("reverse_sequence", lambda: st.reverse_sequence(X, [2, 4, 0], 1, 0),
     [X[0, [1, 0, 2, 3]], X[1, ::-1], X[2]]),
    ("space_to_depth", lambda: st.space_to_depth(IMAGE, 2), blocks(IMAGE, 2)),
    ("depth_to_space", lambda: st.depth_to_space(st.space_to_depth(IMAGE, 2), 2), IMAGE),
    ("space_to_batch", lambda: st.space_to_batch(IMAGE, [[0, 0], [0, 0]], 2),
     np.concatenate([IMAGE[:, i::2, j::2] for i in range(2) for j in range(2)])),
    ("batch_to_space", lambda: st.batch_to_space_nd(
        st.space_to_batch_nd(IMAGE, [4, 3], [[1, 1], [2, 0]]), [4, 3], [[1, 1], [2, 0]]), IMAGE),
    ("bitcast", lambda: st.bitcast(np.float32([1.5, -2]), st.int32),
     np.float32([1.5, -2]).view(np.int32)),
    ("bitcast smaller", lambda: st.bitcast(np.float32([1.5]), st.uint8),
     np.float32([1.5]).view(np.uint8)[None]),
    ("bitcast larger", lambda: st.bitcast(np.float32([[1.5, 2]]), st.float64),
     np.float32([1.5, 2]).view(np.float64)),
    ("sequence_mask", lambda: st.sequence_mask([1, 3, 0], 3, st.float32),
     [[1, 0, 0], [1, 1, 1], [0, 0, 0]]),
    ("sequence_mask longest", lambda: st.sequence_mask([1, 2]), [[True, False], [True, True]]),
    ("boolean_mask", lambda: st.boolean_mask(X, X > 0), X[X > 0]),
    ("boolean_mask rows", lambda: st.boolean_mask(X, [True, False, True]), X[[0, 2]]),
    ("meshgrid", lambda: st.meshgrid([1, 2, 3], [4, 5])[1], np.meshgrid([1, 2, 3], [4, 5])[1]),
    ("meshgrid ij", lambda: st.meshgrid([1, 2], [4, 5], [6], indexing="ij")[0],
     np.meshgrid([1, 2], [4, 5], [6], indexing="ij")[0]),
    ("linspace", lambda: st.linspace(1.0, 3.0, 5), np.linspace(1, 3, 5)),
    ("lrn", lambda: st.nn.lrn(IMAGE, 1, 2.0, 0.5, 0.75), lrn(IMAGE)),
    ("bilinear", lambda: st.image.resize_bilinear(IMAGE, [9, 3]), resized(IMAGE, 9, 3, False)),
    ("bilinear aligned", lambda: st.image.resize_images(IMAGE, [4, 7], align_corners=True),
     resized(IMAGE, 4, 7, True)),
    ("nearest", lambda: st.image.resize_nearest_neighbor(BYTES[None], [12, 2]),
     BYTES[None].repeat(2, 1)[:, :, ::2]),
    ("crop", lambda: st.image.crop_to_bounding_box(IMAGE, 1, 2, 3, 2), IMAGE[:, 1:4, 2:4]),
    ("pad box", lambda: st.image.pad_to_bounding_box(BYTES, 1, 2, 9, 8),
     np.pad(BYTES, [(1, 2), (2, 2), (0, 0)])),
    ("crop or pad", lambda: st.image.resize_image_with_crop_or_pad(BYTES, 3, 7),
     np.pad(BYTES[1:4], [(0, 0), (1, 2), (0, 0)])),
    ("central", lambda: st.image.central_crop(IMAGE, 0.5), IMAGE[:, 1:5, 1:3]),
    ("mirror", lambda: st.image.flip_left_right(BYTES), BYTES[:, ::-1]),
    ("upside down", lambda: st.image.flip_up_down(IMAGE), IMAGE[:, ::-1]),
    *((f"rot90 {k}", lambda k=k: st.image.rot90(BYTES, k), np.rot90(BYTES, k)) for k in range(4)),
    ("brightness", lambda: st.image.adjust_brightness(IMAGE, 0.1), IMAGE + np.float32(0.1)),
    ("brightness bytes", lambda: st.image.adjust_brightness(BYTES, 0.5),
     np.clip((BYTES / 255 + 0.5) * 255.5, 0, 255).astype(np.uint8)),
    ("contrast", lambda: st.image.adjust_contrast(IMAGE, 2.0),
     (IMAGE - IMAGE.mean((1, 2), keepdims=True)) * 2 + IMAGE.mean((1, 2), keepdims=True)),
    ("hsv", lambda: st.image.rgb_to_hsv(IMAGE), hsv(IMAGE)),
    ("hsv back", lambda: st.image.hsv_to_rgb(hsv(IMAGE).astype(np.float32)), IMAGE),
    ("hue", lambda: st.image.rgb_to_hsv(st.image.adjust_hue(IMAGE, 0.3))[..., 0],
     (hsv(IMAGE)[..., 0] + 0.3) % 1),
    ("saturation", lambda: st.image.rgb_to_hsv(st.image.adjust_saturation(IMAGE, 0.5))[..., 1],
     hsv(IMAGE)[..., 1] * 0.5),
    ("gamma", lambda: st.image.adjust_gamma(IMAGE, 2.0, 0.5), 0.5 * IMAGE**2),
    ("gray", lambda: st.image.rgb_to_grayscale(IMAGE), IMAGE @ [[0.2989], [0.5870], [0.1140]]),
    ("to rgb", lambda: st.image.grayscale_to_rgb(IMAGE[..., :1]), IMAGE[..., [0, 0, 0]]),
    ("standard", lambda: st.image.per_image_standardization(IMAGE),
     (IMAGE - IMAGE.mean((1, 2, 3), keepdims=True)) / IMAGE.std((1, 2, 3), keepdims=True)),
    ("variation", lambda: st.image.total_variation(IMAGE),
     np.abs(np.diff(IMAGE, axis=1)).sum((1, 2, 3)) + np.abs(np.diff(IMAGE, axis=2)).sum((1, 2, 3))),
    ("dtype", lambda: st.image.convert_image_dtype(BYTES, st.float32), BYTES / 255),
    ("dtype ints", lambda: st.image.convert_image_dtype(BYTES, st.int16), BYTES.astype(int) * 128),
]  # fmt: skip


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


@pytest.mark.parametrize(("name", "make", "want"), REFERENCES, ids=[r[0] for r in REFERENCES])
def test_against_reference(name: str, make: Any, want: Any) -> None:
    """Values, dtypes, static shapes."""
    tensor = make()
    with st.Session() as session:
        value = session.run(tensor)
    assert value.dtype == tensor.dtype.numpy
    assert tensor.shape.compatible(value.shape)
    assert value.shape == np.shape(want)
    np.testing.assert_allclose(value, want, rtol=1e-5, atol=1e-5 if value.dtype.itemsize < 8 else
                               1e-9)  # fmt: skip


def test_digamma_and_lgamma_at_poles_and_ends() -> None:
    """As SciPy: infinite at the poles of lgamma, not a number at those of digamma."""
    x = np.asarray([0.0, -1.0, np.inf, np.nan, 1e-3, 1e5])
    with st.Session() as session:
        gamma, psi = session.run([st.lgamma(x), st.digamma(x)])
    np.testing.assert_allclose(gamma, scipy.special.gammaln(x), rtol=1e-12)
    np.testing.assert_allclose(psi[2:], scipy.special.digamma(x)[2:], rtol=1e-12)
    assert np.isnan(psi[:2]).all()


def test_random_images_stay_images() -> None:
    """Crops are parts of the image; flips are the image or its mirror; both happen."""
    crop = st.random_crop(BYTES, [3, 2, 3], seed=1)
    flip = st.image.random_flip_left_right(BYTES, seed=2)
    bright = st.image.random_brightness(IMAGE, 0.2, seed=3)
    windows = np.lib.stride_tricks.sliding_window_view(BYTES, (3, 2, 3)).reshape(-1, 3, 2, 3)
    with st.Session() as session:
        crops = {session.run(crop).tobytes() for _ in range(20)}
        assert crops <= {w.tobytes() for w in windows} and len(crops) > 3
        flips = {session.run(flip).tobytes() for _ in range(20)}
        assert flips == {BYTES.tobytes(), np.ascontiguousarray(BYTES[:, ::-1]).tobytes()}
        change = session.run(bright) - IMAGE
        assert change.std() < 1e-6 and abs(change.mean()) <= 0.2


RUN_ERRORS: list[tuple[Any, str]] = [
    (lambda: st.segment_sum(ROWS, st.placeholder_with_default([1, 0, 2, 3], [4])), "sorted"),
    (lambda: st.unsorted_segment_sum(ROWS, [0, 1, 5, 0], 3), "5 is outside"),
    (lambda: st.gather_nd(X, [[0, 4]]), r"\[0, 4\] is outside"),
    (lambda: st.nn.top_k(st.placeholder_with_default([1.0], [None]), 2), "top_k of 2"),
    (lambda: st.random_crop(BYTES, [7, 2, 3]), "assertion"),
]
BUILD_ERRORS: list[tuple[Any, str]] = [
    (lambda: st.segment_sum(ROWS, [0, 1]), "one row for each"),
    (lambda: st.nn.top_k([1.0], 2), "top_k of 2"),
    (lambda: st.gather_nd(X, [[0, 1, 2]]), "3 numbers"),
    (lambda: st.space_to_depth(IMAGE, 4), "divide"),
    (lambda: st.bitcast(np.uint8([1, 2, 3]), st.float32), "cannot become"),
    (lambda: st.image.crop_to_bounding_box(IMAGE, 4, 0, 3, 2), "the box ends"),
    (lambda: st.image.rot90(X), "needs an image"),
    (lambda: st.boolean_mask(X, [True, False]), "does not begin"),
    (lambda: st.tan(st.constant(1)), "floating-point"),
]


@pytest.mark.parametrize(("make", "match"), RUN_ERRORS)
def test_errors_when_running(make: Any, match: str) -> None:
    """Values that do not fit, named."""
    tensor = make()
    with st.Session() as session:
        with pytest.raises(st.errors.InvalidArgumentError, match=match):
            session.run(tensor)


@pytest.mark.parametrize(("make", "match"), BUILD_ERRORS)
def test_errors_while_building(make: Any, match: str) -> None:
    """Shapes and types that do not fit, named."""
    with pytest.raises(st.errors.InvalidArgumentError, match=match):
        make()
