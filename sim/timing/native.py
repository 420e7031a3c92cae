"""The compiled timing model: built once per source, compiler and machine, then called."""

from __future__ import annotations

import ctypes
import subprocess
from ctypes import POINTER, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hw.tpu import isa
from hw.tpu.registers import COUNTERS
from sim.rtl import cache as folders
from sim.rtl import toolchain
from sim.timing import layout

HERE = Path(__file__).parent
FLAGS = ["-std=c++17", "-O3", "-march=native", "-Wall", "-shared", "-fPIC", "-fvisibility=hidden"]


class BuildError(RuntimeError):
    """The C++ compiler refused the model; the message holds what it said."""


class Report(ctypes.Structure):
    """Why the core stopped: `registers.Error`, instruction, its tag, the offending address."""

    _fields_ = [(name, c_int64) for name in ("code", "position", "tag", "detail")]
    code: int
    position: int
    tag: int
    detail: int


def unpack(code: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Encoded instructions as the model takes them, `[instructions, layout.WORDS]`."""
    words = np.zeros((code.size // isa.INSTRUCTION_BYTES, layout.WORDS), np.int64)
    source = np.ascontiguousarray(code)
    _library().t_unpack(source.ctypes.data, len(words), words.ctypes.data)
    return words


class Run:
    """One program on the model. `program` is int64 `[instructions, layout.WORDS]`."""

    def __init__(self, sizes: dict[str, int], program: NDArray[np.int64], record: bool) -> None:
        library = _library()
        numbers = np.array(list(sizes.values()), np.int64)
        code = np.ascontiguousarray(program)
        self.report = Report()
        core = library.t_open(numbers.ctypes.data, code.ctypes.data, len(code), int(record))
        try:
            library.t_run(core, ctypes.byref(self.report))
            names = list(COUNTERS)
            self.counters = dict(zip(names, library.t_counters(core)[: len(names)], strict=True))
            count = library.t_event_count(core)
            self.events = np.zeros((0, 2), np.int64)
            if count:
                shape = (count, 2)
                self.events = np.ctypeslib.as_array(library.t_events(core), shape).copy()
        finally:
            library.t_close(core)


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(_build() / "timing.so"))
    for name, result, arguments in (
        ("t_open", c_void_p, [c_void_p, c_void_p, c_int64, c_int]),
        ("t_unpack", None, [c_void_p, c_int64, c_void_p]),
        ("t_run", None, [c_void_p, POINTER(Report)]),
        ("t_counters", POINTER(c_int64), [c_void_p]),
        ("t_event_count", c_int64, [c_void_p]),
        ("t_events", POINTER(c_int64), [c_void_p]),
        ("t_close", None, [c_void_p]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _build() -> Path:
    """The folder that holds `timing.so`; raises `ToolMissing` or `BuildError`."""
    compiler = toolchain.require(toolchain.compiler())
    sources = sorted([*HERE.glob("*.h"), HERE / "core.cpp"])
    generated = layout.header()
    key = folders.content_key(
        [
            generated,
            *FLAGS,
            compiler.version or "",
            toolchain.cpu_identity(),
            *(source.read_bytes() for source in sources),
        ]
    )

    def make(folder: Path) -> None:
        (folder / "instructions.h").write_text(generated)
        done = subprocess.run(
            [compiler.path or "c++", *FLAGS, f"-I{folder}", str(HERE / "core.cpp"),
             "-o", str(folder / "timing.so")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise BuildError(f"building the timing model failed:\n{done.stderr[-6000:]}")

    return folders.get_or_make("timing", key, make)
