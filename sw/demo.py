"""The demo: a convnet on real digits, from training to a bit-exact run on the Verilated core."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from threadpoolctl import threadpool_limits

import systolica as st
from examples.digits_convnet import Digits, accuracy, convnet, digits, train
from hw.tpu import numerics
from hw.tpu.config import TpuConfig
from hw.tpu.program import TpuProgram
from sim.attribution import attribute
from sim.engine import Engine, RunResult
from sim.execute import execute, load
from sim.native.simulator import NativeSimulator
from sim.rtl.engine import RtlSimulator
from sim.rtl.progress import announce
from sw.compiler.tpu.ahead import compile_graph
from sw.runtime import plots, timeline

LEAST_ACCURACY = 0.97
MOST_LOSS = 0.01
"""How much accuracy quantisation may cost."""
BATCH = 50
"""Images in one program run: all that is between its layers then fits the scratchpad."""

Report = Callable[[int], None]


@dataclass(frozen=True)
class Model:
    """The trained network, `onnx`, and quantised: `program` takes `BATCH` images; `accuracy` of the
    floats."""

    program: TpuProgram
    accuracy: float
    held_out: Digits
    onnx: bytes


@dataclass(frozen=True)
class Outcome:
    """`mismatches`: bytes in which the engine differs from the functional simulator (None: it is
    the functional simulator). `runs`: one result per batch. `files`: what was written, by kind."""

    accuracy_float: float
    accuracy_int8: float
    mismatches: int | None
    runs: list[RunResult]
    program: TpuProgram
    training_seconds: float
    files: dict[str, str]

    @property
    def failures(self) -> list[str]:
        """What the demo promises and did not keep, in words."""
        checks = [
            (
                self.accuracy_float >= LEAST_ACCURACY,
                f"float accuracy {self.accuracy_float:.1%} is below {LEAST_ACCURACY:.0%}",
            ),
            (
                abs(self.accuracy_int8 - self.accuracy_float) <= MOST_LOSS,
                f"int8 accuracy {self.accuracy_int8:.1%} is more than one point away",
            ),
            (not self.mismatches, f"{self.mismatches} bytes differ from the functional simulator"),
        ]
        return [text for kept, text in checks if not kept]


def run(engine: str, config: TpuConfig, folder: Path, steps: int) -> Outcome:
    """Train, quantise, compile, run, compare; write program, inputs, timeline and plot."""
    folder.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    model = prepare(config, steps)
    training = time.perf_counter() - begin
    program, held_out = model.program, model.held_out
    files = {"program": str(folder / "digits.tpu"), "input": str(folder / "digits.npy"),
             "model": str(folder / "digits.onnx"), "data": str(folder / "digits.npz")}  # fmt: skip
    program.save(files["program"])
    np.save(files["input"], _codes(program, held_out.images[:BATCH]))
    Path(files["model"]).write_bytes(model.onnx)
    np.savez(files["data"], digits=held_out.images, labels=held_out.labels)

    expected, functional = _classify(NativeSimulator(config, program.dram_bytes), model)
    if engine == "functional":
        answers, runs, mismatches = expected, functional, None
    else:
        rtl = RtlSimulator(config, program.dram_bytes, timeline=True)
        answers, runs = _classify(rtl, model)
        mismatches = int(np.count_nonzero(answers != expected))
        files |= _pictures(program, runs[0], folder)
    return Outcome(
        model.accuracy, accuracy(answers, held_out), mismatches, runs, program, training, files
    )


def prepare(config: TpuConfig, steps: int) -> Model:
    """Train on the CPU, quantise by calibration on the training set, compile."""
    training, held_out = digits()
    with st.Graph().as_default():
        st.set_random_seed(0)
        x = st.placeholder(st.float32, [None, 8, 8, 1], name="digits")
        logits = convnet(x)
        with st.Session() as session:
            # so small matrices gain nothing from threads, and threads that spin cost others much
            with threadpool_limits(1), _progress("training on the CPU", steps) as report:
                train(session, x, logits, training, steps, report=report)
            floats = session.run(logits, {x: held_out.images})
            quantised = st.quantize(logits, [{x: training.images}])
            onnx = st.export_onnx(logits, output_names=["logits"]).SerializeToString()
    shapes = {x.name: (BATCH, *held_out.images.shape[1:])}
    program = compile_graph(logits.name, config, shapes, graph=quantised)  # st.compile
    return Model(program, accuracy(floats, held_out), held_out, onnx)


def _codes(program: TpuProgram, images: NDArray[np.float32]) -> NDArray[np.int8]:
    port = program.inputs[0]
    return numerics.quantize(images, port.scale, port.zero_point)


def _classify(engine: Engine, model: Model) -> tuple[NDArray[Any], list[RunResult]]:
    """int8 answers `[images, 10]` for the held-out set, batch after batch; closes the engine."""
    program, images = model.program, model.held_out.images
    answers, runs = [], []
    try:
        load(engine, program)
        batches = range(0, len(images), BATCH)
        with _progress(f"running on the TPU ({engine.name})", len(batches)) as report:
            for number, first in enumerate(batches):
                part = images[first : first + BATCH]
                full = np.zeros((BATCH, *part.shape[1:]), part.dtype)
                full[: len(part)] = part
                outputs, result = execute(
                    engine, program, {program.inputs[0].name: _codes(program, full)}
                )
                answers.append(outputs[program.outputs[0].name].reshape(BATCH, -1)[: len(part)])
                runs.append(result)
                report(number + 1)
    finally:
        engine.close()
    return np.concatenate(answers), runs


def _pictures(program: TpuProgram, result: RunResult, folder: Path) -> dict[str, str]:
    assert result.trace is not None and result.cycles
    owners = attribute(result.trace, program)
    files = {"timeline": folder / "timeline.pftrace", "plot": folder / "cycles.png"}
    timeline.write(files["timeline"], result.trace, program, owners)
    title = (
        f"Digits convnet, batch of {BATCH}, on the {program.config.name} core: "
        f"{result.cycles:,} cycles"
    )
    plots.save(files["plot"], program, owners, title)
    return {kind: str(path) for kind, path in files.items()}


@contextmanager
def _progress(what: str, total: int) -> Iterator[Report]:
    """A bar on standard error; where that is no terminal, one line if it takes over two seconds."""
    if not sys.stderr.isatty():
        with announce(what):
            yield lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
