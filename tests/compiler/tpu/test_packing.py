"""Kernel columns in array rows: breaks if a packed first layer gives another result or no gain."""

import numpy as np
import pytest

from hw.tpu.config import PRESETS, TpuConfig
from sim.memory import MemoryTiming
from sim.timing.simulator import predict
from sw.compiler.tpu.compile import compile_network
from sw.compiler.tpu.layers import Activation
from sw.compiler.tpu.network import Network
from sw.compiler.tpu.packing import pack
from tests.compiler.tpu import onnx_reference
from tests.compiler.tpu.checks import check_network, run_program
from tests.compiler.tpu.random_networks import input_values, make_convolution, make_pool


def first_layer(rng, shape, cout, kernel, strides, padding, dilations=(1, 1)):
    """A network of one convolution, or None if its window does not fit."""
    source = Activation("x", shape, 0.1, int(rng.integers(-128, 128)))
    made = make_convolution(
        rng, "first", source, "y", cout, kernel, strides, padding, dilations, low=-100
    )
    return made and Network(("x",), (made[0],), ("y",), (source, made[1]))


def random_first_layer(rng, side):
    kernel = tuple(int(v) for v in rng.integers(1, 8, 2))
    shape = (int(rng.choice([1, 1, 3])), *(int(v) for v in rng.integers(1, side, 2)),
             int(rng.choice([1, 2, 3, 3, 4, 5, 9, 24])))  # fmt: skip
    pads = rng.integers(0, 5, 4)
    return first_layer(
        rng, shape, int(rng.integers(1, 40)), kernel,
        tuple(int(v) for v in rng.integers(1, 4, 2)),
        ((int(pads[0]), int(pads[1])), (int(pads[2]), int(pads[3]))),
        (int(rng.integers(1, 4)), int(rng.choice([1, 1, 1, 2]))),
    )  # fmt: skip


@pytest.mark.parametrize("preset", ["tiny", "default", "large", "tiny,scratchpad_rows=256"])
def test_random_first_layers(rng, preset):
    config = TpuConfig.parse(preset)
    side = 12 if config.array < 16 else 30
    packed = 0
    for _ in range(30):
        network = random_first_layer(rng, side)
        if network is None:
            continue
        program = check_network(network, config, input_values(rng, network))
        packed += program.inputs[0].dense
        counted = predict(program.instructions, config, program=program.entry).counters
        assert counted["useful_macs"] == network.macs()
    assert packed > 5


def test_resnet_first_layer_takes_ten_passes_and_equals_onnx_runtime(rng):
    config = PRESETS["default"]
    network = first_layer(rng, (1, 60, 60, 3), 64, (7, 7), (2, 2), ((3, 3), (3, 3)))
    (layer,) = network.layers
    packing = pack(layer, network.axes(layer), config.array)
    assert [len(section.runs) for section in packing.sections] == [1, 3]
    assert packing.passes() == 10
    inputs = input_values(rng, network)
    program = check_network(network, config, inputs)
    zero, result = network.by_name["x"].zero_point, network.by_name["y"]
    expected = onnx_reference.convolution(layer, inputs["x"], zero, result)
    np.testing.assert_array_equal(run_program(program, inputs)["y"], expected)


def test_the_array_does_useful_work_on_three_channels(rng):
    config = PRESETS["default"]
    network = first_layer(rng, (1, 224, 224, 3), 64, (7, 7), (2, 2), ((3, 3), (3, 3)))
    program = compile_network(network, config)
    timing = MemoryTiming(latency=30, bytes_per_cycle=config.bus_bytes)
    cycles = predict(program.instructions, config, timing, program=program.entry).cycles
    assert network.macs() / config.peak_macs_per_cycle > 0.85 * cycles


def test_an_input_that_a_pooling_reads_too_is_not_packed(rng):
    source = Activation("x", (1, 12, 12, 3), 0.1, 5)
    first, y = make_convolution(rng, "a", source, "y", 8, (3, 3), (1, 1), ((1, 1), (1, 1)))
    pool, z = make_pool("b", source, "z", (2, 2), (2, 2), ((0, 0), (0, 0)))
    network = Network(("x",), (first, pool), ("y", "z"), (source, y, z))
    program = check_network(network, PRESETS["default"], input_values(rng, network))
    assert not program.inputs[0].dense
