"""Pooling layers, without variables."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.errors import InvalidArgumentError
from sw.graph.ops.pool import avg_pool, max_pool
from sw.graph.tensor import Tensor


def _check(padding: str, data_format: str) -> str:
    if data_format != "channels_last":
        raise InvalidArgumentError(f"data_format {data_format!r}: only channels_last is there")
    return padding.upper()


def _pair(value: Any) -> list[int]:
    return [int(v) for v in np.broadcast_to(value, 2)]


def _two(function: Any, title: str) -> Any:
    def pooling(
        inputs: Any,
        pool_size: Any,
        strides: Any,
        padding: str = "valid",
        data_format: str = "channels_last",
        name: str | None = None,
    ) -> Tensor:
        how = _check(padding, data_format)
        out: Tensor = function(inputs, _pair(pool_size), _pair(strides), how, name=name or title)
        return out

    pooling.__name__ = pooling.__qualname__ = title
    pooling.__doc__ = f"{title} of [N, H, W, C] over windows of `pool_size` moved by `strides`."
    return pooling


def _one(function: Any, title: str) -> Any:
    def pooling(
        inputs: Any,
        pool_size: Any,
        strides: Any,
        padding: str = "valid",
        data_format: str = "channels_last",
        name: str | None = None,
    ) -> Tensor:
        how = _check(padding, data_format)
        size, step = (int(np.ravel(v)[0]) for v in (pool_size, strides))
        with graph_of((inputs,)).name_scope(name or title):
            image = apply("expand_dims", inputs, axis=1)
            out: Tensor = apply("squeeze", function(image, [1, size], [1, step], how), axis=(1,))
            return out

    pooling.__name__ = pooling.__qualname__ = title
    pooling.__doc__ = f"{title} of [N, W, C] over windows of `pool_size` moved by `strides`."
    return pooling


max_pooling2d = _two(max_pool, "max_pooling2d")
average_pooling2d = _two(avg_pool, "average_pooling2d")
max_pooling1d = _one(max_pool, "max_pooling1d")
average_pooling1d = _one(avg_pool, "average_pooling1d")
