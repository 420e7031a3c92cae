"""Readers of files: lines of text, records of fixed length, TFRecords.

There are no string tensors: a string, such as a file's name, is a uint8 vector of its UTF-8 bytes
(`encode` and `decode` convert).
"""

from __future__ import annotations

import os
import threading
import zlib
from typing import Any, BinaryIO

import numpy as np

from sw.graph.build import apply, register_op
from sw.graph.dtypes import DType, as_dtype, int64, uint8
from sw.graph.errors import InvalidArgumentError, NotFoundError
from sw.graph.graph import get_default_graph
from sw.graph.operation import Operation
from sw.graph.ops.queues import QueueBase
from sw.graph.queues import FifoQueue
from sw.graph.records import read_record
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import SCALAR, Shape
from sw.graph.state import OpState
from sw.graph.tensor import Tensor

_STRING = TensorType(uint8, Shape((None,)))


def encode(text: str | bytes) -> np.ndarray[Any, Any]:
    """Text (as UTF-8) or bytes as a uint8 vector."""
    data = text.encode() if isinstance(text, str) else text
    return np.frombuffer(data, np.uint8)


def decode(value: Any) -> str:
    """The text in a uint8 vector."""
    return bytes(np.asarray(value, np.uint8)).decode()


class _Files:
    """One reader at run time: the file that is open, and where in it."""

    def __init__(self, kind: str, sizes: tuple[int, int, int]) -> None:
        self._kind, self._sizes = kind, sizes
        self._file: BinaryIO | None = None
        self._path, self._count = "", 0
        self.records = self.units = 0
        self._lock = threading.Lock()

    def next(self, queue: FifoQueue) -> tuple[Any, Any]:
        """(key, value) of the next record; takes the next file's name from the queue at the end of
        one."""
        with self._lock:
            while True:
                if self._file is None:
                    self._open(decode(queue.dequeue(1)[0][0]))
                record = self._record()
                if record is not None:
                    self.records += 1
                    self._count += 1
                    return encode(f"{self._path}:{self._count}"), encode(record)
                self.close()
                self.units += 1

    def _open(self, path: str) -> None:
        try:
            self._file = open(path, "rb")  # noqa: SIM115 (stays open between runs)
        except OSError as error:
            raise NotFoundError(f"cannot read {path!r}: {error.strerror}") from None
        self._path, self._count = path, 0
        skip = self._sizes[1]
        if self._kind == "lines":
            for _ in range(skip):
                self._file.readline()
        else:
            self._file.seek(skip)

    def _record(self) -> bytes | None:
        file = self._file
        if file is None:
            return None
        if self._kind == "lines":
            line = file.readline()
            return line.rstrip(b"\r\n") if line else None
        if self._kind == "records":
            return read_record(file, self._path)
        if self._kind == "whole":
            return file.read() if self._count == 0 else None
        size, _, footer = self._sizes
        at = file.tell()
        data = file.read(size + footer)
        file.seek(at + min(size, len(data)))
        return data[:size] if len(data) == size + footer else None

    def close(self) -> None:
        """Close the open file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def cancel(self, why: str) -> None:
        """The session is closed."""
        self.close()

    def snapshot(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Which file is open, and where in it."""
        place = None if self._file is None else [self._path, self._count, self._file.tell()]
        return {"place": place, "records": self.records, "units": self.units}, {}

    def restore(self, data: dict[str, Any], arrays: dict[str, Any]) -> None:
        """Open the file again and go on there."""
        self.records, self.units = data["records"], data["units"]
        if data["place"] is not None:
            path, count, at = data["place"]
            self._open(path)
            assert self._file is not None
            self._file.seek(at)
            self._count = count


def _made(state: OpState, kind: str, sizes: Any, shared_name: str) -> _Files:
    files: _Files = state.container.resource(shared_name, lambda: _Files(kind, sizes))
    return files


def _read(xp: Any, state: OpState, handle: str, **attrs: Any) -> Any:
    queue: FifoQueue = state.container.resources[handle]
    return _made(state, **attrs).next(queue)


def _read_many(xp: Any, state: OpState, **attrs: Any) -> Any:
    return np.asarray(_made(state, **attrs).records, np.int64)


