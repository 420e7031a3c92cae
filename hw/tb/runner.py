"""Build an Amaranth component under Verilator and run a cocotb test module against it.

Both the Verilog and the built simulation are kept by content, so a second run of the same design
starts at once; Verilator's own runtime objects are shared between all designs.
"""

import importlib.metadata
import json
import os
import shutil
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from pathlib import Path

from amaranth.hdl import Elaboratable
from cocotb_tools import config

from sim.rtl import cache, toolchain
from sim.rtl.build import COVERAGE_FLAGS, BuildError, make_environment, run_quietly
from sim.rtl.progress import announce
from sim.rtl.verilog import Verilog, convert

CHILD = Path(__file__).with_name("cocotb_child.py")
ROOT = Path(__file__).parents[2]
# UNOPTFLAT: the pre-pass sign-extends narrowed sums by assigning parts of a wire; that is no loop
WARNINGS = ("-Wno-lint", "-Wno-style", "-Wno-UNOPTFLAT")
BUILD_FLAGS = ("-O3", "--x-initial", "fast", *WARNINGS, "-CFLAGS", "-std=c++20")
_LOG_TAIL = 6000


def run_bench(
    component: Elaboratable | Callable[[], Elaboratable] | Verilog,
    test_module: str,
    *,
    name: str,
    parameters: Mapping[str, object] | None = None,
    seed: int | None = None,
    waves: Path | None = None,
    coverage: Path | None = None,
) -> int:
    """Run every cocotb test of `test_module` on `component`; the number of tests that passed.

    - `test_module`: import path, such as `"hw.tb.bench_dma"`; `dut` is the top with ports `clk`,
      `rst` and the component's own.
    - `name`: of this case, for messages. Two names with the same design share one build.
    - `parameters`: what the tests need to know of the design; they read it with
      `hw.tb.runner.parameter("array")`. Must be JSON.
    - `seed`: of cocotb's and the streams' random numbers, 2016 unless given; also in `$SEED`.
    - `waves`: folder that receives `dump.vcd` (another, slower build).
    - `coverage`: file that receives the counts, in Verilator's format (another, slower build).

    Raises AssertionError naming the failed tests, with the end of the log; `ToolMissing`,
    `ConversionError` or `BuildError` before that.
    """
    verilog = component if isinstance(component, Verilog) else convert(component)
    simulation = build_bench(verilog, waves=waves is not None, coverage=coverage is not None)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        here = waves if waves is not None else Path(folder)
        here.mkdir(parents=True, exist_ok=True)
        environment = _environment() | {
            "SYSTOLICA_BENCH": json.dumps(dict(parameters or {})),
            "COCOTB_RANDOM_SEED": str(2016 if seed is None else seed),
            "SEED": str(2016 if seed is None else seed),
            "COCOTB_ANSI_OUTPUT": "0",
        }
        results = here / "results.xml"
        results.unlink(missing_ok=True)
        order = {"phase": "test", "build": str(simulation), "module": test_module}
        order |= {"waves": waves is not None, "results": str(results), "here": str(here)}
        done = run_quietly([sys.executable, str(CHILD), json.dumps(order)], here, environment)
        passed, failed = _results(results)
        if coverage is not None and (here / "coverage.dat").exists():
            shutil.move(here / "coverage.dat", coverage)
    if failed or not passed:
        what = ", ".join(failed) or f"no test ran (exit status {done.returncode})"
        raise AssertionError(
            f"bench {name}: failed: {what}; seed {environment['COCOTB_RANDOM_SEED']}\n"
            f"{done.stdout[-_LOG_TAIL:]}"
        )
    return len(passed)


def parameter(name: str) -> object:
    """Inside a bench: the value that `run_bench` was given; KeyError names the parameter."""
    return json.loads(os.environ["SYSTOLICA_BENCH"])[name]


def build_bench(verilog: Verilog, *, waves: bool = False, coverage: bool = False) -> Path:
    """Folder of the simulation built from `verilog`, from the cache when it is there."""
    compiler = toolchain.require(toolchain.compiler())
    versions = [importlib.metadata.version(package) for package in ("verilator", "cocotb")]
    flags = [*BUILD_FLAGS, *(COVERAGE_FLAGS if coverage else ())]
    parts = [verilog.text, verilog.top, *flags, str(waves), *versions]
    key = cache.content_key([*parts, compiler.version or ""])

    def make(folder: Path) -> None:
        (folder / f"{verilog.top}.v").write_text(verilog.text)
        order = {"phase": "build", "build": str(folder), "top": verilog.top, "waves": waves}
        order["flags"] = flags
        with announce("building the bench (once for this design)"):
            done = run_quietly(
                [sys.executable, str(CHILD), json.dumps(order)],
                folder,
                _environment() | make_environment(compiler.path or "c++", optimise=False),
            )
        if done.returncode != 0 or not (folder / verilog.top).exists():
            raise BuildError(f"building the bench failed:\n{done.stdout[-_LOG_TAIL:]}")
        for path in folder.iterdir():
            if path.name not in (verilog.top, f"{verilog.top}.v"):
                path.unlink()

    return cache.get_or_make("benches", key, make)


def _environment() -> dict[str, str]:
    """Benches import from the repository whether or not it is installed, and run with the cocotb
    of this Python environment whichever one built them."""
    additions = {"PYTHONPATH": str(ROOT), "LD_LIBRARY_PATH": str(config.libs_dir)}
    return dict(os.environ) | {
        name: os.pathsep.join(filter(None, (first, os.environ.get(name, ""))))
        for name, first in additions.items()
    }


def _results(path: Path) -> tuple[list[str], list[str]]:
    """Names of passed and failed tests in cocotb's results file; none when there is no file."""
    passed: list[str] = []
    failed: list[str] = []
    if path.exists():
        for case in ElementTree.parse(path).iter("testcase"):
            bad = case.find("failure") is not None or case.find("error") is not None
            if case.find("skipped") is None:
                (failed if bad else passed).append(case.get("name", "?"))
    return passed, failed
