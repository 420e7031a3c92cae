"""The cases that tiling finds hard, one each; what must be true of the choice is said."""

import numpy as np
import pytest

from hw.tpu.config import PRESETS, TpuConfig
from hw.tpu.isa import Opcode
from sw.compiler.tpu.allocate import place
from sw.compiler.tpu.compile import compile_network
from sw.compiler.tpu.layers import Activation, CompileError, Convolution, MaxPool
from sw.compiler.tpu.network import Network
from tests.compiler.tpu.checks import check_network, run_program
from tests.compiler.tpu.random_networks import input_values, make_convolution, matmul_input

TINY, DEFAULT, LARGE = (PRESETS[name] for name in ("tiny", "default", "large"))
NONE = ((0, 0), (0, 0))


def one_layer(rng, source, cout, kernel=(1, 1), strides=(1, 1), padding=NONE, **options):
    layer, result = make_convolution(
        rng, "layer", source, "y", cout, kernel, strides, padding, **options
    )
    return Network((source.name,), (layer,), ("y",), (source, result))


def check(rng, network, config):
    check_network(network, config, input_values(rng, network))
    return place(network, config)


def test_a_reduction_larger_than_the_scratchpad_is_split(rng):
    network = one_layer(rng, matmul_input("x", 3, 9000, 5), 6)
    placement = check(rng, network, TINY)
    assert placement.tilings[0].chunk < 2250


def test_an_output_larger_than_the_scratchpad_goes_to_dram_in_tiles(rng):
    network = one_layer(rng, Activation("x", (1, 40, 41, 4), 0.1, -7), 9, (3, 3))
    placement = check(rng, network, TINY)
    assert not placement.resident or "y" not in placement.resident


def test_a_chain_of_spilled_activations(rng):
    source = Activation("x", (1, 37, 35, 5), 0.1, 4)
    first, a = make_convolution(rng, "a", source, "a", 7, (3, 3), (1, 1), ((1, 1), (1, 1)))
    second, b = make_convolution(rng, "b", a, "b", 6, (3, 3), (2, 2), ((0, 1), (1, 0)))
    pool = MaxPool("p", "b", "p", (3, 3), (1, 1), ((1, 1), (1, 1)))
    pooled = Activation("p", b.shape, b.scale, b.zero_point)
    third, c = make_convolution(rng, "c", pooled, "c", 5, (1, 1), (1, 1), NONE)
    network = Network(("x",), (first, second, pool, third), ("c",), (source, a, b, pooled, c))
    check(rng, network, TINY)
    check(rng, network, DEFAULT)


@pytest.mark.parametrize("config", [TINY, DEFAULT, LARGE], ids=lambda config: config.name)
@pytest.mark.parametrize(
    ("shape", "cout", "kernel", "strides", "padding"),
    [
        ((5, 6, 7, 10), 12, (3, 3), (1, 1), ((1, 1), (1, 1))),
        ((1, 30, 29, 3), 8, (7, 7), (4, 4), ((3, 3), (3, 3))),
        ((1, 9, 11, 3), 5, (1, 1), (1, 1), NONE),
        ((1, 1, 1, 100), 37, (1, 1), (1, 1), NONE),
        ((1, 1, 700, 9), 5, (1, 1), (1, 1), NONE),
        ((2, 9, 9, 6), 20, (9, 9), (1, 1), NONE),
        ((1, 14, 14, 4), 4, (11, 2), (3, 4), ((5, 5), (0, 1))),
        ((1, 3, 3, 2), 4, (3, 3), (1, 1), ((4, 3), (0, 5))),
    ],
    ids=["batch 5", "7x7 stride 4", "1x1 of 3", "M=1", "tall", "whole map", "11x2", "all padding"],
)
def test_shapes(rng, config, shape, cout, kernel, strides, padding):
    source = Activation("x", shape, 0.1, 11)
    check(rng, one_layer(rng, source, cout, kernel, strides, padding), config)


def test_dilation_and_clamp(rng):
    source = Activation("x", (2, 15, 12, 6), 0.1, -3)
    network = one_layer(
        rng, source, 9, (3, 2), (2, 1), ((2, 2), (1, 1)), dilations=(3, 4), low=-10, high=20
    )
    check(rng, network, TINY)


