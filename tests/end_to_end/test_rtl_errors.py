"""What stops the Verilated core says why and where, like the oracle, and the next program runs."""

import numpy as np
import pytest

from hw.tpu import isa
from hw.tpu.config import PRESETS
from hw.tpu.isa import Convert, Memory, Opcode, make
from hw.tpu.registers import Error
from sim.engine import TpuError
from sim.execute import execute, load
from sim.functional import FunctionalSimulator
from sim.rtl.engine import RtlSimulator
from tests.sim.test_functional import matmul_program

TINY = PRESETS["tiny"]
N = TINY.array
DRAM_BYTES = 1 << 20
PROGRAM_AT = 1 << 16


@pytest.fixture(scope="module")
def engine():
    rtl = RtlSimulator(TINY, DRAM_BYTES, watchdog=3000)
    yield rtl
    rtl.close()


def run_words(engine, words):
    words = np.frombuffer(words, np.uint8)
    engine.write(PROGRAM_AT, words)
    return engine.run(PROGRAM_AT, len(words) // isa.INSTRUCTION_BYTES)


def check_usable(engine, rng):
    program, x, expected = matmul_program(rng)
    load(engine, program)
    np.testing.assert_array_equal(execute(engine, program, {"x": x})[0]["y"], expected)


BAD = {
    "accumulator": (make(Opcode.MATMUL, accumulator=999), Error.ACCUMULATOR_RANGE),
    "matmul source": (make(Opcode.MATMUL, source=99_999), Error.SCRATCHPAD_RANGE),
    "vector source": (make(Opcode.VECTOR, convert=1, base=5000), Error.ACCUMULATOR_RANGE),
    "parameters": (make(Opcode.VECTOR, convert=1, parameters=99), Error.PARAMETER_RANGE),
    "destination": (make(Opcode.VECTOR, convert=1, destination=9999), Error.SCRATCHPAD_RANGE),
    "load address": (make(Opcode.LOAD, address=1 << 30), Error.DRAM_RANGE),
    "load row": (make(Opcode.LOAD, base=9999), Error.SCRATCHPAD_RANGE),
    "load parameters": (
        make(Opcode.LOAD, base=9999, memory=Memory.PARAMETERS),
        Error.PARAMETER_RANGE,
    ),
    "lanes": (make(Opcode.LOAD, row_bytes=N + 1), Error.ILLEGAL_OPERAND),
    "store address": (make(Opcode.STORE, address=DRAM_BYTES), Error.DRAM_RANGE),
    "store row": (make(Opcode.STORE, base=9999), Error.SCRATCHPAD_RANGE),
    "second operand": (make(Opcode.VECTOR, convert=1, add=1, second=9999), Error.SCRATCHPAD_RANGE),
    "table": (make(Opcode.VECTOR, convert=1, table=1, table_number=15), Error.PARAMETER_RANGE),
    "deadlock": (make(Opcode.STORE, wait=8), Error.WATCHDOG),
    "no weights": (make(Opcode.MATMUL, channel_blocks=2), Error.WATCHDOG),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_instruction_is_named_and_the_next_program_runs(engine, rng, name):
    bad, code = BAD[name]
    bad = make(bad.opcode, **{**bad.values, "tag": 77})
    tile = make(Opcode.LOAD, rows=N, row_bytes=N, dram_row_stride=N, memory=Memory.WEIGHTS)
    words = isa.assemble([tile, bad, make(Opcode.HALT)])
    reports = []
    for each in (FunctionalSimulator(TINY, DRAM_BYTES), engine):
        with pytest.raises(TpuError) as caught:
            run_words(each, words)
        reports.append(caught.value)
    oracle, rtl = reports
    assert rtl.code is code
    # an oracle's deadlock is the instruction that waits; hardware may only know what it fetched
    if code is not Error.WATCHDOG or bad.wait:
        assert (rtl.position, rtl.tag) == (1, 77)
        assert (oracle.code, oracle.position, oracle.tag) == (rtl.code, 1, 77)
    check_usable(engine, rng)


@pytest.mark.parametrize("byte", range(0, isa.INSTRUCTION_BYTES, 7))
def test_garbage_words_stop_the_core(engine, rng, byte):
    word = bytearray(isa.encode(make(Opcode.FENCE)))
    word[byte] ^= 0x80
    for each in (FunctionalSimulator(TINY, DRAM_BYTES), engine):
        try:
            isa.decode(bytes(word))
        except isa.IsaError:
            with pytest.raises(TpuError) as caught:
                run_words(each, bytes(word) + isa.encode(make(Opcode.HALT)))
            assert (caught.value.code, caught.value.position) == (Error.ILLEGAL_INSTRUCTION, 0)
    check_usable(engine, rng)


def test_a_program_without_halt_is_an_error(engine, rng):
    with pytest.raises(TpuError, match="without HALT") as caught:
        run_words(engine, isa.assemble([make(Opcode.FENCE)]))
    assert caught.value.position == 1
    check_usable(engine, rng)


@pytest.mark.parametrize("response", ["SLVERR", "DECERR"])
@pytest.mark.parametrize(
    ("write", "position", "code"), [(False, 1, Error.READ_BUS), (True, 2, Error.WRITE_BUS)]
)
def test_a_bus_error_names_instruction_and_address(engine, rng, response, write, position, code):
    row = {"row_bytes": N, "dram_row_stride": N, "row_stride": 1, "rows": 8}
    words = isa.assemble(
        [
            make(Opcode.FENCE),
            make(Opcode.LOAD, address=4096, signal=1, tag=5, **row),
            make(Opcode.STORE, address=8192, wait=1, tag=5, **row),
            make(Opcode.HALT),
        ]
    )
    first = 8192 if write else 4096
    engine.model.add_fault(first, first + 7, write=write, response=response)
    try:
        with pytest.raises(TpuError) as caught:
            run_words(engine, words)
    finally:
        engine.model.clear_faults()
    error = caught.value
    assert (error.code, error.position, error.tag) == (code, position, 5)
    assert first <= error.detail < first + 8 * N
    check_usable(engine, rng)


def test_a_fetch_that_fails_on_the_bus_is_an_error(engine, rng):
    engine.model.add_fault(PROGRAM_AT, PROGRAM_AT + 7, write=False, response="SLVERR")
    try:
        with pytest.raises(TpuError) as caught:
            run_words(engine, isa.assemble([make(Opcode.HALT)]))
    finally:
        engine.model.clear_faults()
    assert caught.value.code is Error.READ_BUS
    check_usable(engine, rng)


def test_semaphores_that_count_too_far_stop_the_core(engine, rng):
    store = make(Opcode.VECTOR, convert=Convert.REQUANTISE, signal=1)
    with pytest.raises(TpuError) as caught:
        run_words(engine, isa.assemble([store] * 300 + [make(Opcode.HALT)]))
    assert caught.value.code is Error.SEMAPHORE_OVERFLOW
    check_usable(engine, rng)


def test_an_interrupted_run_leaves_the_engine_usable(engine, rng, monkeypatch):
    run = engine.model.run

    def interrupted(cycles):
        run(40)
        raise KeyboardInterrupt

    program, x, _ = matmul_program(rng)
    load(engine, program)
    with monkeypatch.context() as patch:
        patch.setattr(engine.model, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            execute(engine, program, {"x": x})
    check_usable(engine, rng)
