"""Which exceptions are answers to the user, and their one line; any other is a bug of ours."""

from __future__ import annotations

from hw.tpu.config import ConfigError
from hw.tpu.isa import IsaError
from hw.tpu.program import ProgramError
from sim.engine import TpuError
from sim.rtl.build import BuildError
from sim.rtl.model import AxiViolation
from sim.rtl.toolchain import ToolMissing
from sim.rtl.verilog import ConversionError
from sw.commands.answer import CommandError
from sw.compiler.tpu.layers import CompileError
from sw.graph.errors import OpError

EXPECTED = (
    CommandError,
    ConfigError,
    IsaError,
    ProgramError,
    CompileError,
    OpError,
    TpuError,
    AxiViolation,
    ToolMissing,
    ConversionError,
    BuildError,
)


def explain(error: BaseException) -> str | None:
    """What to print after "error: ", or None for what nobody foresaw.

    One line, except for the log of a failed build.
    """
    if isinstance(error, (BuildError, ConversionError)):
        return str(error)
    if isinstance(error, EXPECTED):
        return " ".join(str(error).split())
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}"
    return None
