"""The oracle's VECTOR against ONNX Runtime's quantised operators: breaks if one byte differs."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from hw.tpu import isa, numerics
from hw.tpu.config import PARAMETER_SUBROWS, PRESETS
from hw.tpu.isa import Convert, Opcode, Reduce, Source, make
from sim.functional import FunctionalSimulator

TINY = PRESETS["tiny"]
N = TINY.array
FAR = 512
"""Where results go; operands lie below."""


def onnx_runtime(operator, operands, domain="com.microsoft", fed=("x",), **attributes):
    """The operator's result on `operands`, arrays by name in order; `fed` are no constants."""
    names = list(operands)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT8, operands[name].shape) for name in fed
    ]
    result = helper.make_tensor_value_info("y", TensorProto.INT8, None)
    constants = [
        onnx.numpy_helper.from_array(operands[name], name) for name in names if name not in fed
    ]
    node = helper.make_node(operator, names, ["y"], domain=domain, **attributes)
    model = helper.make_model(
        helper.make_graph([node], operator, inputs, [result], constants),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
        ir_version=9,
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {name: operands[name] for name in fed})[0]


def quantisation(name, scale, zero_point):
    return {name + "_scale": np.float32(scale), name + "_zero": np.int8(zero_point)}


def engine_with(rows, bias=0, scale=1.0):
    """An oracle with int8 `rows` from scratchpad row 0 and parameter entry 0."""
    engine = FunctionalSimulator(TINY, 1 << 12)
    engine.scratchpad[: len(rows)] = rows
    words = np.stack([np.broadcast_to(np.asarray(bias, "<i4"), N).view("<u4"),
                      np.broadcast_to(np.asarray(scale, "<f4"), N).view("<u4")])  # fmt: skip
    planes = np.ascontiguousarray(words).view(np.uint8).reshape(2, N, 4).transpose(0, 2, 1)
    engine.parameters[:PARAMETER_SUBROWS] = planes.reshape(PARAMETER_SUBROWS, N)
    return engine


