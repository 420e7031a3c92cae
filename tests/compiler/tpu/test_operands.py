"""Products of two activations: breaks if one of them as weights is read, turned or centred wrongly,
or if a scheduler forgets that weights can be results."""

import numpy as np
import pytest

import systolica as st
from hw.tpu import numerics
from hw.tpu.config import PRESETS
from sw.compiler.tpu.layers import (
    Activation,
    CompileError,
    Convolution,
    Epilogue,
    Multiply,
    Pointwise,
    Product,
)
from sw.compiler.tpu.network import Network
from tests.compiler.integer_reference import evaluate
from tests.compiler.tpu import reference
from tests.compiler.tpu.checks import check_network, run_program
from tests.compiler.tpu.onnx_reference import run_onnx


def a_product(images, rows, depth, channels, zeros=(0, 0, 5), transposed=False):
    """A network of one product of two inputs."""
    sides = (channels, depth) if transposed else (depth, channels)
    items = (
        Activation("x", (images, 1, rows, depth), 0.05, zeros[0]),
        Activation("w", (images, 1, *sides), 0.04, zeros[1]),
        Activation("y", (images, 1, rows, channels), 0.05 * 0.04 * 70 * depth**0.5, zeros[2]),
    )
    scale = numerics.effective_scale(*(np.float32(item.scale) for item in items))
    layer = Product("y", "x", "w", "y", depth, channels, scale, transposed)
    return Network(("x", "w"), (layer,), ("y",), items)


def values(rng, network):
    return {
        name: rng.integers(-128, 128, network.by_name[name].shape, dtype=np.int8)
        for name in network.inputs
    }


@pytest.mark.parametrize("preset", ["tiny", "default", "large"])
@pytest.mark.parametrize("zeros", [(0, 0, 5), (-128, 3, 0), (127, -128, -7)])
def test_products_are_those_of_onnx_runtime(rng, preset, zeros):
    """At every zero point, for rows and depths that fill no tile, batched and turned."""
    for images, rows, depth, channels in ((1, 1, 1, 1), (3, 5, 17, 9), (2, 33, 40, 35)):
        for transposed in (False, True):
            network = a_product(images, rows, depth, channels, zeros, transposed)
            inputs = values(rng, network)
            program = check_network(network, PRESETS[preset], inputs)
            found = run_program(program, inputs)["y"]
            w = inputs["w"].swapaxes(-1, -2) if transposed else inputs["w"]
            x, weights, y = network.activations
            constants = {
                "x_scale": np.float32(x.scale), "x_zero": np.int8(zeros[0]), "w": w.copy(),
                "w_scale": np.float32(weights.scale), "w_zero": np.int8(zeros[1]),
                "y_scale": np.float32(y.scale), "y_zero": np.int8(zeros[2]),
            }  # fmt: skip
            meant = run_onnx("QLinearMatMul", constants, inputs["x"], {})
            np.testing.assert_array_equal(found, meant)


def test_useful_work_is_counted(rng):
    network = a_product(2, 7, 20, 30)
    assert network.macs() == 2 * 7 * 20 * 30


def chain(spilled):
    """x @ x^T @ (x * x): every operand but one is a result, on or off the chip."""
    rows = 300 if spilled else 20
    shape = (2, 1, rows, 24)
    same = Epilogue((0.1, 0), table=np.arange(-128, 128).clip(-50, 50).astype(np.int8))
    one = np.float32(0.01)
    layers = (
        Pointwise("map", "x", "a", same),
        Product("scores", "a", "a", "s", 24, rows, one, True),
        Multiply("square", "a", "a", "b", 24, one),
        Product("mix", "s", "b", "y", rows, 24, one),
    )
    items = (
        Activation("x", shape, 0.1, 0), Activation("a", shape, 0.1, 0),
        Activation("s", (2, 1, rows, rows), 0.1, -3), Activation("b", shape, 0.1, 0),
        Activation("y", shape, 0.1, 9),
    )  # fmt: skip
    return Network(("x",), layers, ("y",), items)


@pytest.mark.parametrize("preset", ["tiny", "default"])
@pytest.mark.parametrize("spilled", [False, True])
def test_results_are_weights(rng, preset, spilled):
    network = chain(spilled and preset == "tiny")
    check_network(network, PRESETS[preset], values(rng, network))


