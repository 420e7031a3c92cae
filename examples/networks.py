"""Well-known networks as graphs, with seeded random weights: `python examples/networks.py NAME`.

Quantises one, compiles it whole for a core, and prints cycles by the timing model. ResNet-50 and
-20: He et al., "Deep Residual Learning for Image Recognition", 2015, tables 1 and 6 (stride in the
3x3 convolutions, projection shortcuts). MobileNet v1: Howard et al., 2017, table 1. Inception v1:
Szegedy et al., "Going Deeper with Convolutions", 2014, table 1, without its normalisations and
training heads. LSTM: Hochreiter and Schmidhuber, 1997, two layers on 16 steps. Encoder: Vaswani et
al., "Attention Is All You Need", 2017, two layers of width 64, four heads. Batch normalisations
are taken for folded: convolutions have biases.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import systolica as st


class Maker:
    """Layers with random weights that keep the size of values, in the default graph."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def weights(self, *shape: int, inputs: int) -> np.ndarray:
        """Normal, of variance 2 / inputs (He et al., 2015)."""
        return (self.rng.normal(size=shape) * (2.0 / inputs) ** 0.5).astype(np.float32)

    def conv(
        self, x: st.Tensor, channels: int, size: int, stride: int = 1, relu: bool = True,
        pads: int | None = None, gain: float = 1.0,
    ) -> st.Tensor:  # fmt: skip
        """A convolution with bias, as much padding as keeps the size at stride 1."""
        depth = x.shape.dims[3]
        w = self.weights(size, size, depth, channels, inputs=size * size * depth) * np.float32(gain)
        side = size // 2 if pads is None else pads
        around = ((0, 0), (side, side), (side, side), (0, 0))
        y = st.nn.conv2d(x, w, stride, around, name=f"conv{size}x{size}")
        y = st.nn.bias_add(y, self.rng.normal(scale=0.1, size=channels).astype(np.float32))
        return st.nn.relu(y) if relu else y

    def depthwise(self, x: st.Tensor, stride: int) -> st.Tensor:
        """3x3, one filter for each channel."""
        depth = x.shape.dims[3]
        w = self.weights(3, 3, depth, 1, inputs=9)
        padding = ((0, 0), (1, 1), (1, 1), (0, 0))
        y = st.nn.depthwise_conv2d(x, w, (1, stride, stride, 1), padding)
        bias = self.rng.normal(scale=0.1, size=depth).astype(np.float32)
        return st.nn.relu(st.nn.bias_add(y, bias))

    def dense(self, x: st.Tensor, units: int) -> st.Tensor:
        """A matrix product with bias."""
        depth = x.shape.dims[-1]
        bias = self.rng.normal(scale=0.1, size=units).astype(np.float32)
        return st.matmul(x, self.weights(depth, units, inputs=2 * depth)) + bias


def _bottleneck(make: Maker, x: st.Tensor, width: int, stride: int) -> st.Tensor:
    y = make.conv(make.conv(x, width, 1), width, 3, stride)
    y = make.conv(y, 4 * width, 1, relu=False, gain=0.5)
    if x.shape.dims[3] != 4 * width or stride != 1:
        x = make.conv(x, 4 * width, 1, stride, relu=False)
    return st.nn.relu(y + x)


def resnet50(x: st.Tensor, make: Maker, classes: int = 1000) -> st.Tensor:
    """Logits of images [N, 224, 224, 3]."""
    padding = ((0, 0), (1, 1), (1, 1), (0, 0))
    y = st.nn.max_pool(make.conv(x, 64, 7, 2), 3, 2, padding)
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(blocks):
            with st.name_scope(f"block{width}_{number + 1}"):
                y = _bottleneck(make, y, width, stride if number == 0 else 1)
    return make.dense(st.reduce_mean(y, [1, 2]), classes)


def resnet20(x: st.Tensor, make: Maker, classes: int = 10) -> st.Tensor:
    """Logits of images [N, 32, 32, 3], or of other sizes."""
    y = make.conv(x, 16, 3)
    for width, stride in ((16, 1), (32, 2), (64, 2)):
        for number in range(3):
            step = stride if number == 0 else 1
            with st.name_scope(f"block{width}_{number + 1}"):
                z = make.conv(make.conv(y, width, 3, step), width, 3, relu=False, gain=0.5)
                if step != 1:
                    y = make.conv(y, width, 1, step, relu=False)
                y = st.nn.relu(z + y)
    return make.dense(st.reduce_mean(y, [1, 2]), classes)


