"""The readers of the examples, on files in the formats of MNIST, CIFAR-10 and plain text."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

import systolica as st
from examples import datasets
from examples.cifar_convnet import batches


def idx(array: np.ndarray, kind: int, stored: str) -> bytes:
    """An IDX file, written by its published layout."""
    head = struct.pack(">HBB", 0, kind, array.ndim)
    return head + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(stored).tobytes()


def test_mnist(tmp_path: Path, rng: np.random.Generator) -> None:
    """Four files, two of them gzipped; images come in [0, 1]."""
    images = rng.integers(0, 256, (5, 28, 28))
    labels = rng.integers(0, 10, 5)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(images, 8, "u1"))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(labels, 8, "u1"))
    with gzip.open(tmp_path / "t10k-images-idx3-ubyte.gz", "wb") as file:
        file.write(idx(images[:2], 8, "u1"))
    with gzip.open(tmp_path / "t10k-labels-idx1-ubyte.gz", "wb") as file:
        file.write(idx(labels[:2], 8, "u1"))
    x, y, test_x, test_y = datasets.read_mnist(str(tmp_path))
    np.testing.assert_allclose(x, images / 255, atol=1e-6)
    np.testing.assert_array_equal(y, labels)
    assert x.dtype == np.float32 and y.dtype == np.int64
    assert test_x.shape == (2, 28, 28) and test_y.tolist() == labels[:2].tolist()


@pytest.mark.parametrize(("kind", "stored"), [(9, "i1"), (11, ">i2"), (12, ">i4"), (14, ">f8")])
def test_other_kinds_of_idx(tmp_path: Path, kind: int, stored: str) -> None:
    """Big-endian numbers come in the machine's order."""
    path = tmp_path / "x.idx"
    path.write_bytes(idx(np.asarray([[1, -2, 3]]), kind, stored))
    found = datasets.read_idx(str(path))
    assert found.tolist() == [[1, -2, 3]] and found.dtype.isnative


def test_damaged_idx_is_named(tmp_path: Path) -> None:
    """Every cut, and a file of another kind."""
    whole = idx(np.arange(6).reshape(2, 3), 8, "u1")
    path = tmp_path / "x.idx"
    for data in [whole[:n] for n in range(len(whole))] + [b"\1" + whole[1:], whole + b"x"]:
        path.write_bytes(data)
        with pytest.raises(st.errors.DataLossError, match=r"x\.idx"):
            datasets.read_idx(str(path))


def test_cifar_by_hand_and_by_queue(tmp_path: Path) -> None:
    """What is written comes back, by NumPy and through readers and queues; half a record does
    not."""
    images, labels = datasets.drawn_shapes(30, 1)
    record = bytes([labels[0]]) + images[0].transpose(2, 0, 1).tobytes()
    path = tmp_path / "data_batch_1.bin"
    datasets.write_cifar(str(path), images, labels)
    assert path.read_bytes()[:3073] == record and path.stat().st_size == 30 * 3073
    again, numbers = datasets.read_cifar(str(path))
    np.testing.assert_array_equal(again, images)
    np.testing.assert_array_equal(numbers, labels)
    with st.Graph().as_default(), st.Session() as s:
        batch = batches(str(tmp_path), 8)
        coord = st.train.Coordinator()
        threads = st.train.start_queue_runners(s, coord)
        x, y = s.run(batch)
        assert x.shape == (8, 24, 24, 3) and set(y.tolist()) <= set(labels.tolist())
        coord.request_stop()
        coord.join(threads)
    path.write_bytes(record[:-1])
    with pytest.raises(st.errors.DataLossError, match="not records of CIFAR-10"):
        datasets.read_cifar(str(path))


def test_words(tmp_path: Path) -> None:
    """Lower case, without punctuation."""
    path = tmp_path / "text.txt"
    path.write_text('The dog (a "Great" one) ran -- home.\n', encoding="utf-8")
    assert datasets.read_words(str(path)) == [
        "the",
        "dog",
        "a",
        "great",
        "one",
        "ran",
        "--",
        "home",
    ]