def test_accumulators_plus_correction_are_the_exact_sum(rng):
    source = Activation("x", (1, 8, 9, 10), 0.1, 17)
    network = one_layer(rng, source, 11, (3, 3), accumulators=True)
    inputs = input_values(rng, network)
    program = check_network(network, TINY, inputs)
    layer = network.layers[0]
    x = inputs["x"].astype(np.int64) - 17
    exact = sum(
        x[:, ky : ky + 6, kx : kx + 7] @ layer.weights[ky, kx].astype(np.int64)
        for ky in range(3)
        for kx in range(3)
    )
    result = run_program(program, inputs)["y"] + layer.correction(17)
    np.testing.assert_array_equal(result, exact + layer.bias)


def test_macs_and_tags(rng):
    network = one_layer(rng, Activation("x", (2, 5, 5, 3)), 7, (3, 3))
    program = compile_network(network, DEFAULT)
    assert program.macs == 2 * 3 * 3 * 9 * 3 * 7
    assert program.tags == {0: "layer"}


def test_an_input_with_several_consumers_and_an_inner_output(rng):
    source = Activation("x", (1, 10, 10, 6), 0.1, 1)
    first, a = make_convolution(rng, "a", source, "a", 7, (3, 3), (1, 1), NONE)
    second, b = make_convolution(rng, "b", source, "b", 5, (1, 1), (3, 3), NONE)
    third, c = make_convolution(rng, "c", a, "c", 5, (1, 1), (1, 1), NONE)
    network = Network(("x",), (second, first, third), ("a", "b", "c"), (source, a, b, c))
    for config in (TINY, DEFAULT, TpuConfig.parse("tiny,scratchpad_rows=256")):
        check(rng, network, config)


def test_weights_stand_directly_before_their_matmul(rng):
    """What makes lock-ups impossible; see `schedule.py`."""
    network = one_layer(rng, Activation("x", (1, 30, 30, 9), 0.1, 1), 20, (3, 3))
    program = compile_network(network, TINY)
    for before, i in zip(program.instructions, program.instructions[1:], strict=False):
        if i.opcode is Opcode.MATMUL:
            follows = before.opcode is Opcode.MATMUL
            assert follows or (before.opcode is Opcode.LOAD and before.memory == 1)


def test_what_cannot_fit_says_so(rng):
    source = Activation("x", (1, 70, 70, 4))
    with pytest.raises(CompileError, match="layer 'layer': not even its smallest tile fits"):
        compile_network(one_layer(rng, source, 4, (70, 70)), TINY)


def test_inconsistent_networks_say_what_is_wrong():
    x, y = Activation("x", (1, 4, 4, 3)), Activation("y", (1, 4, 4, 2))
    weights = np.zeros((1, 1, 3, 2), np.int8)
    scale = np.ones(2, np.float32)
    good = Convolution("c", "x", "y", weights, scale=scale)
    Network(("x",), (good,), ("y",), (x, y))
    bad = [
        ((Convolution("c", "x", "y", weights),), (x, y), "'c': a requantised output needs a scale"),
        ((Convolution("c", "x", "z", weights, scale=scale),), (x, y), "no activation 'z'"),
        ((Convolution("c", "y", "y", weights, scale=scale),), (x, y), "'y' is not there yet"),
        ((good, good), (x, y), "has a producer already"),
        ((good,), (x, Activation("y", (1, 4, 3, 2))), r"should be \(1, 4, 4, 2\)"),
        ((MaxPool("p", "x", "y", (1, 1)),), (x, Activation("y", (1, 4, 4, 3), 2.0)), "share scale"),
    ]
    for layers, activations, message in bad:
        with pytest.raises(CompileError, match=message):
            Network(("x",), layers, ("y",), activations)


def test_sizes_beyond_16_bits(rng):
    check(rng, one_layer(rng, matmul_input("x", 70001, 3, 9), 2), DEFAULT)
    source = Activation("x", (1, 2, 40000, 3), 0.1, 4)
    pool = MaxPool("p", "x", "y", (2, 3), (1, 1), ((0, 0), (1, 1)))
    result = Activation("y", (1, 1, 40000, 3), 0.1, 4)
    check(rng, Network(("x",), (pool,), ("y",), (source, result)), DEFAULT)


def test_semaphores_follow_the_discipline(rng):
    """Semaphore 4p + c: signalled by queue p, taken by queue c, as often."""
    network = one_layer(rng, Activation("x", (1, 30, 30, 9), 0.1, 1), 20, (3, 3))
    program = compile_network(network, TINY).instructions
    for semaphore in range(16):
        signals = [i.queue for i in program if i.signal >> semaphore & 1]
        waits = [i.queue for i in program if i.wait >> semaphore & 1]
        assert set(signals) <= {semaphore // 4} and set(waits) <= {semaphore % 4}
        assert len(signals) == len(waits)