def mobilenet_v1(x: st.Tensor, make: Maker, classes: int = 1000) -> st.Tensor:
    """Logits of images [N, 224, 224, 3]."""
    y = make.conv(x, 32, 3, 2)
    layers = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
    for channels, stride in (*layers, (1024, 2), (1024, 1)):
        y = make.conv(make.depthwise(y, stride), channels, 1)
    return make.dense(st.reduce_mean(y, [1, 2]), classes)


def _inception(make: Maker, x: st.Tensor, *widths: int) -> st.Tensor:
    one, reduce3, three, reduce5, five, pooled = widths
    padding = ((0, 0), (1, 1), (1, 1), (0, 0))
    branches = [
        make.conv(x, one, 1),
        make.conv(make.conv(x, reduce3, 1), three, 3),
        make.conv(make.conv(x, reduce5, 1), five, 5),
        make.conv(st.nn.max_pool(x, 3, 1, padding), pooled, 1),
    ]
    return st.concat(branches, 3)


def inception_v1(x: st.Tensor, make: Maker, classes: int = 1000) -> st.Tensor:
    """Logits of images [N, 224, 224, 3]."""
    y = st.nn.max_pool(make.conv(x, 64, 7, 2), 3, 2, "SAME")
    y = st.nn.max_pool(make.conv(make.conv(y, 64, 1), 192, 3), 3, 2, "SAME")
    y = _inception(make, y, 64, 96, 128, 16, 32, 32)
    y = st.nn.max_pool(_inception(make, y, 128, 128, 192, 32, 96, 64), 3, 2, "SAME")
    y = _inception(make, y, 192, 96, 208, 16, 48, 64)
    y = _inception(make, y, 160, 112, 224, 24, 64, 64)
    y = _inception(make, y, 128, 128, 256, 24, 64, 64)
    y = _inception(make, y, 112, 144, 288, 32, 64, 64)
    y = st.nn.max_pool(_inception(make, y, 256, 160, 320, 32, 128, 128), 3, 2, "SAME")
    y = _inception(make, y, 256, 160, 320, 32, 128, 128)
    y = _inception(make, y, 384, 192, 384, 48, 128, 128)
    return make.dense(st.reduce_mean(y, [1, 2]), classes)


def _lstm_layer(make: Maker, steps: list[st.Tensor], units: int) -> list[st.Tensor]:
    """Outputs of an LSTM that begins with zeros, unrolled; its gates are products of their own."""
    depth = steps[0].shape.dims[-1]
    gates = {
        name: (
            make.weights(depth, units, inputs=2 * depth),
            make.weights(units, units, inputs=2 * units),
            np.full(units, bias, np.float32),
        )
        for name, bias in (("input", 0), ("forget", 1), ("output", 0), ("cell", 0))
    }
    outputs: list[st.Tensor] = []
    cell = None
    for x in steps:
        with st.name_scope("step"):
            z = {name: st.matmul(x, w) + b for name, (w, _, b) in gates.items()}
            if outputs:
                z = {name: z[name] + st.matmul(outputs[-1], r) for name, (_, r, _) in gates.items()}
            new = st.sigmoid(z["input"]) * st.tanh(z["cell"])
            cell = new if cell is None else st.sigmoid(z["forget"]) * cell + new
            outputs.append(st.sigmoid(z["output"]) * st.tanh(cell))
    return outputs


def lstm(x: st.Tensor, make: Maker, classes: int = 10) -> st.Tensor:
    """Logits of sequences [N, 16, 32], or of others of known length."""
    steps = [x[:, number] for number in range(x.shape.dims[1])]
    for number in range(2):
        with st.name_scope(f"layer{number + 1}"):
            steps = _lstm_layer(make, steps, 64)
    return make.dense(steps[-1], classes)


