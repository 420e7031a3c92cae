"""Mutants of the semaphores, against counts kept in Python."""

from __future__ import annotations

from random import Random

import numpy as np
from amaranth.hdl import Cat, Mux, Signal

from hw.tpu.isa import SEMAPHORE_MAX, SEMAPHORES, Queue
from hw.tpu.semaphores import Semaphores
from tests.verification.mutants.block import Block, Field

NAMES = [queue.name.lower() for queue in Queue]
INPUTS = [
    Field(f"{what}_{name}", bits)
    for name in NAMES
    for what, bits in (("request", 1), ("mask", SEMAPHORES), ("valid", 1), ("signal", SEMAPHORES))
] + [Field("clear", 1)]
PHASE = 500
"""Cycles from one reset to the next; some semaphores are filled until one overflows."""
CYCLES = 60 * PHASE


def connect(m, unit, given):
    for name in NAMES:
        completed = getattr(unit, f"completed_{name}")
        m.d.comb += [
            getattr(unit, f"request_{name}").eq(given[f"request_{name}"]),
            getattr(unit, f"mask_{name}").eq(given[f"mask_{name}"]),
            completed.valid.eq(given[f"valid_{name}"]),
            completed.signal.eq(given[f"signal_{name}"]),
        ]
    # after an overflow nothing has a meaning until reset
    over = Signal()
    m.d.sync += over.eq((over | unit.overflow.any()) & ~given["clear"])
    grants = Cat(getattr(unit, f"grant_{name}") for name in NAMES)
    return {
        "grants": Mux(over | unit.overflow.any(), 0, grants),
        "overflow": Mux(over, 0, unit.overflow),
    }


def stimulus(rng):
    """Few semaphores at a time, so that queues compete for them."""
    draw = Random(int(rng.integers(1 << 32)))
    found = {field.name: np.zeros(CYCLES, np.int64) for field in INPUTS}
    for cycle in range(CYCLES):
        phase = cycle % PHASE
        found["clear"][cycle] = phase == 0
        if phase == 0:
            filled = draw.sample(range(SEMAPHORES), 5)
            rates = [draw.uniform(0.3, 0.9) for _ in filled]
            filling, drained = draw.randrange(0, 200), draw.sample(filled, 2)
        pool = draw.sample(range(SEMAPHORES), draw.choice((2, 4, 16)))
        for name in NAMES:
            wanted = draw.sample(pool, draw.choice((0, 1, 1, 2)))
            found[f"request_{name}"][cycle] = draw.random() < 0.7
            signalled = set(draw.sample(pool, draw.choice((0, 1, 2))))
            if phase >= filling:
                signalled |= {s for s, r in zip(filled, rates, strict=True) if draw.random() < r}
            else:
                signalled |= {s for s in filled if draw.random() < 0.4}
            if draw.random() < 0.1:
                wanted = drained
            found[f"mask_{name}"][cycle] = sum(1 << s for s in wanted)
            found[f"valid_{name}"][cycle] = draw.random() < 0.8
            found[f"signal_{name}"][cycle] = sum(1 << s for s in signalled)
    return found


def check(stimulus, response):
    counts, over = np.zeros(SEMAPHORES, int), False
    bits = 1 << np.arange(SEMAPHORES)
    for cycle in range(CYCLES):
        overflows = 0 if over else int(bits[counts > SEMAPHORE_MAX].sum())
        over = over or overflows != 0
        grants, spoken, available = 0, 0, int(bits[counts > 0].sum())
        for number, name in enumerate(NAMES):
            mask = int(stimulus[f"mask_{name}"][cycle])
            if stimulus[f"request_{name}"][cycle] and not mask & (~available | spoken):
                grants |= 1 << number
                spoken |= mask
        assert response["overflow"][cycle] == overflows, f"overflow in cycle {cycle}"
        assert response["grants"][cycle] == (0 if over else grants), f"grants in cycle {cycle}"
        for name in NAMES:
            if stimulus[f"valid_{name}"][cycle]:
                counts += (int(stimulus[f"signal_{name}"][cycle]) & bits) != 0
        counts -= (spoken & bits) != 0
        if stimulus["clear"][cycle]:
            counts[:], over = 0, False


BLOCK = Block(
    "semaphores",
    "Semaphores, all 16",
    Semaphores,
    INPUTS,
    connect,
    stimulus,
    check,
    count=400,
    response_bits=96,
)
