"""`make cosim`: random programs, legal and illegal, on the Verilated core and the oracle.

python -m tests.verification.cosim -n 10000 --seed 1 --json cosim.json
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random

import numpy as np
from rich.console import Console
from rich.progress import Progress

from hw.tpu.config import PRESETS
from hw.tpu.registers import Error
from tests.verification.corruption import Corrupted, corrupt
from tests.verification.coverage.functional import Coverage
from tests.verification.generator import DRAM_BYTES, Program, generate
from tests.verification.rig import WATCHDOG, Outcome, Rig
from tests.verification.shrink import shrink
from tests.verification.verdict import Verdict, judge

RATIO = {"tiny": 180, "ulx3s": 9, "default": 9, "large": 2}
"""Programs of each preset: small memories give the same cases at a fraction of the cost."""
CORES = [name for name in PRESETS if name != "tpu_v1"]  # not built as RTL
ILLEGAL = 0.25
"""Share of the programs that are corrupted."""
DUMP = 8
"""After so many programs the rows that were written are also read back from the core."""
AUDIT = 64
"""After so many, every row."""
CHUNK = {"tiny": 1000, "ulx3s": 200, "default": 200, "large": 60}
"""Programs that one process runs in a row, some ten seconds."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells expect."""
LINES = 20
"""Of progress, where there is no terminal for a bar."""
MOST_FAILURES = 5


@dataclass
class Campaign:
    """Counts of a run, and what failed."""

    programs: Counter[str] = field(default_factory=Counter)
    instructions: int = 0
    cycles: int = 0
    cpu_seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)
    interrupted: bool = False

    def merge(self, other: Campaign) -> None:
        """Add what another one counted."""
        self.programs += other.programs
        self.instructions += other.instructions
        self.cycles += other.cycles
        self.cpu_seconds += other.cpu_seconds
        self.failures += other.failures
        self.coverage.instructions += other.coverage.instructions
        self.coverage.ends += other.coverage.ends

    def summary(self) -> str:
        cpu_seconds = self.cpu_seconds
        total = sum(self.programs.values())
        kinds = ", ".join(f"{count} {name}" for name, count in sorted(self.programs.items()))
        return (
            f"{self.coverage.tables()}\n\n{self.coverage.summary()}\n"
            f"{total} programs ({kinds}), {self.instructions} instructions, "
            f"{self.cycles} cycles of the core in {cpu_seconds:.1f} CPU-seconds "
            f"({total / max(cpu_seconds, 1e-9):.0f} programs/s): {len(self.failures)} mismatches"
            + (", interrupted" if self.interrupted else "")
        )


def image_of(program: Program, found: Corrupted) -> np.ndarray:
    """DRAM with the corrupted words in place, as far as they lie in it."""
    image = program.image.copy()
    words = np.frombuffer(b"".join(found.words), np.uint8)
    image[found.entry : found.entry + words.size] = words[: max(0, DRAM_BYTES - found.entry)]
    return image


def run_legal(
    rig: Rig, program: Program, campaign: Campaign, full: bool = False, dump: bool = True
) -> None:
    difference, outcome = rig.compare(program, full, dump)
    campaign.instructions += len(program.instructions)
    campaign.cycles += outcome.cycles
    campaign.coverage.add(program.instructions, program.config, program.timing)
    if not difference:
        return

    def fails(candidate: Program) -> str:
        rig.recover()
        difference = rig.compare(candidate)[0]
        return "" if rig.undefined else difference

    shortest, note = shrink(program, fails)
    rig.recover()
    campaign.failures.append(
        f"legal program: {difference}\n{program.listing()}\n"
        + (
            f"# shrunk: {note}\n{shortest.listing()}"
            if note
            else "# agrees after a wash: it takes what earlier programs left behind"
        )
    )


def run_illegal(rig: Rig, program: Program, campaign: Campaign) -> None:
    """One corrupted stream; then everything on chip is written afresh and compared."""
    found = corrupt(program, Random(program.seed))
    image = image_of(program, found)
    rig.model.set_memory(program.timing)
    rig.place(image, program.base)
    oracle = rig.run_oracle(found.entry, found.length)
    verdict = judge(program.config, found, DRAM_BYTES, oracle)
    verdict.defined &= not rig.undefined
    outcome = rig.run_rtl(found.entry, found.length)
    campaign.instructions += found.length
    campaign.cycles += outcome.cycles
    blamed = None
    if outcome.code is not Error.NONE and outcome.position < len(found.decoded):
        blamed = found.decoded[outcome.position]
    campaign.coverage.end(blamed, outcome.code.name, program.config, program.timing)
    note = _complaint(rig, verdict, outcome, image, found)
    if outcome.hung:
        rig.recover()
    elif not note:
        if not verdict.defined:
            rig.wash(program.seed)
        if after := rig.dump(None):
            note = f"the program after it goes wrong: {after}"
    if note:
        lines = [f"{number:4d}  {i}" for number, i in enumerate(found.decoded)]
        campaign.failures.append(
            f"illegal stream ({found.kind}): {note}\n{program.listing()}\n# became\n"
            + "\n".join(lines)
        )
        rig.recover()


