"""`FileWriter`: what TensorBoard shows, into a directory; and reading it back."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from sw.graph.errors import DataLossError, DTypeError
from sw.graph.graph import Graph
from sw.graph.records import tf_record_iterator
from sw.graph.summaries import protos
from sw.runtime.session import RunMetadata
from sw.runtime.summary.graph_def import graph_def, run_metadata_message


class FileWriter:
    """Writes an event file of its own to `logdir`; `graph` is added at once. Events are flushed
    every `flush_secs`, by `flush` and by `close`. Usable as a context manager."""

    def __init__(
        self,
        logdir: str,
        graph: Graph | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        graph_def: Any = None,
        filename_suffix: str | None = None,
    ) -> None:
        protos()  # with its own words when TensorBoard is not there
        module = importlib.import_module("tensorboard.summary.writer.event_file_writer")
        self._logdir = str(logdir)
        self._suffix = filename_suffix or ""
        self._make = lambda: module.EventFileWriter(
            self._logdir, max_queue, flush_secs, self._suffix
        )
        self._writer: Any = self._make()
        chosen = graph_def if graph is None else graph
        if chosen is not None:
            self.add_graph(chosen)

    def get_logdir(self) -> str:
        """The directory."""
        return self._logdir

    def add_event(self, event: Any) -> None:
        """An event message. After `close` a new file is begun."""
        if self._writer is None:
            self._writer = self._make()
        self._writer.add_event(event)

    def _add(self, global_step: Any, **what: Any) -> None:
        event = protos().event.Event(wall_time=time.time(), **what)
        if global_step is not None:
            event.step = int(global_step)
        self.add_event(event)

    def add_summary(self, summary: Any, global_step: Any = None) -> None:
        """What a summary op gave (or bytes, or a Summary message)."""
        kind = protos().summary.Summary
        if isinstance(summary, np.ndarray) and summary.dtype == np.uint8:
            summary = summary.tobytes()
        if isinstance(summary, bytes):
            summary = kind.FromString(summary)
        if not isinstance(summary, kind):
            raise DTypeError(
                f"add_summary takes what a summary op gave, not {type(summary).__name__}; "
                "sess.run the summary first"
            )
        self._add(global_step, summary=summary)

    def add_graph(self, graph: Graph, global_step: Any = None, graph_def: Any = None) -> None:
        """The graph with devices and shapes."""
        message = graph_message(graph)
        self._add(global_step, graph_def=message.SerializeToString())

    def add_run_metadata(
        self, run_metadata: RunMetadata, tag: str, global_step: Any = None
    ) -> None:
        """A traced run, shown with the graph under `tag`, once per tag."""
        message = run_metadata_message(run_metadata)
        tagged = protos().event.TaggedRunMetadata(tag=tag, run_metadata=message.SerializeToString())
        self._add(global_step, tagged_run_metadata=tagged)

    def add_session_log(self, session_log: Any, global_step: Any = None) -> None:
        """A SessionLog message."""
        self._add(global_step, session_log=session_log)

    def add_restart(self, global_step: int) -> None:
        """Tell TensorBoard that training was resumed: later events of an earlier run are void."""
        start = protos().event.SessionLog(status=protos().event.SessionLog.START)
        self._add(global_step, session_log=start)

    def flush(self) -> None:
        """Write out all that was added."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Flush and close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def reopen(self) -> None:
        """Begin a new file in the same directory."""
        if self._writer is None:
            self._writer = self._make()

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def graph_message(graph: Any) -> Any:
    """A GraphDef of a graph, or `graph` if it is one."""
    return graph_def(graph.root) if isinstance(graph, Graph) else graph


class FileWriterCache:
    """One `FileWriter` per directory."""

    _writers: dict[str, FileWriter] = {}

    @classmethod
    def get(cls, logdir: str) -> FileWriter:
        """The directory's writer, made if need be."""
        if logdir not in cls._writers:
            cls._writers[logdir] = FileWriter(logdir)
        return cls._writers[logdir]

    @classmethod
    def clear(cls) -> None:
        """Close and forget all."""
        while cls._writers:
            cls._writers.popitem()[1].close()


def summary_iterator(path: str) -> Iterator[Any]:
    """The events of a file. Raises `NotFoundError`, or `DataLossError` for a damaged record."""
    kind = protos().event.Event
    for number, record in enumerate(tf_record_iterator(path)):
        try:
            yield kind.FromString(record)
        except Exception as error:  # protobuf's DecodeError has no common base
            raise DataLossError(f"record {number} of {path!r} is no event: {error}") from None
