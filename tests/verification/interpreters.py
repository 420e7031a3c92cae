"""`make interpreters`: random programs, legal and illegal, in C++ and in NumPy: equal in all.

python -m tests.verification.interpreters -n 5000 --seed 1 --plants
"""

from __future__ import annotations

import argparse
import ctypes
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.progress import Progress

from hw.tpu import isa, numerics
from hw.tpu.config import TpuConfig
from hw.tpu.isa import Opcode, make
from sim.engine import TpuError
from sim.functional import FunctionalSimulator
from sim.native import library
from sim.native.simulator import NativeSimulator
from tests.verification.corruption import corrupt
from tests.verification.cosim import image_of
from tests.verification.generator import DRAM_BYTES, Program, generate

CORES = {
    "tiny": 8, "tiny,array=2": 3, "ulx3s": 3, "default": 3, "large": 2,
    "tiny,array=16,scratchpad_rows=1024": 6, "tiny,array=64,scratchpad_rows=2048": 1,
}  # fmt: skip
"""Cores and the share of the programs that each gets: every width that has a way of its own."""
ILLEGAL = 0.4
MEMORIES = ("dram", "scratchpad", "accumulators", "parameters", "lanes")
FLOAT = ("-DSYSTOLICA_NO_VNNI",)
"""The products that a CPU without AVX-512 VNNI takes."""
PLANTS = (
    ("matmul.h", "position[row].x < x.end", "position[row].x <= x.end"),
    ("matmul.h", "if (i.accumulate || distinct())", "if (true)"),
    ("matmul.h", "std::min(i.used_columns, n_)", "i.used_columns"),
    ("multiply.h", "-= 128 * values", "-= 127 * values"),
    ("vector.h", "sums, int32_t(i.zero_point)", "sums, 0"),
    ("vector.h", "kLanes, int8_t(i.pad)", "kLanes, int8_t(0)"),
    ("vector.h", "i.swap ? theirs : ours", "i.swap ? ours : theirs"),
    ("vector.h", "from[of] >> (8 * i.byte)", "from[of] >> (7 * i.byte)"),
    ("numerics.h", "total = wrap_sum(round_significant(total));", "total = wrap_sum(total);"),
    ("numerics.h", "__builtin_rintf(", "__builtin_floorf(0.5f + "),
    ("transfer.h", "if (fill && i.row_bytes < n)", "if (i.row_bytes < n)"),
    ("interpreter.cpp", "left + given > kSemaphoreMax", "left + given > kSemaphoreMax + 1"),
    ("interpreter.cpp", "left < 0 || ", ""),
)  # fmt: skip
"""Bugs (file, right, wrong), each of which must be noticed; none writes beyond a memory."""


@dataclass
class Pair:
    """Both interpreters of one core; they go through the same programs, with the same memories."""

    config: TpuConfig
    compiled: ctypes.CDLL | None = None
    undefined: bool = False

    def __post_init__(self) -> None:
        self.native = NativeSimulator(self.config, DRAM_BYTES, self.compiled)
        self.oracle = FunctionalSimulator(self.config, DRAM_BYTES)
        rng = np.random.default_rng(7)
        for name in MEMORIES[1:]:
            memory = getattr(self.oracle, name)
            numbers = rng.integers(0, 256, memory.nbytes, dtype=np.uint8)
            memory[:] = numbers.view(memory.dtype).reshape(memory.shape)
        self.agree()

    def agree(self) -> None:
        """Give both the oracle's memories."""
        for name in MEMORIES:
            getattr(self.native, name)[:] = getattr(self.oracle, name)

    def compare(self, image: np.ndarray, entry: int, length: int) -> tuple[str, str]:
        """Run on both; how it ended, and what differs (or "")."""
        self.oracle.dram[:] = self.native.dram[:] = image
        self.undefined = False
        with np.errstate(over="ignore", under="ignore", invalid="call", call=self._not_a_number):
            right = _end(self.oracle, entry, length)
            found = _end(self.native, entry, length)
        if self.undefined:  # a scale is no number, which has no meaning
            self.agree()
            return "undefined", ""
        return right[0], self._difference(right[1], found[1])

    def _difference(self, right: str, found: str) -> str:
        if right != found:
            return f"NumPy: {right}; C++: {found}"
        for name in MEMORIES:
            ours, theirs = getattr(self.native, name), getattr(self.oracle, name)
            if not np.array_equal(ours, theirs):
                where = np.argwhere(ours != theirs)
                first = tuple(int(index) for index in where[0])
                return f"{len(where)} of {name}, first {first}: {ours[first]}, not {theirs[first]}"
        for name in ("counters", "semaphores", "weights", "tile"):
            ours, theirs = getattr(self.native, name), getattr(self.oracle, name)
            if not np.array_equal(np.array(ours), np.array(theirs)):
                return f"{name}: {ours}, not {theirs}"
        return ""

    def _not_a_number(self, kind: str, flag: int) -> None:
        self.undefined = True


