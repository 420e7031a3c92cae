"""Whole networks from graph to cycles: what they take on the core, and what simulating them takes.

Cycles are the timing model's, which are the RTL's (`make resnet50-rtl` shows it). `of bound` is the
share of a core whose busiest unit never waits: the array's multiply-accumulates over peak, weight
bytes, each read once, over bus width, or positions that the vector unit walks, one a cycle.
`by layers` lets each layer wait for the one before it: the sum of each layer's busiest unit.
Depthwise convolutions are work of the vector unit, during which the array has none.

Peers, from their papers and as measured for `core.md`: Gemmini 16x16 on ResNet-50, 40 %, later
51 % of peak; Tensil 32x32 on ResNet-20, 751,833 cycles. The functional simulator stands beside
ONNX Runtime's int8 kernels: one thread each, process time, the best of three runs after a first
one, and how many times as long.

`differ` is the share of ONNX Runtime's logits that are other codes, when it keeps int8 as it is
(`session.qdqisint8allowed`). Its seconds are those without that, which are fewer: it then turns
int8 into uint8, and leaves convolutions behind additions and concatenations in float32 (20 of the
53 of ResNet-50 with version 1.32).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

import systolica as st
from examples import networks
from hw.tpu.config import PRESETS, TpuConfig
from hw.tpu.isa import Instruction, Memory, Opcode
from hw.tpu.numerics import quantize
from sim.execute import execute, load
from sim.memory import MemoryTiming
from sim.native.simulator import NativeSimulator
from sim.timing.simulator import predict

CASES = (
    ("resnet50", "default", 30, "Gemmini 40-51 % of peak"),
    ("resnet20", "default", 30, ""),
    ("resnet20", "large", 20, "Tensil 751833 cycles"),
    ("mobilenet_v1", "default", 30, ""),
    ("inception_v1", "default", 30, ""),
    ("lstm", "default", 30, ""),
    ("encoder", "default", 30, ""),
)
UNITS = ("array", "weights", "vector")


@dataclass(frozen=True)
class Row:
    """A network on a core; seconds are of the process, for one image."""

    cycles: int
    bound: float
    by_layers: float
    peak: float
    compile: float
    timing: float
    functional: float
    runtime: float | None
    differing: float | None
    """Share of ONNX Runtime's outputs that differ."""

    bounded_by: str
    """The busiest unit: array, weights or vector unit."""


def needs_of(program: Iterable[Instruction], config: TpuConfig) -> list[dict[str, float]]:
    """Least cycles of each unit, for each layer (tag)."""
    layers: dict[int, dict[str, float]] = {}
    for i in program:
        needs = layers.setdefault(i.tag, dict.fromkeys(UNITS, 0.0))
        if i.opcode is Opcode.MATMUL:
            lanes = (i.channel_blocks - 1) * config.array + i.used_rows
            macs = i.batches * i.rows * i.columns * i.kernel_rows * i.kernel_columns * lanes
            needs["array"] += macs * i.used_columns / config.peak_macs_per_cycle
        elif i.opcode is Opcode.VECTOR:
            needs["vector"] += i.rows * i.columns * i.window_rows * i.window_columns
        elif i.opcode is Opcode.LOAD and i.memory == Memory.WEIGHTS:
            needs["weights"] += i.lines * i.rows * i.row_bytes / config.bus_bytes
    return list(layers.values())


def clocked(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` gives, and the process time that it took."""
    begin = time.process_time()
    return work(), time.process_time() - begin


def best(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` gives, and its least process time of three runs after a first one."""
    result = work()
    return result, min(clocked(work)[1] for _ in range(3))


def onnx_runtime(graph: Any, x: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The peer's logits by integer kernels alone, and its seconds with all that its optimiser
    does; None where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    model = st.export_onnx(graph.get_tensor_by_name("logits:0")).SerializeToString()
    sessions = []
    for kept in "01":
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.qdqisint8allowed", kept)
        sessions.append(onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"]))
    fast, exact = sessions
    feed = {fast.get_inputs()[0].name: x}
    _, seconds = best(lambda: fast.run(None, feed))
    (logits,) = exact.run(None, feed)
    return logits, seconds


def measure(name: str, config: TpuConfig, latency: int) -> Row:
    """One network on one core."""
    graph = networks.quantised(name)
    program, compiling = clocked(lambda: st.compile("logits:0", config, graph=graph))
    memory = MemoryTiming(latency=latency, bytes_per_cycle=config.bus_bytes)
    ran, timing = clocked(
        lambda: predict(program.instructions, config, memory, program=program.entry)
    )
    engine = NativeSimulator(config, program.dram_bytes)
    load(engine, program)
    x = networks.sample(networks.MODELS[name].shape, 1)
    (port,), (result,) = program.inputs, program.outputs
    codes = {port.name: quantize(x, np.float32(port.scale), port.zero_point).reshape(port.shape)}
    outputs, functional = best(lambda: execute(engine, program, codes)[0])
    peer = onnx_runtime(graph, x)
    differing = None
    if peer is not None:
        theirs = quantize(peer[0], np.float32(result.scale), result.zero_point)
        differing = float((outputs[result.name].ravel() != theirs.ravel()).mean())
    weights = sum(
        op.attrs["value"].size
        for op in graph.get_operations()
        if op.type == "const" and op.attrs["value"].dtype == np.int8
    )
    layers = needs_of(program.instructions, config)
    needs = {unit: sum(layer[unit] for layer in layers) for unit in UNITS}
    needs["weights"] = weights / config.bus_bytes
    busiest = max(needs, key=lambda unit: needs[unit])
    return Row(
        ran.cycles or 0,
        needs[busiest],
        sum(max(layer.values()) for layer in layers),
        program.macs / ((ran.cycles or 1) * config.peak_macs_per_cycle),
        compiling, timing, functional,
        None if peer is None else peer[1],
        differing,
        busiest,
    )  # fmt: skip


def main() -> None:
    """Print a line per case."""
    print(
        f"{'network':<14}{'core':<9}{'cycles':>10}{'peak':>7}{'of bound':>16}{'by layers':>10}"
        f"{'compile':>9}{'timing':>8}{'functional':>12}{'ORT int8':>10}{'ratio':>6}{'differ':>8}"
        "  peer"
    )
    for name, preset, latency, peer in CASES:
        row = measure(name, PRESETS[preset], latency)
        of_bound = f"{row.bound / row.cycles:.1%} {row.bounded_by}"
        runtime = ratio = differing = "-"
        if row.runtime is not None:
            runtime, ratio = _milliseconds(row.runtime), f"{row.functional / row.runtime:.1f}"
        if row.differing is not None:
            differing = f"{row.differing:.2%}"
        print(
            f"{name:<14}{preset:<9}{row.cycles:10d}{row.peak:7.1%}{of_bound:>16}"
            f"{row.by_layers / row.cycles:10.1%}{row.compile:7.1f} s{row.timing:6.1f} s"
            f"{_milliseconds(row.functional):>12}{runtime:>10}{ratio:>6}{differing:>8}  {peer}",
            flush=True,
        )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


if __name__ == "__main__":
    main()