_ATTRS = {"kind": REQUIRED, "sizes": REQUIRED, "shared_name": REQUIRED}
register_op(
    "reader_read",
    kernel=_read,
    infer=lambda inputs, **attrs: [_STRING, _STRING],
    gradient=NOT_DIFFERENTIABLE,
    attrs=_ATTRS,
    stateful=True,
    host_only=True,
    doc="The key and the value of the next record; names of files come from the queue inputs[0].",
)
register_op(
    "reader_num_records",
    kernel=_read_many,
    infer=lambda inputs, **attrs: TensorType(int64, SCALAR),
    gradient=NOT_DIFFERENTIABLE,
    attrs=_ATTRS,
    stateful=True,
    host_only=True,
    doc="How many records were read.",
)


class ReaderBase:
    """What the readers share."""

    def __init__(self, kind: str, sizes: tuple[int, int, int], name: str | None) -> None:
        graph = get_default_graph().root
        shared = graph.unique_name(name or f"{kind}_reader")
        self._attrs = {"kind": kind, "sizes": sizes, "shared_name": shared}

    def read(self, queue: QueueBase, name: str | None = None) -> list[Tensor]:
        """(key, value), uint8 vectors, of the next record of the files named in `queue`. Running
        it raises `OutOfRangeError` when the queue is closed and the last file read."""
        out: list[Tensor] = apply("reader_read", queue.queue_ref, name=name, **self._attrs)
        return out

    def num_records_produced(self, name: str | None = None) -> Tensor:
        """How many records were read."""
        out: Tensor = get_default_graph().apply("reader_num_records", name=name, **self._attrs)
        return out


class TextLineReader(ReaderBase):
    """Lines without their end."""

    def __init__(self, skip_header_lines: int = 0, name: str | None = None) -> None:
        super().__init__("lines", (0, int(skip_header_lines or 0), 0), name)


class FixedLengthRecordReader(ReaderBase):
    """Records of `record_bytes` between a header and a footer."""

    def __init__(
        self,
        record_bytes: int,
        header_bytes: int = 0,
        footer_bytes: int = 0,
        name: str | None = None,
    ) -> None:
        if record_bytes < 1:
            raise InvalidArgumentError(f"record_bytes must be positive, not {record_bytes}")
        sizes = (int(record_bytes), int(header_bytes or 0), int(footer_bytes or 0))
        super().__init__("fixed", sizes, name)


class TFRecordReader(ReaderBase):
    """The records of TFRecord files."""

    def __init__(self, name: str | None = None, options: Any = None) -> None:
        super().__init__("records", (0, 0, 0), name)


