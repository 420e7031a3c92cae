"""A transposed convolution as one plain convolution for each phase of its output, interleaved.

Along an axis of stride s, results s*i + p read every s-th tap only, in reverse; see
`docs/decisions/0010-transposed-convolutions-by-phases.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np

from sw.compiler.tpu.layers import Axis, Convolution, Interleave, Pair


@dataclass(frozen=True)
class Phase:
    """Results `first`, `first + stride`, ... of an axis: the taps that they read, in the order of
    what these are multiplied with, and the padding and dilation of the convolution by them."""

    first: int
    taps: tuple[int, ...]
    padding: Pair
    dilation: int


def phases(axis: Axis) -> list[Phase]:
    """The phases of a transposed axis: `source` positions become `result`, and the rest is that of
    the convolution which is transposed.

    Result i reads position j by tap t where i + before = stride * j + dilation * t.

    >>> for phase in phases(Axis(source=4, result=8, kernel=4, stride=2, dilation=1, before=1)):
    ...     print(phase)
    Phase(first=0, taps=(3, 1), padding=(1, 0), dilation=1)
    Phase(first=1, taps=(2, 0), padding=(0, 1), dilation=1)
    """
    stride, dilation = axis.stride, axis.dilation // gcd(axis.stride, axis.dilation)
    found = []
    for first in range(min(stride, axis.result)):
        at = first + axis.before
        taps = [t for t in range(axis.kernel) if (at - axis.dilation * t) % stride == 0][::-1]
        front = -((at - axis.dilation * taps[0]) // stride) if taps else 0
        reach = dilation * (len(taps) - 1) if taps else 0  # without a tap, one that is zero
        count = -(-(axis.result - first) // stride)
        padding = front, count + reach - axis.source - front
        found.append(Phase(first, tuple(taps), padding, dilation))
    return found


def by_phases(
    layer: Convolution, source: Pair, result: Pair
) -> tuple[tuple[Convolution, ...], Interleave]:
    """Plain convolutions of an input of `source` rows and columns, and what joins them.

    `layer` is the transposed one as a convolution: `weights` `[kh, kw, cin, cout]`, taps in the
    order of the convolution that it transposes, whose strides, dilations and padding it has.
    """
    axes = [
        phases(Axis(*sides))
        for sides in zip(
            source,
            result,
            layer.kernel,
            layer.strides,
            layer.dilations,
            (pair[0] for pair in layer.padding),
            strict=True,
        )  # fmt: skip
    ]
    made: list[Convolution] = []
    for row in axes[0]:
        for column in axes[1]:
            codes = layer.weights[np.ix_(row.taps, column.taps)]
            if not codes.size:
                sizes = (max(1, len(row.taps)), max(1, len(column.taps)))
                codes = np.zeros((*sizes, *layer.weights.shape[2:]), np.int8)
            # what there is to do counts once, for the first phase
            name = layer.name if not made else f"{layer.name}/{row.first},{column.first}"
            made.append(
                Convolution(
                    name, layer.input, f"{layer.output}/{row.first},{column.first}",
                    np.ascontiguousarray(codes), layer.bias, layer.scale, (1, 1),
                    (row.padding, column.padding), (row.dilation, column.dilation),
                    layer.low, layer.high,
                )
            )  # fmt: skip
    names = tuple(item.output for item in made)
    steps = (len(axes[0]), len(axes[1]))
    return tuple(made), Interleave(layer.name, names, layer.output, steps)
