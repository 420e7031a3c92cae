"""Random legal programs, instruction by instruction: what no compiler would write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np
from numpy.typing import NDArray

from hw.tpu import isa
from hw.tpu.config import PARAMETER_SUBROWS, TpuConfig
from hw.tpu.isa import Instruction, Memory, Opcode
from sim.hazards import find_hazards
from sim.liveness import find_lockup
from sim.memory import MemoryTiming
from tests.verification.computations import matmul, vector
from tests.verification.operands import Operands, Placed, defaults, touch
from tests.verification.ordering import Orderer
from tests.verification.transfers import POOL_ENTRIES, Layout, parameters, transfer

DRAM_BYTES = 1 << 16
"""What a program may touch."""
CODE_BYTES = 1 << 13
MOST_INSTRUCTIONS = 26
KINDS = ("load", "parameters", "junk", "lanes", "matmul", "vector", "store", "fence")
WEIGHTS = (22, 10, 3, 7, 24, 30, 18, 4)


@dataclass(frozen=True)
class Program:
    """A program with the DRAM it starts from, the memory's timing and what it was made from."""

    config: TpuConfig
    seed: int
    instructions: tuple[Instruction, ...]
    bare: tuple[Placed, ...]
    """The instructions before semaphores were added, HALT excluded."""
    image: NDArray[np.uint8]
    entry: int
    timing: MemoryTiming
    base: int
    """Bus address of DRAM offset 0."""

    def listing(self) -> str:
        """Disassembly, with what else it takes to repeat the run."""
        lines = [f"# {self.config.name}, seed {self.seed}, {self.timing}, base {self.base:#x}"]
        lines += [f"{number:4d}  {i}" for number, i in enumerate(self.instructions)]
        return "\n".join(lines)


def layout(config: TpuConfig) -> Layout:
    pool = CODE_BYTES
    return Layout(pool, pool + POOL_ENTRIES * PARAMETER_SUBROWS * config.array, DRAM_BYTES)


@lru_cache(maxsize=1)
def _noise() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, 1 << 21, dtype=np.uint8)


def noise(rng: Random, size: int) -> NDArray[np.uint8]:
    """Random bytes, in no time."""
    at = rng.randrange(_noise().size - size)
    return _noise()[at : at + size].copy()


def generate(config: TpuConfig, seed: int) -> Program:
    """The program of a seed: without hazards, without lock-ups."""
    rng = Random(f"{config.name} {seed}")
    for attempt in range(20):
        bare = _compose(config, rng)
        extra = 0.08 if attempt < 10 else 0.0
        if program := finish(config, seed, rng, bare, extra):
            return program
    raise RuntimeError(f"no legal program found for seed {seed}")


def finish(
    config: TpuConfig, seed: int, rng: Random, bare: Sequence[Placed], extra: float = 0.0
) -> Program | None:
    """Semaphores, HALT and DRAM for `bare`; None if it would lock up."""
    ordered = Orderer(config, DRAM_BYTES, rng, extra).run(bare)
    instructions = (*ordered, Instruction(Opcode.HALT, defaults(Opcode.HALT)))
    if find_lockup(instructions, config):
        return None
    if hazards := find_hazards(instructions, config):
        raise AssertionError(f"seed {seed}: {hazards[0]}")
    image = noise(rng, DRAM_BYTES)
    _write_pool(config, rng, image)
    words = np.frombuffer(b"".join(map(isa.encode, instructions)), np.uint8)
    last = (CODE_BYTES - words.size) // isa.INSTRUCTION_BYTES
    entry = isa.INSTRUCTION_BYTES * rng.choice((0, last, rng.randint(0, last)))
    image[entry : entry + words.size] = words
    return Program(
        config,
        seed,
        instructions,
        tuple(bare),
        image,
        entry,
        timing(rng),
        4096 * rng.choice((0, 3)),
    )


def timing(rng: Random) -> MemoryTiming:
    """Fast, slow, narrow, steady or erratic memory."""
    return MemoryTiming(
        latency=rng.choice((1, 2, rng.randint(1, 12), rng.randint(1, 80))),
        bytes_per_cycle=rng.choice((2, 4, 8, 8, 16, 64)),
        jitter=rng.choice((0, 0, 2, 20)),
        seed=rng.randint(1, 1 << 30),
    )


