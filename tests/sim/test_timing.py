"""The timing model against the RTL: breaks if one cycle or one counter of any program differs."""

import numpy as np
import pytest

from bench.layers import cases
from bench.timing_programs import random_program
from hw.tpu import isa
from hw.tpu.config import PRESETS
from hw.tpu.isa import Memory, Opcode, make
from hw.tpu.registers import Error
from sim.engine import TpuError
from sim.execute import execute, load
from sim.memory import MemoryTiming
from sim.rtl.engine import RtlSimulator
from sim.timing import layout
from sim.timing.simulator import TimingSimulator, predict
from sw.compiler.tpu.compile import compile_network
from tests.compiler.tpu.random_networks import random_network

DRAM_BYTES = 1 << 23
PROGRAM_AT = 1 << 16
COMPILED = 30
"""Compiled programs of each preset."""
RAW = {"tiny": 60, "default": 30, "large": 15}
"""Meaningless ones."""
LAYERS = ["matmul_512", "resnet50_conv2_expand", "resnet50_conv5_expand"]


def random_timing(rng):
    return MemoryTiming(
        latency=int(rng.integers(1, 80)),
        bytes_per_cycle=float(rng.choice([1.5, 2, 4, 8, 16, 64])),
    )


@pytest.fixture(scope="module", params=["tiny", "default", "large"])
def engines(request):
    config = PRESETS[request.param]
    rtl = RtlSimulator(config, DRAM_BYTES, timeline=True)
    yield rtl, TimingSimulator(config, DRAM_BYTES, timeline=True)
    rtl.close()


def check_program(engines, program, inputs, memory, note):
    results = []
    for engine in engines:
        engine.set_memory(memory)
        load(engine, program)
        results.append(execute(engine, program, inputs)[1])
    check_equal(*results, f"{note}, {memory}")


def check_equal(rtl, timing, note):
    assert timing.counters == rtl.counters, note
    assert timing.cycles == rtl.cycles, note
    assert timing.trace == rtl.trace, note


def test_compiled_programs_take_the_cycles_of_the_rtl(engines, rng, seed):
    config, programs, number = engines[0].config, 0, 0
    while programs < COMPILED:
        network, chosen, inputs = random_network(seed + 20_000 + number)
        number += 1
        if chosen.name != config.name:
            continue
        programs += 1
        program = compile_network(network, config)
        check_program(engines, program, inputs, random_timing(rng), f"program {number - 1}")


def test_programs_without_meaning_take_the_cycles_of_the_rtl(engines, rng, seed):
    config = engines[0].config
    for number in range(RAW[config.name]):
        program = random_program(seed + number, config, dram_bytes=PROGRAM_AT)
        memory, results = random_timing(rng), []
        for engine in engines:
            engine.set_memory(memory)
            engine.write(PROGRAM_AT, np.frombuffer(isa.assemble(program), np.uint8))
            results.append(engine.run(PROGRAM_AT, len(program)))
        check_equal(*results, f"program {seed + number}, {memory}")


@pytest.mark.parametrize("name", LAYERS)
def test_layers_take_the_cycles_of_the_rtl(engines, name):
    config = engines[0].config
    if config.name == "tiny":
        pytest.skip("the layers are made for larger cores")
    (case,) = (case for case in cases() if case.name == name)
    memory = MemoryTiming(latency=30, bytes_per_cycle=config.bus_bytes)
    check_program(engines, compile_network(case.network, config), case.inputs, memory, name)


def test_a_list_of_instructions_is_predicted_like_a_program_in_dram():
    config = PRESETS["default"]
    program = random_program(3, config)
    engine = TimingSimulator(config, 1 << 20, MemoryTiming(latency=7), timeline=True)
    engine.write(PROGRAM_AT, np.frombuffer(isa.assemble(program), np.uint8))
    result = engine.run(PROGRAM_AT, len(program))
    same = predict(program, config, MemoryTiming(latency=7), program=PROGRAM_AT, timeline=True)
    check_equal(same, result, "predict")
    words = np.frombuffer(isa.assemble(program), np.uint8).reshape(-1, isa.INSTRUCTION_BYTES)
    np.testing.assert_array_equal(layout.unpack(words), layout.words(program))


def test_jitter_is_a_distribution(engines, rng):
    config = engines[0].config
    program = random_program(5, config, length=200, dram_bytes=PROGRAM_AT)
    cycles = []
    for engine in engines:
        engine.set_memory(MemoryTiming(latency=20, bytes_per_cycle=8, jitter=5, seed=9))
        engine.write(PROGRAM_AT, np.frombuffer(isa.assemble(program), np.uint8))
        cycles.append(engine.run(PROGRAM_AT, len(program)).cycles)
    assert cycles[1] == pytest.approx(cycles[0], rel=0.05)


STOPS = {
    "deadlock": ([make(Opcode.STORE, wait=8, tag=3), make(Opcode.HALT)], Error.WATCHDOG, 0),
    "no weights": ([make(Opcode.MATMUL), make(Opcode.HALT)], Error.WATCHDOG, 1),
    "no HALT": ([make(Opcode.FENCE)], Error.NO_HALT, 1),
    "semaphore": (
        [make(Opcode.LOAD, memory=Memory.PARAMETERS, row_bytes=4, signal=2)] * 260
        + [make(Opcode.HALT)],
        Error.SEMAPHORE_OVERFLOW,
        None,
    ),
}


@pytest.mark.parametrize("name", STOPS)
def test_what_stops_the_core_stops_the_model(engines, name):
    program, code, position = STOPS[name]
    for engine in engines:
        engine.set_memory(MemoryTiming())
        engine.write(PROGRAM_AT, np.frombuffer(isa.assemble(program), np.uint8))
        with pytest.raises(TpuError) as caught:
            engine.run(PROGRAM_AT, len(program))
        assert caught.value.code is code
        assert position is None or caught.value.position == position
