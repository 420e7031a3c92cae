"""MatMul and Gemm."""

from __future__ import annotations

from typing import Any

from sw.graph.onnx.convolution import weights
from sw.graph.onnx.node import Node
from sw.graph.onnx.registry import handles
from sw.graph.onnx.value import Stored
from sw.graph.tensor import Tensor


@handles("MatMul")
def matmul(node: Node) -> Any:
    a, b = node.value(0), node.value(1)
    if None in (a.rank, b.rank) or min(a.rank or 0, b.rank or 0) < 2:
        return NotImplemented
    if not a.tensor.dtype.is_floating or a.tensor.dtype.size < 2:
        return NotImplemented
    return node.main("matmul", node.x(0), _right(node))


def _right(node: Node) -> Tensor:
    if node.value(1).codes is not None:
        return weights(node, 1, tuple(range(node.value(1).rank or 2)))
    return node.x(1)


@handles("Gemm")
def gemm(node: Node) -> Any:
    a, b = node.value(0), node.value(1)
    alpha, beta = float(node.attr("alpha", 1.0)), float(node.attr("beta", 1.0))
    if not a.tensor.dtype.is_floating or a.tensor.dtype.size < 2 or a.rank != 2 or b.rank != 2:
        return NotImplemented
    turned = bool(node.attr("transB", 0))
    constant = b.codes is not None or isinstance(b, Stored) or node.const(1) is not None
    if constant:  # turned once, now
        right = weights(node, 1, (1, 0) if turned else (0, 1))
        turned = False
    else:
        right = node.x(1)
    more = node.has(2) and beta != 0.0
    scaled = alpha != 1.0
    put = node.make if more or scaled else node.main
    left = node.x(0)
    out = put("matmul", left, right, transpose_a=bool(node.attr("transA", 0)), transpose_b=turned)
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
