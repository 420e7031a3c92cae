"""`make conformance`: every test of the ONNX standard's own backend suite, on the CPU device.

python -m tests.conformance.onnx_nodes --json conformance.json
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import sys
import time
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner, _normalize_tensor
from rich.console import Console
from rich.progress import track

from sw.onnx_backend import Backend

_RANDOM = "its expected numbers were drawn without a seed that anyone could repeat"
IMPOSSIBLE = {
    "test_bernoulli": _RANDOM,
    "test_bernoulli_expanded": _RANDOM,
    "test_bernoulli_double": _RANDOM,
    "test_bernoulli_double_expanded": _RANDOM,
    "test_bernoulli_seed": _RANDOM,
    "test_bernoulli_seed_expanded": _RANDOM,
    "test_loop16_seq_none": "the suite's own comparison fails for sequences of scalars",
}
"""Node tests that no backend can pass, with the reason."""


@dataclass
class Report:
    """Names that passed, and what happened to the others."""

    passed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many tests ran."""
        return len(self.passed) + len(self.failed)

    @property
    def unexplained(self) -> dict[str, str]:
        """Failures that are not known to be impossible."""
        return {k: v for k, v in self.failed.items() if k not in IMPOSSIBLE}


@functools.cache
def node_tests() -> list[Any]:
    """The suite's node tests; they are made by the package's own code, which warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: list[Any] = load_model_tests(kind="node")
    return found


def stored_tests() -> list[Any]:
    """Its tests that come as files: simple models, and networks' layers from PyTorch."""
    found = []
    for kind in ("simple", "pytorch-converted", "pytorch-operator"):
        for case in load_model_tests(kind=kind):
            model = onnx.load(Path(case.model_dir) / "model.onnx")
            sets = [
                (
                    _values(folder, "input", model.graph.input),
                    _values(folder, "output", model.graph.output),
                )
                for folder in sorted(Path(case.model_dir).glob("test_data_set*"))
            ]
            found.append(replace(case, model=model, data_sets=sets))
    return found


def _values(folder: Path, kind: str, infos: Any) -> list[Any]:
    values: list[Any] = []
    for index in range(len(list(folder.glob(f"{kind}_*.pb")))):
        path = str(folder / f"{kind}_{index}.pb")
        Runner._load_proto(None, path, values, infos[index].type)
    return values


def failure(case: Any) -> str | None:
    """None when the case passes, else why not. As the suite's own runner: dtypes and shapes must
    be equal, values within its tolerances."""
    try:
        prepared = Backend.prepare(case.model, "CPU")
        for given, expected in case.data_sets:
            outputs = prepared.run([_normalize_tensor(v) for v in given])
            references = [_normalize_tensor(v) for v in expected]
            Runner.assert_similar_outputs(references, list(outputs), case.rtol, case.atol)
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return None


def run(cases: list[Any], console: Console | None = None) -> Report:
    """Run them all."""
    report = Report()
    shown = cases if console is None else track(cases, "node tests", console=console)
    for case in shown:
        reason = failure(case)
        if reason is None:
            report.passed.append(case.name)
        else:
            report.failed[case.name] = reason
    return report


def main() -> None:
    """Print passed, total and the rest with reasons; fail below 98 % or for the unexplained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--match", default="", help="only tests whose name this pattern finds")
    parser.add_argument("--json", help="write the report to this file")
    options = parser.parse_args()
    start = time.perf_counter()
    cases = [c for c in node_tests() if re.search(options.match, c.name)]
    report = run(cases, Console(stderr=True))
    seconds = time.perf_counter() - start
    for name, reason in report.failed.items():
        print(f"not passed: {name}: {IMPOSSIBLE.get(name, reason)}")
    share = len(report.passed) / max(report.total, 1)
    print(
        f"onnx {onnx.__version__}: {len(report.passed)} of {report.total} node tests pass "
        f"({share:.1%}) on the CPU device, {seconds:.0f} s"
    )
    if options.json:
        data = {
            "onnx": onnx.__version__,
            "passed": len(report.passed),
            "total": report.total,
            "failed": {k: IMPOSSIBLE.get(k, v) for k, v in report.failed.items()},
        }
        with open(options.json, "w") as file:
            json.dump(data, file, indent=2)
    sys.exit(1 if share < 0.98 and not options.match or report.unexplained else 0)


if __name__ == "__main__":
    main()
