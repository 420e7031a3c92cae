"""Fetches in any nesting of lists, tuples, named tuples and dicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def leaves(structure: Any) -> list[Any]:
    """The leaves from left to right."""
    found: list[Any] = []
    _collect(structure, found)
    return found


def _collect(item: Any, found: list[Any]) -> None:
    if isinstance(item, Mapping):
        for value in item.values():
            _collect(value, found)
    elif isinstance(item, (list, tuple)):
        for value in item:
            _collect(value, found)
    elif hasattr(item, "fetch_parts"):  # IndexedSlices and other bundles of tensors
        found.extend(item.fetch_parts())
    else:
        found.append(item)


def rebuilder(structure: Any) -> Callable[[Sequence[Any]], Any]:
    """A function that puts a flat list of values back into the shape of `structure`."""

    def build(item: Any, values: Any) -> Any:
        if isinstance(item, Mapping):
            return {key: build(value, values) for key, value in item.items()}
        if isinstance(item, tuple) and hasattr(item, "_fields"):
            return type(item)(*(build(value, values) for value in item))
        if isinstance(item, (list, tuple)):
            return type(item)(build(value, values) for value in item)
        if hasattr(item, "fetch_parts"):
            return item.from_parts(*(next(values) for _ in item.fetch_parts()))
        return next(values)

    return lambda values: build(structure, iter(values))
