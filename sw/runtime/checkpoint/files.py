"""Files that are there completely or not at all, and JSON that notices every flipped bit."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from typing import Any

from sw.graph.errors import DataLossError, NotFoundError

_TEMPORARY = ".tmp-"


def remove_leftovers(directory: str) -> None:
    """Remove what writers left that were killed. Nobody may be writing to the directory."""
    for name in os.listdir(directory) if os.path.isdir(directory) else []:
        if name.startswith(_TEMPORARY):
            os.unlink(os.path.join(directory, name))


def write_atomically(path: str, data: bytes) -> None:
    """Replace the file by `data`: written beside it, flushed to the disk, then renamed. Whatever
    happens in between, `path` holds the old content or the new one."""
    directory = os.path.dirname(path) or "."
    os.makedirs(directory, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=directory)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    folder = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself
    finally:
        os.close(folder)


def read(path: str) -> bytes:
    """The bytes of a file; raises `NotFoundError` with its name."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise NotFoundError(f"cannot read {path!r}: {error.strerror or error}") from None


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def seal(content: Any) -> bytes:
    """JSON of `content` on one line, its SHA-256 on the next."""
    body = json.dumps(content, sort_keys=True, allow_nan=True).encode()
    return body + b"\n" + digest(body).encode() + b"\n"


def unseal(data: bytes, path: str) -> Any:
    """The content of `seal`; raises `DataLossError` naming the file when any bit differs."""
    body, newline, rest = data.partition(b"\n")
    if not newline or rest != digest(body).encode() + b"\n":
        raise DataLossError(f"{path!r} is damaged or cut off: its checksum does not match")
    return json.loads(body)
