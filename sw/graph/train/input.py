"""Input pipelines: producers of examples and batches, each a queue with a `QueueRunner`."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.graph import GraphKeys, get_default_graph
from sw.graph.ops.basic import identity
from sw.graph.ops.queues import FIFOQueue, PaddingFIFOQueue, QueueBase, RandomShuffleQueue
from sw.graph.ops.random import random_uniform
from sw.graph.ops.readers import encode
from sw.graph.ops.variables import Variable, count_up_to
from sw.graph.tensor import Tensor
from sw.graph.train.queue_runner import QueueRunner, add_queue_runner


def limit_epochs(tensor: Any, num_epochs: int | None = None, name: str | None = None) -> Tensor:
    """`tensor`, which can be computed `num_epochs` times; then `OutOfRangeError`. Counts in a
    local variable."""
    graph = graph_of((tensor,))
    value = graph.convert(tensor)
    if num_epochs is None:
        return value
    if num_epochs < 1:
        raise InvalidArgumentError(f"num_epochs must be positive, not {num_epochs}")
    with graph.name_scope(name or "limit_epochs"):
        counter = Variable(
            np.int64(0), trainable=False, collections=[GraphKeys.LOCAL_VARIABLES], name="epochs"
        )
        with graph.control_dependencies([count_up_to(counter, int(num_epochs))]):
            return identity(value)


def input_producer(
    input_tensor: Any,
    element_shape: Any = None,
    num_epochs: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    capacity: int = 32,
    shared_name: str | None = None,
    name: str | None = None,
) -> QueueBase:
    """A queue of the rows of `input_tensor`, over and over (`num_epochs` times), each time in
    another order with `shuffle`."""
    graph = graph_of((input_tensor,))
    with graph.name_scope(name or "input_producer"):
        rows = graph.convert(input_tensor)
        shape = rows.shape[1:].merge(element_shape)
        if shuffle:
            count = apply("shape", rows)[0]
            noise = random_uniform(apply("stack", count, axis=0), seed=seed)
            rows = apply("gather", rows, apply("argsort", noise))
        queue = FIFOQueue(capacity, rows.dtype, [shape], shared_name=shared_name, name="queue")
        rows = limit_epochs(rows, num_epochs)
        add_queue_runner(QueueRunner(queue, [queue.enqueue_many(rows)]))
    return queue


def string_input_producer(
    string_tensor: Any,
    num_epochs: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    capacity: int = 32,
    name: str | None = None,
) -> QueueBase:
    """A queue of strings (of files' names, for readers), each a uint8 vector; `string_tensor`: a
    list of str."""
    texts = list(string_tensor)
    if not texts:
        raise InvalidArgumentError("string_input_producer needs at least one string")
    graph = get_default_graph()
    with graph.name_scope(name or "input_producer"):
        vectors = [encode(t) for t in texts]
        ends = np.cumsum([len(v) for v in vectors]).astype(np.int32)
        starts = np.concatenate([[0], ends[:-1]]).astype(np.int32)
        which = input_producer(
            np.arange(len(texts), dtype=np.int32), None, num_epochs, shuffle, seed, capacity
        )
        index = which.dequeue()
        first = apply("gather", starts, index)
        size = apply("gather", ends, index) - first
        text = apply(
            "dynamic_slice",
            np.concatenate(vectors),
            apply("stack", first, axis=0),
            apply("stack", size, axis=0),
        )
        queue = FIFOQueue(capacity, text.dtype, name="strings")
        add_queue_runner(QueueRunner(queue, [queue.enqueue(text)]))
    return queue


def range_input_producer(
    limit: int,
    num_epochs: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    capacity: int = 32,
    name: str | None = None,
) -> QueueBase:
    """A queue of the int32 numbers below `limit`."""
    numbers = np.arange(int(limit), dtype=np.int32)
    return input_producer(numbers, (), num_epochs, shuffle, seed, capacity, name=name)


def slice_input_producer(
    tensor_list: Any,
    num_epochs: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    capacity: int = 32,
    name: str | None = None,
) -> list[Tensor]:
    """One row of each tensor, the same of all; they have equally many."""
    graph = graph_of(tensor_list)
    tensors = [graph.convert(t) for t in tensor_list]
    size = tensors[0].shape[0]
    if size is None or any(t.shape[0] != size for t in tensors):
        raise ShapeError("slice_input_producer needs tensors with a known, equal number of rows")
    queue = range_input_producer(size, num_epochs, shuffle, seed, capacity, name)
    index = queue.dequeue()
    return [apply("gather", t, index) for t in tensors]


def _batched(
    make: Any,
    tensors: Any,
    batch_size: Any,
    threads: int,
    many: bool,
    smaller: bool,
    join: bool,
    title: str,
    keep: Any = None,
) -> Any:
    lists = tensors if join else [tensors]
    keys = sorted(lists[0]) if isinstance(lists[0], dict) else None
    rows = [[item[k] for k in keys] if keys else _listed(item) for item in lists]
    graph = graph_of(rows[0])
    with graph.name_scope(title):
        rows = [[graph.convert(v) for v in row] for row in rows]
        shapes = [t.shape[1:] if many else t.shape for t in rows[0]]
        for row in rows[1:]:
            both = zip(shapes, row, strict=True)
            shapes = [s.merge(t.shape[1:] if many else t.shape) for s, t in both]
        queue = make([t.dtype for t in rows[0]], shapes)
        if keep is not None:
            rows, many = [_kept(graph, row, keep, many) for row in rows], True
        enqueue = queue.enqueue_many if many else queue.enqueue
        ops = [enqueue(row) for row in rows for _ in range(1 if join else threads)]
        add_queue_runner(QueueRunner(queue, ops))
        take = queue.dequeue_up_to if smaller else queue.dequeue_many
        out = take(batch_size, name="batch")
    parts = out if isinstance(out, list) else [out]
    if keys:
        return dict(zip(keys, parts, strict=True))
    first = lists[0]
    return parts if isinstance(first, (list, tuple)) else parts[0]


def _kept(graph: Any, row: list[Tensor], keep: Any, many: bool) -> list[Tensor]:
    """The rows of which `keep` is true: one of a batch of one, or of the batch that they are."""
    flag = graph.convert(keep)
    if not flag.dtype.is_bool or flag.shape.rank not in ((0, 1) if many else (0,)):
        raise InvalidArgumentError(f"keep_input is a bool scalar (or one for each row), not {flag}")
    if not many:
        row = [apply("expand_dims", t, axis=0) for t in row]
    if flag.shape.rank == 0:
        flag = apply("fill", apply("stack", apply("shape", row[0])[0], axis=0), flag)
    chosen = apply("where_indices", flag)[:, 0]
    return [apply("gather", t, chosen, axis=0) for t in row]


def _listed(item: Any) -> list[Any]:
    return list(item) if isinstance(item, (list, tuple)) else [item]


def _plain(capacity: int, pad: bool, shapes: Any, shared_name: str | None) -> Any:
    cls = PaddingFIFOQueue if pad else FIFOQueue

    def make(dtypes: Any, inferred: Any) -> QueueBase:
        chosen = inferred if shapes is None else shapes
        if not pad and not all(s.known for s in inferred) and shapes is None:
            raise ShapeError(f"batches need elements of known shapes, not {inferred}; use "
                             "dynamic_pad or give shapes")  # fmt: skip
        return cls(capacity, dtypes, chosen, shared_name=shared_name, name="queue")

    return make


def batch(
    tensors: Any,
    batch_size: Any,
    num_threads: int = 1,
    capacity: int = 32,
    enqueue_many: bool = False,
    shapes: Any = None,
    dynamic_pad: bool = False,
    allow_smaller_final_batch: bool = False,
    shared_name: str | None = None,
    name: str | None = None,
) -> Any:
    """Batches of `tensors` (a list or a dict), computed in `num_threads` threads of the session.
    `enqueue_many`: the tensors are batches already, to be cut anew."""
    make = _plain(capacity, dynamic_pad, shapes, shared_name)
    smaller = allow_smaller_final_batch
    title = name or "batch"
    return _batched(make, tensors, batch_size, num_threads, enqueue_many, smaller, False, title)


def batch_join(
    tensors_list: Any,
    batch_size: Any,
    capacity: int = 32,
    enqueue_many: bool = False,
    shapes: Any = None,
    dynamic_pad: bool = False,
    allow_smaller_final_batch: bool = False,
    shared_name: str | None = None,
    name: str | None = None,
) -> Any:
    """`batch` of several sources, one thread each."""
    make = _plain(capacity, dynamic_pad, shapes, shared_name)
    smaller = allow_smaller_final_batch
    title = name or "batch_join"
    return _batched(make, tensors_list, batch_size, 1, enqueue_many, smaller, True, title)


def _shuffled(capacity: int, least: int, seed: int | None, shapes: Any, shared: str | None) -> Any:
    def make(dtypes: Any, inferred: Any) -> QueueBase:
        chosen = inferred if shapes is None else shapes
        return RandomShuffleQueue(
            capacity, least, dtypes, chosen, seed=seed, shared_name=shared, name="queue"
        )

    return make


def shuffle_batch(
    tensors: Any,
    batch_size: Any,
    capacity: int,
    min_after_dequeue: int,
    num_threads: int = 1,
    seed: int | None = None,
    enqueue_many: bool = False,
    shapes: Any = None,
    allow_smaller_final_batch: bool = False,
    shared_name: str | None = None,
    name: str | None = None,
) -> Any:
    """Batches in random order, out of at least `min_after_dequeue` elements."""
    make = _shuffled(capacity, min_after_dequeue, seed, shapes, shared_name)
    smaller = allow_smaller_final_batch
    title = name or "shuffle_batch"
    return _batched(make, tensors, batch_size, num_threads, enqueue_many, smaller, False, title)


def shuffle_batch_join(
    tensors_list: Any,
    batch_size: Any,
    capacity: int,
    min_after_dequeue: int,
    seed: int | None = None,
    enqueue_many: bool = False,
    shapes: Any = None,
    allow_smaller_final_batch: bool = False,
    shared_name: str | None = None,
    name: str | None = None,
) -> Any:
    """`shuffle_batch` of several sources, one thread each."""
    make = _shuffled(capacity, min_after_dequeue, seed, shapes, shared_name)
    smaller = allow_smaller_final_batch
    title = name or "shuffle_batch_join"
    return _batched(make, tensors_list, batch_size, 1, enqueue_many, smaller, True, title)


def maybe_batch(
    tensors: Any,
    keep_input: Any,
    batch_size: Any,
    num_threads: int = 1,
    capacity: int = 32,
    enqueue_many: bool = False,
    shapes: Any = None,
    dynamic_pad: bool = False,
    allow_smaller_final_batch: bool = False,
    shared_name: str | None = None,
    name: str | None = None,
) -> Any:
    """`batch` of those elements for which the bool scalar `keep_input` is true when they are
    computed; with `enqueue_many` it may be a vector, one for each row."""
    make = _plain(capacity, dynamic_pad, shapes, shared_name)
    how = (num_threads, enqueue_many, allow_smaller_final_batch, False, name or "maybe_batch")
    return _batched(make, tensors, batch_size, *how, keep_input)


def maybe_batch_join(
    tensors_list: Any,
    keep_input: Any,
    batch_size: Any,
    capacity: int = 32,
    enqueue_many: bool = False,
    shapes: Any = None,
    dynamic_pad: bool = False,
    allow_smaller_final_batch: bool = False,
    shared_name: str | None = None,
    name: str | None = None,
) -> Any:
    """`maybe_batch` of several sources, one thread each."""
    make = _plain(capacity, dynamic_pad, shapes, shared_name)
    how = (1, enqueue_many, allow_smaller_final_batch, True, name or "maybe_batch_join")
    return _batched(make, tensors_list, batch_size, *how, keep_input)


def maybe_shuffle_batch(
    tensors: Any,
    batch_size: Any,
    capacity: int,
    min_after_dequeue: int,
    keep_input: Any,
    num_threads: int = 1,
    seed: int | None = None,
    enqueue_many: bool = False,
    shapes: Any = None,
    allow_smaller_final_batch: bool = False,
    shared_name: str | None = None,
    name: str | None = None,
) -> Any:
    """`shuffle_batch` of those elements for which `keep_input` is true; see `maybe_batch`."""
    make = _shuffled(capacity, min_after_dequeue, seed, shapes, shared_name)
    title = name or "maybe_shuffle_batch"
    how = (num_threads, enqueue_many, allow_smaller_final_batch, False, title)
    return _batched(make, tensors, batch_size, *how, keep_input)


def maybe_shuffle_batch_join(
    tensors_list: Any,
    batch_size: Any,
    capacity: int,
    min_after_dequeue: int,
    keep_input: Any,
    seed: int | None = None,
    enqueue_many: bool = False,
    shapes: Any = None,
    allow_smaller_final_batch: bool = False,
    shared_name: str | None = None,
    name: str | None = None,
) -> Any:
    """`maybe_shuffle_batch` of several sources, one thread each."""
    make = _shuffled(capacity, min_after_dequeue, seed, shapes, shared_name)
    how = (1, enqueue_many, allow_smaller_final_batch, True, name or "maybe_shuffle_batch_join")
    return _batched(make, tensors_list, batch_size, *how, keep_input)
