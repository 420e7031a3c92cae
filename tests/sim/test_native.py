"""The interpreter in C++ against the oracle: breaks if one byte of any memory differs."""

import warnings

import numpy as np
import pytest

from hw.tpu import isa
from hw.tpu.config import PRESETS, TpuConfig
from hw.tpu.isa import Memory, Opcode, make
from hw.tpu.registers import Error
from sim.engine import TpuError
from sim.execute import execute, load
from sim.functional import FunctionalSimulator
from sim.native import library, simulator
from sim.native.simulator import NativeSimulator
from sim.rtl import toolchain
from sw.compiler.tpu.compile import compile_network
from tests.compiler.tpu.random_networks import random_network
from tests.sim.test_functional import TINY, N, matmul_program
from tests.verification import interpreters

PLANTED = ("matmul.h", "numerics.h")
"""Bugs of these files are planted here, all by `make interpreters`."""


def test_random_programs_are_equal_in_all_memories_counters_and_errors(seed):
    campaign = interpreters.run(700, seed, progress=False)
    assert not campaign.failures, campaign.failures[0]
    assert campaign.declined == 0
    assert len(campaign.ends) >= 6


def test_without_vnni_too(seed):
    campaign = interpreters.run(150, seed, library.load(extra=interpreters.FLOAT), progress=False)
    assert not campaign.failures, campaign.failures[0]


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_noticed(seed, name):
    plant = next(plant for plant in interpreters.PLANTS if plant[0] == name)
    campaign = interpreters.run(3000, seed, interpreters.planted(plant), most=1, progress=False)
    assert campaign.failures


def test_every_bug_can_be_planted():
    for plant in interpreters.PLANTS:
        assert interpreters.with_bug(plant)


@pytest.mark.parametrize("preset", ["tiny", "ulx3s", "default", "large", "tpu_v1"])
def test_networks_are_equal(seed, preset):
    config = PRESETS[preset]
    for number in range(3):
        network, _, inputs = random_network(seed + 40_000 + number)
        program = compile_network(network, config)
        results = []
        for make_engine in (NativeSimulator, FunctionalSimulator):
            engine = make_engine(config, program.dram_bytes)
            load(engine, program)
            outputs, result = execute(engine, program, inputs)
            memories = [getattr(engine, name) for name in interpreters.MEMORIES]
            results.append((outputs, result.counters, memories))
        np.testing.assert_equal(*results)


def test_wide_arrays_beyond_exact_float32(rng):
    """Sums of a 256-wide array over many passes, of extreme values."""
    config = TpuConfig.parse("tpu_v1,scratchpad_rows=2048")
    passes = 9
    program = [
        make(Opcode.LOAD, memory=Memory.WEIGHTS, rows=256 * passes, row_bytes=256,
             dram_row_stride=256, address=4096),
        make(Opcode.MATMUL, columns=40, column_stride=1, step_x=1, width=40, used_rows=256,
             channel_blocks=passes, channel_stride=40, accumulator_column_stride=1,
             used_columns=200),
        make(Opcode.HALT),
    ]  # fmt: skip
    dram = rng.integers(0, 256, 1 << 20, dtype=np.uint8)
    dram[4096 : 4096 + (passes << 16)] |= 0x70  # near the extremes
    code = np.frombuffer(isa.assemble(program), np.uint8)
    rows = rng.choice(np.array([-128, 127], np.int8), (2048, 256))
    for compiled in (library.load(), library.load(extra=interpreters.FLOAT)):
        native = NativeSimulator(config, 1 << 20, compiled)
        oracle = FunctionalSimulator(config, 1 << 20)
        for engine in (native, oracle):
            engine.dram[:], engine.scratchpad[:] = dram, rows
            engine.write(0, code)
            engine.run(0, len(program))
        np.testing.assert_array_equal(native.accumulators, oracle.accumulators)
        assert native.counters == oracle.counters and not native.declined


def test_a_program_may_store_over_itself():
    """The oracle reads each instruction when its turn comes."""
    loads = make(Opcode.LOAD, address=1024, rows=16, row_bytes=N, dram_row_stride=N, row_stride=1)
    program = [
        loads,
        make(Opcode.STORE, address=128, rows=16, row_bytes=N, dram_row_stride=N, row_stride=1),
        make(Opcode.FENCE),
        make(Opcode.HALT),
    ]
    for replaced, code in ((make(Opcode.HALT), None), (make(Opcode.STORE, wait=1), Error.WATCHDOG)):
        for engine in (NativeSimulator(TINY, 4096), FunctionalSimulator(TINY, 4096)):
            engine.write(0, np.frombuffer(isa.assemble(program), np.uint8))
            engine.write(1024, np.frombuffer(isa.encode(replaced), np.uint8))
            if code is None:
                assert engine.run(0, 4).counters["instructions"] == 3
                continue
            with pytest.raises(TpuError, match="instruction 2") as stopped:
                engine.run(0, 4)
            assert stopped.value.code is code


def test_rows_that_wrap_around_are_left_to_the_oracle():
    """A stride of half the address space, in a scratchpad that is the address space."""
    config = TpuConfig.parse(f"tiny,scratchpad_rows={isa.ROW_SPAN}")
    program = [
        make(Opcode.LOAD, rows=4, row_bytes=N, dram_row_stride=N, base=isa.ROW_SPAN - 2,
             row_stride=1, address=1024),
        make(Opcode.HALT),
    ]  # fmt: skip
    engines = NativeSimulator(config, 4096), FunctionalSimulator(config, 4096)
    for engine in engines:
        engine.write(0, np.frombuffer(isa.assemble(program), np.uint8))
        engine.write(1024, np.arange(4 * N, dtype=np.uint8))
        assert engine.run(0, 2).counters["instructions"] == 2
    assert engines[0].declined == 1
    np.testing.assert_array_equal(engines[0].scratchpad, engines[1].scratchpad)
    assert engines[0].scratchpad[1, 0] == 3 * N


def test_a_step_goes_on_where_a_run_ended(rng):
    """Observers step through some programs by the oracle, on the same state."""
    engine = NativeSimulator(TINY, 4096)
    rows = make(Opcode.LOAD, memory=Memory.WEIGHTS, rows=2 * N + 1, row_bytes=N, dram_row_stride=N)
    once = make(Opcode.MATMUL, signal=4)
    engine.write(0, np.frombuffer(isa.assemble([rows, once, make(Opcode.HALT)]), np.uint8))
    engine.write(256, rng.integers(0, 256, 256, dtype=np.uint8))
    engine.run(0, 3)
    assert len(engine.weights) == N + 1 and engine.semaphores[2] == 1
    engine.step(make(Opcode.MATMUL, wait=4, keep=1))
    engine.step(make(Opcode.MATMUL))
    assert len(engine.weights) == 1


def test_without_a_compiler_the_oracle_runs_and_says_so_once(rng, monkeypatch):
    tool = toolchain.Tool("c++", None, None, "", "no g++ on PATH", "sudo apt-get install g++")

    def missing(*_):
        raise toolchain.ToolMissing(tool)

    monkeypatch.setattr(library, "load", missing)
    simulator._library.cache_clear()
    program, x, expected = matmul_program(rng)
    try:
        for times in range(2):
            engine = NativeSimulator(TINY)
            load(engine, program)
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                outputs, _ = execute(engine, program, {"x": x})
            np.testing.assert_array_equal(outputs["y"], expected)
            assert len(said) == (times == 0)
        assert not said
    finally:
        simulator._library.cache_clear()
