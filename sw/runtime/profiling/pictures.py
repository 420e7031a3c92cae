"""The pictures of a profile: roofline, and utilisation and scratchpad over time."""

from __future__ import annotations

import io
import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sim.attribution import Cause
from sw.runtime.plots import COLOURS, over_time
from sw.runtime.profiling.layers import LayerProfile
from sw.runtime.profiling.memory import EMPTY, MemoryMap, memory_map
from sw.runtime.profiling.profile import Profile

BOUND_COLOURS = {
    "compute": COLOURS[Cause.STREAMING],
    "memory": COLOURS[Cause.LOAD],
    "weights": COLOURS[Cause.WEIGHTS],
    "vector": COLOURS[Cause.VECTOR],
}
TENSOR_COLOURS = ("#4477AA", "#66CCEE", "#228833", "#CCBB44", "#EE6677", "#AA3377", "#999933")
"""Paul Tol's bright scheme, which colour-blind people tell apart, for neighbours in time."""
NAMED_SHARE = 0.006
"""Least share of the picture of memory that a tensor needs to bear its name."""
LETTER_BINS = 6.5
"""Bins of time that a letter of a name is wide."""
MOST_NAMES = 6
LONGEST_NAME = 22
DPI = 110


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def roofline(profile: Profile) -> Figure:
    """Each layer that uses the array: multiply-accumulates a cycle over those for a byte from
    DRAM, below the two roofs."""
    peak, bandwidth = profile.config.peak_macs_per_cycle, profile.bytes_per_cycle
    figure = Figure(figsize=(7.6, 4.8), layout="constrained")
    axes = figure.subplots()
    layers = [layer for layer in profile.layers if layer.macs and layer.cycles]
    ridge = peak / bandwidth
    fallen = [layer.macs / layer.dram_bytes for layer in layers if layer.dram_bytes]
    right = max([16 * ridge, *(3 * x for x in fallen)])
    left = min([ridge / 64, *(x / 2 for x in fallen)])
    places = np.array([left, ridge, right])
    axes.loglog(places, np.minimum(peak, places * bandwidth), color="0.25", lw=1.6, zorder=1)
    axes.annotate(f"{peak} a cycle: every processing element works", (ridge * 1.2, peak * 1.25),
                  fontsize=8, color="0.25")  # fmt: skip
    axes.annotate(
        f"DRAM, {bandwidth:g} bytes a cycle", (left * 1.6, left * 1.6 * bandwidth * 1.25),
        fontsize=8, color="0.25", rotation_mode="anchor", transform_rotates_text=True,
        rotation=math.degrees(math.atan(bandwidth)),
    )  # fmt: skip
    total = sum(layer.cycles for layer in layers)
    for bound, colour in BOUND_COLOURS.items():
        mine = [layer for layer in layers if layer.bound == bound]
        if mine:
            axes.scatter(
                [_intensity(layer, right) for layer in mine],
                [layer.macs / layer.cycles for layer in mine],
                [20 + 900 * layer.cycles / total for layer in mine],
                color=colour, alpha=0.6, linewidths=0.5, edgecolors="white", zorder=2,
                label=f"bound by {bound}",
            )  # fmt: skip
    _name_points(axes, layers, right)
    traffic = sum(profile.dram_bytes.values())
    axes.scatter([profile.macs / traffic], [profile.macs / profile.cycles], 130, marker="*",
                 color="black", zorder=3, label="whole network")  # fmt: skip
    lowest = min(layer.macs / layer.cycles for layer in layers) if layers else 1
    axes.set_xlim(left, right)
    axes.set_ylim(lowest / 2.5, peak * 2.2)
    axes.set_xlabel("multiply-accumulates for each byte that crosses the bus")
    axes.set_ylabel("multiply-accumulates a cycle")
    axes.set_title("Roofline (area of a point: its share of the cycles)", loc="left", fontsize=10)
    axes.grid(True, which="major", color="0.92", zorder=0)
    legend = axes.legend(loc="lower right", fontsize=8, frameon=False)
    for handle in legend.legend_handles:
        if handle is not None and hasattr(handle, "set_sizes"):
            handle.set_sizes([50])
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _intensity(layer: LayerProfile, right: float) -> float:
    """Layers that need nothing from DRAM stand at the right border."""
    return min(layer.macs / layer.dram_bytes, right / 1.15) if layer.dram_bytes else right / 1.15


