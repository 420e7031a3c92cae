"""`MonitoredSession`: a session with hooks, which recovers, stops its threads and reports their
errors. `MonitoredTrainingSession` makes one that saves, resumes and counts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sw.graph import log
from sw.graph.build import get_collection
from sw.graph.errors import (
    AbortedError,
    GraphError,
    InvalidArgumentError,
    OutOfRangeError,
    UnavailableError,
)
from sw.graph.graph import Graph, GraphKeys
from sw.graph.train.coordinator import Coordinator
from sw.graph.train.queue_runner import start_queue_runners
from sw.runtime.config import SessionConfig
from sw.runtime.session import RunMetadata, RunOptions, Session
from sw.runtime.training.checkpoint_hook import CheckpointSaverHook
from sw.runtime.training.creators import ChiefSessionCreator, WorkerSessionCreator
from sw.runtime.training.hook import (
    SessionRunArgs,
    SessionRunContext,
    SessionRunHook,
    SessionRunValues,
)
from sw.runtime.training.hooks import StepCounterHook
from sw.runtime.training.scaffold import Scaffold
from sw.runtime.training.summary_hooks import SummarySaverHook

_LOST = (AbortedError, UnavailableError)
_CLEAN_END = (OutOfRangeError, StopIteration)


class SingularMonitoredSession:
    """A session with hooks; an error of any kind ends it. Use as a context manager; the end of
    input (`OutOfRangeError`) leaves the block without an error."""

    _recovers: tuple[type[Exception], ...] = ()

    def __init__(
        self,
        hooks: Iterable[SessionRunHook] | None = None,
        scaffold: Scaffold | None = None,
        master: str = "",
        config: SessionConfig | None = None,
        checkpoint_dir: str | None = None,
        stop_grace_period_secs: float = 120,
        checkpoint_filename_with_path: str | None = None,
        session_creator: Any = None,
    ) -> None:
        self._hooks = list(hooks or [])
        self._grace = stop_grace_period_secs
        self._creator = session_creator or ChiefSessionCreator(
            scaffold, master, config, checkpoint_dir, checkpoint_filename_with_path
        )
        for hook in self._hooks:
            hook.begin()
        self._session: Session | None = None
        self._coord = Coordinator()
        self._start()

    def _start(self) -> None:
        self._session = self._creator.create_session()
        self._coord = Coordinator()
        try:
            start_queue_runners(self._session, self._coord)
            for hook in self._hooks:
                hook.after_create_session(self._session, self._coord)
        except BaseException:
            self._abandon()
            raise

    @property
    def graph(self) -> Graph:
        """The graph that runs."""
        return self.raw_session().graph

    def raw_session(self) -> Session:
        """The session beneath, without hooks."""
        if self._session is None:
            raise GraphError("this session is closed")
        return self._session

    # --- running ------------------------------------------------------------------------------

    def run(
        self,
        fetches: Any,
        feed_dict: Mapping[Any, Any] | None = None,
        options: RunOptions | None = None,
        run_metadata: RunMetadata | None = None,
    ) -> Any:
        """Like `Session.run`, with the hooks around it."""
        while True:
            session = self.raw_session()
            try:
                return self._run(session, fetches, feed_dict, options, run_metadata)
            except self._recovers as error:
                log.warn("the session was lost (%s): starting a new one", error)
                self._abandon()
                self._start()
            except Exception:
                self._coord.raise_requested_exception()  # what made a thread fail is the cause
                raise

    def _run(
        self, session: Session, fetches: Any, feed_dict: Any, options: Any, run_metadata: Any
    ) -> Any:
        if not self._hooks:
            return session.run(fetches, feed_dict, options, run_metadata)
        context = SessionRunContext(SessionRunArgs(fetches, feed_dict, options), session)
        wanted: dict[Any, Any] = {} if fetches is None else {"caller": fetches}
        feeds = dict(feed_dict or {})
        for hook in self._hooks:
            asked = hook.before_run(context)
            if asked is None:
                continue
            if asked.fetches is not None:
                wanted[hook] = asked.fetches
            for key, value in (asked.feed_dict or {}).items():
                if key in feeds:
                    raise InvalidArgumentError(f"{key!r} is fed twice: by a hook and elsewhere")
                feeds[key] = value
            if asked.options is not None:
                options = asked.options
        metadata = run_metadata
        if metadata is None and options is not None:
            metadata = RunMetadata()
        results = session.run(wanted, feeds or None, options, metadata)
        for hook in self._hooks:
            hook.after_run(context, SessionRunValues(results.get(hook), options, metadata))
        if context.stop_requested:
            self._coord.request_stop()
        return results.get("caller")

    def run_step_fn(self, step_fn: Callable[..., Any]) -> Any:
        """`step_fn(context)`, which may call `context.run_with_hooks(...)`, `context.session` and
        `context.request_stop()`."""
        return step_fn(StepContext(self))

    def should_stop(self) -> bool:
        """Whether a hook or a thread asked to stop, or the session is closed."""
        return self._session is None or self._coord.should_stop()

    # --- lifetime -----------------------------------------------------------------------------

    def close(self) -> None:
        """End the hooks, stop the threads, close the session; raises what a thread failed with."""
        self._close(None)

    def _close(self, error: type[BaseException] | None) -> None:
        if self._session is None:
            return
        try:
            if error is None:
                for hook in self._hooks:
                    hook.end(self._session)
        finally:
            self._coord.request_stop()
            try:
                self._coord.join(
                    stop_grace_period_secs=self._grace, ignore_live_threads=error is not None
                )
            finally:
                self._session.close()
                self._session = None

    def _abandon(self) -> None:
        """Close without telling the hooks, whatever the threads say."""
        session, self._session = self._session, None
        self._coord.request_stop()
        if session is not None:
            session.close()

    def __enter__(self) -> SingularMonitoredSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> bool:
        ended = kind is not None and issubclass(kind, _CLEAN_END)
        try:
            self._close(None if ended else kind)
        except Exception:
            if kind is None or ended:
                raise
        return ended


class StepContext:
    """What the function given to `run_step_fn` gets."""

    def __init__(self, monitored: SingularMonitoredSession) -> None:
        self._monitored = monitored

    @property
    def session(self) -> Session:
        """The session beneath."""
        return self._monitored.raw_session()

    def run_with_hooks(self, *args: Any, **kwargs: Any) -> Any:
        """`run` of the monitored session."""
        return self._monitored.run(*args, **kwargs)

    def request_stop(self) -> None:
        """Leave `run_step_fn`'s loop as at the end of input."""
        raise StopIteration("step_fn asked to stop")


