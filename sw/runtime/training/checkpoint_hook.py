"""`CheckpointSaverHook`: checkpoints during training, each enough to go on bit for bit."""

from __future__ import annotations

import os
from typing import Any

from sw.graph import log
from sw.graph.errors import InvalidArgumentError
from sw.runtime.checkpoint.files import remove_leftovers
from sw.runtime.training.hook import SessionRunContext, SessionRunHook, SessionRunValues
from sw.runtime.training.hooks import required_global_step
from sw.runtime.training.timer import SecondOrStepTimer


class CheckpointSaverListener:
    """Told of each checkpoint. `after_save` returns True to stop training."""

    def begin(self) -> None:
        """Before the session is made."""

    def before_save(self, session: Any, global_step_value: int) -> None:
        """A checkpoint is about to be written."""

    def after_save(self, session: Any, global_step_value: int) -> bool | None:
        """A checkpoint was written."""
        return None

    def end(self, session: Any, global_step_value: int) -> None:
        """The session is about to close."""


class CheckpointSaverHook(SessionRunHook):
    """Saves to `checkpoint_dir` at the start, every `save_secs` or `save_steps`, and at the end.

    A checkpoint holds the variables and what else makes the rest of the run the same: counters of
    random ops, local variables, the contents of queues, the places of readers. It is written
    between two runs, while the threads that fill queues stand still.
    """

    def __init__(
        self,
        checkpoint_dir: str,
        save_secs: float | None = None,
        save_steps: int | None = None,
        saver: Any = None,
        checkpoint_basename: str = "model.ckpt",
        scaffold: Any = None,
        listeners: Any = None,
    ) -> None:
        if saver is not None and scaffold is not None:
            raise InvalidArgumentError("CheckpointSaverHook takes a saver or a scaffold, not both")
        self._directory = checkpoint_dir
        self._path = os.path.join(checkpoint_dir, checkpoint_basename)
        self._timer = SecondOrStepTimer(save_secs, save_steps)
        self._given, self._scaffold = saver, scaffold
        self._listeners = list(listeners or [])

    def begin(self) -> None:
        self._step = required_global_step(self)
        self._timer.reset()
        remove_leftovers(self._directory)
        for listener in self._listeners:
            listener.begin()

    @property
    def _saver(self) -> Any:
        if self._given is not None:
            return self._given
        if self._scaffold is None or self._scaffold.saver is None:
            raise InvalidArgumentError("CheckpointSaverHook needs a saver, or a scaffold with one")
        return self._scaffold.saver

    def after_create_session(self, session: Any, coord: Any) -> None:
        step = int(session.run(self._step))
        if f"{self._path}-{step}" in self._saver.last_checkpoints:
            self._timer.update_last_triggered_step(step)  # resumed from it: it is there
        elif self._save(session, step):
            coord.request_stop()

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        step = int(run_context.session.run(self._step))
        if self._timer.should_trigger_for_step(step) and self._save(run_context.session, step):
            run_context.request_stop()

    def end(self, session: Any) -> None:
        step = int(session.run(self._step))
        if step != self._timer.last_triggered_step():
            self._save(session, step)
        for listener in self._listeners:
            listener.end(session, step)

    def _save(self, session: Any, step: int) -> bool:
        """Write a checkpoint; whether a listener wants to stop."""
        for listener in self._listeners:
            listener.before_save(session, step)
        saver = self._saver
        path = saver.save(session, self._path, step, write_meta_graph=False, session_state=True)
        self._timer.update_last_triggered_step(step)
        log.info("step %d: saved %s", step, path)
        return any([listener.after_save(session, step) for listener in self._listeners])
