"""Hooks that watch a run: stop it, log it, count it, check it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sw.graph import log, summaries
from sw.graph.errors import InvalidArgumentError
from sw.graph.ops.variables import Variable
from sw.graph.train.global_step import get_global_step
from sw.runtime.summary.writer import FileWriterCache
from sw.runtime.training.hook import (
    SessionRunArgs,
    SessionRunContext,
    SessionRunHook,
    SessionRunValues,
)
from sw.runtime.training.timer import SecondOrStepTimer


def required_global_step(who: Any) -> Variable:
    """The default graph's global step; raises when there is none."""
    found = get_global_step()
    if found is None:
        raise InvalidArgumentError(
            f"{type(who).__name__} needs a global step: call "
            "st.train.get_or_create_global_step() and give it to minimize()"
        )
    return found


class StopAtStepHook(SessionRunHook):
    """Stops after `num_steps` steps of this session, or at the global step `last_step`."""

    def __init__(self, num_steps: int | None = None, last_step: int | None = None) -> None:
        if (num_steps is None) == (last_step is None):
            raise InvalidArgumentError("StopAtStepHook takes exactly one of num_steps, last_step")
        self._more, self._last = num_steps, last_step

    def begin(self) -> None:
        self._step = required_global_step(self)

    def after_create_session(self, session: Any, coord: Any) -> None:
        at = int(session.run(self._step))
        if self._last is None:
            assert self._more is not None
            self._last = at + self._more
        if at >= self._last:  # nothing is left to do
            coord.request_stop()

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        assert self._last is not None
        if int(run_context.session.run(self._step)) >= self._last:
            run_context.request_stop()


class StepCounterHook(SessionRunHook):
    """Steps per second: in the log, and as a summary when there is a writer or a directory."""

    def __init__(
        self,
        every_n_steps: int | None = 100,
        every_n_secs: float | None = None,
        output_dir: str | None = None,
        summary_writer: Any = None,
    ) -> None:
        self._timer = SecondOrStepTimer(every_n_secs, every_n_steps)
        self._writer = summary_writer
        if summary_writer is None and output_dir is not None:
            self._writer = FileWriterCache.get(output_dir)
        self.steps_per_second: float | None = None

    def begin(self) -> None:
        self._step = required_global_step(self)
        self._timer.reset()

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        step = int(run_context.session.run(self._step))
        if not self._timer.should_trigger_for_step(step):
            return
        seconds, steps = self._timer.update_last_triggered_step(step)
        if seconds and steps:
            self.steps_per_second = steps / seconds
            log.info("step %d: %.4g steps per second", step, self.steps_per_second)
            if self._writer is not None:
                speed = summaries.scalar("global_step/sec", self.steps_per_second)
                self._writer.add_summary(speed, step)


class LoggingTensorHook(SessionRunHook):
    """Logs values (a list of tensors or names, or a dict from titles to them) every so often, with
    `at_end` also at the end. Shown after `st.logging.set_verbosity(st.logging.INFO)`."""

    def __init__(
        self,
        tensors: Any,
        every_n_iter: int | None = None,
        every_n_secs: float | None = None,
        at_end: bool = False,
        formatter: Callable[[dict[str, Any]], str] | None = None,
    ) -> None:
        if isinstance(tensors, Mapping):
            self._tensors = dict(tensors)
        else:
            named = tensors if isinstance(tensors, (list, tuple)) else [tensors]
            self._tensors = {t if isinstance(t, str) else t.name: t for t in named}
        only_at_end = at_end and every_n_iter is None and every_n_secs is None
        self._timer = None if only_at_end else SecondOrStepTimer(every_n_secs, every_n_iter)
        self._at_end, self._formatter = at_end, formatter or self._plain

    def _plain(self, values: dict[str, Any]) -> str:
        return ", ".join(f"{title} = {value}" for title, value in values.items())

    def begin(self) -> None:
        self._runs = 0
        if self._timer is not None:
            self._timer.reset()

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        self._now = self._timer is not None and self._timer.should_trigger_for_step(self._runs)
        return SessionRunArgs(self._tensors) if self._now else None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if self._now and self._timer is not None:
            seconds, _ = self._timer.update_last_triggered_step(self._runs)
            since = "" if seconds is None else f" ({seconds:.3f} s)"
            log.info("%s%s", self._formatter(run_values.results), since)
        self._runs += 1

    def end(self, session: Any) -> None:
        if self._at_end:
            log.info("%s", self._formatter(session.run(self._tensors)))


class NanLossDuringTrainingError(RuntimeError):
    """The loss is not a number."""


class NanTensorHook(SessionRunHook):
    """Raises `NanLossDuringTrainingError` (or just stops) when `loss_tensor` is NaN."""

    def __init__(self, loss_tensor: Any, fail_on_nan_loss: bool = True) -> None:
        self._loss, self._fail = loss_tensor, fail_on_nan_loss

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(self._loss)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if not np.isnan(run_values.results).any():
            return
        name = self._loss if isinstance(self._loss, str) else self._loss.name
        if self._fail:
            raise NanLossDuringTrainingError(f"{name!r} is NaN")
        log.error("%r is NaN: stopping", name)
        run_context.request_stop()


class GlobalStepWaiterHook(SessionRunHook):
    """Delays the first run until the global step has reached `wait_until_step`."""

    def __init__(self, wait_until_step: int) -> None:
        self._until, self._reached = wait_until_step, wait_until_step <= 0

    def begin(self) -> None:
        self._step = required_global_step(self)

    def before_run(self, run_context: SessionRunContext) -> None:
        while not self._reached:
            self._reached = int(run_context.session.run(self._step)) >= self._until
            if not self._reached:
                time.sleep(0.05)


class FinalOpsHook(SessionRunHook):
    """Runs `final_ops` at the end; `final_ops_values` is what came of them."""

    def __init__(self, final_ops: Any, final_ops_feed_dict: Any = None) -> None:
        self._ops, self._feeds = final_ops, final_ops_feed_dict
        self.final_ops_values: Any = None

    def end(self, session: Any) -> None:
        if self._ops is not None:
            self.final_ops_values = session.run(self._ops, self._feeds)


class FeedFnHook(SessionRunHook):
    """Feeds each run what `feed_fn()` gives."""

    def __init__(self, feed_fn: Callable[[], Mapping[Any, Any]]) -> None:
        self.feed_fn = feed_fn

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(None, self.feed_fn())