class MonitoredSession(SingularMonitoredSession):
    """A `SingularMonitoredSession` that starts again, from the last checkpoint, when a worker or a
    device is lost (`AbortedError`, `UnavailableError`)."""

    _recovers = _LOST

    def __init__(
        self,
        session_creator: Any = None,
        hooks: Iterable[SessionRunHook] | None = None,
        stop_grace_period_secs: float = 120,
    ) -> None:
        super().__init__(
            hooks, stop_grace_period_secs=stop_grace_period_secs, session_creator=session_creator
        )


def MonitoredTrainingSession(  # noqa: N802 (TensorFlow's name)
    master: str = "",
    is_chief: bool = True,
    checkpoint_dir: str | None = None,
    scaffold: Scaffold | None = None,
    hooks: Iterable[SessionRunHook] | None = None,
    chief_only_hooks: Iterable[SessionRunHook] | None = None,
    save_checkpoint_secs: float | None = None,
    save_summaries_steps: int | None = None,
    save_summaries_secs: float | None = None,
    config: SessionConfig | None = None,
    stop_grace_period_secs: float = 120,
    log_step_count_steps: int | None = 100,
    max_wait_secs: float = 7200,
    save_checkpoint_steps: int | None = None,
    summary_dir: str | None = None,
) -> MonitoredSession:
    """A session that trains on after whatever stopped it: with `checkpoint_dir` it resumes from the
    newest whole checkpoint there and saves every `save_checkpoint_secs` (600) or
    `save_checkpoint_steps`. The summaries of the graph, if it has any, are written to
    `summary_dir` (default: `checkpoint_dir`) every `save_summaries_steps` (100) or
    `save_summaries_secs`."""
    pieces = scaffold or Scaffold()
    every = list(hooks or [])
    if not is_chief:
        worker = WorkerSessionCreator(pieces, master, config, max_wait_secs)
        return MonitoredSession(worker, every, stop_grace_period_secs)
    every += list(chief_only_hooks or [])
    summaries_to = summary_dir or checkpoint_dir
    shown = summaries_to if get_collection(GraphKeys.SUMMARIES) or pieces.summary_op else None
    if log_step_count_steps:
        every.append(StepCounterHook(log_step_count_steps, output_dir=shown))
    if save_summaries_steps is None and save_summaries_secs is None:
        save_summaries_steps = 100
    if shown and (save_summaries_steps or save_summaries_secs):
        steps, seconds = save_summaries_steps or None, save_summaries_secs or None
        every.append(SummarySaverHook(steps, seconds, shown, scaffold=pieces))
    if checkpoint_dir:
        os.makedirs(checkpoint_dir, exist_ok=True)
        if save_checkpoint_secs is None and save_checkpoint_steps is None:
            save_checkpoint_secs = 600
        if save_checkpoint_secs or save_checkpoint_steps:
            saving = CheckpointSaverHook(
                checkpoint_dir, save_checkpoint_secs, save_checkpoint_steps, scaffold=pieces
            )
            every.append(saving)
    creator = ChiefSessionCreator(pieces, master, config, checkpoint_dir)
    return MonitoredSession(creator, every, stop_grace_period_secs)