def _write_pool(config: TpuConfig, rng: Random, image: NDArray[np.uint8]) -> None:
    """Entries fit for REQUANTISE: any bias, finite scales, many that keep sums within int8."""
    count = POOL_ENTRIES * config.array
    numbers = np.random.default_rng(rng.getrandbits(32))
    bias = numbers.integers(-(1 << 31), 1 << 31, count) >> numbers.integers(0, 32, count)
    exponent = np.where(
        numbers.random(count) < 0.8,
        numbers.integers(95, 128, count),
        numbers.integers(0, 255, count),
    )
    sign = numbers.random(count) < 0.15
    bits = sign.astype(np.int64) << 31 | exponent << 23 | numbers.integers(0, 1 << 23, count)
    words = np.stack([bias.astype("<i4").view("<u4"), bits.astype("<u4")])
    planes = words.view(np.uint8).reshape(2, POOL_ENTRIES, config.array, 4).transpose(1, 0, 3, 2)
    at = layout(config).pool
    image[at : at + planes.size] = planes.ravel()


def _compose(config: TpuConfig, rng: Random) -> list[Placed]:
    """Instructions without semaphores, weights always loaded before they are used."""
    draw, where, n = Operands(config, rng), layout(config), config.array
    program: list[Placed] = []
    entries: set[int] = set()
    stocked, have_tile = 0, False
    length = rng.choice((1, 3, rng.randint(1, 8), rng.randint(4, MOST_INSTRUCTIONS)))
    prepared = rng.random() < 0.5
    while len(program) < length:
        kind = "parameters" if prepared and not program else rng.choices(KINDS, WEIGHTS)[0]
        if kind == "load":
            program.append(transfer(draw, where, Opcode.LOAD, Memory.SCRATCHPAD))
        elif kind == "store":
            program.append(transfer(draw, where, Opcode.STORE, Memory.SCRATCHPAD))
        elif kind == "parameters":
            placed, fit = parameters(draw, where)
            program.append(placed)
            entries |= fit
        elif kind == "junk":
            placed = transfer(draw, where, Opcode.LOAD, Memory.PARAMETERS)
            program.append(placed)
            entries -= {int(row) // PARAMETER_SUBROWS for row in placed.accesses[1].rows}
        elif kind == "lanes":
            program.append(transfer(draw, where, Opcode.LOAD, Memory.LANES))
        elif kind == "vector":
            program.append(vector(draw, entries))
        elif kind == "fence":
            program.append(Placed(Instruction(Opcode.FENCE, defaults(Opcode.FENCE)), []))
        elif kind == "matmul":
            placed = matmul(draw, 2 * config.weight_tiles, have_tile)
            i = placed.instruction
            passes = i.channel_blocks * i.kernel_rows * i.kernel_columns - i.keep
            ahead = rng.choice((0, 0, 0, rng.randint(0, config.weight_tiles * n)))
            while stocked < passes * n + ahead:
                weights = _weights(draw, where, passes * n + ahead - stocked)
                stocked += weights.instruction.rows * weights.instruction.lines
                program.append(weights)
            stocked -= passes * n
            have_tile = True
            program.append(placed)
    return program


def _weights(draw: Operands, where: Layout, most: int) -> Placed:
    """A LOAD of at most `most` rows of weights, half of the time all of them at once."""
    placed = transfer(draw, where, Opcode.LOAD, Memory.WEIGHTS)
    values = dict(placed.instruction.values)
    n = draw.config.array
    if draw.rng.random() < 0.5 and most * n < where.end - where.data:
        values |= {"lines": 1, "rows": most, "row_bytes": n, "lane": 0, "dram_row_stride": n}
        values["address"] = draw.rng.randint(where.data, where.end - most * n)
    else:
        values["lines"] = max(1, min(values["lines"], most))
        values["rows"] = max(1, min(values["rows"], most // values["lines"]))
    return Placed(Instruction(Opcode.LOAD, values), touch(Opcode.LOAD, values))
