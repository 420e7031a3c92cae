"""Ties: scales for averages that no way of summing can round two ways.

The TPU sums integers, exactly, and rounds once; runtimes that sum in float32 (ONNX Runtime's
QLinearAveragePool) fall to either side where a mean lies within their error of the middle between
two codes. There are only as many means as sums of codes, so one can look at all of them, and widen
the result's range by a fraction of a per cent until none lies that close.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hw.tpu import numerics
from sw.compiler.tpu.layers import Axis
from sw.graph.operation import Operation
from sw.graph.ops.windows import Window

Range = tuple[float, float]
CANDIDATES, STEP = 64, 1 / 4000
"""So many ranges are tried, each wider by this share of the first."""


def counts_of(op: Operation) -> set[int] | None:
    """How many positions the windows of an average hold; None for one over whole images, which
    runtimes sum as integers, and for images of unknown size."""
    sides = (op.inputs[0].shape.dims or (None,) * 4)[1:3]
    if op.type != "avg_pool" or None in sides:
        return None
    window = Window(op.attrs["ksize"], op.attrs["strides"], (1, 1), op.attrs["padding"])
    numbers = []
    for i, side in enumerate(sides):
        result, before = window.out(i, side), window.pads(i, side or 0)[0]
        if side is None or result is None:
            return None
        axis = Axis(side, result, window.size[i], window.strides[i], 1, before)
        numbers.append(axis.inside())
    counts = {rows * columns for rows in numbers[0] for columns in numbers[1]} - {0}
    whole = int(np.prod([int(side or 0) for side in sides]))
    return None if len(numbers[0]) == len(numbers[1]) == 1 and counts == {whole} else counts


def distance(source: Range, result: Range, counts: set[int]) -> float:
    """How close any mean comes to the middle between two codes, in steps of the result."""
    scale, zero = numerics.activation_quantization(*source)
    step, middle = numerics.activation_quantization(*result)
    closest = 0.5
    for count in counts:
        sums = np.arange(count * (numerics.INT8_MIN - zero), count * (numerics.INT8_MAX - zero) + 1)
        means = sums * (float(scale) / (float(step) * count))
        codes = means + middle
        means = means[(codes > numerics.INT8_MIN - 1) & (codes < numerics.INT8_MAX + 1)]
        if means.size:
            closest = min(closest, float(np.abs(means - np.floor(means) - 0.5).min()))
    return closest


def widened(source: Range, result: Range, counts: set[int]) -> Range:
    """The range for a result: the least of those tried that keeps all means further from a tie
    than float32 sums can err, or the best of them.

    >>> low, high = widened((-1.0, 1.0), (-1.0, 1.0), {4})  # 1/4, 2/4 and 3/4 of a step
    >>> low < -1.0 and high < 1.01 and distance((-1.0, 1.0), (low, high), {4}) > 1e-5
    True
    """
    needed = max(counts) * 2.0**-24 * 255  # a rounding of each partial sum
    best, most = result, -1.0
    for number in range(CANDIDATES):
        factor = 1 + number * STEP
        found = (result[0] * factor, result[1] * factor)
        apart = distance(source, found, counts)
        if apart > most:
            best, most = found, apart
        if apart > needed:
            break
    return best


def settle(
    averages: Mapping[Operation, Operation], ranges: Mapping[str, Range]
) -> dict[str, Range]:
    """`ranges` (by tensor name) with those of averages (op: the last op behind it) widened;
    tensors that share a range go on sharing one."""
    settled = dict(ranges)
    for op, end in averages.items():
        counts = counts_of(op)
        source, name = op.inputs[0].name, end.outputs[0].name
        if not counts or source not in settled or name not in settled:
            continue
        old = settled[name]
        if not np.isfinite([*old, *settled[source]]).all():
            continue
        new = widened(settled[source], old, counts)
        settled.update({tensor: new for tensor, held in settled.items() if held is old})
    return settled
