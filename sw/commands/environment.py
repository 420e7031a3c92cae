"""`doctor` and `devices`: what this machine can do."""

from __future__ import annotations

import importlib.util
import platform

from rich.table import Table

from sim.rtl.toolchain import find_tools
from sw import doctor as tools_doctor
from sw.commands.answer import Answer
from sw.runtime.devices.registry import available


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
    kinds = {name.rpartition("/")[2].partition(":")[0] for name in available()}
    no_tpu = "" if "tpu" in kinds else "the graph's TPU device is missing from this installation"
    lacking = next((tool for tool in find_tools() if tool.required and not tool.found), None)
    no_rtl = f"{lacking.name} is missing; install: {lacking.install}" if lacking else ""
    return [
        _row("cpu:0", "numpy", "", f"every operation, on {platform.machine()}"),
        _row("gpu:0", "torch", _absent("sw.runtime.devices.gpu", "no GPU kernels"), "CUDA kernels"),
        _row("tpu:0", "functional", no_tpu, "bit-exact, no cycles"),
        _row("tpu:0", "timing", _absent("sim.timing", "no timing model"), "cycles without values"),
        _row("tpu:0", "rtl", no_tpu or no_rtl, "the core's own Verilog under Verilator, cycles"),
        _row("tpu:0", "fpga", _absent("fpga.link", "no board support"), "a board over its link"),
    ]


def _row(device: str, engine: str, reason: str, what: str) -> dict[str, object]:
    return {
        "device": device,
        "engine": engine,
        "available": not reason,
        "detail": reason or what,
    }


def _absent(module: str, what: str) -> str:
    """Why a part of ours cannot be used; empty if it is there."""
    parent = module.rpartition(".")[0]
    there = importlib.util.find_spec(parent.partition(".")[0]) is not None
    if there and importlib.util.find_spec(parent) and importlib.util.find_spec(module):
        return ""
    return f"{what} in this version"
