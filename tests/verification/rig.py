"""The Verilated core and the oracle side by side: same DRAM in, everything observable compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from hw.tpu import isa
from hw.tpu.config import TpuConfig
from hw.tpu.isa import Convert, Instruction, Memory, Opcode, make
from hw.tpu.registers import ADDRESS, Control, Error, Status
from sim.engine import TpuError
from sim.functional import FunctionalSimulator, StepError
from sim.hazards import accesses
from sim.memory import MemoryTiming
from sim.rtl.engine import RtlSimulator
from sim.rtl.verilog import Verilog
from tests.verification.generator import DRAM_BYTES, Program, noise
from tests.verification.lockstep import Streams, follow
from tests.verification.operands import Placed, defaults
from tests.verification.witness import witnessed

HALT = make(Opcode.HALT)
MOST_CYCLES = 2_000_000
"""No program here takes so long: it hangs."""
WATCHDOG = 2500
BLOCK = 64
"""Rows that are dumped together."""
MARGIN = 1 << 14
"""Largest base of DRAM on the bus, and as much behind its end."""


def _made(opcode: Opcode, **values: int) -> Instruction:
    """`isa.make` without its checks; the oracle repeats them."""
    return Instruction(opcode, defaults(opcode) | values)


@dataclass(frozen=True)
class Outcome:
    """How a run ended; `code` NONE is done, `hung` is neither done nor stopped."""

    code: Error
    position: int = 0
    tag: int = 0
    detail: int = 0
    cycles: int = 0
    hung: bool = False

    def __str__(self) -> str:
        if self.hung:
            return f"still running after {self.cycles} cycles"
        if self.code is Error.NONE:
            return "done"
        return f"{self.code.name} at {self.position}, tag {self.tag}, detail {self.detail:#x}"


class Rig:
    """One core with its oracle. DRAM is what programs see, then room for dumps.

    A `watched` core has a port that shows what it writes, for comparison per instruction;
    `design` stands in for it, unwatched. The memory on its bus has at least `dram_bytes`.
    """

    def __init__(
        self,
        config: TpuConfig,
        design: Verilog | None = None,
        coverage: bool = False,
        dram_bytes: int = 0,
        watched: bool = True,
        skip_idle: bool = True,
    ) -> None:
        self.config = config
        self.watched = watched and design is None
        rows = config.scratchpad_rows + 4 * config.accumulator_total_rows
        self.total = DRAM_BYTES + -(-(rows * config.array + 8192) // 4096) * 4096
        self.rtl = RtlSimulator(
            config,
            max(dram_bytes, self.total + 2 * MARGIN),
            progress=False,
            watchdog=WATCHDOG,
            design=witnessed(config) if self.watched else design,
            coverage=coverage,
            skip_idle=skip_idle,
        )
        self.model = self.rtl.model
        self.oracle = FunctionalSimulator(config, self.total)
        self.base = 0
        self.undefined = False
        self.wash()

    def close(self) -> None:
        self.rtl.close()

    @property
    def dram(self) -> NDArray[np.uint8]:
        """The core's DRAM from offset 0 on."""
        return self.model.dram[self.base : self.base + self.total]

    def dram_from(self, offset: int) -> NDArray[np.uint8]:
        """The core's DRAM from `offset` to the end of the memory, beyond what the rig uses too."""
        return self.model.dram[self.base + offset :]

    def set(self, name: str, value: int) -> None:
        self.model.write_register(ADDRESS[name], value)

    def get(self, name: str) -> int:
        return self.model.read_register(ADDRESS[name])

    def place(self, image: NDArray[np.uint8], base: int = 0) -> None:
        """Put `image` at DRAM offset 0 of both, DRAM beginning at bus address `base`."""
        if base != self.base:
            self.base = base
            self.set("dram_base", base)
            self.dram[:] = self.oracle.dram
        self.dram[: image.size] = image
        self.oracle.dram[: image.size] = image

    def start(self, entry: int, length: int, dram_bytes: int = DRAM_BYTES) -> None:
        self.set("dram_size", dram_bytes)
        self.set("program", entry)
        self.set("program_length", length)
        self.set("control", Control.START)

    def finish(self, limit: int = MOST_CYCLES) -> Outcome:
        """Wait for the end of a run."""
        stop = self.model.run(limit)
        status = Status(self.get("status"))
        if stop.reason == "limit":
            return Outcome(Error.NONE, cycles=stop.cycles, hung=True)
        if Status.ERROR not in status:
            return Outcome(Error.NONE, cycles=stop.cycles)
        names = ("error", "error_position", "error_tag", "error_detail")
        code, *rest = (self.get(name) for name in names)
        return Outcome(Error(code), *rest, cycles=stop.cycles)

    def run_rtl(self, entry: int, length: int, dram_bytes: int = DRAM_BYTES) -> Outcome:
        self.start(entry, length, dram_bytes)
        return self.finish()

    def run_oracle(self, entry: int, length: int, dram_bytes: int = DRAM_BYTES) -> Outcome:
        """The sequential end; `undefined` says that a scale of REQUANTISE was not a number."""
        self.oracle.dram_bytes = dram_bytes
        self.undefined = False
        try:
            with self._counting_nans():
                self.oracle.run(entry, length)
        except TpuError as error:
            return Outcome(error.code, error.position, error.tag, error.detail)
        finally:
            self.oracle.dram_bytes = self.total
        return Outcome(Error.NONE)

    def _counting_nans(self) -> np.errstate:
        return np.errstate(over="ignore", under="ignore", invalid="call", call=self._not_a_number)

    def _not_a_number(self, kind: str, flag: int) -> None:
        self.undefined = True

    def compare(
        self, program: Program, full: bool = False, dump: bool = True
    ) -> tuple[str, Outcome]:
        """Run a legal program on both; what differs (or "") and how the core ended.

        `dump`: also read back the on-chip rows that it wrote, or, if `full`, all.
        """
        self.model.set_memory(program.timing)
        self.place(program.image, program.base)
        length = len(program.instructions)
        self.model.witnessed()
        found = self.run_rtl(program.entry, length)
        parted = self._follow(program) if self.watched else ""
        if not self.watched and (wanted := self.run_oracle(program.entry, length)).code:
            return f"the oracle stops: {wanted}", found
        if self.undefined:
            return "not a legal program: a scale is not a number", found
        if found.hung or found.code is not Error.NONE:
            return f"the core ends with: {found}", found
        if difference := parted or self.difference("after the program"):
            return difference, found
        for name, count in self.oracle.counters.items():
            if (counted := self.rtl.counter(name)) != count:
                return f"counter {name} is {counted}, the oracle's {count}", found
        return self.dump(None if full else program.bare) if dump or full else "", found

    def _follow(self, program: Program) -> str:
        """Step the oracle through `program` and compare what each instruction wrote."""
        streams = Streams(self.config, self.model.witnessed(), program.base)
        self.oracle.reset()
        self.oracle.dram_bytes, self.undefined = DRAM_BYTES, False
        try:
            with self._counting_nans():
                position, difference = follow(self.oracle, program.instructions, streams)
        except StepError as stop:
            return f"the oracle stops: {stop}"
        finally:
            self.oracle.dram_bytes = self.total
        if not difference:
            return ""
        blamed = (*program.instructions, "after the program")[position]
        return f"instruction {position}, {blamed}: {difference}"

    def recover(self, seed: int = 0) -> None:
        """Reset the core from whatever state it is in, and give both the same state."""
        self.model.clear_faults()
        self.model.reset()
        for name, value in (("watchdog", WATCHDOG), ("dram_base", self.base)):
            self.set(name, value)
        self.dram[:] = self.oracle.dram
        self.wash(seed)

    def stray(self, image: NDArray[np.uint8], program: Iterable[Instruction | None]) -> str:
        """A byte of DRAM that changed though no STORE covers it, or ""."""
        changed = self.dram[: image.size] != image
        for i in program:
            if i is not None and i.opcode is Opcode.STORE:
                rows = accesses(i)[0].rows
                changed[rows[(rows >= 0) & (rows < image.size)]] = False
        at = np.flatnonzero(changed)
        return f"DRAM changed at {int(at[0]):#x}, where nothing stores" if at.size else ""

    def difference(self, when: str) -> str:
        """The first byte of DRAM that differs, or ""."""
        if np.array_equal(self.dram, self.oracle.dram):
            return ""
        at = np.flatnonzero(self.dram != self.oracle.dram)
        first = int(at[0])
        return (
            f"{when}, {at.size} bytes of DRAM differ, first at {first:#x}: "
            f"core {self.dram[first]}, oracle {self.oracle.dram[first]}"
        )

    def dump(self, bare: Iterable[Placed] | None) -> str:
        """Compare on-chip rows that `bare` writes (None: all), stored to DRAM; "" if equal.

        Overwrites the first scratchpad rows, on both alike.
        """
        scratchpad, accumulators = self._written(bare)
        n, at = self.config.array, DRAM_BYTES + 4096
        common = {"row_bytes": n, "dram_row_stride": n, "row_stride": 1}
        program = []
        for first, count in scratchpad:
            program.append(_made(Opcode.STORE, address=at, base=first, rows=count, **common))
            at += count * n
        program.append(_made(Opcode.FENCE))
        for first, count in accumulators:
            program += [
                _made(
                    Opcode.VECTOR,
                    convert=Convert.BYTE,
                    byte=byte,
                    base=first,
                    columns=count,
                    column_stride=1,
                    destination=byte * count,
                    destination_column_stride=1,
                    width=count,
                    step_x=1,
                    high=127,
                    low=-128,
                )
                for byte in range(4)
            ]
            program.append(_made(Opcode.FENCE))
            program.append(_made(Opcode.STORE, address=at, rows=4 * count, **common))
            program.append(_made(Opcode.FENCE))
            at += 4 * count * n
        self._run_both(program, "dumping")
        return self.difference("after dumping on-chip rows")

    def _written(self, bare: Iterable[Placed] | None) -> tuple[list, list]:
        """(first, count) of the scratchpad and of the accumulator blocks to dump."""
        sizes = {
            "scratchpad": self.config.scratchpad_rows,
            "accumulators": self.config.accumulator_total_rows,
        }
        if bare is None:
            return tuple([(0, size)] for size in sizes.values())
        found = []
        for memory, size in sizes.items():
            blocks = np.zeros(-(-size // BLOCK), np.bool_)
            for placed in bare:
                for access in placed.accesses:
                    if access.writes and access.memory == memory:
                        blocks[access.rows // BLOCK] = True
            edges = np.flatnonzero(np.diff(np.concatenate([[False], blocks, [False]]).astype(int)))
            found.append([(int(a) * BLOCK, int(b - a) * BLOCK) for a, b in edges.reshape(-1, 2)])
        return tuple(found)

    def wash(self, seed: int = 0) -> None:
        """Give both the same on-chip state, whatever they did before; a legal program itself."""
        rng, config = Random(seed), self.config
        n = config.array
        self.place(noise(rng, DRAM_BYTES), self.base)
        rows = {"row_bytes": n, "dram_row_stride": n, "row_stride": 1}
        span = DRAM_BYTES // 2 // n
        program = [
            make(Opcode.LOAD, base=first, rows=min(span, config.scratchpad_rows - first), **rows)
            for first in range(0, config.scratchpad_rows, span)
        ]
        program += [
            make(Opcode.LOAD, memory=Memory.PARAMETERS, rows=config.parameter_subrows, **rows),
            make(Opcode.LOAD, memory=Memory.LANES, rows=config.lane_rows, **rows),
            make(Opcode.LOAD, memory=Memory.WEIGHTS, rows=n, **rows),
            make(Opcode.FENCE),
            make(
                Opcode.MATMUL,
                columns=config.accumulator_total_rows,
                column_stride=1,
                width=1,
                accumulator_column_stride=1,
                used_rows=n,
                used_columns=n,
            ),
        ]
        self._run_both(program, "washing")

    def _run_both(self, program: Sequence[Instruction], what: str) -> None:
        words = np.frombuffer(b"".join(map(isa.encode, [*program, HALT])), np.uint8)
        for memory in (self.dram, self.oracle.dram):
            memory[DRAM_BYTES : DRAM_BYTES + words.size] = words
        self.model.set_memory(MemoryTiming(latency=2, bytes_per_cycle=64))
        arguments = DRAM_BYTES, len(program) + 1, self.total
        wanted, found = self.run_oracle(*arguments), self.run_rtl(*arguments)
        if wanted.code is not Error.NONE or found.hung or found.code is not Error.NONE:
            raise RuntimeError(f"{what}: the core ends with {found}, the oracle with {wanted}")
