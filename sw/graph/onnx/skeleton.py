"""Large weights are left where they are: a model without them is parsed, they are read when needed.

A model of 500 MB would otherwise be in memory several times over: as the file's bytes, in the
parsed message, and as arrays. Only the path to the weights of the main graph is walked, in the
wire format of protocol buffers (its "Encoding" page): a tag is field number * 8 + wire type.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

LARGE = 1 << 12
"""Smaller data stay in the message."""
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9  # field numbers in onnx.proto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Span(NamedTuple):
    """Where the data of an initialiser lie in the file."""

    start: int
    size: int


class _MalformedError(Exception):
    """Left to the real parser, whose message is better."""


def _varint(data: Any, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise _MalformedError


def _fields(data: Any, at: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Each field's number, wire type, start, start of its value, and end."""
    while at < end:
        start = at
        tag, at = _varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        value = at
        if kind == _VARINT:
            _, at = _varint(data, at, end)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            size, value = _varint(data, at, end)
            at = value + size
        else:
            raise _MalformedError
        if at > end:
            raise _MalformedError
        yield number, kind, start, value, at


def _encoded(number: int, content: bytes) -> bytes:
    out, size = bytearray([number << 3 | _BYTES]), len(content)
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    out.append(size)
    return bytes(out) + content


def _tensor(data: Any, at: int, end: int) -> tuple[bytes, Span | None]:
    parts, span = [], None
    for number, kind, start, value, stop in _fields(data, at, end):
        if number == _RAW_DATA and kind == _BYTES and stop - value >= LARGE:
            span = Span(value, stop - value)
        else:
            parts.append(bytes(data[start:stop]))
    return b"".join(parts), span


def skeleton(data: Any) -> tuple[bytes, dict[int, Span]]:
    """The model in `data` (bytes or a map of a file) without its large initialisers' data, and
    where these lie, by the initialiser's position."""
    spans: dict[int, Span] = {}
    count = 0
    try:
        model = []
        for number, kind, start, value, stop in _fields(data, 0, len(data)):
            if number != _GRAPH or kind != _BYTES:
                model.append(bytes(data[start:stop]))
                continue
            graph = []
            for inner, form, begin, content, finish in _fields(data, value, stop):
                if inner != _INITIALIZER or form != _BYTES:
                    graph.append(bytes(data[begin:finish]))
                    continue
                tensor, span = _tensor(data, content, finish)
                if span is not None:
                    spans[count] = span
                count += 1
                graph.append(_encoded(_INITIALIZER, tensor))
            model.append(_encoded(_GRAPH, b"".join(graph)))
    except _MalformedError:
        return bytes(data), {}
    return b"".join(model), spans
