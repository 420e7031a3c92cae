"""Ops that look at values and fail with what they saw."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.dtypes import resource
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import get_default_graph
from sw.graph.operation import Operation
from sw.graph.ops.helpers import floating_type
from sw.graph.registry import NOT_DIFFERENTIABLE
from sw.graph.tensor import Tensor


def _assert(xp: Any, state: Any, condition: Any, *data: Any, summarize: int) -> tuple[()]:
    if not np.all(condition):
        with np.printoptions(threshold=summarize, edgeitems=max(1, summarize // 2)):
            shown = ", ".join(str(d) for d in data)
        raise InvalidArgumentError(f"assertion failed: {shown}" if data else "assertion failed")
    return ()


def _check(xp: Any, x: Any, message: str) -> Any:
    if not np.isfinite(x).all():
        what = "NaN" if np.isnan(x).any() else "Inf"
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise InvalidArgumentError(f"{message}: tensor had {what} values, the first at {where}")
    return x


register_op(
    "assert",
    kernel=_assert,
    infer=lambda inputs, summarize: [],
    gradient=NOT_DIFFERENTIABLE,
    attrs={"summarize": 3},
    stateful=True,
    host_only=True,
    doc="Fails, showing the other inputs, unless all of inputs[0] is true.",
)
register_op(
    "check_numerics",
    kernel=_check,
    infer=floating_type,
    gradient=lambda op, g: [g],
    attrs={"message": ""},
    host_only=True,
    doc="Its input; fails if that holds NaN or Inf.",
)


def assert_(
    condition: Any, data: Any, summarize: int | None = None, name: str | None = None
) -> Operation:
    """An operation that fails unless `condition` holds, showing the tensors in `data`."""
    graph = graph_of((condition, *data))
    op: Operation = graph.apply(
        "assert", condition, *data, name=name or "Assert", summarize=summarize or 3
    )
    return op


def check_numerics(tensor: Any, message: str, name: str | None = None) -> Tensor:
    """`tensor`, checked for NaN and Inf when it runs; `message` begins the error."""
    out: Tensor = apply("check_numerics", tensor, name=name, message=message)
    return out


def add_check_numerics_ops() -> Operation:
    """An operation that computes every floating-point tensor that the graph has now and fails at
    the first one that holds NaN or Inf, naming it and the line that made it. What writes to
    variables does not run."""
    graph = get_default_graph().root
    last: list[Operation] = []
    for op in graph.get_operations():
        writes = any(t.dtype is resource for t in op.inputs) and op.type != "read_variable"
        for tensor in op.outputs:
            if tensor.dtype.is_floating and not writes:
                with graph.control_dependencies(last):
                    check = graph.apply(
                        "check_numerics", tensor, message=f"{tensor.name} ({op.type}, {op.source})"
                    )
                last = [check.op]
    with graph.control_dependencies(last):
        done: Operation = graph.apply("no_op", name="check_numerics_all")
    return done
