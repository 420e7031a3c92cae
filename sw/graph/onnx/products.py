"""MatMul and Gemm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sw.graph.onnx.convolution import weights
from sw.graph.onnx.node import Node
from sw.graph.onnx.registry import handles
from sw.graph.onnx.value import Flat, Stored, turn
from sw.graph.tensor import Tensor

MOST_MATRICES = 64
"""A product with more constant matrices stays one op."""


@handles("MatMul")
def matmul(node: Node) -> Any:
    a, b = node.value(0), node.value(1)
    if not a.rank or not b.rank or not a.dtype.is_floating or a.dtype.size < 2:
        return NotImplemented
    if a.rank == 1 or b.rank == 1:
        return _vectors(node, a.rank, b.rank)
    if b.rank > 2 and (array := node.const(1)) is not None:
        result = batched(node, node.x(0), array, lambda x, y, main: _product(node, x, y, main))
        if result is not None:
            return result
    operands = _of_flattened(node, False) or (node.x(0), _right(node))
    return node.main("matmul", *operands)


def _product(node: Node, a: Tensor, b: Any, main: bool) -> Tensor:
    out: Tensor = (node.main if main else node.make)("matmul", a, b)
    return out


def _vectors(node: Node, rank: int, other: int) -> Any:
    """A vector is a matrix of one row (left) or column (right) whose axis goes again."""
    left, right = node.x(0), _right(node)
    if rank == 1:
        left = node.make("expand_dims", left, axis=0)
    if other == 1:
        array = node.static(right)
        if array is not None:
            right = node.constant(np.reshape(array, (-1, 1)), right.dtype)
        else:
            right = node.make("expand_dims", right, axis=1)
    elif other > 2 and (array := node.const(1)) is not None:
        found = batched(node, left, array, lambda x, y, main: _product(node, x, y, False))
        right = node.x(1) if found is None else right
        if found is not None:
            return node.main("squeeze", found, axis=(-2,))
    product = node.make("matmul", left, right)
    gone = ((-2,) if rank == 1 else ()) + ((-1,) if other == 1 else ())
    return node.main("squeeze", product, axis=gone)


def batched(
    node: Node, left: Tensor, matrices: Any, product: Callable[[Tensor, Any, bool], Tensor]
) -> Tensor | None:
    """`left` times constant matrices [..., K, N] one by one, as the TPU takes them; None when
    there are too many or the sizes of `left` are not known. `product(a, b, main)` makes one;
    `main`: it is all there is."""
    if matrices.ndim == 2:
        return product(left, matrices, True)
    if not left.shape.known:
        return None
    sizes = left.shape.sizes()
    batch = np.broadcast_shapes(sizes[:-2], matrices.shape[:-2])
    count = int(np.prod(batch))
    if not 0 < count <= MOST_MATRICES:
        return None
    if sizes[:-2] != batch:
        left = node.make("broadcast_to", left, np.asarray((*batch, *sizes[-2:]), np.int64))
    rows = node.make("reshape", left, np.asarray((count, *sizes[-2:]), np.int64))
    wide = np.broadcast_to(matrices, (*batch, *matrices.shape[-2:]))
    flat = wide.reshape(count, *matrices.shape[-2:])
    parts = [
        product(node.make("strided_slice", rows, spec=(i,)), np.ascontiguousarray(b), False)
        for i, b in enumerate(flat)
    ]
    whole = node.make("stack", *parts, axis=0)
    shape = np.asarray((*batch, sizes[-2], matrices.shape[-1]), np.int64)
    out: Tensor = node.make("reshape", whole, shape)
    return out


def _right(node: Node) -> Tensor:
    if node.value(1).codes is not None:
        return weights(node, 1, tuple(range(node.value(1).rank or 2)))
    return node.x(1)


def _of_flattened(node: Node, transposed: bool) -> tuple[Tensor, Tensor] | None:
    """The operands where the left one is flattened images and the right one (`transposed`:
    [N, K]) constant: its rows in the order of channels-last instead of the images in that of
    channels-first. None where they are not."""
    images, value = node.value(0), node.value(1)
    if not isinstance(images, Flat) or value.rank != 2:
        return None
    array: Any
    if value.codes is not None:
        array = value.codes.value
        if value.codes.scale.ndim and value.codes.axis != (0 if transposed else 1):
            return None
    else:
        array = value.array() if isinstance(value, Stored) else node.static(value.tensor)
    h, w, c = images.order
    if array is None or array.shape[1 if transposed else 0] != h * w * c:
        return None
    if transposed:
        rows = turn(array.reshape(-1, c, h, w), (2, 3, 1, 0))
    else:
        rows = turn(array.reshape(c, h, w, -1), (1, 2, 0, 3))
    name = f"{value.name}/rows/"
    right = node.graph.convert(rows.reshape(h * w * c, -1), name=name)
    if value.codes is not None:
        rest = (value.codes.scale, value.codes.zero)
        right = node.make("dequantize_linear", right, *rest, axis=-1)
    return images.unturned, right


@handles("Gemm")
def gemm(node: Node) -> Any:
    a, b = node.value(0), node.value(1)
    alpha, beta = float(node.attr("alpha", 1.0)), float(node.attr("beta", 1.0))
    if not a.dtype.is_floating or a.dtype.size < 2 or a.rank != 2 or b.rank != 2:
        return NotImplemented
    turned = bool(node.attr("transB", 0))
    operands = None if node.attr("transA", 0) else _of_flattened(node, turned)
    constant = b.codes is not None or isinstance(b, Stored) or node.const(1) is not None
    if operands is None and constant:  # turned once, now
        operands = node.x(0), weights(node, 1, (1, 0) if turned else (0, 1))
    if operands is None:
        operands = node.x(0), node.x(1)
    else:
        turned = False
    more = node.has(2) and beta != 0.0
    scaled = alpha != 1.0
    put = node.make if more or scaled else node.main
    left, right = operands
    if node.attr("transA", 0):
        left = node.make("transpose", left, perm=(1, 0))
    out = put("matmul", left, right, transpose_b=turned)
    if scaled:
        out = (node.make if more else node.main)("mul", out, node.constant(alpha, out.dtype))
    if more:
        bias = node.x(2)
        if beta != 1.0:
            bias = node.make("mul", bias, node.constant(beta, bias.dtype))
        if bias.shape.rank == 2 and bias.shape[0] == 1 and bias.shape.known:
            bias = node.make("reshape", bias, (bias.shape.sizes()[1],))
        same = bias.shape.rank == 1 and bias.shape.dims == out.shape[1:].dims
        out = node.main("bias_add" if same else "add", out, bias)
    return out
