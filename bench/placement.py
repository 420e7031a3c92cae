"""Placement by simulated cost beside everything on one device: `python -m bench placement`.

Towers that join: convolutions, which the TPU does faster; products of few rows by large weights,
for which it waits; sorting, which it has not. Each placement is run, partition by partition: the
CPU's seconds are measured, of one core; the TPU's are those of its border, measured, and its
cycles, of the timing model, at a clock of 200 MHz. A device runs one partition at a time, and one
begins when its inputs are there. What is compared is when the step is over.
Bound: the busiest device of the placement without any wait.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import systolica as st
from sw.compiler.partition import Plan
from sw.compiler.passes import compile_unit
from sw.compiler.unit import Unit
from sw.runtime.devices.costs import HANDOVER, CostModel

RUNS = 5
CLOCK = 200e6


@dataclass(frozen=True)
class Placed:
    """A placement: seconds of the step, busy seconds by device, and how many products each has."""

    seconds: float
    busy: dict[str, float]
    products: dict[str, int]


def towers(batch: int = 2, width: int = 2048) -> tuple[Any, dict[Any, Any]]:
    """What the bench runs, and its feeds; `width`: of the products of few rows."""
    rng = np.random.default_rng(0)
    images = st.placeholder(st.float32, [batch, 32, 32, 32])
    rows = st.placeholder(st.float32, [batch, 1 << 13])
    hidden = images
    for at in range(3):
        kernel = rng.normal(0, 0.06, (3, 3, 32, 32)).astype(np.float32)
        hidden = st.nn.relu(st.nn.conv2d(hidden, kernel, [1, 1, 1, 1], "SAME", name=f"conv{at}"))
    seen = st.reduce_mean(hidden, [1, 2])
    wide = rows[:, :width]
    for at in range(2):
        weights = rng.normal(0, 0.02, (width, width)).astype(np.float32)
        wide = st.tanh(st.matmul(wide, weights, name=f"dense{at}"))
    best, _ = st.nn.top_k(st.tanh(rows) * st.exp(-st.square(rows)), 32)
    small = rng.normal(0, 0.2, (32, 32)).astype(np.float32)
    joined = st.tanh(st.matmul(seen + best + wide[:, :32], small, name="join"))
    return joined, {
        images: rng.normal(size=(batch, 32, 32, 32)).astype(np.float32),
        rows: rng.normal(size=(batch, 1 << 13)).astype(np.float32),
    }


class _Metered:
    """The TPU's driver, with this thread's seconds within it, which are the simulator's."""

    def __init__(self, driver: Any) -> None:
        self._driver, self.inside = driver, 0.0

    def run(self, *given: Any) -> Any:
        """Run a program."""
        begin = time.thread_time()
        try:
            return self._driver.run(*given)
        finally:
            self.inside += time.thread_time() - begin

    @property
    def cycles(self) -> int:
        """Of all programs so far."""
        return sum(report.cycles or 0 for report in self._driver.reports())


@dataclass(frozen=True)
class Ran:
    """A partition's seconds, and when in it each output was there."""

    seconds: float
    sent: dict[str, float]


def durations(
    plan: Plan, executables: Sequence[Any], feeds: Sequence[Any], driver: _Metered | None
) -> list[Ran]:
    """Each partition, one run; `driver` of the TPU, None if it has no part in it."""
    values = dict(zip(plan.feeds, feeds, strict=True))
    found = []
    for part, executable in zip(plan.partitions, executables, strict=True):
        given = [values[key] for key in part.inputs]
        inside, cycles = (driver.inside, driver.cycles) if driver else (0.0, 0)
        sent: dict[str, float] = {}
        begin = time.thread_time()

        def send(
            at: int, value: Any, part: Any = part, begin: float = begin, sent: Any = sent
        ) -> None:
            values[part.outputs[at]] = value
            sent[part.outputs[at]] = time.thread_time() - begin

        if hasattr(executable, "send"):
            rest = executable.send(given, send, None)
        else:
            rest = enumerate(executable.run(given))
        spent = time.thread_time() - begin
        if driver:
            spent += (driver.cycles - cycles) / CLOCK - (driver.inside - inside)
        for at, value in rest:
            values[part.outputs[at]], sent[part.outputs[at]] = value, spent
        found.append(Ran(spent, sent))
    return found


