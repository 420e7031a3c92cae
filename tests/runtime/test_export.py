"""ONNX export: every exported operation runs in ONNX Runtime and gives what ours gives; int8 graphs
give the same bytes."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import systolica as st
from sw.graph.onnx.export import RULES
from sw.runtime.export import export_onnx
from tests.runtime.export_cases import CASES, IMAGE

Array = np.ndarray[Any, Any]


def runtime(model: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    """The model's outputs, after the standard's own checker has read it."""
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # without it x86 computes int8 models in float32, which now and then rounds otherwise
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    out: list[Array] = session.run(None, feeds)
    return out


def test_every_rule_has_a_case() -> None:
    """Also bias_add, which convolutions take along."""
    assert not set(RULES) - set(CASES)


@pytest.mark.parametrize("known", [True, False], ids=["sizes", "batch"])
@pytest.mark.parametrize("name", CASES)
def test_each_operation(name: str, known: bool) -> None:
    """On a plain input and behind a pool, which leaves images NCHW; of known or unknown batch."""
    build, value = CASES[name].build, CASES[name].value
    if name == "squeeze all" and not known:
        with pytest.raises(st.errors.InvalidArgumentError, match="rank is not known"):
            export_onnx(build(st.placeholder(st.float32, (None, 9, 8, 6))))
        return
    shape = IMAGE if known else (None, *IMAGE[1:])
    x = st.placeholder(st.float32, shape, name="x")
    a = value(*IMAGE)
    outputs = [build(x), build(st.nn.max_pool(x, 1, 1, "VALID"))]
    with st.Session() as session:
        expected = session.run(outputs, {x: a})
        model = export_onnx(outputs, output_names=["plain", "image"])
    found = runtime(model, {"x": a})
    for ours, theirs in zip(expected, found, strict=True):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        np.testing.assert_allclose(theirs, ours, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", CASES)
def test_what_is_exported_can_be_imported(name: str) -> None:
    """With the same values; and exported once more it is still a model."""
    build, value = CASES[name].build, CASES[name].value
    x = st.placeholder(st.float32, IMAGE, name="x")
    a = value(*IMAGE)
    outputs = [build(x), build(st.nn.max_pool(x, 1, 1, "VALID"))]
    with st.Session() as session:
        expected = session.run(outputs, {x: a})
    graph = st.import_onnx(export_onnx(outputs, output_names=["plain", "image"]))
    assert list(graph.inputs) == ["x"] and list(graph.outputs) == ["plain", "image"]
    with st.Session(graph=graph) as session:
        found = session.run(list(graph.outputs.values()), {graph.inputs["x"]: a})
    for ours, theirs in zip(expected, found, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=2e-4, atol=2e-5)
    onnx.checker.check_model(export_onnx(graph), full_check=True)


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as made:
        yield made


def network(x: Any, rng: np.random.Generator) -> Any:
    """Convolutions with and without bias and activation, pools, a residual branch that stays
    float, a flattened map, dense layers."""

    def weights(*shape: int) -> Any:
        spread = np.sqrt(2 / np.prod(shape[:-1]))
        return st.Variable((rng.normal(size=shape) * spread).astype("f"))

    def bias(size: int) -> Any:
        return st.Variable(rng.normal(size=size).astype("f") / 4)

    h = st.nn.relu(st.nn.bias_add(st.nn.conv2d(x, weights(3, 3, 3, 16), 1, "SAME"), bias(16)))
    h = st.nn.max_pool(h, 2, 2, "VALID")
    h = st.nn.relu6(st.nn.conv2d(h, weights(3, 3, 16, 24), 2, "SAME") + bias(24))
    h = st.nn.conv2d(h, weights(1, 1, 24, 8), 1, "VALID")
    h = st.reshape(h, [-1, 4 * 4 * 8])
    h = st.nn.relu(st.matmul(h, weights(128, 32)) + bias(32))
    return st.matmul(h, weights(32, 10), name="logits")


def test_a_network_with_variables(rng: np.random.Generator, tmp_path: Any) -> None:
    """To a file, under chosen names; only the border is transposed."""
    x = st.placeholder(st.float32, [None, 16, 16, 3], name="x")
    y = network(x, rng)
    a = rng.normal(size=(5, 16, 16, 3)).astype("f")
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        expected = session.run(y, {x: a})
        st.export_onnx(y, tmp_path / "net.onnx", input_names=["image"], output_names=["scores"])
    model = onnx.load(tmp_path / "net.onnx")
    assert sum(node.op_type == "Transpose" for node in model.graph.node) == 2
    assert not {"Add", "Identity"} & {node.op_type for node in model.graph.node}
    (found,) = runtime(model, {"image": a})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def branches(x: Any, rng: np.random.Generator) -> Any:
    """A depthwise convolution, a residual add, a concatenation."""

    def conv(x: Any, size: int, channels: int) -> Any:
        shape = (size, size, int(x.shape[-1]), channels)
        w = (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:3]))).astype("f")
        return st.nn.bias_add(st.nn.conv2d(x, w, 1, "SAME"), rng.normal(size=channels).astype("f"))

    h = st.nn.relu(conv(x, 3, 16))
    w = rng.normal(size=(3, 3, 16, 1)).astype("f") / 3
    d = st.nn.depthwise_conv2d(h, w, [1, 1, 1, 1], "SAME")
    d = st.nn.relu(st.nn.bias_add(d, rng.normal(size=16).astype("f")))
    h = st.nn.relu(conv(d, 1, 16) + h)
    h = st.nn.max_pool(st.concat([h, st.nn.relu(conv(h, 1, 8))], 3), 2, 2, "VALID")
    h = st.reshape(conv(h, 1, 4), [-1, 8 * 8 * 4])
    return st.matmul(h, rng.normal(size=(256, 10)).astype("f"), name="logits")


def quantised_names(graph: st.Graph) -> list[str]:
    """The names of all int8 activations."""
    return [op.outputs[0].name for op in graph.get_operations() if op.type == "quantize_linear"]


@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_int8_graphs_give_the_same_bytes(rng: np.random.Generator, method: str) -> None:
    """Every int8 tensor of a quantised network, by the TPU and by ONNX Runtime's integer kernels
    (all its fusions on): not one byte differs."""
    x = st.placeholder(st.float32, [None, 16, 16, 3], name="x")
    y = network(x, rng)
    a = rng.normal(size=(20, 16, 16, 3)).astype("f")
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        quantised = st.quantize(y, [{x: a}], method=method)
    model = export_onnx("logits:0", graph=quantised)
    assert {node.op_type for node in model.graph.node} == {
        "Transpose", "QuantizeLinear", "DequantizeLinear", "Conv", "Relu", "Clip", "MaxPool",
        "Reshape", "Gemm", "MatMul",
    }  # fmt: skip
    names = [
        op.outputs[0].name for op in quantised.get_operations() if op.type == "quantize_linear"
    ]
    with st.Session(graph=quantised) as session:
        *ours, logits = session.run([*names, "logits:0"], {"x:0": a})
        assert not session.fallback
    plain = runtime(model, {"x": a})[0]
    np.testing.assert_array_equal(plain, logits)
    wanted = export_onnx(names, graph=quantised)
    compared = 0
    for name, mine, theirs in zip(names, ours, runtime(wanted, {"x": a}), strict=True):
        np.testing.assert_array_equal(theirs, mine, err_msg=name)
        compared += mine.size
    assert compared > 100_000
    imported = st.import_onnx(model, device="/tpu:0")
    with st.Session(graph=imported) as session:
        (again,) = session.run(list(imported.outputs.values()), {"x:0": a})
        assert len(st.run_report(session).programs) == 1
    np.testing.assert_array_equal(again, logits)


def test_int8_branches_give_the_same_bytes(rng: np.random.Generator) -> None:
    """Depthwise convolutions, residual adds and concatenations, too."""
    x = st.placeholder(st.float32, [None, 16, 16, 3], name="x")
    y = branches(x, rng)
    a = rng.normal(size=(8, 16, 16, 3)).astype("f")
    with st.Session():
        quantised = st.quantize(y, [{x: a}])
    names = [
        op.outputs[0].name for op in quantised.get_operations() if op.type == "quantize_linear"
    ]
    with st.Session(graph=quantised) as session:
        ours = session.run(names, {"x:0": a})
        assert not session.fallback
    theirs = runtime(export_onnx(names, graph=quantised), {"x": a})
    for name, mine, other in zip(names, ours, theirs, strict=True):
        np.testing.assert_array_equal(other, mine, err_msg=name)


def test_a_relu_within_a_range_is_no_obstacle(rng: np.random.Generator) -> None:
    """A concatenation gives a relu a scale that also holds negative values: ONNX Runtime still
    finds integer convolutions, and the same bytes come out."""
    x = st.placeholder(st.float32, [2, 9, 9, 3], name="x")
    w = [rng.normal(size=(3, 3, 3, 8)).astype("f") for _ in range(2)]
    parts = [st.nn.bias_add(st.nn.conv2d(x, k, 1, "SAME"), np.full(8, 0.5, "f")) for k in w]
    y = st.concat([st.nn.relu(parts[0]), parts[1]], 3, name="y")
    a = rng.normal(size=(2, 9, 9, 3)).astype("f")
    with st.Session():
        quantised = st.quantize(y, [{x: a}])
    names = quantised_names(quantised)
    with st.Session(graph=quantised) as session:
        ours = session.run(names, {"x:0": a})
    model = export_onnx(names, graph=quantised)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds[kinds.index("Relu") - 1] == "DequantizeLinear"
    for name, mine, other in zip(names, ours, runtime(model, {"x": a}), strict=True):
        np.testing.assert_array_equal(other, mine, err_msg=name)


def test_refusals(rng: np.random.Generator) -> None:
    x = st.placeholder(st.float32, [4], name="x")
    v = st.Variable(np.ones(4, np.float32))
    with pytest.raises(st.errors.UnimplementedError, match="'sorted'.*no argsort"):
        export_onnx(st.get_default_graph().apply("argsort", x, name="sorted"))
    with pytest.raises(st.errors.InvalidArgumentError, match="needs a session"):
        export_onnx(x * v)
    with pytest.raises(st.errors.InvalidArgumentError, match="2 different names are needed"):
        export_onnx([x * 2.0, x * 3.0], output_names=["a"])
    with pytest.raises(st.errors.InvalidArgumentError, match="is an operation"):
        export_onnx([x * 2.0, st.no_op()])
    with pytest.raises(st.errors.InvalidArgumentError, match="names no outputs"):
        export_onnx(st.get_default_graph())


@pytest.mark.parametrize("number", range(4))
def test_padded_averages_give_the_same_bytes(number: int, rng: np.random.Generator) -> None:
    """ONNX Runtime sums them in float32, the TPU in integers with a scale for each count; scales
    are chosen so that no mean lies near a tie. Images in one piece and in several tiles."""
    rng = np.random.default_rng([number, int(rng.integers(1 << 30))])
    side, channels = int(rng.integers(4, 40)), int(rng.integers(1, 40))
    k, stride = ((3, 1), (3, 2), (2, 1), (4, 3))[number]
    x = st.placeholder(st.float32, [2, side, side + 3, 3], name="x")
    w = rng.normal(size=(1, 1, 3, channels)).astype("f")
    y = st.nn.avg_pool(st.nn.conv2d(x, w, 1, "VALID"), k, stride, "SAME", name="y")
    a = rng.normal(size=(2, side, side + 3, 3)).astype("f")
    with st.Session():
        quantised = st.quantize(y, [{x: a}])
    (name,) = [n for n in quantised_names(quantised) if n.startswith("y")]
    core = st.SessionConfig(
        tpu_config=("default,scratchpad_rows=512", "default", "tiny")[number % 3]
    )
    with st.Session(graph=quantised, config=core) as session:
        ours = session.run(name, {"x:0": a})
        assert not session.fallback and len(session.tpu_reports) == 1
    (theirs,) = runtime(export_onnx(name, graph=quantised), {"x": a})
    np.testing.assert_array_equal(theirs, ours)
