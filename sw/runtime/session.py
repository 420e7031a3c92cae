"""`Session`: runs parts of a graph, keeps its variables."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sw.compiler.passes import Dump, compile_unit
from sw.compiler.unit import Fallback, Unit
from sw.graph import context
from sw.graph.errors import DTypeError, GraphError, InvalidArgumentError, OpError
from sw.graph.graph import Graph, get_default_graph
from sw.graph.operation import Operation
from sw.graph.state import Container
from sw.graph.tensor import Tensor
from sw.runtime.config import SessionConfig
from sw.runtime.devices.registry import DeviceSet
from sw.runtime.executor import Executor
from sw.runtime.feeding import resolve, split_feeds, value_for
from sw.runtime.partial_run import PartialRun
from sw.runtime.structure import leaves, rebuilder
from sw.runtime.trace import StepStats
from sw.runtime.watch import PartitionTime, Watch


@dataclass(frozen=True)
class RunOptions:
    """`trace_level`: FULL_TRACE notes each op's time, device, outputs and their size in the run's
    metadata, lower ones when each partition ran. `timeout_in_ms`: when operations that wait give
    up with `DeadlineExceededError` (0: never). `find_nan`: look at every value, and raise
    `InvalidArgumentError` naming the first op that made a NaN."""

    trace_level: int = 0
    timeout_in_ms: int = 0
    find_nan: bool = False

    NO_TRACE: ClassVar[int] = 0
    SOFTWARE_TRACE: ClassVar[int] = 1
    HARDWARE_TRACE: ClassVar[int] = 2
    FULL_TRACE: ClassVar[int] = 3

    def __post_init__(self) -> None:
        if self.trace_level not in range(4):
            raise InvalidArgumentError(f"RunOptions(trace_level={self.trace_level!r}): 0 to 3")
        if self.timeout_in_ms < 0:
            raise InvalidArgumentError(f"RunOptions(timeout_in_ms={self.timeout_in_ms}): not < 0")


@dataclass
class RunMetadata:
    """Filled by a run: when each partition ran, the devices that it was requested of, the keys that
    crossed devices, the fallbacks; with `FULL_TRACE` also `step_stats`, every op and every
    transfer."""

    partitions: list[PartitionTime] = field(default_factory=list)
    requests: tuple[str, ...] = ()
    transfers: tuple[str, ...] = ()
    fallback: tuple[Fallback, ...] = ()
    step_stats: StepStats = field(default_factory=StepStats)


@dataclass(frozen=True)
class _Prepared:
    """A plan for one signature; it holds the graph elements so that their identity stays theirs."""

    executor: Executor
    feeds: tuple[Tensor, ...]
    wanted: tuple[int | None, ...]
    build: Callable[[Sequence[Any]], Any] | None
    elements: tuple[Any, ...]


class Session:
    """Runs a graph. Use as a context manager to be the default session, or `close` it.

    `target` names a cluster's master; only the empty string (this process) is known here.
    `container` shares variables with other sessions that are given the same one.
    """

    def __init__(
        self,
        target: Any = "",
        graph: Graph | None = None,
        config: SessionConfig | None = None,
        container: Container | None = None,
    ) -> None:
        if isinstance(target, Graph):  # Session(graph): the graph may come first
            target, graph = "", target
        if target != "":
            raise InvalidArgumentError(f"target {target!r}: only '' (this process) is known")
        if config is not None and not isinstance(config, SessionConfig):
            raise DTypeError(f"config is a SessionConfig, not {type(config).__name__}")
        self.graph = get_default_graph() if graph is None else graph
        self.config = config or SessionConfig()
        self.container = Container() if container is None else container
        self._owns_container = container is None
        self.devices = DeviceSet(self.config, self.container)
        self.fallback: list[Fallback] = []
        self.dump: Dump | None = None
        self._plans: dict[Any, _Prepared] = {}
        self._lock = threading.Lock()
        self._helpers = ThreadPoolExecutor(len(self.devices.names), "session")
        self._closed = False

    # --- running ------------------------------------------------------------------------------

    def run(
        self,
        fetches: Any,
        feed_dict: Mapping[Any, Any] | None = None,
        options: RunOptions | None = None,
        run_metadata: RunMetadata | None = None,
    ) -> Any:
        """The values of `fetches` (tensors, ops, variables, names, nested in lists, tuples and
        dicts; an op gives None), with `feed_dict` in place of any tensors' own values.

        Arrays that come back may be shared with the session and must not be written to.
        """
        if self._closed:
            raise GraphError("this session is closed")
        keys = () if not feed_dict else tuple(feed_dict)
        signature = (_key(fetches), tuple(_key(k) for k in keys))
        prepared = self._plans.get(signature)
        if prepared is None:
            if feed_dict and any(hasattr(key, "fetch_parts") for key in keys):
                return self.run(fetches, split_feeds(feed_dict), options, run_metadata)
            prepared = self._prepare(signature, fetches, keys)
        feeds = []
        if feed_dict:
            values = feed_dict.values()
            feeds = [value_for(t, v) for t, v in zip(prepared.feeds, values, strict=True)]
        watch = None
        if run_metadata is not None or options is not None or self.config.operation_timeout_in_ms:
            watch = self._watch(options or RunOptions(), run_metadata is not None)
        results = prepared.executor.run(feeds, watch)
        if run_metadata is not None and watch is not None:
            run_metadata.partitions = sorted(watch.times or [], key=lambda p: p.start)
            run_metadata.step_stats = watch.stats or StepStats()
            run_metadata.requests = tuple(watch.requests)
            run_metadata.transfers = prepared.executor.plan.transfers
            run_metadata.fallback = prepared.executor.plan.fallback
        if prepared.build is None:
            return results[0] if results else None
        return prepared.build([None if i is None else results[i] for i in prepared.wanted])

    def _watch(self, options: RunOptions, wanted: bool) -> Watch:
        timeout = options.timeout_in_ms or self.config.operation_timeout_in_ms
        full = wanted and options.trace_level == RunOptions.FULL_TRACE
        return Watch(
            [] if wanted else None,
            StepStats() if full else None,
            time.monotonic() + timeout / 1000 if timeout else None,
            options.find_nan,
        )

    def _prepare(self, signature: Any, fetches: Any, keys: tuple[Any, ...]) -> _Prepared:
        with self._lock:
            if signature in self._plans:
                return self._plans[signature]
            feeds = tuple(resolve(self.graph, k) for k in keys)
            if len(set(feeds)) != len(feeds):
                raise InvalidArgumentError("one tensor is fed twice (by itself and by its name)")
            items = leaves(fetches)
            elements = tuple(self._element(item) for item in items)
            tensors = tuple(dict.fromkeys(e for e in elements if isinstance(e, Tensor)))
            targets = tuple(dict.fromkeys(e for e in elements if isinstance(e, Operation)))
            unit = Unit(self.graph, feeds, tensors, targets)
            plan = compile_unit(unit, self.devices, self.dump, self.devices.costs())
            executables = [self.devices.get(p.device).compile(p) for p in plan.partitions]
            fallback = dict.fromkeys((*self.fallback, *plan.fallback, *self.devices.fallback))
            self.fallback = list(fallback)
            place = {t: i for i, t in enumerate(tensors)}
            single = not isinstance(fetches, (list, tuple, Mapping))
            single = single and not hasattr(fetches, "fetch_parts")
            prepared = _Prepared(
                Executor(plan, executables, self.config.compress_transfers, self._helpers),
                feeds,
                tuple(place[e] if isinstance(e, Tensor) else None for e in elements),
                None if single else rebuilder(_skeleton(fetches)),
                (fetches, keys),
            )
            self._plans[signature] = prepared
            return prepared

    def _element(self, item: Any) -> Tensor | Operation:
        try:
            element = self.graph.as_graph_element(item)
        except OpError as error:
            raise type(error)(f"cannot fetch {item!r}: {error.message}", error.op) from None
        if isinstance(element, Tensor) and element.dtype.name in ("resource", "variant"):
            what = "a variable's handle" if element.dtype.name == "resource" else "no array"
            raise InvalidArgumentError(f"cannot fetch {element.name!r}: it is {what}")
        if not self.graph.is_fetchable(element):
            raise InvalidArgumentError(f"cannot fetch {element.name!r}: it was made unfetchable")
        return element

    def make_callable(self, fetches: Any, feed_list: Sequence[Any] = ()) -> Callable[..., Any]:
        """A function of the fed values alone, prepared now."""
        keys = tuple(feed_list)
        self._prepare((_key(fetches), tuple(_key(k) for k in keys)), fetches, keys)
        return lambda *values: self.run(fetches, dict(zip(keys, values, strict=True)))

    def partial_run_setup(self, fetches: Any, feeds: Any = ()) -> PartialRun:
        """Begin a step that `partial_run` does in several calls, which may fetch `fetches` and feed
        `feeds`, each once."""

        def run(unit: Unit, values: Sequence[Any]) -> Sequence[Any]:
            plan = compile_unit(unit, self.devices)
            executables = [self.devices.get(p.device).compile(p) for p in plan.partitions]
            return Executor(plan, executables, self.config.compress_transfers, self._helpers).run(
                values
            )

        given = [resolve(self.graph, key) for key in feeds]
        wanted = [self._element(item) for item in leaves(fetches)]
        return PartialRun(self.graph, given, wanted, run)

    def partial_run(
        self, handle: PartialRun, fetches: Any, feed_dict: Mapping[Any, Any] | None = None
    ) -> Any:
        """The values of `fetches` in the step that `handle` is, `feed_dict` fed from now on."""
        if self._closed:
            raise GraphError("this session is closed")
        given = {resolve(self.graph, k): v for k, v in (feed_dict or {}).items()}
        values = handle.step([self._element(item) for item in leaves(fetches)], given)
        if not isinstance(fetches, (list, tuple, Mapping)):
            return values[0]
        return rebuilder(_skeleton(fetches))(values)

    def list_devices(self) -> list[str]:
        """Full names of the devices of this session."""
        return list(self.devices.names)

    @property
    def tpu_reports(self) -> list[Any]:
        """A `ProgramReport` for each TPU program that this session has run."""
        made = self.devices.made()
        return [item for device in made for item in getattr(device, "reports", list)()]

    @property
    def tpu_recordings(self) -> list[Any]:
        """A `sw.runtime.recording.Recording` for each run of a TPU program, in order, if this
        session's config asks for a profile."""
        made = self.devices.made()
        return [item for device in made for item in getattr(device, "recordings", list)()]

    # --- lifetime -----------------------------------------------------------------------------

    def as_default(self) -> Any:
        """Make this the default session within a `with`, without closing it at the end."""
        return context.SESSIONS.entered(self)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Give back what the devices hold; the session cannot run any more."""
        if not self._closed:
            self._closed = True
            if self._owns_container:
                self.container.cancel("its session is closed")
            self._plans.clear()
            self._helpers.shutdown(wait=False, cancel_futures=True)
            self.devices.close()

    def __enter__(self) -> Session:
        context.GRAPHS.push(self.graph)
        context.SESSIONS.push(self)
        return self

    def __exit__(self, *error: object) -> None:
        context.SESSIONS.remove(self)
        context.GRAPHS.remove(self.graph)
        self.close()


class InteractiveSession(Session):
    """A session that is the default from its making until `close`."""

    def __init__(
        self,
        target: Any = "",
        graph: Graph | None = None,
        config: SessionConfig | None = None,
    ) -> None:
        super().__init__(target, graph, config)
        context.SESSIONS.push(self)
        if self.graph is not get_default_graph():
            context.GRAPHS.push(self.graph)

    def close(self) -> None:
        """End being the default, and close."""
        context.SESSIONS.remove(self)
        context.GRAPHS.remove(self.graph)
        super().close()


def get_default_session() -> Session | None:
    """The innermost default session of this thread, or None."""
    session: Session | None = context.SESSIONS.top()
    return session


def _key(item: Any) -> Any:
    """A hashable signature of a fetch structure or a feed key."""
    if isinstance(item, Mapping):
        return ("dict", tuple((k, _key(v)) for k, v in item.items()))
    if isinstance(item, (list, tuple)):
        return (type(item), tuple(_key(v) for v in item))
    return item if isinstance(item, str) else id(item)


def _skeleton(item: Any) -> Any:
    """The nesting without the tensors."""
    if isinstance(item, Mapping):
        return {k: _skeleton(v) for k, v in item.items()}
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(*(_skeleton(v) for v in item))
    if isinstance(item, (list, tuple)):
        return type(item)(_skeleton(v) for v in item)
    return item if hasattr(item, "fetch_parts") else None
