"""Reading a model: bounded, checked, external data only from where it may lie."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, numpy_helper

from sw.graph.dtypes import DType
from sw.graph.errors import ModelError
from sw.graph.onnx.skeleton import LARGE, Span, skeleton
from sw.graph.onnx.types import element_type

NARROW = {"int4": 4, "uint4": 4, "float4_e2m1fn": 4, "int2": 2, "uint2": 2}
"""Bits of the element types of which several share a byte."""


class Loaded(NamedTuple):
    """A checked model without the large data of its initialisers, which `read` gives: the source
    is the file's path or the bytes, `spans` says where in it they lie."""

    model: ModelProto
    folder: str | None
    source: Path | bytes
    spans: Mapping[int, Span]

    def read(self, index: int) -> np.ndarray[Any, Any]:
        """The array of the main graph's initialiser of that position."""
        tensor, span = self.model.graph.initializer[index], self.spans.get(index)
        if span is None:
            return initializer(tensor, self.folder)
        kind = element_type(tensor.data_type)
        _require_bytes(tensor, kind, span.size)
        if isinstance(self.source, bytes):
            raw = np.frombuffer(self.source, np.uint8, span.size, span.start)
        else:
            raw = np.fromfile(self.source, np.uint8, span.size, offset=span.start)
        if raw.size != span.size:
            raise ModelError("its file has become shorter")
        if kind.name in NARROW:
            whole = TensorProto()
            whole.CopyFrom(tensor)
            whole.raw_data = raw.tobytes()
            return numpy_helper.to_array(whole)
        return raw.view(kind.numpy.newbyteorder("<")).reshape(tuple(tensor.dims))


def load(source: Any, folder: Any = None) -> Loaded:
    """The checked model and where its data are; `folder` is that of external data (None: there may
    be none).

    Raises `ModelError` for what is no model, is truncated, or breaks the standard's rules.
    """
    spans: Mapping[int, Span] = {}
    origin: Path | bytes
    if isinstance(source, ModelProto):
        model, where, origin = source, folder, b""
    else:
        data: Any
        if isinstance(source, (bytes, bytearray, memoryview)):
            data = origin = bytes(source)
            where, what = folder, "the bytes given"
            text, spans = skeleton(data)
        else:
            origin = path = Path(source)
            where, what = folder or path.parent, str(path)
            try:
                with open(path, "rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    if size:
                        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                            text, spans = skeleton(data)
                    else:
                        text = b""
            except OSError as error:
                raise ModelError(f"{what} cannot be read: {error.strerror}") from None
        model = ModelProto()
        try:
            model.ParseFromString(text)
        except (DecodeError, RecursionError) as error:
            raise ModelError(f"{what}: not an ONNX model, or a damaged one: {error}") from None
        if not model.ir_version or not model.HasField("graph"):
            raise ModelError(f"{what}: not an ONNX model (it has no graph)")
    _check(model, spans)
    return Loaded(model, None if where is None else os.path.realpath(where), origin, spans)


def _check(model: ModelProto, spans: Mapping[int, Span]) -> None:
    if not model.opset_import and model.ir_version >= 3:
        raise ModelError("the model names no operator set")
    for imported in model.opset_import:
        if imported.domain in ("", "ai.onnx") and imported.version < 1:
            raise ModelError(f"operator set {imported.version} does not exist")
        newest = onnx.defs.onnx_opset_version()
        if imported.domain in ("", "ai.onnx") and imported.version > newest:
            raise ModelError(
                f"operator set {imported.version} is newer than {newest}, the newest that the "
                "installed onnx package knows"
            )
    try:
        onnx.checker.check_model(_without_data(model, spans))
    except onnx.checker.ValidationError as error:
        text = " ".join(str(error).split())
        raise ModelError(f"the model breaks the standard's rules: {text}") from None
    except (ValueError, RuntimeError, UnicodeDecodeError) as error:
        raise ModelError(f"the model cannot be checked: {error}") from None


def _without_data(model: ModelProto, spans: Mapping[int, Span]) -> ModelProto:
    """What the checker sees: its own test of external data needs the current folder, ours does
    not; large weights need not be copied for it; and it insists on shapes of inputs and outputs,
    which tell us nothing that we need."""
    shell, graph = ModelProto(), model.graph
    shell.ir_version = model.ir_version
    shell.opset_import.extend(model.opset_import)
    shell.functions.extend(model.functions)
    shell.graph.name = graph.name
    for field in ("node", "input", "output", "value_info", "sparse_initializer"):
        getattr(shell.graph, field).extend(getattr(graph, field))
    for index, tensor in enumerate(graph.initializer):
        large = index in spans or len(tensor.raw_data) >= LARGE
        if large or tensor.data_location == TensorProto.EXTERNAL:
            shell.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=[0])
        else:
            shell.graph.initializer.append(tensor)
    for info in (*shell.graph.input, *shell.graph.output):
        if info.type.WhichOneof("value") == "tensor_type":
            info.type.tensor_type.shape.SetInParent()
    return shell


