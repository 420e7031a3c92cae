"""`SessionConfig`: how a session's devices are made. Frozen, validated when made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sw.graph.errors import InvalidArgumentError

TPU_ENGINES = ("functional", "timing", "rtl")


@dataclass(frozen=True)
class SessionConfig:
    """`tpu`: the engine behind "/tpu:0": "functional", "timing", "rtl" or "fpga:<port>".
    `tpu_config`: the core's TpuConfig or a preset with overrides ("default,array=8"; None:
    "default"). `memory`: a MemoryTiming or its text ("latency=30"; None: its default). `verify`:
    run every program on the functional and the RTL engine and compare every byte. `profile`: keep
    for every run of a program when each of its instructions was at work ("timing" and "rtl").
    `operation_timeout_in_ms`: the `timeout_in_ms` of runs that give none (0: none). The TPU's own
    parameters are checked when the session first uses it."""

    tpu: str = "functional"
    tpu_config: Any = None
    memory: Any = None
    verify: bool = False
    operation_timeout_in_ms: int = 0
    profile: bool = False

    def __post_init__(self) -> None:
        engine = self.tpu
        fpga = isinstance(engine, str) and engine.startswith("fpga:") and len(engine) > 5
        if engine not in TPU_ENGINES and not fpga:
            raise InvalidArgumentError(
                f"SessionConfig(tpu={engine!r}): should be one of {', '.join(TPU_ENGINES)} "
                "or fpga:<port>"
            )
        for name in ("verify", "profile"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidArgumentError(
                    f"SessionConfig({name}={getattr(self, name)!r}): should be True or False"
                )
