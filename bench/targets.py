"""Every throughput target of the core's design: bound, peer, ours, and whether it holds.

Cycles come from the timing model, which equals the RTL; `on RTL` lines run samples on both and say
so. For a target that does not hold, every lost cycle is given by cause. Memory: one bus word a
cycle and 30 cycles of latency unless said otherwise. `python -m bench targets` prints the table;
`python -m bench.targets --rtl` also runs all of ResNet-50 on the Verilated core.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench import networks, tpu_v1
from bench.accounting import Account, Measured, heading, measure, row, together
from bench.simulation_speed import SPEEDS, speed
from hw.tpu.config import PRESETS, TpuConfig
from sim.execute import execute, load
from sim.memory import MemoryTiming
from sim.rtl.engine import RtlSimulator
from sim.timing.simulator import predict
from sw.compiler.tpu.network import Network

LATENCY = 30
SLOW = "`python -m bench simulation_profile` shares the CPU time of a cycle out"


@dataclass(frozen=True)
class Row:
    """A line of the table. `why` accounts for what is lost, where the target does not hold."""

    what: str
    target: str
    bound: str
    peer: str
    ours: str
    holds: bool
    why: str = ""


def memory(config: TpuConfig, latency: int = LATENCY) -> MemoryTiming:
    """One bus word a cycle."""
    return MemoryTiming(latency=latency, bytes_per_cycle=config.bus_bytes)


def convolution(
    name: str, height: int, width: int, cin: int, cout: int, kernel: int, stride: int, padding: int
) -> Network:
    """One layer as a network."""
    sizes = (height, width, cin, cout, kernel, stride, padding)
    return networks.single(networks.Line(name, "conv", "x", "", *sizes))


def on_rtl(item: Measured) -> str:
    """Run on the RTL what was measured; says whether the timing model's counters are its own."""
    engine = RtlSimulator(
        item.config, 1 << (item.program.dram_bytes - 1).bit_length(), memory=item.memory
    )
    try:
        load(engine, item.program)
        _, result = execute(engine, item.program, networks.inputs(item.network))
    finally:
        engine.close()
    differing = [
        f"{name} {value} not {item.result.counters[name]}"
        for name, value in result.counters.items()
        if value != item.result.counters[name]
    ]
    speed = (result.simulated_cycles_per_second or 0.0) / 1e3
    same = ", ".join(differing) or f"all {len(result.counters)} counters equal"
    return f"on RTL: {result.cycles} cycles, {same} ({speed:.0f} kcycle/s)"


# --- the rows ------------------------------------------------------------------------------------


def big_matmul() -> Iterator[Row | str]:
    """512x512 by 512x512."""
    config = PRESETS["default"]
    item = measure(convolution("matmul", 1, 512, 512, 512, 1, 1, 0), config, memory(config))
    active = item.total.active
    yield Row(
        "512x512x512 matmul, DRAM to DRAM, default", "active >= 97 %", "100 %",
        "SCALE-Sim 91.8 %", f"{active:.2%}", active >= 0.97, item.total.sentence(),
    )  # fmt: skip
    yield on_rtl(item)


def resnet50(on_core: bool) -> Iterator[Row | str]:
    """The whole network in one program, and its layers."""
    config = PRESETS["default"]
    network = networks.build(networks.table("resnet50"))
    item = measure(network, config, memory(config))
    begin = time.process_time()
    predict(item.program.instructions, config, item.memory, program=item.program.entry)
    seconds = time.process_time() - begin
    yield Row(
        "ResNet-50, batch 1, default", "useful >= 90 %, <= 17.7 M cycles",
        f"{item.total.useful / 1e6:.2f} M", "SCALE-Sim 74.6 %, Gemmini 40 to 51 %",
        f"{item.total.share:.1%}, {item.cycles / 1e6:.2f} M", item.total.share >= 0.9,
        item.total.sentence(),
    )  # fmt: skip
    yield heading()
    for layer in (*item.layers, item.total):
        yield row(layer)
    yield Row(
        "ResNet-50 on the timing model", "< 5 s", "-", "SCALE-Sim 2,304 s",
        f"{seconds:.1f} s of CPU", seconds < 5,
    )  # fmt: skip
    if on_core:
        yield on_rtl(item)


