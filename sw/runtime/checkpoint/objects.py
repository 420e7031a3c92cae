"""`Checkpoint`: variables saved under the names of the objects that hold them, and
`CheckpointManager`: a directory of the last ones."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sw.graph.errors import DTypeError, InvalidArgumentError, NotFoundError, ShapeError
from sw.graph.layers.base import Layer
from sw.graph.ops.variables import Variable, is_variable_initialized
from sw.graph.train.optimizer import Optimizer
from sw.runtime.checkpoint.bundle import CheckpointReader, write
from sw.runtime.checkpoint.inspect import remove_checkpoint
from sw.runtime.checkpoint.saver import load_values
from sw.runtime.checkpoint.state import get_checkpoint_state, update_checkpoint_state

_COUNTER = "save_counter"


def _inside(item: Any) -> Iterator[tuple[str, Any]]:
    """The named parts of an object that may hold variables."""
    if isinstance(item, Mapping):
        yield from ((k, v) for k, v in item.items() if isinstance(k, str))
    elif isinstance(item, (list, tuple)):
        yield from ((str(i), v) for i, v in enumerate(item))
    elif isinstance(item, Layer):
        yield from ((v.op.attrs["shared_name"].rpartition("/")[2], v) for v in item.variables)
    elif isinstance(item, Optimizer):
        for name, part in vars(item).items():
            if name != "_slots":  # which belong to other variables: see `Checkpoint.variables`
                shared = isinstance(part, Mapping)  # state of all variables, by graph
                yield name.strip("_"), list(part.values()) if shared else part
    elif hasattr(item, "__dict__") and not isinstance(item, type):
        yield from ((k, v) for k, v in vars(item).items() if not k.startswith("_"))


class Checkpoint:
    """What `objects` hold: variables, layers, optimisers (with their slots), other checkpoints, and
    lists, dicts and attributes of these. Each variable is saved under the way to it, such as
    "model/hidden/kernel", whatever its name in the graph is; so a program with other names, or a
    part of a model, can read it."""

    def __init__(self, **objects: Any) -> None:
        for name in objects:
            if hasattr(type(self), name):
                raise InvalidArgumentError(f"{name!r} is the name of a method")
        self.__dict__.update(objects)
        self.save_counter = Variable(np.int64(0), trainable=False, name=_COUNTER)

    def variables(self) -> dict[str, Variable]:
        """Each variable that is held now by its name in the file."""
        found: dict[str, Variable] = {}
        optimizers: dict[str, Optimizer] = {}
        self._walk("", self, found, optimizers, set())
        keys = {v: k for k, v in found.items()}
        for prefix, optimizer in optimizers.items():
            for slot, owners in optimizer._slots.items():
                for owner, variable in owners.items():
                    key = keys.get(owner, owner.op.attrs["shared_name"])
                    found[f"{prefix}/slots/{key}/{slot}"] = variable
        return found

    def _walk(
        self, prefix: str, item: Any, found: dict[str, Variable], optimizers: Any, seen: set[int]
    ) -> None:
        if isinstance(item, Variable):
            found.setdefault(prefix, item)
            return
        if id(item) in seen:
            return
        seen.add(id(item))
        if isinstance(item, Optimizer):
            optimizers[prefix] = item
        for name, part in _inside(item):
            self._walk(f"{prefix}/{name}" if prefix else name, part, found, optimizers, seen)

    def _session(self, session: Any) -> Any:
        return self.save_counter.graph.session_for(session)

    def _count(self, session: Any) -> int:
        if not session.run(is_variable_initialized(self.save_counter)):
            session.run(self.save_counter.initializer)
        return int(session.run(self.save_counter))

    def write(self, file_prefix: str, session: Any = None) -> str:
        """Save under exactly that path. Raises `FailedPreconditionError` naming a variable without
        a value."""
        self._count(self._session(session))
        values = self._session(session).run({k: v.value() for k, v in self.variables().items()})
        write(file_prefix, [values])
        return file_prefix

    def save(self, file_prefix: str, session: Any = None) -> str:
        """Save under the path with "-1", "-2", ... and tell the directory; the path."""
        run = self._session(session)
        number = self._count(run) + 1
        self.save_counter.load(np.int64(number), run)
        path = self.write(f"{file_prefix}-{number}", run)
        update_checkpoint_state(os.path.dirname(path) or ".", path)
        return path

    def restore(self, save_path: str) -> RestoreStatus:
        """What is to be restored from a checkpoint; nothing is set yet: see `RestoreStatus`."""
        return RestoreStatus(self, CheckpointReader(save_path))

    read = restore


class RestoreStatus:
    """A checkpoint beside the objects that it is for."""

    def __init__(self, checkpoint: Checkpoint, reader: CheckpointReader) -> None:
        self._checkpoint, self._reader = checkpoint, reader

    def assert_existing_objects_matched(self) -> RestoreStatus:
        """Raise `NotFoundError` naming a variable that the file does not have."""
        for name in self._checkpoint.variables():
            if name != _COUNTER and not self._reader.has_tensor(name):
                raise NotFoundError(f"{self._reader.prefix!r} has no value for {name!r}")
        return self

    def assert_consumed(self) -> RestoreStatus:
        """`assert_existing_objects_matched`, and nothing in the file is left over."""
        own = self._checkpoint.variables()
        for name in self._reader.get_variable_to_shape_map():
            if name not in own:
                raise NotFoundError(f"no object holds {name!r} of {self._reader.prefix!r}")
        return self.assert_existing_objects_matched()

    def expect_partial(self) -> RestoreStatus:
        """Itself: what does not match is no error unless it is asserted."""
        return self

    def run_restore_ops(self, session: Any = None) -> None:
        """Set the variables that the file has, after all are checked. Raises `ShapeError` or
        `DTypeError` naming one that does not fit."""
        values = []
        for name, variable in self._checkpoint.variables().items():
            if not self._reader.has_tensor(name):
                continue
            value = self._reader.get_tensor(name)
            if value.dtype != variable.dtype.numpy:
                raise DTypeError(f"{name!r} is {value.dtype}, the variable {variable.dtype}")
            if not variable.shape.compatible(value.shape):
                raise ShapeError(f"{name!r} has shape {value.shape}, the variable {variable.shape}")
            values.append((variable, value))
        load_values(self._checkpoint._session(session), values)

    def initialize_or_restore(self, session: Any = None) -> None:
        """`run_restore_ops`; variables that the file does not have are initialised."""
        run = self._checkpoint._session(session)
        own = self._checkpoint.variables()
        run.run([v.initializer for n, v in own.items() if not self._reader.has_tensor(n)])
        self.run_restore_ops(run)


class CheckpointManager:
    """Saves a `Checkpoint` in `directory`, of which the last `max_to_keep` stay (None: all), and
    besides one every `keep_checkpoint_every_n_hours`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        directory: str,
        max_to_keep: int | None,
        keep_checkpoint_every_n_hours: float | None = None,
        checkpoint_name: str = "ckpt",
    ) -> None:
        if max_to_keep is not None and max_to_keep < 1:
            raise InvalidArgumentError(f"max_to_keep {max_to_keep} is not positive")
        self._checkpoint, self._directory = checkpoint, directory
        self._most, self._hours = max_to_keep, keep_checkpoint_every_n_hours
        self._prefix = os.path.join(directory, checkpoint_name)
        state = get_checkpoint_state(directory)
        self._kept = list(state.all_model_checkpoint_paths) if state else []
        self._stays = time.time()

    @property
    def checkpoints(self) -> list[str]:
        """The checkpoints that are kept, oldest first."""
        return list(self._kept)

    @property
    def latest_checkpoint(self) -> str | None:
        """The newest one; None when there is none."""
        return self._kept[-1] if self._kept else None

    def save(self, checkpoint_number: int | None = None, session: Any = None) -> str:
        """Save, and remove what is too much; the path. `checkpoint_number`: its number in place of
        the next one."""
        if checkpoint_number is None:
            path = self._checkpoint.save(self._prefix, session)
        else:
            path = self._checkpoint.write(f"{self._prefix}-{int(checkpoint_number)}", session)
        self._kept = [p for p in self._kept if p != path] + [path]
        gone = []
        while self._most is not None and len(self._kept) > self._most:
            oldest = self._kept.pop(0)
            if self._hours is not None and time.time() >= self._stays + self._hours * 3600:
                self._stays = time.time()
            else:
                gone.append(oldest)
        update_checkpoint_state(self._directory, path, self._kept)
        for old in gone:  # only when the state no longer names it
            remove_checkpoint(old)
        return path

    def restore_or_initialize(self, session: Any = None) -> str | None:
        """Set the variables from the newest checkpoint; its path. Without one initialise them;
        None."""
        newest = self.latest_checkpoint
        if newest is not None:
            self._checkpoint.restore(newest).initialize_or_restore(session)
            return newest
        own = self._checkpoint.variables().values()
        self._checkpoint._session(session).run([v.initializer for v in own])
        return None
