"""Losses with kernels of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, register_op
from sw.graph.errors import DTypeError, InvalidArgumentError, ShapeError
from sw.graph.registry import TensorType
from sw.graph.shapes import SCALAR
from sw.graph.tensor import Tensor


def _shifted(xp: Any, logits: Any) -> tuple[Any, Any, Any]:
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    e = xp.exp(shifted)
    return shifted, e, xp.sum(e, axis=-1, keepdims=True)


def _dense(xp: Any, logits: Any, labels: Any) -> Any:
    shifted, e, total = _shifted(xp, logits)
    loss = xp.sum(labels * (xp.log(total) - shifted), axis=-1)
    # labels need not sum to one (TensorFlow assumes it; this is exact for both)
    return loss, e / total * xp.sum(labels, axis=-1, keepdims=True) - labels


def _dense_type(inputs: tuple[Tensor, ...]) -> list[TensorType]:
    logits, labels = inputs
    if not logits.dtype.is_floating:
        raise DTypeError(f"logits must be floating-point, not {logits.dtype}")
    shape = logits.shape.merge(labels.shape)
    if shape.rank == 0:
        raise ShapeError("logits must have at least one axis")
    return [TensorType(logits.dtype, shape[:-1]), TensorType(logits.dtype, shape)]


def _dense_grad(op: Any, g: Tensor, _: Any) -> list[Tensor]:
    logits = op.inputs[0]
    up = apply("expand_dims", g, axis=-1)
    return [up * op.outputs[1], -up * apply("log_softmax", logits)]


def _sparse(xp: Any, logits: Any, labels: Any) -> Any:
    classes = logits.shape[-1]
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        bad = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(f"label {bad} is outside [0, {classes})")
    shifted, e, total = _shifted(xp, logits)
    index = np.expand_dims(labels, -1)
    loss = xp.log(total) - np.take_along_axis(shifted, index, -1)
    grad = e / total
    hit = np.take_along_axis(grad, index, -1) - grad.dtype.type(1)
    np.put_along_axis(grad, index, hit, -1)
    return loss[..., 0], grad


def _sparse_type(inputs: tuple[Tensor, ...]) -> list[TensorType]:
    logits, labels = inputs
    if not labels.dtype.is_integer:
        raise DTypeError(f"labels must be integers, not {labels.dtype}")
    if logits.shape.dims == ():
        raise ShapeError("logits must have at least one axis")
    shape = logits.shape[:-1].merge(labels.shape)
    return [TensorType(logits.dtype, shape), TensorType(logits.dtype, logits.shape)]


register_op(
    "softmax_cross_entropy",
    kernel=_dense,
    infer=_dense_type,
    gradient=_dense_grad,
    share_dtype=True,
    doc="inputs logits, labels; outputs the loss per row and its gradient for the logits.",
)
register_op(
    "sparse_softmax_cross_entropy",
    kernel=_sparse,
    infer=_sparse_type,
    gradient=lambda op, g, _: [apply("expand_dims", g, axis=-1) * op.outputs[1], None],
    doc="inputs logits, integer labels; outputs the loss per row and its gradient.",
)
register_op(
    "l2_loss",
    kernel=lambda xp, x: xp.sum(x * x, dtype=x.dtype) * x.dtype.type(0.5),
    infer=lambda inputs: TensorType(inputs[0].dtype, SCALAR),
    gradient=lambda op, g: [op.inputs[0] * g],
    doc="Half the sum of squares.",
)


def _both(labels: Any, logits: Any) -> None:
    if labels is None or logits is None:
        raise InvalidArgumentError("give both labels= and logits=, by keyword")


def softmax_cross_entropy_with_logits(
    *, labels: Any = None, logits: Any = None, dim: int = -1, name: str | None = None
) -> Tensor:
    """Cross entropy of each row between the distribution `labels` and softmax(`logits`)."""
    _both(labels, logits)
    if dim != -1:
        raise InvalidArgumentError(f"dim {dim}: only the last axis (-1) is supported")
    loss: Tensor = apply("softmax_cross_entropy", logits, labels, name=name)[0]
    return loss


def sparse_softmax_cross_entropy_with_logits(
    *, labels: Any = None, logits: Any = None, name: str | None = None
) -> Tensor:
    """Cross entropy of each row between the class number `labels` and softmax(`logits`)."""
    _both(labels, logits)
    loss: Tensor = apply("sparse_softmax_cross_entropy", logits, labels, name=name)[0]
    return loss


def sigmoid_cross_entropy_with_logits(
    *, labels: Any = None, logits: Any = None, name: str | None = None
) -> Tensor:
    """Elementwise cross entropy between `labels` in [0, 1] and sigmoid(`logits`)."""
    _both(labels, logits)
    positive = apply("relu", logits)
    out: Tensor = apply(
        "add",
        positive - logits * labels,
        apply("softplus", -apply("abs", logits)),
        name=name,
    )
    return out


def l2_loss(t: Any, name: str | None = None) -> Tensor:
    """`sum(t ** 2) / 2`."""
    out: Tensor = apply("l2_loss", t, name=name)
    return out
