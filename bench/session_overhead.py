"""What `Session.run` adds to the work itself: a chain of 1,000 scalar adds beside plain NumPy.

Bound: the same adds as a Python loop over NumPy scalars. Times are of this process's CPU, medians
of interleaved runs, so that a busy machine changes little.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import systolica as st

ADDS = 1_000
RUNS = 31


@dataclass(frozen=True)
class Overhead:
    """Median CPU seconds of one evaluation each."""

    session: float
    numpy: float
    empty: float
    """A run of a graph with one add: what a call costs before any work."""

    @property
    def ratio(self) -> float:
        return self.session / self.numpy


def measure(adds: int = ADDS, runs: int = RUNS) -> Overhead:
    """Time chains of `adds`; the values of both are checked to be equal."""
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [])
        y = x
        for number in range(adds):
            y = y + float(number % 7)
        short = x + 1.0
        steps = [np.float32(number % 7) for number in range(adds)]

        def plain(value: np.float32) -> np.float32:
            for step in steps:
                value = value + step
            return value

        with st.Session() as session:
            value = np.float32(0.5)
            candidates: list[Callable[[], object]] = [
                lambda: session.run(y, {x: value}),
                lambda: plain(value),
                lambda: session.run(short, {x: value}),
            ]
            first = [candidate() for candidate in candidates]
            if first[0] != first[1]:
                raise RuntimeError(f"Session.run gives {first[0]}, NumPy {first[1]}")
            times: list[list[float]] = [[] for _ in candidates]
            for _ in range(runs):
                for candidate, noted in zip(candidates, times, strict=True):
                    begin = time.process_time()
                    candidate()
                    noted.append(time.process_time() - begin)
    return Overhead(*(statistics.median(noted) for noted in times))


def main() -> None:
    """Print one line each."""
    found = measure()
    print(f"Session.run, {ADDS:,} scalar adds   {1e6 * found.session:8.1f} µs")
    print(f"plain NumPy, the same         {1e6 * found.numpy:8.1f} µs")
    print(f"Session.run of a single add   {1e6 * found.empty:8.1f} µs")
    print(f"ratio                         {found.ratio:8.2f}   (bound 1)")


if __name__ == "__main__":
    main()