def finish(plan: Plan, runs: Sequence[Ran]) -> tuple[float, dict[str, float]]:
    """When the last partition is done, and how long each device works."""
    there: dict[str, float] = {}
    idle: dict[str, float] = {}
    busy: dict[str, float] = {}
    for part, ran in zip(plan.partitions, runs, strict=True):
        ways = [there[k] + HANDOVER * (k in plan.transfers) for k in part.inputs if k in there]
        start = max([idle.get(part.device, 0.0), *ways])
        there.update((key, start + after) for key, after in ran.sent.items())
        idle[part.device] = start + ran.seconds
        busy[part.device] = busy.get(part.device, 0.0) + ran.seconds
    return max(idle.values()), busy


def traced() -> Any:
    """The times of the ops on the CPU, of several runs."""
    nodes = []
    metadata = st.RunMetadata()
    with st.Graph().as_default():
        result, feeds = towers()
        with st.Session() as session, threadpool_limits(1):
            for _ in range(RUNS):
                session.run(result, feeds, st.RunOptions(trace_level=3), metadata)
                nodes += metadata.step_stats.nodes
    metadata.step_stats.nodes = nodes
    return metadata.step_stats


def measure(where: str | None, stats: Any = None) -> Placed:
    """The towers with every op asked for `where`; None: placed by simulation, with the times of
    `stats` or those of the model."""
    config = st.SessionConfig(
        tpu="timing", placement="named" if where else "simulated", measured=stats
    )
    with st.Graph().as_default() as graph, st.device(where or ""):
        result, feeds = towers()
        with st.Session(config=config) as session:
            unit = Unit(graph, tuple(feeds), (result,))
            costs = CostModel(config) if where is None else None
            plan = compile_unit(unit, session.devices, None, costs)
            executables = [session.devices.get(p.device).compile(p) for p in plan.partitions]
            used = [p.device for p in plan.partitions if "/tpu:" in p.device]
            tpu: Any = session.devices.get(used[0]) if used else None
            driver = None
            if tpu is not None:
                driver = tpu.driver = _Metered(tpu.driver)
            given = list(feeds.values())
            with threadpool_limits(1):
                durations(plan, executables, given, driver)  # compiles
                runs = [durations(plan, executables, given, driver) for _ in range(RUNS)]
            if driver is not None:
                tpu.driver = driver._driver
    best = min((finish(plan, ran) for ran in runs), key=lambda found: found[0])
    ops = [(p.device, op) for p in plan.partitions for op in p.graph.get_operations()]
    products: dict[str, int] = {}
    for device, op in ops:
        if op.type in ("conv2d", "matmul"):
            products[device] = products.get(device, 0) + 1
    return Placed(*best, products)


def main() -> None:
    """One line for each placement."""
    found = {
        "all on the CPU": measure("/cpu:0"),
        "all on the TPU": measure("/tpu:0"),
        "by modelled cost": measure(None),
        "by measured cost": measure(None, traced()),
    }
    best = min((found["by modelled cost"], found["by measured cost"]), key=lambda p: p.seconds)
    for name, placed in found.items():
        shares = ", ".join(f"{d[-5:]} {1e3 * s:.2f} ms" for d, s in sorted(placed.busy.items()))
        print(
            f"{name:18} {1e3 * placed.seconds:8.2f} ms   ({shares})   "
            f"{placed.seconds / best.seconds:5.2f}x of the best placed"
        )
    print(f"{'bound':18} {1e3 * max(best.busy.values()):8.2f} ms   (its busiest device alone)")


if __name__ == "__main__":
    main()
