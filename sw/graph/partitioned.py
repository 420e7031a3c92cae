"""Variables in several parts along one axis, and functions that say how many."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from sw.graph.build import apply
from sw.graph.dtypes import DType, as_dtype
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph
from sw.graph.shapes import Shape, normalise_axis
from sw.graph.tensor import Operators, Tensor

Partitioner = Callable[..., list[int]]


class PartitionedVariable(Operators):
    """A list of variables that together are one of `shape`, cut along `axis`. Used where a tensor
    is needed it is their concatenation; `embedding_lookup` takes the parts as they are."""

    def __init__(self, name: str, shape: Shape, axis: int, parts: list[Any]) -> None:
        self.name, self.shape, self.axis, self._parts = f"{name}:0", shape, axis, parts

    @property
    def dtype(self) -> DType:
        """Element type."""
        kind: DType = self._parts[0].dtype
        return kind

    @property
    def graph(self) -> Graph:
        """The graph that the parts belong to."""
        graph: Graph = self._parts[0].graph
        return graph

    def get_shape(self) -> Shape:
        """The shape of the whole."""
        return self.shape

    def as_tensor(self) -> Tensor:
        """The parts joined."""
        out: Tensor = apply("concat", *self._parts, axis=self.axis)
        return out

    def _operand(self) -> Tensor:
        return self.as_tensor()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, key: Any) -> Any:
        return self._parts[key] if isinstance(key, int) else self.as_tensor()[key]


def part_sizes(shape: Shape, counts: list[int], name: str) -> tuple[int, list[int]]:
    """(the axis that is cut, the sizes of the parts) for what a partitioner said."""
    cut = [i for i, n in enumerate(counts) if n != 1]
    if len(counts) != len(shape) or len(cut) > 1 or min(counts) < 1:
        raise InvalidArgumentError(
            f"variable {name!r} of shape {shape} can be cut along one axis, not into {counts}"
        )
    axis = cut[0] if cut else 0
    size, count = shape.sizes()[axis], counts[axis]
    if count > size:
        raise InvalidArgumentError(f"variable {name!r}: {count} parts of an axis of {size}")
    return axis, [size // count + (i < size % count) for i in range(count)]


def _split(rank: int, axis: int, count: int) -> list[int]:
    counts = [1] * rank
    counts[normalise_axis(axis, rank)] = count
    return counts


def fixed_size_partitioner(num_shards: int, axis: int = 0) -> Partitioner:
    """`num_shards` parts along `axis` (fewer when the axis is shorter)."""

    def partitioner(shape: Any, dtype: Any = None, **rest: Any) -> list[int]:
        sizes = Shape(shape).sizes()
        at = normalise_axis(axis, len(sizes))
        return _split(len(sizes), at, min(num_shards, sizes[at]))

    return partitioner


def variable_axis_size_partitioner(
    max_shard_bytes: int, axis: int = 0, bytes_per_string_element: int = 16, max_shards: Any = None
) -> Partitioner:
    """As few parts along `axis` as leave none larger than `max_shard_bytes`."""
    if max_shard_bytes < 1 or max_shards is not None and max_shards < 1:
        raise InvalidArgumentError("max_shard_bytes and max_shards must be positive")

    def partitioner(shape: Any, dtype: Any, **rest: Any) -> list[int]:
        sizes = Shape(shape).sizes()
        at = normalise_axis(axis, len(sizes))
        slice_bytes = as_dtype(dtype).size * math.prod(sizes) // max(1, sizes[at])
        rows = max(1, max_shard_bytes // max(1, slice_bytes))
        count = math.ceil(sizes[at] / rows)
        return _split(len(sizes), at, max(1, min(count, max_shards or count, sizes[at])))

    return partitioner


def min_max_variable_partitioner(
    max_partitions: int = 1, axis: int = 0, min_slice_size: int = 256 << 10, **rest: Any
) -> Partitioner:
    """Up to `max_partitions` parts along `axis`, each of at least `min_slice_size` bytes."""
    if max_partitions < 1 or min_slice_size < 1:
        raise InvalidArgumentError("max_partitions and min_slice_size must be positive")

    def partitioner(shape: Any, dtype: Any, **more: Any) -> list[int]:
        sizes = Shape(shape).sizes()
        at = normalise_axis(axis, len(sizes))
        whole = as_dtype(dtype).size * math.prod(sizes)
        count = min(max_partitions, sizes[at], max(1, math.ceil(whole / min_slice_size)))
        return _split(len(sizes), at, max(1, count))

    return partitioner
