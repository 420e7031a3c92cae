"""`Node`: one ONNX node while it is imported, and the tools to make our ops of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TypeProto, numpy_helper

from sw.graph.dtypes import DType, sequence
from sw.graph.errors import ModelError
from sw.graph.graph import Graph
from sw.graph.onnx import types
from sw.graph.onnx.evaluate import MOST_ELEMENTS, static
from sw.graph.onnx.registry import KERNELS
from sw.graph.onnx.value import Stored, Value
from sw.graph.registry import TensorType
from sw.graph.tensor import Tensor

AXES = {"axes", "axis", "batch_axis", "batch_dims", "perm", "time_axis"}
MOST_AXES = 64
_BAD = re.compile(r"[^A-Za-z0-9_./>-]")


def clean(name: str) -> str:
    """An ONNX name as a name of our graphs."""
    out = _BAD.sub("_", name).strip("/").lstrip("_-/")
    return out or "unnamed"


def attribute_value(attribute: AttributeProto) -> Any:
    """The attribute as Python data: text as str, lists as tuples, tensors as arrays."""
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.type == AttributeProto.STRING:
        return value.decode(errors="surrogateescape")
    if attribute.type == AttributeProto.STRINGS:
        return tuple(v.decode(errors="surrogateescape") for v in value)
    if attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS):
        return tuple(value)
    if attribute.type == AttributeProto.TENSOR:
        return numpy_helper.to_array(value)
    if attribute.type == AttributeProto.TENSORS:
        return tuple(numpy_helper.to_array(v) for v in value)
    return value


class Import(Protocol):
    """What a node asks of the import that it is part of."""

    known: dict[Tensor, Any]
    """Values that are known already."""
    for_tpu: bool

    def infer(
        self, proto: NodeProto, named: Mapping[str, TypeProto], data: Mapping[str, Any]
    ) -> dict[str, TypeProto]:
        """Types of a node's outputs by the standard's inference, as far as it goes."""

    def subgraph(
        self, graph: Graph, proto: GraphProto, outer: Any, given: Mapping[str, Value]
    ) -> list[Value]:
        """The outputs of a branch's or loop's body, its nodes made in `graph`."""


class Node:
    """See the module. `graph` is where its ops are made; `version` is that of its operator set."""

    def __init__(
        self,
        importer: Import,
        graph: Graph,
        proto: NodeProto,
        inputs: list[Value | None],
        version: int,
        scope: Any,
    ) -> None:
        self.importer, self.graph, self.proto, self.scope = importer, graph, proto, scope
        self.inputs = inputs
        self.version = version
        self.attrs = {a.name: attribute_value(a) for a in proto.attribute}
        self.name = clean(proto.name or f"{proto.op_type}_{''.join(proto.output[:1])}")
        self.outputs = len(proto.output)
        for name in AXES & set(self.attrs):
            if any(abs(a) > MOST_AXES for a in np.ravel(self.attrs[name]).tolist()):
                raise ModelError(f"{name} {self.attrs[name]} is outside every shape")
        if self.attr("batch_dims", 0) < 0:  # the onnx package's type inference crashes on it
            raise ModelError(f"batch_dims {self.attr('batch_dims')} is negative")

    # --- what it is given ----------------------------------------------------------------------

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        return self.attrs.get(name, default)

    def __len__(self) -> int:
        return len(self.inputs)

    def has(self, index: int) -> bool:
        """Whether the input is given (trailing and optional ones may be left out)."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int) -> Value:
        """An input that must be given."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise ModelError(f"input {index} is missing")
        return value

    def x(self, index: int = 0) -> Tensor:
        """An input's tensor in ONNX's order."""
        return self.value(index).plain(self.graph)

    def static(self, tensor: Tensor) -> Any:
        """The array that a tensor always has, or None."""
        return static(tensor, self.importer.known)

    def const(self, index: int) -> np.ndarray[Any, Any] | None:
        """The array of a constant input, None if it is not constant (or missing)."""
        if not self.has(index):
            return None
        value = self.value(index)
        if value.last or value.shifted:
            return None
        found: np.ndarray[Any, Any] | None
        found = value.array() if isinstance(value, Stored) else self.static(value.tensor)
        if found is not None and found.size > MOST_ELEMENTS and not any(found.strides):
            return None  # one element repeated: work on it would make the array
        return found

    def ints(self, name: str, index: int) -> tuple[int, ...] | None:
        """A list that older versions have as an attribute and newer ones as an input: None when
        it is not given. Raises `DynamicInputError` when it is known only at run time."""
        if name in self.attrs:
            given = self.attrs[name]
            return tuple(given) if isinstance(given, tuple) else (int(given),)
        if not self.has(index):
            return None
        found = self.const(index)
        if found is None:
            raise DynamicInputError(f"input {index} ({name}) is not constant")
        return tuple(int(v) for v in np.ravel(found))

    @property
    def last(self) -> bool:
        """Whether any input is held with the channels last."""
        return any(v is not None and v.last for v in self.inputs)

    # --- what it makes -------------------------------------------------------------------------

    def main(self, op_type: str, *inputs: Any, **attrs: Any) -> Any:
        """The op that stands for the node and bears its name."""
        return self.graph.apply(op_type, *inputs, name=f"{self.name}/", **attrs)

    def make(self, op_type: str, *inputs: Any, **attrs: Any) -> Any:
        """Another op, named within the node."""
        return self.graph.apply(op_type, *inputs, name=f"{self.name}/{op_type}/", **attrs)

    def constant(self, value: Any, dtype: DType | None = None) -> Tensor:
        """A constant."""
        return self.graph.convert(np.asarray(value), dtype, name=f"{self.name}/const/")

    def to(self, tensor: Tensor, dtype: DType) -> Tensor:
        """`tensor` as another dtype."""
        if tensor.dtype is dtype:
            return tensor
        out: Tensor = self.make("cast", tensor, dtype=dtype)
        return out

    # --- the operator's own op -----------------------------------------------------------------

    def generic(self, **more: Any) -> Any:
        """The operator's own kernel as an op, with its inputs as they are. `more` replaces
        attributes. Raises `ModelError` when there is none, or for an attribute that it does not
        know."""
        domain = "" if self.proto.domain == "ai.onnx" else self.proto.domain
        found = KERNELS.get((domain, self.proto.op_type))
        if found is None:
            raise ModelError("this form of the operator is not supported")
        given = {**self.attrs, **more}
        unknown = sorted(set(given) - found.attrs)
        if unknown:
            raise ModelError(f"attribute {unknown[0]!r} is not supported")
        protos = self.output_types()
        present = tuple(v is not None for v in self.inputs)
        tensors = [v.plain(self.graph) for v in self.inputs if v is not None]
        # a type is what the outputs are said to be anyway
        attrs = {k: _plain(v) for k, v in given.items() if not isinstance(v, TypeProto)}
        outputs = self.main(
            found.op_type,
            *tensors,
            types=tuple(types.tensor_type(p) for p in protos),
            present=present,
            opset=self.version,
            **attrs,
        )
        outputs = outputs if isinstance(outputs, list) else [outputs]
        return [
            Value(t, type=p if t.dtype is sequence else None)
            for t, p in zip(outputs, protos, strict=True)
        ]

    def input_type(self, index: int) -> TypeProto:
        """The ONNX type of an input."""
        value = self.value(index)
        return value.type if value.type is not None else types.to_proto(value.plain(self.graph))

    def output_types(self) -> list[TypeProto]:
        """The outputs' types by the standard's own inference."""
        proto = NodeProto()
        proto.CopyFrom(self.proto)
        named: dict[str, TypeProto] = {}
        data: dict[str, onnx.TensorProto] = {}
        for index, value in enumerate(self.inputs):
            if value is None:
                continue
            name = f"i{index}"
            proto.input[index] = name
            named[name] = self.input_type(index)
            if value.type is None and (array := self.const(index)) is not None:
                if array.dtype != np.object_ and array.size <= min(1024, MOST_ELEMENTS):
                    data[name] = numpy_helper.from_array(np.asarray(array), name)
        for index, output in enumerate(self.proto.output):
            proto.output[index] = f"o{index}" if output else ""
        found = self.importer.infer(proto, named, data)
        out = []
        for index, output in enumerate(self.proto.output):
            known = found.get(f"o{index}") if output else None
            if known is None or not known.WhichOneof("value"):
                known = self._declared(index)
            out.append(known)
        return out

    def _declared(self, index: int) -> TypeProto:
        declared = self.scope.declared(self.proto.output[index])
        if declared is not None:
            return declared
        if self.inputs and self.inputs[0] is not None:  # most outputs are of the first input's type
            first = self.input_type(0)
            if types.is_tensor(first):
                return onnx.helper.make_tensor_type_proto(first.tensor_type.elem_type, None)
        raise ModelError(f"the type of output {index} is not known")

    def result(self, index: int = 0) -> TensorType:
        """dtype and shape of an output by the standard's own inference."""
        return types.tensor_type(self.output_types()[index])


class DynamicInputError(Exception):
    """An input that must be constant for our own ops is not."""


def _plain(value: Any) -> Any:
    if isinstance(value, onnx.GraphProto):
        raise ModelError("an attribute of that kind is not supported here")
    return value
