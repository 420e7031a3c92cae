"""The instruction set: one description that hardware, simulators, compiler and documents read.

An instruction is 512 bits, little-endian in DRAM, the same for every `TpuConfig`. Each format is
one class whose `field`s, in order from bit 0, are the decoder's type (`Format.layout`), the
assembler's table (`encode`) and the reference page (`docs/isa.md`).

**Order.** Four queues (load, matmul, vector, store) work concurrently, each starting and
completing its instructions in program order. A start may overlap the completion of the
instruction before it *in the same queue*. Semaphores order everything else: an instruction starts
once every semaphore of its `wait` mask is above zero, taking one from each; on completion it adds
one to every semaphore of its `signal` mask. A program's meaning is its execution one instruction
after the other; its semaphores must make the concurrent execution equal to that, at any memory
latency. MATMULs need no semaphore among themselves (they share one in-order pipeline), nor do
LOADs (rows are written in program order).
Sequential execution must never wait: a `wait` that no earlier instruction has signalled is an
error. Weight tiles are the one stream that flows through back-pressure alone.

**Addresses** on chip are row numbers; strides are modulo 2**20, so that a negative stride is its
two's complement. DRAM addresses are offsets from the host-set base.

Illegal words (unknown opcode, a reserved bit set, a zero count) and reserved but unbuilt
operations stop the core with an error that names the instruction.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import signed
from amaranth.lib import data

VERSION = 1
"""Version of this encoding; part of every program's header and of the core's registers."""
INSTRUCTION_BITS = 512
INSTRUCTION_BYTES = INSTRUCTION_BITS // 8
SEMAPHORES = 16
SEMAPHORE_MAX = 255
ROW_BITS = 20
"""Bits of an on-chip row address or stride."""
ROW_SPAN = 1 << ROW_BITS


class Opcode(enum.IntEnum):
    """ASCII letters: readable in a hex dump, and neither all zeros nor all ones."""

    LOAD = 0x4C
    MATMUL = 0x4D
    VECTOR = 0x56
    STORE = 0x53
    FENCE = 0x46
    HALT = 0x48
    SET = 0x43  # reserved


class Queue(enum.IntEnum):
    LOAD = 0
    MATMUL = 1
    VECTOR = 2
    STORE = 3


class Memory(enum.IntEnum):
    """Where LOAD puts its rows."""

    SCRATCHPAD = 0
    WEIGHTS = 1
    PARAMETERS = 2
    LANES = 3


class Source(enum.IntEnum):
    """What VECTOR reads."""

    ACCUMULATORS = 0
    SCRATCHPAD = 1


class Convert(enum.IntEnum):
    """How VECTOR turns what it read into int8."""

    NONE = 0  # scratchpad rows are int8 already
    REQUANTISE = 1  # add bias, scale, round half even, add zero point, saturate
    BYTE = 2  # add nothing; take byte number `byte` of each int32 (exact dumps of accumulators)


class Reduce(enum.IntEnum):
    """How VECTOR combines the positions of a window."""

    NONE = 0
    MAX = 1
    SUM = 2  # int32 sum of int8 rows, converted when complete: average pooling
    MULTIPLY_ACCUMULATE = 3  # the same of products with per-lane weights: depthwise convolution


class IsaError(ValueError):
    """An instruction that cannot be encoded or decoded; names the field and the value."""


@dataclass(frozen=True)
class Field:
    """`bits` wide, unsigned unless `signed`; `least` is the smallest legal value."""

    bits: int
    doc: str
    signed: bool = False
    least: int | None = None
    choices: type[enum.IntEnum] | None = None
    reserved: bool = False
    """Defined, but this version's hardware traps when it is not zero."""
    name: str = ""

    def __set_name__(self, owner: type, name: str) -> None:
        object.__setattr__(self, "name", name)

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest legal value."""
        if self.choices is not None:
            return min(self.choices), max(self.choices)
        low = -(1 << self.bits - 1) if self.signed else 0
        high = (1 << self.bits - int(self.signed)) - 1
        return (low if self.least is None else self.least), high


def _row(doc: str) -> Field:
    return Field(ROW_BITS, doc)


def _count(bits: int, doc: str) -> Field:
    return Field(bits, doc, least=1)


def _coordinate(doc: str) -> Field:
    return Field(16, doc, signed=True)


class Format:
    """Base of every instruction format: the header that all share."""

    opcode = Field(8, "operation", choices=Opcode)
    wait = Field(SEMAPHORES, "mask of semaphores to take one from before starting")
    signal = Field(SEMAPHORES, "mask of semaphores to add one to on completion")
    tag = Field(16, "graph operation, for traces; carried, never interpreted")

    code: Opcode
    queue: Queue | None
    fields: dict[str, Field]
    layout: data.StructLayout
    """The decoder's type: every field in order, padded to 512 bits by `zero`."""

    def __init_subclass__(cls, code: Opcode, queue: Queue | None) -> None:
        cls.code, cls.queue = code, queue
        cls.fields = {
            name: item
            for base in reversed(cls.__mro__)
            for name, item in vars(base).items()
            if isinstance(item, Field)
        }
        used = sum(item.bits for item in cls.fields.values())
        if used >= INSTRUCTION_BITS:
            raise IsaError(f"{code.name}: {used} bits of fields do not fit {INSTRUCTION_BITS}")
        cls.layout = data.StructLayout(
            {
                name: signed(item.bits) if item.signed else item.bits
                for name, item in cls.fields.items()
            }
            | {"zero": INSTRUCTION_BITS - used}
        )


