"""Quantised inference ops with ONNX's semantics, NHWC, by the arithmetic of `hw.tpu.numerics`.

Inputs follow ONNX's order: values with their scale and zero point, then the output's scale and
zero point. Activations are asymmetric int8 per tensor; weights symmetric int8 per tensor or per
output channel, so their zero point is 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hw.tpu import numerics
from sw.graph.build import apply, register_op
from sw.graph.dtypes import DType, float32, int8, int32, uint8
from sw.graph.errors import DTypeError, ShapeError
from sw.graph.ops.conv import conv_gemm, conv_shape, window_of
from sw.graph.ops.windows import Padding, Pair, padded, spatial_padding, spatial_pair
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor

# float32 sums of int8 products are exact up to 2**24: below this many terms GEMM can use it
_EXACT_FLOAT32_TERMS = (1 << 24) // (128 * 255)


def _require(tensor: Tensor, dtype: DType, what: str) -> None:
    if tensor.dtype is not dtype:
        raise DTypeError(f"{what} must be {dtype}, not {tensor.dtype}")


def _along(parameter: Any, rank: int, axis: int) -> Any:
    """A per-channel parameter shaped to broadcast along `axis`."""
    value = np.asarray(parameter)
    if value.ndim == 0 or rank == 0:
        return value
    shape = [1] * rank
    shape[axis] = -1
    return value.reshape(shape)


def _quantize(xp: Any, x: Any, scale: Any, zero_point: Any, axis: int) -> Any:
    return numerics.quantize(
        x, _along(scale, np.ndim(x), axis), _along(zero_point, np.ndim(x), axis)
    )


def _dequantize(xp: Any, q: Any, scale: Any, zero_point: Any, axis: int) -> Any:
    return numerics.dequantize(
        q, _along(scale, np.ndim(q), axis), _along(zero_point, np.ndim(q), axis)
    )


def _quantize_type(inputs: tuple[Tensor, ...], axis: int) -> TensorType:
    _require(inputs[0], float32, "the values")
    _require(inputs[1], float32, "the scale")
    _require(inputs[2], int8, "the zero point")
    return TensorType(int8, inputs[0].shape)


def _dequantize_type(inputs: tuple[Tensor, ...], axis: int) -> TensorType:
    if inputs[0].dtype not in (int8, int32):
        raise DTypeError(f"the values must be int8 or int32, not {inputs[0].dtype}")
    _require(inputs[1], float32, "the scale")
    return TensorType(float32, inputs[0].shape)


def _check_quantised(inputs: tuple[Tensor, ...]) -> None:
    for index, what in ((0, "a"), (2, "its zero point"), (3, "b"), (7, "the output zero point")):
        _require(inputs[index], int8, what)
    for index, what in ((1, "the scale of a"), (4, "the scale of b"), (6, "the output scale")):
        _require(inputs[index], float32, what)
    for index in (1, 2, 6, 7):
        if inputs[index].shape.num_elements() not in (None, 1):
            raise ShapeError(
                "activations are quantised per tensor: scale and zero point are scalars"
            )


def _exact_type(terms: int) -> Any:
    return np.float32 if terms <= _EXACT_FLOAT32_TERMS else np.float64


def _scalar(value: Any) -> Any:
    return np.asarray(value).reshape(())


def _finish(total: Any, a_scale: Any, b_scale: Any, y_scale: Any, y_zero: Any) -> Any:
    scale = numerics.effective_scale(_scalar(a_scale), np.asarray(b_scale), _scalar(y_scale))
    return numerics.requantise(numerics.wrap_int32(total), scale, int(_scalar(y_zero)))


def _centred(x: Any, zero: Any, kind: Any) -> Any:
    return np.asarray(x, kind) - kind(int(_scalar(zero)))


def _weights(b: Any, zero: Any, kind: Any) -> Any:
    if np.any(np.asarray(zero)):
        raise ValueError("weights are symmetric: their zero point must be 0")
    return np.asarray(b, kind)


def _qmatmul(
    xp: Any, a: Any, a_s: Any, a_z: Any, b: Any, b_s: Any, b_z: Any, y_s: Any, y_z: Any
) -> Any:
    kind = _exact_type(a.shape[-1])
    total = np.matmul(_centred(a, a_z, kind), _weights(b, b_z, kind))
    return _finish(total, a_s, b_s, y_s, y_z)


def _qmatmul_type(inputs: tuple[Tensor, ...]) -> TensorType:
    _check_quantised(inputs)
    a, b = inputs[0].shape, inputs[3].shape
    if a.dims is None or b.dims is None:
        return TensorType(int8, Shape(None))
    if len(a.dims) < 2 or len(b.dims) != 2:
        raise ShapeError(f"matrices are needed, not shapes {a} and {b}")
    if None not in (a.dims[-1], b.dims[0]) and a.dims[-1] != b.dims[0]:
        raise ShapeError(f"inner sizes {a.dims[-1]} and {b.dims[0]} differ")
    return TensorType(int8, Shape((*a.dims[:-1], b.dims[1])))


def _qconv(
    xp: Any,
    x: Any,
    x_s: Any,
    x_z: Any,
    w: Any,
    w_s: Any,
    w_z: Any,
    y_s: Any,
    y_z: Any,
    *bias: Any,
    strides: Pair,
    padding: Padding,
    dilations: Pair,
) -> Any:
    window = window_of(w.shape, strides, padding, dilations)
    kind = _exact_type(int(np.prod(w.shape[:3])))
    # padding is real zero, which is 0 once the zero point is taken off
    total = conv_gemm(padded(_centred(x, x_z, kind), window), _weights(w, w_z, kind), window)
    if bias:
        total = total.astype(np.int64) + bias[0]
    return _finish(total, x_s, w_s, y_s, y_z)


def _qconv_type(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    _check_quantised(inputs)
    if len(inputs) > 8:
        _require(inputs[8], int32, "the bias")
    return TensorType(int8, conv_shape((inputs[0], inputs[3]), depthwise=False, **attrs))


def _shift_type(inputs: tuple[Tensor, ...]) -> TensorType:
    if inputs[0].dtype not in (int8, uint8):
        raise DTypeError(f"the values must be int8 or uint8, not {inputs[0].dtype}")
    return TensorType(uint8 if inputs[0].dtype is int8 else int8, inputs[0].shape)


def _shift(xp: Any, x: Any) -> Any:
    other = np.uint8 if x.dtype == np.int8 else np.int8
    return (np.asarray(x).view(np.uint8) ^ np.uint8(128)).view(other)


register_op(
    "shift_128",
    kernel=_shift,
    infer=_shift_type,
    doc="int8 as uint8, 128 more, or uint8 as int8, 128 less: the same numbers where zero points "
    "move along.",
)
register_op(
    "quantize_linear",
    kernel=_quantize,
    infer=_quantize_type,
    attrs={"axis": -1},
    doc="inputs x, scale, zero_point; int8 by round half even (ONNX QuantizeLinear).",
)
register_op(
    "dequantize_linear",
    kernel=_dequantize,
    infer=_dequantize_type,
    attrs={"axis": -1},
    doc="inputs q, scale, zero_point; (q - zero_point) * scale (ONNX DequantizeLinear).",
)
register_op(
    "qlinear_matmul",
    kernel=_qmatmul,
    infer=_qmatmul_type,
    doc="inputs a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point.",
)
register_op(
    "qlinear_conv",
    kernel=_qconv,
    infer=_qconv_type,
    attrs={"strides": REQUIRED, "padding": REQUIRED, "dilations": (1, 1)},
    doc="inputs x, x_scale, x_zero_point, w (HWIO), w_scale, w_zero_point, y_scale, y_zero_point, "
    "and an int32 bias or nothing.",
)


def _plain(value: Any, dtype: Any) -> Any:
    return value if hasattr(value, "_operand") else np.asarray(value, dtype)


def quantize_linear(
    x: Any, scale: Any, zero_point: Any = 0, axis: int = -1, name: str | None = None
) -> Tensor:
    """float32 to int8: round half even of `x / scale`, plus `zero_point`, saturated."""
    out: Tensor = apply(
        "quantize_linear",
        x,
        _plain(scale, np.float32),
        _plain(zero_point, np.int8),
        name=name,
        axis=axis,
    )
    return out


def dequantize_linear(
    x: Any, scale: Any, zero_point: Any = 0, axis: int = -1, name: str | None = None
) -> Tensor:
    """int8 or int32 to float32: `(x - zero_point) * scale`."""
    kind = x._operand().dtype.numpy if hasattr(x, "_operand") else np.asarray(x).dtype
    out: Tensor = apply(
        "dequantize_linear",
        x,
        _plain(scale, np.float32),
        _plain(zero_point, kind),
        name=name,
        axis=axis,
    )
    return out


def _parameters(a: Any, a_s: Any, a_z: Any, b: Any, b_s: Any, b_z: Any, y_s: Any, y_z: Any) -> Any:
    kinds = (None, np.float32, np.int8, None, np.float32, np.int8, np.float32, np.int8)
    given = (a, a_s, a_z, b, b_s, b_z, y_s, y_z)
    return [v if k is None else _plain(v, k) for v, k in zip(given, kinds, strict=True)]


def qlinear_matmul(
    a: Any,
    a_scale: Any,
    a_zero_point: Any,
    b: Any,
    b_scale: Any,
    b_zero_point: Any,
    y_scale: Any,
    y_zero_point: Any,
    name: str | None = None,
) -> Tensor:
    """int8 [..., M, K] times int8 [K, N] to int8 (ONNX QLinearMatMul); `b_scale` may be [N]."""
    given = (a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point)
    out: Tensor = apply("qlinear_matmul", *_parameters(*given), name=name)
    return out


def qlinear_conv(
    x: Any,
    x_scale: Any,
    x_zero_point: Any,
    w: Any,
    w_scale: Any,
    w_zero_point: Any,
    y_scale: Any,
    y_zero_point: Any,
    bias: Any = None,
    strides: Any = 1,
    padding: Any = "VALID",
    dilations: Any = 1,
    name: str | None = None,
) -> Tensor:
    """int8 NHWC convolved with int8 HWIO to int8 (ONNX QLinearConv); `w_scale` may be [O], `bias`
    int32 [O] at scale x_scale * w_scale."""
    given = (x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point)
    extra = [] if bias is None else [_plain(bias, np.int32)]
    out: Tensor = apply(
        "qlinear_conv",
        *_parameters(*given),
        *extra,
        name=name,
        strides=spatial_pair(strides, "strides"),
        padding=spatial_padding(padding),
        dilations=spatial_pair(dilations, "dilations"),
    )
    return out
