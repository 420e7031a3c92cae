"""The front half of the TPU compiler: what a graph becomes before it is a program."""

import doctest
import importlib
from typing import Any

import numpy as np
import pytest

import systolica as st
from sw.compiler.tpu import support
from sw.compiler.tpu.layers import Convolution, MaxPool
from sw.compiler.tpu.lower import lower
from sw.compiler.tpu.steps import DynamicStep, HostStep, Lowered, NetworkStep
from sw.compiler.tpu.support import unsupported
from sw.graph.registry import all_ops
from tests.compiler.tpu import reference

TINY = st.SessionConfig(tpu_config="tiny")


@pytest.mark.parametrize("name", ["absorb", "freeze", "qdq", "tpu.specialise", "tpu.legalise"])
def test_doctests(name: str) -> None:
    """The before/after example of each pass holds."""
    results = doctest.testmod(importlib.import_module(f"sw.compiler.{name}"))
    assert results.attempted > 0 and results.failed == 0


def qdq(x: Any, scale: float, zero: int) -> Any:
    return st.dequantize_linear(st.quantize_linear(x, scale, zero), scale, zero)


def weights(rng: np.random.Generator, *shape: int) -> Any:
    codes = rng.integers(-127, 128, shape).astype(np.int8)
    return st.dequantize_linear(codes, rng.uniform(0.01, 0.02, shape[-1]).astype(np.float32))


def lowered(fetches: list[Any], **shapes: tuple[int, ...]) -> Lowered:
    graph = fetches[0].graph
    for index, tensor in enumerate(fetches):
        graph.create_op("send", (tensor,), {"key": str(index)}, f"send{index}")
    return lower(graph, shapes)


def networks(steps: Lowered) -> list[NetworkStep]:
    return [step for step in steps.steps if isinstance(step, NetworkStep)]


@pytest.fixture(autouse=True)
def fresh_graph() -> Any:
    with st.Graph().as_default():
        yield


def check(fetch: Any, **values: np.ndarray[Any, Any]) -> list[NetworkStep]:
    """Run `fetch` on the TPU and its networks by the plain reference of layers: equal bytes."""
    feeds = {f"{name}:0": value for name, value in values.items()}
    for op in fetch.graph.get_operations():
        op.device = "/tpu:0"
    with st.Session(config=TINY) as session:
        found = session.run(fetch, feeds)
        assert not session.fallback
        (prepared,) = session._plans.values()
        steps = [
            step
            for executable in prepared.executor.executables
            for step in next(iter(executable.lowered.values())).steps  # type: ignore[attr-defined]
        ]
    host: dict[str, Any] = {}
    for name, value in values.items():
        host[f"recv/{name}:0"] = value
    for step in steps:
        if isinstance(step, HostStep):
            given = [
                t.op.attrs["value"] if t.op.type == "const" else host[t.name]
                for t in step.op.inputs
            ]
            host[step.outputs[0]] = step.op.op_def.bind(np, step.op.attrs)(*given)
        elif isinstance(step, NetworkStep):
            ports = {
                port: host[value].reshape(step.network.by_name[port].shape)
                for port, value in step.inputs
            }
            made = reference.run(step.network, ports)
            for result in step.results:
                value = made[result.port]
                if result.correction is not None:
                    value = (value + result.correction).astype(np.float32) * result.scale
                host[result.value] = value.reshape(result.shape)
    np.testing.assert_array_equal(found, host[fetch.name])
    return [step for step in steps if isinstance(step, NetworkStep)]


def test_onnx_runtime_s_form_is_one_program(rng: np.random.Generator) -> None:
    """Q/DQ around pools and reshapes, relu fused with its convolution, logits dequantised."""
    x = st.placeholder(st.float32, [None, 8, 6, 3], name="x")
    h = st.nn.conv2d(qdq(x, 0.02, 5), weights(rng, 3, 3, 3, 6), [2, 1], "SAME", name="c")
    h = qdq(st.nn.relu(st.nn.bias_add(h, np.ones(6, "f"))), 0.1, -128)
    h = qdq(st.nn.max_pool(h, 2, 2, "SAME"), 0.1, -128)
    h = qdq(st.reshape(h, [-1, 2 * 3 * 6]), 0.1, -128)
    y = qdq(st.matmul(h, weights(rng, 36, 5), name="m"), 0.3, 7)
    (step,) = check(y, x=rng.normal(size=(2, 8, 6, 3)).astype(np.float32))
    conv, pool, dense = step.network.layers
    assert isinstance(conv, Convolution) and isinstance(pool, MaxPool)
    assert isinstance(dense, Convolution) and dense.kernel == (2, 3)
    assert conv.low == -128 and not dense.accumulators


