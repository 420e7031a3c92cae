"""Type rules and gradient pieces that several families share."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, constant_shape, register_op
from sw.graph.dtypes import DType, as_dtype, int32
from sw.graph.errors import DTypeError, ShapeError
from sw.graph.registry import NOT_DIFFERENTIABLE, TensorType
from sw.graph.shapes import Shape, broadcast
from sw.graph.tensor import Tensor

BOOL = as_dtype("bool")


def broadcast_type(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    """Type rule: all inputs broadcast together, the first one's dtype."""
    shape = inputs[0].shape
    for tensor in inputs[1:]:
        shape = broadcast(shape, tensor.shape)
    if inputs[0].dtype is BOOL:
        raise DTypeError("numbers are needed, not bool; use st.cast")
    return TensorType(inputs[0].dtype, shape)


def predicate_type(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    """Type rule: all inputs broadcast together, bool."""
    shape = inputs[0].shape
    for tensor in inputs[1:]:
        shape = broadcast(shape, tensor.shape)
    return TensorType(BOOL, shape)


def floating_type(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    """Type rule: like the first input, which must be floating-point."""
    if not inputs[0].dtype.is_floating:
        raise DTypeError(f"floating-point values are needed, not {inputs[0].dtype}")
    return TensorType(inputs[0].dtype, inputs[0].shape)


def smooth_type(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    """Type rule: like the first input, which must be a real or complex floating-point number."""
    if not inputs[0].dtype.differentiable:
        raise DTypeError(f"floating-point values are needed, not {inputs[0].dtype}")
    return TensorType(inputs[0].dtype, inputs[0].shape)


def conj(tensor: Tensor) -> Tensor:
    """The complex conjugate; a real tensor is its own."""
    out: Tensor = apply("conj", tensor) if tensor.dtype.is_complex else tensor
    return out


def numeric_type(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    """Type rule: like the first input, which must be a number."""
    if inputs[0].dtype is BOOL:
        raise DTypeError("numbers are needed, not bool; use st.cast")
    return TensorType(inputs[0].dtype, inputs[0].shape)


def require_rank(tensor: Tensor, rank: int, what: str) -> None:
    """Raise `ShapeError` unless `tensor` has (or may have) that rank."""
    if tensor.shape.rank not in (None, rank):
        raise ShapeError(f"{what} must have rank {rank}, not shape {tensor.shape}")


def _target_type(inputs: tuple[Tensor, ...]) -> TensorType:
    if not inputs[1].dtype.is_integer:
        raise DTypeError(f"a shape holds integers, not {inputs[1].dtype}")
    return TensorType(inputs[0].dtype, constant_shape(inputs[1]))


def _broadcast_type(inputs: tuple[Tensor, ...]) -> TensorType:
    kind = _target_type(inputs)
    if inputs[0].shape.known and kind.shape.known:
        out = broadcast(inputs[0].shape, kind.shape)
        if out != kind.shape:
            raise ShapeError(f"{inputs[0].shape} does not broadcast to {kind.shape}")
    return kind


def _sum_to(xp: Any, x: Any, shape: Any) -> Any:
    target = tuple(int(s) for s in shape)
    have = np.shape(x)
    if have == target:
        return x
    lead = len(have) - len(target)
    axes = tuple(range(lead)) + tuple(
        i + lead for i, s in enumerate(target) if s == 1 and have[i + lead] != 1
    )
    return xp.reshape(xp.sum(x, axis=axes, dtype=x.dtype), target)


register_op(
    "shape",
    kernel=lambda xp, x, out_type: np.asarray(np.shape(x), out_type.numpy),
    infer=lambda inputs, out_type: TensorType(out_type, Shape((inputs[0].shape.rank,))),
    gradient=NOT_DIFFERENTIABLE,
    attrs={"out_type": int32},
    host_only=True,
    doc="The sizes of its input as an integer vector.",
)
register_op(
    "sum_to_shape",
    kernel=_sum_to,
    infer=_target_type,
    gradient=lambda op, g: [apply("broadcast_to", g, shape_of(op.inputs[0])), None],
    doc="Sum over the axes along which a value of shape inputs[1] was broadcast.",
)
register_op(
    "broadcast_to",
    kernel=lambda xp, x, shape: xp.broadcast_to(x, tuple(int(s) for s in shape)),
    infer=_broadcast_type,
    gradient=lambda op, g: [apply("sum_to_shape", g, shape_of(op.inputs[0])), None],
    doc="Its first input broadcast to the shape inputs[1].",
)


def shape_of(tensor: Tensor, out_type: DType = int32) -> Any:
    """The shape of a tensor as something to compute with: an array if it is static."""
    if tensor.shape.known:
        return np.asarray(tensor.shape.sizes(), out_type.numpy)
    return apply("shape", tensor, out_type=out_type)


def unbroadcast(grad: Tensor, tensor: Tensor) -> Tensor:
    """`grad` summed down to the shape of the operand `tensor`."""
    if grad.shape.known and grad.shape == tensor.shape:
        return grad
    out: Tensor = apply("sum_to_shape", grad, shape_of(tensor))
    return out
