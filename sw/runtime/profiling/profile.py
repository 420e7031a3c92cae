"""`st.profile`: run a graph on the TPU and account for every cycle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.tpu.config import TpuConfig
from sim.memory import MemoryTiming
from sw.compiler.unit import Fallback
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor
from sw.runtime.config import SessionConfig
from sw.runtime.profiling.join import Joined, join
from sw.runtime.profiling.layers import LayerProfile, layer_profiles, to_dict
from sw.runtime.session import Session


@dataclass(frozen=True, eq=False)
class Profile:
    """One run of a network: `layers` and the whole, `run` with every instruction in time.

    `programs`: how many TPU programs it took; `fallback`: what ran on the CPU, and why.
    `bytes_per_cycle`: what the memory gives in either direction, `latency` cycles later.
    """

    name: str
    engine: str
    config: TpuConfig
    bytes_per_cycle: float
    latency: int
    layers: tuple[LayerProfile, ...]
    run: Joined
    programs: int
    fallback: tuple[Fallback, ...]

    @property
    def cycles(self) -> int:
        return self.run.cycles

    @property
    def macs(self) -> int:
        """Useful multiply-accumulates, those of the vector unit included."""
        return sum(layer.macs for layer in self.layers)

    @property
    def dram_bytes(self) -> dict[str, int]:
        """Bytes over the bus, "read" and "write"."""
        beats, size = self.run.counters, self.config.bus_bytes
        return {way: beats[f"dram_{way}_beats"] * size for way in ("read", "write")}

    @property
    def roofline(self) -> dict[str, float]:
        """The least cycles that the array ("compute") and the memory ("memory") need for this
        work, and the greater of them ("bound")."""
        compute = self.run.program.macs / self.config.peak_macs_per_cycle
        memory = max(self.dram_bytes.values()) / self.bytes_per_cycle
        return {"compute": compute, "memory": memory, "bound": max(compute, memory)}

    def to_dict(self) -> dict[str, Any]:
        """As data for JSON, under the command line's names."""
        peak, seconds = self.config.peak_macs_per_cycle, self.run.seconds
        return {
            "name": self.name,
            "engine": self.engine,
            "config": self.config.name,
            "cycles": self.cycles,
            "macs": self.macs,
            "peak_macs_per_cycle": peak,
            "utilisation": self.macs / (self.cycles * peak),
            "array_active": self.run.counters["array_active"] / self.cycles,
            "dram_read_bytes": self.dram_bytes["read"],
            "dram_write_bytes": self.dram_bytes["write"],
            "roofline": self.roofline,
            "of_roofline": self.roofline["bound"] / self.cycles,
            "programs": self.programs,
            "simulated_cycles_per_second": self.cycles / seconds if seconds else None,
            "seconds": seconds,
            "layers": [to_dict(layer) for layer in self.layers],
            "counters": dict(self.run.counters),
            "fallback": [asdict(item) for item in self.fallback],
        }


def profile(
    fetches: Any,
    feed_dict: Mapping[Any, Any] | None = None,
    *,
    graph: Graph | None = None,
    config: TpuConfig | str = "default",
    memory: MemoryTiming | str = "",
    engine: str = "timing",
    name: str = "network",
) -> Profile:
    """Run `fetches` (as `Session.run` takes them) once and say where the TPU's cycles went.

    Placeholders that `feed_dict` leaves out get random values, which change no cycle; unknown
    sizes are 1. `engine` is "timing" or "rtl". The graph must hold no variables that are not
    initialised: give a quantised or imported one. Raises `InvalidArgumentError` if nothing of it
    runs on the TPU.
    """
    home = graph if graph is not None else _graph_of(fetches)
    try:
        timing = MemoryTiming.parse(memory) if isinstance(memory, str) else memory
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"memory={memory!r}: {error}") from None
    settings = SessionConfig(tpu=engine, tpu_config=config, memory=timing, profile=True)
    with Session(graph=home, config=settings) as session:
        session.run(fetches, complete_feeds(home, feed_dict or {}))
    return profile_of(session, name)


def profile_of(session: Session, name: str = "network") -> Profile:
    """The profile of everything that a session (open or closed) has run on the TPU; its config
    must have asked for one. Raises `InvalidArgumentError` if that is nothing."""
    recordings, fallback = session.tpu_recordings, tuple(session.fallback)
    if not recordings:
        lost = "; ".join(f"{item.name}: {item.reason}" for item in fallback[:3])
        raise InvalidArgumentError(
            "nothing of this graph ran on the TPU" + (f" ({lost})" if lost else "")
        )
    run = join(recordings)
    core = run.program.config
    given = session.config.memory
    timing = given if isinstance(given, MemoryTiming) else MemoryTiming.parse(given or "")
    bandwidth = min(float(timing.bytes_per_cycle), float(core.bus_bytes))
    layers = tuple(layer_profiles(run, bandwidth))
    engine = recordings[0].result.engine
    return Profile(
        name, engine, core, bandwidth, timing.latency, layers, run, len(recordings), fallback
    )


def complete_feeds(graph: Graph, feeds: Mapping[Any, Any], seed: int = 0) -> dict[Any, Any]:
    """`feeds` and random values for the placeholders that are not among them."""
    given = {graph.as_graph_element(key) for key in feeds}
    rng = np.random.default_rng(seed)
    full = dict(feeds)
    for op in graph.get_operations():
        if op.type == "placeholder" and op.outputs[0] not in given:
            full[op.outputs[0].name] = random_value(op.outputs[0], rng)
    return full


def random_value(tensor: Tensor, rng: np.random.Generator) -> NDArray[Any]:
    """A value of the placeholder's type; sizes that are not known are 1."""
    shape: Shape = tensor.shape
    if shape.dims is None:
        raise InvalidArgumentError(f"placeholder {tensor.name!r} has no known rank: feed it")
    sizes = tuple(1 if size is None else size for size in shape.dims)
    kind = np.dtype(tensor.dtype.numpy)
    if kind.kind == "f":
        return rng.normal(size=sizes).astype(kind)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        low = max(int(limits.min), -128)
        return rng.integers(low, min(int(limits.max), 127) + 1, sizes).astype(kind)
    return np.zeros(sizes, kind)


def _graph_of(fetches: Any) -> Graph:
    first = next(iter(fetches)) if isinstance(fetches, (list, tuple, set)) else fetches
    if isinstance(first, str):
        raise InvalidArgumentError("fetches are names: give the graph too")
    found: Graph = first._operand().graph
    return found
