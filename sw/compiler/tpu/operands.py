"""Operands: which quantised activations a product of two tensors is made of.

The array multiplies by what the weight path brings from DRAM, and that may be an activation: its
rows are the rows of weight tiles, or its columns are, when it was transposed on its way there. So
views and a transpose between the int8 tensor and the product cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from sw.compiler.tpu.support import swaps_last
from sw.graph.build import constant_value
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor


@dataclass(frozen=True)
class Scaled:
    """An int8 tensor (behind views) with the scale and zero point that give its real values."""

    tensor: Tensor
    scale: float
    zero_point: int


@dataclass(frozen=True)
class Operand:
    """An int8 tensor read as `images` matrices of `rows` and `channels`, or as their transposes."""

    source: Scaled
    images: int
    rows: int
    channels: int
    transposed: bool

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """NHWC, as the tensor lies there."""
        return self.images, 1, self.rows, self.channels

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns as the product sees them."""
        return (self.channels, self.rows) if self.transposed else (self.rows, self.channels)


def parameters(op: Operation) -> tuple[float, int] | None:
    """Scale and zero point of a per-tensor quantize or dequantize op, None if it is another."""
    scale, zero = (constant_value(tensor) for tensor in op.inputs[1:3])
    if scale is None or zero is None or scale.size != 1 or zero.size != 1:
        return None
    return float(scale.ravel()[0]), int(zero.ravel()[0])


def scaled(tensor: Tensor) -> Scaled | None:
    """The int8 tensor that `tensor` dequantises, through reshapes, also through those between
    a dequantize and a quantize op of one scale; None if it is not quantised."""
    while tensor.op.type == "reshape":
        tensor = tensor.op.inputs[0]
    op = tensor.op
    if op.type != "dequantize_linear" or op.inputs[0].dtype.name != "int8":
        return None
    found = parameters(op)
    if found is None:
        return None
    codes = op.inputs[0]
    while codes.op.type == "reshape":
        codes = codes.op.inputs[0]
    before = round_trip(codes.op)
    if before is not None and (before.scale, before.zero_point) == found:
        return before
    return Scaled(codes, *found)


def round_trip(op: Operation) -> Scaled | None:
    """What a quantize op only reshapes: the int8 tensor whose values it quantises again with the
    scale that they have; None if it does something."""
    if op.type != "quantize_linear":
        return None
    before = scaled(op.inputs[0])
    same = before is not None and parameters(op) == (before.scale, before.zero_point)
    return before if same else None


def operand(tensor: Tensor) -> Operand | None:
    """What `tensor`, of known shape, reads; None if it is not quantised or moves channels."""
    turned = False
    best: tuple[Tensor, tuple[float, int], bool] | None = None
    while True:
        op = tensor.op
        if swaps_last(op):
            turned = not turned
        elif op.type == "dequantize_linear":
            given = parameters(op) if op.inputs[0].dtype.name == "int8" else None
            if given is None or best is not None and given != best[1]:
                break
            best = op.inputs[0], given, turned
        elif op.type == "quantize_linear":
            if best is None or parameters(op) != best[1]:
                break
        elif op.type != "reshape" or not _keeps_matrices(op):
            break
        tensor = op.inputs[0]
    return None if best is None else _operand(*best)


def _keeps_matrices(op: Operation) -> bool:
    """Whether a reshape keeps the last two axes."""
    return op.inputs[0].shape.sizes()[-2:] == op.outputs[0].shape.sizes()[-2:]


def _operand(tensor: Tensor, found: tuple[float, int], turned: bool) -> Operand | None:
    """An int8 tensor behind views of its codes."""
    while True:
        if swaps_last(tensor.op):
            turned = not turned
        elif tensor.op.type != "reshape" or not _keeps_matrices(tensor.op):
            break
        tensor = tensor.op.inputs[0]
    sizes = tensor.shape.sizes()
    if len(sizes) < 2 or 0 in sizes:
        return None
    return Operand(Scaled(tensor, *found), prod(sizes[:-2]), sizes[-2], sizes[-1], turned)
