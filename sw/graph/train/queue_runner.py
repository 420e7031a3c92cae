"""`QueueRunner`: threads that keep a queue filled."""

from __future__ import annotations

import threading
from typing import Any

from sw.graph.context import SESSIONS
from sw.graph.errors import CancelledError, InvalidArgumentError, OpError, OutOfRangeError
from sw.graph.graph import GraphKeys, get_default_graph
from sw.graph.train.coordinator import Coordinator


class QueueRunner:
    """One thread per op in `enqueue_ops`. At the end of input the queue is closed when the last of
    them ends, so that what is in it can still be taken; on a stop, waiting enqueues are
    cancelled."""

    def __init__(
        self,
        queue: Any,
        enqueue_ops: Any,
        close_op: Any = None,
        cancel_op: Any = None,
        queue_closed_exception_types: Any = None,
    ) -> None:
        if not enqueue_ops:
            raise InvalidArgumentError("a QueueRunner needs at least one enqueue op")
        self.queue, self.enqueue_ops = queue, list(enqueue_ops)
        self._close = queue.close() if close_op is None else close_op
        self._cancel = queue.close(True) if cancel_op is None else cancel_op
        self._ends = queue_closed_exception_types or (OutOfRangeError, CancelledError)
        self._lock = threading.Lock()
        self._running: dict[int, int] = {}
        self.exceptions_raised: list[BaseException] = []

    @property
    def name(self) -> str:
        """The name of the queue."""
        return str(self.queue.name)

    def create_threads(
        self, sess: Any, coord: Coordinator | None = None, daemon: bool = False, start: bool = False
    ) -> list[threading.Thread]:
        """The threads for a session, none if it has them already. With a coordinator one more
        thread cancels the queue on a stop."""
        with self._lock:
            if self._running.get(id(sess)):
                return []
            self._running[id(sess)] = len(self.enqueue_ops)
        threads = [
            threading.Thread(target=self._run, args=(sess, op, coord), name=f"{self.name} filler")
            for op in self.enqueue_ops
        ]
        if coord is not None:
            threads.append(
                threading.Thread(
                    target=self._cancel_on_stop, args=(sess, coord), name=f"{self.name} stopper"
                )
            )
        for thread in threads:
            thread.daemon = daemon
            if coord is not None:
                coord.register_thread(thread)
            if start:
                thread.start()
        return threads

    def _run(self, sess: Any, op: Any, coord: Coordinator | None) -> None:
        ended = False
        gate, name = sess.container.gate, self.queue.queue_ref.op.attrs["shared_name"]
        try:
            with gate.filling(name):
                while not ended and (coord is None or not coord.should_stop()):
                    try:
                        with gate.run(name):
                            sess.run(op)
                    except self._ends:
                        ended = True
        except Exception as error:
            if getattr(sess, "closed", False):
                ended = True
            elif coord is not None:
                coord.request_stop(error)
            else:
                self.exceptions_raised.append(error)
        with self._lock:
            self._running[id(sess)] -= 1
            last = not self._running[id(sess)]
        if ended and last:
            self._quietly(sess, self._close)

    def _cancel_on_stop(self, sess: Any, coord: Coordinator) -> None:
        coord.wait_for_stop()
        self._quietly(sess, self._cancel)

    @staticmethod
    def _quietly(sess: Any, op: Any) -> None:
        try:
            sess.run(op)
        except OpError:
            return  # the session is closed: nothing waits any more


def add_queue_runner(qr: QueueRunner, collection: str = GraphKeys.QUEUE_RUNNERS) -> None:
    """Let `start_queue_runners` start it."""
    get_default_graph().root.add_to_collection(collection, qr)


def start_queue_runners(
    sess: Any = None,
    coord: Coordinator | None = None,
    daemon: bool = True,
    start: bool = True,
    collection: str = GraphKeys.QUEUE_RUNNERS,
) -> list[threading.Thread]:
    """Start the threads of all queue runners of the session's graph; the threads."""
    session = SESSIONS.top() if sess is None else sess
    if session is None:
        raise InvalidArgumentError("start_queue_runners needs a session")
    runners = session.graph.get_collection(collection)
    return [t for r in runners for t in r.create_threads(session, coord, daemon, start)]
