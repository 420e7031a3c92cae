"""What the test of ONNX export builds on an image [2, 9, 8, 6], and with which values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import systolica as st

Array = np.ndarray[Any, Any]
Value = Callable[..., Array]
IMAGE = (2, 9, 8, 6)


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("f")


def positive(*shape: int) -> Array:
    return np.abs(normal(*shape)) + np.float32(0.5)


@dataclass(frozen=True)
class Case:
    """`build` makes the op of a placeholder, whose values `value` gives for a shape."""

    build: Callable[[Any], Any]
    value: Value = normal


def through(op: str, value: Value = normal, **attrs: Any) -> Case:
    """An op of one operand."""
    return Case(lambda x: x.op.graph.apply(op, x, **attrs), value)


def two(op: str, value: Value = normal) -> Case:
    """An op of an image and a vector."""
    return Case(lambda x: x.op.graph.apply(op, x, value(6)), value)


def qconv(x: Any) -> Any:
    codes = st.quantize_linear(x, 0.05, 3)
    w = np.random.default_rng(1).integers(-127, 128, (3, 3, 6, 5)).astype(np.int8)
    scale = positive(5) / 100
    bias = np.arange(5, dtype=np.int32) * 100
    y = st.qlinear_conv(codes, 0.05, 3, w, scale, 0, 0.3, -5, bias, 2, "SAME")
    return st.dequantize_linear(y, 0.3, -5)


def qmatmul(x: Any) -> Any:
    codes = st.quantize_linear(x, 0.05, 3)
    w = np.random.default_rng(1).integers(-127, 128, (6, 5)).astype(np.int8)
    return st.dequantize_linear(
        st.qlinear_matmul(codes, 0.05, 3, w, positive(5) / 100, 0, 0.3, -5), 0.3, -5
    )


def deconv(x: Any) -> Any:
    up = x.op.graph.apply("conv2d_backprop_input", np.array([2, 18, 15, 4]), normal(3, 3, 4, 6), x,
                          strides=(2, 2), padding="SAME")  # fmt: skip
    return st.nn.relu(up)


UNARY = [
    "abs",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "acos",
    "ceil",
    "cos",
    "cosh",
    "elu",
    "erf",
    "exp",
    "expm1",
    "floor",
    "identity",
    "log",
    "log1p",
    "neg",
    "reciprocal",
    "relu",
    "relu6",
    "rint",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "softplus",
    "softsign",
    "sqrt",
    "square",
    "stop_gradient",
    "tan",
    "tanh",
]
BINARY = [
    "add",
    "div",
    "equal",
    "floordiv",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "maximum",
    "minimum",
    "mod",
    "mul",
    "not_equal",
    "squared_difference",
    "sub",
]
DOMAIN: dict[str, Any] = {
    "acosh": lambda *s: positive(*s) + np.float32(1),
    **dict.fromkeys(("log", "rsqrt", "sqrt", "reciprocal", "log1p"), positive),
    **dict.fromkeys(("asin", "acos", "atanh"), lambda *s: np.tanh(normal(*s))),
}
CASES: dict[str, Case] = {
    **{name: through(name, value=DOMAIN.get(name, normal)) for name in UNARY},
    **{name: two(name) for name in BINARY},
    **{name: through(name, axis=(1, 2)) for name in ("reduce_max", "reduce_mean", "reduce_sum")},
    "reduce_min": through("reduce_min", axis=(-1,), keepdims=True),
    "reduce_prod": through("reduce_prod", axis=(3,)),
    "mean of all": through("reduce_mean"),
    "mean kept": through("reduce_mean", axis=(2, 1), keepdims=True),
    "pow": two("pow", positive),
    "add_n": Case(lambda x: st.add_n([x, x * 2.0, x])),
    "gelu": through("gelu"),
    "gelu by tanh": through("gelu", approximate=True),
    "is_nan": Case(lambda x: st.is_nan(st.log(x))),
    "is_inf": Case(lambda x: st.is_inf(x / 0.0)),
    "is_finite": Case(lambda x: st.is_finite(st.log(x))),
    "logical_and": Case(lambda x: st.logical_and(x > 0, x < 1)),
    "logical_or": Case(lambda x: st.logical_or(x > 1, x < 0)),
    "logical_xor": Case(lambda x: st.logical_xor(x > 1, x < 2)),
    "logical_not": Case(lambda x: st.logical_not(x > 1)),
    "where": Case(lambda x: st.where(x > 0, x, x * 0.1)),
    "softmax": through("softmax"),
    "softmax of rows": through("softmax", axis=1),
    "log_softmax": through("log_softmax"),
    "argmax": through("argmax", axis=3),
    "argmin": through("argmin", axis=1, output_type=st.int32),
    "cast": through("cast", dtype=st.int32),
    "transpose": through("transpose", perm=(3, 0, 2, 1)),
    "to and from NCHW": Case(
        lambda x: st.transpose(st.transpose(x, (0, 3, 1, 2)) * 2.0, (0, 2, 3, 1))
    ),
    "reshape": Case(lambda x: st.reshape(x, [2, -1])),
    "reshape to a computed shape": Case(lambda x: st.reshape(x, st.stack([st.shape(x)[0], -1]))),
    "expand_dims": through("expand_dims", axis=2),
    "squeeze": Case(lambda x: st.squeeze(st.reduce_sum(x, [1, 2], keepdims=True), [1, 2])),
    "squeeze all": Case(lambda x: st.squeeze(st.reduce_sum(x, [1], keepdims=True))),
    "concat": Case(lambda x: st.concat([x, x * 2.0], -1)),
    "split": Case(lambda x: st.add_n(st.split(x, 3, 3))),
    "stack": Case(lambda x: st.stack([x, x * 2.0], 1)),
    "unstack": Case(lambda x: st.unstack(x, axis=2)[3]),
    "pad": Case(lambda x: st.pad(x, [[0, 0], [1, 2], [3, 4], [0, 1]], constant_values=2.5)),
    "pad by reflection": Case(lambda x: st.pad(x, [[0, 0], [1, 2], [3, 4], [0, 0]], "REFLECT")),
    "strided_slice": Case(lambda x: x[:, 1:-1:2, None, ..., 3]),
    "slice backwards": Case(lambda x: x[:, ::-1, -1]),
    "shape": through("shape"),
    "size": through("size"),
    "gather": Case(lambda x: st.gather(x, [2, 0, 2], axis=1)),
    "tile": through("tile", multiples=(1, 2, 1, 3)),
    "broadcast_to": Case(
        lambda x: x.op.graph.apply("broadcast_to", x[:, :1], np.array([2, 4, 8, 6]))
    ),
    "conv2d": Case(lambda x: st.nn.conv2d(x, normal(3, 2, 6, 5), 2, "SAME", dilations=1)),
    "dilated": Case(lambda x: st.nn.conv2d(x, normal(3, 2, 6, 5), 1, "VALID", dilations=2)),
    "bias_add": Case(lambda x: st.nn.bias_add(x, normal(6))),
    "conv with bias": Case(
        lambda x: st.nn.conv2d(x, normal(1, 1, 6, 5), 1, ((1, 2), (0, 1))) + normal(5)
    ),
    "conv with its filter computed": Case(
        lambda x: st.nn.conv2d(x, st.reshape(x[0, 0, :, :], [2, 2, 6, 2]), 1, "SAME")
    ),
    "depthwise_conv2d": Case(
        lambda x: st.nn.depthwise_conv2d(x, normal(3, 3, 6, 2), [1, 2, 2, 1], "SAME")
    ),
    "conv2d_backprop_input": Case(deconv),
    "max_pool": Case(lambda x: st.nn.max_pool(x, 3, 2, "SAME")),
    "avg_pool": Case(lambda x: st.nn.avg_pool(x, 3, 2, "SAME")),
    "lrn": Case(lambda x: st.nn.local_response_normalization(x, 2, 1.5, 0.3, 0.75)),
    "matmul": Case(lambda x: st.matmul(x, normal(6, 4))),
    "matmul turned": Case(lambda x: st.matmul(x[:, 0], x[:, 1], transpose_b=True)),
    "matrix with bias": Case(
        lambda x: st.matmul(x[0, 0], normal(4, 6), transpose_b=True) + normal(4)
    ),
    "matrix turned": Case(lambda x: st.matmul(x[0, 0], x[1, 1], transpose_a=True)),
    "quantize_linear": Case(lambda x: st.quantize_linear(x, 0.02, -7)),
    "dequantize_linear": Case(
        lambda x: st.dequantize_linear(
            st.quantize_linear(x, positive(6), np.zeros(6, np.int8)),
            positive(6),
            np.zeros(6, np.int8),
        )
    ),
    "qlinear_conv": Case(qconv),
    "qlinear_matmul": Case(qmatmul),
}
