"""Random networks from a seed, for the functional simulator and for longer runs on RTL."""

import numpy as np

from hw.tpu.config import PRESETS, TpuConfig
from sw.compiler.tpu.layers import (
    MOST_COUNTS,
    Activation,
    Convolution,
    Depthwise,
    MaxPool,
    average_pool,
    result_size,
)
from sw.compiler.tpu.network import Network

SIZES = {"tiny": 1500, "default": 4000, "large": 4000}
"""Most positions x channels of an activation, by preset: small enough to be quick."""
PRESSED = [
    "scratchpad_rows=128,accumulator_rows=16,parameter_entries=4",
    "scratchpad_rows=256,accumulator_rows=32,parameter_entries=1,queue_depth=1",
    "scratchpad_rows=512,accumulator_rows=64,parameter_entries=3,weight_tiles=1",
]


def make_convolution(
    rng, name, source, result, cout, kernel, strides, padding, dilations=(1, 1), **options
):
    """A convolution with random int8 weights and its output activation; None if it cannot be."""
    shape = tuple(
        result_size(source.shape[1 + i], kernel[i], strides[i], dilations[i], padding[i])
        for i in (0, 1)
    )
    if min(shape) < 1:
        return None
    depth = kernel[0] * kernel[1] * source.shape[3]
    weights = rng.integers(-128, 128, (*kernel, source.shape[3], cout), dtype=np.int8)
    scale = rng.uniform(0.2, 2.0, cout) / (70 * np.sqrt(depth))
    layer = Convolution(
        name, source.name, result, weights,
        bias=rng.integers(-3000, 3000, cout, dtype=np.int32),
        scale=scale.astype(np.float32),
        strides=strides, padding=padding, dilations=dilations, **options,
    )  # fmt: skip
    zero = int(rng.integers(-128, 128))
    return layer, Activation(result, (source.shape[0], *shape, cout), 0.1, zero)


def make_pool(name, source, result, window, strides, padding):
    """A max pooling and its output activation; None if it cannot be."""
    if any(max(pad) >= side for pad, side in zip(padding, window, strict=True)):
        return None
    shape = tuple(
        result_size(source.shape[1 + i], window[i], strides[i], 1, padding[i]) for i in (0, 1)
    )
    if min(shape) < 1:
        return None
    layer = MaxPool(name, source.name, result, window, strides, padding)
    output = (source.shape[0], *shape, source.shape[3])
    return layer, Activation(result, output, source.scale, source.zero_point)


def make_depthwise(rng, name, source, result, kernel, strides, padding, average, most):
    """A depthwise convolution or an average (of `most` scales at most), and its output activation;
    None if it cannot be."""
    shape = tuple(
        result_size(source.shape[1 + i], kernel[i], strides[i], 1, padding[i]) for i in (0, 1)
    )
    if min(shape) < 1:
        return None
    channels = source.shape[3]
    zero = int(rng.integers(-128, 128))
    output = Activation(result, (source.shape[0], *shape, channels), 0.08, zero)
    if average:
        whole = any(max(p) >= k for p, k in zip(padding, kernel, strict=True))
        counted = bool(rng.integers(2)) or whole
        layer = average_pool(name, source, output, kernel, strides, padding, counted)
        return (layer, output) if len(layer.scale_by_count) <= most else None
    weights = rng.integers(-128, 128, (*kernel, channels), dtype=np.int8)
    scale = rng.uniform(0.2, 2.0, channels) / (70 * np.sqrt(kernel[0] * kernel[1]))
    bias = rng.integers(-3000, 3000, channels, dtype=np.int32)
    clamp = {"low": int(rng.choice([-128, 0])), "high": int(rng.choice([127, 60]))}
    scale = scale.astype(np.float32)
    layer = Depthwise(name, source.name, result, weights, scale, bias, strides, padding, **clamp)
    return layer, output


def matmul_input(name, rows, depth, zero_point=0):
    return Activation(name, (1, 1, rows, depth), 0.1, zero_point)