def _name_points(axes: Axes, layers: list[LayerProfile], right: float) -> None:
    """The layers that lose most cycles bear their names; those in one place share a line."""
    places: list[tuple[float, float, list[str]]] = []

    def lost(layer: LayerProfile) -> float:
        return layer.cycles * (1 - layer.peak_share)

    for layer in sorted(layers, key=lost, reverse=True)[:MOST_NAMES]:
        x, y = _intensity(layer, right), layer.macs / layer.cycles
        name = layer.name if len(layer.name) <= LONGEST_NAME else layer.name.rpartition("/")[2]
        for px, py, names in places:
            if abs(math.log(x / px)) < 1.0 and abs(math.log(y / py)) < 0.35:
                names.append(name)
                break
        else:
            places.append((x, y, [name]))
    for x, y, names in places:
        text = names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
        axes.annotate(
            text,
            (x, y),
            xytext=(0, -13),
            textcoords="offset points",
            ha="center",
            fontsize=7,
            color="0.3",
        )


def over_cycles(profile: Profile) -> Figure:
    """Utilisation above, the scratchpad below, over the same cycles."""
    figure = Figure(figsize=(10, 7.4), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(1, 1.25))
    over_time(above, figure, profile.run.program, profile.run.owners)
    _memory(below, profile, memory_map(profile.run))
    return figure


def _memory(axes: Axes, profile: Profile, memory: MemoryMap) -> None:
    end = int(memory.edges[-1])
    scale, unit = (1000, "thousand cycles") if end >= 20_000 else (1, "cycles")
    rows = profile.config.scratchpad_rows
    axes.imshow(
        _colours(memory),
        extent=(0, end / scale, rows, 0),
        aspect="auto",
        interpolation="nearest",
    )
    _name_tensors(axes, profile, memory, scale)
    share = memory.occupancy()
    size = rows * profile.config.array / 1024
    axes.set_xlabel(f"time in {unit}")
    axes.set_ylabel("scratchpad row")
    axes.set_title(
        f"Scratchpad over time ({size:,.0f} KiB, at most {share.max():.0%} of it in use, "
        f"{share.mean():.0%} on average; pale: brought from DRAM)",
        loc="left",
        fontsize=10,
    )
    axes.spines[["top", "right"]].set_visible(False)


def _colours(memory: MemoryMap) -> NDArray[np.float64]:
    """RGB of each cell; white where nothing is."""
    image = np.ones((*memory.owner.shape, 3))
    for tag in np.unique(memory.owner):
        if tag == EMPTY:
            continue
        colour = np.array(to_rgb(TENSOR_COLOURS[int(tag) % memory.staged % len(TENSOR_COLOURS)]))
        image[memory.owner == tag] = 0.45 * colour + 0.55 if tag >= memory.staged else colour
    return image


def _name_tensors(axes: Axes, profile: Profile, memory: MemoryMap, scale: int) -> None:
    """Names in the middle of tensors that have the room for them."""
    names = profile.run.program.tags
    width = memory.owner.shape[1]
    for tag in np.unique(memory.owner):
        mine = memory.owner == tag
        if tag == EMPTY or mine.mean() < NAMED_SHARE:
            continue
        full = names.get(int(tag) % memory.staged, "")
        before = "for " if tag >= memory.staged else ""
        room = np.count_nonzero(mine.any(axis=0)) / LETTER_BINS
        fitting = [before + n for n in (full, full.rpartition("/")[2]) if len(before + n) <= room]
        if not fitting:
            continue
        name = fitting[0]
        # where most rows hold it, in the middle of that stretch
        tall = mine.sum(axis=0)
        stretch = np.flatnonzero(tall >= 0.9 * tall.max())
        at = int(stretch[len(stretch) // 2])
        run = np.flatnonzero(mine[:, at])
        row = memory.rows[int(run[len(run) // 2])]
        axes.annotate(
            name,
            ((memory.edges[at] + memory.edges[-1] / width / 2) / scale, row),
            ha="center",
            va="center",
            fontsize=7,
            color="black" if tag >= memory.staged else "white",
        )
