"""`Saver`: the values of variables to disk and back."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from sw.graph.errors import DTypeError, InvalidArgumentError, ShapeError
from sw.graph.graph import GraphKeys, get_default_graph
from sw.graph.ops.variables import Variable
from sw.runtime.checkpoint.bundle import CheckpointReader, files_of, write
from sw.runtime.checkpoint.inspect import remove_checkpoint
from sw.runtime.checkpoint.meta_graph import export_meta_graph
from sw.runtime.checkpoint.state import (
    get_checkpoint_state,
    latest_checkpoint,
    update_checkpoint_state,
)


def _named(var_list: Any) -> dict[str, Variable]:
    if isinstance(var_list, Mapping):
        named = dict(var_list)
    else:
        named = {}
        for variable in var_list:
            name = variable.op.attrs["shared_name"]
            if name in named:
                raise InvalidArgumentError(f"two variables are named {name!r}")
            named[name] = variable
    for name, variable in named.items():
        if not isinstance(variable, Variable):
            raise DTypeError(f"{name!r}: {variable!r} is not a Variable")
    return named


class Saver:
    """Saves and restores `var_list`: variables, or a dict from names in the checkpoint to variables
    (default: the global variables when it is first used).

    `max_to_keep` checkpoints are kept (None or 0: all), and besides one every
    `keep_checkpoint_every_n_hours`. `sharded`: a file per device. `reshape`: restoring may change
    shapes of equal size. A checkpoint appears at once or not at all, whenever the process dies.
    """

    def __init__(
        self,
        var_list: Any = None,
        reshape: bool = False,
        sharded: bool = False,
        max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000.0,
        name: str | None = None,
        restore_sequentially: bool = False,
        saver_def: Any = None,
        builder: Any = None,
        defer_build: bool = False,
        allow_empty: bool = False,
    ) -> None:
        self._graph = get_default_graph().root
        self._given = var_list
        self._reshape, self._sharded = reshape, sharded
        self._most, self._hours = max_to_keep, keep_checkpoint_every_n_hours
        self._allow_empty = allow_empty
        self._kept: list[tuple[str, float]] = []
        self._next_to_stay = time.time() + keep_checkpoint_every_n_hours * 3600
        self._variables: dict[str, Variable] = {}
        if not defer_build and var_list is not None:
            self.build()

    def build(self) -> None:
        """Fix the list of variables. Raises `InvalidArgumentError` when it is empty."""
        if self._variables:
            return
        chosen = self._given
        if chosen is None:
            chosen = self._graph.get_collection(GraphKeys.GLOBAL_VARIABLES)
        self._variables = _named(chosen)
        if not self._variables and not self._allow_empty:
            raise InvalidArgumentError("there are no variables to save")

    @property
    def last_checkpoints(self) -> list[str]:
        """The checkpoints that are kept, oldest first."""
        return [path for path, _ in self._kept]

    def set_last_checkpoints(self, last_checkpoints: list[str]) -> None:
        """Take over checkpoints of an earlier run, so that they count as kept."""
        self._kept = [(path, 0.0) for path in last_checkpoints]

    def recover_last_checkpoints(self, checkpoint_paths: list[str]) -> None:
        """`set_last_checkpoints` of those that exist."""
        self.set_last_checkpoints([p for p in checkpoint_paths if files_of(p)])

    def save(
        self,
        sess: Any,
        save_path: str,
        global_step: Any = None,
        latest_filename: str | None = None,
        meta_graph_suffix: str = "meta",
        write_meta_graph: bool = True,
        write_state: bool = True,
        session_state: bool = False,
    ) -> str:
        """Write a checkpoint; its path, `save_path` with "-step" when `global_step` (a number, a
        tensor or a variable) is given. Raises `FailedPreconditionError` naming a variable without
        a value.

        With `session_state` the checkpoint also holds the counters of random ops, local variables,
        and what is in queues and readers: a run that is restored from it goes on bit for bit."""
        self.build()
        if not os.path.basename(save_path):
            raise InvalidArgumentError(f"save_path {save_path!r} names a directory, not a file")
        prefix = save_path
        if global_step is not None:
            plain = isinstance(global_step, (int, np.integer))
            prefix = f"{save_path}-{int(global_step if plain else sess.run(global_step))}"
        state = None
        if session_state:
            own = [v.op.attrs["shared_name"] for v in self._variables.values()]
            state = sess.container.snapshot(own)
        values = sess.run({n: v.value() for n, v in self._variables.items()})
        write(prefix, self._shards(values), state)
        if write_meta_graph:
            export_meta_graph(f"{prefix}.{meta_graph_suffix}", graph=self._graph)
        self._kept = [entry for entry in self._kept if entry[0] != prefix]
        self._kept.append((prefix, time.time()))
        gone = self._expired()
        if write_state:
            directory = os.path.dirname(prefix) or "."
            update_checkpoint_state(directory, prefix, self.last_checkpoints, latest_filename)
        for path in gone:  # only when the state no longer names it
            remove_checkpoint(path, meta_graph_suffix=meta_graph_suffix)
        return prefix

    def _shards(self, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        if not self._sharded:
            return [dict(values)]
        by_device: dict[str, dict[str, Any]] = {}
        for name, variable in self._variables.items():
            by_device.setdefault(variable.device, {})[name] = values[name]
        return [by_device[device] for device in sorted(by_device)]

    def _expired(self) -> list[str]:
        gone = []
        while self._most and len(self._kept) > self._most:
            path, when = self._kept.pop(0)
            if when > self._next_to_stay:
                self._next_to_stay += self._hours * 3600
            else:
                gone.append(path)
        return gone

    def restore(self, sess: Any, save_path: str, session_state: bool = False) -> None:
        """Set the variables to the values of a checkpoint, which are all checked before the first
        is set; with `session_state` also what else `save` wrote of the session. Raises
        `NotFoundError`, `DataLossError`, or `ShapeError` and `DTypeError` naming the variable that
        does not fit."""
        self.build()
        reader = CheckpointReader(save_path)
        state = reader.get_session_state() if session_state else None
        values: list[tuple[Variable, Any]] = []
        for name, variable in self._variables.items():
            value = reader.get_tensor(name)
            if value.dtype != variable.dtype.numpy:
                raise DTypeError(
                    f"{name!r} is {value.dtype} in {save_path!r}, the variable {variable.dtype}"
                )
            if not variable.shape.compatible(value.shape):
                if not self._reshape or variable.shape.num_elements() != value.size:
                    raise ShapeError(
                        f"{name!r} has shape {value.shape} in {save_path!r}, the variable "
                        f"{variable.shape}"
                    )
                value = value.reshape(variable.shape.sizes())
            values.append((variable, value))
        load_values(sess, values)
        if state is not None:
            sess.container.restore(*state)

    def restore_latest(
        self, sess: Any, checkpoint_dir: str, session_state: bool = False
    ) -> str | None:
        """Restore the newest whole checkpoint of a directory; its path, or None without one."""
        found = latest_checkpoint(checkpoint_dir)
        if found is not None:
            self.restore(sess, found, session_state)
            state = get_checkpoint_state(checkpoint_dir)
            self.recover_last_checkpoints(state.all_model_checkpoint_paths if state else [])
        return found


def load_values(sess: Any, values: list[tuple[Variable, Any]]) -> None:
    """Set variables in as few runs as possible: those that share an initial value's tensor, which
    is what is fed, go one after the other."""
    while values:
        feeds: dict[Any, Any] = {}
        now, later = [], []
        for variable, value in values:
            initial = variable.initializer.inputs[1]
            if initial in feeds:
                later.append((variable, value))
            else:
                feeds[initial] = value
                now.append(variable.initializer)
        sess.run(now, feeds)
        values = later
