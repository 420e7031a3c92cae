"""A content-keyed folder cache that two processes and Ctrl-C cannot corrupt.

An entry is a folder that appears under its key in one rename, complete or not at all. Two
processes that make the same entry both succeed; the second's work is thrown away.
"""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
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
    # Beside the entry, because a rename is atomic only within one file system.
    work = Path(tempfile.mkdtemp(prefix=f".{key[:8]}-", dir=entry.parent))
    try:
        make(work)
        try:
            work.rename(entry)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # Another process finished first; its content is the same by construction.
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return entry
