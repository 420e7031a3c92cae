"""Boxes in images and images as files, against definitions and Pillow."""

import io
from typing import Any

import numpy as np
import PIL.Image
import pytest
import scipy.ndimage

import systolica as st

RNG = np.random.default_rng(44)
IMAGES = RNG.uniform(0, 1, (2, 8, 10, 3)).astype(np.float32)
BYTES = RNG.integers(0, 256, (9, 7, 3)).astype(np.uint8)
BOXES = np.asarray([[0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], [0.9, 0.1, 0.2, 0.5]], np.float32)


def run(make: Any) -> Any:
    with st.Graph().as_default(), st.Session() as session:
        return session.run(make())


def test_crop_and_resize_by_scipy() -> None:
    """Linear interpolation at the samples; a box may be upside down."""
    got = run(lambda: st.image.crop_and_resize(IMAGES, BOXES, [0, 1, 1], [4, 5]))
    for m, (box, n) in enumerate(zip(BOXES, (0, 1, 1), strict=True)):
        y1, x1, y2, x2 = box * (7, 9, 7, 9)
        grid = np.meshgrid(np.linspace(y1, y2, 4), np.linspace(x1, x2, 5), indexing="ij")
        for c in range(3):
            want = scipy.ndimage.map_coordinates(IMAGES[n, :, :, c], grid, order=1, mode="nearest")
            np.testing.assert_allclose(got[m, :, :, c], want, atol=1e-5)


def test_what_is_outside_is_extrapolated() -> None:
    got = run(lambda: st.image.crop_and_resize(IMAGES, [[-0.5, 0.0, 0.5, 1.0]], [0], [3, 2],
                                               extrapolation_value=9))  # fmt: skip
    assert (got[0, 0] == 9).all() and (got[0, 1:] < 9).all()
    middle = run(lambda: st.image.crop_and_resize(IMAGES, [[0.0, 0.0, 1.0, 1.0]], [0], [1, 1]))
    np.testing.assert_allclose(middle[0, 0, 0], IMAGES[0, 3:5, 4:6].mean((0, 1)), atol=1e-6)


def test_gradient_of_crop_is_its_transpose() -> None:
    """<crop(x), y> = <x, crop_grad(y)>; the gradient of the transpose is not offered."""
    y = RNG.standard_normal((3, 4, 5, 3)).astype(np.float32)

    def both() -> Any:
        x = st.constant(IMAGES)
        out = st.image.crop_and_resize(x, BOXES, [0, 1, 1], [4, 5])
        return out, st.gradients(out, x, grad_ys=[y])[0]

    out, back = run(both)
    assert np.vdot(out, y) == pytest.approx(np.vdot(IMAGES, back), rel=1e-4)


def test_drawn_boxes() -> None:
    """Yellow edges first; inside nothing changes."""
    got = run(lambda: st.image.draw_bounding_boxes(IMAGES, np.stack([BOXES[:1], BOXES[1:2]])))
    np.testing.assert_array_equal(got[0, 0, 1:9], [[1, 1, 0]] * 8)
    np.testing.assert_array_equal(got[0, 1:5, 2:8], IMAGES[0, 1:5, 2:8])
    np.testing.assert_array_equal(got[0, 6:], IMAGES[0, 6:])
    np.testing.assert_array_equal(got[1, 0, 3], [1, 1, 0])
    np.testing.assert_array_equal(got[1, 4, 9], [1, 1, 0])
    np.testing.assert_array_equal(got[1, 1:-1, 1:-1], IMAGES[1, 1:-1, 1:-1])


def test_non_max_suppression_by_definition() -> None:
    """Greedy by score; intersection over union by counting cells of a fine grid."""
    corners = RNG.integers(0, 12, (9, 2, 2))
    boxes = np.concatenate([corners.min(1), corners.max(1) + 1], 1)
    scores = RNG.permutation(9).astype(np.float32)

    def cells(box: Any) -> Any:
        grid = np.zeros((14, 14), bool)
        grid[box[0] : box[2], box[1] : box[3]] = True
        return grid

    kept: list[int] = []
    for i in np.argsort(-scores):
        a = cells(boxes[i])
        if all((a & cells(boxes[j])).sum() / (a | cells(boxes[j])).sum() <= 0.3 for j in kept):
            kept.append(int(i))
    given = boxes.astype(np.float32)
    got = run(lambda: st.image.non_max_suppression(given, scores, 9, 0.3))
    assert got.tolist() == kept
    assert run(lambda: st.image.non_max_suppression(given, scores, 2, 0.3)).tolist() == kept[:2]


def test_glimpses() -> None:
    """In the middle, at a corner with zeros outside, in pixels, and with noise."""
    at = st.image.extract_glimpse
    middle = run(lambda: at(IMAGES, [4, 4], [[0.0, 0.0]] * 2, uniform_noise=False))
    np.testing.assert_array_equal(middle, IMAGES[:, 2:6, 3:7])
    corner = run(lambda: at(IMAGES, [4, 4], [[-1.0, -1.0]] * 2, uniform_noise=False))
    np.testing.assert_array_equal(corner[:, 2:, 2:], IMAGES[:, :2, :2])
    assert not corner[:, :2].any() and not corner[:, :, :2].any()
    pixel = run(lambda: at(IMAGES, [2, 2], [[3.0, 5.0]] * 2, False, False))
    np.testing.assert_array_equal(pixel, IMAGES[:, 2:4, 4:6])
    noisy = run(lambda: at(IMAGES, [4, 4], [[-1.0, -1.0]] * 2))
    assert noisy[:, :2].std() > 0.1


