"""Quantised operators. int8 per tensor, or symmetric per channel for weights, become our own ops,
which the TPU takes; uint8 is held as int8 (see `value`). The rest has kernels of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.dtypes import float32, int8, int32, uint8
from sw.graph.onnx.convolution import attributes, window_sizes
from sw.graph.onnx.geometry import geometry
from sw.graph.onnx.node import Node
from sw.graph.onnx.products import batched
from sw.graph.onnx.registry import handles
from sw.graph.onnx.value import Codes, Value, to_last
from sw.graph.tensor import Tensor


def shifted_zero(node: Node, index: int, default: Any = uint8) -> Tensor | None:
    """A zero point as int8, 128 less if it is uint8; None for other types."""
    if not node.has(index):
        return node.constant(np.int8(-128 if default is uint8 else 0))
    tensor = node.x(index)
    if tensor.dtype is int8:
        return tensor
    if tensor.dtype is not uint8:
        return None
    array = node.const(index)
    if array is not None:
        return node.constant(_to_int8(array))
    out: Tensor = node.make("shift_128", tensor)
    return out


def _to_int8(array: Any) -> Any:
    array = np.asarray(array)
    return array if array.dtype == np.int8 else (array ^ np.uint8(128)).view(np.int8)


def _is_scalar(node: Node, index: int) -> bool:
    return node.value(index).tensor.shape.num_elements() == 1


def _flat(node: Node, tensor: Tensor) -> Tensor:
    """A scale or zero point of one element as a scalar."""
    if tensor.shape.rank == 0:
        return tensor
    array = node.static(tensor)
    if array is not None:
        return node.constant(np.reshape(array, ()), tensor.dtype)
    out: Tensor = node.make("reshape", tensor, np.zeros(0, np.int64))
    return out


def _axis(node: Node, value: Value, default: int = 1) -> int | None:
    """The node's axis, in the order in which the value is held."""
    axis, rank = int(node.attr("axis", default)), value.rank
    if rank is None:
        return None
    axis = axis % rank if rank else 0
    return to_last(rank).index(axis) if value.last else axis


@handles("QuantizeLinear")
def quantize_linear(node: Node) -> Any:
    value = node.value(0)
    if value.tensor.dtype is not float32 or node.value(1).tensor.dtype is not float32:
        return NotImplemented
    if node.attr("block_size", 0) or not node.has(2) and node.attr("output_dtype", 0) not in (0, 2):
        return NotImplemented
    zero = shifted_zero(node, 2)
    if zero is None or node.attr("precision", 0) not in (0, 1):
        return NotImplemented
    is_uint8 = not node.has(2) or node.x(2).dtype is uint8
    scale = node.x(1)
    axis = -1
    if _is_scalar(node, 1):
        scale, zero = _flat(node, scale), _flat(node, zero)
    else:
        found = _axis(node, value)
        if found is None or scale.shape.rank != 1:
            return NotImplemented
        axis = found
    out = node.main("quantize_linear", value.tensor, scale, zero, axis=axis)
    return Value(out, last=value.last, shifted=is_uint8)


@handles("DequantizeLinear")
def dequantize_linear(node: Node) -> Any:
    value = node.value(0)
    kind = value.tensor.dtype
    if kind not in (int8, uint8, int32) or node.value(1).tensor.dtype is not float32:
        return NotImplemented
    if node.attr("block_size", 0) or node.attr("output_dtype", 0) not in (0, 1):
        return NotImplemented
    scale = node.x(1)
    scalar = _is_scalar(node, 1)
    if not scalar and scale.shape.rank != 1:
        return NotImplemented
    axis = _axis(node, value)
    if axis is None:
        return NotImplemented
    zero: Any
    if kind is int32:
        zero = node.x(2) if node.has(2) else np.zeros((), np.int32)
        tensor = value.tensor
    else:
        zero = shifted_zero(node, 2, uint8 if value.is_uint8 else int8)
        tensor = value.held(node.graph, value.last, value.is_uint8)
    if scalar:
        scale, zero = _flat(node, scale), _flat(node, node.graph.convert(zero))
    constant = None if value.last else node.static(value.tensor)
    codes = None
    if constant is not None:
        s, z = node.static(scale), node.static(node.graph.convert(zero))
        if s is not None and z is not None:
            as_int8 = constant if kind is int32 else _to_int8(constant)
            if kind is uint8 or kind is int8 and value.shifted:
                tensor = node.constant(as_int8)
            codes = Codes(as_int8, np.asarray(s), np.asarray(z), axis)
    out = node.main("dequantize_linear", tensor, scale, zero, axis=axis if not scalar else -1)
    return Value(out, last=value.last, codes=codes)


