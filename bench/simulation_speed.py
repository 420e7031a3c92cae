"""Simulated cycles per second of the Verilated core, array busy throughout, per preset.

The yardstick is the design's target for the preset and the peers' published speeds.
"""

from __future__ import annotations

import numpy as np

from hw.tpu import isa
from hw.tpu.config import PRESETS, TpuConfig
from hw.tpu.isa import Convert, Instruction, Memory, Opcode, make
from sim.engine import RunResult
from sim.rtl.engine import RtlSimulator

TARGETS = {"default": 600_000, "large": 200_000}
"""Cycles per second that the design asks for, one thread."""
PEERS = {"default": "Gemmini 16x16 34-120 k", "large": "Tensil 32x32 61-79 k"}


def streaming_program(config: TpuConfig, rows: int, blocks: int, repeats: int) -> list[Instruction]:
    """`repeats` times [rows, blocks*N] x [blocks*N, N] from the same data, requantised."""
    n = config.array
    plain = {"column_stride": 1, "width": rows, "columns": rows, "step_x": 1}
    program = [
        make(Opcode.LOAD, rows=rows, lines=blocks, row_bytes=n, dram_row_stride=n, row_stride=1,
             dram_line_stride=rows * n, line_stride=rows, memory=Memory.SCRATCHPAD),
        make(Opcode.FENCE),
    ]  # fmt: skip
    for repeat in range(repeats):
        half = repeat % 2 * config.accumulator_rows
        program += [
            make(Opcode.LOAD, rows=n * blocks, row_bytes=n, dram_row_stride=n,
                 memory=Memory.WEIGHTS),
            make(Opcode.MATMUL, **plain, channel_blocks=blocks, channel_stride=rows,
                 accumulator=half, accumulator_column_stride=1, used_rows=n, used_columns=n,
                 signal=1, wait=2 * (repeat > 1)),
            make(Opcode.VECTOR, **plain, convert=Convert.REQUANTISE, base=half,
                 destination=config.scratchpad_rows // 2, destination_column_stride=1,
                 low=-128, high=127, wait=1, signal=2),
        ]  # fmt: skip
    return [*program, make(Opcode.HALT)]


def measure(config: TpuConfig, cycles: int = 400_000) -> RunResult:
    """One run of about `cycles` cycles on the RTL engine."""
    rows = min(256, config.accumulator_rows)
    blocks = min(16, config.scratchpad_rows // 2 // rows)
    program = streaming_program(config, rows, blocks, max(2, cycles // (rows * blocks)))
    words = np.frombuffer(isa.assemble(program), np.uint8)
    engine = RtlSimulator(config, dram_bytes=1 << 22)
    random = np.random.default_rng(0)
    engine.write(0, random.integers(0, 256, 1 << 20, dtype=np.uint8))
    engine.write(1 << 20, words)
    try:
        return engine.run(1 << 20, len(program))
    finally:
        engine.close()


def main() -> None:
    """Print a line per preset."""
    print("preset    array active   kcycle/s   of target   peers")
    for name in ("tiny", "default", "large"):
        result = measure(PRESETS[name])
        speed = result.simulated_cycles_per_second or 0.0
        active = result.counters["array_active"] / (result.cycles or 1)
        target = f"{speed / TARGETS[name]:8.0%}" if name in TARGETS else "       -"
        print(
            f"{name:<9} {active:12.1%} {speed / 1e3:10.0f}   {target}    {PEERS.get(name, '')}",
            flush=True,
        )


if __name__ == "__main__":
    main()
