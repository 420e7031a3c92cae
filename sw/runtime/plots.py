"""A run as a picture: cycles of each graph operation by cause, and utilisation over time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import ScaledTranslation

from hw.tpu.program import TpuProgram
from sim.attribution import NO_TAG, Attribution, Cause
from sw.runtime.timeline import op_name, utilisation

# Okabe and Ito's colours, which colour-blind people tell apart.
COLOURS = {
    Cause.STREAMING: "#0072B2",
    Cause.WEIGHTS: "#D55E00",
    Cause.LOAD: "#E69F00",
    Cause.VECTOR: "#009E73",
    Cause.STORE: "#CC79A7",
    Cause.OTHER: "#999999",
}
MOST_OPS = 30
BINS = 240
LONGEST_NAME = 28
LEGEND_POINTS = 30
"""From an axis down to its legend: past the tick labels and the axis label."""


def save(path: Path, program: TpuProgram, owners: Attribution, title: str) -> None:
    """Write a PNG (or what the suffix says): operations above, time below."""
    rows = _rows(program, owners)
    height = 0.34 * len(rows) + 5.6
    figure = Figure(figsize=(10, height), layout=ConstrainedLayoutEngine(hspace=0.08), dpi=130)
    figure.suptitle(title, fontsize=12, fontweight="bold")
    above, below = figure.subplots(2, 1, height_ratios=(0.34 * len(rows) + 1.4, 2.8))
    _operations(above, figure, rows)
    _over_time(below, figure, program, owners)
    figure.savefig(path)


def _rows(program: TpuProgram, owners: Attribution) -> list[tuple[str, dict[Cause, int]]]:
    """(name, cycles by cause) in program order; the smallest beyond `MOST_OPS` are one row."""
    by_tag = owners.by_tag()
    nobody = by_tag.pop(NO_TAG, {})
    total = sum(sum(causes.values()) for causes in by_tag.values())
    kept = sorted(by_tag, key=lambda tag: -sum(by_tag[tag].values()))[:MOST_OPS]
    rows = [(op_name(program, tag) or "operation 0", by_tag[tag]) for tag in sorted(kept)]
    rest = [causes for tag, causes in by_tag.items() if tag not in kept] + [nobody]
    together = {cause: sum(c.get(cause, 0) for c in rest) for cause in Cause}
    if sum(together.values()) > 0.002 * total:
        rows.append(("everything else", together))
    return rows


def _operations(axes: Axes, figure: Figure, rows: list[tuple[str, dict[Cause, int]]]) -> None:
    heights = np.arange(len(rows))
    left = np.zeros(len(rows))
    totals = np.array([sum(causes.values()) for _, causes in rows])
    scale, unit = (1000, "thousand cycles") if totals.max() >= 20_000 else (1, "cycles")
    for cause in Cause:
        width = np.array([causes.get(cause, 0) for _, causes in rows]) / scale
        if width.any():
            axes.barh(heights, width, left=left, color=COLOURS[cause], label=cause.text)
            left += width
    for height, (_, causes), total in zip(heights, rows, totals, strict=True):
        active = causes.get(Cause.STREAMING, 0) / total if total else 0.0
        axes.annotate(
            f"{total:,} cycles, array active {active:.0%}",
            (total / scale, height),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_yticks(heights, [_short(name) for name, _ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.38 * totals.max() / scale)
    axes.set_xlabel(unit)
    axes.set_title("Cycles of each operation, by what the array did", loc="left", fontsize=10)
    _legend_below(axes, figure)
    axes.spines[["top", "right"]].set_visible(False)


def _over_time(axes: Axes, figure: Figure, program: TpuProgram, owners: Attribution) -> None:
    edges, active, useful = utilisation(owners, program.config.peak_macs_per_cycle, BINS)
    scale, unit = (1000, "thousand cycles") if edges[-1] >= 20_000 else (1, "cycles")
    for values, colour, label, alpha in (
        (active, "#56B4E9", "array active", 0.45),
        (useful, "#0072B2", "useful multiply-accumulates", 0.9),
    ):
        axes.stairs(100 * values, edges / scale, fill=True, color=colour, alpha=alpha, label=label)
    axes.set_xlim(0, edges[-1] / scale)
    axes.set_ylim(0, 105)
    axes.set_xlabel(f"time in {unit}")
    axes.set_ylabel("% of peak")
    peak = program.config.peak_macs_per_cycle
    axes.set_title(
        f"Utilisation over time (100 % is {peak} multiply-accumulates a cycle)",
        loc="left",
        fontsize=10,
    )
    _legend_below(axes, figure)
    axes.spines[["top", "right"]].set_visible(False)


def _legend_below(axes: Axes, figure: Figure) -> None:
    beneath = ScaledTranslation(0, -LEGEND_POINTS / 72, figure.dpi_scale_trans)
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=axes.transAxes + beneath,
        ncols=len(Cause),
        fontsize=8,
        frameon=False,
        handlelength=1.2,
        columnspacing=1.4,
    )


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"
