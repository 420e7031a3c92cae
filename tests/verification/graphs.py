"""Random quantised graphs on the TPU against their integer meaning: `make graphs`.

Each runs on the functional simulator, every tenth also on the Verilated core; every byte of every
output must be what plain integers give. A graph that differs is named by its seed:
`python -m tests.verification.graphs --seed S -n 1` runs it again.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

import numpy as np
from rich.progress import track

import systolica as st
from tests.compiler.integer_reference import evaluate
from tests.verification.random_graphs import RandomGraph

PRESETS = ("tiny", "default", "default", "large")
RTL_PRESETS = ("tiny", "default")


def check(seed: int, on_rtl: bool) -> list[str]:
    """What differs for the graph of a seed, in words, and its ops."""
    made = RandomGraph(seed)
    presets = RTL_PRESETS if on_rtl else PRESETS
    preset = presets[seed // 10 % len(presets)] if on_rtl else presets[seed % len(presets)]
    meant = evaluate(made.graph, made.feeds, made.wanted)
    config = st.SessionConfig(tpu="rtl" if on_rtl else "functional", tpu_config=preset)
    with st.Session(graph=made.graph, config=config) as session:
        found = session.run(made.wanted, made.feeds)
        left = [f"{item.name} on the CPU: {item.reason}" for item in session.fallback]
    return left + [
        f"{name}: {(ours != theirs).sum()} of {theirs.size} differ on {preset}"
        for name, ours, theirs in zip(made.wanted, found, meant, strict=True)
        if not np.array_equal(ours, theirs)
    ]


def run(number: int, seed: int, every: int) -> dict[int, list[str]]:
    """The differences of `number` graphs from `seed` on, every `every`-th on RTL too."""
    wrong = {}
    seeds = range(seed, seed + number)
    shown = track(seeds, "graphs", disable=not sys.stderr.isatty())
    for at in shown:
        found = check(at, on_rtl=False)
        if every and (at - seed) % every == 0:
            found += [f"RTL: {text}" for text in check(at, on_rtl=True)]
        if found:
            wrong[at] = found
    return wrong


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=1000, help="graphs (1000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=int, default=10, help="one of so many on RTL (10; 0: none)")
    given = parser.parse_args()
    wrong = run(given.n, given.seed, given.every)
    for seed, lines in wrong.items():
        print(f"seed {seed}: " + "; ".join(lines))
    kinds = Counter(
        op.type
        for seed in range(given.seed, given.seed + given.n)
        for op in RandomGraph(seed).graph.get_operations()
    )
    said = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common() if kind != "const")
    on_rtl = len(range(0, given.n, given.every)) if given.every else 0
    print(f"{given.n} graphs ({said})")
    print(f"{given.n - len(wrong)} right on the oracle and, {on_rtl} of them, on RTL")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
