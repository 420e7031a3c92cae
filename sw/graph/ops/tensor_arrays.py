"""The ops behind `TensorArray`: a flow is an immutable tuple of arrays (None: not written yet).

The gradient of a flow is another kind of flow, a dict from position to gradient; what is missing
in it is zero, so that a loop which reads one element adds one entry and not an array of zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, register_op
from sw.graph.dtypes import DType, int32, variant
from sw.graph.errors import InvalidArgumentError
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import SCALAR, Shape
from sw.graph.tensor import Tensor

_FLOW = TensorType(variant, SCALAR)


def _flow_type(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    return _FLOW


def _element_type(inputs: tuple[Tensor, ...], dtype: DType, shape: Shape) -> TensorType:
    return TensorType(dtype, shape)


def _rows_type(inputs: tuple[Tensor, ...], dtype: DType, shape: Shape) -> TensorType:
    return TensorType(dtype, Shape((None,)).concatenate(shape))


def _flat_type(inputs: tuple[Tensor, ...], dtype: DType, shape: Shape) -> TensorType:
    rest = Shape(None) if shape.dims is None else Shape((None, *shape.dims[1:]))
    return TensorType(dtype, rest)


def _like_last(inputs: tuple[Tensor, ...]) -> TensorType:
    return TensorType(inputs[-1].dtype, inputs[-1].shape)


def _position(index: Any, size: int) -> int:
    at = int(index)
    if not 0 <= at < size:
        raise IndexError(f"TensorArray position {at} is outside [0, {size})")
    return at


def _write(xp: Any, flow: Any, index: Any, value: Any, grows: bool, once: bool) -> Any:
    size = len(flow)
    if grows and int(index) >= size:
        flow = flow + (None,) * (int(index) + 1 - size)
    at = _position(index, len(flow))
    if once and flow[at] is not None:
        raise InvalidArgumentError(f"TensorArray position {at} was written before")
    return (*flow[:at], np.asarray(value), *flow[at + 1 :])


def _read(xp: Any, flow: Any, index: Any, dtype: DType, shape: Shape) -> Any:
    at = _position(index, len(flow))
    if flow[at] is not None:
        return flow[at]
    if shape.known:
        return np.zeros(shape.sizes(), dtype.numpy)
    raise InvalidArgumentError(f"TensorArray position {at} was not written")


def _stack(xp: Any, flow: Any, dtype: DType, shape: Shape) -> Any:
    if not flow:
        return np.zeros((0, *(d or 0 for d in shape.dims or ())), dtype.numpy)
    return np.stack([_read(xp, flow, i, dtype, shape) for i in range(len(flow))])


def _gather(xp: Any, flow: Any, indices: Any, dtype: DType, shape: Shape) -> Any:
    picked = tuple(_read(xp, flow, i, dtype, shape) for i in np.ravel(indices))
    return _stack(xp, picked, dtype, shape)


def _scatter(xp: Any, flow: Any, indices: Any, value: Any, grows: bool, once: bool) -> Any:
    for at, row in zip(np.ravel(indices), value, strict=True):
        flow = _write(xp, flow, at, row, grows, once)
    return flow


def _split(xp: Any, flow: Any, value: Any, lengths: Any) -> Any:
    if int(np.sum(lengths)) != len(value):
        raise InvalidArgumentError(f"lengths {list(lengths)} do not add up to {len(value)}")
    return tuple(np.split(value, np.cumsum(lengths)[:-1])) if len(lengths) else ()


def _merge(xp: Any, *flows: Any) -> Any:
    total: dict[int, Any] = {}
    for flow in flows:
        for at, grad in flow.items():
            total[at] = total[at] + grad if at in total else grad
    return total


def _at(xp: Any, grads: Any, index: Any, like: Any) -> Any:
    found = grads.get(int(index))
    return np.zeros_like(like) if found is None else found


def _at_many(xp: Any, grads: Any, indices: Any, like: Any) -> Any:
    out = np.zeros_like(like)
    for row, at in enumerate(np.ravel(indices)):
        if int(at) in grads:
            out[row] = grads[int(at)]
    return out


def _join(xp: Any, grads: Any, lengths: Any, like: Any) -> Any:
    out = np.zeros_like(like)
    ends = np.cumsum(lengths)
    for at, grad in grads.items():
        out[ends[at] - lengths[at] : ends[at]] = grad
    return out


def _register(name: str, kernel: Any, infer: Any, gradient: Any, doc: str, *attrs: str) -> None:
    register_op(
        name,
        kernel=kernel,
        infer=infer,
        gradient=gradient,
        attrs=dict.fromkeys(attrs, REQUIRED),
        host_only=True,
        doc=doc,
    )


_register("tensor_array", lambda xp, size: (None,) * int(size), _flow_type, NOT_DIFFERENTIABLE,
          "A flow of inputs[0] elements, none of which is written.")  # fmt: skip
_register("tensor_array_size", lambda xp, flow: np.asarray(len(flow), np.int32),
          lambda inputs: TensorType(int32, SCALAR), NOT_DIFFERENTIABLE,
          "The number of elements.")  # fmt: skip
_register("tensor_array_write", _write, _flow_type,
          lambda op, g: [g, None, apply("flow_at", g, op.inputs[1], op.inputs[2])],
          "The flow with the value inputs[2] at position inputs[1].", "grows", "once")  # fmt: skip
_register("tensor_array_read", _read, _element_type,
          lambda op, g: [apply("flow_put", op.inputs[1], g), None],
          "The element at position inputs[1].", "dtype", "shape")  # fmt: skip
_register("tensor_array_stack", _stack, _rows_type, lambda op, g: [apply("flow_rows", g)],
          "All elements along a new first axis.", "dtype", "shape")  # fmt: skip
_register("tensor_array_gather", _gather, _rows_type,
          lambda op, g: [apply("flow_put_many", op.inputs[1], g), None],
          "The elements at the positions inputs[1].", "dtype", "shape")  # fmt: skip
_register("tensor_array_unstack", lambda xp, flow, value: tuple(value), _flow_type,
          lambda op, g: [None, apply("flow_stack", g, op.inputs[1])],
          "The rows of inputs[1] as a flow.")  # fmt: skip
_register("tensor_array_scatter", _scatter, _flow_type,
          lambda op, g: [g, None, apply("flow_at_many", g, op.inputs[1], op.inputs[2])],
          "The flow with the rows of inputs[2] at inputs[1].", "grows", "once")  # fmt: skip
_register("tensor_array_concat", lambda xp, flow, dtype, shape: np.concatenate(flow), _flat_type,
          lambda op, g: [apply("flow_cut", g, op.inputs[0])],
          "All elements one after the other.", "dtype", "shape")  # fmt: skip
_register("tensor_array_split", _split, _flow_type,
          lambda op, g: [None, apply("flow_join", g, op.inputs[2], op.inputs[1]), None],
          "inputs[1] cut into pieces of the lengths inputs[2].")  # fmt: skip
_register("flow_zero", lambda xp: {}, _flow_type, NOT_DIFFERENTIABLE, "The gradient zero.")
_register("flow_merge", _merge, _flow_type, NOT_DIFFERENTIABLE, "The sum of gradients.")
_register("flow_at", _at, _like_last, NOT_DIFFERENTIABLE, "The gradient at one position.")
_register("flow_at_many", _at_many, _like_last, NOT_DIFFERENTIABLE, "Gradients at positions.")
_register("flow_put", lambda xp, index, g: {int(index): g}, _flow_type, NOT_DIFFERENTIABLE,
          "The gradient at one position, zero elsewhere.")  # fmt: skip
_register("flow_put_many",
          lambda xp, indices, g: _merge(xp, *({int(i): row} for i, row in
                                              zip(np.ravel(indices), g, strict=True))),
          _flow_type, NOT_DIFFERENTIABLE, "Gradients at positions, zero elsewhere.")  # fmt: skip
_register("flow_rows", lambda xp, g: dict(enumerate(g)), _flow_type, NOT_DIFFERENTIABLE,
          "The rows of a gradient.")  # fmt: skip
_register("flow_stack", lambda xp, g, like: _at_many(xp, g, np.arange(len(like)), like),
          _like_last, NOT_DIFFERENTIABLE, "All gradients along a new first axis.")  # fmt: skip
_register("flow_cut",
          lambda xp, g, flow: dict(enumerate(np.split(g, np.cumsum([len(f) for f in flow])[:-1]))),
          _flow_type, NOT_DIFFERENTIABLE, "A gradient cut into the lengths of a flow.")  # fmt: skip
_register("flow_join", _join, _like_last, NOT_DIFFERENTIABLE, "Gradients one after the other.")
