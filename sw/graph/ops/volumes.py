"""Convolution and pooling over three spatial axes, NDHWC; written for any number of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sw.graph.build import apply, constant_shape, graph_of, register_op
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.ops.creation import sizes_vector
from sw.graph.ops.helpers import floating_type, require_rank, shape_of
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor

Sizes = tuple[int, ...]


class Frame(NamedTuple):
    """A window of `size` that moves by `strides`; `padding` is "SAME" or "VALID"."""

    size: Sizes
    strides: Sizes
    padding: str

    def out(self, axis: int, size: int | None) -> int | None:
        """Positions along an axis of `size`; raises `ShapeError` when the window does not fit."""
        if size is None:
            return None
        if self.padding == "SAME":
            return -(-size // self.strides[axis])
        if size < self.size[axis]:
            raise ShapeError(f"a window of {self.size[axis]} does not fit an axis of {size}")
        return (size - self.size[axis]) // self.strides[axis] + 1

    def pads(self, spatial: Sizes) -> list[tuple[int, int]]:
        """What SAME adds before and after each axis."""
        found = []
        for axis, size in enumerate(spatial):
            count = self.out(axis, size) or 0
            total = max((count - 1) * self.strides[axis] + self.size[axis] - size, 0)
            total = total if self.padding == "SAME" else 0
            found.append((total // 2, total - total // 2))
        return found

    def padded(self, x: Any, value: Any = 0) -> Any:
        """`x` [N, ..., C] with its padding."""
        pads = self.pads(x.shape[1:-1])
        return np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=value) if np.any(pads) else x

    def taps(self, padded: Any) -> Iterator[tuple[Sizes, Any]]:
        """Each place in the window, with the elements there of all windows as a view of `padded`
        [N, ..., C]."""
        counts = [
            (n - k) // s + 1
            for n, k, s in zip(padded.shape[1:-1], self.size, self.strides, strict=True)
        ]
        for tap in itertools.product(*map(range, self.size)):
            where = tuple(
                slice(t, t + s * n, s) for t, s, n in zip(tap, self.strides, counts, strict=True)
            )
            yield tap, padded[(slice(None), *where)]

    def inner(self, padded: Any, spatial: Sizes) -> Any:
        """`padded` without its padding."""
        cut = [slice(p, p + n) for (p, _), n in zip(self.pads(spatial), spatial, strict=True)]
        return padded[(slice(None), *cut)]


def _conv(xp: Any, x: Any, w: Any, strides: Sizes, padding: str) -> Any:
    frame = Frame(w.shape[:-2], strides, padding)
    out: Any = 0
    for tap, view in frame.taps(frame.padded(x)):
        out = out + np.matmul(view, w[tap])
    return out


def _conv_input(xp: Any, shape: Any, w: Any, g: Any, strides: Sizes, padding: str) -> Any:
    frame = Frame(w.shape[:-2], strides, padding)
    sizes = tuple(int(s) for s in shape)
    total = frame.padded(np.zeros(sizes, g.dtype)).copy()
    for tap, view in frame.taps(total):
        view += np.matmul(g, w[tap].T)
    return frame.inner(total, sizes[1:-1])


def _conv_filter(xp: Any, x: Any, shape: Any, g: Any, strides: Sizes, padding: str) -> Any:
    sizes = tuple(int(s) for s in shape)
    frame = Frame(sizes[:-2], strides, padding)
    out = np.empty(sizes, g.dtype)
    flat = g.reshape(-1, g.shape[-1])
    for tap, view in frame.taps(frame.padded(x)):
        out[tap] = view.reshape(-1, sizes[-2]).T @ flat
    return out


def _conv_type(inputs: tuple[Tensor, ...], strides: Sizes, padding: str) -> TensorType:
    x, w = (t.shape for t in inputs)
    floating_type(inputs)
    require_rank(inputs[0], len(strides) + 2, "the volume [N, D, H, W, C]")
    require_rank(inputs[1], len(strides) + 2, "the filter [KD, KH, KW, C, O]")
    if x.dims is None or w.dims is None:
        return TensorType(inputs[0].dtype, Shape((None,) * (len(strides) + 2)))
    if x.dims[-1] is not None and w.dims[-2] is not None and x.dims[-1] != w.dims[-2]:
        raise ShapeError(f"{x.dims[-1]} channels, but the filter takes {w.dims[-2]}")
    spatial: list[int | None] = [None] * len(strides)
    if None not in w.dims[:-2]:
        frame = Frame(tuple(int(d or 0) for d in w.dims[:-2]), strides, padding)
        spatial = [frame.out(i, d) for i, d in enumerate(x.dims[1:-1])]
    return TensorType(inputs[0].dtype, Shape((x.dims[0], *spatial, w.dims[-1])))


_CONV = {"strides": REQUIRED, "padding": REQUIRED}
register_op(
    "conv3d",
    kernel=_conv,
    infer=_conv_type,
    gradient=lambda op, g: [
        apply("conv3d_backprop_input", shape_of(op.inputs[0]), op.inputs[1], g, **op.attrs),
        apply("conv3d_backprop_filter", op.inputs[0], shape_of(op.inputs[1]), g, **op.attrs),
    ],
    attrs=_CONV,
    share_dtype=True,
    host_only=True,
    doc="Convolution of volumes NDHWC with a filter DHWIO.",
)
register_op(
    "conv3d_backprop_input",
    kernel=_conv_input,
    infer=lambda inputs, **attrs: TensorType(inputs[2].dtype, constant_shape(inputs[0])),
    gradient=lambda op, g: [
        None,
        apply("conv3d_backprop_filter", g, shape_of(op.inputs[1]), op.inputs[2], **op.attrs),
        apply("conv3d", g, op.inputs[1], **op.attrs),
    ],
    attrs=_CONV,
    host_only=True,
    doc="Gradient of conv3d with respect to its volume, of shape inputs[0].",
)
register_op(
    "conv3d_backprop_filter",
    kernel=_conv_filter,
    infer=lambda inputs, **attrs: TensorType(inputs[2].dtype, constant_shape(inputs[1])),
    gradient=lambda op, g: [
        apply("conv3d_backprop_input", shape_of(op.inputs[0]), g, op.inputs[2], **op.attrs),
        None,
        apply("conv3d", op.inputs[0], g, **op.attrs),
    ],
    attrs=_CONV,
    host_only=True,
    doc="Gradient of conv3d with respect to its filter, of shape inputs[1].",
)


def _max(xp: Any, x: Any, ksize: Sizes, strides: Sizes, padding: str) -> Any:
    frame = Frame(ksize, strides, padding)
    views = (view for _, view in frame.taps(frame.padded(x, -np.inf)))
    out = next(views).copy()
    for view in views:
        np.maximum(out, view, out=out)
    return out


def _max_grad(xp: Any, x: Any, y: Any, g: Any, ksize: Sizes, strides: Sizes, padding: str) -> Any:
    frame = Frame(ksize, strides, padding)
    wide = frame.padded(x, -np.inf)
    total = np.zeros(wide.shape, g.dtype)
    left = np.ones(y.shape, np.bool_)  # the first maximum of a window takes the whole gradient
    for (_, view), (_, target) in zip(frame.taps(wide), frame.taps(total), strict=True):
        hit = left & (view == y)
        target += np.where(hit, g, g.dtype.type(0))
        left &= ~hit
    return frame.inner(total, x.shape[1:-1])


def _counts(frame: Frame, spatial: Sizes, dtype: Any) -> Any:
    ones = frame.padded(np.ones((1, *spatial, 1), dtype))
    total: Any = 0
    for _, view in frame.taps(ones):
        total = total + view
    return total


def _average(xp: Any, x: Any, ksize: Sizes, strides: Sizes, padding: str) -> Any:
    frame = Frame(ksize, strides, padding)
    total: Any = 0
    for _, view in frame.taps(frame.padded(x)):
        total = total + view
    return total / _counts(frame, x.shape[1:-1], x.dtype)


def _average_grad(xp: Any, shape: Any, g: Any, ksize: Sizes, strides: Sizes, padding: str) -> Any:
    frame = Frame(ksize, strides, padding)
    sizes = tuple(int(s) for s in shape)
    share = g / _counts(frame, sizes[1:-1], g.dtype)
    total = frame.padded(np.zeros(sizes, g.dtype)).copy()
    for _, view in frame.taps(total):
        view += share
    return frame.inner(total, sizes[1:-1])


def _pool_type(
    inputs: tuple[Tensor, ...], ksize: Sizes, strides: Sizes, padding: str
) -> TensorType:
    floating_type(inputs)
    require_rank(inputs[0], len(ksize) + 2, "the volume [N, D, H, W, C]")
    dims = inputs[0].shape.dims or (None,) * (len(ksize) + 2)
    frame = Frame(ksize, strides, padding)
    spatial = [frame.out(i, d) for i, d in enumerate(dims[1:-1])]
    return TensorType(inputs[0].dtype, Shape((dims[0], *spatial, dims[-1])))


_POOL = {"ksize": REQUIRED, **_CONV}
register_op(
    "max_pool3d_grad",
    kernel=_max_grad,
    infer=lambda inputs, **attrs: TensorType(inputs[2].dtype, inputs[0].shape),
    attrs=_POOL,
    host_only=True,
    doc="Gradient of max_pool3d: inputs are its input, its output and the output's gradient.",
)
register_op(
    "avg_pool3d_grad",
    kernel=_average_grad,
    infer=lambda inputs, **attrs: TensorType(inputs[1].dtype, constant_shape(inputs[0])),
    gradient=lambda op, g: [None, apply("avg_pool3d", g, **op.attrs)],
    attrs=_POOL,
    host_only=True,
    doc="Gradient of avg_pool3d, of shape inputs[0].",
)
register_op(
    "max_pool3d",
    kernel=_max,
    infer=_pool_type,
    gradient=lambda op, g: [apply("max_pool3d_grad", op.inputs[0], op.outputs[0], g, **op.attrs)],
    attrs=_POOL,
    host_only=True,
    doc="The largest value in each window of a volume.",
)
register_op(
    "avg_pool3d",
    kernel=_average,
    infer=_pool_type,
    gradient=lambda op, g: [apply("avg_pool3d_grad", shape_of(op.inputs[0]), g, **op.attrs)],
    attrs=_POOL,
    host_only=True,
    doc="The mean of each window of a volume, padding not counted.",
)


def triple(value: Any, what: str) -> Sizes:
    """`n`, `[d, h, w]` or `[1, d, h, w, 1]` as three positive ints."""
    items = [int(v) for v in np.atleast_1d(value)]
    items = items * 3 if len(items) == 1 else items[1:4] if len(items) == 5 else items
    if len(items) != 3 or min(items) < 1 or np.size(value) == 5 and {value[0], value[4]} != {1}:
        raise InvalidArgumentError(f"{what} {value!r} should be n, [d, h, w] or [1, d, h, w, 1]")
    return tuple(items)


def _padding(value: str) -> str:
    if value not in ("SAME", "VALID"):
        raise InvalidArgumentError(f"padding {value!r} is not SAME or VALID")
    return value


def conv3d(input: Any, filter: Any, strides: Any, padding: str, name: str | None = None) -> Tensor:
    """Convolution of `input` [N, D, H, W, C] with `filter` [KD, KH, KW, C, O]."""
    how = {"strides": triple(strides, "strides"), "padding": _padding(padding)}
    out: Tensor = apply("conv3d", input, filter, name=name, **how)
    return out


def conv3d_transpose(
    value: Any,
    filter: Any,
    output_shape: Any,
    strides: Any,
    padding: str = "SAME",
    name: str | None = None,
) -> Tensor:
    """The transpose of a `conv3d` that maps `output_shape` to `value`; `filter` [.., O, I]."""
    how = {"strides": triple(strides, "strides"), "padding": _padding(padding)}
    graph = graph_of((value, filter))
    out: Tensor = graph.apply(
        "conv3d_backprop_input", sizes_vector(output_shape), filter, value, name=name, **how
    )
    return out


def conv3d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: str,
    name: str | None = None,
) -> Tensor:
    """The gradient of `conv3d` with respect to its filter of shape `filter_sizes`."""
    how = {"strides": triple(strides, "strides"), "padding": _padding(padding)}
    sizes = sizes_vector(filter_sizes)
    out: Tensor = apply("conv3d_backprop_filter", input, sizes, out_backprop, name=name, **how)
    return out


def _pooling(op: str, words: str) -> Any:
    def function(
        input: Any, ksize: Any, strides: Any, padding: str, name: str | None = None
    ) -> Tensor:
        out: Tensor = apply(
            op,
            input,
            name=name,
            ksize=triple(ksize, "ksize"),
            strides=triple(strides, "strides"),
            padding=_padding(padding),
        )
        return out

    function.__name__ = function.__qualname__ = op
    function.__doc__ = f"The {words} over windows `ksize` of volumes [N, D, H, W, C]."
    return function


max_pool3d = _pooling("max_pool3d", "maximum")
avg_pool3d = _pooling("avg_pool3d", "mean")
