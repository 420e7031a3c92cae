"""Both interpreters against plain NumPy: breaks if a meaning drifts from `isa.py`."""

import numpy as np
import pytest

from hw.tpu import isa, numerics
from hw.tpu.config import PRESETS
from hw.tpu.isa import Convert, Memory, Opcode, make
from hw.tpu.program import Port, ProgramError, TpuProgram
from hw.tpu.registers import Error
from sim.engine import TpuError
from sim.execute import execute, load
from sim.functional import FunctionalSimulator
from sim.native.simulator import NativeSimulator

TINY = PRESETS["tiny"]
N = TINY.array


@pytest.fixture(params=[FunctionalSimulator, NativeSimulator])
def engine(request):
    return request.param(TINY)


def parameter_bytes(bias, scale):
    """Bias and scale `[N]` as the eight byte planes that LOAD brings."""
    words = np.stack([np.asarray(bias, "<i4").view("<u4"), np.asarray(scale, "<f4").view("<u4")])
    return np.ascontiguousarray(words.view(np.uint8).reshape(2, -1, 4).transpose(0, 2, 1)).ravel()


def matmul_program(rng, rows=10):
    """x[rows, 2N] @ w[2N, N] requantised, in one program; returns it with its NumPy answer."""
    weights = rng.integers(-128, 128, (2 * N, N), dtype=np.int8)
    bias = rng.integers(-1000, 1000, N, dtype=np.int32)
    scale = rng.uniform(0.001, 0.01, N).astype(np.float32)
    constants = np.concatenate([weights.view(np.uint8).ravel(), parameter_bytes(bias, scale)])
    x_at, y_at = 1024, 2048
    program = TpuProgram.link(
        TINY,
        (
            make(Opcode.LOAD, address=x_at, rows=2 * rows, row_bytes=N, dram_row_stride=N,
                 row_stride=1, memory=Memory.SCRATCHPAD),
            make(Opcode.LOAD, address=0, rows=2 * N, row_bytes=N, dram_row_stride=N,
                 memory=Memory.WEIGHTS),
            make(Opcode.LOAD, address=2 * N * N, rows=8, row_bytes=N, dram_row_stride=N,
                 row_stride=1, memory=Memory.PARAMETERS, signal=1),
            make(Opcode.MATMUL, wait=1, signal=2, columns=rows, column_stride=1, width=rows,
                 step_x=1, channel_blocks=2, channel_stride=rows, accumulator_column_stride=1,
                 used_rows=N, used_columns=N),
            make(Opcode.VECTOR, wait=2, signal=4, convert=Convert.REQUANTISE, columns=rows,
                 column_stride=1, width=rows, step_x=1, destination=100,
                 destination_column_stride=1, zero_point=3, low=-100, high=127),
            make(Opcode.STORE, wait=4, address=y_at, rows=rows, row_bytes=N, dram_row_stride=N,
                 base=100, row_stride=1),
            make(Opcode.HALT),
        ),
        constants,
        dram_bytes=4096,
        inputs=(Port("x", x_at, (rows, 2 * N)),),
        outputs=(Port("y", y_at, (rows, N)),),
        tags={0: "matmul"},
    )  # fmt: skip
    x = rng.integers(-128, 128, (rows, 2 * N), dtype=np.int8)
    accumulator = x.astype(np.int64) @ weights.astype(np.int64) + bias
    expected = np.clip(numerics.requantise(accumulator, scale, 3), -100, 127)
    return program, x, expected


def test_a_matmul_equals_numpy_integers(rng, engine):
    program, x, expected = matmul_program(rng)
    load(engine, program)
    outputs, result = execute(engine, program, {"x": x})
    np.testing.assert_array_equal(outputs["y"], expected)
    assert result.counters["useful_macs"] == 10 * 2 * N * N


def test_program_files_survive_a_round_trip_and_no_flipped_bit(rng, engine, tmp_path):
    program, x, expected = matmul_program(rng)
    program.save(tmp_path / "p.tpu")
    again = TpuProgram.load(tmp_path / "p.tpu")
    assert again.instructions == program.instructions
    assert again.disassemble() == program.disassemble()
    load(engine, again)
    np.testing.assert_array_equal(execute(engine, again, {"x": x})[0]["y"], expected)
    raw = bytearray((tmp_path / "p.tpu").read_bytes())
    for position in rng.integers(0, len(raw), 200):
        damaged = raw.copy()
        damaged[position] ^= 1 << int(rng.integers(8))
        (tmp_path / "bad.tpu").write_bytes(damaged)
        with pytest.raises(ProgramError, match="bad.tpu"):
            TpuProgram.load(tmp_path / "bad.tpu")


def test_a_program_for_another_config_is_refused(rng):
    program, _, _ = matmul_program(rng)
    with pytest.raises(ProgramError, match="engine is default"):
        load(FunctionalSimulator(PRESETS["default"]), program)


@pytest.mark.parametrize(
    ("instruction", "code"),
    [
        (make(Opcode.MATMUL, accumulator=1000), Error.ACCUMULATOR_RANGE),
        (make(Opcode.VECTOR, convert=1, base=5000), Error.ACCUMULATOR_RANGE),
        (make(Opcode.VECTOR, convert=1, parameters=99), Error.PARAMETER_RANGE),
        (make(Opcode.VECTOR, convert=1, destination=99999), Error.SCRATCHPAD_RANGE),
        (make(Opcode.LOAD, address=1 << 30), Error.DRAM_RANGE),
        (make(Opcode.LOAD, row_bytes=N + 1), Error.ILLEGAL_OPERAND),
        (make(Opcode.STORE, wait=8), Error.WATCHDOG),
        (make(Opcode.MATMUL, keep=1), Error.ILLEGAL_OPERAND),
        (make(Opcode.VECTOR, convert=1, add=1, second_parameters=99), Error.PARAMETER_RANGE),
        (make(Opcode.VECTOR, convert=1, add=1, second=99999), Error.SCRATCHPAD_RANGE),
        (make(Opcode.VECTOR, convert=1, table=1, table_number=15), Error.PARAMETER_RANGE),
        (make(Opcode.VECTOR, source=1, convert=1, reduce=3, weights=600), Error.PARAMETER_RANGE),
        (make(Opcode.LOAD, memory=Memory.LANES, base=600), Error.PARAMETER_RANGE),
    ],
)
def test_bad_instructions_name_themselves_and_leave_the_engine_usable(
    rng, engine, instruction, code
):
    words = np.frombuffer(isa.assemble([make(Opcode.FENCE), instruction]), np.uint8)
    engine.write(0, words)
    with pytest.raises(TpuError, match="instruction 1") as caught:
        engine.run(0, 2)
    assert caught.value.code is code
    program, x, expected = matmul_program(rng)
    load(engine, program)
    np.testing.assert_array_equal(execute(engine, program, {"x": x})[0]["y"], expected)


def test_missing_halt_and_garbage_words(engine):
    with pytest.raises(TpuError, match="illegal"):
        engine.run(0, 1)
    engine.write(0, np.frombuffer(isa.assemble([make(Opcode.FENCE)]), np.uint8))
    with pytest.raises(TpuError, match="without HALT"):
        engine.run(0, 1)
