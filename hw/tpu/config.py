"""The one description of a core's size: a frozen `TpuConfig` and its named presets.

Every unit, simulator and compiler pass receives a `TpuConfig` explicitly; nothing is global.
Pure data: this module knows no hardware.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

INT8_BYTES = 1
ACCUMULATOR_BYTES = 4
PARAMETER_SUBROWS = 8
"""Rows of `array` bytes in one parameter entry: four byte planes of bias, four of scale."""


class ConfigError(ValueError):
    """A configuration that no core can have; the message names the field and the bad value."""


def _power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


@dataclass(frozen=True)
class TpuConfig:
    """Sizes of one core.

    Units: *rows* are vectors of `array` lanes (int8 in the scratchpad, int32 in the accumulators);
    *tiles* are `array` x `array` int8 weights; *entries* hold one bias and one scale per lane.

    Raises `ConfigError` for sizes that cannot be built.
    """

    name: str = "default"
    array: int = 16
    """N: the array is N x N processing elements and every on-chip row has N lanes."""
    scratchpad_rows: int = 16384
    scratchpad_banks: int = 8
    """Equal consecutive ranges of rows; each bank reads one row and writes one row per cycle."""
    accumulator_rows: int = 512
    """Rows of *each* of the two accumulator banks."""
    weight_tiles: int = 4
    parameter_entries: int = 256
    lane_rows: int = 2048
    """Rows of the lane memory: depthwise weights and look-up tables."""
    bus_bits: int = 64
    address_bits: int = 32
    burst_beats: int = 16
    outstanding_bursts: int = 8
    queue_depth: int = 4

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.type == "int" and (
                not isinstance(getattr(self, field.name), int) or getattr(self, field.name) < 1
            ):
                raise ConfigError(
                    f"{field.name}={getattr(self, field.name)!r}: must be a positive whole number"
                )
        for field_name in ("array", "scratchpad_banks", "bus_bits", "burst_beats", "weight_tiles"):
            if not _power_of_two(getattr(self, field_name)):
                raise ConfigError(
                    f"{field_name}={getattr(self, field_name)}: must be a power of two"
                )
        if not 2 <= self.array <= 256:
            raise ConfigError(f"array={self.array}: must be from 2 to 256")
        if not 64 <= self.bus_bits <= 512:
            raise ConfigError(f"bus_bits={self.bus_bits}: AXI4 here is 64 to 512 bits wide")
        if not 16 <= self.address_bits <= 40:
            raise ConfigError(f"address_bits={self.address_bits}: must be from 16 to 40")
        if self.burst_beats > 256 or self.burst_beats * self.bus_bytes > 4096:
            raise ConfigError(
                f"burst_beats={self.burst_beats}: AXI4 allows 256 beats and 4096 bytes a burst"
            )
        if self.burst_beats * self.outstanding_bursts < 4:
            raise ConfigError(
                f"burst_beats={self.burst_beats} x outstanding_bursts={self.outstanding_bursts}: "
                "at least 4 beats must be under way, which the read buffer's registers hold"
            )
        if self.scratchpad_rows % self.scratchpad_banks or self.bank_rows % 2:
            raise ConfigError(
                f"scratchpad_rows={self.scratchpad_rows}: must be scratchpad_banks="
                f"{self.scratchpad_banks} times an even number"
            )
        if not _power_of_two(self.accumulator_rows):
            raise ConfigError(f"accumulator_rows={self.accumulator_rows}: must be a power of two")
        most_of = {"scratchpad_rows": 1 << 20, "accumulator_rows": 1 << 15, "lane_rows": 1 << 12}
        for field_name, most in most_of.items():
            if getattr(self, field_name) > most:
                raise ConfigError(f"{field_name}={getattr(self, field_name)}: at most {most}")

    def require_buildable(self) -> None:
        """Raises `ConfigError` for sizes that simulators take but the hardware does not."""
        if not _power_of_two(self.bank_rows):
            raise ConfigError(
                f"scratchpad_rows={self.scratchpad_rows} in {self.scratchpad_banks} banks: "
                "hardware needs banks of a power of two rows"
            )

    @property
    def bank_rows(self) -> int:
        """Rows of one scratchpad bank."""
        return self.scratchpad_rows // self.scratchpad_banks

    @property
    def bus_bytes(self) -> int:
        return self.bus_bits // 8

    @property
    def tile_bytes(self) -> int:
        """Bytes of one weight tile in DRAM."""
        return self.array * self.array

    @property
    def parameter_subrows(self) -> int:
        """Rows of N bytes of the parameter memory, as LOAD addresses it."""
        return self.parameter_entries * PARAMETER_SUBROWS

    @property
    def accumulator_total_rows(self) -> int:
        return 2 * self.accumulator_rows

    @property
    def peak_macs_per_cycle(self) -> int:
        return self.array * self.array

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that name every size (but not `name`)."""
        sizes = {key: value for key, value in self.to_dict().items() if key != "name"}
        return hashlib.sha256(json.dumps(sizes, sort_keys=True).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, int | str]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, int | str]) -> TpuConfig:
        """Inverse of `to_dict`; an unknown or missing field is a `ConfigError`."""
        names = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - names):
            raise ConfigError(f"unknown field {unknown[0]!r}; known: {', '.join(sorted(names))}")
        if missing := sorted(names - set(values)):
            raise ConfigError(f"field {missing[0]!r} is missing")
        return cls(**values)  # type: ignore[arg-type]  # __post_init__ checks every type

    @classmethod
    def parse(cls, text: str) -> TpuConfig:
        """A preset with overrides.

        >>> TpuConfig.parse("default,array=8,bus_bits=128").array
        8
        """
        preset, *overrides = text.split(",")
        if preset not in PRESETS:
            raise ConfigError(f"unknown preset {preset!r}; presets: {', '.join(PRESETS)}")
        values = PRESETS[preset].to_dict()
        for override in overrides:
            key, equals, value = override.partition("=")
            if not equals or key not in values or key == "name":
                sizes = ", ".join(name for name in values if name != "name")
                raise ConfigError(f"override {override!r}: want field=number with field of {sizes}")
            try:
                values[key] = int(value, 0)
            except ValueError:
                raise ConfigError(f"override {override!r}: {value!r} is no whole number") from None
        if overrides:
            values["name"] = text
        return cls.from_dict(values)


PRESETS: dict[str, TpuConfig] = {
    config.name: config
    for config in (
        TpuConfig(
            name="tiny",
            array=4,
            scratchpad_rows=1024,
            scratchpad_banks=4,
            accumulator_rows=64,
            parameter_entries=16,
            lane_rows=512,
        ),
        TpuConfig(
            name="ulx3s",
            array=8,
            scratchpad_rows=16384,
            accumulator_rows=256,
            parameter_entries=128,
        ),
        TpuConfig(),
        TpuConfig(name="large", array=32, bus_bits=128),
        # Jouppi et al., ISCA 2017: 256x256, 24 MiB unified buffer, 4096 accumulators, 4-tile FIFO
        TpuConfig(
            name="tpu_v1",
            array=256,
            scratchpad_rows=98304,
            scratchpad_banks=8,
            accumulator_rows=2048,
            parameter_entries=64,
            bus_bits=512,
        ),
    )
}
"""The named design points."""
