"""What layers mean to ONNX Runtime: the independent reference that everyone else computes with."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def run_onnx(op, constants, x, attributes):
    """One quantised op: its first input is `x`, its others `constants` in order."""
    names = ["x", *constants]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.INT8, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT8, [None] * x.ndim)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


def convolution(layer, x, zero, result):
    """int8 `result` of a requantising convolution of `x` (NHWC), by QLinearConv.

    With input and output scale 1 the weights' scale is the effective scale, exactly.
    """
    (top, bottom), (left, right) = layer.padding
    constants = {
        "x_scale": np.float32(1), "x_zero": np.int8(zero),
        "w": np.ascontiguousarray(layer.weights.transpose(3, 2, 0, 1)),
        "w_scale": layer.scale, "w_zero": np.zeros(layer.weights.shape[3], np.int8),
        "y_scale": np.float32(1), "y_zero": np.int8(result.zero_point),
    }  # fmt: skip
    if layer.bias is not None:
        constants["bias"] = layer.bias
    attributes = {
        "kernel_shape": layer.kernel, "strides": layer.strides, "dilations": layer.dilations,
        "pads": [top, left, bottom, right],
    }  # fmt: skip
    y = run_onnx(
        "QLinearConv",
        {name: np.asarray(value) for name, value in constants.items()},
        np.ascontiguousarray(x.transpose(0, 3, 1, 2)),
        attributes,
    )
    return np.clip(y.transpose(0, 2, 3, 1), layer.low, layer.high)


def matmul(layer, x, zero, result):
    """The same of a bias-free 1x1 convolution of `x` `[1, 1, M, K]`, by QLinearMatMul."""
    constants = {
        "x_scale": np.float32(1), "x_zero": np.int8(zero), "w": layer.weights[0, 0],
        "w_scale": layer.scale, "w_zero": np.zeros(layer.weights.shape[3], np.int8),
        "y_scale": np.float32(1), "y_zero": np.int8(result.zero_point),
    }  # fmt: skip
    constants = {name: np.asarray(value) for name, value in constants.items()}
    y = run_onnx("QLinearMatMul", constants, x[0, 0], {})
    return np.clip(y[None, None], layer.low, layer.high)


def is_matmul(layer, x):
    """Whether QLinearMatMul can say it."""
    plain = layer.kernel == layer.strides == (1, 1) and layer.padding == ((0, 0), (0, 0))
    return plain and layer.bias is None and x.shape[:2] == (1, 1)
