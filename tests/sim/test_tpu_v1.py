"""The 256x256 preset: breaks if the functional or the timing simulator cannot run it."""

from hw.tpu.config import PRESETS
from sim.timing.simulator import predict
from sw.compiler.tpu.network import Network
from tests.compiler.tpu.checks import check_network
from tests.compiler.tpu.random_networks import input_values, make_convolution, matmul_input


def test_a_network_on_tpu_v1(rng):
    config = PRESETS["tpu_v1"]
    source = matmul_input("x", 40, 300, zero_point=3)
    none = ((0, 0), (0, 0))
    first, a = make_convolution(rng, "first", source, "a", 520, (1, 1), (1, 1), none)
    second, y = make_convolution(rng, "second", a, "y", 70, (1, 1), (1, 1), none)
    network = Network(("x",), (first, second), ("y",), (source, a, y))
    program = check_network(network, config, input_values(rng, network))
    counters = predict(program.instructions, config, program=program.entry).counters
    assert counters["useful_macs"] == network.macs() == 40 * (300 * 520 + 520 * 70)
    assert counters["array_active"] == 40 * (2 * 3 + 3 * 1)
    assert counters["cycles"] > counters["array_active"]
