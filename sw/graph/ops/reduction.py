"""Reductions over axes: sum, mean, extremes, product, all, any, argmax, argmin."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, register_op
from sw.graph.dtypes import DType, as_dtype, int64
from sw.graph.errors import DTypeError
from sw.graph.ops.helpers import BOOL, shape_of
from sw.graph.ops.shaping import static_ints
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape, normalise_axis
from sw.graph.tensor import Tensor

Axis = tuple[int, ...] | None


def reduced_shape(shape: Shape, axis: Axis, keepdims: bool) -> Shape:
    """The static shape after a reduction."""
    if shape.dims is None:
        return Shape(() if axis is None and not keepdims else None)
    rank = len(shape.dims)
    gone = set(range(rank)) if axis is None else {normalise_axis(a, rank) for a in axis}
    if keepdims:
        return Shape(tuple(1 if i in gone else d for i, d in enumerate(shape.dims)))
    return Shape(tuple(d for i, d in enumerate(shape.dims) if i not in gone))


def _type(inputs: tuple[Tensor, ...], axis: Axis, keepdims: bool) -> TensorType:
    if inputs[0].dtype is BOOL:
        raise DTypeError("numbers are needed, not bool")
    return TensorType(inputs[0].dtype, reduced_shape(inputs[0].shape, axis, keepdims))


def _bool_type(inputs: tuple[Tensor, ...], axis: Axis, keepdims: bool) -> TensorType:
    if inputs[0].dtype is not BOOL:
        raise DTypeError(f"bool is needed, not {inputs[0].dtype}")
    return TensorType(BOOL, reduced_shape(inputs[0].shape, axis, keepdims))


def _spread(op: Any, value: Tensor) -> Tensor:
    """A reduction's output (or its gradient) broadcast back over the input."""
    axis, keepdims = op.attrs["axis"], op.attrs["keepdims"]
    source = op.inputs[0]
    if not keepdims and axis is not None:
        rank = source.shape.rank
        ordered = sorted(a if rank is None else normalise_axis(a, rank) for a in axis)
        for at in ordered:
            value = apply("expand_dims", value, axis=at)
    out: Tensor = apply("broadcast_to", value, shape_of(source))
    return out


def _mean_grad(op: Any, g: Tensor) -> list[Tensor]:
    source = op.inputs[0]
    count, total = op.outputs[0].shape.num_elements(), source.shape.num_elements()
    if count and total is not None:
        return [_spread(op, g * (count / total))]
    return [_spread(op, apply("mean_share", g, source))]


def _extreme_grad(op: Any, g: Tensor) -> list[Tensor]:
    # ties share the gradient
    hit = apply("cast", apply("equal", op.inputs[0], _spread(op, op.outputs[0])), dtype=g.dtype)
    count = apply("reduce_sum", hit, **op.attrs)
    return [hit * _spread(op, g / count)]


register_op(
    "mean_share",
    kernel=lambda xp, g, x: g * g.dtype.type(np.size(g) / max(np.size(x), 1)),
    gradient=lambda op, g: [apply("mean_share", g, op.inputs[1]), None],
    doc="inputs[0] divided by the number of elements of inputs[1] that each of its own stands for.",
)


def _prod_others(xp: Any, x: Any, axis: Axis) -> Any:
    """For each element, the product of the others that it is multiplied with (exact at zeros)."""
    axes = tuple(range(x.ndim)) if axis is None else tuple(a % x.ndim for a in axis)
    kept = [a for a in range(x.ndim) if a not in axes]
    order = (*kept, *axes)
    moved = np.transpose(x, order)
    flat = moved.reshape(*(x.shape[a] for a in kept), -1)
    ones = np.ones_like(flat[..., :1])
    before = np.cumprod(np.concatenate([ones, flat[..., :-1]], -1), -1)
    after = np.cumprod(np.concatenate([ones, flat[..., :0:-1]], -1), -1)[..., ::-1]
    return np.transpose((before * after).reshape(moved.shape), np.argsort(order))


