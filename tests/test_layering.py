"""Enforces "Rooms and who may know whom": an import against the arrows is an error.

The table below is the one in the design notes. Imports inside functions and under
`TYPE_CHECKING` count like any other; a circle hidden in a function is still a circle.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("hw", "sim", "sw", "fpga", "systolica", "tests", "bench", "docs", "examples")

_CORE_FACTS = ("hw.tpu.isa", "hw.tpu.config", "hw.tpu.program", "hw.tpu.numerics")

# Room: what else of ours its files may import (itself is always allowed). The longest room that
# holds a file decides.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "hw.tpu": (),
    "sim": ("hw.tpu",),
    "hw.tb": ("hw.tpu", "sim"),
    "fpga": ("hw.tpu", "sim"),
    "sw.graph": ("hw.tpu.numerics",),
    "sw.compiler": ("sw.graph", *_CORE_FACTS),
    "sw.runtime": ("sw",),
    "sw.runtime.devices": ("sw", "sim", "fpga", *_CORE_FACTS, "hw.tpu.registers"),
    "sw.runtime.timeline": ("sw", "sim.trace", "sim.attribution", *_CORE_FACTS),
    "sw.runtime.plots": ("sw", "sim.attribution", *_CORE_FACTS),
    "sw.runtime.profiling": (
        "sw",
        "sim.attribution",
        "sim.hazards",
        "sim.memory",
        "sim.trace",
        *_CORE_FACTS,
    ),
    "sw.onnx_backend": ("sw",),
    "sw.cli": OURS,
    "sw.commands": OURS,
    "sw.demo": OURS,
    "sw.doctor": ("sim.rtl.toolchain",),
    "systolica": OURS,
}
# The facts of the core are data: software imports them without pulling hardware in.
PURE = ("isa", "config", "numerics", "registers", "program")
HARDWARE_NAMES = ("Module", "Elaboratable", "Component")


def inside(module: str, room: str) -> bool:
    """Whether dotted name `module` is `room` or lies in it."""
    return module == room or module.startswith(room + ".")


def imports(source: str, module: str, *, package: bool = False) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of everything `source` imports; `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                kept = len(parts) - node.level + (1 if package else 0)
                base = ".".join([*parts[:kept], *([base] if base else [])])
            for alias in node.names:
                yield f"{base}.{alias.name}", node.lineno
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("__import__", "import_module", "importlib.import_module")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value), node.lineno


def violations(source: str, module: str, *, package: bool = False) -> list[str]:
    """What `source`, standing at dotted name `module`, may not import; empty when all is well."""
    found = []
    room = max((r for r in MAY_IMPORT if inside(module, r)), key=len, default=None)
    for name, line in imports(source, module, package=package):
        if name.split(".")[0] in OURS and room is not None:
            allowed = (room, *MAY_IMPORT[room])
            if not any(inside(name, a) for a in allowed):
                found.append(f"{module}:{line}: {room} may not import {name}")
        if module in [f"hw.tpu.{p}" for p in PURE] and name.startswith("amaranth."):
            # isa.py describes bits with lib.data and lib.enum; logic would make it hardware.
            if name.split(".")[-1] in HARDWARE_NAMES or inside(name, "amaranth.lib.wiring"):
                found.append(f"{module}:{line}: facts of the core may not import {name}")
    return found


def python_files() -> list[Path]:
    rooms = [ROOT / top for top in ("hw", "sim", "sw", "fpga")]
    return sorted(p for room in rooms for p in room.rglob("*.py")) + [
        p for p in [ROOT / "systolica.py"] if p.exists()
    ]


def test_every_import_follows_the_arrows() -> None:
    found = []
    for path in python_files():
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if package else parts)
        found += violations(path.read_text(), module, package=package)
    assert not found, "\n".join(found)


def test_every_file_stands_in_a_room() -> None:
    """A new top-level corner of `sw` or `hw` needs a row in the table first."""
    homeless = []
    for path in python_files():
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if path.name != "__init__.py" and not any(inside(name, room) for room in MAY_IMPORT):
            homeless.append(name)
    assert not homeless


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hw.tpu.array", "import sim.memory"),
        ("hw.tpu.isa", "from amaranth.hdl import Module"),
        ("hw.tpu.config", "import amaranth.lib.wiring"),
        ("sim.functional", "def f():\n    from sw.graph import ops"),
        ("hw.tb.bench_x", "from sw import graph"),
        ("sw.graph.ops.nn", "from hw.tpu import isa"),
        ("sw.graph.ops.nn", "import importlib\nimportlib.import_module('sw.runtime')"),
        ("sw.graph.tensor", "from ..runtime import session"),
        ("sw.compiler.tile", "from hw.tpu.core import Core"),
        ("sw.runtime.session", "from sim.rtl.model import RtlModel"),
        ("fpga.soc", "from sw.compiler import passes"),
    ],
)
def test_checker_sees_a_violation(module: str, source: str) -> None:
    assert violations(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hw.tpu.isa", "from amaranth.lib import data, enum"),
        ("hw.tpu.core", "from amaranth.hdl import Module\nfrom hw.tpu.isa import Opcode"),
        ("sw.graph.ops.nn", "from hw.tpu import numerics\nfrom hw.tpu.numerics import requantise"),
        ("sw.compiler.emit", "from hw.tpu.program import TpuProgram"),
        ("sw.runtime.devices.tpu", "from sim.rtl.model import RtlModel"),
        ("sw.graph.tensor", "from . import shapes\nimport numpy"),
    ],
)
def test_checker_lets_the_arrows_pass(module: str, source: str) -> None:
    assert not violations(source, module)
