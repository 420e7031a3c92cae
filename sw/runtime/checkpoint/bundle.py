"""A checkpoint on disk: safetensors files with the values and an index that makes it one.

`PREFIX.index` is sealed JSON: the version, the shards with their SHA-256, and for each tensor its
shard, dtype, shape and SHA-256. It is written last: without it the shards are nothing, so a
write that was cut short leaves no checkpoint. Values whose dtype safetensors does not know are
stored as integers of the same size. The state of a session beside its variables (see
`sw.graph.state.Container.snapshot`) is a shard of its own, with its plain data in the index.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sw.graph.dtypes import as_dtype
from sw.graph.errors import DataLossError, NotFoundError
from sw.runtime.checkpoint.files import digest, read, seal, unseal, write_atomically

VERSION = 1
_AS_BYTES = {"bfloat16": np.uint16, "complex64": np.uint64, "complex128": np.uint64}


def index_path(prefix: str) -> str:
    """The index file of a checkpoint."""
    return f"{prefix}.index"


def shard_path(prefix: str, number: int, count: int) -> str:
    """A shard of a checkpoint."""
    return f"{prefix}.data-{number:05d}-of-{count:05d}.safetensors"


def _stored(array: Any) -> Any:
    kind = _AS_BYTES.get(as_dtype(array.dtype).name)
    solid = np.ascontiguousarray(array).reshape(np.shape(array))
    return solid if kind is None else np.atleast_1d(solid).view(kind)


def _entry(shard: int, array: Any) -> dict[str, Any]:
    return {
        "shard": shard,
        "dtype": as_dtype(array.dtype).name,
        "shape": list(array.shape),
        "sha256": digest(_stored(array).tobytes()),
    }


def write(
    prefix: str,
    shards: Sequence[Mapping[str, Any]],
    session: tuple[Any, Mapping[str, Any]] | None = None,
) -> list[str]:
    """Write the arrays, one file per mapping, and the session's state if it is given; the files
    written, the index last."""
    files: list[str] = []
    entries: list[dict[str, Any]] = []
    sums: list[str] = []
    everything = [*shards, *([] if session is None else [session[1]])]
    for number, values in enumerate(everything):
        path = shard_path(prefix, number, len(everything))
        arrays = {name: np.asarray(value) for name, value in values.items()}
        data = save({name: _stored(array) for name, array in arrays.items()})
        write_atomically(path, data)
        files.append(path)
        sums.append(digest(data))
        entries.append({n: _entry(number, array) for n, array in arrays.items()})
    content: dict[str, Any] = {"version": VERSION, "shards": sums}
    content["tensors"] = {n: e for entry in entries[: len(shards)] for n, e in entry.items()}
    if session is not None:
        content["session"] = {"data": session[0], "tensors": entries[-1]}
    write_atomically(index_path(prefix), seal(content))
    return [*files, index_path(prefix)]


class CheckpointReader:
    """The tensors of a checkpoint. Everything that is read is checked.

    Raises `NotFoundError` when there is no such checkpoint and `DataLossError`, naming the file or
    the tensor, for one that is damaged.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        path = index_path(prefix)
        content = unseal(read(path), path)
        if not isinstance(content, dict) or not {"version", "shards", "tensors"} <= set(content):
            raise DataLossError(f"{path!r} is no index of a checkpoint")
        if content["version"] != VERSION:
            raise DataLossError(
                f"{path!r} is a checkpoint of version {content['version']}; version {VERSION} "
                "can be read"
            )
        self._sums: list[str] = content["shards"]
        self._tensors: dict[str, Any] = content["tensors"]
        self._session: dict[str, Any] | None = content.get("session")
        self._loaded: dict[int, dict[str, Any]] = {}

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """The shape of each tensor."""
        return {name: list(entry["shape"]) for name, entry in self._tensors.items()}

    def get_variable_to_dtype_map(self) -> dict[str, Any]:
        """The dtype of each tensor."""
        return {name: as_dtype(entry["dtype"]) for name, entry in self._tensors.items()}

    def has_tensor(self, name: str) -> bool:
        """Whether there is a tensor of that name."""
        return name in self._tensors

    def get_tensor(self, name: str) -> np.ndarray[Any, Any]:
        """The value; raises `NotFoundError` naming near ones when there is none."""
        entry = self._tensors.get(name)
        if entry is None:
            near = [n for n in self._tensors if name.lower() in n.lower() or n in name][:3]
            hint = f"; it has {', '.join(near)}" if near else ""
            raise NotFoundError(f"the checkpoint {self.prefix!r} has no tensor {name!r}{hint}")
        return self._value(name, entry)

    def get_session_state(self) -> tuple[Any, dict[str, Any]] | None:
        """The state of the session beside its variables, for `Container.restore`; None when it
        was not saved."""
        if self._session is None:
            return None
        entries = self._session["tensors"].items()
        return self._session["data"], {name: self._value(name, e) for name, e in entries}

    def _value(self, name: str, entry: Any) -> np.ndarray[Any, Any]:
        stored = self._shard(entry["shard"]).get(name)
        if stored is None or digest(np.ascontiguousarray(stored).tobytes()) != entry["sha256"]:
            raise DataLossError(f"tensor {name!r} of {self.prefix!r} is damaged")
        kind = as_dtype(entry["dtype"]).numpy
        return stored.view(kind).reshape(entry["shape"])

    def _shard(self, number: int) -> dict[str, Any]:
        if number not in self._loaded:
            path = shard_path(self.prefix, number, len(self._sums))
            data = read(path)
            if digest(data) != self._sums[number]:
                raise DataLossError(f"{path!r} is damaged or cut off: its checksum does not match")
            try:
                self._loaded[number] = load(data)
            except SafetensorError as error:
                raise DataLossError(f"{path!r}: {error}") from None
        return self._loaded[number]

    def verify(self) -> None:
        """Read and check everything."""
        for number in range(len(self._sums)):
            self._shard(number)
        for name in self._tensors:
            self.get_tensor(name)
        self.get_session_state()

    def debug_string(self) -> str:
        """One line per tensor: name, dtype, shape, bytes."""
        lines = []
        for name, entry in sorted(self._tensors.items()):
            size = as_dtype(entry["dtype"]).size * int(np.prod(entry["shape"], dtype=np.int64))
            lines.append(f"{name}  {entry['dtype']}{entry['shape']}  {size} bytes")
        return "\n".join(lines)


def files_of(prefix: str) -> list[str]:
    """The files that belong to a checkpoint and exist."""
    folder, base = os.path.split(prefix)
    if not os.path.isdir(folder or "."):
        return []
    found = [
        n
        for n in sorted(os.listdir(folder or "."))
        if n == f"{base}.index" or n.startswith(f"{base}.data-")
    ]
    return [os.path.join(folder, n) for n in found]
