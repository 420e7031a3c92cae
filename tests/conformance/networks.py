"""`make networks`: the nine real architectures of the onnx package, on the CPU device.

Each is run with the weights that it comes with, against the outputs that it comes with, and, as
those weights are constants and prove little, once more with seeded random weights against ONNX
Runtime: logits within 1e-4 of their largest magnitude.

python -m tests.conformance.networks resnet50 --json networks.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.runner import Runner
from rich.console import Console

from sw.onnx_backend import Backend

FOLDER = Path(onnx.backend.test.__file__).parent / "data" / "light"
NAMES = sorted(p.stem.removeprefix("light_") for p in FOLDER.glob("light_*.onnx"))
TOLERANCE = 1e-4
"""Of the largest logit: float32 sums of some thousand terms, in another order."""


def path(name: str) -> Path:
    """The model's file."""
    return FOLDER / f"light_{name}.onnx"


def images(model: ModelProto, random: bool = False) -> list[np.ndarray[Any, Any]]:
    """The suite's own inputs: a ramp, or seeded uniform numbers."""
    stored = {i.name for i in model.graph.initializer}
    free = [i for i in model.graph.input if i.name not in stored]
    return [Runner.generate_dummy_data(i, seed=0, random=random) for i in free]


def expected(name: str) -> np.ndarray[Any, Any]:
    """The output that the package states for `images`."""
    tensor = TensorProto()
    tensor.ParseFromString((FOLDER / f"light_{name}_output_0.pb").read_bytes())
    return numpy_helper.to_array(tensor)


def _uses(model: ModelProto) -> dict[str, tuple[str, int]]:
    """What each stored value is for: (operator, which input), through reshapes."""
    found: dict[str, tuple[str, int]] = {}
    for node in reversed(model.graph.node):
        for index, name in enumerate(node.input):
            through = node.op_type in ("Unsqueeze", "Reshape") and node.output[0] in found
            found[name] = found[node.output[0]] if through else (node.op_type, index)
    return found


def _draw(random: Any, shape: tuple[int, ...], use: tuple[str, int]) -> np.ndarray[Any, Any]:
    """Weights that keep the size of activations (He et al., 2015), plausible statistics."""
    operator, index = use
    if operator in ("Conv", "Gemm", "MatMul") and index == 1:
        fan_in = max(int(np.prod(shape[1:])), 1)
        return random.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / fan_in))
    if operator == "Mul" or operator == "BatchNormalization" and index in (1, 4):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    return random.standard_normal(shape, np.float32) * np.float32(0.1)


def randomised(name: str, seed: int = 1) -> ModelProto:
    """The network with random weights, and what its last Softmax takes as one more output."""
    model = onnx.load(path(name))
    model.ir_version = 8  # weights need not be inputs as well
    graph, random = model.graph, np.random.default_rng(seed)
    uses, stored = _uses(model), {i.name: i for i in graph.initializer}
    shapes = {
        n.output[0]: tuple(int(v) for v in numpy_helper.to_array(stored[n.input[0]]))
        for n in graph.node
        if n.op_type == "ConstantOfShape" and n.input[0] in stored
    }
    kept = [n for n in graph.node if n.output[0] not in shapes]
    for tensor in list(graph.initializer):
        if tensor.data_type == TensorProto.FLOAT:
            shapes[tensor.name] = tuple(tensor.dims)
            graph.initializer.remove(tensor)
    del graph.node[:]
    graph.node.extend(kept)
    for key, shape in shapes.items():
        array = _draw(random, shape, uses.get(key, ("", 0)))
        graph.initializer.append(numpy_helper.from_array(array, key))
    softmax = [n for n in graph.node if n.op_type == "Softmax"]
    if softmax:
        logits = helper.make_tensor_value_info(softmax[-1].input[0], TensorProto.FLOAT, None)
        graph.output.append(logits)
    return model


def by_onnx_runtime(model: ModelProto, inputs: Any) -> list[Any]:
    """The outputs that ONNX Runtime computes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [i.name for i in session.get_inputs()]
    found: list[Any] = session.run(None, dict(zip(names, inputs, strict=True)))
    return found


def constant_weights(name: str) -> float:
    """How far our outputs are from the package's, relative to the largest; raises where the suite
    would."""
    model = onnx.load(path(name))
    (have,) = Backend.prepare(model).run(images(model))
    want = expected(name)
    Runner.assert_similar_outputs([want], [have], rtol=1e-3, atol=1e-7)
    return float(np.max(np.abs(have - want)) / np.max(np.abs(want)))


def random_weights(name: str, seed: int = 1) -> float:
    """How far our outputs are from ONNX Runtime's with random weights, relative to the largest."""
    model = randomised(name, seed)
    inputs = images(model, random=True)
    mine = Backend.prepare(model).run(inputs)
    theirs = by_onnx_runtime(model, inputs)
    return max(
        float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in zip(mine, theirs, strict=True)
    )


def main() -> None:
    """Print a line for each network; fail when one disagrees."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES, help=f"of {', '.join(NAMES)}")
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    console = Console(stderr=True)
    print("network          stated outputs   random weights, ONNX Runtime   seconds")
    for name in options.names:
        start = time.perf_counter()
        with console.status(f"running {name}"):
            stated, drawn = constant_weights(name), random_weights(name)
        seconds = time.perf_counter() - start
        figures[name] = {"stated": stated, "random": drawn, "seconds": seconds}
        print(f"{name:<16}{stated:>15.1e}{drawn:>31.1e}{seconds:>10.1f}")
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2))
    wrong = [n for n, f in figures.items() if not max(f["stated"], f["random"]) <= TOLERANCE]
    if wrong:
        sys.exit(f"beyond {TOLERANCE} of the largest output: {', '.join(wrong)}")
    print(f"all {len(figures)} agree within {TOLERANCE} of the largest output")


if __name__ == "__main__":
    main()
