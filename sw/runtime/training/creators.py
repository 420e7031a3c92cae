"""Making a session whose variables have values: from a checkpoint, from initialisers, or by
waiting until somebody else gave them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from sw.graph import log
from sw.graph.errors import DeadlineExceededError, FailedPreconditionError, InvalidArgumentError
from sw.graph.graph import GraphKeys, get_default_graph
from sw.runtime.checkpoint.state import get_checkpoint_state, latest_checkpoint
from sw.runtime.config import SessionConfig
from sw.runtime.session import Session
from sw.runtime.training.scaffold import Scaffold


def restore_or_init(scaffold: Scaffold, session: Session, checkpoint: str | None) -> None:
    """Give the variables values; raises `FailedPreconditionError` naming those without one."""
    if checkpoint is None:
        if scaffold.init_op is None and scaffold.init_fn is None:
            raise InvalidArgumentError("there is no checkpoint, and no init_op or init_fn")
        if scaffold.init_op is not None:
            session.run(scaffold.init_op, scaffold.init_feed_dict)
        if scaffold.init_fn is not None:
            scaffold.init_fn(scaffold, session)
    if scaffold.local_init_op is not None:
        session.run(scaffold.local_init_op)
    if checkpoint is not None:  # after local variables got their first values: they are in it
        scaffold.saver.restore(session, checkpoint, session_state=True)
        log.info("resumed from %s", checkpoint)
    missing = without_value(scaffold, session)
    if missing:
        raise FailedPreconditionError(
            f"variables without a value after initialisation: {', '.join(missing)}"
        )


def without_value(scaffold: Scaffold, session: Session) -> list[str]:
    """Names of global variables that have no value yet, by the scaffold's `ready_op`."""
    if scaffold.ready_op is None:
        return []
    flags = np.asarray(session.run(scaffold.ready_op)).reshape(-1)
    variables = session.graph.get_collection(GraphKeys.GLOBAL_VARIABLES)
    if len(variables) == len(flags):
        return [v.name for v, flag in zip(variables, flags, strict=True) if flag]
    return [str(flag) for flag in flags if flag]


class ChiefSessionCreator:
    """Restores the newest whole checkpoint of `checkpoint_dir` (or `checkpoint_filename_with_path`)
    or initialises."""

    def __init__(
        self,
        scaffold: Scaffold | None = None,
        master: str = "",
        config: SessionConfig | None = None,
        checkpoint_dir: str | None = None,
        checkpoint_filename_with_path: str | None = None,
    ) -> None:
        self._scaffold = scaffold or Scaffold()
        self._master, self._config = master, config
        self._directory, self._file = checkpoint_dir, checkpoint_filename_with_path

    def create_session(self) -> Session:
        """A session, ready to train."""
        scaffold = self._scaffold.finalize()
        found = self._file
        if found is None and self._directory:
            found = latest_checkpoint(self._directory)
        session = Session(self._master, get_default_graph(), self._config)
        try:
            restore_or_init(scaffold, session, found)
        except BaseException:
            session.close()
            raise
        if found is not None and self._directory:
            state = get_checkpoint_state(self._directory)
            paths = state.all_model_checkpoint_paths if state else []
            scaffold.saver.recover_last_checkpoints(list(dict.fromkeys([*paths, found])))
        return session


class WorkerSessionCreator:
    """Waits, `max_wait_secs` at most, until the chief has given the variables their values."""

    def __init__(
        self,
        scaffold: Scaffold | None = None,
        master: str = "",
        config: SessionConfig | None = None,
        max_wait_secs: float = 30 * 60,
        container: Any = None,
    ) -> None:
        self._scaffold = scaffold or Scaffold()
        self._master, self._config, self._patience = master, config, max_wait_secs
        self._container = container

    def create_session(self) -> Session:
        """A session on variables that are ready."""
        scaffold = self._scaffold.finalize()
        session = Session(self._master, get_default_graph(), self._config, self._container)
        until = time.monotonic() + self._patience
        while missing := without_value(scaffold, session):
            if time.monotonic() > until:
                session.close()
                raise DeadlineExceededError(
                    f"nobody initialised {', '.join(missing)} within {self._patience:g} s"
                )
            time.sleep(0.05)
        if scaffold.local_init_op is not None:
            session.run(scaffold.local_init_op)
        return session
