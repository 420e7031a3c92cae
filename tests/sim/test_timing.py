"""The timing model against the RTL: breaks if one cycle or one counter of any program differs."""

import numpy as np
import pytest

from bench.layers import cases
from bench.timing_programs import random_program
from hw.tpu import isa
from hw.tpu.config import PRESETS
from hw.tpu.isa import Memory, Opcode, make
from hw.tpu.registers import Error
from sim.cxx.formats import unpack
from sim.engine import TpuError
from sim.execute import execute, load
from sim.memory import MemoryTiming
from sim.rtl.engine import RtlSimulator
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
    for engine in (*engines, leaping(engines)):
        engine.set_memory(memory)
        load(engine, program)
        results.append(execute(engine, program, inputs)[1])
    check_equal(*results[:2], f"{note}, {memory}")
    assert results[2].counters == results[0].counters, f"{note}, {memory}"


def leaping(engines):
    """A model that records no trace, and so may take repeating passes at once."""
    return TimingSimulator(engines[0].config, DRAM_BYTES)


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
        for engine in (*engines, leaping(engines)):
            engine.set_memory(memory)
            engine.write(PROGRAM_AT, np.frombuffer(isa.assemble(program), np.uint8))
            results.append(engine.run(PROGRAM_AT, len(program)))
        check_equal(*results[:2], f"program {seed + number}, {memory}")
        assert results[2].counters == results[0].counters, f"program {seed + number}, {memory}"


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


def test_every_field_is_unpacked():
    program = random_program(4, PRESETS["large"], length=100)
    words = unpack(np.frombuffer(isa.assemble(program), np.uint8))
    for instruction, row in zip(program, words, strict=True):
        fields = isa.FORMATS[instruction.opcode].fields
        assert row[0] == instruction.opcode
        assert row[1 : len(fields)].tolist() == [
            getattr(instruction, name) for name in list(fields)[1:]
        ]


@pytest.mark.parametrize("byte", range(isa.INSTRUCTION_BYTES))
def test_what_does_not_decode_is_refused(rng, byte):
    for instruction in random_program(byte, PRESETS["tiny"], length=12):
        code = bytearray(isa.encode(instruction))
        code[byte] ^= 1 << rng.integers(8)
        words = unpack(np.frombuffer(bytes(code), np.uint8))
        try:
            reason = isa.unbuilt(isa.decode(bytes(code)))
            assert words[0, 0] == (-Error.UNBUILT if reason else code[0])
        except isa.IsaError:
            assert words[0, 0] == -Error.ILLEGAL_INSTRUCTION


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
    "accumulator": (make(Opcode.MATMUL, accumulator=40_000), Error.ACCUMULATOR_RANGE),
    "matmul source": (make(Opcode.MATMUL, source=99_999), Error.SCRATCHPAD_RANGE),
    "stride": (
        make(Opcode.MATMUL, columns=9, column_stride=(1 << 20) - 1, source=5, step_x=1, width=9),
        Error.SCRATCHPAD_RANGE,
    ),
    "keep": (make(Opcode.MATMUL, keep=1), Error.ILLEGAL_OPERAND),
    "vector source": (make(Opcode.VECTOR, convert=1, base=5000), Error.ACCUMULATOR_RANGE),
    "parameters": (make(Opcode.VECTOR, convert=1, parameters=999), Error.PARAMETER_RANGE),
    "destination": (make(Opcode.VECTOR, convert=1, destination=99_999), Error.SCRATCHPAD_RANGE),
    "load address": (make(Opcode.LOAD, address=1 << 30), Error.DRAM_RANGE),
    "load row": (
        make(Opcode.LOAD, base=99_990, rows=20, row_stride=(1 << 20) - 99_990),
        Error.SCRATCHPAD_RANGE,
    ),
    "load parameters": (
        make(Opcode.LOAD, base=9999, memory=Memory.PARAMETERS), Error.PARAMETER_RANGE,
    ),
    "lanes": (make(Opcode.LOAD, row_bytes=33), Error.ILLEGAL_OPERAND),
    "store address": (
        make(Opcode.STORE, address=DRAM_BYTES - 9, rows=4, dram_row_stride=3), Error.DRAM_RANGE,
    ),
    "store row": (make(Opcode.STORE, base=99_999), Error.SCRATCHPAD_RANGE),
    "second operand": (make(Opcode.VECTOR, convert=1, add=1, second=99_999),
                       Error.SCRATCHPAD_RANGE),
    "add's constants": (make(Opcode.VECTOR, convert=1, add=1, second_parameters=999),
                        Error.PARAMETER_RANGE),
    "table": (make(Opcode.VECTOR, convert=1, table=1, table_number=15), Error.PARAMETER_RANGE),
    "weights": (make(Opcode.VECTOR, source=1, convert=1, reduce=3, weights=4000),
                Error.PARAMETER_RANGE),
    "load lane memory": (make(Opcode.LOAD, base=4095, memory=Memory.LANES), Error.PARAMETER_RANGE),
}  # fmt: skip


@pytest.mark.parametrize("name", STOPS)
def test_a_fault_is_reported_like_the_rtl_reports_it(engines, name):
    bad, code = STOPS[name]
    bad = make(bad.opcode, **{**bad.values, "tag": 77})
    n = engines[0].config.array
    tile = make(Opcode.LOAD, memory=Memory.WEIGHTS, rows=n, row_bytes=n, dram_row_stride=n)
    program = [make(Opcode.FENCE), tile, bad, make(Opcode.HALT)]
    reports = []
    for engine in engines:
        engine.write(PROGRAM_AT, np.frombuffer(isa.assemble(program), np.uint8))
        with pytest.raises(TpuError) as caught:
            engine.run(PROGRAM_AT, len(program))
        reports.append(caught.value)
    assert reports[0].code is code
    assert str(reports[1]) == str(reports[0])


HANGS = {
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


@pytest.mark.parametrize("name", HANGS)
def test_what_stops_the_core_stops_the_model(engines, name):
    program, code, position = HANGS[name]
    for engine in engines:
        engine.set_memory(MemoryTiming())
        engine.write(PROGRAM_AT, np.frombuffer(isa.assemble(program), np.uint8))
        with pytest.raises(TpuError) as caught:
            engine.run(PROGRAM_AT, len(program))
        assert caught.value.code is code
        assert position is None or caught.value.position == position
        assert code is not Error.SEMAPHORE_OVERFLOW or caught.value.detail == 2