def _end(engine: FunctionalSimulator, entry: int, length: int) -> tuple[str, str]:
    """How a run ends, and all that can be told of it."""
    try:
        engine.run(entry, length)
    except TpuError as error:
        where = f"instruction {error.position}, tag {error.tag}, detail {error.detail}"
        return error.code.name, f"{error.code.name}, {where}: {error}"
    return "done", "done"


@dataclass
class Campaign:
    """Counts of a run, and what differed."""

    ends: Counter[str] = field(default_factory=Counter)
    declined: int = 0
    """Instructions of legal programs that C++ left to NumPy."""
    failures: list[str] = field(default_factory=list)

    def summary(self) -> str:
        ends = "\n".join(f"{count:>8}  {end}" for end, count in self.ends.most_common())
        return (
            f"{ends}\n{self.ends.total()} programs, {self.declined} legal instructions declined: "
            f"{len(self.failures)} differences"
        )


def numbers(seed: int, compiled: ctypes.CDLL | None = None) -> list[str]:
    """What random programs seldom meet: ties and extremes of both roundings; differences."""
    pair, rng = Pair(TpuConfig(), compiled), np.random.default_rng(seed)
    side = {"rows": 32, "row_stride": 32, "columns": 32, "column_stride": 1, "step_x": 1,
            "step_y": 1, "height": 32, "width": 32, "destination": 12288, "low": -128, "high": 127,
            "destination_row_stride": 32, "destination_column_stride": 1}  # fmt: skip
    scaled = make(Opcode.VECTOR, convert=1, zero_point=int(rng.integers(-30, 30)), **side)
    wide = side | {"rows": 128, "height": 128, "destination": 8192}
    added = make(Opcode.VECTOR, source=1, add=1, second=4096, second_row_stride=32,
                 second_column_stride=1, second_parameters=1, **wide)  # fmt: skip
    image = np.zeros(DRAM_BYTES, np.uint8)
    code = np.frombuffer(isa.assemble([scaled, added, make(Opcode.HALT)]), np.uint8)
    image[: code.size] = code
    every = np.array(np.meshgrid(np.arange(-128, 128), np.arange(-128, 128)), np.int8)
    failures = []
    for number in range(40):
        exponent = rng.integers(0, 24)
        sums = rng.integers(-(1 << 31), 1 << 31, pair.oracle.accumulators.shape) >> exponent
        power = np.float32(2.0 ** -rng.integers(1, 24))
        scale = power if number % 2 else np.float32(power * rng.uniform(0.5, 1))
        if number % 2:  # odd multiples of half a step
            sums = (2 * (sums % 300 - 150) + 1) * int(0.5 / power)
        pair.oracle.accumulators[:] = numerics.wrap_int32(sums)
        words = np.array([[0] * 16, [scale.view(np.uint32)] * 16], "<u4")
        pair.oracle.parameters[:8] = (
            words.view(np.uint8).reshape(2, 16, 4).swapaxes(1, 2).reshape(8, 16)
        )
        pair.oracle.scratchpad[:8192] = every.reshape(8192, 16)
        pair.oracle.parameters[8:16] = rng.integers(0, 256, (8, 16))
        if number % 4:
            scales = tuple(float(value) for value in rng.uniform(0.05, 0.2, 3))
            zero_points = tuple(int(value) for value in rng.integers(-128, 128, 3))
            packed = numerics.pack_add_constants(numerics.add_constants(scales, zero_points))
            lanes = np.frombuffer(packed, np.uint8).reshape(2, 8)
            pair.oracle.parameters[8:16, :2] = lanes.T
        pair.agree()
        _, difference = pair.compare(image, 0, 3)
        if difference:
            failures.append(f"numbers {number}, scale {scale}: {difference}")
    return failures


