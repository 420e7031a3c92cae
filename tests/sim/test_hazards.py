"""The race and lock-up checkers: break if they overlook what would go wrong on the core."""

import pytest

from hw.tpu import isa
from hw.tpu.config import PRESETS, TpuConfig
from hw.tpu.isa import Memory, Opcode, make
from sim.hazards import find_hazards
from sim.liveness import find_lockup
from sw.compiler.tpu.compile import compile_network
from tests.compiler.tpu.random_networks import random_network

TINY = PRESETS["tiny"]
N = TINY.array


def load(base, rows, address=0, **more):
    return make(
        Opcode.LOAD, address=address, rows=rows, row_bytes=N, dram_row_stride=N,
        base=base, row_stride=1, **more,
    )  # fmt: skip


def store(base, rows, address=0, **more):
    return make(
        Opcode.STORE, address=address, rows=rows, row_bytes=N, dram_row_stride=N,
        base=base, row_stride=1, **more,
    )  # fmt: skip


def weights(tiles, **more):
    return make(
        Opcode.LOAD, rows=tiles * N, row_bytes=N, dram_row_stride=N, memory=Memory.WEIGHTS, **more
    )


def copy(base, to, rows, **more):
    """VECTOR from scratchpad to scratchpad."""
    return make(
        Opcode.VECTOR, source=1, base=base, destination=to, columns=rows, width=rows,
        column_stride=1, step_x=1, destination_column_stride=1, low=-128, high=127, **more,
    )  # fmt: skip


def found(*program, config=TINY):
    return [(h.memory, h.first, h.second) for h in find_hazards(program, config)]


def test_raw_war_and_waw_between_queues():
    assert found(load(0, 4), store(3, 2, 1024)) == [("scratchpad", 0, 1)]
    assert found(load(0, 4, signal=1), store(3, 2, 1024, wait=1)) == []
    assert found(load(0, 4), store(4, 2, 1024)) == []
    assert found(store(0, 4, 1024), load(3, 2)) == [("scratchpad", 0, 1)]
    assert found(load(0, 4), copy(50, 0, 3)) == [("scratchpad", 0, 1)]
    assert found(store(0, 4, 1024), load(100, 4, 1028)) == [("dram", 0, 1)]
    assert found(load(100, 4, 1028), store(0, 4, 1024)) == [("dram", 0, 1)]
    assert found(store(0, 4, 1024), load(100, 4, 1040)) == []


def test_what_a_vector_instruction_reads_besides_its_source():
    lanes = load(250, 10, memory=Memory.LANES)
    parameters = load(16, 8, memory=Memory.PARAMETERS)
    assert found(lanes, copy(0, 10, 4)) == []
    assert found(lanes, copy(0, 10, 4, table=1)) == [("lanes", 0, 1)]
    assert found(lanes, copy(0, 10, 4, table=1, table_number=1)) == [("lanes", 0, 1)]
    assert found(load(300, 10, memory=Memory.LANES), copy(0, 10, 4, table=1)) == []
    weighted = {"reduce": 3, "convert": 1, "parameters": 9}
    assert found(lanes, copy(0, 10, 4, weights=249, **weighted)) == []
    assert found(lanes, copy(0, 10, 4, weights=250, **weighted)) == [("lanes", 0, 1)]
    assert found(parameters, copy(0, 10, 4, add=1, second=20, second_parameters=1)) == []
    assert found(parameters, copy(0, 10, 4, add=1, second=20, second_parameters=2)) == [
        ("parameters", 0, 1)
    ]
    second = {"add": 1, "second": 20, "second_column_stride": 1}
    assert found(load(23, 4), copy(0, 10, 4, **second)) == [("scratchpad", 0, 1)]
    assert found(load(24, 4), copy(0, 10, 4, **second)) == []


def test_a_queue_may_race_with_itself():
    assert found(copy(0, 10, 4), copy(10, 20, 4)) == [("scratchpad", 0, 1)]
    assert found(copy(0, 10, 4, signal=1), copy(10, 20, 4, wait=1)) == []
    assert found(load(0, 4), load(2, 4)) == []
    assert found(weights(2), make(Opcode.MATMUL), make(Opcode.MATMUL)) == []


def test_order_through_a_third_queue_and_through_fences():
    chain = load(0, 4, signal=1), copy(0, 10, 4, wait=1, signal=2), store(0, 4, 1024, wait=2)
    assert found(*chain) == []
    assert found(load(0, 4), make(Opcode.FENCE), store(0, 4, 1024)) == []


def test_the_second_wait_takes_the_second_signal():
    first, second = load(0, 4, signal=1), load(4, 4, 16, signal=1)
    assert found(first, second, store(4, 4, 1024, wait=1)) == [("scratchpad", 1, 2)]
    waits = store(0, 4, 1024, wait=1), store(4, 4, 2048, wait=1)
    assert found(first, second, *waits) == []


def test_semaphores_that_mix_queues_or_wait_in_vain_are_reported():
    mixed = load(0, 4, signal=1), copy(10, 20, 4, signal=1)
    assert ("semaphore", 0, 1) in found(*mixed)
    assert ("semaphore", 0, 0) in found(store(0, 4, 1024, wait=1))


def test_missing_weights_are_reported():
    assert found(weights(1), make(Opcode.MATMUL, channel_blocks=2)) == [("weights", 1, 1)]


def test_padding_is_not_read():
    """Rows outside the image take no part, whatever lies there."""
    program = [load(8, 4), weights(1), make(
        Opcode.MATMUL, source=6, columns=4, column_stride=1, width=2, step_x=1,
        accumulator_column_stride=1,
    )]  # fmt: skip
    assert found(*program) == []
    program[0] = load(7, 4)
    assert found(*program) == [("scratchpad", 0, 2)]


def test_nearly_every_wait_of_compiled_programs_matters(seed):
    waits, missed = 0, 0
    for number in range(12):
        network, config, _ = random_network(seed + number, pressed=number % 2 == 0)
        program = compile_network(network, config).instructions
        for position, i in list(enumerate(program))[:: 1 + len(program) // 25]:
            for semaphore in range(isa.SEMAPHORES):
                if i.wait >> semaphore & 1:
                    without = make(i.opcode, **{**i.values, "wait": i.wait & ~(1 << semaphore)})
                    changed = [*program[:position], without, *program[position + 1 :]]
                    waits += 1
                    missed += not find_hazards(changed, config, limit=1)
    assert waits > 100
    assert missed <= 0.05 * waits


@pytest.mark.parametrize("depth", [1, 4])
def test_weights_too_far_ahead_lock_up(depth):
    """More LOADs between blocked weights and their MATMUL than the queue holds."""
    config = TpuConfig.parse(f"tiny,queue_depth={depth}")
    ahead = [weights(config.weight_tiles + 1), *[load(4 * k, 4) for k in range(depth + 1)]]
    matmul = make(Opcode.MATMUL, channel_blocks=config.weight_tiles + 1)
    assert find_lockup([*ahead, matmul], config) == [0]
    assert find_lockup([ahead[0], matmul, *ahead[1:]], config) == []
