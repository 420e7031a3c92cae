"""The device kinds that there are, and a session's own set of devices."""

from __future__ import annotations

import importlib
import importlib.util
import threading
from typing import Any

from sw.compiler.unit import Fallback
from sw.graph.device import parse
from sw.graph.operation import Operation
from sw.graph.state import Container
from sw.runtime.config import SessionConfig
from sw.runtime.devices.base import Device

PREFIX = "/job:localhost/replica:0/task:0"

# Named, not imported: a device's module brings heavy libraries, which only its users pay for.
KINDS: dict[str, tuple[str, str]] = {
    "cpu": ("sw.runtime.devices.cpu", "CpuDevice"),
    "tpu": ("sw.runtime.devices.tpu", "TpuDevice"),
}


def available(config: SessionConfig | None = None) -> list[str]:
    """The full names of this process's devices, the CPUs first: as many CPUs as `config` asks for,
    at most one of each other kind."""
    config = config or SessionConfig()
    return [
        f"{PREFIX}/{kind}:{index}"
        for kind, (module, _) in KINDS.items()
        if importlib.util.find_spec(module) is not None
        for index in range(config.most(kind) if kind == "cpu" else min(config.most(kind), 1))
    ]


class DeviceSet:
    """The devices of one session, each made when it is first used."""

    def __init__(self, config: SessionConfig, resources: Container) -> None:
        self.names = tuple(available(config))
        self._config = config
        self._resources = resources
        self.fallback: list[Fallback] = []  # from bodies of branches and loops
        self._made: dict[str, Any] = {}
        self._costs: Any = None
        self._lock = threading.Lock()

    def get(self, name: str) -> Device:
        """The device of that full name."""
        with self._lock:
            if name not in self._made:
                module, cls = KINDS[str(parse(name).kind)]
                made = getattr(importlib.import_module(module), cls)
                device = self._made[name] = made(name, self._config, self._resources)
                if hasattr(device, "devices"):
                    device.devices = self
            found: Device = self._made[name]
            return found

    def made(self) -> list[Device]:
        """The devices that have been used so far."""
        with self._lock:
            return list(self._made.values())

    def supports(self, name: str, op: Operation) -> str | None:
        """None when the device takes `op`, else the reason why not."""
        return self.get(name).supports(op)

    def costs(self) -> Any:
        """What placement by simulation goes by, None if the session places by names."""
        if self._config.placement == "named":
            return None
        with self._lock:
            if self._costs is None:
                module = importlib.import_module("sw.runtime.devices.costs")
                self._costs = module.CostModel(self._config)
            return self._costs

    def close(self) -> None:
        """Close every device that was made; their reports can still be read."""
        with self._lock:
            for device in self._made.values():
                device.close()
