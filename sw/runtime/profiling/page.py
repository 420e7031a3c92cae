"""A profile for people: a table in the terminal, an HTML page of one file, a Markdown page."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sim.attribution import Cause
from sw.runtime.plots import COLOURS
from sw.runtime.profiling import pictures
from sw.runtime.profiling.layers import LOSSES, LayerProfile
from sw.runtime.profiling.profile import Profile

CAUSES = [("compute", COLOURS[Cause.STREAMING], "array, useful"),
          ("partial", "#99C7E0", "array, partly used"),
          *((LOSSES[cause], COLOURS[cause], cause.text) for cause in LOSSES)]  # fmt: skip
LOST_TEXT = {"partial": "unused array", "load": "input", "vector": "vector unit"}
MOST_LOSSES = 2
HEADINGS = (
    "layer",
    "op",
    "result",
    "MACs",
    "cycles",
    "of peak",
    "bound by",
    "DRAM bytes",
    "lost to",
)


def facts(profile: Profile) -> list[tuple[str, str]]:
    """(value, what it is) of the whole run."""
    roof = profile.roofline
    by = "array" if roof["compute"] >= roof["memory"] else "memory"
    traffic = profile.dram_bytes
    data = profile.to_dict()
    return [
        (f"{profile.cycles:,}", "cycles"),
        (f"{profile.macs:,}", "multiply-accumulates"),
        (f"{data['utilisation']:.1%}", f"of {profile.config.peak_macs_per_cycle} a cycle"),
        (f"{data['array_active']:.1%}", "of the cycles the array is active"),
        (f"{data['of_roofline']:.1%}", f"of the roofline ({roof['bound']:,.0f} cycles, {by})"),
        (_size(traffic["read"]), "read from DRAM"),
        (_size(traffic["write"]), "written to DRAM"),
    ]


def _size(count: int) -> str:
    if count < 10_000:
        return f"{count:,} bytes"
    return f"{count / 1e6:,.2f} MB" if count >= 1_000_000 else f"{count / 1e3:,.1f} kB"


def cells(layer: LayerProfile) -> dict[str, str]:
    """The texts of a layer's row, by `HEADINGS`."""
    lost = sorted(layer.lost.items(), key=lambda item: -item[1])[:MOST_LOSSES]
    shown = [f"{LOST_TEXT.get(w, w)} {n / layer.cycles:.0%}" for w, n in lost
             if layer.cycles and n >= 0.01 * layer.cycles]  # fmt: skip
    texts = (
        layer.name,
        layer.op,
        "×".join(map(str, layer.shape)),
        f"{layer.macs:,}" if layer.macs else "",
        f"{layer.cycles:,}",
        f"{layer.peak_share:.1%}" if layer.macs and layer.cycles else "",
        layer.bound,
        f"{layer.dram_bytes:,}" if layer.dram_bytes else "",
        ", ".join(shown),
    )
    return dict(zip(HEADINGS, texts, strict=True))


def html(profile: Profile) -> str:
    """The report as one file that needs no other."""
    folder = Path(__file__).parent
    made = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined
    ).get_template("report.html")
    longest = max(layer.cycles for layer in profile.layers) or 1
    return made.render(
        profile=profile,
        config=profile.config,
        facts=facts(profile),
        causes=[(colour, text) for _, colour, text in CAUSES],
        rows=[_row(layer, longest) for layer in profile.layers],
        roofline=base64.b64encode(pictures.png(pictures.roofline(profile))).decode(),
        time=base64.b64encode(pictures.png(pictures.over_cycles(profile))).decode(),
    )


def _row(layer: LayerProfile, longest: int) -> dict[str, Any]:
    texts = cells(layer)
    amounts = {"compute": layer.cycles - sum(layer.lost.values()), **layer.lost}
    bar = [
        (colour, round(100 * amounts[key] / layer.cycles, 2), f"{text}: {amounts[key]:,.0f}")
        for key, colour, text in CAUSES
        if layer.cycles and amounts.get(key, 0) > 0
    ]
    keys = ("name", "op", "shape", "macs", "cycles", "peak", "bound", "bytes", "lost")
    row: dict[str, Any] = dict(zip(keys, texts.values(), strict=True))
    width = round(100 * layer.cycles / longest, 2)
    return {**row, "bar": bar, "width": width, "rest": not layer.op}


def markdown(profile: Profile, images: Path, link: str) -> str:
    """The report as a Markdown page; its pictures are written into `images`, which the page calls
    `link`."""
    images.mkdir(parents=True, exist_ok=True)
    for kind, figure in (
        ("roofline", pictures.roofline(profile)),
        ("time", pictures.over_cycles(profile)),
    ):
        (images / f"{profile.name}-{kind}.png").write_bytes(pictures.png(figure))
    lines = [
        "| | |",
        "| ---: | --- |",
        *(f"| {value} | {what} |" for value, what in facts(profile)),
    ]
    lines += [
        "",
        f"![Utilisation and scratchpad over time]({link}/{profile.name}-time.png)",
        "",
        f"![Roofline]({link}/{profile.name}-roofline.png)",
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "| --- | --- | --- | ---: | ---: | ---: | --- | ---: | --- |",
    ]
    lines += ["| " + " | ".join(cells(layer).values()) + " |" for layer in profile.layers]
    return "\n".join(lines) + "\n"
