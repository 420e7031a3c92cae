"""The model's events as a `Trace`, with the cycles that the RTL engine gives them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hw.tpu.isa import Queue
from hw.tpu.trace import ArrayState
from sim.trace import Span, Trace

FIRST_CYCLE = 3
"""The cycle after START, counted from the write of CONTROL, where the RTL's recording begins."""


def trace(events: NDArray[np.int64]) -> Trace:
    """Events `[events, 2]` are (cycle, what): strobe 2q or 2q + 1 says that queue q has started or
    completed an instruction, 8 + s that the array is in state s from then on."""
    cycles, what = events[:, 0] + FIRST_CYCLE + 1, events[:, 1]
    spans = []
    for queue in Queue:
        begins, ends = (cycles[what == 2 * queue + kind].tolist() for kind in (0, 1))
        spans += [
            Span(queue, number, begin, end)
            for number, (begin, end) in enumerate(zip(begins, ends, strict=False))
        ]
    first = 2 * len(Queue)
    array = ((0, ArrayState.IDLE),) + tuple(
        (int(cycle), ArrayState(int(state) - first))
        for cycle, state in events_of(cycles, what, first)
    )
    return Trace(tuple(spans), array, int(cycles.max(initial=0)))


def events_of(
    cycles: NDArray[np.int64], what: NDArray[np.int64], first: int
) -> list[tuple[int, int]]:
    """(cycle, what) of the events from number `first` on."""
    chosen = what >= first
    return list(zip(cycles[chosen].tolist(), what[chosen].tolist(), strict=True))
