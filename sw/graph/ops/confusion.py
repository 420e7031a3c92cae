"""Confusion matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.dtypes import as_dtype, int32, int64
from sw.graph.tensor import Tensor


def confusion_matrix(
    labels: Any,
    predictions: Any,
    num_classes: Any = None,
    dtype: Any = int32,
    name: str | None = None,
    weights: Any = None,
) -> Tensor:
    """[classes, classes]: how often (with `weights`, how much) label i met prediction j.
    `num_classes` None: as many as the largest number needs."""
    graph = graph_of((labels, predictions))
    kind = as_dtype(dtype)
    with graph.name_scope(name or "confusion_matrix"):
        flat = np.asarray([-1], np.int32)
        pair = [
            apply("reshape", apply("cast", graph.convert(v), dtype=int64), flat)
            for v in (labels, predictions)
        ]
        if num_classes is None:
            most = [apply("reduce_max", v, axis=None, keepdims=False) for v in pair]
            count = apply("maximum", *most) + 1
        else:
            count = apply("cast", graph.convert(num_classes), dtype=int64)
        places = apply("stack", *pair, axis=1)
        one = apply("ones_like", pair[0]) if weights is None else graph.convert(weights)
        amounts = apply("cast", apply("reshape", one, flat), dtype=kind)
        out: Tensor = apply("scatter_nd", places, amounts, apply("stack", count, count, axis=0))
        return out