class Load(Format, code=Opcode.LOAD, queue=Queue.LOAD):
    """Move `lines` x `rows` on-chip rows between DRAM and the chip.

    Row (l, r) is `row_bytes` bytes at DRAM `address + l*dram_line_stride + r*dram_row_stride`, and
    lanes `lane` ... `lane + row_bytes - 1` of on-chip row `base + l*line_stride + r*row_stride`.
    LOAD writes `fill` to the other lanes if `fill_others`, and leaves them as they are otherwise.
    Into WEIGHTS, rows are appended to the weight FIFO (`array` rows are a tile, row i multiplying
    lane i of the data; `base` and the on-chip strides are unused). Into PARAMETERS, rows are
    sub-rows: entry e is sub-rows 8e ... 8e+7, byte planes 0-3 of the lanes' int32 biases, then
    byte planes 0-3 of their float32 scales. LANES is the vector unit's lane memory.
    """

    address = Field(40, "DRAM byte offset of the first row")
    dram_row_stride = Field(32, "bytes from row to row, modulo 2**32", signed=True)
    dram_line_stride = Field(32, "bytes from line to line, modulo 2**32", signed=True)
    rows = _count(16, "rows in a line")
    lines = _count(16, "lines")
    row_bytes = _count(9, "bytes in a row, at most `array - lane`")
    lane = Field(8, "first lane")
    base = _row("first on-chip row")
    row_stride = _row("on-chip rows from row to row")
    line_stride = _row("on-chip rows from line to line")
    memory = Field(2, "which memory (STORE: scratchpad only)", choices=Memory)
    fill_others = Field(1, "LOAD: write `fill` to the lanes not loaded")
    fill = Field(8, "LOAD: value of the lanes not loaded", signed=True)


class Store(Load, code=Opcode.STORE, queue=Queue.STORE):
    """Move scratchpad rows to DRAM: the fields of LOAD, in the other direction."""


class Matmul(Format, code=Opcode.MATMUL, queue=Queue.MATMUL):
    """Stream rows through the array, once for each weight tile.

    Passes run over (channel block c, kernel row ky, kernel column kx), c outermost; each takes the
    next tile of the weight FIFO (`keep`: the first pass reuses the tile in the array, an error if
    this program took none). A pass streams rows over (batch b, output row y, output column x),
    b outermost. The row's image position is `(top + y*step_y + ky*dilation_y, left + x*step_x +
    kx*dilation_x)`. Inside
    `[0, height) x [0, width)` the scratchpad row read is `source + c*channel_stride +
    ky*kernel_row_stride + kx*kernel_column_stride + b*batch_stride + y*row_stride +
    x*column_stride`; outside, every lane reads `pad`. Its product with the tile goes to accumulator
    row `accumulator + b*accumulator_batch_stride + y*accumulator_row_stride +
    x*accumulator_column_stride`: the first pass overwrites unless `accumulate`, later passes add,
    modulo 2**32. The two accumulator banks are the two halves of the row range.
    """

    source = _row("scratchpad row of position (0, 0, 0) of pass (0, 0, 0)")
    batches = _count(16, "images")
    rows = _count(16, "output rows")
    columns = _count(16, "output columns")
    batch_stride = _row("scratchpad rows from image to image")
    row_stride = _row("scratchpad rows from output row to output row")
    column_stride = _row("scratchpad rows from output column to output column")
    channel_blocks = _count(16, "channel blocks")
    kernel_rows = _count(8, "kernel rows")
    kernel_columns = _count(8, "kernel columns")
    channel_stride = _row("scratchpad rows from channel block to channel block")
    kernel_row_stride = _row("scratchpad rows from kernel row to kernel row")
    kernel_column_stride = _row("scratchpad rows from kernel column to kernel column")
    height = _count(16, "image rows")
    width = _count(16, "image columns")
    top = _coordinate("image row of output row 0 under kernel row 0")
    left = _coordinate("image column of output column 0 under kernel column 0")
    step_y = Field(8, "image rows from output row to output row")
    step_x = Field(8, "image columns from output column to output column")
    dilation_y = Field(8, "image rows from kernel row to kernel row")
    dilation_x = Field(8, "image columns from kernel column to kernel column")
    accumulator = Field(16, "accumulator row of position (0, 0, 0)")
    accumulator_batch_stride = Field(16, "accumulator rows from image to image, modulo 2**16")
    accumulator_row_stride = Field(16, "accumulator rows from output row to output row")
    accumulator_column_stride = Field(16, "accumulator rows from output column to output column")
    used_rows = _count(9, "array rows in use in the last channel block; for counting useful MACs")
    used_columns = _count(9, "array columns in use; for counting useful MACs")
    pad = Field(8, "what positions outside the image read: the input's zero point", signed=True)
    accumulate = Field(1, "add to the accumulators in the first pass, too")
    keep = Field(1, "the first pass reuses the tile in the array")


