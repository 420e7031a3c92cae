"""Where the cycles of a program went: useful work, idle lanes, and what the array waited for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hw.tpu.config import TpuConfig
from hw.tpu.program import TpuProgram
from sim.attribution import Cause, attribute
from sim.engine import RunResult
from sim.memory import MemoryTiming
from sim.timing.simulator import predict
from sw.compiler.tpu.compile import compile_network
from sw.compiler.tpu.network import Network

CAUSES = {
    "idle lanes": Cause.STREAMING,
    "weights": Cause.WEIGHTS,
    "load": Cause.LOAD,
    "vector": Cause.VECTOR,
    "store": Cause.STORE,
    "other": Cause.OTHER,
}
"""Why cycles are lost: `idle lanes` are those in which the array worked, times the share of its
elements without a useful product; in the others it waited, see `sim/attribution.py`."""


@dataclass(frozen=True)
class Account:
    """`cycles` = `useful` + what was lost, by cause; `useful` = multiply-accumulates / peak."""

    name: str
    cycles: int
    useful: float
    lost: Mapping[str, float]

    @property
    def share(self) -> float:
        """Of the cycles, those that were useful."""
        return self.useful / self.cycles if self.cycles else 0.0

    @property
    def active(self) -> float:
        """Share of cycles in which the array worked."""
        return (self.useful + self.lost["idle lanes"]) / self.cycles if self.cycles else 0.0

    def sentence(self) -> str:
        """Every lost cycle by cause, in per cent of all, largest first."""
        parts = sorted(self.lost.items(), key=lambda item: -item[1])
        shares = [(name, value / self.cycles) for name, value in parts]
        return ", ".join(f"{name} {share:.1%}" for name, share in shares if share >= 0.0005)


@dataclass(frozen=True)
class Measured:
    """A network on the timing model: everything, and each layer by the tag of its program."""

    config: TpuConfig
    memory: MemoryTiming
    network: Network
    program: TpuProgram
    result: RunResult
    total: Account
    layers: tuple[Account, ...]

    @property
    def cycles(self) -> int:
        return self.total.cycles


def measure(network: Network, config: TpuConfig, memory: MemoryTiming) -> Measured:
    """Compile a network and account for every cycle that the timing model gives it."""
    program = compile_network(network, config)
    result = predict(program.instructions, config, memory, program=program.entry, timeline=True)
    assert result.trace is not None and result.cycles is not None
    found = attribute(result.trace, program)
    macs = found.macs_by_tag()
    layers = []
    for tag, causes in found.by_tag().items():
        layer = program.tags.get(tag, "(nobody's)")
        useful = macs.get(tag, 0.0) / config.peak_macs_per_cycle
        lost: dict[str, float] = {name: causes.get(cause, 0) for name, cause in CAUSES.items()}
        lost["idle lanes"] -= useful
        layers.append(Account(layer, sum(causes.values()), useful, lost))
    # the trace begins and ends with the first and last event, the counter a cycle or so away
    outside = result.cycles - sum(item.cycles for item in layers)
    last = layers[-1]
    lost = {**last.lost, "other": last.lost["other"] + outside}
    layers[-1] = Account(last.name, last.cycles + outside, last.useful, lost)
    total = together("total", layers)
    return Measured(config, memory, network, program, result, total, tuple(layers))


def together(name: str, items: list[Account]) -> Account:
    """The sum of accounts."""
    return Account(
        name,
        sum(item.cycles for item in items),
        sum(item.useful for item in items),
        {cause: sum(item.lost[cause] for item in items) for cause in CAUSES},
    )


def heading() -> str:
    """Of the lines of `row`."""
    return f"{'layer':<22}{'cycles':>10}{'useful':>8}" + "".join(f"{c:>11}" for c in CAUSES)


def row(item: Account) -> str:
    """One account: cycles, share of useful ones, lost cycles by cause."""
    lost = "".join(f"{item.lost[cause]:11.0f}" for cause in CAUSES)
    return f"{item.name:<22}{item.cycles:10d}{item.share:8.1%}{lost}"
