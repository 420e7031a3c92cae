"""From a `SessionConfig` to the engines behind "/tpu:0"."""

from __future__ import annotations

from collections.abc import Callable

from hw.tpu.config import ConfigError, TpuConfig
from sim.engine import Engine
from sim.memory import MemoryTiming
from sim.native.simulator import NativeSimulator
from sim.rtl.engine import RtlSimulator
from sim.timed import TimedSimulator
from sw.graph.errors import DTypeError, InvalidArgumentError, UnimplementedError
from sw.runtime.config import SessionConfig

Make = Callable[[int], Engine]
"""Makes an engine with so many bytes of DRAM."""


def core_of(config: SessionConfig) -> TpuConfig:
    """The core's sizes: a TpuConfig, or a preset with overrides ("default,array=8")."""
    given = "default" if config.tpu_config is None else config.tpu_config
    if isinstance(given, TpuConfig):
        return given
    if not isinstance(given, str):
        raise DTypeError(
            f"SessionConfig(tpu_config={given!r}): a TpuConfig or a preset's name is needed"
        )
    try:
        return TpuConfig.parse(given)
    except ConfigError as error:
        raise InvalidArgumentError(f"SessionConfig(tpu_config={given!r}): {error}") from None


def _memory_of(config: SessionConfig) -> MemoryTiming:
    given = config.memory
    if given is None:
        return MemoryTiming()
    if isinstance(given, MemoryTiming):
        return given
    try:
        return MemoryTiming.parse(given)
    except (AttributeError, TypeError, ValueError) as error:
        raise InvalidArgumentError(f"SessionConfig(memory={given!r}): {error}") from None


def engines_of(config: SessionConfig, core: TpuConfig) -> list[Make]:
    """Makers of the chosen engine and, with `verify`, of the one to compare it with.

    Raises `UnimplementedError` for engines that are not there.
    """
    memory = _memory_of(config)
    makers: dict[str, Make] = {
        "functional": lambda size: NativeSimulator(core, size),
        "timing": lambda size: TimedSimulator(core, size, memory, timeline=config.profile),
        "rtl": lambda size: RtlSimulator(
            core, size, memory=memory, progress=False, timeline=config.profile
        ),
    }
    if config.tpu not in makers:
        raise UnimplementedError(
            f"SessionConfig(tpu={config.tpu!r}): this engine comes later; "
            f"there are {', '.join(makers)}"
        )
    names = [config.tpu]
    if config.verify:
        names.append("functional" if config.tpu == "rtl" else "rtl")
    return [makers[name] for name in names]
