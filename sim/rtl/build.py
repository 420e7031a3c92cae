"""Verilog and the native harness to one shared object, built once and kept by content.

The build runs in a child process: PyVerilator prints freely, and Ctrl-C must be able to stop
compilers that are its grandchildren.
"""

import importlib.metadata
import os
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sim.rtl import array_stand_in, cache, row_writes, toolchain
from sim.rtl.progress import announce
from sim.rtl.verilog import Verilog

HERE = Path(__file__).parent
HARNESS = ("harness.cpp", "axi_memory.h", "array_stand_in.h", "sign_extension.h")
SKIPPING = ("idle_skipping.py", "cxx_statements.py")
# C++20 for the harness; -march=native because the array is wide integer arithmetic.
CXX_FLAGS = f"-std=c++20 -march=native -I{HERE}"
# g++ would share inline functions' statics between all models loaded in one process.
GCC_FLAGS = " -fno-gnu-unique"
VERILATOR_FLAGS = (
    "-O3",
    "--x-assign", "fast",
    "--x-initial", "fast",
    "--noassert",
    "-fno-func-opt-split-cat",  # would tie neighbouring 32-bit sums into pairs of 64 bits
    "-Wno-lint",  # Yosys's output is not written for readers
    "-Wno-style",
    "-LDFLAGS", "-latomic",  # clang leaves std::atomic's questions to that library
)  # fmt: skip
# Counts of lines, branches, terms, bits and covers; wider than any signal, narrower than memories.
COVERAGE_FLAGS = (
    "--coverage-line", "--coverage-expr", "--coverage-toggle", "--coverage-user",
    "--coverage-max-width", "1024", "--assert",
)  # fmt: skip
# -O1 for what runs once; Verilator's own -Os for the runtime would slow wide operations.
MAKE_VARIABLES = {
    "OPT_FAST": "-O3",
    "OPT_SLOW": "-O1",
    "OPT_GLOBAL": "-O3",
    # the PyPI package leaves it empty, and large designs use a precompiled header
    "CFG_CXXFLAGS_PCH_I": "-include",
    "CFG_CXXFLAGS_PCH": "-include sign_extension.h -x c++-header",
}
# A bench spends its time in Python, so compile time counts more than speed.
QUICK_VARIABLES = MAKE_VARIABLES | {
    "OPT_FAST": "-O1",
    "OPT_SLOW": "-O0",
    "OPT_GLOBAL": "-O1",
    "CFG_CXXFLAGS_PCH": "-x c++-header",
}


class BuildError(RuntimeError):
    """Verilator or the C++ compiler failed; the message ends with the log."""


@dataclass(frozen=True)
class SharedObject:
    """A loadable model: `path` of the library and the wave format it can write, if any."""

    path: Path
    waves: str | None


def wave_format() -> str:
    """`"fst"` where Verilator's FST writer compiles on this machine, else `"vcd"`."""
    return "fst" if toolchain.fst_header() else "vcd"


def build(
    verilog: Verilog,
    *,
    waves: bool = False,
    coverage: bool = False,
    stand_in: bool = False,
    skip_idle: bool = True,
) -> SharedObject:
    """The shared object of `verilog` with the harness inside.

    A model with `waves`, with counts for `coverage`, or with a `stand_in` in the place of the
    systolic array is kept apart. Those for waves and coverage evaluate everything in every cycle,
    as one without `skip_idle` does. Raises `ToolMissing` naming the install command, `BuildError`
    with the log. Ctrl-C leaves the cache as it was.
    """
    chosen = wave_format() if waves else None
    skip_idle = skip_idle and not waves and not coverage
    if not coverage:  # which counts what is written
        verilog = Verilog(row_writes.merge(verilog.text), verilog.top)
    if stand_in:
        verilog = Verilog(array_stand_in.substitute(verilog.text), verilog.top)
    compiler = toolchain.require(toolchain.compiler())
    versions = [importlib.metadata.version(name) for name in ("verilator", "pyverilator-mm")]
    ours = [*HARNESS, *(SKIPPING if skip_idle else ())]
    key = cache.content_key(
        [
            verilog.text,
            verilog.top,
            str(chosen),
            *VERILATOR_FLAGS,
            *(COVERAGE_FLAGS if coverage else ()),
            _cxx_flags().replace(str(HERE), ""),
            repr(QUICK_VARIABLES if coverage else MAKE_VARIABLES),
            compiler.version or "",
            toolchain.cpu_identity(),
            *versions,
            *[(HERE / name).read_bytes() for name in ours],
        ]
    )
    entry = cache.get_or_make(
        "models", key, lambda folder: _make(verilog, folder, chosen, coverage, skip_idle)
    )
    return SharedObject(entry / "model.so", chosen)


