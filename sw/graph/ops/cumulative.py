"""Running sums and products, log-sum-exp, and other reductions made of these."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.errors import ShapeError
from sw.graph.ops.helpers import numeric_type
from sw.graph.ops.shaping import static_ints
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.shapes import normalise_axis
from sw.graph.tensor import Tensor

_ATTRS = {"axis": REQUIRED, "exclusive": False, "reverse": False}


def _type(inputs: tuple[Tensor, ...], axis: int, **attrs: Any) -> TensorType:
    if inputs[0].shape.rank is not None:
        normalise_axis(axis, inputs[0].shape.rank)
    return numeric_type(inputs)


def _running(function: str, start: int) -> Any:
    def kernel(xp: Any, x: Any, axis: int, exclusive: bool, reverse: bool) -> Any:
        x = np.flip(x, axis) if reverse else x
        out = getattr(np, function)(x, axis=axis, dtype=x.dtype)
        if exclusive:
            first = np.full_like(np.take(x, [0], axis) if x.shape[axis] else x, start)
            out = np.concatenate([first, np.take(out, range(x.shape[axis] - 1), axis)], axis)
        return np.flip(out, axis) if reverse else out

    return kernel


def _sum_grad(op: Any, g: Tensor) -> list[Tensor]:
    attrs = {**op.attrs, "reverse": not op.attrs["reverse"]}
    return [apply("cumsum", g, **attrs)]


def _prod_grad(op: Any, g: Tensor) -> list[Tensor]:
    return [apply("cumprod_grad", g, op.inputs[0], **op.attrs)]


def _prod_back(xp: Any, g: Any, x: Any, axis: int, exclusive: bool, reverse: bool) -> Any:
    """sum over j of g[j] times the product that makes output j without x[i]: exact at zeros."""
    g, x = (np.moveaxis(np.flip(v, axis) if reverse else v, axis, -1) for v in (g, x))
    size = x.shape[-1]
    out = np.zeros_like(x)
    for i in range(size):
        # the running product from the start, with x[i] left out
        without = np.array(x)
        without[..., i] = 1
        products = np.cumprod(without, -1)
        first = i + 1 if exclusive else i
        taken = products[..., first - exclusive : size - exclusive]
        out[..., i] = np.sum(g[..., first:] * taken, -1)
    out = np.moveaxis(out, -1, axis)
    return np.flip(out, axis) if reverse else out


register_op("cumsum", _running("cumsum", 0), _type, _sum_grad, _ATTRS, host_only=True,
            doc="Running sums along `axis`.")  # fmt: skip
register_op("cumprod_grad", _prod_back, _type, None, _ATTRS, host_only=True,
            doc="The gradient of cumprod; inputs its output's gradient and its input.")  # fmt: skip
register_op("cumprod", _running("cumprod", 1), _type, _prod_grad, _ATTRS, host_only=True,
            doc="Running products along `axis`.")  # fmt: skip


def cumsum(
    x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Tensor:
    """Running sums along `axis`; `exclusive`: without the element itself; `reverse`: from the
    end."""
    how = {"exclusive": bool(exclusive), "reverse": bool(reverse)}
    out: Tensor = apply("cumsum", x, name=name, axis=int(static_ints(axis, "axis")), **how)
    return out


def cumprod(
    x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Tensor:
    """Running products along `axis`; see `cumsum`."""
    how = {"exclusive": bool(exclusive), "reverse": bool(reverse)}
    out: Tensor = apply("cumprod", x, name=name, axis=int(static_ints(axis, "axis")), **how)
    return out


def reduce_logsumexp(
    input_tensor: Any,
    axis: Any = None,
    keepdims: bool | None = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: bool | None = None,
) -> Tensor:
    """log(sum(exp(x))) over `axis`, without overflow."""
    chosen = reduction_indices if axis is None else axis
    axes = None if chosen is None else tuple(int(a) for a in np.atleast_1d(chosen))
    keep = bool(keep_dims if keepdims is None else keepdims)
    graph = graph_of((input_tensor,))
    with graph.name_scope(name or "logsumexp"):
        x = graph.convert(input_tensor)
        top = apply("reduce_max", x, axis=axes, keepdims=True)
        top = apply("where", apply("is_finite", top), top, apply("zeros_like", top))
        top = apply("stop_gradient", top)
        total = apply("reduce_sum", apply("exp", x - top), axis=axes, keepdims=True)
        out: Tensor = apply("log", total) + top
        if keep:
            return out
        if axes is None:
            return apply("reduce_sum", out)
        return apply("squeeze", out, axis=axes)


def accumulate_n(
    inputs: Any, shape: Any = None, tensor_dtype: Any = None, name: str | None = None
) -> Tensor:
    """The sum of tensors of one shape."""
    out: Tensor = apply("add_n", *inputs, name=name or "AccumulateN")
    if shape is not None:
        out.set_shape(shape)
    return out


def count_nonzero(
    input_tensor: Any,
    axis: Any = None,
    keep_dims: bool = False,
    dtype: Any = np.int64,
    name: str | None = None,
) -> Tensor:
    """How many elements are not zero, over `axis`."""
    graph = graph_of((input_tensor,))
    x = graph.convert(input_tensor)
    kind = getattr(dtype, "numpy", dtype)
    flags = apply("not_equal", x, apply("zeros_like", x))
    numbers = apply("cast", flags, dtype=graph.convert(np.zeros((), kind)).dtype)
    axes = None if axis is None else tuple(int(a) for a in np.atleast_1d(axis))
    out: Tensor = apply("reduce_sum", numbers, name=name, axis=axes, keepdims=bool(keep_dims))
    return out


def require_vector(tensor: Tensor, what: str) -> None:
    """Raise `ShapeError` unless the tensor is (or may be) a vector."""
    if tensor.shape.rank not in (None, 1):
        raise ShapeError(f"{what} must be a vector, not of shape {tensor.shape}")
