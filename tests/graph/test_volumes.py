"""Volumes, patches, morphology and pooling of unusual kinds against SciPy and definitions."""

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

import systolica as st

RNG = np.random.default_rng(31)
X = RNG.standard_normal((2, 5, 6, 4, 3))
IMAGE = RNG.standard_normal((2, 7, 6, 3))


def run(make: Any) -> Any:
    with st.Graph().as_default(), st.Session() as session:
        return session.run(make())


def same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def padded(x: Any, kernel: Any, strides: Any, padding: str, value: float = 0) -> Any:
    if padding == "VALID":
        return x
    pads = [same(n, k, s) for n, k, s in zip(x.shape[1:-1], kernel, strides, strict=True)]
    return np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=value)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("strides", [(1, 1, 1), (2, 1, 3)])
def test_conv3d_is_a_correlation(padding: str, strides: Any) -> None:
    """By SciPy, one pair of channels at a time."""
    w = RNG.standard_normal((2, 3, 2, 3, 2))
    wide = padded(X, w.shape[:3], strides, padding)
    want = np.stack([
        np.stack([sum(scipy.signal.correlate(wide[n, ..., i], w[..., i, o], "valid")
                      for i in range(3)) for o in range(2)], -1)
        for n in range(2)
    ])[:, :: strides[0], :: strides[1], :: strides[2]]  # fmt: skip
    got = run(lambda: st.nn.conv3d(X, w, [1, *strides, 1], padding))
    np.testing.assert_allclose(got, want)


