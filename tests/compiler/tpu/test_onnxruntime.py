"""The same layers in ONNX Runtime: breaks if our int8 results stop being those of everyone."""

import numpy as np
import pytest

from hw.tpu import numerics
from hw.tpu.config import PRESETS
from sw.compiler.tpu.compile import compile_network
from sw.compiler.tpu.layers import Activation, Convolution, result_size
from sw.compiler.tpu.network import Network
from tests.compiler.tpu.checks import check_order, run_program
from tests.compiler.tpu.onnx_reference import run_onnx


def quantised(rng, depth, cout):
    """Scales and zero points: input scale and zero, weight scales, output scale and zero."""
    s_x, s_w = np.float32(rng.uniform(0.01, 0.2)), rng.uniform(0.001, 0.05, cout)
    s_y = np.float32(s_x * s_w.mean() * 80 * np.sqrt(depth))
    z_x, z_y = (int(value) for value in rng.integers(-128, 128, 2))
    return s_x, z_x, s_w.astype(np.float32), s_y, z_y


@pytest.mark.parametrize("number", range(12))
def test_qlinear_conv(rng, number):
    config = PRESETS[["tiny", "default", "large"][number % 3]]
    kernel = tuple(int(v) for v in rng.integers(1, 6, 2))
    strides, dilations = ((int(a), int(b)) for a, b in rng.integers(1, 3, (2, 2)))
    pads = rng.integers(0, 3, 4)
    padding = (int(pads[0]), int(pads[2])), (int(pads[1]), int(pads[3]))
    cin, cout = (int(v) for v in rng.integers(1, 40, 2))
    shape = (int(rng.integers(1, 4)), *(int(v) for v in rng.integers(10, 24, 2)), cin)
    s_x, z_x, s_w, s_y, z_y = quantised(rng, cin * kernel[0] * kernel[1], cout)
    weights = rng.integers(-127, 128, (*kernel, cin, cout), dtype=np.int8)
    bias = rng.integers(-20000, 20000, cout, dtype=np.int32)
    result = (
        shape[0],
        *(
            result_size(shape[1 + i], kernel[i], strides[i], dilations[i], padding[i])
            for i in (0, 1)
        ),
        cout,
    )
    layer = Convolution(
        "c", "x", "y", weights, bias, numerics.effective_scale(s_x, s_w, s_y),
        strides, padding, dilations,
    )  # fmt: skip
    activations = (Activation("x", shape, float(s_x), z_x), Activation("y", result, s_y, z_y))
    program = compile_network(Network(("x",), (layer,), ("y",), activations), config)
    x = rng.integers(-128, 128, shape, dtype=np.int8)
    constants = {
        "x_scale": s_x, "x_zero": np.int8(z_x), "w": weights.transpose(3, 2, 0, 1).copy(),
        "w_scale": s_w, "w_zero": np.zeros(cout, np.int8), "y_scale": s_y, "y_zero": np.int8(z_y),
        "bias": bias,
    }  # fmt: skip
    attributes = {
        "kernel_shape": kernel, "strides": strides, "dilations": dilations,
        "pads": [int(v) for v in pads],
    }  # fmt: skip
    expected = run_onnx(
        "QLinearConv",
        {name: np.asarray(value) for name, value in constants.items()},
        np.ascontiguousarray(x.transpose(0, 3, 1, 2)),
        attributes,
    )
    check_order(program)
    np.testing.assert_array_equal(
        run_program(program, {"x": x})["y"].transpose(0, 3, 1, 2), expected
    )


@pytest.mark.parametrize("number", range(6))
def test_qlinear_matmul(rng, number):
    config = PRESETS[["tiny", "default", "large"][number % 3]]
    rows, depth, columns = (int(v) for v in rng.integers(1, 150, 3))
    s_x, z_x, s_w, s_y, z_y = quantised(rng, depth, columns)
    weights = rng.integers(-127, 128, (depth, columns), dtype=np.int8)
    layer = Convolution(
        "m", "x", "y", weights[None, None], scale=numerics.effective_scale(s_x, s_w, s_y)
    )
    activations = (
        Activation("x", (1, 1, rows, depth), float(s_x), z_x),
        Activation("y", (1, 1, rows, columns), float(s_y), z_y),
    )
    program = compile_network(Network(("x",), (layer,), ("y",), activations), config)
    x = rng.integers(-128, 128, (rows, depth), dtype=np.int8)
    constants = {
        "x_scale": s_x, "x_zero": np.int8(z_x), "w": weights, "w_scale": s_w,
        "w_zero": np.zeros(columns, np.int8), "y_scale": s_y, "y_zero": np.int8(z_y),
    }  # fmt: skip
    expected = run_onnx(
        "QLinearMatMul", {name: np.asarray(value) for name, value in constants.items()}, x, {}
    )
    check_order(program)
    y = run_program(program, {"x": x[None, None]})["y"]
    np.testing.assert_array_equal(y[0, 0], expected)