def test_one_position_multiplies_all(rng):
    """With one operand for each image, one VECTOR does a tile."""
    items = (
        Activation("x", (2, 1, 50, 20), 0.1, 0), Activation("w", (2, 1, 1, 20), 0.1, 0),
        Activation("y", (2, 1, 50, 20), 0.1, 3),
    )  # fmt: skip
    layer = Multiply("y", "x", "w", "y", 20, np.float32(0.02))
    network = Network(("x", "w"), (layer,), ("y",), items)
    program = check_network(network, PRESETS["default"], values(rng, network))
    assert sum(item.opcode.name == "VECTOR" for item in program.instructions) == 4


def test_operands_that_do_not_fit_are_named():
    items = (
        Activation("x", (1, 1, 5, 4), 0.1, 0), Activation("w", (1, 1, 5, 3), 0.1, 1),
        Activation("y", (1, 1, 5, 4), 0.1, 0),
    )  # fmt: skip
    one = np.float32(1)
    for layer in (Multiply("y", "x", "w", "y", 4, one), Product("y", "x", "w", "y", 4, 4, one)):
        with pytest.raises(CompileError, match="layer 'y'.*do not go together"):
            Network(("x", "w"), (layer,), ("y",), items)


def attention(rng, batch=2, rows=9, width=24):
    """Attention of one head on random weights, softmax and all."""

    def weights(*shape):
        return (rng.normal(size=shape) / np.sqrt(shape[0])).astype("f")

    x = st.placeholder(st.float32, [batch, rows, width], name="x")
    q, k, v = (st.matmul(x, weights(width, 16)) + weights(16) for _ in range(3))
    scores = st.matmul(q, st.transpose(k, [0, 2, 1])) * 0.25
    mixed = st.matmul(st.nn.softmax(scores), v)
    return x, st.identity(st.matmul(mixed, weights(16, width)), name="y")


def test_attention_is_two_programs(rng):
    """One before the softmax and one behind it; V waits between them as int8."""
    with st.Graph().as_default():
        x, y = attention(rng)
        values = rng.normal(size=x.shape.dims).astype("f")
        with st.Session() as session:
            wanted = session.run(y, {x: values})
            made = st.quantize(y, [{x: values}])
    with st.Session(graph=made) as session:
        found = session.run("y:0", {"x:0": values})
        report = st.run_report(session)
        assert not session.fallback
        assert len(report.programs) == 2
        assert report.total().macs == 2 * 9 * 24 * 16 * 4 + 2 * 2 * 9 * 9 * 16
    np.testing.assert_array_equal(found, evaluate(made, {"x:0": values}, ["y:0"])[0])
    assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()


def test_attention_survives_its_onnx_file(rng, tmp_path):
    """Exported as QDQ and imported again it gives the same bytes, on the TPU still."""
    with st.Graph().as_default():
        x, y = attention(rng)
        values = rng.normal(size=x.shape.dims).astype("f")
        with st.Session():
            made = st.quantize(y, [{x: values}])
    path = tmp_path / "attention.onnx"
    path.write_bytes(st.export_onnx(made.get_tensor_by_name("y:0")).SerializeToString())
    meant = evaluate(made, {"x:0": values}, ["y:0"])[0]
    again = st.import_onnx(path, device="/tpu:0")
    (source,), (result,) = again.inputs.values(), again.outputs.values()
    with st.Session(graph=again) as session:
        np.testing.assert_array_equal(session.run(result, {source: values}), meant)
        lost = [item.op for item in session.fallback]
        assert "matmul" not in lost, session.fallback
        assert len(st.run_report(session).programs) == 2


def test_reference_is_not_vacuous(rng):
    """A transposed operand that is not turned gives other bytes."""
    network = a_product(1, 5, 8, 8, transposed=True)
    inputs = values(rng, network)
    turned = {**inputs, "w": inputs["w"].swapaxes(-1, -2).copy()}
    assert (reference.run(network, inputs)["y"] != reference.run(network, turned)["y"]).any()
    assert isinstance(network.layers[0], Product) and not isinstance(network.layers[0], Convolution)
