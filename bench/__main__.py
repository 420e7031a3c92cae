"""Run the benches: `python -m bench [NAME...]`; every module of this folder with a `main`.

Each prints what it measured beside its bound and its peers.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def benches() -> list[str]:
    """Names of the modules that are benches, in alphabetical order."""
    return [
        info.name
        for info in pkgutil.iter_modules([str(HERE)])
        if "\ndef main(" in (HERE / f"{info.name}.py").read_text() and info.name != "__main__"
    ]


def main(wanted: list[str]) -> int:
    """Run those named, or all; 2 for an unknown name."""
    known = benches()
    if unknown := [name for name in wanted if name not in known]:
        print(f"no bench {unknown[0]!r}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    for name in wanted or known:
        begin = time.perf_counter()
        print(f"== {name}", flush=True)
        importlib.import_module(f"bench.{name}").main()
        print(f"   ({time.perf_counter() - begin:.0f} s)\n", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