register_op(
    "prod_of_others",
    kernel=_prod_others,
    attrs={"axis": None},
    doc="For each element, the product of the other elements of its reduction.",
)


def _reduce(name: str, function: Any, gradient: Any, infer: Any = _type) -> Any:
    register_op(
        name,
        kernel=function,
        infer=infer,
        gradient=gradient,
        attrs={"axis": None, "keepdims": False},
        doc=f"{name} over `axis` (None: all axes).",
    )

    def reduce(
        input_tensor: Any,
        axis: Any = None,
        keepdims: bool | None = None,
        name: str | None = None,
        reduction_indices: Any = None,
        keep_dims: bool | None = None,
    ) -> Tensor:
        axis = reduction_indices if axis is None else axis
        axes = None if axis is None else tuple(int(a) for a in static_ints(axis, "axis").ravel())
        keep = bool(keep_dims if keepdims is None else keepdims)
        out: Tensor = apply(op, input_tensor, name=name, axis=axes, keepdims=keep)
        return out

    op = name
    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = f"`{name}` over `axis` (an int, a list, or None for all axes)."
    return reduce


def _numpy(function: str) -> Any:
    def kernel(xp: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
        return getattr(xp, function)(x, axis=axis, keepdims=keepdims)

    return kernel


def _sum(xp: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    return xp.sum(x, axis=axis, keepdims=keepdims, dtype=x.dtype)


def _prod(xp: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    return xp.prod(x, axis=axis, keepdims=keepdims, dtype=x.dtype)


def _mean(xp: Any, x: Any, axis: Axis, keepdims: bool) -> Any:
    out = xp.mean(x, axis=axis, keepdims=keepdims)
    return out if out.dtype == x.dtype else np.trunc(out).astype(x.dtype)


reduce_sum = _reduce("reduce_sum", _sum, lambda op, g: [_spread(op, g)])
reduce_mean = _reduce("reduce_mean", _mean, _mean_grad)
reduce_max = _reduce("reduce_max", _numpy("max"), _extreme_grad)
reduce_min = _reduce("reduce_min", _numpy("min"), _extreme_grad)
reduce_prod = _reduce(
    "reduce_prod",
    _prod,
    lambda op, g: [_spread(op, g) * apply("prod_of_others", op.inputs[0], axis=op.attrs["axis"])],
)
reduce_all = _reduce("reduce_all", _numpy("all"), NOT_DIFFERENTIABLE, _bool_type)
reduce_any = _reduce("reduce_any", _numpy("any"), NOT_DIFFERENTIABLE, _bool_type)


def _arg(name: str) -> Any:
    def kernel(xp: Any, x: Any, axis: int, output_type: DType) -> Any:
        return getattr(xp, name)(x, axis=axis).astype(output_type.numpy)

    def infer(inputs: tuple[Tensor, ...], axis: int, output_type: DType) -> TensorType:
        return TensorType(output_type, reduced_shape(inputs[0].shape, (axis,), False))

    register_op(
        name,
        kernel=kernel,
        infer=infer,
        gradient=NOT_DIFFERENTIABLE,
        attrs={"axis": REQUIRED, "output_type": int64},
        doc=f"{name} along `axis`: the first position.",
    )

    def function(
        input: Any,
        axis: Any = None,
        name: str | None = None,
        dimension: Any = None,
        output_type: Any = int64,
    ) -> Tensor:
        chosen = dimension if axis is None else axis
        at = 0 if chosen is None else int(static_ints(chosen, "axis"))
        out: Tensor = apply(op, input, name=name, axis=at, output_type=as_dtype(output_type))
        return out

    op = name
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{name}` along `axis` (default 0), as `output_type`."
    return function


argmax = _arg("argmax")
argmin = _arg("argmin")