def _complaint(
    rig: Rig, verdict: Verdict, outcome: Outcome, image: np.ndarray, found: Corrupted
) -> str:
    if not verdict.accepts(outcome):
        return f"the core ends with {outcome}, right would be {verdict}"
    if verdict.defined:
        return rig.difference("after the program")
    if stray := rig.stray(image, found.decoded):
        return stray
    return ""


def run_chunk(
    name: str,
    seed: int,
    numbers: range,
    illegal: float,
    advance: Callable[[], object],
    watched: bool = True,
) -> Campaign:
    """Programs `numbers` of a preset; stops early after `MOST_FAILURES` mismatches."""
    begin, campaign = time.process_time(), Campaign()
    rig = Rig(PRESETS[name], watched=watched)
    for number in numbers:
        program = generate(PRESETS[name], seed * 1_000_000 + number)
        if Random(f"kind {program.seed}").random() < illegal:
            run_illegal(rig, program, campaign)
            campaign.programs[f"{name} illegal"] += 1
        else:
            run_legal(rig, program, campaign, number % AUDIT == 0, number % DUMP == 0)
            campaign.programs[f"{name} legal"] += 1
        advance()
        if len(campaign.failures) >= MOST_FAILURES:
            break
    rig.close()
    campaign.cpu_seconds = time.process_time() - begin
    return campaign


@dataclass(frozen=True)
class Chunk:
    """Arguments of `run_chunk`, for another process."""

    preset: str
    seed: int
    numbers: range
    illegal: float

    def run(self) -> Campaign:
        return run_chunk(self.preset, self.seed, self.numbers, self.illegal, int)


def chunks(count: int, seed: int, ratio: dict[str, int], illegal: float) -> list[Chunk]:
    """`count` programs or a few more, presets mixed from the beginning to the end."""
    placed = []
    for name, share in ratio.items():
        numbers = range(-(-count * share // sum(ratio.values())))
        step = CHUNK[name]
        placed += [
            ((at + step / 2) / len(numbers), Chunk(name, seed, numbers[at : at + step], illegal))
            for at in numbers[::step]
        ]
    return [chunk for _, chunk in sorted(placed, key=lambda each: each[0])]


def _leave_interrupts_alone() -> None:
    """Ctrl-C is for the process that has the figures."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _results(work: list[Chunk], jobs: int) -> Iterator[Campaign]:
    """Of each chunk, in any order."""
    if jobs == 1:
        yield from map(Chunk.run, work)
        return
    with get_context("spawn").Pool(jobs, _leave_interrupts_alone) as pool:
        yield from pool.imap_unordered(Chunk.run, work)


def run(
    count: int,
    seed: int,
    ratio: dict[str, int],
    illegal: float = ILLEGAL,
    progress: bool = True,
    jobs: int = 1,
) -> Campaign:
    """`count` programs, on `jobs` processes; no more chunks after `MOST_FAILURES` mismatches.

    After Ctrl-C it gives what the chunks have found that had come to their end.
    """
    campaign, work = Campaign(), chunks(count, seed, ratio, illegal)
    total, said, console = sum(len(chunk.numbers) for chunk in work), 0, Console(stderr=True)
    bar = Progress(console=console, disable=not progress or not console.is_terminal, transient=True)
    begin = time.monotonic()
    with bar:
        task = bar.add_task("cosim", total=total)
        try:
            for found in _results(work, jobs):
                campaign.merge(found)
                done, wrong = campaign.programs.total(), len(campaign.failures)
                bar.update(task, completed=done)
                if progress and bar.disable and done * LINES // total > said:
                    said = done * LINES // total
                    seconds = time.monotonic() - begin
                    message = f"{done} of {total} programs, {wrong} mismatches, {seconds:.0f} s"
                    print(message, file=sys.stderr, flush=True)
                if wrong >= MOST_FAILURES:
                    break
        except KeyboardInterrupt:
            campaign.interrupted = True
    return campaign


def main() -> int:
    parser = argparse.ArgumentParser(description="random programs: RTL against the oracle")
    parser.add_argument("-n", type=int, default=1000, help="programs (1000)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (1)")
    parser.add_argument("--preset", choices=CORES, help="only this core (a mixture)")
    parser.add_argument("--illegal", type=float, default=ILLEGAL, help=f"share ({ILLEGAL})")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    ratio = {options.preset: 1} if options.preset else RATIO
    campaign = run(options.n, options.seed, ratio, options.illegal, jobs=options.jobs)
    for failure in campaign.failures:
        print(failure, end="\n\n")
    print(campaign.summary())
    if options.json:
        figures = {
            "seed": options.seed,
            "programs": dict(campaign.programs),
            "instructions": campaign.instructions,
            "cycles": campaign.cycles,
            "cpu_seconds": round(campaign.cpu_seconds, 1),
            "watchdog": WATCHDOG,
            "interrupted": campaign.interrupted,
            "mismatches": campaign.failures,
            "coverage": campaign.coverage.to_dict(),
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    if campaign.interrupted:
        return INTERRUPTED
    return 1 if campaign.failures else 0


if __name__ == "__main__":
    sys.exit(main())
