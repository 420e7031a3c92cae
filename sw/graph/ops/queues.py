"""Queue ops and the classes that make them: in order, shuffled, padded, by priority."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sw.graph.build import constant_value, register_op
from sw.graph.dtypes import DType, as_dtype, int32, int64, resource
from sw.graph.errors import DTypeError, InvalidArgumentError, ShapeError
from sw.graph.graph import get_default_graph
from sw.graph.operation import Operation
from sw.graph.ops.random import op_seeds
from sw.graph.queues import FifoQueue, PaddingQueue, ShuffleQueue
from sw.graph.queues import PriorityQueue as _Priority
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import SCALAR, Shape
from sw.graph.state import OpState
from sw.graph.tensor import Tensor
from sw.graph.waiting import Done, Waiting, blocking


def _queue(
    xp: Any,
    state: OpState,
    kind: str,
    capacity: int,
    dtypes: Any,
    shapes: Any,
    least: int,
    seeds: Any,
    shared_name: str,
) -> str:
    box = state.container

    def make() -> FifoQueue:
        if kind == "shuffle":
            seed = None if None in seeds else [abs(s) for s in seeds]
            random = np.random.default_rng(seed)
            queue: FifoQueue = ShuffleQueue(shared_name, capacity, shapes, least, random)
        else:
            cls = {"padding": PaddingQueue, "priority": _Priority}.get(kind, FifoQueue)
            queue = cls(shared_name, capacity, shapes)
        queue.fillers = lambda: box.gate.fillers(shared_name)
        return queue

    box.resource(shared_name, make)
    return shared_name


def _found(state: OpState, handle: str) -> FifoQueue:
    queue: FifoQueue = state.container.resources[handle]
    return queue


def _several(values: Any) -> Any:
    return tuple(values) if len(values) != 1 else values[0]


def _enqueue(state: OpState, done: Done, handle: str, *components: Any) -> Waiting:
    element = tuple(np.array(c) for c in components)
    return _found(state, handle).begin_enqueue([element], done)


def _enqueue_many(state: OpState, done: Done, handle: str, *components: Any) -> Waiting:
    rows = zip(*(np.array(c) for c in components), strict=True)
    elements = [tuple(np.asarray(v) for v in row) for row in rows]
    return _found(state, handle).begin_enqueue(elements, done)


def _then(done: Done, make: Callable[[Any], Any]) -> Done:
    """`done` with what `make` makes of the outputs."""

    def after(outputs: Any, error: BaseException | None) -> None:
        if error is None:
            try:
                outputs = make(outputs)
            except InvalidArgumentError as found:
                outputs, error = None, found
        done(outputs, error)

    return after


def _dequeue(state: OpState, done: Done, handle: str) -> Waiting:
    queue = _found(state, handle)
    return queue.begin_dequeue(1, False, _then(done, lambda taken: _several(taken[0])))


def _dequeue_many(state: OpState, done: Done, handle: str, count: Any, up_to: bool) -> Waiting:
    queue = _found(state, handle)
    if int(count) < 1:
        raise InvalidArgumentError(f"dequeue_many of {int(count)} elements")
    end = _then(done, lambda taken: _several(queue.batch(taken)))
    return queue.begin_dequeue(int(count), up_to, end)


def _close(xp: Any, state: OpState, handle: str, cancel_pending: bool) -> Any:
    _found(state, handle).close(cancel_pending)
    return ()


def _attrs(handle: Tensor) -> Any:
    if handle.dtype is not resource or handle.op.attrs.get("dtypes") is None:
        raise InvalidArgumentError(f"{handle.name!r} is not a queue")
    return handle.op.attrs


def _component_types(handle: Tensor, lead: tuple[Any, ...]) -> list[TensorType]:
    attrs = _attrs(handle)
    dtypes, shapes = attrs["dtypes"], attrs["shapes"]
    if shapes is None:
        return [TensorType(d, Shape(None)) for d in dtypes]
    return [TensorType(d, Shape(lead).concatenate(s)) for d, s in zip(dtypes, shapes, strict=True)]


def _in_type(many: bool) -> Any:
    def infer(inputs: tuple[Tensor, ...]) -> list[TensorType]:
        dtypes, shapes = _attrs(inputs[0])["dtypes"], _attrs(inputs[0])["shapes"]
        if len(inputs) - 1 != len(dtypes):
            raise InvalidArgumentError(f"the queue has {len(dtypes)} components")
        for at, (tensor, dtype) in enumerate(zip(inputs[1:], dtypes, strict=True)):
            if tensor.dtype is not dtype:
                raise DTypeError(f"component {at} of the queue is {dtype}, not {tensor.dtype}")
            if shapes is not None:
                shape = tensor.shape[1:] if many else tensor.shape
                if not shape.compatible(shapes[at]):
                    raise ShapeError(f"component {at} has shape {shapes[at]}, not {shape}")
        return []

    return infer


def _many_type(inputs: tuple[Tensor, ...], up_to: bool) -> list[TensorType]:
    count = None if up_to else constant_value(inputs[1])
    return _component_types(inputs[0], (None if count is None else int(count),))


def _register(name: str, kernel: Any, infer: Any, doc: str, **attrs: Any) -> None:
    register_op(
        name,
        kernel=kernel,
        infer=infer,
        gradient=NOT_DIFFERENTIABLE,
        attrs=attrs,
        stateful=True,
        host_only=True,
        doc=doc,
    )


def _register_waiting(name: str, begin: Any, infer: Any, doc: str, **attrs: Any) -> None:
    register_op(
        name,
        kernel=blocking(begin),
        begin=begin,
        infer=infer,
        gradient=NOT_DIFFERENTIABLE,
        attrs=attrs,
        stateful=True,
        host_only=True,
        doc=doc,
    )


_register("queue", _queue, lambda inputs, **attrs: TensorType(resource, SCALAR), "A queue.",
          kind=REQUIRED, capacity=-1, dtypes=REQUIRED, shapes=None, least=0, seeds=(None, None),
          shared_name=REQUIRED)  # fmt: skip
_register_waiting("queue_enqueue", _enqueue, _in_type(False), "Adds one element, waiting for room.")
_register_waiting("queue_enqueue_many", _enqueue_many, _in_type(True), "Adds the rows, one by one.")
_register_waiting("queue_dequeue", _dequeue, lambda inputs: _component_types(inputs[0], ()),
          "Takes one element, waiting for it.")  # fmt: skip
_register_waiting("queue_dequeue_many", _dequeue_many, _many_type,
          "Takes inputs[1] elements as one batch (`up_to`: fewer when it is closed).",
          up_to=False)  # fmt: skip
_register("queue_close", _close, lambda inputs, cancel_pending: [],
          "No more elements are taken.", cancel_pending=False)  # fmt: skip
_register("queue_size",
          lambda xp, state, handle: np.asarray(_found(state, handle).size(), np.int32),
          lambda inputs: TensorType(int32, SCALAR), "The number of elements.")  # fmt: skip
_register("queue_is_closed", lambda xp, state, handle: np.asarray(_found(state, handle).closed),
          lambda inputs: TensorType(as_dtype("bool"), SCALAR), "Whether it is closed.")  # fmt: skip


class QueueBase:
    """What all queues share. An element has one component per entry of `dtypes`; with `names`
    elements are dicts."""

    kind = "fifo"

    def __init__(
        self,
        capacity: int,
        dtypes: Any,
        shapes: Any,
        names: Any,
        shared_name: str | None,
        name: str,
        least: int = 0,
        seed: int | None = None,
    ) -> None:
        graph = get_default_graph().root
        kinds = dtypes if isinstance(dtypes, (list, tuple)) else [dtypes]
        self.dtypes: list[DType] = [as_dtype(d) for d in kinds]
        self.names = None if names is None else list(names)
        if shapes is not None:
            many = shapes if len(kinds) > 1 or _nested(shapes) else [shapes]
            shapes = tuple(Shape(s) for s in many)
            if len(shapes) != len(kinds):
                raise InvalidArgumentError(f"{len(shapes)} shapes for {len(kinds)} dtypes")
        self.shapes = shapes
        self._graph = graph
        full = graph.unique_name(name)
        with graph.control_dependencies(None):
            self.queue_ref: Tensor = graph.apply(
                "queue",
                name=f"{full}/",
                kind=self.kind,
                capacity=int(capacity),
                dtypes=tuple(self.dtypes),
                shapes=shapes,
                least=int(least),
                seeds=op_seeds(seed),
                shared_name=shared_name or full,
            )

    @property
    def name(self) -> str:
        """The name of the queue's op."""
        return self.queue_ref.op.name

    def _components(self, vals: Any) -> list[Tensor]:
        if self.names is not None:
            if not isinstance(vals, dict) or set(vals) != set(self.names):
                raise InvalidArgumentError(f"elements are dicts with the keys {self.names}")
            vals = [vals[n] for n in self.names]
        items = list(vals) if isinstance(vals, (list, tuple)) else [vals]
        if len(self.dtypes) == 1 and len(items) != 1:
            items = [vals]
        if len(items) != len(self.dtypes):
            raise InvalidArgumentError(
                f"{self.name!r} has {len(self.dtypes)} components, not {len(items)}"
            )
        graph = self._graph.building()
        return [graph.convert(v, d) for v, d in zip(items, self.dtypes, strict=True)]

    def _apply(self, op: str, *inputs: Any, name: str | None, **attrs: Any) -> Any:
        return self._graph.building().apply(op, self.queue_ref, *inputs, name=name, **attrs)

    def _element(self, parts: Any) -> Any:
        if self.names is None:
            return parts
        values = parts if isinstance(parts, list) else [parts]
        return dict(zip(self.names, values, strict=True))

    def enqueue(self, vals: Any, name: str | None = None) -> Operation:
        """An operation that adds one element, waiting for room."""
        op: Operation = self._apply("queue_enqueue", *self._components(vals), name=name)
        return op

    def enqueue_many(self, vals: Any, name: str | None = None) -> Operation:
        """An operation that adds the rows of the components, one by one."""
        op: Operation = self._apply("queue_enqueue_many", *self._components(vals), name=name)
        return op

    def dequeue(self, name: str | None = None) -> Any:
        """One element: a tensor, a list or a dict. Running it waits; `OutOfRangeError` when the
        queue is closed and empty."""
        return self._element(self._apply("queue_dequeue", name=name))

    def dequeue_many(self, n: Any, name: str | None = None) -> Any:
        """`n` elements as one with a new first axis."""
        self._check_shapes("dequeue_many")
        return self._element(self._apply("queue_dequeue_many", n, name=name, up_to=False))

    def dequeue_up_to(self, n: Any, name: str | None = None) -> Any:
        """`n` elements, or what is left (at least one) when the queue is closed."""
        self._check_shapes("dequeue_up_to")
        return self._element(self._apply("queue_dequeue_many", n, name=name, up_to=True))

    def _check_shapes(self, what: str) -> None:
        if self.shapes is None:
            raise InvalidArgumentError(f"{what} of {self.name!r} needs a queue with shapes")

    def close(self, cancel_pending_enqueues: bool = False, name: str | None = None) -> Operation:
        """An operation after which nothing can be added."""
        cancel = bool(cancel_pending_enqueues)
        op: Operation = self._apply("queue_close", name=name, cancel_pending=cancel)
        return op

    def size(self, name: str | None = None) -> Tensor:
        """The number of elements."""
        out: Tensor = self._apply("queue_size", name=name)
        return out

    def is_closed(self, name: str | None = None) -> Tensor:
        """Whether the queue is closed."""
        out: Tensor = self._apply("queue_is_closed", name=name)
        return out


