"""`SessionConfig`: how a session's devices are made. Frozen, validated when made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sw.graph.errors import InvalidArgumentError

TPU_ENGINES = ("functional", "timing", "rtl")
PLACEMENTS = ("named", "simulated")


@dataclass(frozen=True)
class SessionConfig:
    """`tpu`: the engine behind "/tpu:0": "functional", "timing", "rtl" or "fpga:<port>".
    `tpu_config`: the core's TpuConfig or a preset with overrides ("default,array=8"; None:
    "default"). `memory`: a MemoryTiming or its text ("latency=30"; None: its default). `verify`:
    run every program on the functional and the RTL engine and compare every byte. `profile`: keep
    for every run of a program when each of its instructions was at work ("timing" and "rtl").
    `operation_timeout_in_ms`: the `timeout_in_ms` of runs that give none (0: none).
    `device_count`: the most devices of each kind, as in TensorFlow 1.x; {"CPU": 4} makes "/cpu:0"
    to "/cpu:3" (a kind that is not named: one). `compress_transfers`: float32
    values cross from device to device as bfloat16, in half the bytes with a relative error of at
    most 2^-8. `enable_recv_scheduling`: a value from elsewhere is taken over right before its first
    use, not when its partition begins. `placement`: "named" (ops without a device run on the first
    CPU) or "simulated" (they run where a simulation says that the run is over first; float products
    that go to the TPU are quantised at its border). `measured`: the `step_stats` of a traced run,
    whose times on the CPU count more in the simulation than its estimates. `tpu_clock_mhz`: what a
    cycle is worth in it. The TPU's own parameters are checked when the session first uses it."""

    tpu: str = "functional"
    tpu_config: Any = None
    memory: Any = None
    verify: bool = False
    operation_timeout_in_ms: int = 0
    profile: bool = False
    device_count: Mapping[str, int] = field(default_factory=dict, hash=False)
    compress_transfers: bool = False
    enable_recv_scheduling: bool = True
    placement: str = "named"
    measured: Any = field(default=None, hash=False, repr=False)
    tpu_clock_mhz: float = 200.0

    def __post_init__(self) -> None:
        engine = self.tpu
        fpga = isinstance(engine, str) and engine.startswith("fpga:") and len(engine) > 5
        if engine not in TPU_ENGINES and not fpga:
            raise InvalidArgumentError(
                f"SessionConfig(tpu={engine!r}): should be one of {', '.join(TPU_ENGINES)} "
                "or fpga:<port>"
            )
        for name in ("verify", "profile", "compress_transfers", "enable_recv_scheduling"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidArgumentError(
                    f"SessionConfig({name}={getattr(self, name)!r}): should be True or False"
                )
        self._check_counts()
        if self.placement not in PLACEMENTS:
            raise InvalidArgumentError(
                f"SessionConfig(placement={self.placement!r}): should be one of "
                f"{', '.join(PLACEMENTS)}"
            )
        if not self.tpu_clock_mhz > 0:
            raise InvalidArgumentError(
                f"SessionConfig(tpu_clock_mhz={self.tpu_clock_mhz!r}): should be more than 0"
            )

    def _check_counts(self) -> None:
        counts = self.device_count
        if not isinstance(counts, Mapping):
            raise InvalidArgumentError(
                f'SessionConfig(device_count={counts!r}): should be a dict like {{"CPU": 4}}'
            )
        for kind, count in counts.items():
            least = int(isinstance(kind, str) and kind.lower() == "cpu")
            whole = isinstance(count, int) and not isinstance(count, bool)
            if not isinstance(kind, str) or not whole or count < least:
                raise InvalidArgumentError(
                    f"SessionConfig(device_count={{{kind!r}: {count!r}}}): should be a kind's name "
                    f"and a whole number, {least} or more"
                )

    def most(self, kind: str) -> int:
        """How many devices of that kind (lower case) there may be."""
        return {name.lower(): count for name, count in self.device_count.items()}.get(kind, 1)
