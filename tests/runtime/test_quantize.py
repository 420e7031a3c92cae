"""Post-training quantisation: real networks on real digits, against integer arithmetic."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import systolica as st
from hw.tpu.config import TpuConfig
from sim.execute import execute, load
from sim.functional import FunctionalSimulator
from sw.compiler.qdq import not_quantised
from sw.compiler.tpu.lower import lower
from sw.graph.build import constant_value
from sw.runtime.devices.tpu import TpuExecutable

Array = np.ndarray[Any, Any]
TEST = 450


@dataclass
class Trained:
    """A float network with its accuracy on held-out digits, and its quantised graph."""

    accuracy: float
    logits: Array
    quantised: st.Graph
    images: Array
    labels: Array


def variable(rng: np.random.Generator, *shape: int) -> Any:
    deviation = np.sqrt(2 / np.prod(shape[:-1]))
    return st.Variable((rng.normal(size=shape) * deviation).astype(np.float32))


def convnet(x: Any, rng: np.random.Generator) -> Any:
    """conv-relu, conv (no activation), pool, flatten, dense-relu6, dense."""
    h = st.nn.conv2d(x, variable(rng, 3, 3, 1, 8), 1, "SAME", name="conv1")
    h = st.nn.relu(st.nn.bias_add(h, st.Variable(st.zeros([8]))), name="act1")
    h = st.nn.bias_add(
        st.nn.conv2d(h, variable(rng, 3, 3, 8, 12), 1, "SAME", name="conv2"),
        st.Variable(st.zeros([12])),
        name="act2",
    )
    h = st.nn.max_pool(h, 2, 2, "VALID", name="pool")
    h = st.reshape(h, [-1, 4 * 4 * 12], name="flat")
    h = st.matmul(h, variable(rng, 192, 24), name="dense1") + st.Variable(st.zeros([24]))
    h = st.nn.relu6(h, name="act3")
    w = variable(rng, 10, 24)
    return st.add(st.matmul(h, w, transpose_b=True, name="dense2"), np.zeros(10, "f"), name="out")


def mlp(x: Any, rng: np.random.Generator) -> Any:
    """Two hidden layers; the last one has no bias."""
    h = st.reshape(x, [-1, 64])
    for size in (32, 24):
        h = st.matmul(h, variable(rng, int(h.shape[-1]), size)) + st.Variable(st.zeros([size]))
        h = st.nn.relu(h)
    return st.matmul(h, variable(rng, 24, 10), name="out")


@pytest.fixture(scope="module", params=[convnet, mlp])
def trained(request: pytest.FixtureRequest) -> Iterator[Trained]:
    """Trained once for all tests of this file."""
    rng = np.random.default_rng(7)
    data = load_digits()
    order = rng.permutation(len(data.target))
    images = (data.images[order] / 16).astype(np.float32)[..., None]
    labels = data.target[order]
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [None, 8, 8, 1], name="x")
        y = st.placeholder(st.int64, [None])
        out = request.param(x, rng)
        loss = st.reduce_mean(st.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=out))
        step = st.train.AdamOptimizer(0.004).minimize(loss)
        with st.Session() as session:
            session.run(st.global_variables_initializer())
            for _ in range(250):
                pick = rng.integers(TEST, len(images), 64)
                session.run(step, {x: images[pick], y: labels[pick]})
            logits = session.run(out, {x: images[:TEST]})
            batches = ({"x:0": images[i : i + 100]} for i in range(TEST, TEST + 400, 100))
            quantised = st.quantize(out, batches, session=session)
    right = float((logits.argmax(1) == labels[:TEST]).mean())
    assert right > 0.9
    yield Trained(right, logits, quantised, images[:TEST], labels[:TEST])


def test_accuracy_within_a_point_of_float(trained: Trained) -> None:
    """One program, no fallback, fed and fetched by the old names."""
    with st.Session(graph=trained.quantised) as session:
        logits = session.run("out:0", {"x:0": trained.images})
        right = (logits.argmax(1) == trained.labels).mean()
        assert abs(right - trained.accuracy) <= 0.01
        assert np.abs(logits - trained.logits).max() < 0.1 * np.abs(trained.logits).max()
        (report,) = session.tpu_reports
        assert not session.fallback
        assert "/float" not in " ".join(report.ops)
        session.run("out:0", {"x:0": trained.images[:3]})
        assert len(session.tpu_reports) == 2  # a program per batch size


def int8_layers(graph: st.Graph, images: Array) -> dict[str, Array]:
    """Every int8 tensor of the quantised graph, by ONNX's quantised operators on the CPU."""
    codes: dict[Any, Array] = {}

    def constants(op: Any) -> list[Any]:
        return [constant_value(tensor) for tensor in op.inputs[1:3]]

    def source(tensor: Any) -> Any:
        """The dequantize op behind a tensor, and the shape in which it is seen."""
        shape = tensor.shape.as_list()
        while tensor.op.type == "reshape":
            tensor = tensor.op.inputs[0]
        return tensor.op, shape

    def compute(quantise: Any) -> Array:
        s_y, z_y = constants(quantise)
        low, high, bias, pools = -128, 127, None, []
        op = quantise.inputs[0].op
        while op.type not in ("conv2d", "matmul", "placeholder", "dequantize_linear"):
            if op.type in ("relu", "relu6"):
                low = int(z_y)
            if op.type == "relu6":
                high = min(127, int(np.rint(np.float32(6) / s_y)) + int(z_y))
            if op.type == "bias_add":
                bias = constant_value(op.inputs[1].op.inputs[0])
            if op.type == "max_pool":
                pools.append(op)
            op = op.inputs[0].op
        if op.type == "placeholder":
            result: Array = np.clip(np.rint(images / s_y) + z_y, -128, 127).astype(np.int8)
            return result.reshape([-1, *quantise.outputs[0].shape.as_list()[1:]])
        if op.type == "dequantize_linear":
            (pool,) = pools
            x = codes[op.inputs[0]]
            return x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).max((2, 4))
        real, shape = source(op.inputs[0])
        x = codes[real.inputs[0]].reshape([-1, *shape[1:]])
        s_w, z_w = constants(op.inputs[1].op)
        w = constant_value(op.inputs[1].op.inputs[0])
        with st.Graph().as_default(), st.Session() as session:
            common = (x, *constants(real), w, s_w, z_w, s_y, z_y)
            if op.type == "conv2d":
                y = st.qlinear_conv(*common, bias=bias, padding="SAME")
            elif bias is None:
                y = st.qlinear_matmul(*common)
            else:  # with a bias a matmul is a convolution
                wide = (x[:, None, None], *common[1:3], w[None, None], *common[4:])
                y = st.reshape(st.qlinear_conv(*wide, bias=bias), [len(x), -1])
            return np.clip(session.run(y), low, high)

    for op in graph.get_operations():
        if op.type == "quantize_linear":
            codes[op.outputs[0]] = compute(op)
    return {tensor.name: value for tensor, value in codes.items()}