def programs(core: str, numbers: range, seed: int) -> Iterator[tuple[Program, bool]]:
    """Programs and whether they are to be corrupted."""
    config = TpuConfig.parse(core)
    for number in numbers:
        program = generate(config, seed * 1_000_000 + number)
        yield program, Random(f"kind {program.seed}").random() < ILLEGAL


def run(
    count: int, seed: int, compiled: ctypes.CDLL | None = None, most: int = 5, progress: bool = True
) -> Campaign:
    """`count` programs over all cores; stops after `most` differences."""
    campaign, total = Campaign(failures=numbers(seed, compiled)), sum(CORES.values())
    if len(campaign.failures) >= most:
        return campaign
    with Progress(console=Console(stderr=True), disable=not progress, transient=True) as bar:
        task = bar.add_task("interpreters", total=count)
        for core, share in CORES.items():
            pair = Pair(TpuConfig.parse(core), compiled)
            for program, illegal in programs(core, range(-(-count * share // total)), seed):
                image, entry, length = program.image, program.entry, len(program.instructions)
                if illegal:
                    found = corrupt(program, Random(program.seed))
                    image, entry, length = image_of(program, found), found.entry, found.length
                end, difference = pair.compare(image, entry, length)
                campaign.ends[end] += 1
                campaign.declined += 0 if illegal else pair.native.declined
                if difference:
                    kind = "corrupted " if illegal else ""
                    campaign.failures.append(f"{difference}\n{kind}{program.listing()}")
                    pair.agree()
                bar.advance(task)
                if len(campaign.failures) >= most:
                    return campaign
    return campaign


def planted(plant: tuple[str, str, str]) -> ctypes.CDLL:
    """The interpreter with a bug; raises as `with_bug`."""
    with TemporaryDirectory() as folder:
        for name, text in with_bug(plant).items():
            (Path(folder) / name).write_text(text)
        return library.load(Path(folder) / library.SOURCE.name)


def with_bug(plant: tuple[str, str, str]) -> dict[str, str]:
    """Its sources by name; `ValueError` if the line to be changed is gone."""
    name, right, wrong = plant
    paths = (*library.SOURCE.parent.glob("*.h"), library.SOURCE)
    sources = {path.name: path.read_text() for path in paths}
    if sources[name].count(right) != 1:
        raise ValueError(f"{name} has no single {right!r}")
    return sources | {name: sources[name].replace(right, wrong)}


def main() -> int:
    parser = argparse.ArgumentParser(description="random programs: C++ against NumPy")
    parser.add_argument("-n", type=int, default=2000, help="programs (2000)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (1)")
    parser.add_argument("--float", action="store_true", help="products in float32, without VNNI")
    parser.add_argument("--plants", action="store_true", help="then plant bugs, each to be noticed")
    options = parser.parse_args()
    begin = time.process_time()
    campaign = run(options.n, options.seed, library.load(extra=FLOAT) if options.float else None)
    for failure in campaign.failures:
        print(failure, end="\n\n")
    print(campaign.summary() + f", {time.process_time() - begin:.1f} CPU-seconds")
    unnoticed = []
    for plant in PLANTS if options.plants else ():
        found = run(4 * options.n, options.seed, planted(plant), most=1)
        noticed = found.failures[0].splitlines()[0] if found.failures else "NOT NOTICED"
        print(f"{plant[0]}: {plant[1]} -> {plant[2]}\n    {noticed[:150]}", flush=True)
        if not found.failures:
            unnoticed.append(plant)
    return 1 if campaign.failures or campaign.declined or unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