def window(height, width, kernel, step=1, margin=0, **fields):
    """A VECTOR over every output position of a padded image at row 0."""
    rows, columns = (1 + (size + 2 * margin - kernel) // step for size in (height, width))
    return make(
        Opcode.VECTOR, source=Source.SCRATCHPAD, convert=Convert.REQUANTISE, rows=rows,
        columns=columns, base=-margin * (width + 1) % isa.ROW_SPAN, row_stride=step * width,
        column_stride=step, window_rows=kernel, window_columns=kernel, window_row_stride=width,
        window_column_stride=1, height=height, width=width, top=-margin, left=-margin, step_y=step,
        step_x=step, destination=FAR, destination_row_stride=columns, destination_column_stride=1,
        low=-128, high=127, **fields,
    )  # fmt: skip


def scales(rng, count):
    return np.exp2(rng.uniform(-6, 0, count)).astype(np.float32)


@pytest.mark.parametrize("equal", [False, True])
def test_global_average_pooling(rng, equal):
    for _ in range(40):
        size = int(rng.integers(1, 15))
        (x_scale, y_scale), (x_zero, y_zero) = scales(rng, 2), rng.integers(-128, 128, 2)
        y_scale = x_scale if equal else y_scale
        reach = rng.integers(1, 128)
        x = np.clip(rng.integers(-reach, reach + 1, (1, N, size, size)) + x_zero, -128, 127)
        x = x.astype(np.int8)
        expected = onnx_runtime(
            "QLinearGlobalAveragePool",
            {"x": x, **quantisation("x", x_scale, x_zero), **quantisation("y", y_scale, y_zero)},
            channels_last=0,
        )
        scale = numerics.pool_scale(x_scale, y_scale, size * size)
        engine = engine_with(x[0].reshape(N, -1).T, -int(x_zero) * size * size, scale)
        engine.step(window(size, size, size, reduce=Reduce.SUM, zero_point=y_zero))
        np.testing.assert_array_equal(engine.scratchpad[FAR], expected.ravel())


def test_average_pooling_is_the_exact_mean_within_a_step_of_onnx_runtime(rng):
    """ONNX Runtime adds float32 products in window order: only ties may fall differently."""
    different = outputs = 0
    for _ in range(30):
        kernel = int(rng.integers(2, 4))
        (x_scale, y_scale), (x_zero, y_zero) = scales(rng, 2), rng.integers(-50, 50, 2)
        x = rng.integers(-128, 128, (1, N, 9, 8)).astype(np.int8)
        expected = onnx_runtime(
            "QLinearAveragePool",
            {"x": x, **quantisation("x", x_scale, x_zero), **quantisation("y", y_scale, y_zero)},
            kernel_shape=[kernel] * 2, pads=[1] * 4, strides=[2, 2], count_include_pad=1,
        )[0]  # fmt: skip
        scale = numerics.pool_scale(x_scale, y_scale, kernel * kernel)
        engine = engine_with(x[0].reshape(N, -1).T, -int(x_zero) * kernel * kernel, scale)
        engine.step(
            window(9, 8, kernel, 2, 1, reduce=Reduce.SUM, zero_point=y_zero, pad=int(x_zero))
        )
        got = engine.scratchpad[FAR : FAR + expected[0].size].T.reshape(expected.shape)
        error = np.abs(got.astype(int) - expected)
        assert error.max() <= 1
        different, outputs = different + int(error.sum()), outputs + error.size
    assert different <= outputs / 1000


def test_depthwise_convolution(rng):
    for _ in range(60):
        kernel, step = int(rng.integers(1, 6)), int(rng.integers(1, 3))
        pad = int(rng.integers(0, kernel))
        height, width = rng.integers(kernel, 14, 2)
        (x_scale, y_scale), (x_zero, y_zero) = scales(rng, 2), rng.integers(-128, 128, 2)
        w_scale = scales(rng, N) / 64
        x = rng.integers(-128, 128, (1, N, height, width)).astype(np.int8)
        weights = rng.integers(-128, 128, (N, 1, kernel, kernel)).astype(np.int8)
        bias = rng.integers(-5000, 5000, N).astype(np.int32)
        expected = onnx_runtime(
            "QLinearConv",
            {"x": x, **quantisation("x", x_scale, x_zero), "w": weights, "w_scale": w_scale,
             "w_zero": np.zeros(N, np.int8), **quantisation("y", y_scale, y_zero), "bias": bias},
            domain="", group=N, strides=[step, step], pads=[pad] * 4,
        )[0]  # fmt: skip
        scale = numerics.effective_scale(x_scale, w_scale, y_scale)
        folded = bias - int(x_zero) * weights.sum((1, 2, 3), dtype=np.int32)
        engine = engine_with(x[0].reshape(N, -1).T, folded, scale)
        engine.lanes[7 : 7 + kernel * kernel] = weights.reshape(N, -1).T
        command = window(
            int(height), int(width), kernel, step, pad, weights=7, zero_point=y_zero,
            reduce=Reduce.MULTIPLY_ACCUMULATE, pad=int(x_zero),
        )  # fmt: skip
        engine.step(command)
        got = engine.scratchpad[FAR : FAR + expected[0].size].T.reshape(expected.shape)
        np.testing.assert_array_equal(got, expected)


def rounding_quantisations(rng, count):
    """Scales of A, B and C, and zero points: ratios with ties everywhere, and any others."""
    for number in range(count):
        free = np.sort(scales(rng, 3))
        step = np.float32(rng.uniform(0.01, 0.1))
        related = [np.float32(step * rng.integers(1, 8) / k) for k in (8, 10)]
        powers = np.exp2(rng.integers(-3, 0, 3)).astype(np.float32)
        yield (free, (*related, step), powers)[number % 3], rng.integers(-128, 128, 3)


def test_residual_add_of_every_pair(rng):
    first, second = (x.astype(np.int8) for x in np.meshgrid(*[np.arange(-128, 128)] * 2))
    for chosen, zeros in rounding_quantisations(rng, 60):
        operands = {}
        for name, scale, zero in zip("abc", chosen, zeros, strict=True):
            operands |= {"a": {"a": first}, "b": {"b": second}, "c": {}}[name]
            operands |= quantisation(name, scale, zero)
        expected = onnx_runtime("QLinearAdd", operands, fed=("a", "b"))
        constants = numerics.add_constants(tuple(chosen), tuple(zeros))
        np.testing.assert_array_equal(numerics.residual_add(first, second, constants), expected)


@pytest.mark.parametrize("swap", [0, 1])
def test_the_add_of_a_vector_instruction(rng, swap):
    for chosen, zeros in rounding_quantisations(rng, 12):
        rows = rng.integers(-128, 128, (200, N)).astype(np.int8)
        engine = engine_with(rows)
        constants = numerics.add_constants(tuple(chosen), tuple(zeros))
        packed = np.frombuffer(numerics.pack_add_constants(constants), np.uint8)
        engine.parameters[PARAMETER_SUBROWS : 2 * PARAMETER_SUBROWS, :2] = packed.reshape(2, 8).T
        engine.step(
            make(Opcode.VECTOR, source=Source.SCRATCHPAD, columns=100, width=100, column_stride=1,
                 step_x=1, add=1, swap=swap, second=100, second_column_stride=1,
                 second_parameters=1, destination=FAR, destination_column_stride=1, low=-100,
                 high=99)
        )  # fmt: skip
        pair = (rows[100:], rows[:100]) if swap else (rows[:100], rows[100:])
        expected = np.clip(numerics.residual_add(*pair, constants), -100, 99)
        np.testing.assert_array_equal(engine.scratchpad[FAR : FAR + 100], expected)


def test_a_table_is_onnx_runtimes_sigmoid(rng):
    for _ in range(20):
        (x_scale, y_scale), (x_zero, y_zero) = scales(rng, 2), rng.integers(-128, 128, 2)
        every = np.arange(-128, 128).astype(np.int8)
        given = {**quantisation("x", x_scale, x_zero), **quantisation("y", y_scale, y_zero)}
        table = onnx_runtime("QLinearSigmoid", {"x": every, **given})
        x = rng.integers(-128, 128, (1, N, 10, 10)).astype(np.int8)
        expected = onnx_runtime("QLinearSigmoid", {"x": x, **given})
        engine = engine_with(x[0].reshape(N, -1).T)
        engine.lanes[256:512] = table[:, None]
        engine.step(
            make(Opcode.VECTOR, source=Source.SCRATCHPAD, columns=100, width=100, column_stride=1,
                 step_x=1, table=1, table_number=1, destination=FAR, destination_column_stride=1,
                 low=-128, high=127)
        )  # fmt: skip
        got = engine.scratchpad[FAR : FAR + 100].T.reshape(expected.shape)
        np.testing.assert_array_equal(got, expected)
