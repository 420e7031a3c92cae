"""`TpuProgram`: what the compiler hands to an engine, and the `.tpu` file that holds it.

File layout, all integers little-endian: 8 bytes magic, u32 format version, u32 header size, 32
bytes SHA-256 of all that follows, the header (JSON), then the DRAM image (constants and
instructions). Loading executes nothing and trusts nothing: a damaged file is a `ProgramError`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.tpu import isa
from hw.tpu.config import ConfigError, TpuConfig

MAGIC = b"\x89TPU\r\n\x1a\n"
FORMAT_VERSION = 1
_PREFIX = struct.Struct("<8sII32s")


class ProgramError(ValueError):
    """A program file that is damaged, of another version, or for another core."""


@dataclass(frozen=True)
class Port:
    """A tensor that the host puts into or takes out of DRAM.

    A tensor of `shape` `[..., channels]` is int8 rows `[ceil(channels/N)][positions][N]` at
    `address`, or, if `dense`, `[positions][channels]` without a gap; `accumulators` ports hold
    int32 in four byte planes of rows, plane 0 first. Real values are `(q - zero_point) * scale`.
    """

    name: str
    address: int
    shape: tuple[int, ...]
    scale: float = 1.0
    zero_point: int = 0
    accumulators: bool = False
    dense: bool = False

    def positions(self) -> int:
        return prod(self.shape[:-1])

    def blocks(self, array: int) -> int:
        return -(-self.shape[-1] // array)

    def size(self, array: int) -> int:
        """Bytes in DRAM."""
        if self.dense:
            return prod(self.shape)
        planes = 4 if self.accumulators else 1
        return planes * self.blocks(array) * self.positions() * array

    def pack(self, values: NDArray[np.int8], array: int) -> NDArray[np.uint8]:
        """int8 `shape` to the bytes in DRAM; lanes beyond the channels hold the zero point."""
        if tuple(values.shape) != self.shape or values.dtype != np.int8:
            raise ValueError(
                f"port {self.name!r} takes int8 of shape {list(self.shape)}, "
                f"not {values.dtype} of shape {list(values.shape)}"
            )
        if self.dense:
            return np.ascontiguousarray(values).view(np.uint8).ravel()
        rows = np.full(
            (self.positions(), self.blocks(array) * array), self.zero_point, dtype=np.int8
        )
        rows[:, : self.shape[-1]] = values.reshape(self.positions(), -1)
        blocked = rows.reshape(self.positions(), -1, array).transpose(1, 0, 2)
        return np.ascontiguousarray(blocked).view(np.uint8).ravel()

    def unpack(self, data: NDArray[np.uint8], array: int) -> NDArray[np.int8] | NDArray[np.int32]:
        """Bytes in DRAM to int8 (or int32 for `accumulators`) of `shape`."""
        if self.dense:
            return data.view(np.int8).reshape(self.shape)
        planes = data.reshape(-1, self.blocks(array), self.positions(), array)
        rows = planes.transpose(2, 1, 3, 0).reshape(self.positions(), -1, len(planes))
        used = np.ascontiguousarray(rows[:, : self.shape[-1]])
        return used.view("<i4" if self.accumulators else np.int8).reshape(self.shape)


@dataclass(frozen=True)
class TpuProgram:
    """Instructions with the DRAM they work on, for one configuration.

    `image` is what DRAM holds from offset 0 on before the first run: constants, then the
    instructions at `entry`. `dram_bytes` covers image, inputs, outputs and spills. `tags` maps an
    instruction's tag to the name of the graph operation that it came from. `macs` counts the
    model's useful multiply-accumulates.
    """

    config: TpuConfig
    instructions: tuple[isa.Instruction, ...]
    image: NDArray[np.uint8]
    entry: int
    dram_bytes: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    tags: Mapping[int, str] = field(default_factory=dict)
    macs: int = 0

    @classmethod
    def link(
        cls,
        config: TpuConfig,
        instructions: tuple[isa.Instruction, ...],
        constants: NDArray[np.uint8],
        dram_bytes: int,
        **rest: Any,
    ) -> TpuProgram:
        """A program whose instructions are assembled behind its constants and its buffers.

        `constants` start at offset 0; buffers lie between them and `dram_bytes`.
        """
        entry = -(-dram_bytes // 4096) * 4096
        words = np.frombuffer(isa.assemble(instructions), np.uint8)
        image = np.zeros(entry + words.size, np.uint8)
        image[: constants.size] = constants
        image[entry:] = words
        return cls(config, instructions, image, entry, image.size, **rest)

    def disassemble(self) -> str:
        """A listing: number, graph operation, instruction."""
        width = max((len(name) for name in self.tags.values()), default=0)
        lines = [
            f"# config {self.config.name} ({self.config.fingerprint}), "
            f"{len(self.instructions)} instructions, {self.dram_bytes} bytes of DRAM"
        ]
        for kind, ports in (("input", self.inputs), ("output", self.outputs)):
            lines += [
                f"# {kind} {port.name}: {list(port.shape)} at {port.address:#x}, "
                f"scale {port.scale:g}, zero point {port.zero_point}"
                for port in ports
            ]
        for number, instruction in enumerate(self.instructions):
            name = self.tags.get(instruction.tag, "")
            lines.append(f"{number:6d}  {name:<{width}}  {instruction}")
        return "\n".join(lines) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a `.tpu` file; a crash leaves the old file or the new one, never half of it."""
        header = {
            "config": self.config.to_dict(),
            "isa": isa.VERSION,
            "instructions": len(self.instructions),
            "entry": self.entry,
            "dram_bytes": self.dram_bytes,
            "inputs": [dataclasses.asdict(port) for port in self.inputs],
            "outputs": [dataclasses.asdict(port) for port in self.outputs],
            "tags": {str(tag): name for tag, name in self.tags.items()},
            "macs": self.macs,
        }
        text = json.dumps(header, sort_keys=True).encode()
        body = text + self.image.tobytes()
        prefix = _PREFIX.pack(MAGIC, FORMAT_VERSION, len(text), hashlib.sha256(body).digest())
        target = Path(path)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(prefix + body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TpuProgram:
        """Read a `.tpu` file; raises `ProgramError` saying what is wrong with it."""
        return cls.from_bytes(Path(path).read_bytes(), str(path))

    @classmethod
    def from_bytes(cls, raw: bytes, name: str) -> TpuProgram:
        """A program of a file's bytes; `name` is what errors call it."""
        if len(raw) < _PREFIX.size or raw[: len(MAGIC)] != MAGIC:
            raise ProgramError(f"{name}: not a TPU program (bad magic)")
        _, version, header_size, digest = _PREFIX.unpack_from(raw)
        body = raw[_PREFIX.size :]
        if version != FORMAT_VERSION:
            raise ProgramError(
                f"{name}: file format version {version}, this software reads {FORMAT_VERSION}"
            )
        if hashlib.sha256(body).digest() != digest:
            raise ProgramError(f"{name}: checksum does not match: truncated or damaged")
        try:
            return cls._from_parts(json.loads(body[:header_size]), body[header_size:])
        except ProgramError as error:
            raise ProgramError(f"{name}: {error}") from None
        except (KeyError, TypeError, ValueError, ConfigError, isa.IsaError) as error:
            raise ProgramError(f"{name}: malformed header or program: {error!r}") from None

    @classmethod
    def _from_parts(cls, header: Mapping[str, Any], image: bytes) -> TpuProgram:
        if header["isa"] != isa.VERSION:
            raise ProgramError(f"encoded for ISA version {header['isa']}, not {isa.VERSION}")
        entry, count, size = header["entry"], header["instructions"], isa.INSTRUCTION_BYTES
        config, dram_bytes = TpuConfig.from_dict(header["config"]), header["dram_bytes"]
        for name in ("entry", "instructions", "dram_bytes", "macs"):
            if type(header[name]) is not int or header[name] < 0:
                raise ProgramError(f"{name} is {header[name]!r}, not a whole number")
        if dram_bytes > 1 << config.address_bits:
            raise ProgramError(f"{dram_bytes} bytes of DRAM are more than the core can address")
        if not 0 <= entry <= entry + count * size <= len(image) <= dram_bytes:
            raise ProgramError("instructions lie outside the DRAM image")
        return cls(
            config=config,
            instructions=tuple(
                isa.decode(image[entry + number * size : entry + (number + 1) * size])
                for number in range(count)
            ),
            image=np.frombuffer(image, np.uint8),
            entry=entry,
            dram_bytes=dram_bytes,
            inputs=tuple(_port(item, config, dram_bytes) for item in header["inputs"]),
            outputs=tuple(_port(item, config, dram_bytes) for item in header["outputs"]),
            tags={int(tag): str(name) for tag, name in header["tags"].items()},
            macs=header["macs"],
        )


def _port(values: Mapping[str, Any], config: TpuConfig, dram_bytes: int) -> Port:
    """A port of a file, every value checked."""
    port = Port(**{**values, "shape": tuple(values["shape"])})
    if not port.shape or any(type(size) is not int or size < 1 for size in port.shape):
        raise ProgramError(f"port {port.name!r} has the impossible shape {list(port.shape)}")
    wrong = [
        name
        for name, good in (
            ("name", isinstance(port.name, str)),
            ("address", type(port.address) is int and port.address >= 0),
            ("scale", type(port.scale) in (int, float) and 0 < port.scale < np.inf),
            ("zero_point", type(port.zero_point) is int and -128 <= port.zero_point <= 127),
            ("accumulators", isinstance(port.accumulators, bool)),
            ("dense", isinstance(port.dense, bool) and not (port.dense and port.accumulators)),
        )
        if not good
    ]
    if wrong:
        raise ProgramError(f"port {port.name!r}: bad {wrong[0]} {getattr(port, wrong[0])!r}")
    if port.address + port.size(config.array) > dram_bytes:
        raise ProgramError(f"port {port.name!r} lies outside the DRAM")
    return port