@pytest.mark.parametrize(("scale", "zero"), [(0.01, -3), (0.05, -128), (0.5, 100)])
def test_relu6_is_a_clamp(scale: float, zero: int, rng: np.random.Generator) -> None:
    """At the codes of 0 and 6, whatever comes first of clamp and pool."""
    x = st.placeholder(st.float32, [None, 4, 4, 2], name="x")
    h = st.nn.conv2d(qdq(x, 0.05, 0), weights(rng, 1, 1, 2, 3), 1, "VALID")
    h = st.nn.relu6(st.nn.max_pool(st.nn.relu(h), 2, 1, "VALID"))
    (step,) = check(qdq(h, scale, zero), x=rng.normal(size=(1, 4, 4, 2)).astype(np.float32) * 9)
    layer = step.network.layers[0]
    assert isinstance(layer, Convolution)
    six = min(127, zero + round(6 / float(np.float32(scale))))
    assert (layer.low, layer.high) == (zero, six)


def test_float_result_comes_from_exact_sums(rng: np.random.Generator) -> None:
    """Without a scale for the output the accumulators come back; padding is real zero."""
    x = st.placeholder(st.float32, [None, 5, 5, 3], name="x")
    h = st.nn.conv2d(qdq(x, 0.05, 31), weights(rng, 3, 3, 3, 4), 1, "SAME")
    y = st.nn.relu(h + np.float32([1, 2, 3, 4]))
    (step,) = check(y, x=rng.normal(size=(1, 5, 5, 3)).astype(np.float32))
    (layer,) = step.network.layers
    assert isinstance(layer, Convolution) and layer.accumulators


def test_float_weights_and_bias_are_quantised_at_compile_time(rng: np.random.Generator) -> None:
    """Known scales of activations suffice."""
    x = st.placeholder(st.float32, [None, 7], name="x")
    w, b = rng.normal(size=(7, 5)).astype("f"), rng.normal(size=5).astype("f")
    y = qdq(st.matmul(qdq(x, 0.03, -9), w) + b, 0.1, 0)
    a = rng.normal(size=(6, 7)).astype(np.float32)
    (step,) = check(y, x=a)
    (layer,) = step.network.layers
    assert isinstance(layer, Convolution) and layer.bias is not None
    y_of = st.get_default_graph().get_tensor_by_name(y.name)
    with st.Session(config=TINY) as session:
        assert np.abs(session.run(y_of, {"x:0": a}) - (a @ w + b)).max() < 0.3


def test_branches_and_shared_values(rng: np.random.Generator) -> None:
    """One input, two readers of one activation, an inner value that is fetched as well."""
    x = st.placeholder(st.float32, [None, 4], name="x")
    h = qdq(st.nn.relu(st.matmul(qdq(x, 0.02, 0), weights(rng, 4, 6))), 0.05, -128)
    left = qdq(st.matmul(h, weights(rng, 6, 3)), 0.1, 1)
    right = qdq(st.matmul(h, weights(rng, 6, 2)), 0.1, 1)
    steps = lowered([left, right, h], x=(5, 4))
    (step,) = networks(steps)
    assert len(step.network.layers) == 3 and len(step.results) == 3
    assert len(step.network.inputs) == 1


def test_a_reshape_that_moves_channels_starts_another_program(rng: np.random.Generator) -> None:
    """The host rearranges the int8 values in between; a change of scale is a table."""
    x = st.placeholder(st.float32, [None, 6], name="x")
    h = qdq(st.matmul(qdq(x, 0.02, 0), weights(rng, 6, 8)), 0.1, 2)
    h = st.reshape(h, [-1, 4])
    y = qdq(st.matmul(h, weights(rng, 4, 3)), 0.1, 0)
    z = qdq(st.matmul(qdq(y, 0.2, 1), weights(rng, 3, 3)), 0.3, 0)
    assert len(check(z, x=rng.normal(size=(5, 6)).astype(np.float32))) == 2


