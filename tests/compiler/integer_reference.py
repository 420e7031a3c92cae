"""What a QDQ graph means in integers, op by op in plain NumPy: no part of the compiler is used.

A dequantised tensor is its codes; a linear op, an addition or a mean of such is kept exact until
its quantize op rounds once, as the standard's fused operators do. All else is float32, by the
ops' own kernels.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from hw.tpu import numerics
from sw.graph.ops.windows import Window

RELUS = ("relu", "relu6")
VIEWS = ("reshape", "identity", "stop_gradient", "squeeze", "expand_dims")


@dataclass
class Codes:
    """int8 (or int32 biases) with their scale, a scalar or one for each channel, and zero point."""

    q: np.ndarray
    scale: np.ndarray
    zero: int

    @property
    def real(self):
        return numerics.dequantize(self.q, self.scale, self.zero)


@dataclass
class Exact:
    """A result that is still to be rounded: `kind` says how `finish` does it."""

    kind: str
    parts: tuple
    relus: list = field(default_factory=list)


def evaluate(graph, feeds, wanted):
    """Values of `wanted` tensors (names), for `feeds` by tensor name."""
    values = {}

    def real(tensor):
        value = values[tensor]
        return value.real if isinstance(value, Codes) else value

    for op in graph.get_operations():
        given = [values.get(tensor) for tensor in op.inputs]
        if op.type == "const":
            result = op.attrs["value"]
        elif op.type in ("placeholder", "recv"):
            result = np.asarray(feeds[op.outputs[0].name])
        elif op.type == "dequantize_linear":
            result = _dequantise(op, *given)
        elif op.type == "quantize_linear":
            result = finish(given[0], np.float32(given[1]), int(given[2]))
        else:
            result = _exact(op, given)
        if result is None:
            arrays = [value.real if isinstance(value, Codes) else _forced(value) for value in given]
            result = op.op_def.bind(np, op.attrs)(*arrays)
        outputs = result if isinstance(result, tuple) else (result,)
        values.update(zip(op.outputs, outputs, strict=True))
    by_name = {tensor.name: tensor for tensor in values}
    return [real(by_name[name]) for name in wanted]


def _forced(value):
    """A sum that an op reads as float32."""
    if not isinstance(value, Exact):
        return value
    assert value.kind == "linear" and not value.relus, "a result that is never quantised"
    total, x_scale, w_scale = value.parts
    return total.astype(np.float32) * (np.float32(x_scale) * w_scale)


def _dequantise(op, q, scale, zero):
    assert q.dtype in (np.int8, np.int32) and (np.size(zero) == 1 or not np.any(zero))
    axis = op.attrs["axis"] % max(q.ndim, 1)
    if np.size(scale) > 1:
        shape = [1] * q.ndim
        shape[axis] = -1
        scale = np.reshape(scale, shape)
    return Codes(q, np.float32(scale), int(np.ravel(zero)[0]))


def _exact(op, given):
    """The exact result of an op on codes, or None."""
    first = given[0] if given else None
    if op.type in VIEWS and isinstance(first, Codes):
        rest = [np.asarray(value) for value in given[1:]]
        return replace(first, q=op.op_def.bind(np, op.attrs)(first.q, *rest))
    if op.type in ("max_pool", "transpose", "swap_axes", "strided_slice") and isinstance(
        first, Codes
    ):
        return replace(first, q=op.op_def.bind(np, op.attrs)(first.q))
    if op.type in RELUS and isinstance(first, Exact):
        return replace(first, relus=[*first.relus, op.type])
    if op.type in VIEWS and isinstance(first, Exact) and first.kind != "add":
        total, *rest = first.parts
        sizes = [np.asarray(value) for value in given[1:]]
        return replace(first, parts=(op.op_def.bind(np, op.attrs)(total, *sizes), *rest))
    if op.type == "max_pool" and isinstance(first, Exact) and first.kind == "linear":
        total, *rest = first.parts
        pooled = op.op_def.bind(np, op.attrs)(total.astype(np.float64)).astype(np.int64)
        return replace(first, parts=(pooled, *rest))
    codes = [value for value in given if isinstance(value, Codes)]
    if op.type == "conv2d_backprop_input" and len(codes) == 2:
        return _transposed(op, [int(size) for size in first], *codes[::-1])
    if op.type == "mul" and len(codes) == 2 and first is not given[1]:
        total = (first.q.astype(np.int64) - first.zero) * (
            given[1].q.astype(np.int64) - given[1].zero
        )
        return Exact("linear", (total, first.scale, np.ravel(given[1].scale)))
    if op.type in ("conv2d", "depthwise_conv2d", "matmul") and len(codes) == 2:
        return _linear(op, *codes)
    if op.type in ("add", "bias_add") and isinstance(first, Exact):
        total, x_scale, w_scale = first.parts
        bias = _bias(given[1], x_scale, w_scale)
        return replace(first, parts=(total + bias, x_scale, w_scale))
    if op.type == "add" and len(codes) == 2:
        return Exact("add", (first, given[1]))
    if op.type == "avg_pool" and len(codes) == 1:
        window = Window(op.attrs["ksize"], op.attrs["strides"], (1, 1), op.attrs["padding"])
        pads = [window.pads(i, first.q.shape[1 + i]) for i in (0, 1)]
        around = ((0, 0), *pads, (0, 0))
        inside = np.pad(np.ones(first.q.shape, np.int64), around)
        centred = np.pad(first.q.astype(np.int64) - first.zero, around)
        total, count = (
            sum(_windows(image, replace_padding(window))) for image in (centred, inside)
        )
        return Exact("mean", (total, first.scale, count))
    if op.type == "reduce_mean" and len(codes) == 1:
        axes = tuple(op.attrs["axis"])
        total = (first.q.astype(np.int64) - first.zero).sum(axes, keepdims=op.attrs["keepdims"])
        return Exact("mean", (total, first.scale, first.q.size // max(total.size, 1)))
    return None


def _windows(image, window):
    """What each window position reads, `[positions][N, oh, ow, C]`."""
    sizes = [window.out(i, image.shape[1 + i]) for i in (0, 1)]
    steps, spread = window.strides, window.dilations
    return [
        image[
            :,
            i * spread[0] : i * spread[0] + (sizes[0] - 1) * steps[0] + 1 : steps[0],
            j * spread[1] : j * spread[1] + (sizes[1] - 1) * steps[1] + 1 : steps[1],
        ]
        for i in range(window.size[0])
        for j in range(window.size[1])
    ]


def _linear(op, x, w):
    assert np.ndim(x.scale) == 0
    centred = x.q.astype(np.float64) - x.zero
    if op.type == "matmul":
        weights = w.q.swapaxes(-1, -2) if op.attrs["transpose_b"] else w.q
        total = centred @ (weights.astype(np.float64) - w.zero)
        return Exact("linear", (total.astype(np.int64), x.scale, np.ravel(w.scale)))
    assert w.zero == 0
    window = Window(w.q.shape[:2], op.attrs["strides"], op.attrs["dilations"], op.attrs["padding"])
    pads = [window.pads(i, x.q.shape[1 + i]) for i in (0, 1)]
    taps = _windows(np.pad(centred, ((0, 0), *pads, (0, 0))), replace_padding(window))
    kernels = w.q.astype(np.float64).reshape(-1, *w.q.shape[2:])
    if op.type == "conv2d":
        total = sum(tap @ kernel for tap, kernel in zip(taps, kernels, strict=True))
        scale = np.ravel(w.scale)
    else:
        several = w.q.shape[3]
        total = sum(
            tap[..., None] * kernel for tap, kernel in zip(taps, kernels, strict=True)
        ).reshape(*taps[0].shape[:3], -1)
        scale = np.ravel(np.broadcast_to(w.scale, (1, 1, w.q.shape[2], several)))
    return Exact("linear", (total.astype(np.int64), x.scale, scale))


def _transposed(op, sizes, x, w):
    """Every input position adds its products where the convolution would have read them."""
    assert w.zero == 0 and np.ndim(x.scale) == 0
    spread = op.attrs["dilations"]
    window = Window(w.q.shape[:2], op.attrs["strides"], spread, op.attrs["padding"])
    (top, bottom), (left, right) = (window.pads(i, sizes[1 + i]) for i in (0, 1))
    full = np.zeros((sizes[0], sizes[1] + top + bottom, sizes[2] + left + right, sizes[3]), "i8")
    down, across = window.strides
    for i, j in np.ndindex(x.q.shape[1:3]):
        centred = x.q[:, i, j].astype(np.int64) - x.zero
        part = np.einsum("nc,abdc->nabd", centred, w.q.astype(np.int64))
        for a, b in np.ndindex(part.shape[1:3]):
            full[:, i * down + a * spread[0], j * across + b * spread[1]] += part[:, a, b]
    total = full[:, top : top + sizes[1], left : left + sizes[2]]
    return Exact("linear", (total, x.scale, np.ravel(w.scale)))


def replace_padding(window):
    """The window on an image that is padded already."""
    return Window(window.size, window.strides, window.dilations, "VALID")


def _bias(bias, x_scale, w_scale):
    """int64 at the scale of the sum."""
    scale = np.float32(x_scale) * w_scale
    if isinstance(bias, Codes):
        own = np.broadcast_to(np.ravel(bias.scale), scale.shape)
        if np.array_equal(own, scale):
            return bias.q.astype(np.int64)
        bias = bias.q.astype(np.float64) * own.astype(np.float64)
    steps = np.rint(np.asarray(bias, np.float64) / scale.astype(np.float64))
    return np.clip(steps, -(2**31), 2**31 - 1).astype(np.int64)


def finish(value, scale, zero):
    """int8 codes of a result at `scale` and `zero`."""
    if isinstance(value, Codes):
        if np.ndim(value.scale) == 0 and (value.scale, value.zero) == (scale, zero):
            return value.q
        return numerics.quantize(value.real, scale, zero)
    if not isinstance(value, Exact):
        return numerics.quantize(value, scale, zero)
    if value.kind == "linear":
        total, x_scale, w_scale = value.parts
        factor = numerics.effective_scale(x_scale, w_scale, scale)
        codes = numerics.requantise(numerics.wrap_int32(total), factor, zero)
    elif value.kind == "mean":
        total, x_scale, count = value.parts
        counts, where = np.unique(count, return_inverse=True)
        factors = np.array([numerics.pool_scale(x_scale, scale, n) for n in counts])
        factor = factors[where].reshape(np.shape(count))
        codes = numerics.requantise(total, factor, zero)
    else:
        a, b = value.parts
        constants = numerics.add_constants((a.scale, b.scale, scale), (a.zero, b.zero, zero))
        codes = numerics.residual_add(a.q, b.q, constants)
    low = zero if value.relus else -128
    high = 127
    if "relu6" in value.relus:
        high = max(low, int(numerics.quantize(np.float32(6.0), scale, zero)))
    return np.clip(codes, low, high).astype(np.int8)
