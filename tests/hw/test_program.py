"""Program files: break if damage passes unseen, or if the documented layout is not the real one."""

import hashlib
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from hw.tpu import isa
from hw.tpu.config import PRESETS
from hw.tpu.isa import Opcode, make
from hw.tpu.program import MAGIC, Port, ProgramError, TpuProgram

PAGE = Path(__file__).parents[2] / "docs" / "program.md"


@pytest.fixture
def raw(tmp_path):
    """The bytes of a small file. Its image begins with blanks, which JSON does not mind: a wrong
    size of the header, which no checksum covers, must be found by other means."""
    store = make(Opcode.STORE, rows=2, row_bytes=4, base=1, address=16, tag=1)
    program = TpuProgram.link(
        PRESETS["tiny"], (store, make(Opcode.HALT)), np.frombuffer(b" \n\t ", np.uint8), 64,
        inputs=(Port("x", 0, (1, 4)),), outputs=(Port("y", 16, (2, 4), 0.5, -3),),
        tags={1: "store"}, macs=7,
    )  # fmt: skip
    program.save(tmp_path / "p.tpu")
    return (tmp_path / "p.tpu").read_bytes()


def test_round_trip(raw):
    program = TpuProgram.from_bytes(raw, "p")
    assert [str(item.opcode.name) for item in program.instructions] == ["STORE", "HALT"]
    assert (program.macs, program.tags, program.outputs[0].zero_point) == (7, {1: "store"}, -3)


def test_every_flipped_bit_is_found(raw):
    """All of them, in every part of the file: magic, version, size, checksum, header, image."""
    data = bytearray(raw)
    missed = []
    for position in range(len(data)):
        for bit in range(8):
            data[position] ^= 1 << bit
            try:
                TpuProgram.from_bytes(bytes(data), "p")
                missed.append((position, bit))
            except ProgramError:
                pass
            data[position] ^= 1 << bit
    assert not missed
    TpuProgram.from_bytes(bytes(data), "p")


def test_every_truncation_is_found(raw):
    for size in range(len(raw)):
        with pytest.raises(ProgramError):
            TpuProgram.from_bytes(raw[:size], "p")


def test_other_versions_are_refused_by_name(raw):
    with pytest.raises(ProgramError, match="p: file format version 2, this software reads 1"):
        TpuProgram.from_bytes(raw[:8] + b"\x02\0\0\0" + raw[12:], "p")


def test_the_page_tells_the_truth(raw):
    """Offsets, header keys and port keys of docs/program.md, read by it alone."""
    magic, version, size, digest = struct.unpack_from("<8sII32s", raw)
    text = PAGE.read_text()
    assert magic == MAGIC and MAGIC.hex(" ") in text
    assert f"format version, today {version}" in text
    assert digest == hashlib.sha256(raw[48:]).digest()
    header = json.loads(raw[48 : 48 + size])
    tables = re.split(r"\n## |\nA port:", text)
    keys = [set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", t, re.M))))
            for t in tables if "| key |" in t]  # fmt: skip
    assert keys == [set(header), set(header["inputs"][0])]
    image = raw[48 + size :]
    first = image[header["entry"] : header["entry"] + isa.INSTRUCTION_BYTES]
    assert isa.decode(first).opcode is Opcode.STORE and isa.INSTRUCTION_BYTES == 64
    assert header["entry"] % 4096 == 0
