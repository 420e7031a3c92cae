"""A shared object from C++ sources, compiled at first use and kept by content."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sim.rtl import cache as folders
from sim.rtl import toolchain

FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-Wall", "-shared", "-fPIC", "-fvisibility=hidden",
    # a product and a sum round twice, as they are written
    "-ffp-contract=off",
)  # fmt: skip


class BuildError(RuntimeError):
    """The C++ compiler refused the source; the message holds what it said."""


def library(
    kind: str, source: Path, generated: Mapping[str, str], flags: Sequence[str] = ()
) -> ctypes.CDLL:
    """`source` and the headers beside it, with `generated` (name: text), compiled and loaded.

    Kept as cache entry `kind` by all these texts, the compiler and the CPU. Raises
    `toolchain.ToolMissing` without a compiler and `BuildError` if it refuses.
    """
    compiler = toolchain.require(toolchain.compiler())
    options = [*FLAGS, *flags]
    texts = [source, *sorted(source.parent.glob("*.h"))]
    key = folders.content_key(
        [
            *(part for name in sorted(generated) for part in (name, generated[name])),
            *options,
            compiler.version or "",
            toolchain.cpu_identity(),
            *(text.read_bytes() for text in texts),
        ]
    )

    def make(folder: Path) -> None:
        if sys.stderr.isatty():
            print(f"compiling {source.name}, some seconds, once", file=sys.stderr, flush=True)
        for name, text in generated.items():
            (folder / name).write_text(text)
        done = subprocess.run(
            [compiler.path or "c++", *options, f"-I{folder}", str(source),
             "-o", str(folder / f"{kind}.so")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise BuildError(f"building {source.name} failed:\n{done.stderr[-6000:]}")

    return ctypes.CDLL(str(folders.get_or_make(kind, key, make) / f"{kind}.so"))
