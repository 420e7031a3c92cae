"""`Backend`: Systolica behind the ONNX standard's own backend interface.

`onnx.backend.test.BackendTest(Backend, __name__)` runs the standard's tests on our devices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend as Base
from onnx.backend.base import BackendRep, Device, DeviceType

from sw.graph.onnx.importer import import_onnx
from sw.graph.tensor import Tensor
from sw.runtime.session import Session


class Prepared(BackendRep):
    """A model ready to run: inputs in the model's order, or by name."""

    def __init__(self, model: Any, device: str | None = None) -> None:
        self._model = model if isinstance(model, onnx.ModelProto) else onnx.load(model)
        self.graph = import_onnx(model, device=device)
        self.session = Session(graph=self.graph)

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs, in the model's order: arrays, lists of them for sequences, None for an
        optional that holds nothing."""
        fetches = list(self.graph.outputs.values())
        values = self.session.run(fetches, self._feeds(inputs))
        types = [v.type for v in self._model.graph.output]
        pairs = zip(values, types, fetches, strict=True)
        return tuple(_public(v, t, f.dtype.numpy) for v, t, f in pairs)

    def _feeds(self, inputs: Any) -> dict[Tensor, Any]:
        named, types = self.graph.inputs, {v.name: v.type for v in self._model.graph.input}
        if not isinstance(inputs, Mapping):
            given = inputs if isinstance(inputs, (list, tuple)) else [inputs]
            inputs = dict(zip(named, given, strict=False))
        return {named[name]: _private(value, types[name]) for name, value in inputs.items()}


def _private(value: Any, proto: onnx.TypeProto) -> Any:
    """An input as our kernels know it: sequences are tuples, optionals tuples of one or none."""
    kind = proto.WhichOneof("value")
    if kind == "optional_type":
        return () if value is None else (_private(value, proto.optional_type.elem_type),)
    if kind == "sequence_type":
        return tuple(_private(v, proto.sequence_type.elem_type) for v in value)
    return np.asarray(value)


def _public(value: Any, proto: onnx.TypeProto, dtype: Any = None) -> Any:
    """An output as the standard's tests know it: the inverse of `_private`."""
    kind = proto.WhichOneof("value")
    if kind == "optional_type":
        return _public(value[0], proto.optional_type.elem_type) if value else None
    if kind == "sequence_type":
        return [_public(v, proto.sequence_type.elem_type) for v in value]
    return np.asarray(value, dtype)


class Backend(Base):
    """See the module. The device "CPU" is `/cpu:0`."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether `prepare` takes the model."""
        try:
            import_onnx(model)
        except ValueError:
            return False
        return cls.supports_device(device)

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Prepared:
        """The model ready to run; raises `ModelError` for what is not supported."""
        return Prepared(model)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """The outputs of one node for arrays."""
        arrays = [np.asarray(v) for v in inputs]
        names = [n for n in node.input if n]
        helper = onnx.helper
        infos = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in zip(names, arrays, strict=True)
        ]
        outputs = [helper.make_value_info(n, onnx.TypeProto()) for n in node.output]
        graph = helper.make_graph([node], "node", infos, outputs)
        version = kwargs.get("opset_version", onnx.defs.onnx_opset_version())
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, version)])
        inferred = onnx.shape_inference.infer_shapes(model)
        return cls.prepare(inferred, device).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether a device of that name is ours."""
        return Device(device).type == DeviceType.CPU
