"""Likeness of images, colour spaces, suppression of boxes, files and sizes: against SciPy, Pillow,
the standard library and definitions."""

import colorsys
import io
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

import systolica as st

RNG = np.random.default_rng(41)
A = RNG.uniform(0, 1, (2, 24, 21, 3)).astype(np.float32)
B = np.clip(A + RNG.normal(0, 0.1, A.shape), 0, 1).astype(np.float32)
SMOOTH = scipy.ndimage.zoom(RNG.uniform(0, 255, (5, 6, 3)), (4, 4, 1), order=1).astype(np.uint8)
BOXES = np.asarray(
    [[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, -0.1, 1, 0.9], [0, 10, 1, 11], [0, 10.1, 1, 11.1],
     [1, 101, 0, 100]], np.float32
)  # fmt: skip
SCORES = np.asarray([0.9, 0.75, 0.6, 0.95, 0.5, 0.3], np.float32)


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def run(made: Any, feeds: Any = None) -> Any:
    with st.Session() as session:
        return session.run(made, feeds)


def blurred(x: Any, size: int = 11, sigma: float = 1.5) -> Any:
    """Gaussian windows by SciPy, only whole ones."""
    radius = size // 2
    out = scipy.ndimage.gaussian_filter(x, (sigma, sigma, 0), truncate=radius / sigma)
    return out[radius:-radius, radius:-radius]


def similarity(x: Any, y: Any, size: int = 11) -> tuple[Any, Any]:
    """(structural similarity, its contrast and structure) per channel, as Wang et al. define."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    mx, my = blurred(x, size), blurred(y, size)
    vx, vy = blurred(x * x, size) - mx**2, blurred(y * y, size) - my**2
    both = blurred(x * y, size) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    structure = (2 * both + c2) / (vx + vy + c2)
    whole = (2 * mx * my + c1) / (mx**2 + my**2 + c1) * structure
    return whole.mean((0, 1)), structure.mean((0, 1))


def test_structural_similarity() -> None:
    want = [similarity(a, b)[0].mean() for a, b in zip(A, B, strict=True)]
    np.testing.assert_allclose(run(st.image.ssim(A, B, 1.0)), want, rtol=1e-4)
    assert run(st.image.ssim(A[0], A[0], 1.0)) == pytest.approx(1)
    bytes_ = (A[0] * 255).astype(np.uint8), (B[0] * 255).astype(np.uint8)
    want_bytes = similarity(*(b / 255 for b in bytes_))[0].mean()
    assert run(st.image.ssim(*bytes_, max_val=255)) == pytest.approx(want_bytes, rel=1e-4)
    with pytest.raises(st.errors.ShapeError, match="window of 11"):
        st.image.ssim(A[:, :9], B[:, :9], 1.0)


def test_similarity_at_several_scales() -> None:
    """Two scales, of which the second has an odd column to repeat."""

    def halved(x: Any) -> Any:
        wide = np.concatenate([x, x[:, -1:]], 1)
        return wide.reshape(12, 2, 11, 2, 3).mean((1, 3))

    want = []
    for a, b in zip(A, B, strict=True):
        fine = similarity(a, b, 5)[1]
        coarse = similarity(halved(a), halved(b), 5)[0]
        want.append((np.maximum(fine, 0) ** 0.4 * np.maximum(coarse, 0) ** 0.6).mean())
    got = run(st.image.ssim_multiscale(A, B, 1.0, (0.4, 0.6), filter_size=5))
    np.testing.assert_allclose(got, want, rtol=1e-4)


def test_noise_ratio() -> None:
    """In decibels; of bytes it is that of the same as floats."""
    want = 10 * np.log10(1 / ((A - B) ** 2).mean((1, 2, 3)))
    np.testing.assert_allclose(run(st.image.psnr(A, B, 1.0)), want, rtol=1e-4)
    x, y = SMOOTH, SMOOTH // 2
    want_bytes = 20 * np.log10(255) - 10 * np.log10(((x - y.astype(float)) ** 2).mean())
    assert run(st.image.psnr(x, y, 255)) == pytest.approx(want_bytes, rel=1e-4)
    with pytest.raises(st.errors.ShapeError):
        st.image.psnr(A, B[:, 1:], 1.0)


def test_edges() -> None:
    """Sobel's filters are SciPy's with mirrored borders; differences are NumPy's."""
    got = run(st.image.sobel_edges(A))
    for axis in (0, 1):
        for n, c in np.ndindex(2, 3):
            want = scipy.ndimage.sobel(A[n, :, :, c], axis, mode="mirror")
            np.testing.assert_allclose(got[n, :, :, c, axis], want, atol=1e-5)
    dy, dx = run(st.image.image_gradients(A))
    np.testing.assert_allclose(dy, np.diff(A, axis=1, append=A[:, -1:]), atol=1e-6)
    np.testing.assert_allclose(dx, np.diff(A, axis=2, append=A[:, :, -1:]), atol=1e-6)
    with pytest.raises(st.errors.ShapeError, match="images"):
        st.image.image_gradients(A[0])