class Vector(Format, code=Opcode.VECTOR, queue=Queue.VECTOR):
    """Convert, pool and write rows.

    For each output position (y, x), row-major, and each window position (wy, wx): the image
    position is `(top + y*step_y + wy, left + x*step_x + wx)`; inside `[0, height) x [0, width)` the
    row `base + y*row_stride + x*column_stride + wy*window_row_stride + wx*window_column_stride` of
    `source` is read. NONE and MAX convert each row to int8 and take the greatest of the window;
    positions outside are skipped (an empty window gives -128). SUM adds int8 rows, positions
    outside reading as `pad`, and converts the int32 sum; MULTIPLY_ACCUMULATE first multiplies each
    row, lane by lane, with row `weights + wy*window_columns + wx` of the lane memory. The result
    passes through add and table, is clamped to `[low, high]` and written to scratchpad row
    `destination + y*destination_row_stride + x*destination_column_stride`.

    REQUANTISE computes `clamp8(zero_point + rne(fl32(fl32(sum + bias) * scale)))` with entry
    `parameters` of the parameter memory. ACCUMULATORS need a conversion, sums take REQUANTISE,
    other reductions of SCRATCHPAD rows take none.

    `add`: with v the int8 result and s the int8 row `second + y*second_row_stride +
    x*second_column_stride` of the scratchpad, the result becomes `clamp8(rne(round24(
    round24(offset + s*b) + v*a) / 2**32))`, v and s changing places if `swap`; round24 rounds
    half-even to 24 significant bits, sums are modulo 2**48. The 16 bytes of lanes 0 and 1 of entry
    `second_parameters` are a (36 bits) in 40, b (36 bits) in 40, and offset (signed 48 bits).
    This is ONNX Runtime's QLinearAdd: see `numerics.add_constants`.

    `table`: the result v of each lane becomes its byte of lane memory row `256*table_number + v +
    128`.
    """

    source = Field(1, "where rows are read", choices=Source)
    convert = Field(2, "conversion to int8", choices=Convert)
    byte = Field(2, "byte number for BYTE")
    reduce = Field(2, "reduction over the window", choices=Reduce)
    add = Field(1, "add a second operand")
    table = Field(1, "map through a table")
    base = _row("source row of position (0, 0)")
    rows = _count(16, "output rows")
    columns = _count(16, "output columns")
    row_stride = _row("source rows from output row to output row")
    column_stride = _row("source rows from output column to output column")
    window_rows = _count(8, "window rows")
    window_columns = _count(8, "window columns")
    window_row_stride = _row("source rows from window row to window row")
    window_column_stride = _row("source rows from window column to window column")
    height = _count(16, "image rows")
    width = _count(16, "image columns")
    top = _coordinate("image row of output row 0")
    left = _coordinate("image column of output column 0")
    step_y = Field(8, "image rows from output row to output row")
    step_x = Field(8, "image columns from output column to output column")
    destination = _row("scratchpad row of output (0, 0)")
    destination_row_stride = _row("scratchpad rows from output row to output row")
    destination_column_stride = _row("scratchpad rows from output column to output column")
    second = _row("scratchpad row of the second operand of output (0, 0)")
    second_row_stride = _row("its stride from output row to output row")
    second_column_stride = _row("its stride from output column to output column")
    parameters = Field(12, "parameter entry of bias and scale")
    second_parameters = Field(12, "parameter entry of the add's constants")
    zero_point = Field(8, "added by REQUANTISE", signed=True)
    low = Field(8, "least result", signed=True)
    high = Field(8, "greatest result", signed=True)
    pad = Field(8, "sums: what positions outside the image read", signed=True)
    weights = Field(12, "lane memory row of the weights of window position (0, 0)")
    table_number = Field(4, "which 256 rows of the lane memory are the table")
    swap = Field(1, "the second operand is the operator's first")


