"""Pooling layers, without variables."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.errors import InvalidArgumentError
from sw.graph.layers.base import Layer
from sw.graph.ops.pooling import pool
from sw.graph.tensor import Tensor


class _Pooling(Layer):
    """Over windows of `pool_size` moved by `strides`: numbers, or one per spatial axis."""

    spatial, kind = 2, "MAX"

    def __init__(
        self,
        pool_size: Any,
        strides: Any,
        padding: str = "valid",
        data_format: str = "channels_last",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if data_format != "channels_last":
            raise InvalidArgumentError(f"data_format {data_format!r}: only channels_last is there")
        if padding.upper() not in ("SAME", "VALID"):
            raise InvalidArgumentError(f"padding {padding!r} is not valid or same")
        self.pool_size, self.strides = self._sizes(pool_size), self._sizes(strides)
        self.padding = padding.upper()

    def _sizes(self, value: Any) -> list[int]:
        return [int(v) for v in np.broadcast_to(value, self.spatial)]

    def call(self, inputs: Any, **options: Any) -> Tensor:
        return pool(inputs, self.pool_size, self.kind, self.padding, strides=self.strides)


class MaxPooling1D(_Pooling):
    """The maximum of [N, W, C]."""

    spatial = 1


class MaxPooling2D(_Pooling):
    """The maximum of [N, H, W, C]."""


class MaxPooling3D(_Pooling):
    """The maximum of [N, D, H, W, C]."""

    spatial = 3


class AveragePooling1D(_Pooling):
    """The mean of [N, W, C]; padding does not count."""

    spatial, kind = 1, "AVG"


class AveragePooling2D(_Pooling):
    """The mean of [N, H, W, C]; padding does not count."""

    kind = "AVG"


class AveragePooling3D(_Pooling):
    """The mean of [N, D, H, W, C]; padding does not count."""

    spatial, kind = 3, "AVG"


def _function(cls: type[_Pooling], title: str) -> Any:
    def pooling(
        inputs: Any,
        pool_size: Any,
        strides: Any,
        padding: str = "valid",
        data_format: str = "channels_last",
        name: str | None = None,
    ) -> Tensor:
        out: Tensor = cls(pool_size, strides, padding, data_format, name)(inputs)
        return out

    pooling.__name__ = pooling.__qualname__ = title
    pooling.__doc__ = f"`{cls.__name__}(pool_size, strides, ...)(inputs)`."
    return pooling


max_pooling1d = _function(MaxPooling1D, "max_pooling1d")
max_pooling2d = _function(MaxPooling2D, "max_pooling2d")
max_pooling3d = _function(MaxPooling3D, "max_pooling3d")
average_pooling1d = _function(AveragePooling1D, "average_pooling1d")
average_pooling2d = _function(AveragePooling2D, "average_pooling2d")
average_pooling3d = _function(AveragePooling3D, "average_pooling3d")
