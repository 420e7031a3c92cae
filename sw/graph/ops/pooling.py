"""`st.nn.pool`: pooling over one to three spatial axes, with gaps in the window."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.ops.pool import avg_pool, max_pool
from sw.graph.ops.volumes import avg_pool3d, max_pool3d
from sw.graph.tensor import Tensor


def pool(
    input: Any,
    window_shape: Any,
    pooling_type: str,
    padding: str,
    dilation_rate: Any = None,
    strides: Any = None,
    name: str | None = None,
    data_format: str | None = None,
) -> Tensor:
    """Maximum ("MAX") or mean ("AVG") over windows of [N, spatial..., C]; `window_shape`,
    `strides` and `dilation_rate` have one number per spatial axis. Only one of strides and
    dilation may differ from 1."""
    if pooling_type not in ("MAX", "AVG") or padding not in ("SAME", "VALID"):
        raise InvalidArgumentError(f"{pooling_type!r} with {padding!r} is no way of pooling")
    window = [int(v) for v in window_shape]
    axes = len(window)
    if axes not in (1, 2, 3):
        raise ShapeError(f"1 to 3 spatial axes, not {axes}")
    steps = [int(v) for v in np.broadcast_to(1 if strides is None else strides, axes)]
    rates = [int(v) for v in np.broadcast_to(1 if dilation_rate is None else dilation_rate, axes)]
    graph = graph_of((input,))
    with graph.name_scope(name or "pool"):
        x = graph.convert(input)
        if max(rates) > 1:
            if max(steps) > 1:
                raise InvalidArgumentError("strides and dilation_rate cannot both exceed 1")
            return _dilated(x, window, rates, pooling_type, padding)
        if axes == 3:
            return (max_pool3d if pooling_type == "MAX" else avg_pool3d)(x, window, steps, padding)
        plain = max_pool if pooling_type == "MAX" else avg_pool
        if axes == 2:
            return plain(x, window, steps, padding)
        flat = plain(apply("expand_dims", x, axis=1), [1, *window], [1, *steps], padding)
        out: Tensor = apply("squeeze", flat, axis=(1,))
        return out


def _dilated(x: Tensor, window: list[int], rates: list[int], kind: str, padding: str) -> Tensor:
    """Each tap of the window is a shifted part of the image; stride 1."""
    spans = [(k - 1) * r for k, r in zip(window, rates, strict=True)]
    ones = apply("ones_like", x)
    if padding == "SAME":
        pads = ((0, 0), *((s // 2, s - s // 2) for s in spans), (0, 0))
        x, ones = (apply("pad", t, paddings=pads) for t in (x, ones))
    if kind == "MAX":
        low = apply("zeros_like", x) - float(np.finfo(x.dtype.numpy).max)
        x = apply("where", apply("greater", ones, 0.0), x, low)
    taps, counts = [], []
    for place in itertools.product(*(range(k) for k in window)):
        cut: list[Any] = [(None, None, None)]
        for at, rate, span in zip(place, rates, spans, strict=True):
            end = at * rate - span
            cut.append((at * rate, end if end else None, None))
        taps.append(apply("strided_slice", x, spec=tuple(cut)))
        counts.append(apply("strided_slice", ones, spec=tuple(cut)))
    if kind == "AVG":
        out: Tensor = apply("add_n", *taps) / apply("add_n", *counts)
        return out
    out = apply("reduce_max", apply("stack", *taps, axis=0), axis=(0,), keepdims=False)
    return out
