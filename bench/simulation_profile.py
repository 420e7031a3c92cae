"""Where the CPU time of the Verilated core goes, by unit of the hardware, summing to 100 %.

A sample of the program counter is taken at every tick of the CPU clock while the core runs the
program of `simulation_speed`, and is put down to the function that it fell into: the idle-skipping
model (docs/decisions/0011) has functions of one unit each. `python -m bench.simulation_profile
--config default --pure` for another size, or with the array's registers.
"""

from __future__ import annotations

import argparse
import ctypes
import re
import signal
import subprocess
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.simulation_speed import SPEEDS, Workload
from hw.tpu.config import TpuConfig

SECONDS = 20.0
"""CPU time that is sampled; at 250 samples a second that is one sample in 5,000 for 0.02 %."""
TICK = 0.001
# The first pattern that a function's name matches says what it belongs to.
_PLACES = (
    (r"^group_\d+__([a-z]+(?:_[a-z]+)*)", None),
    (r"SizedArray|array_step", "array"),
    (r"nba_sequent", "asking which groups are due"),
    (r"ico_sequent", "what depends on the pins"),
    (r"AxiMemory|h_|Harness", "memory model and clock loop"),
    (r"Vtop|[Vv]erilated|[Vv]l[A-Z]|eval", "Verilator's evaluation loop"),
)
ELSEWHERE = "C library and Python"


class _Region(ctypes.Structure):
    """`struct prof` of <sys/profil.h>: a histogram of a range of addresses."""

    _fields_ = (
        ("base", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("offset", ctypes.c_size_t),
        ("scale", ctypes.c_ulong),
    )


@dataclass(frozen=True)
class Profile:
    """Samples by place, and the CPU time per cycle that they share out."""

    samples: Counter[str]
    nanoseconds: float

    def rows(self) -> list[tuple[str, float, float]]:
        """(place, ns per cycle, share), the largest first."""
        total = self.samples.total()
        return [
            (name, self.nanoseconds * count / total, count / total)
            for name, count in self.samples.most_common()
        ]


def profile(config: TpuConfig, stand_in: bool = True, seconds: float = SECONDS) -> Profile:
    """Sample the core at work. Needs glibc and `nm`; RuntimeError without them."""
    with Workload(config, stand_in) as work:
        library = Path(work.engine.model.library)
        base = _loaded_at(library)
        names = _functions(library)
        work.run()  # warm
        counts = (ctypes.c_uint32 * (names[-1][0] // 4 + 4096))()
        other = (ctypes.c_uint32 * 2)()
        regions = (_Region * 2)(
            _Region(ctypes.addressof(counts), ctypes.sizeof(counts), base, 1 << 16),
            _Region(ctypes.addressof(other), ctypes.sizeof(other), 0, 2),  # whatever is outside
        )
        try:
            sprofil = ctypes.CDLL(None).sprofil
        except AttributeError as error:
            raise RuntimeError("this C library has no sprofil (glibc has)") from error
        words = 1  # PROF_UINT: counters of 32 bits
        if sprofil(regions, 2, None, words) != 0:
            raise RuntimeError("sprofil failed")
        signal.setitimer(signal.ITIMER_PROF, TICK, TICK)
        begin, cycles = time.process_time(), 0
        while (spent := time.process_time() - begin) < seconds:
            cycles += work.run()
        sprofil(None, 0, None, 0)
    samples: Counter[str] = Counter({ELSEWHERE: sum(other)})
    starts = [address for address, _ in names]
    for word, count in enumerate(counts):
        if count:
            samples[_place(names[max(0, bisect_right(starts, 4 * word) - 1)][1])] += count
    return Profile(samples, spent / cycles * 1e9)


def _place(function: str) -> str:
    for pattern, place in _PLACES:
        if (match := re.search(pattern, function)) is not None:
            return place or match[1]
    return ELSEWHERE


def _functions(library: Path) -> list[tuple[int, str]]:
    """(address, name) of each function, in order."""
    done = subprocess.run(["nm", "-C", str(library)], capture_output=True, text=True, check=True)
    found = [
        line.split(" ", 2) for line in done.stdout.splitlines() if line[0] in "0123456789abcdef"
    ]
    return sorted((int(address, 16), name) for address, kind, name in found if kind in "tTwW")


def _loaded_at(library: Path) -> int:
    """The address of the library's first byte in this process."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(library)):
            return int(line.partition("-")[0], 16)
    raise RuntimeError(f"{library} is not loaded")


def main(arguments: Sequence[str] = ()) -> None:
    """Print a line per unit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="default,array=8", help="size of the core")
    parser.add_argument("--pure", action="store_true", help="every register of the array")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="CPU time to sample")
    options = parser.parse_args(arguments)
    config = TpuConfig.parse(options.config)
    found = profile(config, not options.pure, options.seconds)
    targets = {item.config: item.target for item in SPEEDS}
    target = f", target {targets[config]:.0f}" if config in targets else ""
    print(
        f"{options.config}: {found.nanoseconds:.0f} ns a cycle, "
        f"{1e6 / found.nanoseconds:.0f} kcycle/s{target}; {found.samples.total()} samples"
    )
    print(f"{'unit':<32}{'ns/cycle':>9}{'share':>8}")
    for name, nanoseconds, share in found.rows():
        print(f"{name:<32}{nanoseconds:9.1f}{share:8.1%}")
    print(f"{'in all':<32}{found.nanoseconds:9.1f}{1:8.1%}")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
