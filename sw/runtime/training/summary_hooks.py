"""Hooks that write for TensorBoard and Perfetto."""

from __future__ import annotations

import importlib
import os
from typing import Any

from sw.graph.errors import InvalidArgumentError
from sw.runtime.session import RunOptions
from sw.runtime.summary.writer import FileWriterCache
from sw.runtime.training.hook import (
    SessionRunArgs,
    SessionRunContext,
    SessionRunHook,
    SessionRunValues,
)
from sw.runtime.training.hooks import required_global_step
from sw.runtime.training.timer import SecondOrStepTimer


class SummarySaverHook(SessionRunHook):
    """Writes `summary_op` (or the scaffold's) every so many steps or seconds, and the graph
    once."""

    def __init__(
        self,
        save_steps: int | None = None,
        save_secs: float | None = None,
        output_dir: str | None = None,
        summary_writer: Any = None,
        scaffold: Any = None,
        summary_op: Any = None,
    ) -> None:
        if (scaffold is None) == (summary_op is None):
            raise InvalidArgumentError(
                "SummarySaverHook takes exactly one of scaffold and summary_op"
            )
        if summary_writer is None and output_dir is None:
            raise InvalidArgumentError("SummarySaverHook needs an output_dir or a summary_writer")
        self._timer = SecondOrStepTimer(save_secs, save_steps)
        self._directory, self._writer = output_dir, summary_writer
        self._scaffold, self._op = scaffold, summary_op

    def begin(self) -> None:
        self._step = required_global_step(self)
        self._timer.reset()
        if self._writer is None:
            assert self._directory is not None
            self._writer = FileWriterCache.get(self._directory)

    def after_create_session(self, session: Any, coord: Any) -> None:
        self._writer.add_graph(session.graph)
        at = int(session.run(self._step))
        if at:
            self._writer.add_restart(at + 1)
        self._next = at + 1

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        self._now = self._timer.should_trigger_for_step(self._next)
        op = self._op if self._op is not None else self._scaffold.summary_op
        return SessionRunArgs(op) if self._now and op is not None else None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        step = int(run_context.session.run(self._step))
        if self._now and run_values.results is not None:
            self._timer.update_last_triggered_step(step)
            found = run_values.results
            for summary in found if isinstance(found, (list, tuple)) else [found]:
                self._writer.add_summary(summary, step)
        self._next = step + 1

    def end(self, session: Any) -> None:
        self._writer.flush()


class ProfilerHook(SessionRunHook):
    """Traces a step every so often: `timeline-STEP.pftrace` in `output_dir`."""

    def __init__(
        self,
        save_steps: int | None = None,
        save_secs: float | None = None,
        output_dir: str = "",
        show_dataflow: bool = True,
        show_memory: bool = False,
    ) -> None:
        self._timer = SecondOrStepTimer(save_secs, save_steps)
        self._directory = output_dir

    def begin(self) -> None:
        self._step = required_global_step(self)
        os.makedirs(self._directory or ".", exist_ok=True)

    def after_create_session(self, session: Any, coord: Any) -> None:
        self._next = int(session.run(self._step)) + 1

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        self._now = self._timer.should_trigger_for_step(self._next)
        full = RunOptions(trace_level=RunOptions.FULL_TRACE)
        return SessionRunArgs(None, None, full) if self._now else None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        step = int(run_context.session.run(self._step))
        if self._now:
            self._timer.update_last_triggered_step(step)
            path = os.path.join(self._directory, f"timeline-{step}.pftrace")
            # Perfetto's library is heavy, and only for those who trace
            timeline = importlib.import_module("sw.runtime.step_timeline").Timeline
            timeline(run_values.run_metadata.step_stats).write(path)
        self._next = step + 1