def test_every_int8_tensor_equals_the_integer_reference(trained: Trained) -> None:
    """Bit for bit, layer by layer: all of them are fetched at once from one program."""
    images = trained.images[:40]
    expected = int8_layers(trained.quantised, images)
    assert len(expected) >= 4
    with st.Session(graph=trained.quantised) as session:
        found = session.run(list(expected), {"x:0": images})
        assert len(session.tpu_reports) == 1
    for value, (name, codes) in zip(found, expected.items(), strict=True):
        np.testing.assert_array_equal(value, codes, err_msg=name)


def test_rtl_gives_the_same_bytes(trained: Trained) -> None:
    """End to end on the Verilated tiny core, one image, every byte verified."""
    config = st.SessionConfig(tpu="rtl", tpu_config="tiny", verify=True)
    with st.Session(graph=trained.quantised) as session:
        expected = session.run("out:0", {"x:0": trained.images[:1]})
    with st.Session(graph=trained.quantised, config=config) as session:
        np.testing.assert_array_equal(session.run("out:0", {"x:0": trained.images[:1]}), expected)
        report = st.run_report(session).to_dict()
    assert report["engine"] == "rtl" and report["cycles"] > 0
    assert report["counters"]["useful_macs"] >= report["macs"]


def test_compiled_program_is_the_session_s(trained: Trained, tmp_path: Any) -> None:
    """`st.compile` gives the bytes that the session runs; saved and loaded it still does."""
    core = TpuConfig.parse("tiny")
    program = st.compile("out:0", core, {"x:0": [2, 8, 8, 1]}, graph=trained.quantised)
    images = trained.images[:2]
    expected = int8_layers(trained.quantised, images)
    program.save(tmp_path / "net.tpu")
    program = type(program).load(tmp_path / "net.tpu")
    engine = FunctionalSimulator(core, program.dram_bytes)
    load(engine, program)
    (source,), (result,) = program.inputs, program.outputs
    outputs, _ = execute(
        engine, program, {source.name: expected[source.name].reshape(source.shape)}
    )
    np.testing.assert_array_equal(outputs[result.name].reshape(2, 10), expected["out/quantize:0"])
    assert source.scale == pytest.approx(1 / 255)
    assert not any("/float" in name for name in program.tags.values())


