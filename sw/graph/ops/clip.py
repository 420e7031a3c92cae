"""Clipping by value and by norm; gradients may be `IndexedSlices`."""

from __future__ import annotations

from typing import Any

from sw.graph.build import apply, graph_of
from sw.graph.errors import InvalidArgumentError
from sw.graph.indexed_slices import IndexedSlices
from sw.graph.tensor import Tensor


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    """`t` with every element moved into [clip_value_min, clip_value_max]."""
    if isinstance(t, IndexedSlices):
        return t.with_values(clip_by_value(t.values, clip_value_min, clip_value_max, name))
    graph = graph_of((t,))
    with graph.name_scope(name or "clip_by_value"):
        return apply("maximum", apply("minimum", graph.convert(t), clip_value_max), clip_value_min)


def _values(t: Any) -> Any:
    return t.values if isinstance(t, IndexedSlices) else t


def _like(t: Any, values: Any) -> Any:
    return t.with_values(values) if isinstance(t, IndexedSlices) else values


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Any:
    """`t` scaled down so that its Euclidean norm (over `axes`) is at most `clip_norm`."""
    graph = graph_of((t,))
    with graph.name_scope(name or "clip_by_norm"):
        value = graph.convert(_values(t))
        axis = None if axes is None else tuple(int(a) for a in axes)
        total = apply("reduce_sum", value * value, axis=axis, keepdims=True)
        positive = total > 0
        safe = apply("where", positive, total, apply("ones_like", total))
        norm = apply("where", positive, apply("sqrt", safe), total)
        return _like(t, value * clip_norm / apply("maximum", norm, clip_norm))


def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Tensor:
    """`t` scaled down so that its norm divided by its size is at most `clip_norm`."""
    graph = graph_of((t,))
    with graph.name_scope(name or "clip_by_average_norm"):
        value = graph.convert(t)
        size = apply("cast", apply("size", value), dtype=value.dtype)
        total = apply("reduce_sum", value * value)
        average = apply("sqrt", total) / size
        out: Tensor = value * (clip_norm / apply("maximum", average, clip_norm))
        return out


def global_norm(t_list: Any, name: str | None = None) -> Tensor:
    """The Euclidean norm of all tensors of the list together; None entries count nothing."""
    real = [_values(t) for t in t_list if t is not None]
    if not real:
        raise InvalidArgumentError("global_norm needs at least one tensor")
    graph = graph_of(real)
    with graph.name_scope(name or "global_norm"):
        halves = [apply("l2_loss", t) for t in real]
        out: Tensor = apply("sqrt", apply("add_n", *halves) * 2)
        return out


def clip_by_global_norm(
    t_list: Any, clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Any], Tensor]:
    """The list scaled down together so that its `global_norm` is at most `clip_norm`, and that norm
    before. `use_norm`: the norm if it is known already."""
    norm = global_norm(t_list) if use_norm is None else use_norm
    graph = graph_of((norm,))
    with graph.name_scope(name or "clip_by_global_norm"):
        norm = graph.convert(norm)
        scale = clip_norm * apply("minimum", 1.0 / norm, 1.0 / graph.convert(clip_norm, norm.dtype))
        return [None if t is None else _like(t, _values(t) * scale) for t in t_list], norm
