"""Branching networks: breaks if joining layers, concatenating by address or a spilled second
operand changes a result."""

import numpy as np
import pytest

from hw.tpu.config import PRESETS
from sw.compiler.tpu.allocate import place
from sw.compiler.tpu.arrange import arrange
from sw.compiler.tpu.combine import combine
from sw.compiler.tpu.layers import Activation, Concat, Convolution, Epilogue, Pointwise
from sw.compiler.tpu.network import Network
from tests.compiler.tpu.checks import check_network
from tests.compiler.tpu.random_dags import random_dag

GROUP = 15


@pytest.mark.parametrize("group", range(3))
def test_random_dags_equal_the_reference(seed, group):
    for number in range(GROUP * group, GROUP * (group + 1)):
        check_network(*random_dag(seed + number))


@pytest.mark.parametrize("group", range(2))
def test_random_dags_equal_the_reference_when_memory_is_scarce(seed, group):
    for number in range(GROUP * group, GROUP * (group + 1)):
        check_network(*random_dag(seed + number, pressed=True))


def plain(name, source, result, cin, cout, **more):
    weights = np.ones((1, 1, cin, cout), np.int8)
    return Convolution(name, source, result, weights, None, np.full(cout, 0.05, "f"), **more)


def residual(side, channels):
    """conv - conv - add the input - relu, as one computes it layer by layer."""
    shape = (1, side, side, channels)
    add = Epilogue((0.1, 3), "x", False, (0.2, -7))
    layers = (
        plain("first", "x", "a", channels, channels, low=3),
        plain("second", "a", "b", channels, channels),
        Pointwise("add", "b", "y", add, low=-7),
    )
    items = (
        Activation("x", shape, 0.1, 1), Activation("a", shape, 0.1, 3),
        Activation("b", shape, 0.1, 3), Activation("y", shape, 0.2, -7),
    )  # fmt: skip
    return Network(("x",), layers, ("y",), items)


def test_a_residual_add_costs_no_layer(rng):
    """It joins its convolution, whether the shortcut stays on the chip or comes from DRAM."""
    config = PRESETS["default"]
    for side, on_chip in ((8, True), (130, False)):
        network = residual(side, 16)
        joined = combine(network, config)
        assert [layer.name for layer in joined.layers] == ["first", "second"]
        assert joined.layers[1].epilogue.second == "x" and joined.layers[1].low == -7
        assert ("x" in place(joined, config).resident) == on_chip
        x = rng.integers(-128, 128, (1, side, side, 16), dtype=np.int8)
        check_network(network, config, {"x": x})


@pytest.mark.parametrize(("channels", "layers"), [(16, 2), (24, 3)])
def test_a_concatenation_costs_no_layer_where_blocks_are_full(rng, channels, layers):
    """Idle lanes cost a convolution only where something else than convolutions reads them."""
    shape, wide = (1, 4, 4, channels), (1, 4, 4, 2 * channels)
    items = tuple(Activation(name, shape, 0.1, 5) for name in "xab") + (
        Activation("y", wide, 0.1, 5),
    )
    made = (
        plain("left", "x", "a", channels, channels),
        plain("right", "x", "b", channels, channels),
        Concat("both", ("a", "b"), "y"),
    )
    network = Network(("x",), made, ("y",), items)
    arranged = arrange(network, 16)
    assert len(arranged.layers) == layers
    assert {name: part.block for name, part in arranged.parts.items()} == {
        "a": 0,
        "b": -(-channels // 16),
    }
    x = rng.integers(-128, 128, shape, dtype=np.int8)
    check_network(network, PRESETS["default"], {"x": x})
