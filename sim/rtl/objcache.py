"""Compiler wrapper that keeps Verilator's own runtime objects, and only those.

Verilated makefiles run `$(OBJCACHE) $(CXX) ... -c -o x.o x.cpp`. The runtime (verilated.cpp and
friends) takes most of a small model's build and never changes; model files always do. Used as
`python -S objcache.py c++ ...`; imports only the standard library because it starts often.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def runtime_source(arguments: list[str]) -> Path | None:
    """The one source file when it belongs to Verilator's runtime and is compiled, not linked."""
    sources = [Path(a) for a in arguments if a.endswith(".cpp")]
    if "-c" not in arguments or "-o" not in arguments or len(sources) != 1:
        return None
    source = sources[0]
    is_runtime = source.name.startswith("verilated") and (source.parent / "verilated.h").exists()
    return source if is_runtime else None


def object_key(arguments: list[str], source: Path, target: str, identity: str) -> str:
    """Key over the command without its output name, the compiler, the source and all headers."""
    compiler = shutil.which(arguments[0]) or arguments[0]
    stat = os.stat(compiler)
    kept = [a for a in arguments if a != target]
    digest = hashlib.sha256(repr((kept, compiler, stat.st_size, stat.st_mtime_ns)).encode())
    digest.update(identity.encode())
    for path in [source, *sorted(source.parent.glob("*.h"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:40]


def main(arguments: list[str]) -> int:
    """Run the compile command or serve its object from the cache; the compiler's status."""
    source = runtime_source(arguments)
    folder = os.environ.get("SYSTOLICA_OBJECTS")
    if source is None or not folder:
        return subprocess.call(arguments)
    target = arguments[arguments.index("-o") + 1]
    identity = os.environ.get("SYSTOLICA_CPU", "")
    kept = Path(folder) / f"{object_key(arguments, source, target, identity)}.o"
    if kept.exists():
        shutil.copyfile(kept, target)
        return 0
    status = subprocess.call(arguments)
    if status == 0:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as temporary:
            temporary.write(Path(target).read_bytes())
        os.replace(temporary.name, kept)  # atomic: a reader sees all or nothing
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
