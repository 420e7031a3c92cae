"""The compiled interpreter: its generated headers and its C functions."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_int64, c_void_p
from functools import cache
from pathlib import Path

from hw.tpu import isa, numerics
from hw.tpu.config import PARAMETER_SUBROWS
from sim.cxx import build, formats

SOURCE = Path(__file__).with_name("interpreter.cpp")
FLAGS = ("-fno-math-errno", "-fno-trapping-math")
"""Neither changes a value; both let loops with floats become vectors."""
MACHINE = (
    "array", "scratchpad_rows", "accumulator_rows", "parameter_entries", "parameter_subrows",
    "lane_rows", "dram_bytes", "program", "program_bytes",
    "dram", "scratchpad", "accumulators", "parameters", "lanes", "semaphores", "counters",
)  # fmt: skip
"""int64 members of the C++ `Machine`: sizes, the program's place, addresses of memories."""
COUNTERS = ("instructions", "array_active", "useful_macs")
MOST_ROWS = 1 << 22
"""An instruction of more rows is declined, so that the interpreter's own buffers stay small."""


def headers() -> dict[str, str]:
    """Generated headers by name."""
    constants = {
        "RowBits": isa.ROW_BITS,
        "AccumulatorBits": isa.Matmul.fields["accumulator"].bits,
        "Semaphores": isa.SEMAPHORES,
        "SemaphoreMax": isa.SEMAPHORE_MAX,
        "ParameterSubrows": PARAMETER_SUBROWS,
        "Int8Min": numerics.INT8_MIN,
        "Int8Max": numerics.INT8_MAX,
        "AddFractionBits": numerics.ADD_FRACTION_BITS,
        "AddRatioBits": numerics.ADD_RATIO_BITS,
        "AddSumBits": numerics.ADD_SUM_BITS,
        "MostRows": MOST_ROWS,
    } | {"".join(map(str.title, name.split("_"))): at for at, name in enumerate(COUNTERS)}
    return {
        "formats.h": formats.header("native"),
        "machine_members.h": _file(formats.struct("Machine", MACHINE)),
        "constants.h": _file(
            *(f"constexpr int k{name} = {value};" for name, value in constants.items())
        ),
    }


def _file(*lines: str) -> str:
    return "\n".join(["#pragma once", "#include <cstdint>", "namespace native {", *lines, "}", ""])


@cache
def load(source: Path = SOURCE, extra: Sequence[str] = ()) -> ctypes.CDLL:
    """The interpreter, compiled if need be with `extra` flags; raises as `build.library` does."""
    library = build.library("native", source, headers(), (*FLAGS, *extra))
    for name, result, arguments in (
        ("n_open", c_void_p, [c_void_p]),
        ("n_run", c_int64, [c_void_p, c_void_p, c_void_p, c_int64, c_int64]),
        ("n_waiting", c_int64, [c_void_p]),
        ("n_tile", c_int64, [c_void_p]),
        ("n_get_weights", None, [c_void_p, c_void_p, c_void_p]),
        ("n_set_weights", None, [c_void_p, c_void_p, c_int64, c_void_p, c_int64]),
        ("n_close", None, [c_void_p]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