def _nested(shapes: Any) -> bool:
    return (
        isinstance(shapes, (list, tuple))
        and bool(shapes)
        and not all(s is None or isinstance(s, int) for s in shapes)
    )


class FIFOQueue(QueueBase):
    """First in, first out."""

    def __init__(
        self,
        capacity: int,
        dtypes: Any,
        shapes: Any = None,
        names: Any = None,
        shared_name: str | None = None,
        name: str = "fifo_queue",
    ) -> None:
        super().__init__(capacity, dtypes, shapes, names, shared_name, name)


class RandomShuffleQueue(QueueBase):
    """Random order; `min_after_dequeue` elements stay until the queue is closed."""

    kind = "shuffle"

    def __init__(
        self,
        capacity: int,
        min_after_dequeue: int,
        dtypes: Any,
        shapes: Any = None,
        names: Any = None,
        seed: int | None = None,
        shared_name: str | None = None,
        name: str = "random_shuffle_queue",
    ) -> None:
        if 0 <= capacity <= min_after_dequeue:
            raise InvalidArgumentError(
                f"capacity {capacity} must be more than min_after_dequeue {min_after_dequeue}"
            )
        super().__init__(
            capacity, dtypes, shapes, names, shared_name, name, min_after_dequeue, seed
        )


class PriorityQueue(QueueBase):
    """An element begins with an int64 scalar, its priority: the smallest comes out first, of equal
    ones the eldest. `types` and `shapes` are those of the other components; without any an element
    is its priority alone."""

    kind = "priority"

    def __init__(
        self,
        capacity: int,
        types: Any,
        shapes: Any = None,
        names: Any = None,
        shared_name: str | None = None,
        name: str = "priority_queue",
    ) -> None:
        kinds = list(types) if isinstance(types, (list, tuple)) else [types]
        if shapes is not None:
            many = shapes if len(kinds) > 1 or _nested(shapes) or not kinds else [shapes]
            shapes = [(), *many]
        named = None if names is None else ["priority", *names]
        super().__init__(capacity, [int64, *kinds], shapes, named, shared_name, name)


class PaddingFIFOQueue(QueueBase):
    """First in, first out; a batch is padded with zeros where `shapes` has None."""

    kind = "padding"

    def __init__(
        self,
        capacity: int,
        dtypes: Any,
        shapes: Any,
        names: Any = None,
        shared_name: str | None = None,
        name: str = "padding_fifo_queue",
    ) -> None:
        super().__init__(capacity, dtypes, shapes, names, shared_name, name)
