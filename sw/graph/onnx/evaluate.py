"""Values that are known when the graph is built: shapes, axes and what is computed of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.dtypes import OBJECTS
from sw.graph.tensor import Tensor

MOST_ELEMENTS = 1 << 16
"""Larger results are left to the session, so that no file makes the importer compute."""
MOST_DEPTH = 64
CHEAP = frozenset(
    [
        "abs",
        "add",
        "broadcast_to",
        "cast",
        "ceil",
        "concat",
        "div",
        "equal",
        "expand_dims",
        "fill",
        "floor",
        "floordiv",
        "gather",
        "greater",
        "greater_equal",
        "identity",
        "less",
        "less_equal",
        "logical_and",
        "logical_not",
        "logical_or",
        "maximum",
        "minimum",
        "mod",
        "mul",
        "neg",
        "not_equal",
        "ones_like",
        "pow",
        "range",
        "reduce_max",
        "reduce_min",
        "reduce_prod",
        "reduce_sum",
        "reshape",
        "round",
        "split",
        "sqrt",
        "squeeze",
        "stack",
        "strided_slice",
        "sub",
        "transpose",
        "truncatediv",
        "where",
        "zeros_like",
    ]
) | {
    f"onnx_{operator}"
    for operator in (
        "Abs",
        "Add",
        "Cast",
        "Concat",
        "ConstantOfShape",
        "Div",
        "Equal",
        "Expand",
        "Gather",
        "Max",
        "Min",
        "Mod",
        "Mul",
        "Pow",
        "Range",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
        "Where",
    )
}
"""What shapes are computed with: ops that take no more than their operands and results."""


def static(tensor: Tensor, known: dict[Tensor, Any], depth: int = 0) -> Any:
    """The array that `tensor` always has, or None. `known` remembers answers."""
    if tensor.op.type == "const":
        return tensor.op.attrs["value"]
    if tensor not in known:
        known[tensor] = None if depth > MOST_DEPTH else _compute(tensor, known, depth)
    return known[tensor]


def _compute(tensor: Tensor, known: dict[Tensor, Any], depth: int) -> Any:
    op = tensor.op
    if op.type in ("shape", "size") and op.inputs[0].shape.known:
        shape = op.inputs[0].shape.sizes()
        kind = op.attrs["out_type"].numpy
        return np.asarray(shape if op.type == "shape" else np.prod(shape, dtype=np.int64), kind)
    if op.type not in CHEAP or not op.inputs or op.control_inputs:
        return None
    for output in op.outputs:
        count = output.shape.num_elements()
        if output.dtype in OBJECTS or count is None or count > MOST_ELEMENTS:
            return None
    inputs = []
    for source in op.inputs:
        count = source.shape.num_elements()
        if source.dtype in OBJECTS or count is None or count > MOST_ELEMENTS:
            return None
        value = static(source, known, depth + 1)
        if value is None:
            return None
        inputs.append(value)
    try:
        with np.errstate(all="ignore"):
            values = op.op_def.bind(np, op.attrs)(*inputs)
    except Exception:
        return None  # what fails here fails again when it runs, with the op's name
    if len(op.outputs) > 1:
        known.update(zip(op.outputs, map(np.asarray, values), strict=True))
        return known[tensor]
    return np.asarray(values)
