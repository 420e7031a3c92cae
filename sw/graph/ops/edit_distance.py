"""Edit distances between the sequences of two sparse tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, constant_shape, register_op
from sw.graph.dtypes import as_dtype
from sw.graph.errors import DTypeError
from sw.graph.registry import NOT_DIFFERENTIABLE, TensorType
from sw.graph.sparse_tensor import SparseTensor
from sw.graph.tensor import Tensor


def _distance(xp: Any, *parts: Any, normalize: bool) -> Any:
    """Levenshtein distances of the sequences along the last axis."""
    h_at, h_values, h_shape, t_at, t_values, t_shape = parts
    sizes = tuple(int(max(a, b)) for a, b in zip(h_shape[:-1], t_shape[:-1], strict=True))
    hypotheses = _sequences(h_at, h_values, sizes)
    truths = _sequences(t_at, t_values, sizes)
    out = np.zeros(sizes, np.float32)
    for at in np.ndindex(*sizes):
        found, true = hypotheses.get(at, []), truths.get(at, [])
        steps = _levenshtein(found, true)
        if normalize:
            out[at] = steps / len(true) if true else (np.inf if steps else 0.0)
        else:
            out[at] = steps
    return out


def _sequences(indices: Any, values: Any, sizes: tuple[int, ...]) -> dict[Any, list[Any]]:
    out: dict[Any, list[Any]] = {}
    for at, value in zip(indices, values, strict=True):
        out.setdefault(tuple(int(i) for i in at[:-1]), []).append(value)
    return out


def _levenshtein(found: list[Any], true: list[Any]) -> int:
    row = list(range(len(true) + 1))
    for i, a in enumerate(found, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(true, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def _distance_type(inputs: tuple[Tensor, ...], normalize: bool) -> TensorType:
    if inputs[1].dtype is not inputs[4].dtype:
        raise DTypeError(f"sequences of {inputs[1].dtype} and {inputs[4].dtype}")
    return TensorType(as_dtype("float32"), constant_shape(inputs[2])[:-1])


register_op(
    "edit_distance",
    kernel=_distance,
    infer=_distance_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"normalize": True},
    host_only=True,
    doc="Levenshtein distances between the sequences of two sparse tensors (Wagner and Fischer, "
    "1974), divided by the true length with `normalize`.",
)


def edit_distance(
    hypothesis: Any, truth: Any, normalize: bool = True, name: str = "edit_distance"
) -> Tensor:
    """float32: for each sequence along the last axis, the insertions, deletions and replacements
    between `hypothesis` and `truth`."""
    left, right = SparseTensor.from_value(hypothesis), SparseTensor.from_value(truth)
    parts = (*left.fetch_parts(), *right.fetch_parts())
    out: Tensor = apply("edit_distance", *parts, name=name, normalize=bool(normalize))
    return out
