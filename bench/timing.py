"""The timing model against the RTL: cycles, counters, and how much faster it is.

Bound: no error at all. Peers: SCALE-Sim models no instruction and took 2,304 CPU-seconds for one
ResNet-50 at 16x16 (our measurement). `python -m bench.timing --programs 1000` compares that many
random programs, half of them compiled networks, half meaningless instruction streams, and every
layer shape of the tables; `--programs 0` only the layers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bench import networks
from bench.layers import cases
from bench.timing_programs import random_program
from hw.tpu import isa
from hw.tpu.config import PRESETS, TpuConfig
from sim.engine import RunResult
from sim.execute import execute, load
from sim.memory import MemoryTiming
from sim.rtl.engine import RtlSimulator
from sim.timing.simulator import TimingSimulator
from sw.compiler.tpu.compile import compile_network
from tests.compiler.tpu.random_networks import random_network

DRAM_BYTES = 1 << 25
RANDOM_PRESETS = ("tiny", "default", "large")
PROGRAM_AT = 1 << 16
TABLES = {
    "default": ("resnet50", "mobilenet_v1"),
    "large": ("resnet20", "resnet20v2", "resnet50", "mobilenet_v1"),
}
"""Networks whose layers are compared, by preset."""


@dataclass(frozen=True)
class Compared:
    """One program on both engines."""

    name: str
    config: TpuConfig
    memory: MemoryTiming
    rtl: RunResult
    timing: RunResult

    @property
    def equal(self) -> bool:
        return self.rtl.cycles == self.timing.cycles and not self.differing()

    @property
    def error(self) -> float:
        """Of the cycles."""
        return (self.timing.cycles or 0) / (self.rtl.cycles or 1) - 1

    @property
    def times_faster(self) -> float:
        return self.rtl.seconds / self.timing.seconds

    def differing(self) -> list[str]:
        """Counters with RTL's and the model's value where they differ."""
        return [
            f"{name} {value}/{self.timing.counters[name]}"
            for name, value in self.rtl.counters.items()
            if value != self.timing.counters[name]
        ]


class Pair:
    """Both engines of one configuration."""

    def __init__(self, config: TpuConfig, memory: MemoryTiming | None = None) -> None:
        self.config = config
        self.rtl = RtlSimulator(config, DRAM_BYTES, memory=memory)
        self.timing = TimingSimulator(config, DRAM_BYTES, memory)

    def close(self) -> None:
        self.rtl.close()
        self.timing.close()

    def set_memory(self, memory: MemoryTiming) -> None:
        self.rtl.set_memory(memory)
        self.timing.set_memory(memory)

    def compiled(self, name: str, network, inputs) -> Compared:
        """A network on both."""
        program = compile_network(network, self.config)
        results = []
        for engine in (self.rtl, self.timing):
            load(engine, program)
            results.append(execute(engine, program, inputs)[1])
        return Compared(name, self.config, self.timing.memory, *results)

    def raw(self, name: str, instructions: list[isa.Instruction]) -> Compared:
        """Instructions on both."""
        words = np.frombuffer(isa.assemble(instructions), np.uint8)
        results = []
        for engine in (self.rtl, self.timing):
            engine.write(PROGRAM_AT, words)
            results.append(engine.run(PROGRAM_AT, len(instructions)))
        return Compared(name, self.config, self.timing.memory, *results)


def random_timing(rng: np.random.Generator) -> MemoryTiming:
    """Any latency and bandwidth, no jitter."""
    return MemoryTiming(
        latency=int(rng.integers(1, 100)),
        bytes_per_cycle=float(rng.choice([1, 1.5, 2, 4, 8, 16, 32, 64])),
    )


def layers(config: TpuConfig, tables: Sequence[str]) -> Iterator[Compared]:
    """Every layer of `bench/shapes.csv`, and every shape of some of `bench/networks/`."""
    pair = Pair(config, MemoryTiming(latency=30, bytes_per_cycle=config.bus_bytes))
    for case in cases():
        yield pair.compiled(case.name, case.network, case.inputs)
    for name in tables:
        for line, _ in networks.distinct(networks.table(name)):
            network = networks.single(line)
            yield pair.compiled(f"{name} {line.name}", network, networks.inputs(network))
    pair.close()


def programs(number: int, seed: int = 0) -> Iterator[Compared]:
    """`number` random programs, compiled and meaningless ones in turn, over three presets."""
    rng = np.random.default_rng([seed, number])
    pairs = {name: Pair(PRESETS[name]) for name in RANDOM_PRESETS}
    for each in range(number):
        network, config, inputs = random_network(seed + each)
        pair = pairs[config.name]
        pair.set_memory(random_timing(rng))
        if each % 2:
            yield pair.raw(f"raw {seed + each}", random_program(seed + each, config))
        else:
            yield pair.compiled(f"network {seed + each}", network, inputs)
    for pair in pairs.values():
        pair.close()


def main(arguments: Sequence[str] = ()) -> None:
    """Print a line per layer, then how many random programs are equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    print("layer                             config      cycles   error  counters  Mcycle/s  x RTL")
    shapes = same = 0
    for preset, tables in TABLES.items():
        for item in layers(PRESETS[preset], tables):
            shapes, same = shapes + 1, same + item.equal
            speed = (item.timing.simulated_cycles_per_second or 0.0) / 1e6
            print(
                f"{item.name:<34}{preset:<8}{item.timing.cycles:10d}{item.error:8.2%}"
                f"{'equal' if item.equal else 'differ':>10}{speed:10.1f}{item.times_faster:7.0f}",
                flush=True,
            )
    print(f"layers                   {same} of {shapes} equal in every counter")
    equal = dict.fromkeys(RANDOM_PRESETS, 0)
    total = dict.fromkeys(RANDOM_PRESETS, 0)
    for item in programs(options.programs, options.seed):
        total[item.config.name] += 1
        equal[item.config.name] += item.equal
        if not item.equal:
            print(f"{item.name} {item.config.name} {item.memory}: {', '.join(item.differing())}")
    for name in RANDOM_PRESETS:
        print(f"random programs, {name:<8} {equal[name]} of {total[name]} equal in every counter")


if __name__ == "__main__":
    main(sys.argv[1:])