def input_values(rng, network):
    """Random int8 for every network input."""
    return {
        name: rng.integers(-128, 128, network.by_name[name].shape, dtype=np.int8)
        for name in network.inputs
    }


def _pair(rng, low, high):
    return tuple(int(value) for value in rng.integers(low, high + 1, 2))


def _padding(rng, kernel, dilations):
    kind = rng.integers(3)
    if kind == 0:
        return (0, 0), (0, 0)
    spans = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    if kind == 1:  # SAME at stride 1
        return tuple((span // 2, span - span // 2) for span in spans)
    return tuple(_pair(rng, 0, max(span, 1)) for span in spans)


def _layer(rng, number, source, final, most):
    name, result = f"layer{number}", f"a{number + 1}"
    kind = rng.integers(8)
    if kind == 0:
        window = _pair(rng, 1, 3)
        return make_pool(
            name, source, result, window, _pair(rng, 1, 3), _padding(rng, window, (1, 1))
        )
    if rng.integers(4) == 0:
        window = ((3, 3), _pair(rng, 1, 5))[rng.integers(2)]
        padding = _padding(rng, window, (1, 1))
        average = bool(rng.integers(3) == 0)
        return make_depthwise(
            rng, name, source, result, window, _pair(rng, 1, 3), padding, average, most
        )
    kernel = ((1, 1), (3, 3), _pair(rng, 1, 7), _pair(rng, 1, 4))[rng.integers(4)]
    dilations = (1, 1) if rng.integers(4) else _pair(rng, 1, 3)
    cout = int(rng.choice([1, 3, 4, 10, 16, 17, 33, 40, 70]))
    clamp = [(-128, 127), (0, 127), (-5, 60)][rng.integers(3)]
    return make_convolution(
        rng, name, source, result, cout, kernel, _pair(rng, 1, 4), _padding(rng, kernel, dilations),
        dilations, low=clamp[0], high=clamp[1], accumulators=bool(final and rng.integers(6) == 0),
    )  # fmt: skip


def _source(rng, limit):
    if rng.integers(4) == 0:
        depth = int(rng.choice([1, 3, 16, 31, 64, 130]))
        return matmul_input("a0", int(rng.integers(1, 1 + limit // depth)), depth)
    channels = int(rng.choice([1, 3, 4, 8, 16, 17, 40]))
    images = int(rng.choice([1, 1, 2, 5]))
    side = max(1, int((limit / channels / images) ** 0.5))
    height, width = _pair(rng, 1, side)
    return Activation("a0", (images, height, width, channels), 0.1, int(rng.integers(-128, 128)))


def random_network(seed, pressed=False):
    """`(network, config, inputs)`: 1-4 layers on a random preset; the same for the same seed.

    `pressed`: the preset with memories so small that most tensors must live in DRAM (some networks
    then fit in no way).
    """
    rng = np.random.default_rng([seed, 77])
    preset = str(rng.choice(["tiny", "tiny", "default", "large"]))
    config = PRESETS[preset]
    if pressed:
        config = TpuConfig.parse(f"{preset},{rng.choice(PRESSED)}")
    limit, most = SIZES[preset], min(MOST_COUNTS, config.parameter_entries // 2)
    activations = [_source(rng, limit)]
    layers = []
    wanted = int(rng.integers(1, 5))
    for _ in range(50):
        final = len(layers) == wanted - 1
        made = _layer(rng, len(layers), activations[-1], final, most)
        if made is None or np.prod(made[1].shape) > 3 * limit:
            continue
        layers.append(made[0])
        activations.append(made[1])
        if len(layers) == wanted:
            break
    outputs = [activations[-1].name]
    if len(layers) > 1 and rng.integers(3) == 0:
        outputs.append(activations[1].name)
    network = Network(("a0",), tuple(layers), tuple(outputs), tuple(activations))
    return network, config, input_values(rng, network)