def test_sampled_boxes_cover_the_object() -> None:
    """The part lies in the image, has the ratio and the area asked for, and covers the box."""
    box = [[[0.4, 0.4, 0.6, 0.6]]]
    with st.Graph().as_default(), st.Session() as session:
        begin, size, found = st.image.sample_distorted_bounding_box(
            [40, 60, 3], box, seed=1, min_object_covered=0.9, area_range=(0.2, 0.8)
        )
        for _ in range(20):
            b, s, f = session.run([begin, size, found])
            assert (b[:2] >= 0).all() and (b[:2] + s[:2] <= (40, 60)).all() and s[2] == -1
            assert 0.15 < s[0] * s[1] / 2400 < 0.85 and 0.7 < s[1] / s[0] < 1.4
            np.testing.assert_allclose(f[0, 0] * (40, 60, 40, 60), [*b[:2], *(b + s)[:2]])
            low = np.maximum(b[:2], (16, 24))
            high = np.minimum((b + s)[:2], (24, 36))
            assert np.prod(high - low) >= 0.9 * 96
    with pytest.raises(st.errors.InvalidArgumentError, match="no bounding boxes"):
        run(lambda: st.image.sample_distorted_bounding_box([4, 4, 1], np.zeros((1, 0, 4), "f")))


def file_of(image: Any, form: str) -> Any:
    out = io.BytesIO()
    PIL.Image.fromarray(image).save(out, form)
    return np.frombuffer(out.getvalue(), np.uint8)


def test_png_is_exact_both_ways() -> None:
    np.testing.assert_array_equal(run(lambda: st.image.decode_png(file_of(BYTES, "PNG"))), BYTES)
    data = run(lambda: st.image.encode_png(BYTES, compression=9))
    with PIL.Image.open(io.BytesIO(data.tobytes())) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), BYTES)
    gray = BYTES[..., :1].astype(np.uint16) * 257
    deep = run(lambda: st.image.decode_png(st.image.encode_png(gray), dtype=st.uint16))
    np.testing.assert_array_equal(deep, gray)
    one = run(lambda: st.image.decode_png(file_of(BYTES, "PNG"), channels=1))
    np.testing.assert_allclose(one[..., 0], BYTES @ [0.299, 0.587, 0.114], atol=1)


def test_jpeg_is_near_and_reads_like_pillow() -> None:
    smooth = (np.add.outer(np.arange(16), np.arange(24)) * 6).astype(np.uint8)
    smooth = np.stack([smooth] * 3, -1)
    data = run(lambda: st.image.encode_jpeg(smooth))
    with PIL.Image.open(io.BytesIO(data.tobytes())) as image:
        want = np.asarray(image)
    got = run(lambda: st.image.decode_jpeg(data))
    np.testing.assert_array_equal(got, want)
    assert np.abs(got.astype(int) - smooth).max() <= 6
    assert run(lambda: st.image.decode_jpeg(data, ratio=2)).shape == (8, 12, 3)
    assert run(lambda: st.image.decode_image(data)).shape == smooth.shape


def test_gif_has_all_pictures() -> None:
    frames = [np.full((5, 6, 3), v, np.uint8) for v in (10, 200)]
    file = io.BytesIO()
    first, rest = (PIL.Image.fromarray(f) for f in frames)
    first.save(file, "GIF", save_all=True, append_images=[rest])
    data = np.frombuffer(file.getvalue(), np.uint8)
    np.testing.assert_array_equal(run(lambda: st.image.decode_gif(data)), np.stack(frames))


@pytest.mark.parametrize("size", [0, 20, 60])
def test_damaged_files_are_told(size: int) -> None:
    data = file_of(BYTES, "PNG")[:size]
    with pytest.raises(st.errors.InvalidArgumentError, match=f"{size} bytes are no PNG"):
        run(lambda: st.image.decode_png(data))


def test_resizing_by_area_and_cubic() -> None:
    """Area: means of blocks; cubic: exact on what a cubic polynomial makes, inside."""
    area = run(lambda: st.image.resize_area(IMAGES, [4, 5]))
    np.testing.assert_allclose(area, IMAGES.reshape(2, 4, 2, 5, 2, 3).mean((2, 4)), rtol=1e-5)
    thirds = run(lambda: st.image.resize_area(IMAGES, [3, 10]))
    shares = [[3, 3, 2, 0, 0, 0, 0, 0], [0, 0, 1, 3, 3, 1, 0, 0], [0, 0, 0, 0, 0, 2, 3, 3]]
    want = np.einsum("ah,nhwc->nawc", np.asarray(shares) / 8, IMAGES)
    np.testing.assert_allclose(thirds, want, rtol=1e-5)
    ramp = np.arange(8, dtype=np.float32)[None, :, None, None] * np.ones((1, 1, 8, 1), np.float32)
    cubic = run(lambda: st.image.resize_bicubic(ramp, [16, 8]))
    np.testing.assert_allclose(cubic[0, 2:12:2, 0, 0], np.arange(1, 6), rtol=1e-5)
    assert (np.diff(cubic[0, 2:13, 0, 0]) > 0.3).all()
    for method in range(4):
        assert run(lambda m=method: st.image.resize_images(IMAGES[0], [3, 3], m)).shape == (3, 3, 3)


def test_whitening_is_standardisation() -> None:
    got = run(lambda: st.image.per_image_whitening(IMAGES[0]))
    assert got.mean() == pytest.approx(0, abs=1e-5) and got.std() == pytest.approx(1, rel=1e-4)
