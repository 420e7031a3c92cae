"""What a traced run did, op by op: when, where, what came out, what crossed between devices."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sw.graph.dtypes import as_dtype
from sw.graph.errors import InvalidArgumentError
from sw.graph.operation import Operation

_EPOCH = time.time() - time.perf_counter()


def wall(seconds: float) -> float:
    """A time of `time.perf_counter` as seconds since 1970."""
    return _EPOCH + seconds


@dataclass(frozen=True)
class OutputStats:
    """An output's dtype, shape and size in bytes."""

    dtype: str
    shape: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class NodeStats:
    """One run of one op; times in seconds of `time.perf_counter`. `note` says what times cannot:
    ops that ran as one program share one time, which the first of them has."""

    name: str
    type: str
    device: str
    start: float
    end: float
    thread: str
    outputs: tuple[OutputStats, ...]
    note: str = ""

    @property
    def bytes(self) -> int:
        """The size of all outputs."""
        return sum(o.bytes for o in self.outputs)


@dataclass(frozen=True)
class TransferStats:
    """A value that crossed between two devices: ready at `start`, taken at `end`."""

    key: str
    start: float
    end: float
    bytes: int


Note = Callable[[Operation, float, float, Sequence[Any], str], None]
"""`note(op, start, end, outputs, text)`"""


def refuse_nan(
    op: Operation, start: float, end: float, outputs: Sequence[Any], text: str = ""
) -> None:
    """A `Note` that raises `InvalidArgumentError` naming the op when an output holds a NaN."""
    for index, value in enumerate(outputs):
        if hasattr(value, "dtype") and as_dtype(value.dtype).is_floating and np.isnan(value).any():
            where = tuple(int(i) for i in np.argwhere(np.isnan(value))[0])
            raise InvalidArgumentError(f"output {index} is NaN at {where}, the first of this run")


@dataclass
class StepStats:
    """A traced run."""

    nodes: list[NodeStats] = field(default_factory=list)
    transfers: list[TransferStats] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def noting(self, device: str) -> Note:
        """What an executable on `device` calls for each op."""

        def note(
            op: Operation, start: float, end: float, outputs: Sequence[Any], text: str = ""
        ) -> None:
            found = tuple(_output(value) for value in outputs if hasattr(value, "dtype"))
            thread = threading.current_thread().name
            stats = NodeStats(op.name, op.type, device, start, end, thread, found, text)
            with self._lock:
                self.nodes.append(stats)

        return note

    def transferred(self, key: str, start: float, end: float, value: Any) -> None:
        """Note a transfer."""
        with self._lock:
            self.transfers.append(TransferStats(key, start, end, int(getattr(value, "nbytes", 0))))

    @property
    def devices(self) -> list[str]:
        """The devices that ran anything."""
        return sorted({node.device for node in self.nodes})


def _output(value: Any) -> OutputStats:
    return OutputStats(as_dtype(value.dtype).name, tuple(value.shape), int(value.nbytes))
