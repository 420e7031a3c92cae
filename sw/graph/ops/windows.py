"""Geometry of sliding windows: output sizes, padding, and patches as views (NHWC)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sw.graph.errors import InvalidArgumentError, ShapeError

Pair = tuple[int, int]
Padding = str | tuple[Pair, Pair]


class Window(NamedTuple):
    """A window of `size` that moves by `strides`, its taps `dilations` apart."""

    size: Pair
    strides: Pair
    dilations: Pair
    padding: Padding

    def extent(self, axis: int) -> int:
        """Pixels from the first to the last tap."""
        return (self.size[axis] - 1) * self.dilations[axis] + 1

    def pads(self, axis: int, length: int) -> Pair:
        """Padding (before, after) for an image of that length; SAME puts the odd one after."""
        if not isinstance(self.padding, str):
            return self.padding[axis]
        if self.padding == "VALID":
            return (0, 0)
        out = -(-length // self.strides[axis])
        total = max((out - 1) * self.strides[axis] + self.extent(axis) - length, 0)
        return (total // 2, total - total // 2)

    def out(self, axis: int, length: int | None) -> int | None:
        """Output positions along an axis; raises `ShapeError` if the window does not fit."""
        if length is None:
            return None
        if self.padding == "SAME":
            return -(-length // self.strides[axis])
        padded = length + sum(self.pads(axis, length))
        if padded < self.extent(axis):
            raise ShapeError(
                f"a window of {self.extent(axis)} does not fit an image of {length} "
                f"(padded {padded})"
            )
        return (padded - self.extent(axis)) // self.strides[axis] + 1


def spatial_pair(value: Any, what: str) -> Pair:
    """`n`, `[h, w]` or `[1, h, w, 1]` as a pair of positive ints."""
    items = [int(v) for v in np.atleast_1d(value)]
    if len(items) == 1:
        items *= 2
    if len(items) == 4:
        if items[0] != 1 or items[3] != 1:
            raise InvalidArgumentError(f"{what} {value}: batch and channel entries must be 1")
        items = items[1:3]
    if len(items) != 2 or min(items) < 1:
        raise InvalidArgumentError(f"{what} {value!r} should be n, [h, w] or [1, h, w, 1]")
    return (items[0], items[1])


def line_size(value: Any, what: str) -> int:
    """`n` or `[1, n, 1]` as an int."""
    items = [int(v) for v in np.atleast_1d(value)]
    if len(items) not in (1, 3) or len(items) == 3 and (items[0], items[2]) != (1, 1):
        raise InvalidArgumentError(f"{what} {value!r} should be n or [1, n, 1]")
    return items[len(items) // 2]


def spatial_padding(value: Any) -> Padding:
    """ "SAME", "VALID", or explicit ((top, bottom), (left, right)), with or without batch and
    channel pairs."""
    if isinstance(value, str):
        if value.upper() in ("SAME", "VALID"):
            return value.upper()
        raise InvalidArgumentError(
            f"padding {value!r} is not SAME, VALID or ((top, bottom), (left, right))"
        )
    pairs = [(int(a), int(b)) for a, b in value]
    if len(pairs) == 4:
        if pairs[0] != (0, 0) or pairs[3] != (0, 0):
            raise InvalidArgumentError(f"padding {value}: batch and channels cannot be padded")
        pairs = pairs[1:3]
    if len(pairs) != 2 or min(min(p) for p in pairs) < 0:
        raise InvalidArgumentError(f"padding {value!r} is not ((top, bottom), (left, right))")
    return (pairs[0], pairs[1])


def padded(x: Any, window: Window, value: Any = 0) -> Any:
    """`x` [N, H, W, C] with the window's padding filled by `value`; `x` itself without padding."""
    pads = (window.pads(0, x.shape[1]), window.pads(1, x.shape[2]))
    if pads == ((0, 0), (0, 0)):
        return x
    (top, bottom), (left, right) = pads
    shape = (x.shape[0], x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3])
    out = np.full(shape, value, x.dtype) if value else np.zeros(shape, x.dtype)
    out[:, top : top + x.shape[1], left : left + x.shape[2]] = x
    return out


def patches(x: Any, window: Window) -> Any:
    """A view [N, OH, OW, KH, KW, C] of the already padded `x`."""
    views = np.lib.stride_tricks.sliding_window_view(
        x, (window.extent(0), window.extent(1)), axis=(1, 2)
    )
    views = views[:, :: window.strides[0], :: window.strides[1]]
    views = views[..., :: window.dilations[0], :: window.dilations[1]]
    return np.moveaxis(views, 3, -1)


def scatter_patches(values: Any, image: tuple[int, ...], window: Window) -> Any:
    """The transpose of pad and `patches`: adds `values` [N, OH, OW, KH, KW, C] into an image of
    shape `image`, one tap at a time so that each addition is one large strided slice."""
    n, h, w, c = image
    (top, bottom), (left, right) = window.pads(0, h), window.pads(1, w)
    out = np.zeros((n, h + top + bottom, w + left + right, c), values.dtype)
    oh, ow = values.shape[1:3]
    for i in range(window.size[0]):
        y = i * window.dilations[0]
        rows = slice(y, y + (oh - 1) * window.strides[0] + 1, window.strides[0])
        for j in range(window.size[1]):
            z = j * window.dilations[1]
            columns = slice(z, z + (ow - 1) * window.strides[1] + 1, window.strides[1])
            out[:, rows, columns] += values[:, :, :, i, j]
    return out[:, top : top + h, left : left + w]
