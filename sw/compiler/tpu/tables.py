"""Tables: whatever maps each code of an int8 tensor to a code, as 256 results.

The ops between a dequantize and a quantize op are run by their own kernels on all 256 codes, so
that the chip gives exactly what they give. Constants of one value per channel make one table for
each channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.tpu import numerics
from sw.compiler.tpu.support import VIEWS, table_source
from sw.graph.build import constant_value
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor


@dataclass(frozen=True, eq=False)
class Map:
    """The `ops` that make `end` from `start`, each behind those that it reads; views left out."""

    start: Tensor
    end: Tensor
    ops: tuple[Operation, ...]


def map_to(tensor: Tensor) -> Map | None:
    """The longest map that ends in `tensor`; None if it has several sources."""
    start = table_source(tensor)
    if start is None:
        return None
    ops: dict[Operation, None] = {}

    def visit(item: Tensor) -> None:
        item = _behind_views(item)
        if item is start or item.op in ops or constant_value(item) is not None:
            return
        for operand in item.op.inputs:
            visit(operand)
        ops[item.op] = None

    visit(tensor)
    return Map(start, tensor, tuple(ops))


def _behind_views(tensor: Tensor) -> Tensor:
    while tensor.op.type in VIEWS:
        tensor = tensor.op.inputs[0]
    return tensor


def evaluate(
    made: Map, source: tuple[float, int], target: tuple[float, int]
) -> NDArray[np.int8] | None:
    """int8 `[256]`, or `[256, channels]`, by code + 128; None if a result is NaN or the shapes on
    the way forbid it."""
    codes = np.arange(numerics.INT8_MIN, numerics.INT8_MAX + 1)[:, None]
    values: dict[Tensor, Any] = {
        made.start: numerics.dequantize(codes, np.float32(source[0]), source[1])
    }
    for op in made.ops:
        if op.outputs[0].shape[-1:] != made.start.shape[-1:]:
            return None
        given = [values.get(_behind_views(tensor), tensor) for tensor in op.inputs]
        given = [_vector(item) if isinstance(item, Tensor) else item for item in given]
        with np.errstate(all="ignore"):
            result = op.op_def.bind(np, op.attrs)(*given)
        values[op.outputs[0]] = np.asarray(result, np.float32)
    value = values[_behind_views(made.end)]
    if value.ndim != 2 or np.isnan(value).any():
        return None
    table = numerics.quantize(value, np.float32(target[0]), target[1])
    same = (table == table[:, :1]).all()
    return np.ascontiguousarray(table[:, 0] if same else table)


def _vector(tensor: Tensor) -> Any:
    """A constant operand as one value or one for each channel."""
    value = constant_value(tensor)
    assert value is not None
    return value.reshape(-1) if value.size > 1 else value.reshape(())