def test_conv3d_transpose_is_the_transposed_matrix() -> None:
    """<conv(x), y> = <x, conv_transpose(y)> for all x and y."""
    w = RNG.standard_normal((2, 2, 3, 3, 2))
    y = RNG.standard_normal((2, 3, 6, 2, 2))
    forward = run(lambda: st.nn.conv3d(X, w, [1, 2, 1, 2, 1], "SAME"))
    back = run(lambda: st.nn.conv3d_transpose(y, w, X.shape, [1, 2, 1, 2, 1]))
    assert np.vdot(forward, y) == pytest.approx(np.vdot(X, back))


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_pooling_of_volumes(padding: str) -> None:
    kernel, strides = (2, 3, 2), (2, 1, 2)
    wide = padded(X, kernel, strides, padding, np.nan)
    counts = [(n - k) // s + 1 for n, k, s in zip(wide.shape[1:4], kernel, strides, strict=True)]
    for op, function in ((st.nn.max_pool3d, np.nanmax), (st.nn.avg_pool3d, np.nanmean)):
        want = np.empty((2, *counts, 3))
        for at in itertools.product(*map(range, counts)):
            cut = [slice(a * s, a * s + k) for a, s, k in zip(at, strides, kernel, strict=True)]
            want[(slice(None), *at)] = function(wide[(slice(None), *cut)], (1, 2, 3))
        got = run(lambda op=op: op(X, [1, *kernel, 1], [1, *strides, 1], padding))
        np.testing.assert_allclose(got, want)


def test_patches_are_what_is_under_the_window() -> None:
    got = run(lambda: st.extract_image_patches(IMAGE, [1, 2, 3, 1], [1, 2, 1, 1], [1, 2, 1, 1],
                                               "VALID"))  # fmt: skip
    assert got.shape == (2, 3, 4, 18)
    want = IMAGE[1, 2:5:2, 1:4].reshape(-1)
    np.testing.assert_array_equal(got[1, 1, 1], want)


def test_dilation_and_erosion_by_scipy() -> None:
    w = RNG.standard_normal((3, 3, 3))
    for op, reference in ((st.nn.dilation2d, scipy.ndimage.grey_dilation),
                          (st.nn.erosion2d, scipy.ndimage.grey_erosion)):  # fmt: skip
        got = run(lambda op=op: op(IMAGE, w, [1, 1, 1, 1], [1, 1, 1, 1], "VALID"))
        for n, c in itertools.product(range(2), range(3)):
            want = reference(IMAGE[n, :, :, c], structure=w[::-1, ::-1, c], mode="constant")
            np.testing.assert_allclose(got[n, :, :, c], want[1:-1, 1:-1])


def test_argmax_of_pooling_finds_the_maximum() -> None:
    """The position is in the flattened image of one row of the batch."""
    top, place = run(lambda: st.nn.max_pool_with_argmax(IMAGE, [1, 2, 3, 1], [1, 2, 2, 1], "SAME"))
    for n in range(2):
        np.testing.assert_array_equal(IMAGE[n].ravel()[place[n]], top[n])
    plain = run(lambda: st.nn.max_pool(IMAGE, [1, 2, 3, 1], [1, 2, 2, 1], "SAME"))
    np.testing.assert_array_equal(top, plain)


@pytest.mark.parametrize("pseudo", [False, True])
def test_fractional_pooling_uses_every_pixel_once(pseudo: bool) -> None:
    """Regions of the stated ratio that cover the image without overlap."""
    x = RNG.standard_normal((1, 9, 11, 2))
    ratio = [1.0, 1.5, 1.8, 1.0]
    for op, function in ((st.nn.fractional_max_pool, np.max), (st.nn.fractional_avg_pool, np.mean)):
        out, rows, columns = run(lambda op=op: op(x, ratio, pseudo, seed=3))
        assert rows[0] == 0 and rows[-1] == 9 and columns[-1] == 11
        assert out.shape == (1, 6, 6, 2)
        assert set(np.diff(rows)) <= {1, 2, 3} and (np.diff(rows) > 0).all()
        cell = x[0, rows[1] : rows[2], columns[2] : columns[3]]
        np.testing.assert_allclose(out[0, 1, 2], function(cell, (0, 1)))
        wide, *_ = run(lambda op=op: op(x, ratio, pseudo, overlapping=True, seed=3))
        assert (wide != out).any()


def test_pool_of_one_to_three_axes_with_gaps() -> None:
    line = RNG.standard_normal((2, 8, 3))
    got = run(lambda: st.nn.pool(line, [2], "MAX", "VALID", strides=[2]))
    np.testing.assert_array_equal(got, line.reshape(2, 4, 2, 3).max(2))
    got = run(lambda: st.nn.pool(X, [1, 2, 2], "AVG", "SAME"))
    np.testing.assert_array_equal(got, run(lambda: st.nn.avg_pool3d(X, [1, 2, 2], 1, "SAME")))
    for kind, function in (("MAX", np.nanmax), ("AVG", np.nanmean)):
        for padding in ("SAME", "VALID"):
            wide = IMAGE
            if padding == "SAME":
                pads = [(0, 0), (1, 1), (1, 2), (0, 0)]
                wide = np.pad(IMAGE, pads, constant_values=np.nan)
            taps = [wide[:, i : wide.shape[1] - 2 + i, j : wide.shape[2] - 3 + j]
                    for i in (0, 2) for j in (0, 3)]  # fmt: skip
            got = run(lambda k=kind, p=padding: st.nn.pool(IMAGE, [2, 2], k, p, [2, 3]))
            np.testing.assert_allclose(got, function(np.stack(taps), 0))


def test_required_paddings() -> None:
    """Static numbers and fed ones agree; space_to_batch takes them."""
    pads, crops = run(lambda: st.required_space_to_batch_paddings([7, 6], [3, 4], [[1, 0], [0, 1]]))
    assert pads.tolist() == [[1, 1], [0, 2]] and crops.tolist() == [[0, 1], [0, 1]]
    with st.Graph().as_default(), st.Session() as session:
        size = st.placeholder(st.int32, [2])
        fed = st.required_space_to_batch_paddings(size, [3, 4], [[1, 0], [0, 1]])
        for a, b in zip(session.run(fed, {size: [7, 6]}), (pads, crops), strict=True):
            np.testing.assert_array_equal(a, b)


def test_errors_name_the_sizes() -> None:
    with st.Graph().as_default():
        with pytest.raises(st.errors.ShapeError, match="3 channels, but the filter takes 2"):
            st.nn.conv3d(X, np.zeros((1, 1, 1, 2, 2)), 1, "SAME")
        with pytest.raises(st.errors.ShapeError, match="a window of 9 does not fit"):
            st.nn.max_pool3d(X, [9, 1, 1], 1, "VALID")
        with pytest.raises(st.errors.InvalidArgumentError, match="cannot both exceed 1"):
            st.nn.pool(IMAGE, [2, 2], "MAX", "SAME", [2, 2], [2, 2])
        with pytest.raises(st.errors.InvalidArgumentError, match="pooling_ratio"):
            st.nn.fractional_max_pool(IMAGE, [1, 0.5, 1, 1])
