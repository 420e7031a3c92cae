"""A content-keyed folder cache that two processes and Ctrl-C cannot corrupt.

An entry is a folder that appears under its key in one rename, complete or not at all. Of several
processes that want the same entry, one makes it and the others wait.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path


def cache_root() -> Path:
    """`$SYSTOLICA_CACHE`, else `~/.cache/systolica`."""
    chosen = os.environ.get("SYSTOLICA_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "systolica"


def content_key(parts: Iterable[str | bytes]) -> str:
    """SHA-256 over the parts, each with its length, so that no two lists collide by joining."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:40]


def lookup(kind: str, key: str) -> Path | None:
    """The entry's folder when it exists."""
    entry = cache_root() / kind / key
    return entry if entry.is_dir() else None


def get_or_make(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder of entry `kind/key`; `make(folder)` fills it on a miss.

    Whatever `make` raises (KeyboardInterrupt included) leaves no entry and no litter.
    """
    entry = cache_root() / kind / key
    if entry.is_dir():
        return entry
    entry.parent.mkdir(parents=True, exist_ok=True)
    with _locked(cache_root() / "locks" / f"{kind}-{key}"):
        if entry.is_dir():
            return entry
        # Beside the entry, because a rename is atomic only within one file system.
        work = Path(tempfile.mkdtemp(prefix=f".{key[:8]}-", dir=entry.parent))
        try:
            make(work)
            work.rename(entry)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return entry


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file; the system releases it with the process, however that ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
