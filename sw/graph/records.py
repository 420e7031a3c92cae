"""TFRecord files: length, checksum, bytes, checksum, again and again.

The checksums are CRC-32C (Castagnoli, RFC 3720), masked as the format asks: rotated right by 15
bits plus 0xa282ead8.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from sw.graph.errors import DataLossError


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The CRC-32C of bytes."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    """The checksum as it stands in the file."""
    value = crc32c(data)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


class TFRecordWriter:
    """Writes records to a file; a context manager."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 (closed by `close`)

    def write(self, record: bytes) -> None:
        """Append one record."""
        length = struct.pack("<Q", len(record))
        self._file.write(length + struct.pack("<I", masked(length)))
        self._file.write(record + struct.pack("<I", masked(record)))

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def __enter__(self) -> TFRecordWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()


def read_record(file: BinaryIO, path: str) -> bytes | None:
    """The next record, or None at the end. Raises `DataLossError` naming the file and the place of
    a damaged or cut record."""
    at = file.tell()
    head = file.read(12)
    if not head:
        return None
    if len(head) < 12 or struct.unpack("<I", head[8:])[0] != masked(head[:8]):
        raise DataLossError(f"{path!r}: the record at byte {at} is damaged or cut off")
    (length,) = struct.unpack("<Q", head[:8])
    body = file.read(length + 4)
    if len(body) < length + 4 or struct.unpack("<I", body[length:])[0] != masked(body[:length]):
        raise DataLossError(f"{path!r}: the record at byte {at} is damaged or cut off")
    return body[:length]


def tf_record_iterator(path: str) -> Iterator[bytes]:
    """The records of a file."""
    with open(path, "rb") as file:
        while (record := read_record(file, path)) is not None:
            yield record
