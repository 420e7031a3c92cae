"""Transposed convolutions of graphs: break if the phases, their joining or their quantisation are
wrong, or if an accelerator that could work on every result works on stuffed zeros instead."""

import doctest
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

import systolica as st
from hw.tpu.config import PRESETS
from sim.timing.simulator import predict
from sw.compiler.tpu import transposed
from sw.compiler.tpu.compile import compile_network
from sw.compiler.tpu.layers import Activation, Convolution
from sw.compiler.tpu.network import Network
from sw.compiler.tpu.transposed import by_phases


def test_doctests():
    """The example holds."""
    results = doctest.testmod(transposed)
    assert results.attempted > 0 and results.failed == 0


@pytest.fixture(scope="module")
def decoder():
    """A quantised network that halves an image and makes it large again, and its input."""
    rng = np.random.default_rng(1)

    def weights(*shape):
        return (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:3]))).astype("f")

    with st.Graph().as_default():
        x = st.placeholder(st.float32, [4, 8, 8, 3], name="x")
        h = st.nn.conv2d(x, weights(3, 3, 3, 16), 2, "SAME")
        h = st.nn.relu(h + rng.normal(size=16).astype("f"))
        h = st.nn.conv2d_transpose(h, weights(4, 4, 8, 16), [4, 8, 8, 8], 2)
        scale, shift = rng.uniform(0.5, 1.5, 8), rng.normal(size=8)
        h = st.nn.relu(h * scale.astype("f") + shift.astype("f"))  # a batch normalisation
        y = st.nn.conv2d_transpose(h, weights(3, 3, 3, 8), [4, 8, 8, 3], 1, name="y")
        values = rng.normal(size=(4, 8, 8, 3)).astype("f")
        with st.Session() as session:
            quantised = st.quantize(y, [{"x:0": values}], session=session)
            exact = session.run(y, {x: values})
    return quantised, values, exact


def test_a_decoder_runs_whole_and_equals_onnx_runtime(decoder, tmp_path):
    """Every op on the TPU, near the float network, and the bytes of ONNX Runtime's QDQ."""
    quantised, values, exact = decoder
    with st.Session(graph=quantised, config=st.SessionConfig(tpu_config="tiny")) as session:
        found = session.run("y:0", {"x:0": values})
        assert not session.fallback and len(session.tpu_reports) == 1
    assert np.abs(found - exact).mean() < 0.02 * exact.std()
    model = tmp_path / "decoder.onnx"
    st.export_onnx(quantised.get_tensor_by_name("y:0"), model)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    runtime = onnxruntime.InferenceSession(model, options)
    (want,) = runtime.run(None, {runtime.get_inputs()[0].name: values})
    np.testing.assert_array_equal(found, want)
    again = st.import_onnx(model, device="/tpu:0")
    (source,), (result,) = again.inputs.values(), again.outputs.values()
    with st.Session(graph=again, config=st.SessionConfig(tpu_config="tiny")) as session:
        np.testing.assert_array_equal(session.run(result, {source: values}), want)
        assert not session.fallback


def test_the_array_works_on_what_the_definition_asks_for():
    """Each result of a kernel 4 x 4 with stride 2 has four taps, not sixteen over stuffed zeros."""
    config = PRESETS["tiny"]
    n, side = config.array, 6
    items = [Activation("x", (1, side, side, 2 * n)), Activation("y", (1, 12, 12, 3 * n))]
    codes = np.ones((4, 4, 2 * n, 3 * n), np.int8)
    scale = np.ones(3 * n, np.float32)
    plain = Convolution("up", "x", "y", codes, None, scale, (2, 2), ((1, 1), (1, 1)))
    made, joined = by_phases(plain, (side, side), (12, 12))
    items += [replace(items[1], name=part.output, shape=(1, 6, 6, 3 * n)) for part in made]
    network = Network(("x",), (*made, joined), ("y",), tuple(items))
    program = compile_network(network, config)
    counters = predict(program.instructions, config).counters
    assert counters["array_active"] == 12 * 12 * 4 * 2 * 3