def test_what_is_not_quantised_as_the_core_does(rng: np.random.Generator) -> None:
    """Weights with a zero point, per-input-channel scales: dynamic, not wrong."""
    x = st.placeholder(st.float32, [None, 3], name="x")
    codes = rng.integers(-100, 100, (3, 3)).astype(np.int8)
    shifted = st.dequantize_linear(codes, 0.1, 4)
    sideways = st.dequantize_linear(codes, np.ones(3, "f"), np.zeros((), "i1"), axis=0)
    ys = [st.matmul(qdq(x, 0.1, 0), w) for w in (shifted, sideways)]
    steps = lowered(ys, x=(2, 3))
    assert sum(isinstance(step, DynamicStep) for step in steps.steps) == 2
    assert not networks(steps)


def test_impossible_scale_names_the_op(rng: np.random.Generator) -> None:
    """A requantisation factor that is no positive float32."""
    x = st.placeholder(st.float32, [None, 3], name="x")
    w = st.dequantize_linear(np.ones((3, 3), np.int8), np.float32(1e-30))
    y = qdq(st.matmul(qdq(x, 1e-30, 0), w, name="tiny"), 1.0, 0)
    with pytest.raises(st.errors.InvalidArgumentError, match="'tiny'.*positive finite"):
        lowered([y], x=(1, 3))


def test_specialise_checks_the_shapes_of_the_run() -> None:
    """What the static shapes left open."""
    x, w = st.placeholder(st.float32, name="x"), st.placeholder(st.float32, name="w")
    x.set_shape([None, None])
    w.set_shape([None, None])
    y = st.matmul(x, w, name="late")
    with pytest.raises(st.errors.ShapeError, match="'late'"):
        lowered([y], x=(2, 3), w=(4, 5))


def test_every_op_is_lowered_or_refused_in_words() -> None:
    """No op of the registry makes `unsupported` fail."""
    with st.device("/tpu:0"):
        x = st.placeholder(st.float32, [2, 2])
        for make in (st.exp, st.shape, st.nn.softmax, st.transpose, st.reduce_sum, st.neg):
            reason = unsupported(make(x).op)
            assert reason is not None and reason.startswith("the TPU has no")


PRODUCTS = {
    "matmul": lambda x, w: st.matmul(st.reshape(x, [-1, 3]), w),
    "conv2d": lambda x, w: st.nn.conv2d(x, w, 1, "SAME"),
    "depthwise_conv2d": lambda x, w: st.nn.depthwise_conv2d(x, w, (1, 1, 1, 1), "SAME"),
    "conv2d_backprop_input": lambda x, w: st.nn.conv2d_transpose(x, w, [2, 8, 8, 3], 2),
    "avg_pool": lambda x, w: st.nn.avg_pool(x, 2, 1, "VALID"),
    "max_pool": lambda x, w: st.nn.max_pool(x, 2, 1, "VALID"),
    "reduce_mean": lambda x, w: st.reduce_mean(x, [1, 2]),
    "concat": lambda x, w: st.concat([x, x], 3),
    "add": lambda x, w: x + x,
    "bias_add": lambda x, w: st.nn.bias_add(x, np.float32([1, 2, 3])),
}
TAKEN = support.LINEAR + support.WINDOWED + support.JOINED + support.UNARY + support.BINARY


@pytest.mark.parametrize("kind", sorted({*TAKEN, "max_pool"}))
def test_every_op_that_is_taken_is_lowered(kind: str) -> None:
    """Between two quantised tensors it is in a program, and only the borders are the host's."""
    x = st.placeholder(st.float32, [2, 4, 4, 3], name="x")
    image = qdq(x, 0.02, -128)  # nothing negative: every function has values
    shape = (3, 3) if kind == "matmul" else (1, 1, 3, 3)
    w = st.dequantize_linear(np.ones(shape, np.int8), np.float32(0.1))
    if kind in PRODUCTS:
        y = PRODUCTS[kind](image, w)
    elif kind in support.BINARY:
        y = st.Graph.apply(image.graph, kind, image, np.float32(1.5))
    else:
        y = st.Graph.apply(image.graph, kind, image + np.float32(0.1))
    for op in image.graph.get_operations():
        op.device = "/tpu:0"
    assert unsupported(y.op) is None
    steps = lowered([qdq(y, 0.05, 3)]).steps
    hosted = [step.op.type for step in steps if isinstance(step, HostStep)]
    assert set(hosted) <= {"quantize_linear", "dequantize_linear"} and hosted
    assert any(isinstance(step, NetworkStep) for step in steps)


def test_every_op_of_the_lists_exists() -> None:
    """What is not in them is the CPU's, as docs/ops.md says of each op."""
    known = {op.name for op in all_ops()}
    assert set(TAKEN + support.VIEWS + support.EPILOGUE + support.BORDER + support.QLINEAR) <= known
