"""Static shapes: a tuple of sizes in which None is an unknown size, or no tuple at all.

`Shape(None)` has unknown rank. Shapes are immutable and compare with lists and tuples.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

from sw.graph.errors import ShapeError

Dims = tuple[int | None, ...]


class Shape:
    """A static shape; `dims` is a tuple of `int | None`, or None for unknown rank."""

    __slots__ = ("dims",)

    def __init__(self, dims: Any) -> None:
        self.dims: Dims | None
        if dims is None:
            self.dims = None
        elif isinstance(dims, Shape):
            self.dims = dims.dims
        else:
            items = dims if isinstance(dims, Sequence) or hasattr(dims, "__iter__") else (dims,)
            self.dims = tuple(_size(d) for d in items)

    @property
    def rank(self) -> int | None:
        """Number of dimensions, or None."""
        return None if self.dims is None else len(self.dims)

    ndims = rank

    @property
    def known(self) -> bool:
        """Whether the rank and every size are known."""
        return self.dims is not None and None not in self.dims

    def is_fully_defined(self) -> bool:
        """Same as `known` (TensorFlow's spelling)."""
        return self.known

    def as_list(self) -> list[int | None]:
        """The sizes; raises `ShapeError` for unknown rank."""
        return list(self._require())

    def num_elements(self) -> int | None:
        """Product of the sizes, or None when not fully known."""
        if self.dims is None:
            return None
        total = 1
        for size in self.dims:
            if size is None:
                return None
            total *= size
        return total

    def sizes(self) -> tuple[int, ...]:
        """The sizes as ints; raises `ShapeError` when any is unknown."""
        sizes = tuple(d for d in self._require() if d is not None)
        if len(sizes) != len(self):
            raise ShapeError(f"a fully known shape is needed, not {self}")
        return sizes

    def compatible(self, other: Any) -> bool:
        """Whether one array could have both shapes."""
        theirs = Shape(other).dims
        if self.dims is None or theirs is None:
            return True
        return len(self.dims) == len(theirs) and all(
            a is None or b is None or a == b for a, b in zip(self.dims, theirs, strict=True)
        )

    is_compatible_with = compatible

    def merge(self, other: Any) -> Shape:
        """The more exact of both; raises `ShapeError` when they contradict each other."""
        shape = Shape(other)
        if not self.compatible(shape):
            raise ShapeError(f"shapes {self} and {shape} are not compatible")
        if self.dims is None:
            return shape
        if shape.dims is None:
            return self
        return Shape(
            tuple(b if a is None else a for a, b in zip(self.dims, shape.dims, strict=True))
        )

    merge_with = merge

    def concatenate(self, other: Any) -> Shape:
        """The sizes of both, one after the other."""
        shape = Shape(other)
        if self.dims is None or shape.dims is None:
            return Shape(None)
        return Shape(self.dims + shape.dims)

    def _require(self) -> Dims:
        if self.dims is None:
            raise ShapeError("the rank of this tensor is unknown")
        return self.dims

    def __len__(self) -> int:
        return len(self._require())

    def __iter__(self) -> Iterator[int | None]:
        return iter(self._require())

    def __getitem__(self, key: Any) -> Any:
        if self.dims is None:
            return Shape(None) if isinstance(key, slice) else None
        picked = self.dims[key]
        return Shape(picked) if isinstance(key, slice) else picked

    def __bool__(self) -> bool:
        return self.dims is not None

    def __eq__(self, other: object) -> bool:
        if other is None or isinstance(other, (Shape, list, tuple)):
            return self.dims == Shape(other).dims
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.dims)

    def __repr__(self) -> str:
        if self.dims is None:
            return "<unknown>"
        inner = ", ".join("?" if d is None else str(d) for d in self.dims)
        return f"({inner},)" if len(self.dims) == 1 else f"({inner})"


UNKNOWN = Shape(None)
SCALAR = Shape(())


def _size(value: Any) -> int | None:
    if value is None:
        return None
    try:
        size = operator.index(value)
    except TypeError:
        raise ShapeError(f"{value!r} is not a size (a whole number, or None for unknown)") from None
    if size == -1:
        return None
    if size < 0:
        raise ShapeError(f"size {size} is negative")
    return size


def broadcast(a: Shape, b: Shape) -> Shape:
    """NumPy's broadcasting over static shapes; raises `ShapeError` when it is impossible."""
    if a.dims is None or b.dims is None:
        return UNKNOWN
    if a.dims == b.dims and None not in a.dims:
        return a
    rank = max(len(a.dims), len(b.dims))
    left = (1,) * (rank - len(a.dims)) + a.dims
    right = (1,) * (rank - len(b.dims)) + b.dims
    out: list[int | None] = []
    for x, y in zip(left, right, strict=True):
        if x == 1:
            out.append(y)
        elif y == 1 or x == y or y is None:
            out.append(x)
        elif x is None:
            out.append(y)
        else:
            raise ShapeError(f"shapes {a} and {b} do not broadcast together")
    return Shape(tuple(out))


def normalise_axis(axis: int, rank: int | None, what: str = "axis") -> int:
    """`axis` counted from the front; raises `ShapeError` when outside the rank."""
    index = operator.index(axis)
    if rank is None:
        return index
    if not -rank <= index < rank:
        raise ShapeError(f"{what} {index} is outside a tensor of rank {rank}")
    return index % rank
