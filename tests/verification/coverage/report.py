"""Coverage for people and machines: a table, JSON, and a page of each unit with what is missing."""

from __future__ import annotations

import html
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tests.verification.coverage.points import KINDS, Point
from tests.verification.coverage.waivers import Waiver

BAR = 98.0
"""Per cent that every kind must reach, waived points left out."""


@dataclass(frozen=True)
class Figure:
    """Points of one kind: all, covered, waived."""

    points: int
    covered: int
    waived: int

    @property
    def percent(self) -> float:
        """Covered, of those that are not waived."""
        wanted = self.points - self.waived
        return 100.0 * self.covered / wanted if wanted else 100.0

    def __str__(self) -> str:
        return f"{self.percent:.2f}" if self.points else "-"


class Report:
    """Counts and waivers of every point."""

    def __init__(self, counts: Mapping[Point, int], waived: Mapping[Point, Waiver]) -> None:
        self.counts, self.waived = counts, waived
        self.units = sorted({point.unit for point in counts})

    def figure(self, kind: str, unit: str | None = None) -> Figure:
        chosen = [
            point
            for point in self.counts
            if point.kind == kind and (unit is None or point.unit == unit)
        ]
        covered = sum(self.counts[point] > 0 for point in chosen)
        return Figure(len(chosen), covered, sum(point in self.waived for point in chosen))

    def missing(self, unit: str | None = None) -> list[Point]:
        """Points neither covered nor waived."""
        return sorted(
            (
                point
                for point, count in self.counts.items()
                if not count and point not in self.waived and unit in (None, point.unit)
            ),
            key=lambda point: (KINDS.index(point.kind), point.unit, point.source, point.name),
        )

    @property
    def reached(self) -> bool:
        return all(self.figure(kind).percent >= BAR for kind in KINDS)

    def summary(self) -> str:
        """The kinds over the whole core, then per file of the hardware."""
        lines = [f"{'kind':<12}{'points':>9}{'covered':>9}{'waived':>8}{'missing':>9}{'%':>8}"]
        for kind in KINDS:
            f = self.figure(kind)
            missing = f.points - f.covered - f.waived
            lines.append(
                f"{kind:<12}{f.points:>9}{f.covered:>9}{f.waived:>8}{missing:>9}{f.percent:>8.2f}"
            )
        return "\n".join(lines)

    def table(self) -> str:
        """Per cent of each kind for each unit."""
        width = max(map(len, self.units))
        lines = [f"{'unit':<{width}}" + "".join(f"{kind:>12}" for kind in KINDS)]
        figures = self._by_unit()
        for unit in self.units:
            cells = "".join(f"{figures[unit, kind]!s:>12}" for kind in KINDS)
            lines.append(f"{unit:<{width}}{cells}")
        return "\n".join(lines)

    def _by_unit(self) -> dict[tuple[str, str], Figure]:
        points, covered, waived = Counter(), Counter(), Counter()
        for point, count in self.counts.items():
            key = point.unit, point.kind
            points[key] += 1
            covered[key] += count > 0
            waived[key] += point in self.waived
        return {
            (unit, kind): Figure(points[unit, kind], covered[unit, kind], waived[unit, kind])
            for unit in self.units
            for kind in KINDS
        }

    def to_dict(self) -> dict:
        reasons: dict[str, list[str]] = defaultdict(list)
        for point, waiver in self.waived.items():
            reasons[waiver.reason].append(f"{point.unit} {point}")
        return {
            "bar": BAR,
            "kinds": {
                kind: vars(figure) | {"percent": round(figure.percent, 3)}
                for kind in KINDS
                for figure in [self.figure(kind)]
            },
            "missing": [vars(point) for point in self.missing()],
            "waived": {reason: len(points) for reason, points in reasons.items()},
        }

    def write(self, folder: Path, title: str) -> None:
        """`coverage.json`, `index.html` and a page of each unit."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "coverage.json").write_text(json.dumps(self.to_dict(), indent=1) + "\n")
        figures = self._by_unit()
        rows = [
            f"<tr><td><a href='{unit}.html'>{html.escape(unit)}</a></td>"
            + "".join(_cell(figures[unit, kind]) for kind in KINDS)
            for unit in self.units
        ]
        total = "<tr><th>core</th>" + "".join(_cell(self.figure(kind)) for kind in KINDS)
        head = "<tr><th>unit</th>" + "".join(f"<th>{kind}</th>" for kind in KINDS)
        table = f"<table>{head}{total}{''.join(rows)}</table>"
        (folder / "index.html").write_text(_page(title, table))
        for unit in self.units:
            (folder / f"{unit}.html").write_text(_page(unit, self._details(unit)))

    def _details(self, unit: str) -> str:
        parts = ["<h2>Missing</h2>", _listing(self.missing(unit)), "<h2>Waived</h2>"]
        mine = sorted(
            (waiver.reason, str(point), point)
            for point, waiver in self.waived.items()
            if point.unit == unit
        )
        for reason, points in groupby(mine, key=lambda item: item[0]):
            parts.append(f"<h3>{html.escape(reason)}</h3>")
            parts.append(_listing([point for _, _, point in points]))
        return "".join(parts)


def _cell(figure: Figure) -> str:
    bad = figure.points and figure.percent < BAR
    counts = f"{figure.covered} of {figure.points}, {figure.waived} waived"
    return f"<td{' class=bad' if bad else ''} title='{counts}'>{figure}</td>"


def _listing(points: list[Point]) -> str:
    if not points:
        return "<p>nothing</p>"
    rows = "".join(
        f"<tr><td>{p.kind}</td><td>{html.escape(p.source)}</td><td>{html.escape(p.name)}</td></tr>"
        for p in points
    )
    return f"<table>{rows}</table>"


def _page(title: str, body: str) -> str:
    style = (
        "body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}"
        "td,th{border:1px solid #ccc;padding:2px 8px;text-align:left}.bad{background:#fdd}"
    )
    return (
        f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<style>{style}</style><h1>{html.escape(title)}</h1>{body}\n"
    )
