"""What an op costs on a CPU: from its shapes and this machine's rates, or as it was measured."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from sw.graph.dtypes import OBJECTS
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor
from sw.runtime.trace import StepStats

UNKNOWN = 32
"""What a size counts as that is not known when the graph is built."""
SLOW = ("exp", "log", "tanh", "sigmoid", "sin", "cos", "pow", "erf", "softmax", "log_softmax")
"""Kinds whose every element takes a function of the mathematical library."""
SORTS = ("top_k", "sort", "argsort", "unique", "unique_with_counts", "in_top_k")
VIEWS = ("identity", "stop_gradient", "reshape", "squeeze", "expand_dims", "shape", "rank")


def sizes(tensor: Tensor) -> tuple[int, ...]:
    """The sizes of a tensor, unknown ones guessed."""
    dims = tensor.shape.dims
    return (UNKNOWN,) if dims is None else tuple(UNKNOWN if d is None else d for d in dims)


def elements(tensor: Tensor) -> int:
    """How many, unknown sizes guessed."""
    return math.prod(sizes(tensor))


def size_in_bytes(tensor: Tensor) -> int:
    """Of the value, unknown sizes guessed."""
    return elements(tensor) * np.dtype(tensor.dtype.numpy).itemsize


def products(op: Operation) -> int:
    """Multiply-accumulates of a matrix product or convolution; 0 of any other op."""
    if op.type in ("matmul", "batch_matmul"):
        inner = sizes(op.inputs[0])[-2 if op.attrs.get("transpose_a") else -1]
        return elements(op.outputs[0]) * inner
    if op.type == "conv2d":
        return elements(op.outputs[0]) * math.prod(sizes(op.inputs[1])[:3])
    if op.type.startswith("conv2d_backprop"):
        kernel = next((t for t in op.inputs if t.shape.rank == 4), op.inputs[0])
        return elements(op.outputs[0]) * math.prod(sizes(kernel)[:2]) * UNKNOWN
    return 0


@dataclass(frozen=True)
class Rates:
    """Of one machine, per second; `call`: the seconds that any op takes."""

    products: float
    bytes: float
    functions: float
    sorted: float
    call: float


def _seconds(function: Callable[[], object]) -> float:
    times = []
    for _ in range(12):  # the first ones start threads and touch fresh memory
        begin = time.thread_time()
        function()
        times.append(time.thread_time() - begin)
    return min(times)


@functools.cache
def measured_rates() -> Rates:
    """Those of one core of this machine, from a few small kernels: some hundred milliseconds,
    once."""
    square = np.ones((256, 256), np.float32)
    row, one = np.random.default_rng(0).normal(size=1 << 21).astype(np.float32), np.float32(1)
    with threadpool_limits(1):
        return Rates(
            256**3 / _seconds(lambda: square @ square),
            2 * row.nbytes / _seconds(lambda: np.negative(row)),
            (1 << 17) / _seconds(lambda: np.tanh(row[: 1 << 17])),
            (1 << 15) / _seconds(lambda: np.argsort(row[: 1 << 15], kind="stable")),
            _seconds(lambda: [one + one for _ in range(100)]) / 100,
        )


class CpuCosts:
    """Seconds of ops on a CPU. `measured`: of earlier runs, by name, which come before the model's
    estimate."""

    def __init__(self, rates: Rates | None = None, stats: StepStats | None = None) -> None:
        self._rates = rates or measured_rates()
        self._measured: Mapping[str, float] = _least(stats)

    def seconds(self, op: Operation) -> float:
        """Of one run."""
        if op.name in self._measured:
            return self._measured[op.name]
        rates = self._rates
        if op.type in VIEWS:
            return rates.call
        moved = sum(size_in_bytes(t) for t in (*op.inputs, *op.outputs) if t.dtype not in OBJECTS)
        total = rates.call + products(op) / rates.products + moved / rates.bytes
        if op.type == "conv2d":  # each input is copied once per kernel position
            copies = math.prod(sizes(op.inputs[1])[:2])
            total += 2 * copies * size_in_bytes(op.inputs[0]) / rates.bytes
        if op.type in SLOW:
            total += elements(op.outputs[0]) / rates.functions
        if op.type in SORTS:
            total += elements(op.inputs[0]) / rates.sorted
        return total


def _least(stats: StepStats | None) -> dict[str, float]:
    """Of what ran several times the shortest: the others were disturbed."""
    found: dict[str, float] = {}
    for node in stats.nodes if stats is not None else ():
        if "/cpu:" in node.device:
            found[node.name] = min(node.end - node.start, found.get(node.name, math.inf))
    return found
