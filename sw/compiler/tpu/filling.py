"""A network while it is being filled with layers."""

from __future__ import annotations

from dataclasses import dataclass, field

from sw.compiler.tpu.layers import (
    STREAMED,
    Activation,
    Concat,
    Interleave,
    Layer,
    Shape,
    result_size,
)
from sw.compiler.tpu.network import Network
from sw.compiler.tpu.steps import NetworkStep, Result
from sw.graph.operation import Operation


@dataclass(eq=False)
class Program:
    """A network while it is being filled."""

    activations: dict[str, Activation] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    results: dict[str, Result] = field(default_factory=dict)
    ops: list[Operation] = field(default_factory=list)

    def step(self) -> NetworkStep:
        network = Network(
            tuple(self.inputs),
            tuple(self.layers),
            tuple(self.results),
            tuple(self.activations.values()),
        )
        results = tuple(self.results.values())
        return NetworkStep(network, tuple(self.inputs.items()), results, tuple(self.ops))

    def add(self, layer: Layer, op: Operation, scale: float, zero_point: int) -> Activation:
        """Put a layer at the end of a program; the activation that it makes."""
        x = self.activations[layer.inputs[0]].shape
        shape: Shape
        if isinstance(layer, Concat):
            channels = sum(self.activations[name].shape[3] for name in layer.sources)
            shape = (*x[:3], channels)
        elif isinstance(layer, Interleave):
            across = layer.steps[1]
            made = [self.activations[name].shape for name in layer.sources]
            height, width = (sum(s[1] for s in made[::across]), sum(s[2] for s in made[:across]))
            shape = (x[0], height, width, x[3])
        else:
            axes = zip(
                x[1:3], layer.kernel, layer.strides, layer.dilations, layer.padding, strict=True
            )
            sizes = [result_size(*axis) for axis in axes]
            channels = layer.channels if isinstance(layer, STREAMED) else x[3]
            shape = (x[0], sizes[0], sizes[1], channels)
        item = Activation(layer.output, shape, scale, zero_point)
        self.activations[item.name] = item
        self.layers.append(layer)
        self.ops.append(op)
        return item
