"""`explore`: a model on cores of many sizes, and which of them no other one beats."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

from hw.tpu.config import ConfigError, TpuConfig
from sim.memory import MemoryTiming
from sim.timing.simulator import predict
from sw.commands import models
from sw.commands.answer import Answer, CommandError
from sw.compiler.tpu.ahead import compile_programs
from sw.compiler.tpu.layers import CompileError
from sw.graph.graph import Graph

COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#BBBBBB")
SUFFIXES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Options:
    """What to try; texts as the user typed them."""

    array: str = "8,16,32"
    scratchpad: str = "64,256,1024"
    bus: str = "64"
    config: str = "default"
    memory: str = ""
    shapes: tuple[str, ...] = ()
    output: Path | None = None


@dataclass(frozen=True)
class Point:
    """A core and what the model costs on it. `multipliers` and `memory_bytes` (scratchpad,
    accumulators, weight FIFO) are its size; `failure` says why there are no cycles."""

    array: int
    scratchpad_kib: float
    bus_bits: int
    multipliers: int
    memory_bytes: int
    cycles: int | None
    utilisation: float | None
    failure: str | None
    pareto: bool = False

    def beats(self, other: Point) -> bool:
        """Whether it is no larger and no slower, and better in something."""
        mine = (self.multipliers, self.memory_bytes, self.bus_bits, self.cycles or 0)
        theirs = (other.multipliers, other.memory_bytes, other.bus_bits, other.cycles or 0)
        return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))


def explore(path: Path, options: Options) -> Answer:
    """Compile for each core, predict its cycles by the timing model, mark the Pareto front."""
    if options.output is not None and options.output.suffix not in SUFFIXES:
        raise CommandError(f"--output {options.output}: name should end in {', '.join(SUFFIXES)}")
    base, memory = models.core(options.config), models.memory_timing(options.memory)
    graph = models.load(path, options.shapes, "/tpu:0")
    notes = []
    if not models.is_quantised(graph):
        graph = models.quantised_at_random(models.load(path, options.shapes))
        notes.append("the model is float: quantised with random values, which change no cycle")
    choices = [
        numbers(text, name)
        for text, name in (
            (options.array, "array"),
            (options.scratchpad, "scratchpad"),
            (options.bus, "bus"),
        )
    ]
    every = list(product(*choices))
    console = Console(file=sys.stderr)
    tried = [
        _try(graph, base, memory, *sizes)
        for sizes in track(every, "trying cores", console=console, disable=not console.is_terminal)
    ]
    points = mark(tried)
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        plot(points, path.stem).savefig(options.output)
    data = {
        "points": [vars(point) for point in points],
        "config": base.name,
        "outputs": {"plot": str(options.output)} if options.output else {},
        "area": None,  # known only to a tool for one chip
        "fmax_mhz": None,
        "notes": notes,
    }
    shown: list[Any] = [*notes, _table(points)]
    if options.output is not None:
        shown.append(f"plot: {options.output}")
    return Answer(data, shown, any(point.cycles for point in points))


def numbers(text: str, name: str) -> list[int]:
    """Whole numbers with commas between them."""
    items = [item.strip() for item in text.split(",")]
    if not all(item.isdigit() and int(item) for item in items):
        raise CommandError(f"--{name} {text}: want positive whole numbers, as in 8,16,32")
    return [int(item) for item in items]


def _try(
    graph: Graph, base: TpuConfig, memory: MemoryTiming, array: int, kib: int, bus: int
) -> Point:
    size = (array, kib, bus, array * array)
    try:
        core = replace(base, name=f"{array}x{array}", array=array, bus_bits=bus,
                       scratchpad_rows=kib * 1024 // array)  # fmt: skip
    except ConfigError as error:
        return Point(*size, 0, None, None, str(error))
    held = core.array * (
        core.scratchpad_rows + 4 * core.accumulator_total_rows + core.weight_tiles * core.array
    )
    shapes, _ = models.sized(graph)
    try:
        done = compile_programs(
            [tensor.name for tensor in graph.outputs.values()], core, shapes, graph=graph
        )
        cycles = sum(
            predict(program.instructions, core, memory, program=program.entry).cycles or 0
            for program in done.programs
        )
    except CompileError as error:
        return Point(*size, held, None, None, str(error))
    macs = sum(program.macs for program in done.programs)
    share = macs / (cycles * core.peak_macs_per_cycle) if cycles else None
    return Point(*size, held, cycles or None, share, None if cycles else "nothing runs on it")


def mark(points: Sequence[Point]) -> list[Point]:
    """The same points, those on the Pareto front marked."""
    known = [point for point in points if point.cycles]
    return [
        replace(point, pareto=bool(point.cycles) and not any(p.beats(point) for p in known))
        for point in points
    ]


def _table(points: Sequence[Point]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("array", "scratchpad", "bus", "on chip", "cycles", "of peak", ""):
        table.add_column(heading, justify="right" if heading else "left")
    for point in points:
        table.add_row(
            f"{point.array}x{point.array}",
            f"{point.scratchpad_kib:g} KiB",
            f"{point.bus_bits} bit",
            f"{point.memory_bytes / 1024:,.0f} KiB",
            f"{point.cycles:,}" if point.cycles else "",
            f"{point.utilisation:.1%}" if point.utilisation is not None else "",
            "best for its size" if point.pareto else point.failure or "",
        )
    return table


def plot(points: Sequence[Point], name: str) -> Figure:
    """Cycles against memory on the chip, a line for each array (and bus); rings mark the front."""
    figure = Figure(figsize=(7.6, 4.8), layout="constrained", dpi=110)
    axes = figure.subplots()
    known = [point for point in points if point.cycles]
    several = len({point.bus_bits for point in known}) > 1
    series: dict[tuple[int, int], list[Point]] = {}
    for point in known:
        series.setdefault((point.array, point.bus_bits), []).append(point)
    for number, ((array, bus), mine) in enumerate(sorted(series.items())):
        mine = sorted(mine, key=lambda point: point.memory_bytes)
        label = f"{array}x{array}" + (f", {bus} bit bus" if several else "")
        axes.plot(
            [point.memory_bytes / 1024 for point in mine],
            [point.cycles or 0 for point in mine],
            marker="o", ms=5, lw=1.2, color=COLOURS[number % len(COLOURS)], label=label,
        )  # fmt: skip
    best = [point for point in known if point.pareto]
    axes.scatter(
        [point.memory_bytes / 1024 for point in best],
        [point.cycles or 0 for point in best],
        130, facecolors="none", edgecolors="black", label="none beats it", zorder=3,
    )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_minor_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("memory on the chip, KiB")
    axes.set_ylabel("cycles")
    axes.set_title(f"{name}: cycles on cores of many sizes", loc="left", fontsize=10)
    axes.legend(fontsize=8, frameon=False)
    axes.grid(True, which="both", color="0.93")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