class WholeFileReader(ReaderBase):
    """Files as one record each."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__("whole", (0, 0, 0), name)


def _decode_raw(xp: Any, data: Any, dtype: DType, little: bool) -> Any:
    if data.size % dtype.size:
        raise InvalidArgumentError(f"{data.size} bytes are no whole number of {dtype}")
    kind = dtype.numpy if little else dtype.numpy.newbyteorder(">")
    return np.frombuffer(bytes(data), kind).astype(dtype.numpy)


register_op(
    "decode_raw",
    kernel=_decode_raw,
    infer=lambda inputs, dtype, little: TensorType(dtype, Shape((None,))),
    gradient=NOT_DIFFERENTIABLE,
    attrs={"dtype": REQUIRED, "little": True},
    host_only=True,
    doc="Bytes as a vector of a dtype.",
)


def _decode_csv(xp: Any, line: Any, defaults: Any, delimiter: str) -> Any:
    fields = decode(line).split(delimiter)
    if len(fields) != len(defaults):
        raise InvalidArgumentError(f"{len(fields)} fields where {len(defaults)} are expected")
    out = []
    for at, (field, default) in enumerate(zip(fields, defaults, strict=True)):
        text = field.strip()
        if not text and default.size == 0:
            raise InvalidArgumentError(f"field {at} is empty and has no default")
        try:
            value = default.reshape(-1)[0] if not text else default.dtype.type(text)
        except ValueError:
            raise InvalidArgumentError(f"field {at}, {text!r}, is no {default.dtype}") from None
        out.append(np.asarray(value, default.dtype))
    return tuple(out) if len(out) > 1 else out[0]


register_op(
    "decode_csv",
    kernel=_decode_csv,
    infer=lambda inputs, defaults, delimiter: [
        TensorType(as_dtype(d.dtype), SCALAR) for d in defaults
    ],
    gradient=NOT_DIFFERENTIABLE,
    attrs={"defaults": REQUIRED, "delimiter": ","},
    host_only=True,
    doc="The numbers in a line of text.",
)


def decode_raw(
    bytes: Any, out_type: Any, little_endian: bool = True, name: str | None = None
) -> Tensor:
    """A uint8 vector as a vector of `out_type`."""
    kind = as_dtype(out_type)
    out: Tensor = apply("decode_raw", bytes, name=name, dtype=kind, little=bool(little_endian))
    return out


_WINDOW_BITS = {"ZLIB": 15, "GZIP": 31}  # zlib's way to name its two formats


def _decompress(xp: Any, data: Any, kind: str) -> Any:
    if not kind:
        return data
    try:
        return encode(zlib.decompress(bytes(data), _WINDOW_BITS[kind]))
    except zlib.error as error:
        raise InvalidArgumentError(f"{np.size(data)} bytes are no {kind} data: {error}") from None


register_op(
    "decode_compressed",
    kernel=_decompress,
    infer=lambda inputs, kind: _STRING,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"kind": ""},
    host_only=True,
    doc="The bytes that were compressed.",
)


def decode_compressed(bytes: Any, compression_type: str = "", name: str | None = None) -> Tensor:
    """The uint8 vector of which `bytes` is the compressed form: "ZLIB", "GZIP" or "" (none)."""
    if compression_type not in ("", *_WINDOW_BITS):
        raise InvalidArgumentError(f"compression_type {compression_type!r} is not ZLIB or GZIP")
    out: Tensor = apply("decode_compressed", bytes, name=name, kind=compression_type)
    return out


def _read_file(xp: Any, state: OpState, path: Any) -> Any:
    try:
        with open(decode(path), "rb") as file:
            return encode(file.read())
    except OSError as error:
        raise NotFoundError(f"cannot read {decode(path)!r}: {error.strerror}") from None


def _write_file(xp: Any, state: OpState, path: Any, data: Any) -> Any:
    name = decode(path)
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    with open(name, "wb") as file:
        file.write(bytes(data))
    return ()


register_op(
    "read_file",
    kernel=_read_file,
    infer=lambda inputs: _STRING,
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
    host_only=True,
    doc="The bytes of the file that is named.",
)
register_op(
    "write_file",
    kernel=_write_file,
    infer=lambda inputs: [],
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
    host_only=True,
    doc="Writes inputs[1] to the file inputs[0].",
)


def _path(filename: Any) -> Any:
    return encode(filename) if isinstance(filename, (str, bytes)) else filename


def read_file(filename: Any, name: str | None = None) -> Tensor:
    """A uint8 vector: the bytes of a file (a str, or its bytes as a uint8 vector) when it runs."""
    out: Tensor = apply("read_file", _path(filename), name=name)
    return out


def write_file(filename: Any, contents: Any, name: str | None = None) -> Operation:
    """An operation that writes the uint8 vector `contents` to a file, whose folder is made."""
    data = encode(contents) if isinstance(contents, (str, bytes)) else contents
    done: Operation = apply("write_file", _path(filename), data, name=name)
    return done


def decode_csv(
    records: Any, record_defaults: Any, field_delim: str = ",", name: str | None = None
) -> list[Tensor]:
    """The fields of one line, each a scalar of the dtype of its default (a list of one number, or
    empty: the field must be there)."""
    defaults = []
    for value in record_defaults:
        array = np.asarray(value)
        small = array.astype(np.float32) if array.dtype == np.float64 else array
        listed = isinstance(value, (list, tuple))
        defaults.append(small.astype(np.int32) if listed and small.dtype == np.int64 else small)
    out = apply("decode_csv", records, name=name, defaults=tuple(defaults), delimiter=field_delim)
    return out if isinstance(out, list) else [out]
