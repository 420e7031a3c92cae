"""`make mutants`: small bugs everywhere in five units; each must be noticed or proven to be none.

python -m tests.verification.mutate --only semaphores --jobs 2 --json mutants.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from tests.verification.mutants import array, load, matmul, requantiser, semaphores
from tests.verification.mutants.block import Block
from tests.verification.mutants.build import Mutants, build, run
from tests.verification.mutants.equivalence import equivalent

BLOCKS: tuple[Block, ...] = tuple(
    module.BLOCK for module in (array, requantiser, matmul, semaphores, load)
)
BAR = 0.95
"""Of the mutants that are not proven equivalent, so many must be killed."""


@dataclass
class Result:
    """Figures of one block; `left` are the mutants neither killed nor proven equivalent."""

    mutants: Mutants
    killed: int
    equivalent: int
    left: list[int]

    @property
    def block(self) -> Block:
        return self.mutants.block

    @property
    def total(self) -> int:
        return len(self.mutants.mutations)

    @property
    def rate(self) -> float:
        return self.killed / (self.total - self.equivalent)

    def line(self) -> str:
        return (
            f"{self.block.name:<20}{self.total:>6}{self.killed:>8}{self.equivalent:>12}"
            f"{len(self.left):>6}{100 * self.rate:>8.1f} %  {self.block.says}"
        )


HEAD = (
    f"{'block':<20}{'all':>6}{'killed':>8}{'equivalent':>12}{'left':>6}{'killed of the rest':>20}"
)


def mutate(
    blocks: Iterable[Block],
    seed: int,
    jobs: int = 1,
    proofs: bool = True,
    progress: bool = True,
) -> Iterator[Result]:
    """The result of each block; AssertionError if a unit as it is differs from the oracle.

    Without `proofs` every survivor is left: a lower bound, at once.
    """
    for block in blocks:
        mutants = build(block)
        stimulus = block.stimulus(np.random.default_rng(seed))
        with tempfile.TemporaryDirectory() as work:
            found = run(mutants, stimulus, Path(work), jobs)
        block.check(stimulus, found.response)
        survivors = [int(number) for number in np.flatnonzero(found.killed < 0) + 1]
        if not proofs:
            yield Result(mutants, len(mutants.mutations) - len(survivors), 0, survivors)
            continue
        same: list[bool] = []
        with (
            ThreadPoolExecutor(jobs) as pool,
            Progress(console=Console(stderr=True), disable=not progress, transient=True) as bar,
        ):
            task = bar.add_task(f"survivors of {block.name}", total=len(survivors))
            for answer in pool.map(lambda number: equivalent(mutants, number), survivors):  # noqa: B023 -- used up within the iteration
                same.append(answer)
                bar.advance(task)
        left = [number for number, is_same in zip(survivors, same, strict=True) if not is_same]
        yield Result(mutants, len(mutants.mutations) - len(survivors), sum(same), left)


def main() -> int:
    parser = argparse.ArgumentParser(description="mutants of the core's units")
    known = [block.name for block in BLOCKS]
    parser.add_argument("--only", choices=known, nargs="+", default=known, help="these blocks")
    parser.add_argument("--seed", type=int, default=1, help="of the stimulus (1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="side by side")
    parser.add_argument("--no-proofs", action="store_true", help="count survivors as not killed")
    parser.add_argument("--left", action="store_true", help="list the mutants that are left")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    print(HEAD)
    results = []
    chosen = [block for block in BLOCKS if block.name in options.only]
    for result in mutate(chosen, options.seed, options.jobs, not options.no_proofs):
        print(result.line(), flush=True)
        for number in result.left if options.left else []:
            print(f"    {number:>4}: {result.mutants.mutations[number - 1]}")
        results.append(result)
    if options.json:
        figures = {
            r.block.name: {
                "mutants": r.total,
                "killed": r.killed,
                "equivalent": r.equivalent,
                "left": [r.mutants.mutations[number - 1] for number in r.left],
            }
            for r in results
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if any(r.rate < BAR for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
