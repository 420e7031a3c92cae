"""What the C++ model knows of the core beside its instructions, generated from `hw/tpu`: sizes."""

from __future__ import annotations

from hw.tpu import array, isa, matmul
from hw.tpu.config import ConfigError, TpuConfig
from hw.tpu.dma import fetch
from hw.tpu.registers import COUNTERS
from hw.tpu.trace import ArrayState
from hw.tpu.vector import epilogue, vector, window
from sim.cxx import formats
from sim.memory import MemoryTiming

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


def headers() -> dict[str, str]:
    """Generated headers by name: `formats.h`, and `sizes.h` with `Sizes` and what is counted."""
    lines = ["#pragma once", '#include "formats.h"', "namespace timing {"]
    lines += [formats.struct("Sizes", sizes(TpuConfig(), MemoryTiming(), 0, 0))]
    lines += [formats.enumeration("ArrayState", ArrayState)]
    lines += [f"enum Counter : int {{ {', '.join(COUNTERS)} }};"]
    lines += [f"constexpr int kCounters = {len(COUNTERS)};", "}  // namespace", ""]
    return {"formats.h": formats.header("timing"), "sizes.h": "\n".join(lines)}
