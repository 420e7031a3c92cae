"""The layers of the benches: break if a bench would measure a wrong or racing program."""

import numpy as np
import pytest

from bench.layers import cases
from hw.tpu.config import PRESETS
from sw.compiler.tpu.allocate import estimate
from sw.compiler.tpu.compile import compile_network
from tests.compiler.tpu.checks import check_network, check_order

CASES = {case.name: case for case in cases()}


@pytest.mark.parametrize("name", ["matmul_512", "resnet50_conv4_3x3", "resnet50_conv5_expand"])
def test_results(name):
    case = CASES[name]
    check_network(case.network, PRESETS["default"], case.inputs)


@pytest.mark.parametrize("name", [name for name in CASES if name != "matmul_512"])
def test_order_of_large_layers(name):
    program = compile_network(CASES[name].network, PRESETS["default"])
    check_order(program)
    assert program.macs == CASES[name].network.macs()


def test_the_big_matmul_is_estimated_close_to_ideal():
    ((_, cycles, ideal),) = estimate(CASES["matmul_512"].network, PRESETS["default"])
    assert ideal == 512**3 // 256
    assert cycles < 1.02 * ideal


def test_the_same_seed_gives_the_same_layer():
    again = next(iter(cases()))
    np.testing.assert_array_equal(again.inputs["x"], CASES[again.name].inputs["x"])
