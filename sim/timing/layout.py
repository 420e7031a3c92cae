"""What the C++ model knows of the core, generated from `hw/tpu`: formats, enumerations, sizes.

Every instruction becomes `WORDS` int64, its fields in order from the opcode on.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

from hw.tpu import array, isa, matmul
from hw.tpu.config import ConfigError, TpuConfig
from hw.tpu.dma import fetch
from hw.tpu.isa import Format, Opcode
from hw.tpu.registers import COUNTERS, Error
from hw.tpu.trace import ArrayState
from hw.tpu.vector import epilogue, vector, window
from sim.memory import MemoryTiming

WORDS = max(len(fmt.fields) for fmt in isa.FORMATS.values())
"""int64 per instruction."""
LIMITS = {"queue_depth": 1024, "outstanding_bursts": 256, "order_depth": 4096, "vector_latency": 15}
"""The model's rings are this long."""


def sizes(config: TpuConfig, memory: MemoryTiming, dram_bytes: int, program: int) -> dict[str, int]:
    """Everything the model takes as a number, by the name of its member of `Sizes`.

    Depths that the units of `hw/tpu/dma` compute for themselves are repeated here; a test compares.
    Raises `ConfigError` for a core that is too large for the model.
    """
    beats = isa.INSTRUCTION_BITS // config.bus_bits
    chunks = max(2 * config.array // config.bus_bytes, 4)
    result = {
        "array": config.array,
        "scratchpad_rows": config.scratchpad_rows,
        "bank_rows": config.bank_rows,
        "accumulator_rows": config.accumulator_rows,
        "weight_tiles": config.weight_tiles,
        "parameter_entries": config.parameter_entries,
        "parameter_subrows": config.parameter_subrows,
        "lane_rows": config.lane_rows,
        "bus_bytes": config.bus_bytes,
        "burst_beats": config.burst_beats,
        "outstanding_bursts": config.outstanding_bursts,
        "queue_depth": config.queue_depth,
        "order_depth": max(2, config.burst_beats // 2) * config.outstanding_bursts,
        "unpacker_chunks": chunks,
        "packer_chunks": 2 * chunks,
        "write_depth": max(4 * config.burst_beats, 8),
        "write_outstanding": 2 * config.outstanding_bursts,
        "fetch_depth": max(fetch.AHEAD * beats, 2 * config.burst_beats),
        "landing": matmul.FEED_LATENCY + array.latency(config) - 1,
        "vector_latency": vector.LATENCY,
        "sum_latency": window.LATENCY,
        "epilogue_latency": epilogue.LATENCY,
        "latency": memory.latency,
        "rate": round(memory.bytes_per_cycle * 65536),
        "jitter": memory.jitter,
        "seed": memory.seed & (1 << 63) - 1,
        "dram_bytes": dram_bytes,
        "program": program,
    }
    for name, most in LIMITS.items():
        if result[name] > most:
            raise ConfigError(f"{name}={result[name]}: the timing model takes at most {most}")
    return result


def header() -> str:
    """`instructions.h`: one struct per format, one enumeration per table, `Sizes`."""
    names = sizes(TpuConfig(), MemoryTiming(), 0, 0)
    lines = ["#pragma once", "#include <cstdint>", "namespace timing {"]
    for fmt in _structs():
        lines += [f"struct {fmt.__name__} {{", *_members(fmt.fields), "};"]
    lines += ["struct Sizes {", *_members(names), "};"]
    for name, members in {
        "Opcode": Opcode,
        "Queue": isa.Queue,
        "LoadMemory": isa.Memory,
        "VectorSource": isa.Source,
        "VectorConvert": isa.Convert,
        "VectorReduce": isa.Reduce,
        "Error": Error,
        "ArrayState": ArrayState,
    }.items():
        lines += [f"enum class {name} : int64_t {{ {_enumerators(members)} }};"]
    lines += [f"enum Counter : int {{ {', '.join(COUNTERS)} }};"]
    lines += [f"constexpr int kCounters = {len(COUNTERS)}, kInstructionWords = {WORDS};"]
    lines += ["struct Layout { int count; const int8_t* bits; };  // negative: signed"]
    lines += ["inline Layout layout_of(int64_t opcode) {", "    switch (Opcode(opcode)) {"]
    for opcode, fmt in isa.FORMATS.items():
        bits = [-item.bits if item.signed else item.bits for item in fmt.fields.values()]
        lines += [
            f"        case Opcode::{opcode.name}: {{",
            f"            static const int8_t bits[] = {{{', '.join(map(str, bits))}}};",
            f"            return {{{len(bits)}, bits}};",
            "        }",
        ]
    lines += ["        default: return {0, nullptr};", "    }", "}"]
    lines += ["inline int queue_of(int64_t opcode) {", "    switch (Opcode(opcode)) {"]
    for opcode, fmt in isa.FORMATS.items():
        if fmt.queue is not None:
            lines.append(f"        case Opcode::{opcode.name}: return {int(fmt.queue)};")
    return "\n".join([*lines, "        default: return -1;", "    }", "}", "}  // namespace", ""])


def _structs() -> Iterator[type[Format]]:
    """A format of each set of fields: STORE shares LOAD's, FENCE and HALT need none."""
    yield from (isa.Load, isa.Matmul, isa.Vector)


def _members(names: dict[str, isa.Field] | dict[str, int]) -> list[str]:
    return [f"    int64_t {name};" for name in names]


def _enumerators(members: type[enum.IntEnum]) -> str:
    return ", ".join(f"{member.name} = {int(member)}" for member in members)
