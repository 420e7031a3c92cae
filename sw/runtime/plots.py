"""A run as a picture: cycles of each graph operation by cause, and utilisation over time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
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
LETTER_SHARE = 0.0075
"""Width of a letter of a name as a share of the time axis."""
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
    over_time(below, figure, program, owners)
    figure.savefig(path)


@dataclass(frozen=True)
class _Row:
    """An operation's bar: cycles by cause, and the useful share of what the array could do."""

    name: str
    causes: dict[Cause, int]
    useful: float

    @property
    def total(self) -> int:
        return sum(self.causes.values())

    @property
    def text(self) -> str:
        active = self.causes.get(Cause.STREAMING, 0) / self.total if self.total else 0.0
        text = f"{self.total:,} cycles, array active {active:.0%}"
        return text + (f", useful {self.useful:.0%}" if active else "")


def _rows(program: TpuProgram, owners: Attribution) -> list[_Row]:
    """In program order; the smallest beyond `MOST_OPS` and nobody's cycles are one row."""
    by_tag, macs = owners.by_tag(), owners.macs_by_tag()
    peak = program.config.peak_macs_per_cycle
    named = [tag for tag in by_tag if tag != NO_TAG]
    kept = sorted(named, key=lambda tag: -sum(by_tag[tag].values()))[:MOST_OPS]
    rows = []
    for tag in sorted(kept):
        cycles = sum(by_tag[tag].values())
        name = op_name(program, tag) or "operation 0"
        rows.append(_Row(name, by_tag[tag], macs[tag] / (peak * max(1, cycles))))
    rest = [causes for tag, causes in by_tag.items() if tag not in kept]
    together = {cause: sum(c.get(cause, 0) for c in rest) for cause in Cause}
    other = _Row("everything else", together, 0.0)
    if other.total > 0.002 * owners.edges[-1] or not rows:
        rows.append(other)
    return rows


def _operations(axes: Axes, figure: Figure, rows: list[_Row]) -> None:
    heights = np.arange(len(rows))
    left = np.zeros(len(rows))
    longest = max(1, *(row.total for row in rows))
    scale, unit = _unit(longest)
    for cause in Cause:
        width = np.array([row.causes.get(cause, 0) for row in rows]) / scale
        if width.any():
            axes.barh(heights, width, left=left, color=COLOURS[cause], label=cause.text)
            left += width
    for height, row in zip(heights, rows, strict=True):
        axes.annotate(
            row.text,
            (row.total / scale, height),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_yticks(heights, [_short(row.name) for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.5 * longest / scale)
    axes.set_xlabel(unit)
    axes.set_title("Cycles of each operation, by what the array did", loc="left", fontsize=10)
    _legend_below(axes, figure)
    axes.spines[["top", "right"]].set_visible(False)


def _unit(cycles: int) -> tuple[int, str]:
    return (1000, "thousand cycles") if cycles >= 20_000 else (1, "cycles")


def over_time(axes: Axes, figure: Figure, program: TpuProgram, owners: Attribution) -> None:
    """Utilisation over time, with the names of operations above where there is room."""
    edges, active, useful = utilisation(owners, program.config.peak_macs_per_cycle, BINS)
    scale, unit = _unit(int(edges[-1]))
    for values, colour, label, alpha in (
        (active, "#56B4E9", "array active", 0.45),
        (useful, "#0072B2", "useful multiply-accumulates", 0.9),
    ):
        axes.stairs(100 * values, edges / scale, fill=True, color=colour, alpha=alpha, label=label)
    _name_spans(axes, program, owners, scale)
    axes.set_xlim(0, edges[-1] / scale)
    axes.set_ylim(0, 118)
    axes.set_yticks(range(0, 101, 25))
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


def _name_spans(axes: Axes, program: TpuProgram, owners: Attribution, scale: int) -> None:
    """Names above the time in which an operation has the array, where there is room."""
    end = int(owners.edges[-1])
    names = {tag: op_name(program, tag) for tag in owners.by_tag()}
    scopes = Counter(name.partition("/")[0] for name in names.values())
    for tag, name in names.items():
        mine = np.flatnonzero(owners.tag == tag)
        begin, last = int(owners.edges[mine[0]]), int(owners.edges[mine[-1] + 1])
        scope = name.partition("/")[0]
        room = (last - begin) / end / LETTER_SHARE
        shown = name if len(name) <= room else scope if scopes[scope] == 1 else ""
        scattered = owners.lengths[mine].sum() < 0.9 * (last - begin)
        if scattered or not shown or len(shown) > room:
            continue
        middle = (begin + last) / 2 / scale
        axes.plot(
            [begin / scale, last / scale], [105, 105], color="0.4", lw=3, solid_capstyle="butt"
        )
        axes.annotate(shown, (middle, 108), ha="center", fontsize=8)
        for edge in (begin, last):
            axes.axvline(edge / scale, ymax=105 / 118, color="0.4", lw=0.6, ls=":")


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
