"""The single layers that benches run: one 512x512x512 matmul, six layer shapes of ResNet-50.

`shapes.csv` holds them; the shapes of ResNet-50 are those of He et al., "Deep Residual Learning
for Image Recognition", table 1, with the stride in the 3x3 convolutions as deployed today. A
matmul `[M, K] x [K, N]` is a 1x1 convolution of height 1 and width M.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sw.compiler.tpu.layers import Activation, Convolution, result_size
from sw.compiler.tpu.network import Network

SHAPES = Path(__file__).with_name("shapes.csv")


@dataclass(frozen=True)
class Case:
    """A network of one layer with its int8 inputs by name."""

    name: str
    network: Network
    inputs: dict[str, NDArray[np.int8]]


def cases(seed: int = 2016, path: Path = SHAPES) -> Iterator[Case]:
    """Every line of a table of shapes, with random data that is the same for the same `seed`."""
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            name = row.pop("name")
            yield make_case(name, seed=seed, **{key: int(value) for key, value in row.items()})


def make_case(
    name: str, *, images: int, height: int, width: int, cin: int, cout: int, kernel: int,
    stride: int, padding: int, seed: int = 2016,
) -> Case:  # fmt: skip
    """One convolution `name` from activation `x` to `y`; sizes in positions and channels."""
    rng = np.random.default_rng([seed, images, height, width, cin, cout, kernel, stride])
    pads = (padding, padding)
    result = (
        images,
        result_size(height, kernel, stride, 1, pads),
        result_size(width, kernel, stride, 1, pads),
        cout,
    )
    depth = kernel * kernel * cin
    layer = Convolution(
        name,
        "x",
        "y",
        rng.integers(-127, 128, (kernel, kernel, cin, cout), dtype=np.int8),
        bias=rng.integers(-5000, 5000, cout, dtype=np.int32),
        scale=(rng.uniform(0.5, 1.5, cout) / (120 * np.sqrt(depth))).astype(np.float32),
        strides=(stride, stride),
        padding=(pads, pads),
    )
    source = Activation("x", (images, height, width, cin), 0.05, -3)
    network = Network(("x",), (layer,), ("y",), (source, Activation("y", result, 0.1, 7)))
    x = rng.integers(-128, 128, source.shape, dtype=np.int8)
    return Case(name, network, {"x": x})