def initializer(tensor: TensorProto, folder: str | None) -> np.ndarray[Any, Any]:
    """The array of a stored tensor; raises `ModelError` when its data are not of its shape."""
    kind = element_type(tensor.data_type)
    if any(d < 0 for d in tensor.dims):
        raise ModelError(f"shape {list(tensor.dims)} has a negative size")
    count = math.prod(tensor.dims)
    if tensor.data_location == TensorProto.EXTERNAL:
        return _external(tensor, folder, kind.numpy, count)
    if tensor.raw_data:
        _require_bytes(tensor, kind, len(tensor.raw_data))
    elif count > _stored(tensor):
        raise ModelError(f"{_stored(tensor)} numbers, shape {list(tensor.dims)} needs {count}")
    return numpy_helper.to_array(tensor)


def _require_bytes(tensor: TensorProto, kind: DType, have: int) -> None:
    need = -(-math.prod(tensor.dims) * NARROW.get(kind.name, 8 * kind.size) // 8)
    if have != need or any(d < 0 for d in tensor.dims):
        raise ModelError(f"{have} bytes of data, shape {list(tensor.dims)} of {kind} needs {need}")


def _stored(tensor: TensorProto) -> int:
    """How many elements the typed fields can hold at most."""
    packed = 4  # the narrowest type has four elements in a number
    return max(
        len(tensor.float_data),
        len(tensor.int32_data) * packed,
        len(tensor.string_data),
        len(tensor.int64_data),
        len(tensor.double_data),
        len(tensor.uint64_data),
    )


def _external(
    tensor: TensorProto, folder: str | None, kind: np.dtype[Any], count: int
) -> np.ndarray[Any, Any]:
    if folder is None:
        raise ModelError("external data, but no folder is known in which it may lie")
    entries = {e.key: e.value for e in tensor.external_data}
    location = entries.get("location", "")
    path = os.path.realpath(os.path.join(folder, location))
    if not location or os.path.commonpath([path, folder]) != folder:
        raise ModelError(f"external data {location!r} lies outside the model's folder")
    if not os.path.isfile(path):
        raise ModelError(f"external data {location!r} is not a file")
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(count * kind.itemsize)))
    except ValueError:
        raise ModelError(f"external data {location!r}: offset and length are numbers") from None
    if kind.kind == "O" or kind.itemsize * count != length:
        raise ModelError(f"external data {location!r}: {length} bytes for {count} of {kind}")
    if offset < 0 or offset + length > os.path.getsize(path):
        raise ModelError(f"external data {location!r} ends before byte {offset + length}")
    if not count:
        return np.zeros(tuple(tensor.dims), kind)
    flat = np.memmap(path, np.uint8, "r", offset, (length,))
    return np.asarray(flat).view(kind).reshape(tuple(tensor.dims))
