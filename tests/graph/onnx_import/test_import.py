"""Whole small models, against ONNX Runtime: layouts, names, quantised forms, what is open."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

import systolica as st
from tests.graph.onnx_import.models import model, ours, theirs

node = helper.make_node


def _normal(seed: int, *shape: int, scale: float = 1.0) -> Any:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def convnet() -> Any:
    """conv, batch norm, relu, max pool, residual add, grouped and depthwise conv, global pool."""
    return model(
        [
            node("Conv", ["x", "w1", "b1"], ["c1"], name="conv1", pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c1", "s", "o", "m", "v"], ["n1"], name="bn"),
            node("Relu", ["n1"], ["r1"], name="relu1"),
            node("MaxPool", ["r1"], ["p1"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
            node("Conv", ["p1", "w2"], ["c2"], name="conv2", group=2, auto_pad="SAME_UPPER"),
            node("Add", ["c2", "p1"], ["a2"], name="residual"),
            node("Conv", ["a2", "w3"], ["c3"], group=8, auto_pad="SAME_LOWER", name="depthwise"),
            node("Concat", ["c3", "a2"], ["cat"], axis=1),
            node("Mul", ["cat", "k"], ["scaled"]),
            node("GlobalAveragePool", ["scaled"], ["g"]),
            node("Flatten", ["g"], ["f"]),
            node("Gemm", ["f", "w4", "b4"], ["y"], name="fc", transB=1),
        ],
        {"x": [2, 3, 11, 13]},
        ["y", "cat"],
        {
            "w1": _normal(1, 8, 3, 3, 3),
            "b1": _normal(2, 8),
            "s": _normal(3, 8),
            "o": _normal(4, 8),
            "m": _normal(5, 8),
            "v": np.abs(_normal(6, 8)),
            "w2": _normal(7, 8, 4, 3, 3),
            "w3": _normal(8, 8, 1, 3, 3),
            "k": _normal(9, 16, 1, 1),
            "w4": _normal(10, 5, 16),
            "b4": _normal(11, 5),
        },
    )


def test_a_convnet_equals_onnx_runtime() -> None:
    made, feeds = convnet(), {"x": _normal(0, 2, 3, 11, 13)}
    for have, want in zip(ours(made, feeds), theirs(made, feeds), strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-4)


def test_layers_stay_channels_last() -> None:
    """Between the layers of a convnet stands no transpose: whole networks fit on the TPU."""
    graph = st.import_onnx(convnet())
    turned = [op.name for op in graph.get_operations() if op.type == "transpose"]
    assert len(turned) == 2  # the image on its way in, the fetched `cat` on its way out


@pytest.mark.parametrize("transposed", [0, 1])
def test_flattened_images_turn_the_weights_and_not_the_images(transposed: int) -> None:
    weights = _normal(3, 5, 6 * 4 * 3) if transposed else _normal(3, 6 * 4 * 3, 5)
    made = model(
        [
            node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            node("Flatten", ["c"], ["f"]),
            node("Gemm", ["f", "v"], ["y"], transB=transposed),
            node("Neg", ["f"], ["n"]),
        ],
        {"x": [2, 3, 4, 3]},
        ["y", "n"],
        {"w": _normal(1, 6, 3, 3, 3), "v": weights},
    )
    feeds = {"x": _normal(0, 2, 3, 4, 3)}
    for have, want in zip(ours(made, feeds), theirs(made, feeds), strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-4)
    graph = st.import_onnx(made)
    way, left = set(), [graph.outputs["y"].op]
    while left:
        op = left.pop()
        way.add(op)
        left += [t.op for t in op.inputs]
    assert [op.type for op in way].count("transpose") == 1  # the image on its way in


def test_ops_bear_the_names_of_nodes() -> None:
    graph = st.import_onnx(convnet())
    assert list(graph.inputs) == ["x"]
    assert list(graph.outputs) == ["y", "cat"]
    assert graph.get_operation_by_name("relu1").type == "relu"
    assert graph.get_operation_by_name("fc").type == "bias_add"


def test_an_open_batch_stays_open_or_is_set() -> None:
    made = model([node("Relu", ["x"], ["y"])], {"x": ["batch", 3]}, ["y"])
    assert st.import_onnx(made).inputs["x"].shape == [None, 3]
    assert st.import_onnx(made, shapes={"x": [4, 3]}).outputs["y"].shape == [4, 3]
    with pytest.raises(st.errors.ModelError, match="no input 'z'"):
        st.import_onnx(made, shapes={"z": [1]})


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_a_quantised_convnet_equals_onnx_runtime(kind: Any) -> None:
    """QDQ with int8 or uint8 activations, weights per channel: one step at most, as the float
    between dequantise and quantise is summed in another order."""
    zero = kind(3) if kind is np.int8 else kind(131)
    weights = np.random.default_rng(1).integers(-127, 128, (6, 3, 3, 3)).astype(np.int8)
    made = model(
        [
            node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
            node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
            node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
            node("DequantizeLinear", ["b", "bs", "bz"], ["bd"], axis=0),
            node("Conv", ["xd", "wd", "bd"], ["c"], pads=[1, 1, 1, 1], name="conv"),
            node("Relu", ["c"], ["r"]),
            node("QuantizeLinear", ["r", "ys", "xz"], ["yq"]),
            node("MaxPool", ["yq"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        ],
        {"x": [1, 3, 8, 8]},
        ["p"],
        {
            "xs": np.float32(0.02),
            "xz": zero,
            "w": weights,
            "ws": np.abs(_normal(2, 6, scale=0.01)) + np.float32(0.001),
            "wz": np.zeros(6, np.int8),
            "b": np.arange(6, dtype=np.int32) * 100,
            "bs": np.full(6, 1e-4, np.float32),
            "bz": np.zeros(6, np.int32),
            "ys": np.float32(0.05),
        },
    )
    feeds = {"x": _normal(0, 1, 3, 8, 8)}
    (have,), (want,) = ours(made, feeds), theirs(made, feeds)
    assert have.dtype == want.dtype == kind
    assert np.max(np.abs(have.astype(int) - want.astype(int))) <= 1
    graph = st.import_onnx(made)
    assert [op.type for op in graph.get_operations()].count("transpose") == 2


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_integer_operators_are_bit_exact(kind: Any) -> None:
    random = np.random.default_rng(5)
    low = np.iinfo(kind).min
    x = random.integers(low, low + 256, (1, 4, 9, 9)).astype(kind)
    w = random.integers(-127, 128, (5, 4, 3, 3)).astype(np.int8)
    b = random.integers(-127, 128, (5 * 9 * 9, 7)).astype(np.int8)
    made = model(
        [
            node(
                "QLinearConv",
                ["x", "s1", "z", "w", "s2", "wz", "s3", "z", "bias"],
                ["c"],
                pads=[1, 1, 1, 1],
            ),
            node("Flatten", ["c"], ["f"]),
            node("QLinearMatMul", ["f", "s3", "z", "b", "s4", "bz", "s5", "z"], ["y"]),
        ],
        {"x": (3 if kind is np.int8 else 2, [1, 4, 9, 9])},
        ["c", "y"],
        {
            "s1": np.float32(0.1),
            "z": kind(low + 100),
            "w": w,
            "s2": np.abs(_normal(1, 5, scale=0.01)),
            "wz": np.zeros(5, np.int8),
            "s3": np.float32(0.7),
            "bias": random.integers(-999, 999, 5).astype(np.int32),
            "b": b,
            "s4": np.float32(0.003),
            "bz": np.int8(0),
            "s5": np.float32(1.1),
        },
    )
    for have, want in zip(ours(made, {"x": x}), theirs(made, {"x": x}), strict=True):
        np.testing.assert_array_equal(have, want)
    types = [op.type for op in st.import_onnx(made).get_operations()]
    assert "qlinear_conv" in types and "qlinear_matmul" in types
