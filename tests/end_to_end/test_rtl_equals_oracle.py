"""Random compiled networks on the Verilated core.

Breaks if RTL, oracle, plain integers and ONNX Runtime part ways by one byte.
"""

import numpy as np
import pytest

from hw.tpu.config import PRESETS
from sim.execute import execute, load
from sim.functional import FunctionalSimulator
from sim.memory import MemoryTiming
from sim.rtl.engine import RtlSimulator
from sw.compiler.tpu.compile import compile_network
from sw.compiler.tpu.layers import Convolution
from tests.compiler.tpu import onnx_reference, reference
from tests.compiler.tpu.random_networks import random_network

PROGRAMS = 70
"""Of each preset."""
DRAM_BYTES = 1 << 24


def random_timing(rng):
    return MemoryTiming(
        latency=int(rng.integers(1, 80)),
        bytes_per_cycle=float(rng.choice([2, 4, 8, 16, 64])),
        jitter=int(rng.choice([0, 0, 3, 20])),
        seed=int(rng.integers(1, 1 << 16)),
    )


def check_onnx_runtime(network, values):
    """Every requantising layer against QLinearConv and, where it is one, QLinearMatMul."""
    for layer in network.layers:
        if not isinstance(layer, Convolution) or layer.accumulators:
            continue
        x, zero = values[layer.input], network.by_name[layer.input].zero_point
        result = network.by_name[layer.output]
        kinds = [onnx_reference.convolution]
        kinds += [onnx_reference.matmul] if onnx_reference.is_matmul(layer, x) else []
        for kind in kinds:
            y = kind(layer, x, zero, result)
            np.testing.assert_array_equal(values[layer.output], y, err_msg=str(kind))


@pytest.mark.parametrize("preset", ["tiny", "default", "large"])
def test_random_programs_agree_on_every_byte(rng, seed, preset):
    config = PRESETS[preset]
    rtl, oracle = RtlSimulator(config, DRAM_BYTES), FunctionalSimulator(config, DRAM_BYTES)
    programs, number = 0, 0
    while programs < PROGRAMS:
        network, chosen, inputs = random_network(seed + 10_000 + number)
        number += 1
        if chosen.name != preset:
            continue
        programs += 1
        program = compile_network(network, config)
        rtl.set_memory(timing := random_timing(rng))
        answers = []
        for engine in (oracle, rtl):
            load(engine, program)
            answers.append(execute(engine, program, inputs)[0])
        expected = reference.run(network, inputs)
        for name, values in answers[1].items():
            note = f"program {number - 1}, output {name}, {timing}"
            np.testing.assert_array_equal(values, answers[0][name], err_msg=f"RTL: {note}")
            np.testing.assert_array_equal(values, expected[name], err_msg=f"integers: {note}")
        check_onnx_runtime(network, expected)
    rtl.close()
