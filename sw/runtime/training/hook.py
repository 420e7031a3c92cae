"""What a hook of a monitored session can do, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SessionRunArgs:
    """What to run: fetches in any nesting, values to feed, options."""

    fetches: Any = None
    feed_dict: Mapping[Any, Any] | None = None
    options: Any = None


@dataclass(frozen=True)
class SessionRunValues:
    """What came of a hook's fetches, and of the run's options and metadata."""

    results: Any
    options: Any = None
    run_metadata: Any = None


@dataclass
class SessionRunContext:
    """One run: what the caller asked for, the session beneath, and whether to stop after it."""

    original_args: SessionRunArgs
    session: Any
    stop_requested: bool = field(default=False, init=False)

    def request_stop(self) -> None:
        """Let `should_stop()` be true after this run."""
        self.stop_requested = True


class SessionRunHook:
    """Override what is of interest."""

    def begin(self) -> None:
        """Before the session is made: the last moment to add to the graph."""

    def after_create_session(self, session: Any, coord: Any) -> None:
        """The session is made, its variables have values; also after a recovery."""

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        """What to fetch and feed in this run besides what the caller asks for."""
        return None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """The run is done, and this came of `before_run`'s fetches."""

    def end(self, session: Any) -> None:
        """The session is about to close, and nothing failed."""
