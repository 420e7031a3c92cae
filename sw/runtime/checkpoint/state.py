"""Which checkpoints a directory has: a small sealed file, and the directory itself if that is
damaged."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from sw.graph.errors import DataLossError, NotFoundError
from sw.runtime.checkpoint.bundle import CheckpointReader, index_path
from sw.runtime.checkpoint.files import read, seal, unseal, write_atomically

NAME = "checkpoint"


@dataclass
class CheckpointState:
    """The newest checkpoint and all that are kept, oldest first, as paths without suffix."""

    model_checkpoint_path: str
    all_model_checkpoint_paths: list[str] = field(default_factory=list)


def update_checkpoint_state(
    save_dir: str,
    model_checkpoint_path: str,
    all_model_checkpoint_paths: list[str] | None = None,
    latest_filename: str | None = None,
) -> None:
    """Write the state; paths in `save_dir` are stored relative to it, so that it can be moved."""

    def short(path: str) -> str:
        inside = os.path.dirname(os.path.abspath(path)) == os.path.abspath(save_dir)
        return os.path.basename(path) if inside else os.path.abspath(path)

    every = [*(all_model_checkpoint_paths or []), model_checkpoint_path]
    names = list(dict.fromkeys(short(p) for p in every))
    content = {"latest": short(model_checkpoint_path), "all": names}
    write_atomically(os.path.join(save_dir, latest_filename or NAME), seal(content))


def get_checkpoint_state(
    checkpoint_dir: str, latest_filename: str | None = None
) -> CheckpointState | None:
    """The state of a directory, or None when it has no checkpoint. If its file is missing or
    damaged, the index files in the directory tell, by their age."""
    path = os.path.join(checkpoint_dir, latest_filename or NAME)
    try:
        content = unseal(read(path), path)
        every = [os.path.join(checkpoint_dir, name) for name in content["all"]]
        return CheckpointState(os.path.join(checkpoint_dir, content["latest"]), every)
    except (NotFoundError, DataLossError):
        found = _scan(checkpoint_dir)
        return CheckpointState(found[-1], found) if found else None


def _scan(directory: str) -> list[str]:
    if not os.path.isdir(directory):
        return []
    names = [n.removesuffix(".index") for n in os.listdir(directory) if n.endswith(".index")]
    prefixes = [os.path.join(directory, n) for n in names]
    return sorted(prefixes, key=lambda p: (os.stat(index_path(p)).st_mtime_ns, p))


def latest_checkpoint(
    checkpoint_dir: str, latest_filename: str | None = None, verify: bool = True
) -> str | None:
    """The newest checkpoint of a directory, or None. With `verify` the newest one that is whole: a
    damaged one is passed over."""
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    if state is None:
        return None
    tried = [state.model_checkpoint_path, *reversed(state.all_model_checkpoint_paths)]
    for prefix in dict.fromkeys([*tried, *reversed(_scan(checkpoint_dir))]):
        if checkpoint_exists(prefix) and (not verify or is_whole(prefix)):
            return prefix
    return None


def checkpoint_exists(checkpoint_prefix: str) -> bool:
    """Whether there is an index of that name."""
    return os.path.exists(index_path(checkpoint_prefix))


def is_whole(prefix: str) -> bool:
    """Whether every bit of the checkpoint is as it was written."""
    try:
        CheckpointReader(prefix).verify()
    except (NotFoundError, DataLossError):
        return False
    return True
