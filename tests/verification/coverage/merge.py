"""Counts of several designs as counts of one: a unit on its own bench counts for it in the core."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from tests.verification.coverage.points import Point


class Merged:
    """Counts of every point of the core; points of other designs that it lacks are dropped."""

    def __init__(self, origins: Mapping[str, str]) -> None:
        self.counts: Counter[Point] = Counter()
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
        new = 0
        for point, count in points:
            if point.unit not in targets:
                targets[point.unit] = self._alike(_chain(point.unit, origins))
            for unit in targets[point.unit] if count else ():
                mine = Point(point.kind, unit, point.source, point.name)
                if mine in self.counts:
                    new += self.counts[mine] == 0
                    self.counts[mine] += count
        return new

    def _alike(self, chain: list[str]) -> list[str]:
        """Units of the core with the longest common end of their chains of descriptions."""
        lengths = defaultdict(list)
        for unit, other in self._chains.items():
            lengths[_common(chain, other)].append(unit)
        longest = max(lengths)
        return lengths[longest] if longest else []


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
