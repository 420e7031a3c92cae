"""Whole networks from graph to cycles: what they take on the core, and what simulating them takes.

Cycles are the timing model's, which are the RTL's (`make resnet50-rtl` shows it). The bound is a
core that never waits and reads every weight once: the larger of multiply-accumulates over peak
and weight bytes over bus width. Peers, from their papers and as measured for `core.md`:
Gemmini 16x16 on ResNet-50, 40 %, later 51 % of peak; Tensil 32x32 on ResNet-20, 751,833 cycles.
The functional simulator stands beside ONNX Runtime's int8 kernels on one thread, by process time.

`differ` is the share of ONNX Runtime's logits that are other codes. Where its optimiser fuses
every layer there are none; convolutions behind additions and concatenations it leaves in float32
(20 of the 53 of ResNet-50 with version 1.32), whose sums are not exact.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import systolica as st
from examples import networks
from hw.tpu.config import PRESETS, TpuConfig
from hw.tpu.numerics import quantize
from sim.execute import execute, load
from sim.functional import FunctionalSimulator
from sim.memory import MemoryTiming
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


@dataclass(frozen=True)
class Row:
    """A network on a core; seconds are of the process, for one image."""

    cycles: int
    bound: int
    peak: float
    compile: float
    timing: float
    functional: float
    runtime: float | None
    differing: float | None
    """Share of ONNX Runtime's outputs that differ."""


def clocked(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` gives, and the process time that it took."""
    begin = time.process_time()
    return work(), time.process_time() - begin


def onnx_runtime(graph: Any, x: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The peer's logits and seconds; None where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    model = st.export_onnx(graph.get_tensor_by_name("logits:0")).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x}
    (logits,) = session.run(None, feed)
    return logits, min(clocked(lambda: session.run(None, feed))[1] for _ in range(3))


def measure(name: str, config: TpuConfig, latency: int) -> Row:
    """One network on one core."""
    graph = networks.quantised(name)
    program, compiling = clocked(lambda: st.compile("logits:0", config, graph=graph))
    memory = MemoryTiming(latency=latency, bytes_per_cycle=config.bus_bytes)
    ran, timing = clocked(
        lambda: predict(program.instructions, config, memory, program=program.entry)
    )
    engine = FunctionalSimulator(config, program.dram_bytes)
    load(engine, program)
    x = networks.sample(networks.MODELS[name].shape, 1)
    (port,), (result,) = program.inputs, program.outputs
    codes = {port.name: quantize(x, np.float32(port.scale), port.zero_point).reshape(port.shape)}
    outputs, functional = clocked(lambda: execute(engine, program, codes)[0])
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
    return Row(
        ran.cycles or 0,
        max(program.macs // config.peak_macs_per_cycle, weights // config.bus_bytes),
        program.macs / ((ran.cycles or 1) * config.peak_macs_per_cycle),
        compiling, timing, functional,
        None if peer is None else peer[1],
        differing,
    )  # fmt: skip


def main() -> None:
    """Print a line per case."""
    print(f"{'network':<14}{'core':<9}{'cycles':>10}{'peak':>7}{'of bound':>10}{'compile':>9}"
          f"{'timing':>8}{'oracle':>8}{'ORT int8':>10}{'differ':>9}  peer")  # fmt: skip
    for name, preset, latency, peer in CASES:
        row = measure(name, PRESETS[preset], latency)
        runtime = "-" if row.runtime is None else f"{row.runtime * 1e3:.0f} ms"
        differing = "-" if row.differing is None else f"{row.differing:.2%}"
        print(
            f"{name:<14}{preset:<9}{row.cycles:10d}{row.peak:7.1%}{row.bound / row.cycles:10.1%}"
            f"{row.compile:7.1f} s{row.timing:6.1f} s{row.functional:6.1f} s{runtime:>10}"
            f"{differing:>9}  {peer}",
            flush=True,
        )


if __name__ == "__main__":
    main()
