"""`make networks-int8`: the nine real architectures, quantised, on the TPU device.

Each gets seeded random weights, is quantised by `st.quantize` on random images, and runs on another
image. The reference is ONNX Runtime, which runs the model that `st.export_onnx` writes, with its
own fusion into integer kernels (session option `session.qdqisint8allowed`: without it x86 computes
parts in float32). What ONNX Runtime still computes in float32 is printed as its float kernels.

Three comparisons, code by code: the logits of the whole network; every quantised tensor on the way
to them; and every quantised tensor again with both sides given equal inputs to each layer, so that
a difference cannot hide or grow behind another. The bar of each: 99.9 % equal, none off by more
than one.

python -m tests.conformance.networks_int8 squeezenet --json networks.json
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto
from rich.console import Console

import systolica as st
from sw.compiler.qdq import not_quantised
from sw.compiler.tpu.steps import NetworkStep
from sw.graph.tensor import Tensor
from sw.runtime.devices.tpu import TpuExecutable
from tests.conformance.networks import NAMES, randomised

EQUAL, MOST = 0.999, 1
"""The bar: share of equal codes, greatest difference."""
CALIBRATION = 2
"""Random images that give the ranges; another one is run."""
FLOAT_KERNELS = ("Conv", "FusedConv", "MatMul", "Gemm", "FusedMatMul", "FusedGemm")
"""ONNX Runtime's linear kernels that are no integer ones."""

Values = list[NDArray[Any]]


@dataclass(frozen=True)
class Compared:
    """`size` codes of which `differing` differ, by `greatest` at most."""

    size: int
    differing: int
    greatest: int

    @property
    def passed(self) -> bool:
        """Whether the bar is reached."""
        return self.differing <= (1 - EQUAL) * self.size and self.greatest <= MOST

    def __str__(self) -> str:
        return f"{self.differing} of {self.size}" + (f" (by {self.greatest})" * (self.greatest > 0))


@dataclass(frozen=True)
class Figures:
    """What is found of one network; the README of the columns is docs/onnx.md."""

    name: str
    logits: Compared
    tensors: Compared
    layers: Compared
    worst_layers: dict[str, str]
    distinct: int
    entropy: float
    float_kernels: dict[str, int]
    kernels: dict[str, int]
    programs: int
    crossings: int
    on_tpu: int
    on_cpu: dict[str, str]
    compile_seconds: float
    functional_seconds: float
    onnxruntime_seconds: float
    cycles: int | None
    utilisation: float | None
    macs: int
    peak_mib: int

    @property
    def passed(self) -> bool:
        """Whether all three comparisons reach the bar, with no linear kernel in float32."""
        same = self.logits.passed and self.tensors.passed and self.layers.passed
        return same and not self.float_kernels


def compare(ours: Values, theirs: Values) -> Compared:
    """Codes against codes."""
    size = differing = greatest = 0
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype, (a.shape, b.shape, a.dtype, b.dtype)
        apart = np.abs(a.astype(np.int64) - b.astype(np.int64))
        size += a.size
        differing += int(np.count_nonzero(apart))
        greatest = max(greatest, int(apart.max(initial=0)))
    return Compared(size, differing, greatest)