def test_compile_says_what_is_missing(trained: Trained) -> None:
    """Shapes, quantisation, a TPU part, one program."""
    with pytest.raises(st.errors.InvalidArgumentError, match="'x'.*give it in shapes"):
        st.compile("out:0", graph=trained.quantised)
    with pytest.raises(st.errors.InvalidArgumentError, match="unknown preset"):
        st.compile("out:0", "vast", {"x:0": [1, 8, 8, 1]}, graph=trained.quantised)
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [1, 2])
        with pytest.raises(st.errors.InvalidArgumentError, match="not 0"):
            st.compile(st.exp(x))
        with st.device("/tpu:0"):
            y = st.matmul(x, np.eye(2, dtype=np.float32), name="bare")
            z = st.exp(x, name="curve")
        with pytest.raises(st.errors.InvalidArgumentError, match="'bare'.*st.quantize"):
            st.compile(y)
        with pytest.raises(st.errors.InvalidArgumentError, match="curve: the TPU has no exp"):
            st.compile(z)
        with pytest.raises(AttributeError, match="no attribute 'compiler'"):
            _ = st.compiler


def small() -> tuple[Any, Any]:
    x = st.placeholder(st.float32, [None, 2], name="x")
    return x, st.matmul(x, np.float32([[1, 2], [3, -4]]), name="y")


def test_quantize_refuses(rng: np.random.Generator) -> None:
    """What is wrong is said before anything is made."""
    with st.Graph().as_default():
        x, y = small()
        v = st.Variable([[1.0]], name="v")
        bad = st.matmul(x, np.float32([[np.nan], [1]]), name="bad")
        good = [{x: np.ones((1, 2))}]
        with pytest.raises(st.errors.InvalidArgumentError, match="session"):
            st.quantize(y, good)
        with st.Session():
            for arguments, text in (
                ((y, []), "at least one feed"),
                ((y, [{x: np.ones((0, 2))}]), "at least one feed"),
                ((y, [{x: np.full((1, 2), np.nan)}]), "'x:0'.*finite"),
                ((y, [{x: np.full((1, 2), np.inf)}]), "finite"),
                ((y, [3]), "feed dicts, not int"),
                ((y.op, good), "operation"),
                ((bad, good), "'bad'.*finite"),
            ):
                with pytest.raises(st.errors.InvalidArgumentError, match=text):
                    st.quantize(*arguments)
            with pytest.raises(st.errors.InvalidArgumentError, match="one of minmax"):
                st.quantize(y, good, method="entropy")
            with pytest.raises(st.errors.InvalidArgumentError, match="malformed"):
                st.quantize(y, good, device="/tpu:one")
            with pytest.raises(st.errors.FailedPreconditionError, match="'v'"):
                st.quantize(st.matmul(x[:, :1], v), good)


def test_what_is_not_quantised_stays_float(rng: np.random.Generator) -> None:
    """softmax on the CPU, an activation that is fetched, a value with two readers, control edges,
    a product of two run-time values, which is int8, and one of other ranks: all still right."""
    with st.Graph().as_default():
        x, y = small()
        shared = st.nn.relu(y, name="shared")
        with st.control_dependencies([st.assert_(st.reduce_max(x) < 100.0, [x])]):
            gate = st.identity(shared, name="gate")
        z = st.nn.softmax(gate + st.matmul(shared, np.float32([[1, 0], [0, 1]])), name="z")
        both = st.matmul(shared, st.transpose(shared), name="both")
        outer = st.matmul(st.expand_dims(shared, 0), st.transpose(shared), name="outer")
        a = rng.normal(size=(6, 2)).astype(np.float32)
        with st.Session() as session:
            expected = session.run([z, y, both, outer], {x: a})
            graph = st.quantize([z, y, both, outer], [{x: a}])
        left = {item.name: item.reason for item in not_quantised(graph)}
        assert left["z"] == "the TPU has no softmax" and "add" not in left
        assert (
            "constants" in left["outer"]
            and "both" not in left
            and "y" not in left
            and "x" not in left
        )
        with st.Session(graph=graph) as session:
            found = session.run(["z:0", "y:0", "both:0", "outer:0"], {"x:0": a})
            with pytest.raises(st.errors.InvalidArgumentError, match="ssert"):
                session.run("z:0", {"x:0": a + 1000})
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=0.03 * max(1, np.abs(theirs).max()))


