"""Nested lists, tuples, named tuples and dicts of tensors: flattened, and put together again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sw.graph.errors import InvalidArgumentError


def is_nested(item: Any) -> bool:
    """Whether `item` has parts; arrays and tensors have none."""
    return isinstance(item, (list, tuple, Mapping))


def flatten(item: Any) -> list[Any]:
    """The leaves from left to right (a dict's by sorted key)."""
    if isinstance(item, Mapping):
        return [leaf for key in sorted(item) for leaf in flatten(item[key])]
    if isinstance(item, (list, tuple)):
        return [leaf for part in item for leaf in flatten(part)]
    return [item]


def pack(structure: Any, leaves: Sequence[Any]) -> Any:
    """`leaves` in the nesting of `structure`; raises `InvalidArgumentError` if they are too many or
    too few."""
    if len(flatten(structure)) != len(leaves):
        raise InvalidArgumentError(
            f"{len(leaves)} values for a structure of {len(flatten(structure))}"
        )
    return _pack(structure, iter(leaves))


def _pack(item: Any, leaves: Any) -> Any:
    if isinstance(item, Mapping):
        made = {key: _pack(item[key], leaves) for key in sorted(item)}
        return {key: made[key] for key in item}
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(*(_pack(part, leaves) for part in item))
    if isinstance(item, (list, tuple)):
        return type(item)(_pack(part, leaves) for part in item)
    return next(leaves)


def same_structure(a: Any, b: Any) -> bool:
    """Whether both have the same nesting (lists and tuples count as the same)."""
    if isinstance(a, Mapping) or isinstance(b, Mapping):
        if not (isinstance(a, Mapping) and isinstance(b, Mapping)) or set(a) != set(b):
            return False
        return all(same_structure(a[key], b[key]) for key in a)
    if is_nested(a) != is_nested(b):
        return False
    if not is_nested(a):
        return True
    return len(a) == len(b) and all(same_structure(x, y) for x, y in zip(a, b, strict=True))


def map_structure(function: Callable[..., Any], *structures: Any) -> Any:
    """`function` of corresponding leaves, in the nesting of the first structure."""
    for other in structures[1:]:
        if not same_structure(structures[0], other):
            raise InvalidArgumentError(f"{structures[0]!r} and {other!r} are nested differently")
    leaves = zip(*(flatten(s) for s in structures), strict=True)
    return pack(structures[0], [function(*parts) for parts in leaves])