class Fence(Format, code=Opcode.FENCE, queue=None):
    """Dispatch nothing more until every queue is empty and idle. `wait`, `signal` must be 0."""


class Halt(Format, code=Opcode.HALT, queue=None):
    """End of the program: once every queue is empty and idle, done. `wait`, `signal` must be 0."""


FORMATS: dict[Opcode, type[Format]] = {
    fmt.code: fmt for fmt in (Load, Matmul, Vector, Store, Fence, Halt)
}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its opcode and the value of every field but `opcode` (absent: 0)."""

    opcode: Opcode
    values: Mapping[str, int]

    def __getattr__(self, name: str) -> int:
        if name in FORMATS[self.opcode].fields:
            return self.values.get(name, 0)
        raise AttributeError(f"{self.opcode.name} has no field {name!r}")

    @property
    def queue(self) -> Queue | None:
        return FORMATS[self.opcode].queue

    def __str__(self) -> str:
        return disassemble(self)


def make(opcode: Opcode, **values: int) -> Instruction:
    """A checked instruction; fields left out are their least legal value (0, or 1 for counts).

    Raises `IsaError` naming the field and the value that does not fit.
    """
    fields = FORMATS[opcode].fields
    if unknown := sorted(set(values) - set(fields)):
        raise IsaError(f"{opcode.name} has no field {unknown[0]!r}; it has {', '.join(fields)}")
    full = {
        name: int(values.get(name, max(0, item.range[0]) if item.least else 0))
        for name, item in fields.items()
        if name != "opcode"
    }
    instruction = Instruction(opcode, full)
    check(instruction)
    return instruction


def check(instruction: Instruction) -> None:
    """Raises `IsaError` for a value outside its field or a combination without a meaning."""
    opcode, values = instruction.opcode, instruction.values
    for name, item in FORMATS[opcode].fields.items():
        if name == "opcode":
            continue
        low, high = item.range
        if not low <= values.get(name, 0) <= high:
            raise IsaError(
                f"{opcode.name}.{name} = {values.get(name, 0)}: must be from {low} to {high}"
            )
    for violated, why in rules(opcode, instruction):
        if violated:
            raise IsaError(f"{opcode.name}: {why}")


def rules(opcode: Opcode, i: Any) -> Iterable[tuple[Any, str]]:
    """The rules that join fields, each as (violated, message).

    `i` has the fields as attributes: an `Instruction`, or the decoder's view of a word, which is
    why the conditions are written with operators that both understand.
    """
    if opcode is Opcode.STORE:
        yield i.memory != Memory.SCRATCHPAD, "STORE reads only the scratchpad"
    if opcode is Opcode.VECTOR:
        sums = i.reduce >= Reduce.SUM
        needs = (i.source == Source.ACCUMULATORS) | sums
        yield (
            needs == (i.convert == Convert.NONE),
            "accumulators and sums need a conversion, other scratchpad rows take none",
        )
        yield (
            sums & ((i.source != Source.SCRATCHPAD) | (i.convert != Convert.REQUANTISE)),
            "sums are of scratchpad rows and take REQUANTISE",
        )
        windowed = (i.window_rows != 1) | (i.window_columns != 1)
        yield windowed & (i.reduce == Reduce.NONE), "a window needs a reduction"
    if opcode in (Opcode.FENCE, Opcode.HALT):
        yield (i.wait != 0) | (i.signal != 0), "takes no semaphores"


def unbuilt_rules(opcode: Opcode, i: Any) -> Iterable[tuple[Any, str]]:
    """What this version's hardware traps on, each as (wanted, message); `i` as in `rules`."""
    for name, item in FORMATS[opcode].fields.items():
        if item.reserved:
            yield getattr(i, name) != 0, f"{opcode.name}.{name} is reserved for a later core"


def unbuilt(instruction: Instruction) -> str | None:
    """Why this version's hardware traps on a well-formed instruction, or None."""
    for wanted, why in unbuilt_rules(instruction.opcode, instruction):
        if wanted:
            return why
    return None


