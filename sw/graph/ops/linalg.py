"""Matrix product and n-ary sum."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, register_op
from sw.graph.errors import DTypeError, InvalidArgumentError, ShapeError
from sw.graph.ops.helpers import BOOL, conj, unbroadcast
from sw.graph.registry import TensorType
from sw.graph.shapes import Shape, broadcast
from sw.graph.tensor import Tensor


def _matmul_type(inputs: tuple[Tensor, ...], transpose_a: bool, transpose_b: bool) -> TensorType:
    a, b = (t.shape for t in inputs)
    if inputs[0].dtype is BOOL:
        raise DTypeError("numbers are needed, not bool")
    if a.dims is None or b.dims is None:
        return TensorType(inputs[0].dtype, Shape(None))
    if len(a.dims) < 2 or len(b.dims) < 2:
        raise ShapeError(f"matrices are needed, not shapes {a} and {b}")
    m, k = a.dims[-2:][::-1] if transpose_a else a.dims[-2:]
    k2, n = b.dims[-2:][::-1] if transpose_b else b.dims[-2:]
    if k is not None and k2 is not None and k != k2:
        raise ShapeError(f"inner sizes {k} and {k2} of {a} and {b} differ")
    batch = broadcast(Shape(a.dims[:-2]), Shape(b.dims[:-2]))
    return TensorType(inputs[0].dtype, batch.concatenate((m, n)))


def _matmul(xp: Any, a: Any, b: Any, transpose_a: bool, transpose_b: bool) -> Any:
    if transpose_a:
        a = xp.swapaxes(a, -1, -2)
    if transpose_b:
        b = xp.swapaxes(b, -1, -2)
    if a.dtype.kind not in "fc" or a.dtype.itemsize == 2:
        # NumPy has no BLAS for these: half types are summed in float32 as hardware does
        wide = np.float32 if a.dtype.kind not in "iu" else a.dtype
        return xp.matmul(a.astype(wide), b.astype(wide)).astype(a.dtype)
    return xp.matmul(a, b)


def _mm(a: Any, b: Any, ta: bool = False, tb: bool = False) -> Tensor:
    out: Tensor = apply("matmul", a, b, transpose_a=ta, transpose_b=tb)
    return out


def _matmul_grad(op: Any, g: Tensor) -> list[Tensor]:
    a, b = (conj(t) for t in op.inputs)
    ta, tb = op.attrs["transpose_a"], op.attrs["transpose_b"]
    if not ta:
        ga = _mm(g, b, False, not tb)
        gb = _mm(g, a, True, False) if tb else _mm(a, g, True, False)
    else:
        ga = _mm(b, g, tb, True)
        gb = _mm(g, a, True, True) if tb else _mm(a, g, False, False)
    return [_unbatch(ga, op.inputs[0]), _unbatch(gb, op.inputs[1])]


def _unbatch(grad: Tensor, operand: Tensor) -> Tensor:
    both = (grad.shape.rank, operand.shape.rank)
    if both == (2, 2):
        return grad
    return unbroadcast(grad, operand)


register_op(
    "matmul",
    kernel=_matmul,
    infer=_matmul_type,
    gradient=_matmul_grad,
    attrs={"transpose_a": False, "transpose_b": False},
    share_dtype=True,
    doc="The matrix product over the last two axes; leading axes broadcast.",
)


def matmul(
    a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, name: str | None = None
) -> Tensor:
    """The matrix product of `[..., M, K]` and `[..., K, N]`; leading axes broadcast."""
    out: Tensor = apply(
        "matmul", a, b, name=name, transpose_a=bool(transpose_a), transpose_b=bool(transpose_b)
    )
    return out


def _add_n_type(inputs: tuple[Tensor, ...]) -> TensorType:
    if not inputs:
        raise InvalidArgumentError("at least one tensor is needed")
    shape = inputs[0].shape
    for tensor in inputs[1:]:
        shape = shape.merge(tensor.shape)
    return TensorType(inputs[0].dtype, shape)


def _add_n(xp: Any, *values: Any) -> Any:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


register_op(
    "add_n",
    kernel=_add_n,
    infer=_add_n_type,
    gradient=lambda op, g: [g] * len(op.inputs),
    share_dtype=True,
    doc="The sum of its inputs, which have one shape.",
)


def add_n(inputs: Any, name: str | None = None) -> Tensor:
    """The sum of tensors of one shape."""
    out: Tensor = apply("add_n", *inputs, name=name)
    return out