def _centred(node: Node, index: int, zero_index: int) -> Any:
    """Constant weights less their zero point, int16; None where they are not constant."""
    array = node.const(index)
    if array is None or array.dtype not in (np.int8, np.uint8):
        return None
    zero = node.const(zero_index) if node.has(zero_index) else np.zeros(1, array.dtype)
    if zero is None:
        return None
    if zero.size == 1:
        spread = zero.reshape(())
    elif "Conv" in node.proto.op_type:
        spread = zero.reshape(-1, *(1,) * (array.ndim - 1))
    else:
        spread = zero
    out = array.astype(np.int16) - spread.astype(np.int16)
    return out if out.shape == array.shape else None


def _pieces(centred: Any) -> list[Any]:
    """Weights of nine bits as int8 arrays that add up to them: one, unless any is beyond int8."""
    out: list[Any] = []
    while not out or centred.any():
        piece = np.clip(centred, -128, 127)
        out.append(piece.astype(np.int8))
        centred = centred - piece
    return out


def _repeated(node: Node, x: Tensor, times: int) -> Tensor:
    """`x` several times over along its last axis, once for each piece of the weights."""
    if times == 1:
        return x
    out: Tensor = node.make("concat", *[x] * times, axis=(x.shape.rank or 1) - 1)
    return out


def _scale(node: Node, index: int) -> Tensor:
    """A scale as float32, which holds every float16 and bfloat16."""
    tensor = _flat(node, node.x(index)) if _is_scalar(node, index) else node.x(index)
    if tensor.dtype is float32:
        return tensor
    array = node.static(tensor)
    if array is None:
        return node.to(tensor, float32)
    return node.constant(np.asarray(array).astype(np.float32))


def _data(node: Node, index: int, last: bool) -> Tensor | None:
    value = node.value(index)
    kind = value.tensor.dtype
    if kind not in (int8, uint8):
        return None
    return value.held(node.graph, last, value.is_uint8)


@handles("QLinearConv")
def qlinear_conv(node: Node) -> Any:
    value = node.value(0)
    sizes = window_sizes(node, 3)
    if sizes is None or value.rank != 4 or int(node.attr("group", 1)) != 1:
        return NotImplemented
    centred = _centred(node, 3, 5)
    if centred is None or not all(_is_scalar(node, i) for i in (1, 2, 6, 7)):
        return NotImplemented
    plain = value.shape
    found = geometry(node, sizes, plain[1:-1] if value.last else plain[2:])
    x, x_zero, y_zero = _data(node, 0, True), shifted_zero(node, 2), shifted_zero(node, 7)
    if found is None or x is None or x_zero is None or y_zero is None:
        return NotImplemented
    if any(min(p) < 0 for p in found.pads) or node.x(4).shape.rank not in (0, 1):
        return NotImplemented
    parts = [np.transpose(p, (2, 3, 1, 0)) for p in _pieces(centred)]
    bias = [node.x(8)] if node.has(8) else []
    out = node.main(
        "qlinear_conv",
        _repeated(node, x, len(parts)),
        _scale(node, 1),
        _flat(node, x_zero),
        np.ascontiguousarray(np.concatenate(parts, axis=2)),
        _scale(node, 4),
        np.int8(0),
        _scale(node, 6),
        _flat(node, y_zero),
        *bias,
        **attributes(found),
    )
    return Value(out, last=True, shifted=node.x(7).dtype is uint8)


