"""How the memory behind the core's AXI port behaves in time; shared by all simulators."""

import re
from dataclasses import dataclass, fields
from typing import Self


@dataclass(frozen=True)
class MemoryTiming:
    """Timing of a DRAM behind AXI, in core clock cycles.

    - `latency`: from the cycle that accepts a read address to the cycle of its first beat at
      the earliest, and from the last write beat to its response; at least 1.
    - `bytes_per_cycle`: a token bucket for read beats and another for write beats. Each gains
      this many bytes per cycle, holds less than a bus word and one cycle's gain, starts full,
      and a beat waits until the bucket holds a whole bus word.
    - `jitter`: 0 is deterministic; otherwise each burst waits 0..jitter further cycles and
      every ready and valid of the memory has random gaps.
    - `seed`: of the random numbers behind `jitter`.
    """

    latency: int = 30
    bytes_per_cycle: float = 8
    jitter: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        limits = {
            "latency": (1, 1 << 20),
            "bytes_per_cycle": (1 / 64, 1 << 12),
            "jitter": (0, 1 << 20),
            "seed": (0, (1 << 64) - 1),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            kinds = (int, float) if name == "bytes_per_cycle" else (int,)
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise TypeError(f"{name} must be a number of type {kinds[-1].__name__}: {value!r}")
            if not low <= value <= high:
                raise ValueError(f"{name} must lie in {low}..{high}: {value!r}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `"latency=30,bytes_per_cycle=8"`; what is not named keeps its default.

        >>> MemoryTiming.parse("latency=4,jitter=2")
        MemoryTiming(latency=4, bytes_per_cycle=8, jitter=2, seed=1)
        """
        names = [field.name for field in fields(cls)]
        values: dict[str, int | float] = {}
        for item in filter(None, (part.strip() for part in text.split(","))):
            name, equals, number = (part.strip() for part in item.partition("="))
            if not equals or name not in names:
                raise ValueError(f"memory timing {item!r}: expected one of {names} as name=value")
            if name in values:
                raise ValueError(f"memory timing {name!r} is given twice")
            if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", number):
                raise ValueError(f"memory timing {name}: not a number: {number!r}")
            values[name] = float(number) if "." in number else int(number)
        return cls(**values)  # type: ignore[arg-type]  # __post_init__ checks every value
