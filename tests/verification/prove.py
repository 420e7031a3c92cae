"""`make prove`: every property proven, reached, and shown to fail on a bug planted for it.

python -m tests.verification.prove --jobs 2 --only semaphores --json proofs.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from tests.verification.formal import (
    bursts,
    control,
    deadlock,
    dispatcher,
    packer,
    queue,
    read_arbiter,
    read_queue,
    rows,
    segments,
    semaphores,
    unpacker,
    weights,
    write_queue,
)
from tests.verification.formal.harness import Subject, describe
from tests.verification.formal.sby import Task, Verdict, run

SUBJECTS: tuple[Subject, ...] = tuple(
    module.SUBJECT
    for module in (
        queue,
        semaphores,
        dispatcher,
        deadlock,
        control,
        segments,
        bursts,
        read_queue,
        read_arbiter,
        unpacker,
        rows,
        packer,
        write_queue,
        weights,
    )
)
TRACES = Path("build/traces")


@dataclass
class Result:
    """What became of one subject: a `Verdict` each of proof, cover and every planted bug."""

    subject: Subject
    proof: Verdict
    cover: Verdict
    seeds: dict[str, Verdict] = field(default_factory=dict)

    @property
    def proven(self) -> bool:
        return self.proof.status == "PASS"

    @property
    def reached(self) -> bool:
        return self.cover.status == "PASS"

    def caught(self, name: str) -> bool:
        seed = self.seeds[name]
        return seed.status == "FAIL" and seed.failed == {name}

    @property
    def failures(self) -> list[str]:
        """What is wrong, one line each."""
        name, lines = self.subject.name, []
        if not self.proven:
            broken = ", ".join(sorted(self.proof.failed)) or "no property named"
            lines.append(
                f"{name}: proof ended with {self.proof.status} ({broken}); traces in {TRACES}"
            )
        if not self.reached:
            lines.append(f"{name}: a property is never put to the test:\n{self.cover.log[-600:]}")
        for each in self.seeds:
            if not self.caught(each):
                planted = self.subject.properties[each].seed
                lines.append(f"{name}.{each}: the bug `{planted}` goes unnoticed")
        return lines

    @property
    def seconds(self) -> float:
        return sum(v.seconds for v in (self.proof, self.cover, *self.seeds.values()))


def reach(subject: Subject) -> str:
    """How far a proof of `subject` reaches."""
    if subject.induction:
        return f"always (k = {subject.induction})"
    return f"{subject.bounded} cycles from reset"


def prove(
    subjects: Iterable[Subject], seeds: int | None = None, jobs: int = 1, progress: bool = True
) -> Iterator[Result]:
    """The result of each subject; with `seeds`, only so many planted bugs of each."""
    subjects = list(subjects)
    with (
        ThreadPoolExecutor(jobs) as pool,
        Progress(console=Console(stderr=True), disable=not progress, transient=True) as bar,
    ):
        runs: list[tuple[Subject, Future, Future, dict[str, Future]]] = []
        total = 0
        for subject in subjects:
            names = list(subject.properties)[:seeds]
            whole = describe(subject)
            depth = subject.induction or subject.bounded
            mode = "prove" if subject.induction else "bmc"
            # only the tools run side by side: bugs are planted in this process
            runs.append(
                (
                    subject,
                    pool.submit(run, Task(whole, mode, depth), keep=TRACES / subject.name),
                    pool.submit(run, Task(whole, "cover", subject.horizon)),
                    {
                        name: pool.submit(
                            run, Task(describe(subject, only=name), "bmc", subject.horizon)
                        )
                        for name in names
                    },
                )
            )
            total += len(names)
        task = bar.add_task("prove", total=total)
        for subject, proof, cover, planted in runs:
            result = Result(subject, proof.result(), cover.result())
            for name, future in planted.items():
                result.seeds[name] = future.result()
                bar.advance(task)
            yield result


def table(result: Result) -> str:
    """One line for each property."""
    subject = result.subject
    lines = [f"{subject.name}: {subject.unit}; {reach(subject)}, {result.seconds:.0f} CPU s"]
    for name, item in subject.properties.items():
        proven = "proven" if result.proven else "OPEN  "
        reached = "reached" if result.reached else "UNSEEN "
        caught = ""
        if name in result.seeds:
            caught = "bug caught" if result.caught(name) else "BUG MISSED"
        lines.append(f"  {proven} {reached} {caught:<10}  {item.says}")
    return "\n".join(lines)


def summary(results: list[Result]) -> str:
    """The figures, and every failure."""
    count = sum(len(r.subject.properties) for r in results)
    proven = [r for r in results if r.proven and r.reached]
    unbounded = sum(len(r.subject.properties) for r in proven if r.subject.induction)
    bounded = sum(len(r.subject.properties) for r in proven if not r.subject.induction)
    seeds = sum(len(r.seeds) for r in results)
    caught = sum(r.caught(name) for r in results for name in r.seeds)
    lines = [failure for r in results for failure in r.failures]
    lines.append(
        f"{count} properties of {len(results)} units: {unbounded} proven without bound, {bounded} "
        f"to a depth; {caught} of {seeds} planted bugs caught; "
        f"{sum(r.seconds for r in results):.0f} CPU s when not cached"
    )
    return "\n".join(lines)


def page() -> str:
    """The table of properties, Markdown."""
    lines = [
        "# Properties",
        "",
        "Generated from `tests/verification/formal` by `make docs`; do not edit. `make prove` "
        "proves each, shows that it is reached, and that it catches the bug beside it.",
    ]
    for subject in SUBJECTS:
        lines += ["", f"## {subject.unit}", "", f"Holds: {reach(subject)}.", ""]
        lines += ["| property | planted bug that it catches |", "| --- | --- |"]
        for item in subject.properties.values():
            bug = str(item.seed).replace("|", "\\|")
            lines.append(f"| {item.says} | `{bug}` |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="prove the properties of the core's units")
    known = [subject.name for subject in SUBJECTS]
    parser.add_argument("--only", choices=known, nargs="+", default=known, help="these units")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs side by side")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    results = []
    for result in prove([s for s in SUBJECTS if s.name in options.only], jobs=options.jobs):
        print(table(result), flush=True)
        results.append(result)
    print(summary(results))
    if options.json:
        figures = {
            r.subject.name: {
                "reach": reach(r.subject),
                "proven": r.proven,
                "reached": r.reached,
                "properties": {name: r.caught(name) for name in r.seeds},
                "cpu_seconds": round(r.seconds, 1),
            }
            for r in results
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if any(r.failures for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
