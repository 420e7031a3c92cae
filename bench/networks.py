"""Networks from the tables of `bench/networks/`: one line a layer, with random int8 data.

Columns: `name`; `op`; `input` and `second`, the layers that it reads (`x` is the network's input);
`height` and `width` of its input; channels `cin` and `cout`; `kernel`, `stride` and `padding` of
both axes. Ops are `conv` (a fully connected layer is one of 1x1 on 1x1), `depthwise`, `maxpool`,
`averagepool`, `add` (of `input` and `second`), `scale` (a factor and an offset for each channel:
a batch normalisation that no convolution can take in). Convolutions have a bias and a ReLU.

`resnet50`: He et al., "Deep Residual Learning for Image Recognition", table 1, stride in the 3x3
convolutions. `resnet20`: the same paper, section 4.2, projection shortcuts. `resnet20v2`: the
network of Tensil's demonstration, Keras' bottleneck version 2 of depth 20. `mobilenet_v1`: Howard
et al., table 1. `mlp0` ... `cnn1`: see `bench/tpu_v1.py`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sw.compiler.tpu.layers import (
    Activation,
    Convolution,
    Depthwise,
    Epilogue,
    MaxPool,
    Pointwise,
    Worker,
    average_pool,
    result_size,
)
from sw.compiler.tpu.network import Network

TABLES = Path(__file__).with_name("networks")
SCALE, ZERO_POINT = 0.05, -3
"""Of every activation."""


@dataclass(frozen=True)
class Line:
    """A line of a table."""

    name: str
    op: str
    input: str
    second: str
    height: int
    width: int
    cin: int
    cout: int
    kernel: int
    stride: int
    padding: int

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the result."""
        pads = (self.padding, self.padding)
        return (
            result_size(self.height, self.kernel, self.stride, 1, pads),
            result_size(self.width, self.kernel, self.stride, 1, pads),
        )

    @property
    def macs(self) -> int:
        """Useful multiply-accumulates of the array for one image."""
        if self.op != "conv":
            return 0
        height, width = self.sides
        return height * width * self.kernel**2 * self.cin * self.cout

    @property
    def shape(self) -> tuple[object, ...]:
        """What decides how long it takes."""
        return (self.op, self.height, self.width, self.cin, self.cout, self.kernel, self.stride)


def table(name: str) -> list[Line]:
    """The lines of `bench/networks/<name>.csv`."""
    with (TABLES / f"{name}.csv").open(newline="") as file:
        return [
            Line(
                *(row[key] for key in ("name", "op", "input", "second")),
                *(int(row[key]) for key in
                  ("height", "width", "cin", "cout", "kernel", "stride", "padding")),
            )
            for row in csv.DictReader(file)
        ]  # fmt: skip


def build(lines: Sequence[Line], images: int = 1, seed: int = 2016) -> Network:
    """The whole network; its outputs are what no line reads."""
    rng = np.random.default_rng(seed)
    first = lines[0]
    x = Activation("x", (images, first.height, first.width, first.cin), SCALE, ZERO_POINT)
    activations = {"x": x}
    layers = []
    for line in lines:
        result = Activation(line.name, (images, *line.sides, line.cout), SCALE, ZERO_POINT)
        activations[line.name] = result
        layers.append(_layer(line, activations[line.input], result, rng))
    read = {name for line in lines for name in (line.input, line.second)}
    outputs = tuple(line.name for line in lines if line.name not in read)
    return Network(("x",), tuple(layers), outputs, tuple(activations.values()))


def single(line: Line, images: int = 1) -> Network:
    """A network of one layer; a second operand is the same activation."""
    second = "x" if line.second else ""
    return build([Line(line.name, line.op, "x", second, *_sizes(line))], images)


def _sizes(line: Line) -> tuple[int, int, int, int, int, int, int]:
    return (
        line.height, line.width, line.cin, line.cout, line.kernel, line.stride, line.padding
    )  # fmt: skip


def _layer(line: Line, source: Activation, result: Activation, rng: np.random.Generator) -> Worker:
    pads = (line.padding, line.padding)
    padding, strides = (pads, pads), (line.stride, line.stride)
    window = (line.kernel, line.kernel)
    depth = line.kernel**2 * (line.cin if line.op == "conv" else 1)
    scale = (rng.uniform(0.5, 1.5, line.cout) / (120 * np.sqrt(depth))).astype(np.float32)
    bias = rng.integers(-5000, 5000, line.cout, dtype=np.int32)
    quantisation = (SCALE, ZERO_POINT)
    if line.op == "conv":
        weights = rng.integers(-127, 128, (*window, line.cin, line.cout), dtype=np.int8)
        return Convolution(
            line.name, source.name, result.name, weights, bias, scale, strides, padding
        )
    if line.op in ("depthwise", "scale"):
        weights = rng.integers(-127, 128, (*window, line.cin), dtype=np.int8)
        return Depthwise(
            line.name, source.name, result.name, weights, scale, bias, strides, padding
        )
    if line.op == "averagepool":
        return average_pool(line.name, source, result, window, strides, padding)
    if line.op == "maxpool":
        return MaxPool(line.name, source.name, result.name, window, strides, padding)
    if line.op == "add":
        epilogue = Epilogue(quantisation, line.second, sum=quantisation)
        return Pointwise(line.name, source.name, result.name, epilogue)
    raise ValueError(f"line {line.name!r}: no op {line.op!r}")


def inputs(network: Network, seed: int = 2016) -> dict[str, NDArray[np.int8]]:
    """Random data for its inputs."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.integers(-128, 128, network.by_name[name].shape, dtype=np.int8)
        for name in network.inputs
    }


def distinct(lines: Sequence[Line]) -> Iterator[tuple[Line, int]]:
    """The first line of each shape, and how many lines have it."""
    counts: dict[tuple[object, ...], int] = {}
    for line in lines:
        counts[line.shape] = counts.get(line.shape, 0) + 1
    seen = set()
    for line in lines:
        if line.shape not in seen:
            seen.add(line.shape)
            yield line, counts[line.shape]
