"""Reductions and running sums over axes that may be known only at run time."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.onnx.registry import kernel

Array = Any


def _axes(x: Array, axes: Any, given: Any, noop: int) -> tuple[int, ...] | None:
    """The axes; None: the input is the result."""
    found = axes if given is None else tuple(int(a) for a in np.ravel(given))
    if not found:
        return None if noop else tuple(range(x.ndim))
    return tuple(found)


def _log_sum_exp(x: Array, axis: Any, keepdims: bool) -> Array:
    if x.size == 0:
        return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))
    top = np.max(x, axis=axis, keepdims=True)
    safe = np.where(np.isfinite(top), top, 0)
    total = np.log(np.sum(np.exp(x - safe), axis=axis, keepdims=True)) + safe
    return total if keepdims else np.squeeze(total, axis=axis)


def _extreme(function: Any, edge: int) -> Any:
    def run(x: Array, axis: Any, keepdims: bool) -> Array:
        if x.dtype.kind == "b":
            bits, first = x.astype(np.uint8), np.uint8(edge > 0)
            return function(bits, axis=axis, keepdims=keepdims, initial=first).astype(np.bool_)
        if x.dtype.kind in "iu":
            limits = np.iinfo(x.dtype)
            start: Any = limits.min if edge < 0 else limits.max
        else:
            start = edge * np.inf
        return function(x, axis=axis, keepdims=keepdims, initial=np.asarray(start, x.dtype))

    return run


def _plain(function: Any) -> Any:
    return lambda x, axis, keepdims: function(x, axis=axis, keepdims=keepdims)


FUNCTIONS = {
    "ReduceSum": _plain(np.sum),
    "ReduceMean": _plain(np.mean),
    "ReduceProd": _plain(np.prod),
    "ReduceMax": _extreme(np.max, -1),
    "ReduceMin": _extreme(np.min, 1),
    "ReduceL1": lambda x, axis, keepdims: np.sum(np.abs(x), axis=axis, keepdims=keepdims),
    "ReduceL2": lambda x, axis, keepdims: np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims)),
    "ReduceSumSquare": lambda x, axis, keepdims: np.sum(x * x, axis=axis, keepdims=keepdims),
    "ReduceLogSum": lambda x, axis, keepdims: np.log(np.sum(x, axis=axis, keepdims=keepdims)),
    "ReduceLogSumExp": _log_sum_exp,
}


def _register(operator: str, function: Any) -> None:
    def run(
        x: Array,
        given: Array = None,
        *,
        axes: Any = None,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Array:
        along = _axes(x, axes, given, noop_with_empty_axes)
        # no axis at all still leaves the part of the function that works element by element
        along = () if along is None else along
        return np.asarray(function(x, along, bool(keepdims))).astype(x.dtype)

    kernel(operator)(run)


for _name, _function in FUNCTIONS.items():
    _register(_name, _function)


def _arg(operator: str, function: Any) -> None:
    def run(x: Array, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Array:
        if select_last_index:
            back = function(np.flip(x, axis), axis=axis)
            out = x.shape[axis] - 1 - back
        else:
            out = function(x, axis=axis)
        return (np.expand_dims(out, axis) if keepdims else np.asarray(out)).astype(np.int64)

    kernel(operator)(run)


_arg("ArgMax", np.argmax)
_arg("ArgMin", np.argmin)


def _running(operator: str, function: Any, neutral: int) -> None:
    def run(x: Array, axis: Array, *, exclusive: int = 0, reverse: int = 0) -> Array:
        at = int(np.reshape(axis, ()))
        values = np.flip(x, at) if reverse else x
        out = function(values, axis=at).astype(x.dtype)
        if exclusive:
            first = np.full_like(np.take(out, [0], axis=at), neutral)
            rest = np.take(out, np.arange(out.shape[at] - 1), axis=at)
            out = np.concatenate([first, rest], axis=at)
        return np.flip(out, at) if reverse else out

    kernel(operator)(run)


_running("CumSum", np.cumsum, 0)
_running("CumProd", np.cumprod, 1)


@kernel("Softmax")
def softmax(x: Array, *, axis: Any = None, opset: int) -> Array:
    return np.exp(_log_softmax(x, axis, opset)).astype(x.dtype)


@kernel("LogSoftmax")
def log_softmax(x: Array, *, axis: Any = None, opset: int) -> Array:
    return _log_softmax(x, axis, opset).astype(x.dtype)


def _log_softmax(x: Array, axis: Any, opset: int) -> Array:
    wide = x if x.dtype.itemsize >= 4 else x.astype(np.float32)
    if opset < 13:  # everything from the axis on is one
        at = 1 if axis is None else axis % x.ndim
        flat = wide.reshape(int(np.prod(x.shape[:at])), -1)
        return _log_softmax(flat, -1, 13).reshape(x.shape)
    at = -1 if axis is None else axis
    shifted = wide - np.max(wide, axis=at, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.sum(np.exp(shifted), axis=at, keepdims=True))


@kernel("Hardmax")
def hardmax(x: Array, *, axis: Any = None, opset: int) -> Array:
    if opset < 13:
        at = 1 if axis is None else axis % x.ndim
        flat = x.reshape(int(np.prod(x.shape[:at])), -1)
        return hardmax(flat, axis=-1, opset=13).reshape(x.shape)
    at = -1 if axis is None else axis
    best = np.expand_dims(np.argmax(x, axis=at), at)
    out = np.zeros_like(x)
    np.put_along_axis(out, best, 1, at)
    return out


@kernel("LpNormalization")
def lp_normalization(x: Array, *, axis: int = -1, p: int = 2) -> Array:
    size = np.sum(np.abs(x) ** p, axis=axis, keepdims=True) ** (1 / p)
    return np.where(size == 0, np.zeros((), x.dtype), x / size).astype(x.dtype)


@kernel("BatchNormalization")
def batch_normalization(
    x: Array,
    scale: Array,
    shift: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    spatial: int = 1,
    is_test: int = 1,
    types: Any,
) -> Any:
    channel = (-1, *(1,) * (x.ndim - 2))
    now_mean, now_variance = mean, variance
    if training_mode:
        axes = (0, *range(2, x.ndim))
        now_mean, now_variance = np.mean(x, axis=axes), np.var(x, axis=axes)
    if not spatial:
        channel = x.shape[1:]
    factor = (scale / np.sqrt(now_variance + epsilon)).reshape(channel)
    y = (x - now_mean.reshape(channel)) * factor + shift.reshape(channel)
    y = y.astype(x.dtype)
    if len(types) == 1:
        return y
    running = [
        (old * momentum + new * (1 - momentum)).astype(old.dtype)
        for old, new in ((mean, now_mean), (variance, now_variance))
    ]
    return (y, *running, now_mean, now_variance)[: len(types)]


@kernel("InstanceNormalization")
def instance_normalization(x: Array, scale: Array, shift: Array, *, epsilon: float = 1e-5) -> Array:
    axes, channel = tuple(range(2, x.ndim)), (-1, *(1,) * (x.ndim - 2))
    mean, variance = (f(x, axis=axes, keepdims=True) for f in (np.mean, np.var))
    out = scale.reshape(channel) * (x - mean) / np.sqrt(variance + epsilon)
    return (out + shift.reshape(channel)).astype(x.dtype)


@kernel("LRN")
def lrn(
    x: Array, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int
) -> Array:
    before = (size - 1) // 2
    square = np.pad(np.square(x), [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)])
    total = sum(square[:, i : i + x.shape[1]] for i in range(size))
    return (x / (bias + alpha / size * total) ** beta).astype(x.dtype)


@kernel("Det")
def det(x: Array) -> Array:
    return np.asarray(np.linalg.det(x)).astype(x.dtype)


@kernel("Einsum")
def einsum(*values: Array, equation: str) -> Array:
    wide = [v.astype(np.float32) if v.dtype.kind == "V" else v for v in values]
    return np.asarray(np.einsum(equation, *wide)).astype(values[0].dtype)
