"""Attribution of cycles: break if a plot or timeline would blame the wrong operation."""

import numpy as np

from hw.tpu.config import PRESETS
from hw.tpu.isa import Opcode, Queue, make
from hw.tpu.program import TpuProgram
from hw.tpu.trace import ArrayState
from sim.attribution import NO_TAG, Cause, attribute
from sim.trace import Span, Trace, decode

CONFIG = PRESETS["tiny"]


def program(*instructions):
    return TpuProgram.link(
        CONFIG, instructions, np.zeros(0, np.uint8), 0,
        inputs=(), outputs=(), tags={1: "first", 2: "second"},
    )  # fmt: skip


def test_every_cycle_has_an_owner_and_a_cause():
    made = program(
        make(Opcode.LOAD, tag=1, signal=1, row_bytes=4),
        make(Opcode.MATMUL, tag=1, wait=1, signal=2, columns=8, used_rows=4, used_columns=4),
        make(Opcode.VECTOR, tag=2, wait=2, signal=4, convert=1, high=1),
        make(Opcode.MATMUL, tag=2, wait=4, columns=5, used_rows=2, used_columns=3),
        make(Opcode.HALT),
    )
    trace = Trace(
        spans=(
            Span(Queue.LOAD, 0, 2, 10),
            Span(Queue.MATMUL, 0, 12, 30),
            Span(Queue.VECTOR, 0, 31, 40),
            Span(Queue.MATMUL, 1, 42, 60),
        ),
        array=(
            (0, ArrayState.IDLE),
            (5, ArrayState.WAITING_FOR_SEMAPHORE),
            (13, ArrayState.WAITING_FOR_WEIGHTS),
            (15, ArrayState.STREAMING),
            (23, ArrayState.WAITING_FOR_SEMAPHORE),
            (43, ArrayState.STREAMING),
            (48, ArrayState.IDLE),
        ),
        end=70,
    )
    owners = attribute(trace, made)
    assert owners.edges[0] == 0 and owners.edges[-1] == owners.lengths.sum() == 70
    assert owners.by_tag() == {
        1: {Cause.LOAD: 13, Cause.WEIGHTS: 2, Cause.STREAMING: 8},
        2: {Cause.VECTOR: 20, Cause.STREAMING: 5},
        NO_TAG: {Cause.OTHER: 22},
    }
    assert owners.macs.sum() == 8 * 4 * 4 + 5 * 2 * 3


def test_counts_of_the_run_before_are_no_instructions():
    """A second run on an engine begins with the first one's counts on the trace port."""
    events = np.zeros((4, 4), np.uint64)
    events[:, 0] = [100, 103, 105, 109]
    events[:, 1] = [40_000 | 40_000 << 16, 0, 1, 1 | 1 << 16]  # load: started, done
    trace = decode(events)
    assert trace.spans == (Span(Queue.LOAD, 0, 5, 9),)
    assert trace.end == 9


def test_a_run_without_a_matmul():
    made = program(make(Opcode.LOAD, tag=1, row_bytes=4), make(Opcode.HALT))
    owners = attribute(Trace((Span(Queue.LOAD, 0, 3, 9),), (), 12), made)
    assert owners.by_tag() == {1: {Cause.LOAD: 12}}


def test_an_empty_trace():
    owners = attribute(Trace((), (), 0), program(make(Opcode.HALT)))
    assert owners.by_tag() == {}
