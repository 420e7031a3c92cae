"""Simulated cycles per second of the Verilated core, array busy throughout, per size.

Twice each: with every register of the array, and with the array's stand-in, which computes the
same (docs/decisions/0009); in both, idle parts are not evaluated (0011). The yardstick is the
design's target and the peers' published speeds. Seconds are of this process's CPU, one thread, the
best of some runs, so that a busy machine changes little.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

import numpy as np

from hw.tpu import isa
from hw.tpu.config import PRESETS, TpuConfig
from hw.tpu.isa import Convert, Instruction, Memory, Opcode, make
from sim.rtl import toolchain
from sim.rtl.engine import RtlSimulator

RUNS = 3


@dataclass(frozen=True)
class Speed:
    """`target` in thousand cycles per second of CPU time."""

    name: str
    config: TpuConfig
    target: float
    peer: str


SPEEDS = (
    Speed("8x8", TpuConfig.parse("default,array=8"), 1500, "Tensil ~400 k, NVDLA nv_small ~80 k"),
    Speed("default", PRESETS["default"], 600, "Gemmini 34-120 k"),
    Speed("large", PRESETS["large"], 200, "Tensil 61-79 k"),
)


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


class Workload:
    """A core that streams: each run is the same program, of about `cycles` cycles."""

    def __init__(self, config: TpuConfig, stand_in: bool, cycles: int = 400_000) -> None:
        rows = min(256, config.accumulator_rows)
        blocks = min(16, config.scratchpad_rows // 2 // rows)
        program = streaming_program(config, rows, blocks, max(2, cycles // (rows * blocks)))
        self._length = len(program)
        self.engine = RtlSimulator(config, dram_bytes=1 << 22, stand_in=stand_in)
        random = np.random.default_rng(0)
        self.engine.write(0, random.integers(0, 256, 1 << 20, dtype=np.uint8))
        self.engine.write(1 << 20, np.frombuffer(isa.assemble(program), np.uint8))

    def run(self) -> int:
        """Cycles of one run."""
        return self.engine.run(1 << 20, self._length).cycles or 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()


def speed(config: TpuConfig, stand_in: bool) -> float:
    """Thousand cycles per second of CPU time."""
    best = 0.0
    with Workload(config, stand_in) as work:
        for _ in range(RUNS):
            begin = time.process_time()
            cycles = work.run()
            best = max(best, cycles / (time.process_time() - begin) / 1e3)
    return best


def main() -> None:
    """Print a line per size."""
    print(f"compiler: {toolchain.require(toolchain.compiler()).version}")
    print("kcycle/s   all registers   stand-in   of target   peers")
    for item in SPEEDS:
        pure, fast = (speed(item.config, stand_in) for stand_in in (False, True))
        print(
            f"{item.name:<9}{pure:15.0f}{fast:11.0f}{fast / item.target:12.0%}   {item.peer}",
            flush=True,
        )


if __name__ == "__main__":
    main()