@handles("QLinearMatMul")
def qlinear_matmul(node: Node) -> Any:
    centred = _centred(node, 3, 5)
    if centred is None or (node.value(0).rank or 0) < 2 or node.x(4).shape.rank not in (0, 1):
        return NotImplemented
    if not all(_is_scalar(node, i) for i in (1, 2, 6, 7)):
        return NotImplemented
    if any(node.value(i).dtype.size > 4 for i in (1, 4, 6)):
        return NotImplemented
    x, x_zero, y_zero = _data(node, 0, False), shifted_zero(node, 2), shifted_zero(node, 7)
    if x is None or x_zero is None or y_zero is None:
        return NotImplemented
    parts = _pieces(centred)
    left = _repeated(node, x, len(parts))
    rest = (np.int8(0), _scale(node, 6), _flat(node, y_zero))
    before = (_scale(node, 1), _flat(node, x_zero))

    def product(a: Tensor, b: Any, main: bool) -> Tensor:
        put = node.main if main else node.make
        out: Tensor = put("qlinear_matmul", a, *before, b, _scale(node, 4), *rest)
        return out

    result = batched(node, left, np.concatenate(parts, axis=-2), product)
    if result is None:
        return NotImplemented
    return Value(result, shifted=node.x(7).dtype is uint8)


# --- integer products ----------------------------------------------------------------------------


def _exact(terms: int) -> bool:
    """Whether float32 holds every sum of so many products of int8 and nine-bit numbers."""
    return terms * 255 * 255 < 1 << 24


def _real(node: Node, x: Tensor, zero: Tensor) -> Tensor:
    out: Tensor = node.make("dequantize_linear", x, np.float32(1), zero)
    return out


@handles("ConvInteger")
def conv_integer(node: Node) -> Any:
    value, sizes = node.value(0), window_sizes(node, 1)
    centred = _centred(node, 1, 3)
    if sizes is None or centred is None or value.rank != 4 or int(node.attr("group", 1)) != 1:
        return NotImplemented
    plain = value.shape
    found = geometry(node, sizes, plain[1:-1] if value.last else plain[2:])
    x, zero = _data(node, 0, True), _integer_zero(node, 2)
    if found is None or x is None or zero is None or not _exact(int(centred[0].size)):
        return NotImplemented
    if any(min(p) < 0 for p in found.pads):
        return NotImplemented
    parts = [np.transpose(p, (2, 3, 1, 0)) for p in _pieces(centred)]
    image = _real(node, _repeated(node, x, len(parts)), zero)
    kernel = np.ascontiguousarray(np.concatenate(parts, axis=2))
    turned = node.make("dequantize_linear", kernel, np.float32(1), np.int8(0))
    total = node.make("conv2d", image, turned, **attributes(found))
    return Value(node.main("cast", total, dtype=int32), last=True)


@handles("MatMulInteger")
def matmul_integer(node: Node) -> Any:
    centred = _centred(node, 1, 3)
    x, zero = _data(node, 0, False), _integer_zero(node, 2)
    if centred is None or x is None or zero is None or (node.value(0).rank or 0) < 2:
        return NotImplemented
    if centred.ndim < 2 or not _exact(int(centred.shape[-2])):
        return NotImplemented
    parts = _pieces(centred)
    left = _real(node, _repeated(node, x, len(parts)), zero)

    def product(a: Tensor, b: Any, main: bool) -> Tensor:
        turned = node.make("dequantize_linear", b, np.float32(1), np.int8(0))
        out: Tensor = node.make("matmul", a, turned)
        return out

    total = batched(node, left, np.concatenate(parts, axis=-2), product)
    return NotImplemented if total is None else node.main("cast", total, dtype=int32)


def _integer_zero(node: Node, index: int) -> Tensor | None:
    """The zero point of an integer product, 0 when it is left out; None if there are several."""
    if not node.has(index):
        kind = uint8 if node.value(0).is_uint8 else int8
        return node.constant(np.int8(-128 if kind is uint8 else 0))
    if not _is_scalar(node, index):
        return None
    zero = shifted_zero(node, index)
    return None if zero is None else _flat(node, zero)
