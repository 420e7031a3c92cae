"""ONNX's types in our terms: element types, shapes, sequences and optionals."""

from __future__ import annotations

import onnx
from onnx import TensorProto, TypeProto

from sw.graph import dtypes
from sw.graph.dtypes import DType
from sw.graph.errors import ModelError
from sw.graph.registry import TensorType
from sw.graph.shapes import SCALAR, Shape
from sw.graph.tensor import Tensor

_NAMES = {
    "FLOAT": dtypes.float32,
    "UINT8": dtypes.uint8,
    "INT8": dtypes.int8,
    "UINT16": dtypes.uint16,
    "INT16": dtypes.int16,
    "INT32": dtypes.int32,
    "INT64": dtypes.int64,
    "STRING": dtypes.string,
    "BOOL": dtypes.bool_,
    "FLOAT16": dtypes.float16,
    "DOUBLE": dtypes.float64,
    "UINT32": dtypes.uint32,
    "UINT64": dtypes.uint64,
    "BFLOAT16": dtypes.bfloat16,
    "FLOAT8E4M3FN": dtypes.float8_e4m3fn,
    "FLOAT8E4M3FNUZ": dtypes.float8_e4m3fnuz,
    "FLOAT8E5M2": dtypes.float8_e5m2,
    "FLOAT8E5M2FNUZ": dtypes.float8_e5m2fnuz,
    "FLOAT8E8M0": dtypes.float8_e8m0fnu,
    "FLOAT4E2M1": dtypes.float4_e2m1fn,
    "UINT4": dtypes.uint4,
    "INT4": dtypes.int4,
    "UINT2": dtypes.uint2,
    "INT2": dtypes.int2,
}
FROM_ONNX: dict[int, DType] = {
    TensorProto.DataType.Value(name): dtype
    for name, dtype in _NAMES.items()
    if name in TensorProto.DataType.keys()  # noqa: SIM118 (an enum wrapper, not a dict)
}
TO_ONNX = {dtype: code for code, dtype in FROM_ONNX.items()}


def element_type(code: int) -> DType:
    """Our dtype for a `TensorProto.DataType`; raises `ModelError` for those we do not have."""
    if code not in FROM_ONNX:
        names = {v: k for k, v in TensorProto.DataType.items()}
        raise ModelError(f"element type {names.get(code, code)} is not supported")
    return FROM_ONNX[code]


def is_tensor(proto: TypeProto) -> bool:
    """Whether values of this type are plain arrays."""
    return proto.WhichOneof("value") == "tensor_type"


def shape_of_proto(proto: TypeProto) -> Shape:
    """The static shape of a tensor type: symbols are unknown sizes."""
    tensor = proto.tensor_type
    if not tensor.HasField("shape"):
        return Shape(None)
    dims = []
    for dim in tensor.shape.dim:
        known = dim.HasField("dim_value") and dim.dim_value >= 0
        dims.append(int(dim.dim_value) if known else None)
    return Shape(tuple(dims))


def tensor_type(proto: TypeProto) -> TensorType:
    """dtype and shape of a value of that type."""
    kind = proto.WhichOneof("value")
    if kind == "tensor_type":
        return TensorType(element_type(proto.tensor_type.elem_type), shape_of_proto(proto))
    if kind in ("sequence_type", "optional_type"):
        return TensorType(dtypes.sequence, SCALAR)
    raise ModelError(f"values of type {kind or 'unknown'} are not supported")


def to_proto(tensor: Tensor) -> TypeProto:
    """The ONNX type of one of our tensors."""
    if tensor.dtype not in TO_ONNX:
        raise ModelError(f"ONNX has no element type {tensor.dtype}")
    dims = None if tensor.shape.dims is None else list(tensor.shape.dims)
    return onnx.helper.make_tensor_type_proto(TO_ONNX[tensor.dtype], dims)