def _cxx_flags() -> str:
    clang = "clang" in (toolchain.compiler().version or "")
    return CXX_FLAGS + ("" if clang else GCC_FLAGS)


def make_environment(compiler: str, *, optimise: bool = True) -> dict[str, str]:
    """Environment of a Verilated make: tools on PATH, compiler chosen, runtime objects shared.

    Without `optimise`, for short runs, the C++ compiler is asked for -O1 at most.
    """
    wrapper = [sys.executable, "-S", "-E", str(HERE / "objcache.py")]
    variables = {"CXX": compiler, "LINK": compiler, "OBJCACHE": shlex.join(wrapper)}
    variables["PYTHON3"] = sys.executable  # the makefile would call a bare `python`
    variables |= MAKE_VARIABLES if optimise else QUICK_VARIABLES
    if "clang" in (toolchain.compiler().version or ""):
        variables["USER_LDLIBS"] = "-latomic"  # clang leaves __atomic_is_lock_free to it
    # In MAKEFLAGS a blank inside a value is written with a backslash. A surrounding make's own
    # flags (a job server that is not ours) must not leak in.
    quoted = " ".join(f"{k}={v.replace(' ', chr(92) + ' ')}" for k, v in variables.items())
    path = os.pathsep.join([str(toolchain.verilator_bin()), os.environ.get("PATH", "")])
    root = str(toolchain.verilator_bin().parent)
    dropped = ("MAKELEVEL", "MFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {
        "PATH": path,
        "VERILATOR_ROOT": root,
        "MAKEFLAGS": f"-- {quoted}",
        "SYSTOLICA_OBJECTS": str(cache.cache_root() / "objects"),
        "SYSTOLICA_CPU": toolchain.cpu_identity(),
    }


def run_quietly(command: list[str], cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess:
    """Run with captured output in a process group that dies with an exception here."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, "")


def _make(
    verilog: Verilog, folder: Path, waves: str | None, coverage: bool, skip_idle: bool
) -> None:
    """Fill `folder` with model.so and nothing else."""
    compiler = toolchain.require(toolchain.compiler())
    source = folder / f"{verilog.top}.v"
    source.write_text(verilog.text)
    flags = [*VERILATOR_FLAGS, *(COVERAGE_FLAGS if coverage else ())]
    if waves is None:
        # PyVerilator always asks for tracing code: keep it to the top-level pins.
        flags += ["--trace-depth", "1"]
    with announce("building the Verilated model (once for this design)"):
        done = run_quietly(
            [
                sys.executable,
                str(HERE / "pyverilator_build.py"),
                str(source),
                "obj",
                _cxx_flags(),
                str(int(waves == "fst")),
                str(int(skip_idle)),
                str(HERE / "harness.cpp"),
                *flags,
            ],
            folder,
            # what counts coverage is large, and its runs are short
            make_environment(compiler.path or "c++", optimise=not coverage),
        )
    library = folder / "obj" / f"V{verilog.top}"
    if done.returncode != 0 or not library.exists():
        raise BuildError(f"building the Verilated model failed:\n{done.stdout[-6000:]}")
    library.rename(folder / "model.so")
    shutil.rmtree(folder / "obj")
    source.unlink()