def test_gradient_of_mirrored_borders() -> None:
    """Sobel is linear: its gradient with weights w is the transpose, by central differences."""
    x = st.placeholder(st.float64, [1, 3, 4, 1])
    weights = RNG.standard_normal((1, 3, 4, 1, 2))
    loss = st.reduce_sum(st.image.sobel_edges(x) * weights)
    (grad,) = st.gradients(loss, x)
    zero = np.zeros((1, 3, 4, 1))
    got, want = run(grad, {x: zero}), np.zeros(zero.shape)
    for at in np.ndindex(zero.shape):
        unit = zero.copy()
        unit[at] = 1
        want[at] = run(loss, {x: unit})
    np.testing.assert_allclose(got, want)


def test_colour_differences() -> None:
    """YIQ is the standard library's but for rounded coefficients; YUV is scaled B-Y and R-Y."""
    yiq = run(st.image.rgb_to_yiq(A))
    want = np.asarray([colorsys.rgb_to_yiq(*map(float, p)) for p in A.reshape(-1, 3)])
    np.testing.assert_allclose(yiq.reshape(-1, 3), want, atol=0.01)
    yuv = run(st.image.rgb_to_yuv(A))
    luma = A @ [0.299, 0.587, 0.114]
    scaled = [luma, 0.492 * (A[..., 2] - luma), 0.877 * (A[..., 0] - luma)]
    np.testing.assert_allclose(yuv, np.stack(scaled, -1), atol=1e-3)
    for there, back in ((yiq, st.image.yiq_to_rgb), (yuv, st.image.yuv_to_rgb)):
        np.testing.assert_allclose(run(back(there)), A, atol=2e-4)
    with pytest.raises(st.errors.OpError):
        st.image.rgb_to_yiq(A[..., :2])


def test_suppression() -> None:
    """Three heaps of boxes: the best of each stays, by falling score; the last has its corners
    swapped."""
    image = st.image
    assert run(image.non_max_suppression(BOXES, SCORES, 3)).tolist() == [3, 0, 5]
    assert run(image.non_max_suppression(BOXES, SCORES, 3, 0.5, 0.4)).tolist() == [3, 0]
    padded, count = image.non_max_suppression_padded(
        BOXES, SCORES, 5, 0.5, 0.4, pad_to_max_output_size=True
    )
    assert padded.shape == [5] and run([padded[:2], count])[0].tolist() == [3, 0]
    np.testing.assert_array_equal(run(padded), [3, 0, 0, 0, 0])
    assert run(count) == 2
    overlaps = np.eye(6) + 0.7 * (np.eye(6, k=1) + np.eye(6, k=-1))
    kept = image.non_max_suppression_overlaps(overlaps.astype("f"), SCORES, 6, 0.6)
    assert run(kept).tolist() == [3, 0, 5]  # 3 removes 2 and 4, 0 removes 1
    with pytest.raises(st.errors.InvalidArgumentError, match="iou_threshold"):
        image.non_max_suppression(BOXES, SCORES, 3, 1.5)
    with pytest.raises(st.errors.ShapeError):
        image.non_max_suppression(BOXES, SCORES[:3], 3)