def by_integer_kernels(
    model: ModelProto, feeds: dict[str, Any]
) -> tuple[Values, Counter[str], float]:
    """ONNX Runtime's outputs, the kernels that it chose, and seconds of a second run."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    with TemporaryDirectory() as folder:
        chosen = Path(folder) / "chosen.onnx"
        options.optimized_model_filepath = str(chosen)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        kernels = Counter(node.op_type for node in onnx.load(chosen).graph.node)
    session.run(None, feeds)
    start = time.perf_counter()
    found: Values = session.run(None, feeds)
    return found, kernels, time.perf_counter() - start


def apart(graph: st.Graph) -> tuple[st.Graph, list[Tensor], list[Tensor]]:
    """The graph cut at every quantised tensor: the tensors as outputs, and the placeholders from
    which whatever reads them takes their values instead."""
    cut, made = st.Graph(), {}
    ends, fed = [], []
    for op in graph.get_operations():
        copy = cut.copy_op(op, tuple(made[tensor] for tensor in op.inputs))
        made.update(zip(op.outputs, copy.outputs, strict=True))
        if op.type == "quantize_linear":
            (codes,) = copy.outputs
            ends.append(codes)
            fed.append(
                cut.apply(
                    "placeholder", dtype=codes.dtype, shape=codes.shape, name=f"{op.name}/fed"
                )
            )
            made[op.outputs[0]] = fed[-1]
    return cut, ends, fed


def spread(codes: NDArray[np.int8]) -> tuple[int, float]:
    """Distinct codes and their entropy in bits: a dead or saturated tensor has little of both."""
    _, counts = np.unique(codes, return_counts=True)
    share = counts / counts.sum()
    return len(counts), float(-(share * np.log2(share)).sum())


def quantised(name: str, seed: int) -> tuple[st.Graph, str, str, NDArray[np.float32]]:
    """The int8 graph of a network with random weights, the names of its image and of its logits,
    and an image on which it was not calibrated."""
    model = randomised(name, seed)
    graph = st.import_onnx(model)
    ((_, image),) = graph.inputs.items()
    logits = list(graph.outputs.values())[-1]
    random = np.random.default_rng(seed)
    shape = image.shape.sizes()
    images = random.standard_normal((CALIBRATION + 1, *shape), np.float32)
    with st.Session(graph=graph):
        made = st.quantize(logits, [{image: x} for x in images[1:]])
    return made, image.name, logits.name, images[0]


def on_cpu(graph: st.Graph) -> dict[str, str]:
    """What the CPU does of a quantised graph, by name, with the reasons."""
    kinds = {op.name: op for op in graph.get_operations() if not op.device and op.inputs}
    found = {name: f"{op.type}: the TPU has no {op.type}" for name, op in kinds.items()}
    return found | {item.name: f"{item.op}: {item.reason}" for item in not_quantised(graph)}


def _steps(session: st.Session) -> list[NetworkStep]:
    """The programs of a session's last run."""
    executables = [
        executable
        for prepared in session._plans.values()
        for executable in prepared.executor.executables
        if isinstance(executable, TpuExecutable)
    ]
    lowered = [item for executable in executables for item in executable.lowered.values()]
    return [step for item in lowered for step in item.steps if isinstance(step, NetworkStep)]


