"""Counts of several designs as counts of one: a unit on its own bench counts for it in the core."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from tests.verification.coverage.points import Point


class Merged:
    """Counts of every point of the core; points of other designs that it lacks are dropped."""

    def __init__(self, origins: Mapping[str, str]) -> None:
        self.counts: Counter[Point] = Counter()
        self._grouped: dict[tuple[str, str, str, str], list[Point]] = defaultdict(list)
        self._chains = {unit: _chain(unit, origins) for unit in origins}

    def add(self, points: Iterable[tuple[Point, int]]) -> None:
        """Counts of the core itself."""
        for point, count in points:
            self.counts[point] += count

    def add_bench(self, points: Iterable[tuple[Point, int]], origins: Mapping[str, str]) -> int:
        """Counts of another design; the number of points that it alone covers.

        A module of it stands for the units of the core that are described in the same place, and
        of these for the ones whose surroundings are most alike.
        """
        targets: dict[str, list[str]] = {}
        groups: dict[tuple[str, str, str, str], list[tuple[Point, int]]] = defaultdict(list)
        for point, count in points:
            if point.unit not in targets:
                targets[point.unit] = self._alike(_chain(point.unit, origins))
            groups[_numberless(point)].append((point, count))
        new = 0
        for (kind, unit, source, name), theirs in groups.items():
            for target in targets[unit]:
                mine = self._groups()[kind, target, source, name]
                for own, count in _pairs(mine, theirs):
                    new += count > 0 and self.counts[own] == 0
                    self.counts[own] += count
        return new

    def _groups(self) -> dict[tuple[str, str, str, str], list[Point]]:
        """Points of the core that differ only in the numbers of their names."""
        if not self._grouped:
            for point in self.counts:
                self._grouped[_numberless(point)].append(point)
        return self._grouped

    def _alike(self, chain: list[str]) -> list[str]:
        """Units of the core with the longest common end of their chains of descriptions."""
        lengths = defaultdict(list)
        for unit, other in self._chains.items():
            lengths[_common(chain, other)].append(unit)
        longest = max(lengths)
        return lengths[longest] if longest else []


def _numberless(point: Point) -> tuple[str, str, str, str]:
    return point.kind, point.unit, point.source, _NUMBER.sub("", point.name)


_NUMBER = re.compile(r"\$\d+")
"""What makes names distinct within a module; it depends on everything else in there."""


def _pairs(mine: list[Point], theirs: list[tuple[Point, int]]) -> Iterator[tuple[Point, int]]:
    """Own points with others' counts: by name, else, if there are as many, in order."""
    named = {point.name: count for point, count in theirs}
    if len(mine) == len(theirs) and any(point.name not in named for point in mine):
        yield from ((own, count) for own, (_, count) in zip(mine, theirs, strict=True))
    else:
        yield from ((own, named[own.name]) for own in mine if own.name in named)


def _chain(unit: str, origins: Mapping[str, str]) -> list[str]:
    """Where `unit` and everything around it is described, from the outside in."""
    parts = unit.split(".")
    around = (".".join(parts[: count + 1]) for count in range(len(parts)))
    return [origins[path] for path in around if path in origins]


def _common(one: list[str], other: list[str]) -> int:
    count = 0
    while count < min(len(one), len(other)) and one[-1 - count] == other[-1 - count]:
        count += 1
    return count
