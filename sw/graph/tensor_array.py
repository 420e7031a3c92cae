"""`TensorArray`: a list of tensors of one dtype, for loops that write one element per turn.

It is immutable: `write` and the like return a new one that must be used instead. Its state is the
tensor `flow`, which loops and branches carry.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply
from sw.graph.dtypes import as_dtype
from sw.graph.errors import DTypeError
from sw.graph.graph import get_default_graph
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor


class TensorArray:
    """`size` elements of `dtype`. `dynamic_size`: writing past the end makes it longer;
    `clear_after_read` and `tensor_array_name` are accepted and ignored (elements are freed when
    nothing can read them). `element_shape`: the static shape of each, if known; with
    `infer_shape` it is taken from what is written first."""

    def __init__(
        self,
        dtype: Any,
        size: Any = None,
        dynamic_size: bool = False,
        clear_after_read: bool = True,
        tensor_array_name: str | None = None,
        handle: Any = None,
        flow: Tensor | None = None,
        infer_shape: bool = True,
        element_shape: Any = None,
        name: str | None = None,
    ) -> None:
        self.dtype = as_dtype(dtype)
        self.dynamic_size, self._infer = bool(dynamic_size), infer_shape
        self.element_shape = Shape(element_shape)
        if flow is None:
            flow = get_default_graph().apply(
                "tensor_array", np.int32(0) if size is None else size, name=name or "TensorArray"
            )
        self.flow: Tensor = flow

    def with_flow(self, flow: Tensor, shape: Any = None) -> TensorArray:
        """An array of the same kind over another flow."""
        known = self.element_shape if shape is None else self.element_shape.merge(shape)
        return TensorArray(
            self.dtype,
            dynamic_size=self.dynamic_size,
            flow=flow,
            infer_shape=self._infer,
            element_shape=known if self._infer else self.element_shape,
        )

    identity = with_flow

    def _convert(self, value: Any) -> Tensor:
        tensor = self.flow.graph.building().convert(value)
        if tensor.dtype is not self.dtype:
            raise DTypeError(f"a TensorArray of {self.dtype} cannot hold {tensor!r}")
        return tensor

    def write(self, index: Any, value: Any, name: str | None = None) -> TensorArray:
        """The array with `value` at `index`, which must not have been written before."""
        tensor = self._convert(value)
        flow = apply(
            "tensor_array_write",
            self.flow,
            index,
            tensor,
            name=name,
            grows=self.dynamic_size,
            once=True,
        )
        return self.with_flow(flow, tensor.shape if self._infer else None)

    def read(self, index: Any, name: str | None = None) -> Tensor:
        """The element at `index`."""
        out: Tensor = apply("tensor_array_read", self.flow, index, name=name, **self._kind())
        return out

    def stack(self, name: str | None = None) -> Tensor:
        """All elements along a new first axis."""
        out: Tensor = apply("tensor_array_stack", self.flow, name=name, **self._kind())
        return out

    def gather(self, indices: Any, name: str | None = None) -> Tensor:
        """The elements at `indices` along a new first axis."""
        out: Tensor = apply("tensor_array_gather", self.flow, indices, name=name, **self._kind())
        return out

    def concat(self, name: str | None = None) -> Tensor:
        """All elements one after the other along their first axis."""
        out: Tensor = apply("tensor_array_concat", self.flow, name=name, **self._kind())
        return out

    def unstack(self, value: Any, name: str | None = None) -> TensorArray:
        """The array of the rows of `value`."""
        tensor = self._convert(value)
        flow = apply("tensor_array_unstack", self.flow, tensor, name=name)
        return self.with_flow(flow, tensor.shape[1:])

    def scatter(self, indices: Any, value: Any, name: str | None = None) -> TensorArray:
        """The array with the rows of `value` at `indices`."""
        tensor = self._convert(value)
        how = {"grows": self.dynamic_size, "once": True}
        flow = apply("tensor_array_scatter", self.flow, indices, tensor, name=name, **how)
        return self.with_flow(flow, tensor.shape[1:])

    def split(self, value: Any, lengths: Any, name: str | None = None) -> TensorArray:
        """The array of pieces of `value` of the given lengths."""
        flow = apply("tensor_array_split", self.flow, self._convert(value), lengths, name=name)
        return self.with_flow(flow)

    def size(self, name: str | None = None) -> Tensor:
        """The number of elements."""
        out: Tensor = apply("tensor_array_size", self.flow, name=name)
        return out

    def _kind(self) -> dict[str, Any]:
        return {"dtype": self.dtype, "shape": self.element_shape}