def resnet20() -> Iterator[Row | str]:
    """CIFAR-10 on the 32x32 core, and what latency costs it."""
    config = PRESETS["large"]
    for name, peer in (("resnet20", "-"), ("resnet20v2", "Tensil 751,833 (9 %)")):
        network = networks.build(networks.table(name))
        item = measure(network, config, memory(config, 20))
        yield Row(
            f"{name}, large, latency 20", "<= 110 k cycles", f"{item.total.useful / 1e3:.1f} k",
            peer, f"{item.cycles / 1e3:.1f} k ({item.total.share:.0%})", item.cycles <= 110_000,
            item.total.sentence(),
        )  # fmt: skip
        yield on_rtl(item)
        near, far = (measure(network, config, memory(config, n)) for n in (1, 60))
        slower = far.cycles / near.cycles - 1
        yield Row(
            f"{name}, latency 1 to 60", "< 3 % slower", "0 %", "Tensil +60 %", f"{slower:+.2%}",
            slower < 0.03,
            f"{near.cycles} cycles become {far.cycles}: " + _grown(near.total, far.total),
        )  # fmt: skip


def _grown(near: Account, far: Account) -> str:
    """What a longer latency adds, by cause."""
    grown = {name: far.lost[name] - near.lost[name] for name in far.lost}
    return ", ".join(f"{name} {value:+.0f}" for name, value in grown.items() if value)


def small_array() -> Iterator[Row | str]:
    """NVDLA's bench on as many multipliers."""
    config = TpuConfig.parse("default,array=8")
    item = measure(convolution("conv", 7, 17, 128, 32, 3, 1, 1), config, memory(config))
    active = item.total.active
    yield Row(
        "3x3x128 to 32, 7x17, 8x8 array", "active >= 95 %", "100 %", "NVDLA nv_small 89.0 %",
        f"{active:.2%}", active >= 0.95, item.total.sentence(),
    )  # fmt: skip
    yield on_rtl(item)


def first_layer() -> Iterator[Row | str]:
    """ResNet-50's, with three channels."""
    config = PRESETS["default"]
    item = measure(convolution("conv1", 224, 224, 3, 64, 7, 2, 3), config, memory(config))
    share = item.total.share
    yield Row(
        "first layer: 7x7, stride 2, 3 channels", "useful >= 70 %", "91.9 % (147 of 160 lanes)",
        "-", f"{share:.1%}", share >= 0.7, item.total.sentence(),
    )  # fmt: skip
    yield on_rtl(item)


def mobilenet() -> Iterator[Row | str]:
    """Each class of layers, one by one from DRAM to DRAM, against the unit that bounds it."""
    config = PRESETS["default"]
    lines = networks.table("mobilenet_v1")
    alone = [
        (line, count, measure(networks.single(line), config, memory(config)).total)
        for line, count in networks.distinct(lines)
    ]
    for name in ("conv1", "depthwise", "pointwise", "pool", "fc"):
        mine = [item for item in alone if item[0].name.startswith(name)]
        account = together(name, [total for _, count, total in mine for _ in range(count)])
        bound = sum(_bound(line, config) * count for line, count, _ in mine)
        share = bound / account.cycles
        yield Row(
            f"MobileNet v1, {name}", ">= 40 % of its bound", f"{bound / 1e3:.0f} k cycles", "-",
            f"{share:.0%}, {account.cycles / 1e3:.0f} k", share >= 0.4, account.sentence(),
        )  # fmt: skip
    whole = measure(networks.build(lines), config, memory(config))
    yield f"the whole network: {whole.cycles} cycles, lost: {whole.total.sentence()}"


