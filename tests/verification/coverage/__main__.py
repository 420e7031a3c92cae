"""`make coverage`: line, branch, expression, toggle and FSM coverage of the core.

python -m tests.verification.coverage -n 600 --seed 1 --output build/coverage
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from tests.verification.coverage import campaign, waivers
from tests.verification.coverage.report import BAR, Report


def main() -> int:
    parser = argparse.ArgumentParser(description="code coverage of the core, as Amaranth has it")
    parser.add_argument("-n", type=int, default=600, help="random programs (600)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (1)")
    parser.add_argument("--bench-seed", type=int, help="of the benches (that of --seed)")
    parser.add_argument("--no-benches", action="store_true", help="the native model alone")
    parser.add_argument("--output", type=Path, default=Path("build/coverage"), help="for pages")
    options = parser.parse_args()
    begin = time.process_time()
    run = campaign.begin()
    cases = [] if options.no_benches else list(campaign.cases())
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("programs", total=options.n)
        campaign.native(run, options.n, options.seed, lambda: bar.advance(task))
        task = bar.add_task("benches", total=len(cases))
        for case in cases:
            campaign.bench(run, case, options.bench_seed or options.seed)
            bar.advance(task)
    counts = run.merged.counts
    waived = waivers.apply(waivers.load(), [point for point in counts if not counts[point]])
    report = Report(counts, waived)
    report.write(options.output, "Coverage of the core")
    for failure in run.failures:
        print(failure, end="\n\n")
    print(report.table(), report.summary(), run.functional.coverage.tables(), sep="\n\n")
    for name, new in run.benches.items():
        print(f"{name}: {new} points that nothing before had covered")
    print(
        f"{time.process_time() - begin:.0f} CPU-seconds of Python and the native model; "
        f"pages in {options.output}; {len(run.failures)} mismatches; "
        f"{'every kind reaches' if report.reached else 'NOT every kind reaches'} {BAR:.0f} %"
    )
    return 0 if report.reached and not run.failures else 1


if __name__ == "__main__":
    sys.exit(main())
