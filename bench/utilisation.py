"""Share of cycles in which the array works, on RTL, counted by the core's own counters.

Bound: every cycle active. Peer: SCALE-Sim's weight-stationary model without memory stalls,
`ceil(K/N) * ceil(M/N) * (3N - 2 + T) - 1` cycles for T positions, K products, M channels
(Samajdar et al., ISPASS 2020; the closed form equals its results).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from bench.layers import Case, cases
from hw.tpu.config import PRESETS, TpuConfig
from sim.engine import RunResult
from sim.execute import execute, load
from sim.memory import MemoryTiming
from sim.rtl.engine import RtlSimulator
from sw.compiler.tpu.compile import compile_network

DRAM_BYTES = 1 << 25
LATENCIES = (1, 30, 60)
LATENCY_CASE = "matmul_512"


@dataclass(frozen=True)
class Measured:
    """One case at one memory latency; `macs` are the useful ones of the model."""

    name: str
    latency: int
    macs: int
    result: RunResult
    config: TpuConfig
    peer_cycles: int

    @property
    def cycles(self) -> int:
        return self.result.cycles or 0

    @property
    def active(self) -> float:
        return self.result.counters["array_active"] / self.cycles

    @property
    def ideal_cycles(self) -> float:
        return self.macs / self.config.peak_macs_per_cycle


def scale_sim_cycles(case: Case, config: TpuConfig) -> int:
    """The peer's cycles for a case, without padding and without memory stalls."""
    (layer,) = case.network.layers
    kernel_rows, kernel_columns, cin, cout = layer.weights.shape
    positions = prod(case.network.by_name[layer.output].shape[:3])
    n = config.array
    folds = -(-kernel_rows * kernel_columns * cin // n) * -(-cout // n)
    return folds * (3 * n - 2 + positions) - 1


def measure(
    config: TpuConfig, latencies: Sequence[int] = (30,), only: str | None = None
) -> Iterator[Measured]:
    """Every case of `bench/shapes.csv` (or `only` one) at every latency, on RTL."""
    engine = RtlSimulator(config, DRAM_BYTES)
    try:
        for case in cases():
            if only is not None and case.name != only:
                continue
            program = compile_network(case.network, config)
            for latency in latencies:
                engine.set_memory(MemoryTiming(latency=latency, bytes_per_cycle=config.bus_bytes))
                load(engine, program)
                _, result = execute(engine, program, case.inputs)
                peer = scale_sim_cycles(case, config)
                yield Measured(case.name, latency, program.macs, result, config, peer)
    finally:
        engine.close()


def main() -> None:
    """Print a line per case, then the effect of latency."""
    config = PRESETS["default"]
    print(f"array use on RTL, {config.name} ({config.array}x{config.array}), bound 100 %")
    print(f"{'layer':<24}{'latency':>8}{'cycles':>10}{'active':>8}{'of peak':>9}{'SCALE-Sim':>11}")
    for item in measure(config):
        print(
            f"{item.name:<24}{item.latency:8d}{item.cycles:10d}{item.active:8.1%}"
            f"{item.ideal_cycles / item.cycles:9.1%}{item.ideal_cycles / item.peer_cycles:11.1%}",
            flush=True,
        )
    print(f"\n{LATENCY_CASE} against read latency")
    measured = list(measure(config, LATENCIES, only=LATENCY_CASE))
    for item in measured:
        slower = item.cycles / measured[0].cycles - 1
        print(f"latency {item.latency:3d}: active {item.active:6.2%}, {slower:+.2%} cycles")


if __name__ == "__main__":
    main()