def _packing(fmt: type[Format]) -> list[tuple[str, int, int]]:
    """(name, shift, mask) of every field; the assembler's inner table."""
    table, shift = [], 0
    for name, item in fmt.fields.items():
        table.append((name, shift, (1 << item.bits) - 1))
        shift += item.bits
    return table


_PACKING = {opcode: _packing(fmt) for opcode, fmt in FORMATS.items()}


def encode(instruction: Instruction) -> bytes:
    """The 64 bytes of a checked instruction."""
    word, values = int(instruction.opcode), instruction.values
    for name, shift, mask in _PACKING[instruction.opcode][1:]:
        word |= (values.get(name, 0) & mask) << shift
    return word.to_bytes(INSTRUCTION_BYTES, "little")


def assemble(program: Iterable[Instruction]) -> bytes:
    """Every instruction checked and encoded; `IsaError` names the position of a bad one."""
    words = []
    for position, instruction in enumerate(program):
        try:
            check(instruction)
        except IsaError as error:
            raise IsaError(f"instruction {position}: {error}") from None
        words.append(encode(instruction))
    return b"".join(words)


def decode(word: bytes) -> Instruction:
    """Inverse of `encode`; raises `IsaError` for a word that is no legal instruction."""
    if len(word) != INSTRUCTION_BYTES:
        raise IsaError(f"an instruction has {INSTRUCTION_BYTES} bytes, not {len(word)}")
    number = int.from_bytes(word, "little")
    try:
        opcode = Opcode(number & 0xFF)
        fmt = FORMATS[opcode]
    except (ValueError, KeyError):
        raise IsaError(f"illegal opcode {number & 0xFF:#04x}") from None
    values, end = {}, 0
    for name, shift, mask in _PACKING[opcode]:
        value = number >> shift & mask
        if fmt.fields[name].signed and value > mask >> 1:
            value -= mask + 1
        values[name] = value
        end = shift + mask.bit_length()
    if number >> end:
        raise IsaError(f"{opcode.name}: reserved bits {number >> end << end:#x} are set")
    del values["opcode"]
    instruction = Instruction(opcode, values)
    check(instruction)
    return instruction


def disassemble(instruction: Instruction) -> str:
    """One line: mnemonic, every field that differs from its default, semaphores by number.

    >>> print(disassemble(make(Opcode.LOAD, wait=5, rows=3, row_bytes=16)))
    LOAD rows=3 row_bytes=16 wait=[0,2]
    """
    parts = [instruction.opcode.name]
    for name, item in FORMATS[instruction.opcode].fields.items():
        value = instruction.values.get(name, 0)
        if name in ("opcode", "wait", "signal", "tag") or value == (item.least or 0):
            continue
        if item.choices is not None:
            shown = item.choices(value).name
        elif item.bits == ROW_BITS and value >= ROW_SPAN >> 1:
            shown = str(value - ROW_SPAN)
        else:
            shown = str(value)
        parts.append(f"{name}={shown}")
    for name in ("wait", "signal"):
        if mask := instruction.values.get(name, 0):
            numbers = ",".join(str(bit) for bit in range(SEMAPHORES) if mask >> bit & 1)
            parts.append(f"{name}=[{numbers}]")
    return " ".join(parts)


def reference() -> str:
    """The reference page, Markdown."""
    lines = [
        "# Instruction set",
        "",
        "Generated from `hw/tpu/isa.py` by `make docs`; do not edit.",
        "",
        f"Version {VERSION}. " + (__doc__ or "").split("\n", 2)[2].strip(),
    ]
    for opcode, fmt in FORMATS.items():
        queue = f"{fmt.queue.name.lower()} queue" if fmt.queue is not None else "dispatcher"
        lines += ["", f"## {opcode.name} (`{int(opcode):#04x}`, {queue})", ""]
        lines += [line.removeprefix("    ") for line in (fmt.__doc__ or "").strip().splitlines()]
        lines += ["", "| bits | field | legal values | meaning |", "| --- | --- | --- | --- |"]
        for (name, shift, _), item in zip(_PACKING[opcode], fmt.fields.values(), strict=True):
            if item.choices is None:
                legal = f"{item.range[0]} to {item.range[1]}"
            elif name == "opcode":
                legal = f"{int(opcode):#04x}"
            else:
                legal = ", ".join(f"{choice.value} {choice.name}" for choice in item.choices)
            meaning = item.doc + (" (reserved: traps if not 0)" if item.reserved else "")
            lines.append(f"| {shift + item.bits - 1}:{shift} | `{name}` | {legal} | {meaning} |")
    return "\n".join(lines) + "\n"
