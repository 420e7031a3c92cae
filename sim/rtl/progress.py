"""Says on standard error what takes long; silent for what is quick."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic
from typing import Self

from rich.console import Console
from rich.progress import Progress, TaskID, TextColumn, TimeElapsedColumn

QUIET_SECONDS = 2.0


@contextmanager
def announce(message: str) -> Iterator[None]:
    """After two seconds inside the block, print `message` once; count seconds on a terminal."""
    done = Event()
    start = monotonic()

    def report() -> None:
        if done.wait(QUIET_SECONDS):
            return
        if not sys.stderr.isatty():
            print(f"{message} ...", file=sys.stderr, flush=True)
            return
        while not done.wait(0.25):
            print(f"\r{message} ... {monotonic() - start:.0f} s ", end="", file=sys.stderr)
            sys.stderr.flush()
        print(file=sys.stderr)

    thread = Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class RunProgress:
    """A rich line on standard error with cycles and speed, from the third second of a run on."""

    def __init__(self, total: int, *, enabled: bool = True) -> None:
        self._total = total
        self._enabled = enabled and sys.stderr.isatty()
        self._start = monotonic()
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def update(self, cycles: int) -> None:
        """Cheap; show `cycles` done so far."""
        elapsed = monotonic() - self._start
        if not self._enabled or elapsed < QUIET_SECONDS:
            return
        if self._bar is None:
            self._bar = Progress(
                TextColumn("simulating {task.fields[done]}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("run", total=self._total, done="")
            self._bar.start()
        speed = cycles / elapsed / 1e3
        self._bar.update(
            self._task, completed=cycles, done=f"{cycles:,} cycles, {speed:,.0f} kcycle/s"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
