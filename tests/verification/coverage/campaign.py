"""The runs that coverage is counted over: random programs, faults and directed ones on the native
model of the core, then the cocotb bench of every unit."""

from __future__ import annotations

import importlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from amaranth.hdl import Elaboratable

import hw.tb
from hw.tb.runner import run_bench
from hw.tpu.config import PRESETS
from hw.tpu.core import Tpu
from sim.rtl.verilog import Verilog
from tests.verification import cosim
from tests.verification.coverage import directed
from tests.verification.coverage.emit import describe
from tests.verification.coverage.merge import Merged
from tests.verification.coverage.points import Point, Reader
from tests.verification.fault_cases import choose
from tests.verification.generator import generate
from tests.verification.rig import Rig

CONFIG = PRESETS["tiny"]
"""What coverage is counted on: everything is there, and nothing often."""
FAR = 1 << 32
"""DRAM of the native model: all that the bus can address; untouched pages cost nothing."""
LONG = (2040, 4090)
"""FENCEs before a program: its instructions' numbers pass a power of two."""
SKIPPED_BENCHES = ("bench_core", "bench_stream_fifo")
"""The native runs do the same to the core and more; the FIFO is there to check the streams."""


@dataclass
class Campaign:
    """Counts so far, and what went wrong."""

    merged: Merged
    reader: Reader
    failures: list[str] = field(default_factory=list)
    functional: cosim.Campaign = field(default_factory=cosim.Campaign)
    benches: dict[str, int] = field(default_factory=dict)
    """Points that each bench was the first to cover."""


def begin() -> Campaign:
    reader = Reader(describe(Tpu(CONFIG)))
    return Campaign(Merged(reader.origins), reader)


def native(campaign: Campaign, programs: int, seed: int, advance: Callable[[], None]) -> None:
    """Random programs (a quarter illegal, a quarter relocated), then faults and directed runs."""
    rig = Rig(CONFIG, Verilog(campaign.reader.text, "top"), coverage=True, dram_bytes=FAR)
    note = campaign.failures.append
    for number in range(programs):
        program = generate(CONFIG, seed * 1_000_000 + number)
        rng = Random(f"coverage {program.seed}")
        far = rng.randrange(FAR - rig.total >> 12) << 12
        program = replace(program, base=rng.choice((program.base, far)))
        if number % 4 == 0:
            cosim.run_illegal(rig, program, campaign.functional)
        else:
            cosim.run_legal(rig, program, campaign.functional, number % cosim.AUDIT == 1)
        if number % 4 == 1 and (wrong := directed.relocated(rig, program, rng)):
            note(f"{wrong}\n{program.listing()}")
        if number % 8 == 3 and (wrong := directed.endless(rig, program, rng)):
            note(f"{wrong}\n{program.listing()}")
        advance()
    campaign.failures += campaign.functional.failures
    case = choose(rig, seed)
    for wrong in (
        directed.registers(rig),
        directed.bus_errors(rig, case),
        directed.huge(rig),
        directed.dead_channels(rig, case),
        *(directed.long_program(rig, case, length) for length in LONG),
        directed.resets(rig, case, range(0, case.cycles + 20, 17)),
    ):
        if wrong:
            note(wrong)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coverage.dat"
        rig.model.write_coverage(path)
        campaign.merged.add(campaign.reader.points(path.read_text(errors="replace")))
    rig.close()


Case = tuple[str, str, Callable[[], Elaboratable], dict[str, object]]


def cases() -> Iterator[Case]:
    """(module, case, factory, parameters) of every bench of a unit at the size of `CONFIG`."""
    for path in sorted(Path(hw.tb.__file__).parent.glob("bench_*.py")):
        bench = importlib.import_module(f"hw.tb.{path.stem}")
        if path.stem in SKIPPED_BENCHES:
            continue
        table = bench.CASES if hasattr(bench, "CASES") else {"default": (bench.component, {})}
        for name, (factory, parameters) in table.items():
            if parameters.get("config", CONFIG.name) == CONFIG.name:
                yield path.stem, name, factory, parameters


def count_bench(
    module: str, name: str, unit: Elaboratable, parameters: dict[str, object], seed: int
) -> tuple[Counter[Point], dict[str, str]]:
    """Run a bench under coverage: counts of its points, and where its modules are described."""
    reader, counts = Reader(describe(unit)), Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coverage.dat"
        run_bench(
            Verilog(reader.text, "top"),
            f"hw.tb.{module}",
            name=f"{module}[{name}]",
            parameters=parameters,
            seed=seed,
            coverage=path,
        )
        for point, count in reader.points(path.read_text(errors="replace")):
            counts[point] += count
    return counts, reader.origins


def bench(campaign: Campaign, case: Case, seed: int) -> None:
    """Run one bench under coverage and count it for the core."""
    module, name, factory, parameters = case
    counts, origins = count_bench(module, name, factory(), parameters, seed)
    new = campaign.merged.add_bench(counts.items(), origins)
    campaign.benches[f"{module}[{name}]"] = new
