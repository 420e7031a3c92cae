"""Pools as products: break if a hostile shape makes an import work or take memory without end, or
if a pool that a product says is another one."""

import contextlib

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

import systolica as st


def model(kind, shape, **attrs):
    """QuantizeLinear, DequantizeLinear and an average, or a maximum of the codes."""
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    rank = [None] * len(shape)
    real = kind == "AveragePool"
    result = helper.make_tensor_value_info("y", TensorProto.INT8, rank)
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"])]
    if real:
        nodes.append(helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]))
        nodes.append(helper.make_node(kind, ["d"], ["p"], **attrs))
        nodes.append(helper.make_node("QuantizeLinear", ["p", "t", "z"], ["y"]))
    else:
        nodes.append(helper.make_node(kind, ["q"], ["y"], **attrs))
    constants = [
        helper.make_tensor("s", TensorProto.FLOAT, [], [0.03]),
        helper.make_tensor("t", TensorProto.FLOAT, [], [0.0123]),
        helper.make_tensor("z", TensorProto.INT8, [], [3]),
    ]
    graph = helper.make_graph(nodes, "pool", [source], [result], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


@pytest.mark.parametrize(
    ("kind", "shape", "attrs"),
    [
        (
            "MaxPool",
            (2, 3, 9, 8),
            {"kernel_shape": [2, 3], "dilations": [2, 3], "pads": [1, 1, 0, 2]},
        ),
        ("MaxPool", (1, 2, 11), {"kernel_shape": [3], "dilations": [2], "strides": [2]}),
        (
            "MaxPool",
            (1, 2, 5, 6, 7),
            {"kernel_shape": [2, 3, 2], "strides": [1, 2, 2], "pads": [1] * 6},
        ),
        ("AveragePool", (2, 3, 9), {"kernel_shape": [3], "strides": [2]}),
        (
            "AveragePool",
            (1, 2, 6, 7),
            {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1},
        ),
        ("AveragePool", (1, 2, 4, 5, 6), {"kernel_shape": [2, 3, 2], "pads": [1, 1, 0, 0, 1, 1]}),
    ],
)
def test_equals_onnx_runtime(rng, kind, shape, attrs):
    """On the TPU; ONNX Runtime's codes, or the next one at a tie of its float32 sums."""
    made = model(kind, shape, **attrs)
    values = rng.normal(size=shape).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    (want,) = onnxruntime.InferenceSession(made.SerializeToString(), options).run(
        None, {"x": values}
    )
    graph = st.import_onnx(made, device="/tpu:0")
    with st.Session(graph=graph) as session:
        found = session.run(graph.outputs["y"], {graph.inputs["x"]: values})
        assert session.tpu_reports
    apart = np.abs(found.astype(int) - want)
    assert apart.max() <= (kind == "AveragePool") and (apart > 0).mean() < 0.02


@pytest.mark.parametrize(
    ("kind", "shape", "attrs"),
    [
        ("AveragePool", (1, 1, 1 << 20, 1 << 20, 1 << 20), {"kernel_shape": [2, 2, 2]}),
        ("AveragePool", (1, 1, 1 << 30), {"kernel_shape": [1 << 29]}),
        (
            "AveragePool",
            (1, 1, 8, 8),
            {"kernel_shape": [2, 2], "pads": [1 << 30] * 4, "count_include_pad": 1},
        ),
        ("MaxPool", (1, 1, 1 << 20, 1 << 20), {"kernel_shape": [250, 250], "dilations": [2, 2]}),
        (
            "MaxPool",
            (1, 1, 8, 8),
            {"kernel_shape": [2, 2], "dilations": [2, 2], "pads": [1 << 30] * 4},
        ),
    ],
)
def test_sizes_without_end_are_not_worked_on(kind, shape, attrs):
    """Imported at once, as an op of the CPU, or refused."""
    with contextlib.suppress(st.errors.ModelError):
        st.import_onnx(model(kind, shape, **attrs), device="/tpu:0")
