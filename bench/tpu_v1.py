"""The six workloads of Jouppi et al., "In-Datacenter Performance Analysis of a TPU", ISCA 2017.

The paper gives for each workload its numbers of layers and weights, the batch, and operations per
weight byte (table 1), not the shapes. Those of `bench/networks/` are chosen to give these figures
and the share of useful among active products (table 3). Memory is 34 GB/s at 700 MHz.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench import networks
from bench.accounting import Measured, measure
from hw.tpu.config import PRESETS
from sim.memory import MemoryTiming

ASSUMED = (
    "assumed: MLPs of 2000x2000 and 740x1690; the LSTMs' matrices 768x2816 and 600x600, each row "
    "twice, because 16-bit activations run at half speed; CNN0 is 19x19 with 256 channels; CNN1 "
    "72 convolutions 3x3 of 176 channels on 16x16 and 80 M weights in 4 fully connected layers"
)


@dataclass(frozen=True)
class Workload:
    """`active`: per cent of cycles in which the array is active, in the paper's table 3. `rows`
    per weight: the batch, twice for 16-bit activations. `why` ours differs, if it does."""

    active: float
    rows: int
    why: str = ""


WORKLOADS = {
    "mlp0": Workload(12.7, 200),
    "mlp1": Workload(10.6, 168),
    "lstm0": Workload(8.2, 128),
    "lstm1": Workload(
        10.5,
        192,
        "not lost here: 10.3 % of the paper's cycles are no matrix work, 10.6 % wait for results; "
        "the products of gates are not modelled",
    ),
    "cnn0": Workload(
        78.2,
        8,
        "not lost here: 21.8 % of the paper's cycles are no matrix work, which here overlaps",
    ),
    "cnn1": Workload(
        46.2,
        32,
        "not lost here: 18.7 % of the paper's cycles are no matrix work, 22.8 % wait for results; "
        "the real shapes are not public",
    ),
}


def run(name: str) -> Measured:
    """A workload on the timing model."""
    config = PRESETS["tpu_v1"]
    memory = MemoryTiming(latency=30, bytes_per_cycle=34e9 / 700e6)
    network = networks.build(networks.table(name), WORKLOADS[name].rows)
    return measure(network, config, memory)
