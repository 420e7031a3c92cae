"""Data for the examples: files in the formats of MNIST, CIFAR-10 and plain text, and small sets in
the same formats that are drawn here."""

import gzip
import os
import struct

import numpy as np

import systolica as st

_IDX_KINDS = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
CIFAR_SIDE, CIFAR_BYTES = 32, 1 + 3 * 32 * 32
SHAPES = ("disc", "ring", "square", "frame", "cross", "plus", "rows", "columns", "board", "wedge")


def read_idx(path: str) -> np.ndarray:
    """The array in an IDX file (MNIST's format), gzipped or not. Raises `DataLossError` naming the
    file when it is not one, or cut off."""
    opened = gzip.open(path) if path.endswith(".gz") else open(path, "rb")  # noqa: SIM115 (below)
    with opened as file:
        data = file.read()
    kind = _IDX_KINDS.get(data[2]) if len(data) >= 4 and data[:2] == b"\0\0" else None
    if kind is None or len(data) < 4 + 4 * data[3]:
        raise st.errors.DataLossError(f"{path!r} is no IDX file")
    shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    body = data[4 + 4 * data[3] :]
    if len(body) != int(np.prod(shape)) * np.dtype(kind).itemsize:
        raise st.errors.DataLossError(f"{path!r}: {len(body)} bytes do not hold shape {shape}")
    array = np.frombuffer(body, kind).reshape(shape)
    return array.astype(array.dtype.newbyteorder("="))


def read_mnist(folder: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images [N, 28, 28] in [0, 1] and labels [N], then those for testing, of a folder
    with MNIST's four files, gzipped or not."""
    out = []
    for part in ("train", "t10k"):
        for what in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            path = os.path.join(folder, f"{part}-{what}")
            array = read_idx(path if os.path.exists(path) else f"{path}.gz")
            out.append(
                array.astype(np.float32) / 255 if array.ndim == 3 else array.astype(np.int64)
            )
    return out[0], out[1], out[2], out[3]


def read_cifar(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 32, 32, 3] and labels int64 [N] of a binary CIFAR-10 file. Raises
    `DataLossError` when it does not hold whole records."""
    data = np.fromfile(path, np.uint8)
    if not data.size or data.size % CIFAR_BYTES:
        raise st.errors.DataLossError(f"{path!r}: {data.size} bytes are not records of CIFAR-10")
    rows = data.reshape(-1, CIFAR_BYTES)
    planes = rows[:, 1:].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE)
    return planes.transpose(0, 2, 3, 1), rows[:, 0].astype(np.int64)


def write_cifar(path: str, images: np.ndarray, labels: np.ndarray) -> None:
    """Write images uint8 [N, 32, 32, 3] and labels as `read_cifar` reads them."""
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    np.concatenate([labels[:, None].astype(np.uint8), planes], axis=1).tofile(path)


def read_words(path: str) -> list[str]:
    """The words of a text file, in lower case, without punctuation around them."""
    with open(path, encoding="utf-8") as file:
        words = (word.strip(".,;:!?\"'()[]") for word in file.read().lower().split())
        return [word for word in words if word]


def _mask(name: str, size: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which points lie in a shape of half width `size` around the origin."""
    across, radius = np.maximum(abs(x), abs(y)), np.hypot(x, y)
    inside = across <= size
    thin = size * 0.3
    return {
        "disc": radius <= size,
        "ring": (radius <= size) & (radius >= size * 0.6),
        "square": inside,
        "frame": inside & (across >= size * 0.6),
        "cross": inside & (abs(abs(x) - abs(y)) <= thin),
        "plus": inside & (np.minimum(abs(x), abs(y)) <= thin),
        "rows": inside & (np.floor(y / size * 2.5) % 2 == 0),
        "columns": inside & (np.floor(x / size * 2.5) % 2 == 0),
        "board": inside & ((np.floor(x / size * 1.5) + np.floor(y / size * 1.5)) % 2 == 0),
        "wedge": inside & (y >= 2 * abs(x) - size),
    }[name]


def drawn_shapes(count: int, seed: int, side: int = CIFAR_SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [count, side, side, 3] of the ten `SHAPES`, anywhere, in any size and colour, on
    another colour, with noise; and labels int64 [count]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(SHAPES), count)
    grid = np.mgrid[0:side, 0:side].astype(np.float64)
    images = np.empty((count, side, side, 3))
    for number, label in enumerate(labels):
        size = rng.uniform(0.25, 0.4) * side
        centre = rng.uniform(size, side - size, 2)
        while True:
            ink, paper = rng.uniform(0, 255, (2, 3))
            if abs(ink - paper).sum() > 150:
                break
        mask = _mask(SHAPES[label], size, grid[1] - centre[1], grid[0] - centre[0])
        images[number] = np.where(mask[..., None], ink, paper)
    images += rng.normal(0, 12, images.shape)
    return np.clip(images, 0, 255).astype(np.uint8), labels