@pytest.mark.parametrize("seed_of", range(4))
def test_qlinear_ops_on_the_tpu_equal_those_on_the_cpu(
    seed_of: int, rng: np.random.Generator
) -> None:
    """The same graph in either device scope, byte for byte."""
    rng = np.random.default_rng([seed_of, int(rng.integers(1 << 30))])
    x = rng.integers(-128, 128, (2, 7, 6, 3)).astype(np.int8)
    w = rng.integers(-127, 128, (3, 2, 3, 5)).astype(np.int8)
    v = rng.integers(-127, 128, (5, 4)).astype(np.int8)
    bias = rng.integers(-5000, 5000, 5).astype(np.int32)
    scales = rng.uniform(1e-3, 0.1, 9).astype(np.float32)
    zeros = rng.integers(-100, 100, 3).astype(np.int8)
    zero = np.int8(0)
    results = []
    for device in ("/cpu:0", "/tpu:0"):
        with st.Graph().as_default():
            p = st.placeholder(st.int8, [None, 7, 6, 3])
            with st.device(device):
                first = (p, scales[0], zeros[0], w, scales[1:6], zero, scales[6], zeros[1])
                y = st.qlinear_conv(*first, bias=bias, strides=[1, 2], padding="SAME")
                y = st.nn.max_pool(y, 2, 1, "VALID")
                z = st.qlinear_matmul(
                    y, scales[6], zeros[1], v, scales[7], zero, scales[8], zeros[2]
                )
            with st.Session(config=st.SessionConfig(tpu_config="tiny")) as session:
                results.append(session.run([y, z], {p: x}))
                assert not session.fallback
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == np.int8
        np.testing.assert_array_equal(ours, theirs)


def test_passes_can_be_printed(trained: Trained) -> None:
    """Each pass shows what it made."""
    seen: dict[str, str] = {}
    with st.Session(graph=trained.quantised) as session:
        session.run("out:0", {"x:0": trained.images[:1]})
        executables = [e for p in session._plans.values() for e in p.executor.executables]
        (tpu,) = [e for e in executables if isinstance(e, TpuExecutable)]
        shapes = dict(zip(tpu.sources, next(iter(tpu.lowered)), strict=True))
        lower(tpu.partition.graph, shapes, seen.__setitem__)
    assert list(seen) == ["specialise", "legalise", "fuse", "steps"]
    assert "closes" in seen["fuse"] and "program" in seen["steps"]


def test_batch_normalisation_vanishes(rng: np.random.Generator) -> None:
    """Folded into weights and bias: one int8 program, near the float graph; a bias in front, a
    transposed weight and a scalar factor are taken along."""
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [None, 6, 6, 3], name="x")
        h = st.nn.conv2d(x, variable(rng, 3, 3, 3, 8), 1, "SAME") + np.ones(8, np.float32)
        moments = [st.Variable(rng.uniform(0.5, 2, 8).astype(np.float32)) for _ in range(4)]
        h = st.nn.relu(st.nn.batch_normalization(h, *moments, 1e-3), name="h")
        w = variable(rng, 5, 8)
        y = st.matmul(st.reshape(h, [-1, 8]), w, transpose_b=True) * 0.5
        y = st.subtract(y, np.arange(5, dtype=np.float32), name="y")
        a = rng.normal(size=(4, 6, 6, 3)).astype(np.float32)
        with st.Session() as session:
            session.run(st.global_variables_initializer())
            expected = session.run([h, y], {x: a})
            graph = st.quantize([h, y], [{x: a}])
    with st.Session(graph=graph) as session:
        found = session.run(["h:0", "y:0"], {"x:0": a})
        assert not session.fallback
    assert len(st.run_report(session).programs) == 1  # a closed session still tells
    for ours, theirs in zip(found, expected, strict=True):
        assert np.abs(ours - theirs).max() < 0.03 * np.abs(theirs).max()


def test_a_table_and_its_pool_are_quantised(rng: np.random.Generator) -> None:
    """A max pool that reads what a table makes: the table's range is measured as well."""
    with st.Graph().as_default():
        x = st.placeholder(st.float32, [2, 6, 6, 3], name="x")
        halves = [st.nn.conv2d(x, variable(rng, 3, 3, 3, 4), 1, "SAME") for _ in range(2)]
        joined = st.nn.relu(st.nn.bias_add(st.concat(halves, 3), rng.normal(size=8).astype("f")))
        y = st.nn.max_pool(joined, 2, 2, "VALID", name="y")
        a = rng.normal(size=(2, 6, 6, 3)).astype("f")
        with st.Session() as session:
            session.run(st.global_variables_initializer())
            want = session.run(y, {x: a})
            quantised = st.quantize(y, [{x: a}])
        with st.Session(graph=quantised) as session:
            have = session.run("y:0", {"x:0": a})
            assert len(session.tpu_reports) == 1
        np.testing.assert_allclose(have, want, atol=0.05 * np.abs(want).max())
