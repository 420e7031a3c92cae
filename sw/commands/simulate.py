"""`simulate` and `disasm`: program files on a simulator, and as a listing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.tpu import numerics
from hw.tpu.config import TpuConfig
from hw.tpu.program import Port, TpuProgram
from sim.attribution import attribute
from sim.engine import Engine, RunResult, TpuError
from sim.execute import Outputs, execute, load
from sim.memory import MemoryTiming
from sim.native.simulator import NativeSimulator
from sim.rtl.build import wave_format
from sim.rtl.engine import RtlSimulator
from sim.timing.simulator import TimingSimulator
from sw.commands.answer import Answer, CommandError, facts
from sw.commands.metrics import metrics, table
from sw.runtime import plots, timeline

PLOT_SUFFIXES = (".png", ".svg", ".pdf")
VERIFIED = ("functional", "rtl")
"""The engines that compute values, and independently of each other."""


@dataclass(frozen=True)
class Options:
    """What to run and how; texts as the user typed them."""

    engine: str = "rtl"
    config: str | None = None
    memory: str = ""
    inputs: tuple[str, ...] = ()
    random: int | None = None
    verify: bool = False


@dataclass(frozen=True)
class Files:
    """What to write, each only if named."""

    output: Path | None = None
    timeline: Path | None = None
    plot: Path | None = None
    waves: Path | None = None

    @property
    def traced(self) -> bool:
        return self.timeline is not None or self.plot is not None


def disasm(path: Path) -> Answer:
    """The listing of a program file."""
    program = TpuProgram.load(path)
    instructions = [
        {"op": program.tags.get(item.tag, ""), "text": str(item)} for item in program.instructions
    ]
    data = {
        "config": program.config.name,
        "fingerprint": program.config.fingerprint,
        "macs": program.macs,
        "dram_bytes": program.dram_bytes,
        "instructions": instructions,
    }
    return Answer(data, [program.disassemble().rstrip("\n")])


def simulate(path: Path, options: Options, files: Files) -> Answer:
    """Run a program file; not ok if `verify` finds a difference."""
    program = TpuProgram.load(path)
    _check(program, options, files)
    inputs = _inputs(program, options)
    engines = {options.engine: None} | dict.fromkeys(VERIFIED if options.verify else ())
    runs = {name: _run(program, name, inputs, options, files) for name in engines}
    outputs, result = runs[options.engine]
    data = metrics(program, result)
    data["outputs"] = _write_outputs(outputs, files.output if options.engine != "timing" else None)
    data["fallback"] = []
    shown: list[Any] = [table(data)]
    ok = True
    if options.verify:
        different = {
            name: int(np.count_nonzero(values != runs["functional"][0][name]))
            for name, values in runs["rtl"][0].items()
        }
        data["mismatches"] = sum(different.values())
        ok = not data["mismatches"]
        where = _first_difference(runs["rtl"][0], runs["functional"][0])
        shown.append(facts([("mismatches", f"{data['mismatches']} {where}".strip())]))
    if files.traced:
        traced = result if result.trace is not None else runs["rtl"][1]
        _write_pictures(program, traced, files, path.name)
    written = {"timeline": files.timeline, "plot": files.plot, "trace": files.waves}
    for kind, file in written.items():
        data[kind] = str(file) if file else None
    shown += [
        f"{kind}: {file}"
        for kind, file in [*data["outputs"].items(), *written.items()]
        if file is not None
    ]
    return Answer(data, shown, ok)


def _check(program: TpuProgram, options: Options, files: Files) -> None:
    if options.config is not None:
        wanted = TpuConfig.parse(options.config)
        if wanted.fingerprint != program.config.fingerprint:
            raise CommandError(
                f"the program is for core {program.config.name} ({program.config.fingerprint}), "
                f"not {wanted.name} ({wanted.fingerprint})"
            )
    if options.engine == "functional" and not options.verify:
        for what, file in (("timeline", files.timeline), ("plot", files.plot)):
            if file:
                raise CommandError(f"--{what} needs --engine timing or rtl: this one has no cycles")
    if options.engine != "rtl" and not options.verify and files.waves:
        raise CommandError(f"--trace needs --engine rtl: the {options.engine} one has no signals")
    if options.engine == "timing" and files.output:
        raise CommandError("--output needs --engine functional or rtl: timing computes no values")
    if files.plot and files.plot.suffix not in PLOT_SUFFIXES:
        raise CommandError(f"--plot {files.plot}: name should end in {', '.join(PLOT_SUFFIXES)}")
    for file in (files.timeline, files.plot, files.waves):
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
    if files.waves and files.waves.suffix != f".{wave_format()}":
        raise CommandError(f"--trace {files.waves}: this machine writes .{wave_format()} waves")


def _run(
    program: TpuProgram,
    name: str,
    inputs: Mapping[str, NDArray[np.int8]],
    options: Options,
    files: Files,
) -> tuple[Outputs, RunResult]:
    try:
        memory = MemoryTiming.parse(options.memory)
    except (ValueError, TypeError) as error:
        raise CommandError(f"--memory: {error}") from None
    engine: Engine
    if name == "functional":
        engine = NativeSimulator(program.config, program.dram_bytes)
    elif name == "timing":
        engine = TimingSimulator(
            program.config, program.dram_bytes, memory=memory, timeline=files.traced
        )
    else:
        engine = RtlSimulator(
            program.config,
            program.dram_bytes,
            memory=memory,
            timeline=files.traced,
            waves=files.waves,
        )
    try:
        load(engine, program)
        return execute(engine, program, inputs)
    except TpuError as error:
        op = program.tags.get(error.tag, "")
        raise CommandError(f"{error}" + (f" [op {op}]" if op else "")) from None
    finally:
        engine.close()


def _inputs(program: TpuProgram, options: Options) -> dict[str, NDArray[np.int8]]:
    ports = {port.name: port for port in program.inputs}
    given = {}
    for text in options.inputs:
        name, equals, file = text.rpartition("=")
        if not equals or name not in ports:
            raise CommandError(f"--input {text}: want NAME=FILE.npy, NAME one of {sorted(ports)}")
        given[name] = _read_input(ports[name], Path(file))
    for name in sorted(set(ports) - set(given)):
        if options.random is None:
            raise CommandError(
                f"input {name!r}, int8 {list(ports[name].shape)}, is missing: give --input "
                f"{name}=FILE.npy, or --random SEED"
            )
        rng = np.random.default_rng(options.random)
        given[name] = rng.integers(-128, 128, ports[name].shape, dtype=np.int8)
    return given


def _read_input(port: Port, path: Path) -> NDArray[np.int8]:
    """int8 as it is, float quantised by the port's scale."""
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise CommandError(f"{path}: not a .npy file of numbers") from None
    if not isinstance(values, np.ndarray):
        raise CommandError(f"{path}: not a single array (.npz?)")
    if values.shape != port.shape:
        raise CommandError(
            f"{path}: input {port.name!r} has shape {list(port.shape)}, not {list(values.shape)}"
        )
    if values.dtype.kind == "f":
        try:
            return numerics.quantize(values, port.scale, port.zero_point)
        except ValueError as error:
            raise CommandError(f"{path}: {error}") from None
    if values.dtype != np.int8:
        raise CommandError(f"{path}: input {port.name!r} is int8 or float, not {values.dtype}")
    return values


def _write_outputs(outputs: Outputs, folder: Path | None) -> dict[str, str]:
    """Name to file; file names keep only what every file system takes."""
    if folder is None:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    for name, values in outputs.items():
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", name)
        while str(folder / f"{stem}.npy") in files.values():
            stem += "_"
        np.save(folder / f"{stem}.npy", values)
        files[name] = str(folder / f"{stem}.npy")
    return files


def _first_difference(found: Outputs, expected: Outputs) -> str:
    for name, values in found.items():
        places = np.argwhere(values != expected[name])
        if len(places):
            at = tuple(int(i) for i in places[0])
            return (
                f"(first: {name}{list(at)} is {values[at]}, functional says {expected[name][at]})"
            )
    return ""


def _write_pictures(program: TpuProgram, result: RunResult, files: Files, title: str) -> None:
    assert result.trace is not None and result.cycles
    owners = attribute(result.trace, program)
    if files.timeline:
        timeline.write(files.timeline, result.trace, program, owners)
    if files.plot:
        plots.save(files.plot, program, owners, f"{title}: {result.cycles:,} cycles")
