"""What a TPU partition becomes: an ordered list of steps over values on the host.

A `HostStep` is work at the border, done by the op's own kernel (quantise, dequantise, reshape,
float epilogues). A `NetworkStep` is one program. A `DynamicStep` is one program whose weights and
scales are known only when it runs. Values are called by their tensors' names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sw.compiler.tpu.layers import Padding, Pair
from sw.compiler.tpu.network import Network
from sw.graph.operation import Operation


@dataclass(frozen=True, eq=False)
class HostStep:
    """`outputs = kernel(inputs)`."""

    op: Operation

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(tensor.name for tensor in self.op.inputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(tensor.name for tensor in self.op.outputs)


@dataclass(frozen=True, eq=False)
class Result:
    """An output of a network: activation `port` becomes value `value` of shape `shape`.

    int32 accumulators are made float32 by `correction` int32 `[cout]` and `scale` float32
    `[cout]`, as `(accumulator + correction) * scale`; both are None for an int8 output.
    """

    port: str
    value: str
    shape: tuple[int, ...]
    correction: NDArray[np.int32] | None = None
    scale: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class NetworkStep:
    """A program: `inputs` are (port, value) pairs of int8 values; `ops` the graph's ops in it."""

    network: Network
    inputs: tuple[tuple[str, str], ...]
    results: tuple[Result, ...]
    ops: tuple[Operation, ...]


@dataclass(frozen=True, eq=False)
class DynamicStep:
    """A float matmul or convolution, quantised from the values of the run.

    `x`, `weights` and `result` name float32 values; `padding` is applied on the host, where the
    zero point is known. A matmul has an `x` of any rank and `weights` `[K, N]`.
    """

    op: Operation
    x: str
    weights: str
    result: str
    strides: Pair = (1, 1)
    padding: Padding = ((0, 0), (0, 0))
    dilations: Pair = (1, 1)


Step = HostStep | NetworkStep | DynamicStep


@dataclass(frozen=True, eq=False)
class Lowered:
    """`constants` and the values under `inputs` (by recv op) are there at the start; `outputs`
    name the values of the send ops."""

    steps: tuple[Step, ...]
    constants: dict[str, NDArray[np.generic]]
    inputs: dict[str, str]
    outputs: dict[str, str]


def render(lowered: Lowered) -> str:
    """The steps as text, one a line, a network's layers indented below it."""
    lines = []
    for step in lowered.steps:
        if isinstance(step, HostStep):
            lines.append(f"host {', '.join(step.outputs)} = {step.op.type}{step.inputs}")
        elif isinstance(step, DynamicStep):
            lines.append(f"dynamic {step.result} = {step.op.type}({step.x}, {step.weights})")
        else:
            taken = ", ".join(value for _, value in step.inputs)
            given = ", ".join(result.value for result in step.results)
            lines.append(f"program {given} = network({taken})")
            for layer in step.network.layers:
                shape = step.network.by_name[layer.output].shape
                lines.append(
                    f"  {layer.name}: {type(layer).__name__} {', '.join(layer.inputs)} -> {shape}"
                )
    return "\n".join(lines)
