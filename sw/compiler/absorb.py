"""Absorb: per-channel factors and offsets behind a linear op become part of its weights and bias.

A batch normalisation with constant statistics is such a pair, so that for inference it vanishes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sw.compiler.prune import prune
from sw.compiler.tpu.specialise import like
from sw.compiler.tpu.support import TRANSPOSED, WEIGHTED
from sw.compiler.unit import Unit, rebuild
from sw.graph.build import constant_value
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor


@dataclass(frozen=True, eq=False)
class _Affine:
    """`ops` behind `linear` that multiply by `factor` and add `offset`, float64 `[channels]`."""

    linear: Operation
    ops: tuple[Operation, ...]
    factor: NDArray[np.float64]
    offset: NDArray[np.float64]


def _vector(tensor: Tensor, channels: int) -> NDArray[np.float64] | None:
    """A constant of one value per channel (or one for all), else None."""
    value = constant_value(tensor)
    if value is None or value.dtype != np.float32 or not np.isfinite(value).all():
        return None
    if value.size == 1 or value.shape[-1:] == (channels,) and value.size == channels:
        return np.broadcast_to(value.astype(np.float64).ravel(), (channels,))
    return None


def _follow(linear: Operation, users: dict[Tensor, list[Operation]]) -> _Affine | None:
    """The longest chain of additions and multiplications behind a linear op with one user each;
    None if it is only a bias."""
    if linear.type not in WEIGHTED or constant_value(linear.inputs[1]) is None:
        return None
    channels = (linear.outputs[0].shape.dims or (None,))[-1]
    if channels is None:
        return None
    factor, offset = np.ones(channels), np.zeros(channels)
    ops: list[Operation] = []
    end = linear.outputs[0]
    while len(users.get(end, ())) == 1:
        (op,) = users[end]
        if op.type not in ("add", "bias_add", "mul", "sub") or op.control_inputs:
            break
        first = op.inputs[0] is end
        value = _vector(op.inputs[1] if first else op.inputs[0], channels)
        if value is None or op.type == "sub" and not first or op.outputs[0].shape != end.shape:
            break
        if op.type == "mul":
            factor, offset = factor * value, offset * value
        else:
            offset = offset + (-value if op.type == "sub" else value)
        ops.append(op)
        end = op.outputs[0]
    plain = len(ops) < 2 and all(op.type in ("add", "bias_add") for op in ops)
    return None if plain else _Affine(linear, tuple(ops), factor, offset)


def absorb(unit: Unit) -> Unit:
    """Fold what `_follow` finds into weights and a bias; the last op's name stays.

    >>> from sw.compiler.unit import render
    >>> from sw.graph.dtypes import float32
    >>> g = Graph()
    >>> x = g.apply("placeholder", dtype=float32, shape=(1, 1), name="x")
    >>> y = g.apply("add", g.apply("mul", g.apply("matmul", x, [[2.0]]), [3.0]), [4.0], name="y")
    >>> made = absorb(Unit(g, fetches=(y,)))
    >>> print(render(made))
    x = placeholder() -> float32(1, 1)
    matmul/weights = const() -> float32(1, 1)
    matmul = matmul(x, matmul/weights) -> float32(1, 1)
    y/bias = const() -> float32(1,)
    y = bias_add(matmul, y/bias) -> float32(1, 1)
    want y:0
    >>> made.graph.get_operation_by_name("matmul/weights").attrs["value"].item()
    6.0
    """
    users: dict[Tensor, list[Operation]] = {}
    for op in unit.graph.get_operations():
        for tensor in op.inputs:
            users.setdefault(tensor, []).append(op)
    for tensor in unit.fetches:
        users.setdefault(tensor, []).append(tensor.op)  # a fetch is a use of its own
    chains = [_follow(op, users) for op in unit.graph.get_operations()]
    found = {chain.linear: chain for chain in chains if chain is not None}
    inside = {op: chain for chain in found.values() for op in chain.ops}
    linear: dict[_Affine, Operation] = {}

    def make(
        op: Operation, graph: Graph, inputs: tuple[Tensor, ...], controls: tuple[Operation, ...]
    ) -> Operation | None:
        if op in found:
            weights = constant_value(op.inputs[1])
            assert weights is not None
            factor = found[op].factor
            if op.attrs.get("transpose_b"):
                factor = factor[:, None]
            if op.type == "depthwise_conv2d":
                factor = factor.reshape(weights.shape[2:])
            if op.type == TRANSPOSED:
                factor = factor[:, None]
            value = (weights * factor).astype(np.float32)
            scaled = graph.convert(value, name=f"{op.name}/weights/")
            linear[found[op]] = new = like(
                graph, op, op.type, (*inputs[:1], scaled, *inputs[2:]), op.attrs
            )
            new.control_inputs = controls
            return new
        if op not in inside:
            return None
        chain = inside[op]
        if op is not chain.ops[-1]:
            return linear[chain]
        bias = graph.convert(chain.offset.astype(np.float32), name=f"{op.name}/bias/")
        return like(graph, op, "bias_add", (linear[chain].outputs[0], bias), {})

    return prune(rebuild(unit, None, make))
