"""The compiled timing model: built once per source, compiler and machine, then called."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hw.tpu.registers import COUNTERS
from sim.cxx import build
from sim.timing import layout

SOURCE = Path(__file__).with_name("core.cpp")


class Report(ctypes.Structure):
    """Why the core stopped: `registers.Error`, instruction, its tag, the offending address."""

    _fields_ = [(name, c_int64) for name in ("code", "position", "tag", "detail")]
    code: int
    position: int
    tag: int
    detail: int


class Run:
    """One program on the model. `program` is int64 `[instructions, formats.WORDS]`."""

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
    library = build.library("timing", SOURCE, layout.headers())
    for name, result, arguments in (
        ("t_open", c_void_p, [c_void_p, c_void_p, c_int64, c_int]),
        ("t_run", None, [c_void_p, POINTER(Report)]),
        ("t_counters", POINTER(c_int64), [c_void_p]),
        ("t_event_count", c_int64, [c_void_p]),
        ("t_events", POINTER(c_int64), [c_void_p]),
        ("t_close", None, [c_void_p]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
