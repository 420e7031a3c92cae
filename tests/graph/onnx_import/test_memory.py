"""Weights of a large file are in memory once: break if the importer parses or copies them whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from onnx import helper

import systolica as st
from tests.graph.onnx_import.models import model, ours, theirs

node = helper.make_node
MEASURE = """
import sys
import systolica as st
from onnx import helper

def peak():  # of this program alone: getrusage's figure is inherited from the parent
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

st.import_onnx(helper.make_model(helper.make_graph([], "g", [], []),
    opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
before = peak()
st.import_onnx(sys.argv[1])
print(peak() - before)
"""


def test_an_import_takes_the_files_size_and_little_more(tmp_path: Path) -> None:
    """Matrices of 64 MiB each, some turned on import and some not; 256 MiB more are allowed."""
    weights = {f"w{i}": np.ones([4096, 4096], np.float32) for i in range(3)}
    steps = [
        node("Gemm", [f"x{i}", f"w{i}"], [f"x{i + 1}"], transB=i % 2) for i in range(len(weights))
    ]
    path = tmp_path / "large.onnx"
    path.write_bytes(model(steps, {"x0": [1, 4096]}, ["x3"], weights).SerializeToString())
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(st.__file__).parent,
    )
    size = path.stat().st_size
    assert size // 2 < int(done.stdout) * 1024 < size + (256 << 20)


def test_weights_left_in_the_file_have_their_values(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    weights = {
        "a": random.standard_normal([64, 48]).astype(np.float32),
        "b": random.standard_normal([40, 48]).astype(np.float32),
    }
    steps = [
        node("MatMul", ["x", "a"], ["h"]),
        node("Gemm", ["h", "b"], ["y"], transB=1),
        node("Add", ["y", "c"], ["z"]),
    ]
    made = model(steps, {"x": [2, 64]}, ["y", "z"], {**weights, "c": np.float32(1)})
    path = tmp_path / "m.onnx"
    path.write_bytes(made.SerializeToString())
    feeds = {"x": random.standard_normal([2, 64]).astype(np.float32)}
    for source in (path, path.read_bytes(), made):
        for have, want in zip(ours(source, feeds), theirs(made, feeds), strict=True):
            np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-4)
