"""Arrays of up to 64x64 on RTL: `make bigarrays`, minutes of building for each.

A small convolution runs on the Verilated core of each size, every register of the array included;
bytes are compared with the functional simulator and plain integers, counters with the timing model.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np

from hw.tpu.config import TpuConfig
from sim.execute import execute, load
from sim.functional import FunctionalSimulator
from sim.rtl.engine import RtlSimulator
from sim.timing.simulator import predict
from sw.compiler.tpu.compile import compile_network
from sw.compiler.tpu.layers import Activation
from sw.compiler.tpu.network import Network
from tests.compiler.tpu import reference
from tests.compiler.tpu.random_networks import input_values, make_convolution

SIZES = {
    2: "default,array=2",
    8: "default,array=8",
    64: "default,array=64,bus_bits=256,scratchpad_rows=4096",
}


def check(config: TpuConfig, stand_in: bool, seed: int = 1) -> int:
    """Cycles of a convolution on a core; AssertionError where anything differs."""
    rng = np.random.default_rng(seed)
    n = config.array
    source = Activation("x", (1, 9, 7, n + n // 2), 0.1, 5)
    layer, result = make_convolution(
        rng, "c", source, "y", 2 * n + 1, (3, 3), (1, 1), ((1, 1), (1, 1))
    )
    network = Network(("x",), (layer,), ("y",), (source, result))
    program = compile_network(network, config)
    inputs = input_values(rng, network)
    found = []
    for engine in (
        FunctionalSimulator(config, 1 << 22),
        RtlSimulator(config, 1 << 22, stand_in=stand_in),
    ):
        load(engine, program)
        found.append(execute(engine, program, inputs))
        engine.close()
    expected = reference.run(network, inputs)["y"]
    for outputs, _ in found:
        np.testing.assert_array_equal(outputs["y"], expected)
    rtl = found[1][1]
    timing = predict(program.instructions, config, program=program.entry)
    assert dict(rtl.counters) == dict(timing.counters), "timing model and RTL differ"
    return rtl.cycles or 0


def main(arguments: Sequence[str] = ()) -> int:
    """Print a line for each size; 1 if one of them fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--stand-in", action="store_true", help="the array by what it computes")
    options = parser.parse_args(arguments)
    failed = 0
    for size in options.sizes:
        begin = time.perf_counter()
        try:
            verdict = f"{check(TpuConfig.parse(SIZES[size]), options.stand_in)} cycles, all equal"
        except AssertionError as error:
            verdict, failed = f"FAILED: {error}", 1
        seconds = time.perf_counter() - begin
        print(f"{size:3d} x {size:<3d} {verdict} ({seconds:.0f} s with building)", flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
