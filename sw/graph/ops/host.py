"""Python functions as ops, and printing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from sw.graph.build import graph_of, register_op
from sw.graph.dtypes import as_dtype
from sw.graph.errors import InvalidArgumentError
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.state import OpState
from sw.graph.tensor import Tensor


def _call(xp: Any, state: OpState, *inputs: Any, function: Any, dtypes: Any) -> Any:
    result = function(*inputs)
    values = list(result) if isinstance(result, (list, tuple)) else [result]
    if not dtypes:
        return ()
    if len(values) != len(dtypes):
        raise InvalidArgumentError(f"the function gave {len(values)} values, not {len(dtypes)}")
    out = []
    for at, (value, dtype) in enumerate(zip(values, dtypes, strict=True)):
        array = np.asarray(value)
        if array.dtype != dtype.numpy:
            raise InvalidArgumentError(f"value {at} of the function is {array.dtype}, not {dtype}")
        out.append(array)
    return tuple(out) if len(out) > 1 else out[0]


register_op(
    "py_func",
    kernel=_call,
    infer=lambda inputs, function, dtypes: [TensorType(d, Shape(None)) for d in dtypes],
    gradient=None,
    attrs={"function": REQUIRED, "dtypes": REQUIRED},
    stateful=True,
    host_only=True,
    doc="A Python function of arrays.",
)


def _print(xp: Any, state: OpState, x: Any, *data: Any, message: str, first: Any, most: int) -> Any:
    if first is None or state.next_step() < first:
        with np.printoptions(threshold=most, edgeitems=max(1, most // 2)):
            shown = "".join(f"[{np.array2string(np.ravel(d))[1:-1]}]" for d in data)
        print(f"{message}{shown}", file=sys.stderr)
    return x


register_op(
    "print",
    kernel=_print,
    infer=lambda inputs, **attrs: TensorType(inputs[0].dtype, inputs[0].shape),
    gradient=lambda op, g: [g] + [None] * (len(op.inputs) - 1),
    attrs={"message": "", "first": None, "most": 3},
    stateful=True,
    host_only=True,
    doc="inputs[0], printing the others on standard error.",
)


def py_func(
    func: Callable[..., Any], inp: Any, Tout: Any, stateful: bool = True, name: str | None = None
) -> Any:
    """`func` of the values of `inp` when it runs; `Tout`: the dtype of its result, or a list. It
    cannot be saved with a graph, nor differentiated."""
    kinds = Tout if isinstance(Tout, (list, tuple)) else [Tout]
    dtypes = tuple(as_dtype(k) for k in kinds)
    out = graph_of(inp).apply("py_func", *inp, name=name, function=func, dtypes=dtypes)
    return [out] if isinstance(Tout, (list, tuple)) and len(dtypes) == 1 else out


def print_(
    input_: Any,
    data: Any,
    message: str | None = None,
    first_n: int | None = None,
    summarize: int | None = None,
    name: str | None = None,
) -> Tensor:
    """`input_`; computing it prints `data` on standard error, `first_n` times at most."""
    out: Tensor = graph_of((input_, *data)).apply(
        "print",
        input_,
        *data,
        name=name or "Print",
        message=message or "",
        first=first_n,
        most=summarize or 3,
    )
    return out
