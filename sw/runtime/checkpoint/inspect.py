"""Looking at checkpoints without a graph, waiting for new ones, and removing them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from sw.graph.errors import NotFoundError
from sw.runtime.checkpoint.bundle import CheckpointReader, files_of, index_path
from sw.runtime.checkpoint.state import latest_checkpoint


def load_checkpoint(ckpt_dir_or_file: str) -> CheckpointReader:
    """The reader of a checkpoint, or of the newest one of a directory. Raises `NotFoundError`."""
    if not os.path.isdir(ckpt_dir_or_file):
        return CheckpointReader(ckpt_dir_or_file)
    found = latest_checkpoint(ckpt_dir_or_file)
    if found is None:
        raise NotFoundError(f"the directory {ckpt_dir_or_file!r} has no checkpoint")
    return CheckpointReader(found)


def load_variable(ckpt_dir_or_file: str, name: str) -> Any:
    """The array of that name in a checkpoint; "name:0" is found too."""
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name.removesuffix(":0"))


def list_variables(ckpt_dir_or_file: str) -> list[tuple[str, list[int]]]:
    """(name, shape) of everything in a checkpoint, by name."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def get_checkpoint_mtimes(checkpoint_prefixes: list[str]) -> list[float]:
    """When each of the checkpoints that exist was written, in seconds since 1970."""
    paths = [index_path(prefix) for prefix in checkpoint_prefixes]
    return [os.path.getmtime(path) for path in paths if os.path.exists(path)]


def remove_checkpoint(
    checkpoint_prefix: str, checkpoint_format_version: Any = None, meta_graph_suffix: str = "meta"
) -> None:
    """Remove the files of a checkpoint and of its MetaGraph; one that is not there is no error."""
    meta = f"{checkpoint_prefix}.{meta_graph_suffix}"
    for path in (*files_of(checkpoint_prefix), meta, f"{meta}.safetensors"):
        if os.path.exists(path):
            os.unlink(path)


def checkpoints_iterator(
    checkpoint_dir: str,
    min_interval_secs: float = 0,
    timeout: float | None = None,
    timeout_fn: Callable[[], bool] | None = None,
) -> Iterator[str]:
    """Each new checkpoint of a directory as it comes, at most one every `min_interval_secs`; those
    that came and went meanwhile are passed over. Ends when none comes for `timeout` seconds
    (unless `timeout_fn`, which is then asked, says False)."""
    seen: str | None = None
    while True:
        found = _wait_for_new(checkpoint_dir, seen, timeout)
        if found is None:
            if timeout_fn is None or timeout_fn():
                return
            continue
        seen, start = found, time.monotonic()
        yield found
        time.sleep(max(0.0, start + min_interval_secs - time.monotonic()))


def _wait_for_new(directory: str, seen: str | None, timeout: float | None) -> str | None:
    until = None if timeout is None else time.monotonic() + timeout
    while True:
        found = latest_checkpoint(directory)
        if found is not None and found != seen:
            return found
        if until is not None and time.monotonic() >= until:
            return None
        time.sleep(0.05 if until is None else max(0.001, min(0.05, until - time.monotonic())))
