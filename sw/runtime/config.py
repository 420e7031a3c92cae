"""`SessionConfig`: how a session's devices are made. Frozen, validated when made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sw.graph.errors import InvalidArgumentError

TPU_ENGINES = ("functional", "timing", "rtl")


@dataclass(frozen=True)
class SessionConfig:
    """`tpu`: the engine behind "/tpu:0": "functional", "timing", "rtl" or "fpga:<port>".
    `tpu_config`: the core's TpuConfig (None: its default). `memory`: the memory model's
    parameters (None: its default). `verify`: run programs on two engines and compare."""

    tpu: str = "functional"
    tpu_config: Any = None
    memory: Any = None
    verify: bool = False

    def __post_init__(self) -> None:
        engine = self.tpu
        fpga = isinstance(engine, str) and engine.startswith("fpga:") and len(engine) > 5
        if engine not in TPU_ENGINES and not fpga:
            raise InvalidArgumentError(
                f"SessionConfig(tpu={engine!r}): should be one of {', '.join(TPU_ENGINES)} "
                "or fpga:<port>"
            )
        if not isinstance(self.verify, bool):
            raise InvalidArgumentError(
                f"SessionConfig(verify={self.verify!r}): should be True or False"
            )