def _bound(line: networks.Line, config: TpuConfig) -> float:
    """Cycles of the busiest unit: array, vector unit (a position and tap a cycle) or memory."""
    height, width = line.sides
    n, positions = config.array, height * width
    each = {"conv": line.cin, "depthwise": 1}.get(line.op, 0)
    weights = line.kernel**2 * line.cout * each
    reads = (weights + line.height * line.width * line.cin) / config.bus_bytes
    if line.op == "conv":
        return max(line.macs / n**2, reads)
    return max(positions * line.kernel**2 * -(-line.cin // n), reads)


def fully_connected() -> Iterator[Row | str]:
    """Batch 1: every weight is read once."""
    config = PRESETS["default"]
    for name, widths in (
        ("2048 to 1000", (2048, 1000)),
        ("1024 to 1024 to 1024 to 1024", (1024, 1024, 1024, 1024)),
    ):
        lines = [
            networks.Line(f"fc{i}", "conv", f"fc{i - 1}" if i else "x", "", 1, 1, a, b, 1, 1, 0)
            for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False))
        ]
        item = measure(networks.build(lines), config, memory(config))
        bound = sum(line.cin * line.cout for line in lines) / config.bus_bytes
        over = item.cycles / bound - 1
        yield Row(
            f"batch-1 fully connected, {name}", "<= 5 % over memory", f"{bound:.0f} cycles", "-",
            f"{over:+.2%}, {item.cycles} cycles", over <= 0.05,
            f"{item.result.counters['dram_read_beats']} beats read, weights have {bound:.0f}",
        )  # fmt: skip


def workloads() -> Iterator[Row | str]:
    """Table 3 of Jouppi et al. 2017."""
    yield tpu_v1.ASSUMED
    for name in tpu_v1.WORKLOADS:
        work = tpu_v1.WORKLOADS[name]
        item = tpu_v1.run(name)
        off = 100 * item.total.active - work.active
        yield Row(
            f"TPU v1 {name}", "active within 3 points", "-", f"{work.active:.1f} %",
            f"{item.total.active:.1%} ({off:+.1f})", abs(off) <= 3, work.why,
        )  # fmt: skip
        yield f"    {item.total.sentence()}"


def verilated() -> Iterator[Row | str]:
    """Cycles per second of CPU time, one thread."""
    for item in SPEEDS:
        pure, fast = (speed(item.config, stand_in) for stand_in in (False, True))
        yield Row(
            f"Verilated {item.name}", f">= {item.target:.0f} kcycle/s", "-", item.peer,
            f"{fast:.0f} kcycle/s with the array's stand-in, {pure:.0f} without",
            fast >= item.target, SLOW,
        )  # fmt: skip


def main(arguments: Sequence[str] = ()) -> None:
    """Print the table, row by row as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rtl", action="store_true", help="all of ResNet-50 on RTL, too")
    parser.add_argument("--only", default="", help="only rows of this function, such as resnet50")
    options = parser.parse_args(arguments)
    rows: dict[str, Callable[[], Iterator[Row | str]]] = {
        "big_matmul": big_matmul,
        "resnet50": lambda: resnet50(options.rtl),
        "resnet20": resnet20,
        "small_array": small_array,
        "first_layer": first_layer,
        "mobilenet": mobilenet,
        "fully_connected": fully_connected,
        "workloads": workloads,
        "verilated": verilated,
    }
    if options.only and options.only not in rows:
        parser.error(f"--only {options.only}: there are {', '.join(rows)}")
    total = held = 0
    for name, measured in rows.items():
        if options.only and options.only != name:
            continue
        for item in measured():
            if isinstance(item, str):
                print(f"    {item}", flush=True)
                continue
            total, held = total + 1, held + item.holds
            mark = "holds" if item.holds else "DOES NOT HOLD"
            print(
                f"{item.what:<44} {mark}: {item.ours}; target {item.target}; "
                f"bound {item.bound}; peer {item.peer}",
                flush=True,
            )
            if item.why and not item.holds:
                print(f"    why: {item.why}", flush=True)
    print(f"{held} of {total} targets hold")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
