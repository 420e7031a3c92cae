"""The ends of a transfer, inserted by the compiler: feed, send and recv. They have no kernels;
the runtime hands values over by their keys."""

from __future__ import annotations

from typing import Any

from sw.graph.build import register_op
from sw.graph.dtypes import OF_HANDLES, DType, resource
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import SCALAR, Shape
from sw.graph.tensor import Tensor


def _given(inputs: tuple[Tensor, ...], dtype: DType, shape: Shape, **attrs: Any) -> TensorType:
    return TensorType(dtype, SCALAR if dtype is resource else shape)


def _nothing(inputs: tuple[Tensor, ...], **attrs: Any) -> list[TensorType]:
    return []


_TYPE = {"dtype": REQUIRED, "shape": REQUIRED}

feed = register_op(
    "feed",
    kernel=None,
    infer=_given,
    gradient=NOT_DIFFERENTIABLE,
    attrs={**dict.fromkeys(OF_HANDLES), **_TYPE, "tensor": REQUIRED},
    stateful=True,
    host_only=True,
    doc="Stands for the tensor named `tensor`, whose value the caller of run gives.",
)
recv = register_op(
    "recv",
    kernel=None,
    infer=_given,
    gradient=NOT_DIFFERENTIABLE,
    attrs={**_TYPE, "key": REQUIRED},
    stateful=True,
    host_only=True,
    doc="The value that arrives under the rendezvous key `key`.",
)
send = register_op(
    "send",
    kernel=None,
    infer=_nothing,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"key": REQUIRED},
    stateful=True,
    host_only=True,
    doc="Hands its input over under the rendezvous key `key`.",
)
