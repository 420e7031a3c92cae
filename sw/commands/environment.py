"""`doctor` and `devices`: what this machine can do."""

from __future__ import annotations

import platform

from rich.table import Table

from hw.tpu.config import TpuConfig
from sim.rtl.toolchain import find_tools
from sw import doctor as tools_doctor
from sw.commands.answer import Answer
from sw.graph.device import parse
from sw.graph.errors import UnimplementedError
from sw.runtime.config import SessionConfig
from sw.runtime.devices.registry import available
from sw.runtime.devices.tpu_engines import engines_of

ENGINES = {
    "functional": "bit-exact, no cycles",
    "timing": "bit-exact, and the cycles of the timing model",
    "rtl": "the core's own Verilog under Verilator: values and cycles",
    "fpga": "a board",
}
"""The engines behind the TPU that a session may ask for."""


def doctor() -> Answer:
    """Every tool with its version, or the command that installs it; not ok if one is needed."""
    tools = tools_doctor.check()
    ok = tools_doctor.healthy(tools)
    return Answer(tools_doctor.as_json(tools), [tools_doctor.table(tools)], ok)


def devices() -> Answer:
    """Each device and engine: available with what it is, or the reason why not."""
    rows = _devices()
    table = Table(box=None, pad_edge=False)
    for heading in ("", "device", "engine", ""):
        table.add_column(heading)
    for row in rows:
        mark = "[green]ok[/]" if row["available"] else "[yellow]no[/]"
        table.add_row(mark, str(row["device"]), str(row["engine"]), str(row["detail"]))
    return Answer({"devices": rows}, [table])


def _devices() -> list[dict[str, object]]:
    kinds = {str(parse(name).kind) for name in available()}
    rows = [_row("cpu:0", "numpy", "", f"every operation, on {platform.machine()}")]
    if "gpu" not in kinds:
        rows.append(_row("gpu:0", "", "no GPU kernels in this version", ""))
    return rows + [_row("tpu:0", name, _why_not(name), what) for name, what in ENGINES.items()]


def _why_not(engine: str) -> str:
    """Why the TPU cannot run on an engine; empty if it can."""
    name = "fpga:port" if engine == "fpga" else engine
    try:
        engines_of(SessionConfig(tpu=name), TpuConfig())
    except UnimplementedError:
        return "no session can use it in this version"
    lacking = [tool for tool in find_tools() if tool.required and not tool.found]
    if engine == "rtl" and lacking:
        return f"{lacking[0].name} is missing; install: {lacking[0].install}"
    return ""


def _row(device: str, engine: str, reason: str, what: str) -> dict[str, object]:
    return {
        "device": device,
        "engine": engine,
        "available": not reason,
        "detail": f"{what} ({reason})" if reason and what else reason or what,
    }
