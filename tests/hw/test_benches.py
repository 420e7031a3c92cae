"""Runs every bench in `hw/tb`: each `bench_<unit>.py` holds cocotb tests and what they run on.

Either `component()`, a factory without arguments, or `CASES`, a table from a case's name to
(component factory, parameters); see `hw.tb.runner.run_bench`.
"""

import ast
import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from amaranth.hdl import Elaboratable

import hw.tb
from hw.tb.runner import run_bench

FOLDER = Path(hw.tb.__file__).parent
MODULES = sorted(path.stem for path in FOLDER.glob("bench_*.py"))


def cases(module: str) -> dict[str, tuple[Callable[[], Elaboratable], dict[str, object]]]:
    """The bench's own table, or a single case made of its `component`."""
    bench = importlib.import_module(f"hw.tb.{module}")
    return bench.CASES if hasattr(bench, "CASES") else {"default": (bench.component, {})}


BENCHES = [
    pytest.param(module, case, id=f"{module.removeprefix('bench_')}-{case}")
    for module in MODULES
    for case in cases(module)
]


@pytest.mark.parametrize(("module", "case"), BENCHES)
def test_bench(module: str, case: str, seed: int) -> None:
    factory, parameters = cases(module)[case]
    assert run_bench(
        factory, f"hw.tb.{module}", name=f"{module}[{case}]", parameters=parameters, seed=seed
    )


@pytest.mark.parametrize("module", MODULES)
def test_bench_has_tests(module: str) -> None:
    """A bench without `@cocotb.test` would pass by doing nothing."""
    text = (FOLDER / f"{module}.py").read_text()
    names = {ast.unparse(d).split("(")[0] for n in ast.walk(ast.parse(text))
             if isinstance(n, ast.AsyncFunctionDef) for d in n.decorator_list}  # fmt: skip
    assert "cocotb.test" in names
