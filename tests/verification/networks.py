"""Whole networks on the Verilated core, byte for byte: `python -m tests.verification.networks`.

Each is quantised, compiled to one program, and run on RTL, oracle and timing model; the integer
meaning of its graph is computed apart. Exit status 1 if a byte or a cycle differs.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import systolica as st
from examples import networks
from hw.tpu.config import TpuConfig
from hw.tpu.numerics import quantize
from sim.execute import execute, load
from sim.functional import FunctionalSimulator
from sim.memory import MemoryTiming
from sim.rtl.engine import RtlSimulator
from sim.timing.simulator import predict
from tests.compiler.integer_reference import evaluate


def check(name: str, config: TpuConfig, seed: int, latency: int) -> bool:
    """Run one network everywhere and print what was found."""
    made = networks.quantised(name, seed)
    program = st.compile("logits:0", config, graph=made)
    x = networks.sample(networks.MODELS[name].shape, seed + 1)
    (port,), (result,) = program.inputs, program.outputs
    codes = {port.name: quantize(x, np.float32(port.scale), port.zero_point).reshape(port.shape)}
    memory = MemoryTiming(latency=latency, bytes_per_cycle=config.bus_bytes)
    (meant,) = evaluate(made, {"x:0": x}, ["logits:0"])
    wanted = quantize(meant, np.float32(result.scale), result.zero_point).ravel()
    predicted = predict(program.instructions, config, memory, program=program.entry).cycles
    dram = 1 << (program.dram_bytes - 1).bit_length()
    right = True
    for engine in (FunctionalSimulator(config, dram), RtlSimulator(config, dram, memory=memory)):
        load(engine, program)
        begin = time.perf_counter()
        outputs, run = execute(engine, program, codes)
        seconds = time.perf_counter() - begin
        engine.close()
        differing = int((outputs[result.name].ravel() != wanted).sum())
        text = f"{name} on {engine.name}: {wanted.size - differing} of {wanted.size} bytes right"
        right &= not differing
        if run.cycles is not None:
            share = program.macs / (run.cycles * config.peak_macs_per_cycle)
            text += f", {run.cycles} cycles (timing model {predicted}), {share:.1%} of peak"
            text += f", {run.cycles / seconds / 1e3:.0f} kcycle/s"
            right &= run.cycles == predicted
        print(f"{text}, {seconds:.1f} s", flush=True)
    return right


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["resnet20"], help="networks (resnet20)")
    parser.add_argument("--config", default="default", help="core (default)")
    parser.add_argument("--latency", type=int, default=30, help="read latency in cycles (30)")
    parser.add_argument("--seed", type=int, default=2016)
    given = parser.parse_args()
    if unknown := sorted(set(given.names) - set(networks.MODELS)):
        parser.error(f"no network {unknown[0]!r}; there are {', '.join(networks.MODELS)}")
    config = TpuConfig.parse(given.config)
    found = [check(name, config, given.seed, given.latency) for name in given.names]
    return 0 if all(found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