def overlap(a: Any, b: Any) -> float:
    side = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(side, 0)))
    return shared / float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def test_soft_suppression_lowers_scores() -> None:
    """The rule of the paper, step by step: the best one scales the others' scores."""
    boxes, left = BOXES[:5].astype(float), dict(enumerate(SCORES[:5].astype(float)))
    want = []
    while left:
        best = max(left, key=lambda i: left[i])
        want.append((best, left.pop(best)))
        for i in left:
            left[i] *= np.exp(-(overlap(boxes[best], boxes[i]) ** 2) / (2 * 0.5))
    at, scores = run(
        st.image.non_max_suppression_with_scores(BOXES[:5], SCORES[:5], 6, 1.0, 0.0, 0.5)
    )
    assert at.tolist() == [i for i, _ in want]
    np.testing.assert_allclose(scores, [s for _, s in want], rtol=1e-5)
    with pytest.raises(st.errors.InvalidArgumentError, match="sigma"):
        st.image.non_max_suppression_with_scores(BOXES, SCORES, 3, soft_nms_sigma=-1.0)


def test_suppression_by_class() -> None:
    """The best of both classes, together and cut at the image's border."""
    boxes = np.tile(BOXES[None, :, None], (1, 1, 1, 1))
    scores = np.stack([SCORES, SCORES[::-1]], -1)[None]
    got = run(st.image.combined_non_max_suppression(boxes, scores, 2, 5, 0.5, 0.2))
    found = []
    for number, own in enumerate(scores[0].T):
        kept = run(st.image.non_max_suppression(BOXES, own, 2, 0.5, 0.2))
        found += [(float(own[i]), number, i) for i in kept]
    expected = sorted(found, key=lambda item: (-item[0], item[1]))[:5]
    assert got[3].tolist() == [len(expected)]
    np.testing.assert_allclose(got[1][0, : len(expected)], [e[0] for e in expected])
    assert got[2][0, : len(expected)].tolist() == [e[1] for e in expected]
    np.testing.assert_array_equal(
        got[0][0, : len(expected)], np.clip(BOXES[[e[2] for e in expected]], 0, 1)
    )
    assert not got[0][0, len(expected) :].any()
    per_class = st.image.combined_non_max_suppression(boxes, scores, 1, 5, pad_per_class=True)
    assert run(per_class)[0].shape == (1, 2, 4)


def file(form: str, image: Any = SMOOTH, **options: Any) -> Any:
    out = io.BytesIO()
    Image.fromarray(image).save(out, form, **options)
    return np.frombuffer(out.getvalue(), np.uint8)


def pillow(data: Any) -> Any:
    return np.asarray(Image.open(io.BytesIO(bytes(data))))


def test_files() -> None:
    """BMP and lossless WebP are exact; of a JPEG the shape, a part, and whether it is one."""
    image = st.image
    np.testing.assert_array_equal(run(image.decode_bmp(file("BMP"))), SMOOTH)
    np.testing.assert_array_equal(run(image.decode_image(file("BMP"))), SMOOTH)
    webp = file("WEBP", lossless=True)
    np.testing.assert_array_equal(run(image.decode_webp(webp)), SMOOTH[None])
    jpeg = file("JPEG", quality=90)
    assert run(image.extract_jpeg_shape(jpeg)).tolist() == list(SMOOTH.shape)
    gray = file("JPEG", SMOOTH[..., 0])
    assert run(image.extract_jpeg_shape(gray, st.int64)).tolist() == [20, 24, 1]
    part = image.decode_and_crop_jpeg(jpeg, [3, 5, 10, 8])
    np.testing.assert_array_equal(run(part), pillow(jpeg)[3:13, 5:13])
    assert run([image.is_jpeg(jpeg), image.is_jpeg(webp), image.is_jpeg(np.uint8([255]))]) == [
        True, False, False,
    ]  # fmt: skip


