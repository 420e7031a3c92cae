"""What need not be covered, and why. The list is `waivers.toml`; one that matches nothing is an
error, so that none outlives what it was written for."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.verification.coverage.points import KINDS, Point

FILE = Path(__file__).with_name("waivers.toml")
SHORTEST_REASON = 20
"""Characters; less is no reason."""


class WaiverError(Exception):
    """A waiver that is malformed, or that matches no uncovered point."""


@dataclass(frozen=True)
class Waiver:
    """Regular expressions that a point's kind, unit, source and name match as a whole."""

    kind: str
    unit: str
    source: str
    name: str
    reason: str

    def matches(self, point: Point) -> bool:
        return all(
            re.fullmatch(getattr(self, field), getattr(point, field))
            for field in ("kind", "unit", "source", "name")
        )


def load(path: Path = FILE) -> list[Waiver]:
    """Every `[[waiver]]` of the file: `reason`, and whichever of the four expressions it needs."""
    found = []
    for number, entry in enumerate(tomllib.loads(path.read_text())["waiver"], 1):
        values = {"kind": ".*", "unit": ".*", "source": ".*", "name": ".*", "reason": ""} | entry
        if unknown := set(values) - {"kind", "unit", "source", "name", "reason"}:
            raise WaiverError(f"waiver {number}: no such field: {sorted(unknown)[0]}")
        if len(values["reason"]) < SHORTEST_REASON:
            raise WaiverError(f"waiver {number}: a reason is wanted, not {values['reason']!r}")
        if not any(re.fullmatch(values["kind"], kind) for kind in KINDS):
            raise WaiverError(f"waiver {number}: kind {values['kind']!r} is none of {KINDS}")
        found.append(Waiver(**values))
    return found


def apply(waivers: list[Waiver], uncovered: Iterable[Point]) -> dict[Point, Waiver]:
    """The first waiver of each point that has one; raises `WaiverError` for an idle waiver."""
    waived: dict[Point, Waiver] = {}
    used: set[Waiver] = set()
    for point in uncovered:
        for waiver in waivers:
            if waiver.matches(point):
                used.add(waiver)
                waived.setdefault(point, waiver)
    if idle := [waiver for waiver in waivers if waiver not in used]:
        raise WaiverError(f"matches no uncovered point: {idle[0]}")
    return waived