def measure(name: str, seed: int = 1, timing: bool = True) -> Figures:
    """Everything about one network."""
    graph, image, logits, x = quantised(name, seed)
    with st.Session(graph=graph) as session:
        start = time.perf_counter()
        plain = session.run(logits, {image: x})
        first = time.perf_counter() - start
        steps = _steps(session)
        total = st.run_report(session).total()
        assert total is not None
        functional = total.seconds
        macs = total.macs
    codes = [op.outputs[0] for op in graph.get_operations() if op.type == "quantize_linear"]
    names = [tensor.name for tensor in codes]
    with st.Session(graph=graph) as session:
        ours = session.run(names, {image: x})

    end = graph.get_tensor_by_name(logits)
    while end.op.type in ("reshape", "squeeze"):
        end = end.op.inputs[0]
    assert end.op.type == "dequantize_linear", f"{name}: its logits are {end.op.type}, not int8"
    scale, zero = (float(t.op.attrs["value"]) for t in end.op.inputs[1:3])

    def steps_of(values: NDArray[np.float32]) -> NDArray[np.int64]:
        return np.rint(values.astype(np.float64) / scale + zero).astype(np.int64)

    whole = st.export_onnx([logits], graph=graph)
    (theirs,), kernels, seconds = by_integer_kernels(whole, {whole.graph.input[0].name: x})
    everything = st.export_onnx(names, graph=graph)
    outputs, _, _ = by_integer_kernels(everything, {everything.graph.input[0].name: x})
    cut, ends, fed = apart(graph)
    parts = st.export_onnx(ends, graph=cut)
    given = {tensor.op.name: value for tensor, value in zip(fed, ours, strict=True)}
    feeds = {item.name: given.get(item.name, x) for item in parts.graph.input}
    alone, own, _ = by_integer_kernels(parts, feeds)

    differing = {}
    for tensor, a, b in zip(codes, ours, alone, strict=True):
        found = compare([a], [b])
        if found.differing:
            differing[tensor.name] = f"{tensor.op.inputs[0].op.type}: {found}"
    spreads = [spread(value) for value in ours]
    cycles = utilisation = None
    if timing:
        with st.Session(graph=graph, config=st.SessionConfig(tpu="timing")) as session:
            again = session.run(logits, {image: x})
            total = st.run_report(session).total()
            assert total is not None and np.array_equal(again, plain)
            cycles, utilisation = total.cycles, total.utilisation
    layers = [op for step in steps for op in step.ops]
    return Figures(
        name,
        compare([steps_of(plain)], [steps_of(theirs)]),
        compare(ours, outputs),
        compare(ours, alone),
        differing,
        min(count for count, _ in spreads),
        min(bits for _, bits in spreads),
        {k: n for k, n in (kernels | own).items() if k in FLOAT_KERNELS},
        dict(kernels),
        len(steps),
        sum(len(step.inputs) + len(step.results) for step in steps),
        len(layers),
        on_cpu(graph),
        first - functional,
        functional,
        seconds,
        cycles,
        utilisation,
        macs,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )


def describe(figures: Figures) -> str:
    """What a person wants to know of one network."""
    reasons = Counter(figures.on_cpu.values())
    on_cpu = "".join(f"\n    {count} x {reason}" for reason, count in reasons.items())
    apart = "".join(f"\n    {name}, {what}" for name, what in figures.worst_layers.items())
    speed = ""
    if figures.cycles is not None and figures.utilisation is not None:
        speed = f"{figures.cycles:,} cycles ({figures.utilisation:.1%} of peak), "
    floats = ", ".join(f"{n} {kind}" for kind, n in figures.float_kernels.items()) or "none"
    return f"""{figures.name}: {"passed" if figures.passed else "FAILED"}
  differing from ONNX Runtime: logits {figures.logits}; all int8 tensors {figures.tensors}; \
each layer from equal inputs {figures.layers}{apart}
  least spread of a tensor: {figures.distinct} codes, {figures.entropy:.1f} bits; \
float32 linear kernels of ONNX Runtime: {floats}
  {figures.programs} programs, {figures.crossings} tensors across their borders, \
{figures.on_tpu} layers on the TPU, {len(figures.on_cpu)} ops on the CPU{on_cpu}
  {speed}{figures.macs / 1e9:.2f} GMAC, lowered and compiled in {figures.compile_seconds:.1f} s, \
functional {figures.functional_seconds:.1f} s, ONNX Runtime {figures.onnxruntime_seconds:.2f} s, \
peak {figures.peak_mib} MiB"""


def main() -> None:
    """Print what is found of each network; fail when one misses the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, help=f"of {', '.join(NAMES)}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-timing", action="store_true", help="leave the timing engine out")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    found = []
    console = Console(stderr=True)
    for name in options.names:
        with console.status(f"running {name}"):
            found.append(measure(name, options.seed, not options.no_timing))
        print(describe(found[-1]), flush=True)
    if options.json:
        figures = {item.name: asdict(item) for item in found}
        Path(options.json).write_text(json.dumps(figures, indent=2))
    wrong = [item.name for item in found if not item.passed]
    if wrong:
        sys.exit(f"fewer than {EQUAL:.1%} equal, or off by more than {MOST}: {', '.join(wrong)}")
    print(
        f"all {len(found)}: at least {EQUAL:.1%} of all codes equal, none off by more than {MOST}"
    )


if __name__ == "__main__":
    main()
