"""Windows of images beyond convolution: patches, grey dilation and erosion, maxima with their
places, and pooling over random regions."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, constant_shape, register_op
from sw.graph.dtypes import int64
from sw.graph.errors import InvalidArgumentError
from sw.graph.ops.helpers import floating_type, require_rank, shape_of
from sw.graph.ops.random import Seeds, generator, op_seeds
from sw.graph.ops.windows import (
    Window,
    padded,
    patches,
    scatter_patches,
    spatial_padding,
    spatial_pair,
)
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.state import OpState
from sw.graph.tensor import Tensor

_WINDOW = {"ksize": REQUIRED, "strides": REQUIRED, "rates": (1, 1), "padding": REQUIRED}


def _window(ksize: Any, strides: Any, rates: Any, padding: Any) -> Window:
    return Window(ksize, strides, rates, padding)


# --- patches --------------------------------------------------------------------------------------


def _patches(xp: Any, x: Any, **attrs: Any) -> Any:
    window = _window(**attrs)
    views = patches(padded(x, window), window)
    return views.reshape(*views.shape[:3], -1)


def _patches_grad(xp: Any, g: Any, shape: Any, **attrs: Any) -> Any:
    sizes = tuple(int(s) for s in shape)
    values = g.reshape(*g.shape[:3], *attrs["ksize"], sizes[3])
    return scatter_patches(values, sizes, _window(**attrs))


def _patches_type(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    require_rank(inputs[0], 4, "the images [N, H, W, C]")
    n, h, w, c = inputs[0].shape.dims or (None,) * 4
    window = _window(**attrs)
    depth = None if c is None else c * window.size[0] * window.size[1]
    return TensorType(inputs[0].dtype, Shape((n, window.out(0, h), window.out(1, w), depth)))


register_op(
    "extract_image_patches_grad",
    kernel=_patches_grad,
    infer=lambda inputs, **attrs: TensorType(inputs[0].dtype, constant_shape(inputs[1])),
    gradient=lambda op, g: [apply("extract_image_patches", g, **op.attrs), None],
    attrs=_WINDOW,
    host_only=True,
    doc="The transpose of extract_image_patches, of shape inputs[1].",
)
register_op(
    "extract_image_patches",
    kernel=_patches,
    infer=_patches_type,
    gradient=lambda op, g: [
        apply("extract_image_patches_grad", g, shape_of(op.inputs[0]), **op.attrs)
    ],
    attrs=_WINDOW,
    host_only=True,
    doc="The pixels under each window of an image, side by side in the last axis.",
)


def extract_image_patches(
    images: Any, ksizes: Any, strides: Any, rates: Any, padding: str, name: str | None = None
) -> Tensor:
    """[N, OH, OW, KH*KW*C]: the pixels under each window."""
    out: Tensor = apply(
        "extract_image_patches",
        images,
        name=name,
        ksize=spatial_pair(ksizes, "ksizes"),
        strides=spatial_pair(strides, "strides"),
        rates=spatial_pair(rates, "rates"),
        padding=spatial_padding(padding),
    )
    return out


# --- dilation -------------------------------------------------------------------------------------

_DILATION = {"strides": REQUIRED, "rates": REQUIRED, "padding": REQUIRED}


def _raised(x: Any, w: Any, strides: Any, rates: Any, padding: Any) -> tuple[Any, Window]:
    """image + filter at each tap [N, OH, OW, KH*KW, C]."""
    window = Window(w.shape[:2], strides, rates, padding)
    views = patches(padded(x, window, -np.inf), window)
    return (views + w).reshape(*views.shape[:3], -1, w.shape[2]), window


def _chosen(x: Any, w: Any, g: Any, attrs: Any) -> tuple[Any, Window]:
    """`g` at the tap that won, the first of equals; zeros at the others."""
    values, window = _raised(x, w, **attrs)
    spread = np.zeros(values.shape, g.dtype)
    winner = np.argmax(values, 3)[:, :, :, None]
    np.put_along_axis(spread, winner, g[:, :, :, None], 3)
    return spread.reshape(*values.shape[:3], *w.shape[:2], w.shape[2]), window


def _to_image(xp: Any, x: Any, w: Any, g: Any, **attrs: Any) -> Any:
    values, window = _chosen(x, w, g, attrs)
    return scatter_patches(values, x.shape, window)


def _dilation_type(
    inputs: tuple[Tensor, ...], strides: Any, rates: Any, padding: Any
) -> TensorType:
    floating_type(inputs)
    require_rank(inputs[0], 4, "the images [N, H, W, C]")
    require_rank(inputs[1], 3, "the filter [KH, KW, C]")
    n, h, w, c = inputs[0].shape.dims or (None,) * 4
    size = inputs[1].shape.dims or (None,) * 3
    if size[0] is None or size[1] is None:
        return TensorType(inputs[0].dtype, Shape((n, None, None, c)))
    window = Window((size[0], size[1]), strides, rates, padding)
    return TensorType(inputs[0].dtype, Shape((n, window.out(0, h), window.out(1, w), c)))


for _name, _kernel, _which in (
    ("dilation2d_backprop_input", _to_image, 0),
    (
        "dilation2d_backprop_filter",
        lambda xp, x, w, g, **a: _chosen(x, w, g, a)[0].sum((0, 1, 2)),
        1,
    ),
):
    register_op(
        _name,
        kernel=_kernel,
        infer=lambda inputs, _which=_which, **attrs: TensorType(
            inputs[2].dtype, inputs[_which].shape
        ),
        attrs=_DILATION,
        host_only=True,
        doc="Gradient of dilation2d; inputs are its inputs and its output's gradient.",
    )
register_op(
    "dilation2d",
    kernel=lambda xp, x, w, **attrs: _raised(x, w, **attrs)[0].max(3),
    infer=_dilation_type,
    gradient=lambda op, g: [
        apply("dilation2d_backprop_input", *op.inputs, g, **op.attrs),
        apply("dilation2d_backprop_filter", *op.inputs, g, **op.attrs),
    ],
    attrs=_DILATION,
    share_dtype=True,
    host_only=True,
    doc="Grey dilation: the largest of image + filter under each window.",
)


def dilation2d(
    input: Any, filter: Any, strides: Any, rates: Any, padding: str, name: str | None = None
) -> Tensor:
    """max over the window of `input` [N, H, W, C] + `filter` [KH, KW, C]."""
    out: Tensor = apply(
        "dilation2d",
        input,
        filter,
        name=name,
        strides=spatial_pair(strides, "strides"),
        rates=spatial_pair(rates, "rates"),
        padding=spatial_padding(padding),
    )
    return out


def erosion2d(
    value: Any, kernel: Any, strides: Any, rates: Any, padding: str, name: str | None = None
) -> Tensor:
    """min over the window of `value` - `kernel`: the dilation of -value by the mirrored kernel."""
    mirrored = apply("reverse", kernel, axis=(0, 1))
    out: Tensor = -dilation2d(apply("neg", value), mirrored, strides, rates, padding, name)
    return out


# --- maxima and their places ----------------------------------------------------------------------


def _argmax(xp: Any, x: Any, ksize: Any, strides: Any, padding: Any) -> Any:
    window = Window(ksize, strides, (1, 1), padding)
    views = patches(padded(x, window, -np.inf), window)
    flat = views.reshape(*views.shape[:3], -1, x.shape[3])
    numbers = np.arange(x[0].size, dtype=np.float64).reshape(1, *x.shape[1:])
    places = patches(padded(numbers, window, -1.0), window)
    places = np.broadcast_to(places.reshape(1, *views.shape[1:3], -1, x.shape[3]), flat.shape)
    winner = np.argmax(flat, 3)[:, :, :, None]
    return (
        np.take_along_axis(flat, winner, 3)[:, :, :, 0],
        np.take_along_axis(places, winner, 3)[:, :, :, 0].astype(np.int64),
    )


def _argmax_type(inputs: tuple[Tensor, ...], ksize: Any, strides: Any, padding: Any) -> Any:
    floating_type(inputs)
    require_rank(inputs[0], 4, "the images [N, H, W, C]")
    n, h, w, c = inputs[0].shape.dims or (None,) * 4
    window = Window(ksize, strides, (1, 1), padding)
    shape = Shape((n, window.out(0, h), window.out(1, w), c))
    return [TensorType(inputs[0].dtype, shape), TensorType(int64, shape)]


register_op(
    "max_pool_with_argmax",
    kernel=_argmax,
    infer=_argmax_type,
    gradient=lambda op, g, _: [apply("max_pool_grad", op.inputs[0], op.outputs[0], g, **op.attrs)],
    attrs={"ksize": REQUIRED, "strides": REQUIRED, "padding": REQUIRED},
    host_only=True,
    doc="The largest value in each window, and its position in the flattened image [H, W, C].",
)


def max_pool_with_argmax(
    input: Any, ksize: Any, strides: Any, padding: str, Targmax: Any = None, name: str | None = None
) -> list[Tensor]:
    """(`max_pool`, the int64 positions (y * W + x) * C + c of the maxima)."""
    out: list[Tensor] = apply(
        "max_pool_with_argmax",
        input,
        name=name,
        ksize=spatial_pair(ksize, "ksize"),
        strides=spatial_pair(strides, "strides"),
        padding=spatial_padding(padding),
    )
    return out


# --- fractional pooling ---------------------------------------------------------------------------


def _borders(stream: Any, size: int, out: int, pseudo: bool) -> Any:
    """out + 1 borders that cut `size` in pieces of floor(ratio) and ceil(ratio)."""
    ratio = size / out
    if pseudo:  # ceil(ratio (i + u)), u drawn once
        low = (np.floor(ratio) + 2) / ratio - (out - 1)
        high = (size + 1 - np.floor(ratio)) / ratio - (out - 1)
        start = stream.uniform(max(low, 0.0), min(high, 1.0)) if max(low, 0) < min(high, 1) else 0.0
        inner = np.ceil(ratio * (np.arange(1, out) + start)) - np.ceil(ratio * start)
        borders = np.r_[0, inner, size].astype(np.int64)
        if (np.diff(borders) >= 1).all():
            return borders
    small = int(np.floor(ratio))
    steps = np.full(out, small)
    steps[: size - small * out] += 1
    return np.r_[0, np.cumsum(stream.permutation(steps))].astype(np.int64)


def _regions(xp: Any, state: OpState, x: Any, ratio: Any, pseudo: bool, seeds: Seeds) -> Any:
    stream = generator(state, seeds)
    found = []
    for size, by in zip(x.shape[1:3], ratio, strict=True):
        found.append(_borders(stream, size, int(size // by), pseudo))
    return tuple(found)


register_op(
    "fractional_borders",
    kernel=_regions,
    infer=lambda inputs, **attrs: [TensorType(int64, Shape((None,))) for _ in range(2)],
    gradient=NOT_DIFFERENTIABLE,
    attrs={"ratio": REQUIRED, "pseudo": False, "seeds": REQUIRED},
    stateful=True,
    host_only=True,
    doc="Random borders of rows and columns that make an image smaller by the ratios.",
)


def _cells(rows: Any, columns: Any, shape: Any, overlapping: bool) -> Any:
    """For each output pixel its place and the slices of its rows and columns."""
    for i in range(len(rows) - 1):
        for j in range(len(columns) - 1):
            down = min(int(rows[i + 1]) + overlapping, shape[1])
            right = min(int(columns[j + 1]) + overlapping, shape[2])
            yield i, j, slice(int(rows[i]), down), slice(int(columns[j]), right)


def _fractional(xp: Any, x: Any, rows: Any, columns: Any, overlapping: bool, how: str) -> Any:
    out = np.empty((len(x), len(rows) - 1, len(columns) - 1, x.shape[3]), x.dtype)
    for i, j, down, right in _cells(rows, columns, x.shape, overlapping):
        cell = x[:, down, right]
        out[:, i, j] = cell.max((1, 2)) if how == "max" else cell.mean((1, 2))
    return out


def _fractional_grad(
    xp: Any, g: Any, x: Any, rows: Any, columns: Any, overlapping: bool, how: str
) -> Any:
    out = np.zeros(x.shape, g.dtype)
    for i, j, down, right in _cells(rows, columns, x.shape, overlapping):
        cell = x[:, down, right]
        if how == "mean":
            out[:, down, right] += g[:, i, j][:, None, None] / (cell.shape[1] * cell.shape[2])
            continue
        flat = cell.reshape(len(x), -1, x.shape[3])
        hit = np.zeros(flat.shape, g.dtype)
        np.put_along_axis(hit, np.argmax(flat, 1)[:, None], g[:, i, j][:, None], 1)
        out[:, down, right] += hit.reshape(cell.shape)
    return out


_FRACTIONAL = {"overlapping": False, "how": REQUIRED}
register_op(
    "fractional_pool_grad",
    kernel=_fractional_grad,
    infer=lambda inputs, **attrs: TensorType(inputs[0].dtype, inputs[1].shape),
    attrs=_FRACTIONAL,
    host_only=True,
    doc="Gradient of fractional_pool: its output's gradient and its inputs.",
)
register_op(
    "fractional_pool",
    kernel=_fractional,
    infer=lambda inputs, **attrs: TensorType(
        floating_type(inputs).dtype,
        inputs[0].shape[:1].concatenate((None, None)).concatenate(inputs[0].shape[3:]),
    ),
    gradient=lambda op, g: [apply("fractional_pool_grad", g, *op.inputs, **op.attrs), None, None],
    attrs=_FRACTIONAL,
    host_only=True,
    doc="The maximum or mean of the regions between the borders inputs[1] and inputs[2].",
)


def _fractional_pool(how: str, title: str) -> Any:
    def function(
        value: Any,
        pooling_ratio: Any,
        pseudo_random: bool = False,
        overlapping: bool = False,
        deterministic: bool = False,
        seed: int = 0,
        seed2: int = 0,
        name: str | None = None,
    ) -> list[Tensor]:
        ratio = [float(r) for r in pooling_ratio]
        if len(ratio) != 4 or ratio[0] != 1 or ratio[3] != 1 or min(ratio) < 1:
            raise InvalidArgumentError(f"pooling_ratio {pooling_ratio} is not [1, h, w, 1], >= 1")
        rows, columns = apply(
            "fractional_borders",
            value,
            ratio=(ratio[1], ratio[2]),
            pseudo=bool(pseudo_random),
            seeds=op_seeds(seed or (1 if deterministic else None)),
        )
        out = apply(
            "fractional_pool",
            value,
            rows,
            columns,
            name=name or title,
            overlapping=bool(overlapping),
            how=how,
        )
        return [out, rows, columns]

    function.__name__ = function.__qualname__ = title
    function.__doc__ = (
        f"(the {how} of regions of random size, borders of rows, of columns): the image becomes "
        "smaller by `pooling_ratio` [1, h, w, 1] (Graham, 2014)."
    )
    return function


fractional_max_pool = _fractional_pool("max", "fractional_max_pool")
fractional_avg_pool = _fractional_pool("mean", "fractional_avg_pool")
