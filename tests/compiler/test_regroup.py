"""Grouped convolutions and channel shuffles: break if a rewriting changes a value, or touches what
only looks like them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

import systolica as st
from sw.compiler.regroup import regroup, unshuffle
from sw.compiler.unit import Unit
from sw.runtime.quantize import frozen_unit


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as made:
        yield made


def grouped(x: Any, rng: np.random.Generator, groups: int, each: int, kernel: int = 1) -> Any:
    """A convolution of `groups` groups with `each` outputs, as an importer writes it."""
    size = int(x.shape[-1]) // groups
    shape = (kernel, kernel, size, each)
    parts = st.split(x, groups, axis=3)
    made = [st.nn.conv2d(p, rng.normal(size=shape).astype("f"), 1, "SAME") for p in parts]
    return st.concat(made, 3)


def shuffled(x: Any, groups: int) -> Any:
    """[N, H, W, g * c] to [N, H, W, c * g], through channels first as ONNX has it."""
    n, h, w, c = x.shape.sizes()
    first = st.reshape(st.transpose(x, [0, 3, 1, 2]), [n, groups, c // groups, h, w])
    turned = st.reshape(st.transpose(first, [0, 2, 1, 3, 4]), [n, c, h, w])
    return st.transpose(turned, [0, 2, 3, 1])


def unit(x: Any, y: Any, rng: np.random.Generator) -> Any:
    """A ShuffleNet unit: grouped, shuffled, depthwise, grouped, added."""
    h = st.nn.relu(st.nn.bias_add(grouped(x, rng, 4, 5), rng.normal(size=20).astype("f")))
    h = shuffled(h, 4)
    w = rng.normal(size=(3, 3, 20, 1)).astype("f")
    h = st.nn.depthwise_conv2d(h, w, (1, 1, 1, 1), "SAME")
    h = grouped(h, rng, 4, int(x.shape[-1]) // 4, 3)
    return st.nn.relu(st.add(h, x), name=y)


def kinds(made: Unit) -> list[str]:
    return [
        op.type for op in made.graph.get_operations() if op.type not in ("const", "placeholder")
    ]


def evaluated(made: Unit, feeds: dict[str, Any]) -> Any:
    names = [tensor.name for tensor in made.fetches]
    with st.Session(graph=made.graph) as session:
        return session.run(names, feeds)


def test_values_stay(rng: np.random.Generator) -> None:
    """One convolution for each group of groups, none of the moves; the same float values."""
    x = st.placeholder(st.float32, [2, 5, 6, 12], name="x")
    y = unit(x, "y", rng)
    a = rng.normal(size=(2, 5, 6, 12)).astype("f")
    with st.Session() as session:
        frozen = frozen_unit(y, session)
        want = session.run(y, {x: a})
    made = unshuffle(regroup(frozen))
    assert kinds(made) == [
        "conv2d", "bias_add", "relu", "depthwise_conv2d", "conv2d", "add", "relu",
    ]  # fmt: skip
    (have,) = evaluated(made, {"x:0": a})
    np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-4)


def test_one_program_equal_to_onnx_runtime(rng: np.random.Generator) -> None:
    """Quantised, the whole unit is on the TPU, and each int8 tensor is ONNX Runtime's, which gets
    the groups back."""
    x = st.placeholder(st.float32, [2, 7, 6, 12], name="x")
    y = unit(x, "y", rng)
    a = rng.normal(size=(2, 7, 6, 12)).astype("f")
    with st.Session():
        quantised = st.quantize(y, [{x: a}])
    names = [
        op.outputs[0].name for op in quantised.get_operations() if op.type == "quantize_linear"
    ]
    for preset in ("tiny", "default"):
        core = st.SessionConfig(tpu_config=preset)
        with st.Session(graph=quantised, config=core) as session:
            ours = session.run(names, {"x:0": a})
            assert not session.fallback and len(session.tpu_reports) == 1
    model = st.export_onnx(names, graph=quantised)
    counts = [
        attribute.i
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name == "group"
    ]
    assert counts == [20, 4]  # the first one's groups are interleaved by the shuffle
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    runtime = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    for name, mine, other in zip(names, ours, runtime.run(None, {"x": a}), strict=True):
        np.testing.assert_array_equal(other, mine, err_msg=name)


def test_what_only_looks_like_it_stays(rng: np.random.Generator) -> None:
    """Groups in another order, moves of positions, a value that somebody fetches."""
    x = st.placeholder(st.float32, [1, 4, 4, 8], name="x")
    w = rng.normal(size=(1, 1, 4, 4)).astype("f")
    a, b = st.split(x, 2, axis=3)
    swapped = st.concat([st.nn.conv2d(b, w, 1, "SAME"), st.nn.conv2d(a, w, 1, "SAME")], 3)
    full = rng.normal(size=(1, 1, 8, 8)).astype("f")
    moved = st.transpose(st.nn.conv2d(x, full, 1, "SAME"), [0, 2, 1, 3])
    moved = st.reshape(st.reshape(moved, [1, 16, 8]), [1, 4, 4, 8])
    fetched = st.nn.conv2d(x, full, 1, "SAME")
    outputs = [swapped, moved, fetched, shuffled(fetched, 2)]
    value = rng.normal(size=(1, 4, 4, 8)).astype("f")
    with st.Session() as session:
        frozen = frozen_unit(outputs, session)
        want = session.run(outputs, {x: value})
    made = unshuffle(regroup(frozen))
    assert kinds(made) == kinds(frozen)
    for have, expected in zip(evaluated(made, {"x:0": value}), want, strict=True):
        np.testing.assert_array_equal(have, expected)
