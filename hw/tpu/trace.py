"""What the core shows of itself in every cycle, for timelines: pure data.

The `trace` port counts the instructions that each queue has started and completed (modulo 2**16,
in program order within a queue) and tells what the array does; a recorder that notes every change
can attribute each cycle of the array to an instruction and so to a graph operation.
"""

from __future__ import annotations

import enum

from amaranth.lib import data

from hw.tpu.isa import Queue


class ArrayState(enum.IntEnum):
    """What the array's input does in a cycle."""

    IDLE = 0
    STREAMING = 1
    WAITING_FOR_WEIGHTS = 2
    WAITING_FOR_SEMAPHORE = 3


COUNT_BITS = 16
TRACE = data.StructLayout(
    {f"{queue.name.lower()}_{what}": COUNT_BITS for queue in Queue for what in ("started", "done")}
    | {"array": 2, "unused": 62}
)
"""Three 64-bit words: started and done of load and matmul, of vector and store, array state."""
