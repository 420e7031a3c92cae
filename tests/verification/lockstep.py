"""RTL and oracle instruction by instruction: what the core wrote for each against what it should.

The core's queues run concurrently, so the comparison is in program order, not in time: each queue
writes its instructions' rows in order, and the semaphores of a legal program make the outcome that
of sequential execution. Whatever an instruction writes, to any memory on chip or to DRAM, must be
as many rows, the same rows, and the same bytes as in the oracle, which is stepped alongside.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hw.tpu.config import TpuConfig
from hw.tpu.isa import Instruction, Memory, Opcode
from sim.functional import FunctionalSimulator
from sim.hazards import accesses
from tests.verification.coverage.functional import rows as streamed
from tests.verification.witness import FLAGS, writers

LOADS = {
    Memory.SCRATCHPAD: "load_scratchpad",
    Memory.WEIGHTS: "load_weights",
    Memory.PARAMETERS: "load_parameters",
    Memory.LANES: "load_lanes",
}
MEMORIES = {
    "load_scratchpad": "scratchpad",
    "load_parameters": "parameters",
    "load_lanes": "lanes",
    "matmul": "accumulators",
    "vector": "scratchpad",
}
"""The oracle's name of what each writer writes."""

Writes = dict[str, NDArray[np.uint8]]


class Streams:
    """What each writer wrote, in order, from the values of the `witness` port."""

    def __init__(self, config: TpuConfig, witnessed: NDArray[np.uint8], base: int) -> None:
        self.config = config
        flags = witnessed[:, : FLAGS // 8].copy().view(np.uint16)[:, 0]
        self.left: dict[str, Writes] = {}
        at = FLAGS // 8
        for number, (name, parts) in enumerate(writers(config).items()):
            mine = witnessed[(flags >> number & 1).astype(np.bool_)]
            self.left[name] = fields = {}
            for part, bits in parts.items():
                size = -(-bits // 8)
                fields[part] = mine[:, at : at + size]
                at += size
        self.left["store"] = self._bytes(base)

    def take(self, name: str, count: int) -> Writes:
        """The next `count` writes, or as many as there are."""
        fields = self.left[name]
        self.left[name] = {part: values[count:] for part, values in fields.items()}
        return {part: values[:count] for part, values in fields.items()}

    def count(self, name: str) -> int:
        return len(next(iter(self.left[name].values())))

    def _bytes(self, base: int) -> Writes:
        """Every byte written to DRAM: offset and value."""
        bursts, beats = self.left.pop("burst"), self.left.pop("beat")
        word = self.config.bus_bytes
        first = whole(bursts["address"]) // word * word - base
        lengths = whole(bursts["length"]) + 1
        number = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        offsets = (np.repeat(first, lengths) + number * word)[: len(beats["data"])]
        strobes = np.unpackbits(beats["mask"], axis=1, bitorder="little").astype(np.bool_)
        where = (offsets[:, None] + np.arange(word))[strobes[: len(offsets)]]
        return {"offset": where, "data": beats["data"][: len(offsets)][strobes[: len(offsets)]]}


def whole(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Little-endian bytes `[count, size]` as numbers."""
    return values.astype(np.int64) @ (1 << 8 * np.arange(values.shape[1], dtype=np.int64))


def follow(
    oracle: FunctionalSimulator, program: Sequence[Instruction], streams: Streams
) -> tuple[int, str]:
    """Step `oracle` through `program`; the first instruction that differs and how, or "".

    Raises `StepError` where the oracle does.
    """
    for position, i in enumerate(program):
        if difference := _step(oracle, i, streams):
            return position, difference
    for name in streams.left:
        if extra := streams.count(name):
            return len(program), f"{name} writes {extra} rows more than the program has"
    return len(program), ""


def _step(oracle: FunctionalSimulator, i: Instruction, streams: Streams) -> str:
    if i.opcode is Opcode.STORE:
        return _store(oracle, i, streams)
    name = {Opcode.MATMUL: "matmul", Opcode.VECTOR: "vector"}.get(i.opcode, "")
    if i.opcode is Opcode.LOAD:
        name = LOADS[Memory(i.memory)]
    if not name:
        oracle.step(i)
        return ""
    wanted = i.rows * i.columns if i.opcode is Opcode.VECTOR else streamed(i)
    found = streams.take(name, wanted)
    if len(found["data"]) != wanted:
        oracle.step(i)
        return f"writes {len(found['data'])} rows of {wanted}"
    if name == "load_weights":
        before = len(oracle.weights)
        oracle.step(i)
        return _differs(name, np.arange(wanted), found["data"].view(np.int8),
                        np.array(oracle.weights[before:]))  # fmt: skip
    memory = getattr(oracle, MEMORIES[name])
    rows, number = np.unique(whole(found["row"]), return_inverse=True)
    if rows[-1] >= len(memory):
        oracle.step(i)
        return f"writes row {rows[-1]}, beyond the memory"
    now = memory[rows]
    _apply(now, number, found)
    oracle.step(i)
    right = np.unique(next(a.rows for a in accesses(i) if a.writes))
    if not np.array_equal(rows, right):
        odd = np.setxor1d(rows, right)[0]
        return f"row {odd} is written by {'the core' if odd in rows else 'the oracle'} alone"
    return _differs(MEMORIES[name], rows, now, memory[rows])


def _apply(now: NDArray, number: NDArray[np.int64], found: Writes) -> None:
    """Write `found` in order into the rows `now`, `number` being the row of each."""
    values = np.ascontiguousarray(found["data"]).view(now.dtype)
    if "mask" not in found:
        now[number] = values
        return
    lanes = now.shape[1]
    masks = np.unpackbits(found["mask"], axis=1, bitorder="little")[:, :lanes].astype(np.bool_)
    if (masks == masks[0]).all():
        chosen = np.flatnonzero(masks[0])
        now[number[:, None], chosen] = values[:, chosen]
        return
    for at, mask, value in zip(number, masks, values, strict=True):
        now[at, mask] = value[mask]


def _store(oracle: FunctionalSimulator, i: Instruction, streams: Streams) -> str:
    wanted = i.lines * i.rows * i.row_bytes
    found = streams.take("store", wanted)
    oracle.step(i)
    if len(found["data"]) != wanted:
        return f"writes {len(found['data'])} bytes of {wanted}"
    # of equal offsets the last counts: the first of the reversed
    offsets, last = np.unique(found["offset"][::-1], return_index=True)
    right = np.unique(accesses(i)[0].rows)
    if not np.array_equal(offsets, right):
        odd = np.setxor1d(offsets, right)[0]
        return f"byte {odd:#x} is written by {'the core' if odd in offsets else 'the oracle'} alone"
    return _differs("DRAM", offsets, found["data"][::-1][last], oracle.dram[offsets])


def _differs(memory: str, rows: NDArray[np.int64], core: NDArray, oracle: NDArray) -> str:
    if np.array_equal(core, oracle):
        return ""
    at = tuple(axis[0] for axis in np.nonzero(core != oracle))
    lane = f" lane {at[1]}" if len(at) > 1 else ""
    return f"{memory} row {rows[at[0]]}{lane}: core {core[at]}, oracle {oracle[at]}"
