"""Without these a typing slip in `--memory` would silently run another experiment."""

import pytest

from sim.memory import MemoryTiming


def test_parse_keeps_defaults_and_accepts_fractions() -> None:
    assert MemoryTiming.parse("") == MemoryTiming()
    timing = MemoryTiming.parse("latency=60, bytes_per_cycle=12.8,jitter=3,seed=9")
    assert timing == MemoryTiming(60, 12.8, 3, 9)


@pytest.mark.parametrize(
    "text", ["latency", "latency=", "latency=x", "speed=3", "latency=1,latency=2", "latency=0",
             "bytes_per_cycle=0", "latency=1.5", "jitter=-1"],
)  # fmt: skip
def test_parse_names_what_is_wrong(text: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        MemoryTiming.parse(text)
    assert text.split("=")[0] in str(caught.value)