def test_files_that_are_none() -> None:
    for decode in (st.image.decode_bmp, st.image.decode_webp, st.image.extract_jpeg_shape):
        with pytest.raises(st.errors.InvalidArgumentError, match="4 bytes are no"):
            run(decode(np.uint8([1, 2, 3, 4])))
    with pytest.raises(st.errors.OpError, match="leaves shape"):
        run(st.image.decode_and_crop_jpeg(file("JPEG"), [15, 0, 10, 8]))


def test_turns_as_jpeg() -> None:
    """Of bytes what Pillow gives; of floats the same over 255; random ones within their range."""
    for quality in (20, 90):
        want = pillow(file("JPEG", quality=quality))
        np.testing.assert_array_equal(run(st.image.adjust_jpeg_quality(SMOOTH, quality)), want)
        floats = run(st.image.adjust_jpeg_quality(SMOOTH / np.float32(255), quality))
        np.testing.assert_allclose(floats, want / 255, atol=1e-6)
    drawn = st.image.random_jpeg_quality(SMOOTH, 30, 33, seed=4)
    possible = [pillow(file("JPEG", quality=q)).tobytes() for q in (30, 31, 32)]
    with st.Session() as session:
        seen = {session.run(drawn).tobytes() for _ in range(12)}
    assert len(seen) > 1 and seen <= set(possible)
    with pytest.raises(st.errors.InvalidArgumentError, match="rise"):
        st.image.random_jpeg_quality(SMOOTH, 30, 30)
    with pytest.raises(st.errors.InvalidArgumentError, match="quality 101"):
        run(st.image.adjust_jpeg_quality(SMOOTH, 101))


def test_sizes() -> None:
    """Shrunk into a frame, cut or padded; by the names of later versions too."""
    image = st.image
    got = run(image.resize_image_with_pad(A, 12, 30))
    inner = run(image.resize_images(A, [12, 10]))
    np.testing.assert_array_equal(got[:, :, 9:19], inner)
    assert not got[:, :, :9].any() and not got[:, :, 19:].any()
    kept = run(image.resize(A, [12, 30], preserve_aspect_ratio=True))
    np.testing.assert_array_equal(kept, run(image.resize(A, [12, 10])))
    np.testing.assert_array_equal(run(image.resize_with_crop_or_pad(A, 20, 23))[:, :, 1:-1],
                                  A[:, 2:-2])  # fmt: skip
    np.testing.assert_array_equal(run(image.transpose(A)), A.swapaxes(1, 2))
    with pytest.raises(st.errors.InvalidArgumentError, match="0x5"):
        image.resize_image_with_pad(A, 0, 5)


def test_patches_and_random_parts() -> None:
    """Each patch holds the pixels under its window; a random part is one of those that exist."""
    patches = run(st.image.extract_patches(A, [1, 2, 3, 1], [1, 4, 5, 1], [1, 1, 1, 1], "VALID"))
    assert patches.shape == (2, 6, 4, 18)
    np.testing.assert_array_equal(patches[1, 2, 3], A[1, 8:10, 15:18].ravel())
    again = st.image.extract_image_patches(A, [1, 2, 3, 1], [1, 4, 5, 1], [1, 1, 1, 1], "VALID")
    np.testing.assert_array_equal(run(again), patches)
    part = st.image.random_crop(A[0], [23, 20, 3], seed=2)
    with st.Session() as session:
        seen = {session.run(part).tobytes() for _ in range(20)}
    windows = {A[0, i : i + 23, j : j + 20].tobytes() for i in (0, 1) for j in (0, 1)}
    assert len(seen) > 1 and seen <= windows
