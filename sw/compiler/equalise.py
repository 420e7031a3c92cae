"""Equalise: between two linear layers, give the channels of an activation like ranges.

An activation has one int8 scale, so a channel of small values next to one of large values has few
codes left. What ReLU and pooling let through can be scaled per channel: the layer before is
divided by a factor, the layer behind multiplied by it, and the network computes the same. This is
cross-layer equalisation (Nagel et al., "Data-Free Quantization", ICCV 2019), with the measured
range of each channel in the place of the first layer's weights, whose scales are per channel here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sw.compiler.tpu.specialise import like
from sw.compiler.tpu.support import data_input
from sw.compiler.unit import Unit, rebuild
from sw.graph.build import constant_value
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

WEIGHTED = ("conv2d", "depthwise_conv2d", "matmul")
THROUGH = ("relu", "max_pool", "avg_pool", "identity", "stop_gradient")
"""Ops that commute with a positive factor per channel."""
LEAST_SHARE = 2.0**-10
"""Channels below this share of the largest one are taken for this: int8 would not see them."""


@dataclass(frozen=True, eq=False)
class Boundary:
    """`tensor` feeds `second` alone and comes from `first` through `bias` (or None) and ops that
    commute with positive factors."""

    first: Operation
    bias: Operation | None
    tensor: Tensor
    second: Operation


def boundaries(unit: Unit) -> list[Boundary]:
    """Where a frozen unit can be equalised, in order."""
    users: dict[Tensor, list[Operation]] = {}
    for op in unit.graph.get_operations():
        for tensor in op.inputs:
            users.setdefault(tensor, []).append(op)
    wanted = set(unit.fetches)
    found = []
    for op in unit.graph.get_operations():
        if not _scalable(op, users):
            continue
        bias, end = None, op.outputs[0]
        while end not in wanted and len(users.get(end, ())) == 1:
            (user,) = users[end]
            if _scalable(user, users) and user.inputs[0] is end:
                found.append(Boundary(op, bias, end, user))
                break
            if bias is None and end is op.outputs[0] and _bias_of(user, end, users) is not None:
                bias = user
            elif user.type not in THROUGH:
                break
            end = user.outputs[0]
    return found


def _scalable(op: Operation, users: Mapping[Tensor, list[Operation]]) -> bool:
    """A linear op whose weights are a constant of its own."""
    if op.type not in WEIGHTED or op.attrs.get("transpose_a"):
        return False
    weights = op.inputs[1]
    rank = 2 if op.type == "matmul" else 4
    return weights.op.type == "const" and weights.shape.rank == rank and len(users[weights]) == 1


def _bias_of(op: Operation, data: Tensor, users: Mapping[Tensor, list[Operation]]) -> Tensor | None:
    """The constant vector that `op` adds to `data`, if it is a bias."""
    if op.type not in ("add", "bias_add") or data_input(op) is not data:
        return None
    vector = op.inputs[1] if op.inputs[0] is data else op.inputs[0]
    channels = data.shape.dims[-1] if data.shape.dims else None
    value = constant_value(vector)
    fits = value is not None and value.shape == (channels,) and len(users[vector]) == 1
    return vector if fits else None


def equalise(unit: Unit, peaks: Mapping[str, NDArray[np.float32]]) -> Unit:
    """The unit with every boundary equalised; `peaks` gives the largest magnitude of each channel
    of each boundary's tensor, by the tensor's name. Names stay, but between the two layers of a
    boundary they mean scaled values.

    >>> from sw.graph.dtypes import float32
    >>> g = Graph()
    >>> x = g.apply("placeholder", dtype=float32, shape=(1, 1), name="x")
    >>> h = g.apply("matmul", x, [[1.0, 100.0]], name="h")
    >>> y = g.apply("matmul", g.apply("relu", h), [[1.0], [1.0]], name="y")
    >>> made = equalise(Unit(g, fetches=(y,)), {"relu:0": np.float32([1.0, 100.0])})
    >>> consts = [op for op in made.graph.get_operations() if op.type == "const"]
    >>> [op.attrs["value"].round(3).tolist() for op in consts]
    [[[10.0, 100.0]], [[0.10000000149011612], [1.0]]]
    """
    users: dict[Tensor, list[Operation]] = {}
    for op in unit.graph.get_operations():
        for tensor in op.inputs:
            users.setdefault(tensor, []).append(op)
    scaled: dict[Operation, NDArray[np.float64]] = {}
    for at in boundaries(unit):
        factor = _factors(at, peaks[at.tensor.name])
        weights = [at.first.inputs[1], at.second.inputs[1]]
        _scale(scaled, weights[0], _spread(at.first, 1 / factor, of_output=True))
        if at.bias is not None:
            vector = _bias_of(at.bias, at.first.outputs[0], users)
            assert vector is not None
            _scale(scaled, vector, 1 / factor)
        _scale(scaled, weights[1], _spread(at.second, factor, of_output=False))

    def make(
        op: Operation, graph: Graph, inputs: tuple[Tensor, ...], controls: tuple[Operation, ...]
    ) -> Operation | None:
        if op not in scaled:
            return None
        value = (op.attrs["value"] * scaled[op]).astype(op.attrs["value"].dtype)
        return like(graph, op, "const", (), {"value": value})

    return rebuild(unit, None, make)


def channel_peaks(values: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The largest magnitude of each channel (last axis) over all arrays."""
    rows = (np.abs(v).reshape(-1, v.shape[-1]) for v in values)
    return np.max([row.max(axis=0, initial=0) for row in rows], axis=0)


def _factors(at: Boundary, peaks: NDArray[np.float32]) -> NDArray[np.float64]:
    """What to divide each channel by; the largest peak stays what it is.

    A step of the activation and one of the weights behind it grow alike where the factor is the
    root of their ratio. A depthwise layer has a scale for each channel: there the whole
    difference goes to the weights.
    """
    largest = float(peaks.max(initial=0.0))
    if not largest or not np.isfinite(largest):
        return np.ones(len(peaks))
    peak = np.maximum(peaks.astype(np.float64), largest * LEAST_SHARE)
    factor = peak
    if at.second.type != "depthwise_conv2d":
        weights = np.abs(at.second.inputs[1].op.attrs["value"].astype(np.float64))
        if at.second.attrs.get("transpose_b"):
            weights = weights.T
        rows = weights.reshape(-1, *weights.shape[-2:])
        each = rows.max(axis=0)
        columns = each.max(axis=0)
        share = (each / np.where(columns > 0, columns, 1)).max(axis=1)
        factor = np.sqrt(peak / np.maximum(share, LEAST_SHARE))
    return factor * (float((peak / factor).max()) / largest)


def _spread(op: Operation, factor: NDArray[np.float64], of_output: bool) -> NDArray[np.float64]:
    """A factor per output (or input) channel as an array that multiplies the weights of `op`."""
    weights = op.inputs[1].shape.sizes()
    if op.type == "depthwise_conv2d":
        return factor.reshape(weights[2:]) if of_output else factor[:, None]
    last = of_output != bool(op.attrs.get("transpose_b"))
    return factor if last else factor[:, None]


def _scale(
    scaled: dict[Operation, NDArray[np.float64]], constant: Tensor, factor: NDArray[np.float64]
) -> None:
    scaled[constant.op] = scaled.get(constant.op, np.float64(1)) * factor
