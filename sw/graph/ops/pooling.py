"""Pooling over one to three spatial axes, with gaps in the window, and its names by dimension."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.ops.pool import avg_pool, max_pool
from sw.graph.ops.volumes import avg_pool3d, max_pool3d
from sw.graph.ops.windows import line_size
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


def _one(kind: str, title: str) -> Any:
    def function(
        input: Any,
        ksize: Any,
        strides: Any,
        padding: str,
        data_format: str = "NWC",
        name: str | None = None,
    ) -> Tensor:
        if data_format not in ("NWC", "NHWC"):
            raise InvalidArgumentError(f"data_format {data_format!r}: only NWC is supported")
        size, step = (line_size(v, w) for v, w in ((ksize, "ksize"), (strides, "strides")))
        return pool(input, [size], kind, padding, strides=[step], name=name or title)

    function.__name__ = function.__qualname__ = title
    function.__doc__ = f"`{title[:8]}` of [N, W, C]; `ksize` and `strides` are n or [1, n, 1]."
    return function


max_pool1d, avg_pool1d = _one("MAX", "max_pool1d"), _one("AVG", "avg_pool1d")


def _two(plain: Any, title: str) -> Any:
    def function(
        input: Any,
        ksize: Any,
        strides: Any,
        padding: Any,
        data_format: str = "NHWC",
        name: str | None = None,
    ) -> Tensor:
        out: Tensor = plain(input, ksize, strides, padding, data_format, name)
        return out

    function.__name__ = function.__qualname__ = title
    function.__doc__ = f"`{plain.__name__}` of images [N, H, W, C]."
    return function


max_pool2d, avg_pool2d = _two(max_pool, "max_pool2d"), _two(avg_pool, "avg_pool2d")


def _by_rank(one: Any, two: Any, three: Any, title: str) -> Any:
    def function(
        input: Any,
        ksize: Any,
        strides: Any,
        padding: str,
        data_format: str | None = None,
        name: str | None = None,
    ) -> Tensor:
        x = graph_of((input,)).convert(input)
        if data_format not in (None, "NWC", "NHWC", "NDHWC"):
            raise InvalidArgumentError(f"data_format {data_format!r}: channels come last here")
        if x.shape.rank not in (3, 4, 5):
            raise ShapeError(f"{title} needs 1 to 3 spatial axes, not {x!r}")
        chosen = {3: one, 4: two, 5: three}[x.shape.rank or 0]
        out: Tensor = chosen(x, ksize, strides, padding, name=name)
        return out

    function.__name__ = function.__qualname__ = title
    function.__doc__ = f"{title} of one to three spatial axes, by the rank of its input."
    return function


max_pool_v2 = _by_rank(max_pool1d, max_pool2d, max_pool3d, "max_pool_v2")
avg_pool_v2 = _by_rank(avg_pool1d, avg_pool2d, avg_pool3d, "avg_pool_v2")