def softmax_by_products(scores: st.Tensor, highest: float) -> st.Tensor:
    """The softmax of the last axis, said with what the TPU has: exponentials and reciprocals are
    tables, mean and sum are products with ones. Taking the row's mean away, which no softmax
    notices, keeps the powers of all rows of a size; more than `highest` above it counts as that.
    """
    count = scores.shape.dims[-1]
    mean = np.full((count, count), 1 / count, np.float32)
    centred = st.matmul(scores, np.eye(count, dtype=np.float32) - mean)
    powers = st.exp(st.minimum(centred - np.float32(highest), 0.0))
    return powers * (np.float32(1 / count) / st.matmul(powers, mean))


def normalise_by_products(x: st.Tensor, gain: Any = 1.0, offset: Any = 0.0) -> st.Tensor:
    """Layer normalisation of the last axis: taking the mean away and that of the squares are
    products with constants, the inverse root is a table."""
    width = x.shape.dims[-1]
    mean = np.full((width, width), 1 / width, np.float32)
    centred = st.matmul(x, np.eye(width, dtype=np.float32) - mean)
    variance = st.matmul(st.square(centred), mean)
    scaled = centred * st.rsqrt(st.maximum(variance, np.float32(1e-3)))
    return scaled * np.float32(gain) + np.float32(offset)


def _attention(make: Maker, x: st.Tensor, heads: int) -> st.Tensor:
    """Several heads, each with projections of its own."""
    width = x.shape.dims[-1]
    size = width // heads
    mixed = []
    for number in range(heads):
        with st.name_scope(f"head{number + 1}"):
            q, k, v = (make.dense(x, size) for _ in range(3))
            scores = st.matmul(q, k, transpose_b=True) * np.float32(size**-0.5)
            mixed.append(st.matmul(softmax_by_products(scores, 2.0), v))
    return make.dense(st.concat(mixed, 2), width)


def encoder(x: st.Tensor, make: Maker, classes: int = 10) -> st.Tensor:
    """Logits of sequences [N, 32, 64], or of others: two layers, four heads, 256 units inside."""
    for number in range(2):
        with st.name_scope(f"layer{number + 1}"):
            x = normalise_by_products(x + _attention(make, x, 4))
            inner = st.nn.gelu(make.dense(x, 4 * x.shape.dims[-1]))
            x = normalise_by_products(x + make.dense(inner, x.shape.dims[-1]))
    return make.dense(st.reduce_mean(x, 1), classes)


@dataclass(frozen=True)
class Model:
    """`build(x, make)` gives the logits of a placeholder `x` of `shape`."""

    build: Callable[[st.Tensor, Maker], st.Tensor]
    shape: tuple[int, ...]


MODELS = {
    "resnet50": Model(resnet50, (1, 224, 224, 3)),
    "resnet20": Model(resnet20, (1, 32, 32, 3)),
    "mobilenet_v1": Model(mobilenet_v1, (1, 224, 224, 3)),
    "inception_v1": Model(inception_v1, (1, 224, 224, 3)),
    "lstm": Model(lstm, (1, 16, 32)),
    "encoder": Model(encoder, (1, 32, 64)),
}


def sample(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Random values, of which neighbours are alike, as in images."""
    rng = np.random.default_rng(seed)
    rough = rng.normal(size=shape).astype(np.float32)
    return (rough + np.roll(rough, 1, 1) + rough.mean(axis=-1, keepdims=True)) / np.float32(2)


def quantised(name: str, seed: int = 2016, shape: tuple[int, ...] | None = None) -> st.Graph:
    """The int8 graph of a network of `MODELS`, from placeholder `x` to `logits`, both float32."""
    model = MODELS[name]
    size = shape or model.shape
    with st.Graph().as_default():
        x = st.placeholder(st.float32, size, name="x")
        logits = st.identity(model.build(x, Maker(seed)), name="logits")
        with st.Session():
            return st.quantize(logits, [{x: sample(size, seed)}])


def compiled(graph: Any, config: str = "default") -> Any:
    """The program of an int8 graph of `quantised`."""
    return st.compile("logits:0", config, graph=graph)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(MODELS))
    parser.add_argument("--config", default="default", help="core (default)")
    given = parser.parse_args()
    program = compiled(quantised(given.name), given.config)
    print(f"{given.name}: {program.macs / 1e6:.1f} M multiply-accumulates")


if __name__ == "__main__":
    main()
