"""Tensors that stay in the session between runs: a run gives a handle, a later one takes it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.dtypes import DType, as_dtype, int64
from sw.graph.errors import NotFoundError
from sw.graph.operation import Operation
from sw.graph.ops.basic import placeholder
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import SCALAR, Shape
from sw.graph.state import OpState
from sw.graph.tensor import Tensor

_NUMBERS = itertools.count(1)


def _key(handle: Any) -> str:
    return f"session handle {int(handle)}"


def _keep(xp: Any, state: OpState, value: Any) -> Any:
    number = next(_NUMBERS)
    state.container.write(_key(number), np.array(value))
    return np.int64(number)


def _take(xp: Any, state: OpState, handle: Any, dtype: DType) -> Any:
    value = state.container.values.get(_key(handle))
    if value is None:
        raise NotFoundError(f"the session has no tensor of handle {int(handle)}")
    return value


def _forget(xp: Any, state: OpState, handle: Any) -> Any:
    if state.container.values.pop(_key(handle), None) is None:
        raise NotFoundError(f"the session has no tensor of handle {int(handle)}")
    return ()


register_op(
    "get_session_handle",
    kernel=_keep,
    infer=lambda inputs: TensorType(int64, SCALAR),
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
    host_only=True,
    doc="Keeps its input in the session; the number under which.",
)
register_op(
    "get_session_tensor",
    kernel=_take,
    infer=lambda inputs, dtype: TensorType(dtype, Shape(None)),
    gradient=NOT_DIFFERENTIABLE,
    attrs={"dtype": REQUIRED},
    stateful=True,
    host_only=True,
    doc="The tensor that the session keeps under the number inputs[0].",
)
register_op(
    "delete_session_tensor",
    kernel=_forget,
    infer=lambda inputs: [],
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
    host_only=True,
    doc="The session forgets the tensor of that number.",
)


class TensorHandle:
    """A tensor in a session; `handle` is what is fed for it."""

    def __init__(self, handle: Any, dtype: DType) -> None:
        self.handle, self.dtype = handle, dtype

    def __repr__(self) -> str:
        return f"<st.TensorHandle {int(self.handle)} dtype={self.dtype}>"


class _Kept:
    """What is fetched: a session gives a `TensorHandle` for it."""

    def __init__(self, number: Tensor, dtype: DType) -> None:
        self._number, self.dtype = number, dtype
        self.graph = number.graph

    def fetch_parts(self) -> list[Tensor]:
        """What a session computes for it."""
        return [self._number]

    def from_parts(self, number: Any) -> TensorHandle:
        """The session's value of `fetch_parts` as a handle."""
        return TensorHandle(number, self.dtype)


def get_session_handle(data: Any, name: str | None = None) -> Any:
    """Something to fetch: a run keeps `data` in the session and gives its `TensorHandle`."""
    tensor = graph_of((data,)).convert(data)
    return _Kept(apply("get_session_handle", tensor, name=name), tensor.dtype)


def get_session_tensor(
    handle: Any, dtype: Any = None, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """(a placeholder to feed a `TensorHandle.handle` to, the tensor that is kept under it). Of
    `handle`, a `TensorHandle` or None, only the dtype counts."""
    kind = as_dtype(dtype if dtype is not None else handle.dtype)
    holder = placeholder(int64, [])
    out: Tensor = apply("get_session_tensor", holder, name=name, dtype=kind)
    return holder, out


def delete_session_tensor(handle: Any = None, name: str | None = None) -> tuple[Tensor, Operation]:
    """(a placeholder to feed a `TensorHandle.handle` to, the operation that forgets its tensor)."""
    holder = placeholder(int64, [])
    op: Operation = apply("delete_session_tensor", holder, name=name)
    return holder, op
