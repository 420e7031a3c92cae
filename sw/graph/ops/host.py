"""Python functions as ops, and printing."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from sw.graph.build import graph_of, register_op
from sw.graph.dtypes import as_dtype
from sw.graph.errors import InvalidArgumentError
from sw.graph.operation import Operation
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.state import OpState
from sw.graph.tensor import Operators, Tensor


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


def _show(value: Any, summarize: int) -> str:
    if np.ndim(value) == 0:
        return str(np.asarray(value).item())
    limit = np.size(value) if summarize == -1 else 2 * summarize
    edge = max(np.size(value), 1) if summarize == -1 else summarize
    with np.printoptions(threshold=limit, edgeitems=edge, linewidth=10**6):
        text = np.array2string(np.asarray(value), separator=" ")
    return re.sub(r"\[ +", "[", text)


def _write(
    xp: Any, state: OpState, *inputs: Any, parts: Any, stream: str, summarize: int, end: str
) -> Any:
    values = iter(inputs)
    line = "".join(p if p is not None else _show(next(values), summarize) for p in parts) + end
    if stream.startswith("file://"):
        with open(stream.removeprefix("file://"), "a") as file:
            file.write(line)
    else:
        print(line, end="", file=sys.stdout if stream == "stdout" else sys.stderr, flush=True)
    return ()


register_op(
    "print_line",
    kernel=_write,
    infer=lambda inputs, **attrs: [],
    gradient=None,
    attrs={"parts": REQUIRED, "stream": "stderr", "summarize": 3, "end": "\n"},
    stateful=True,
    host_only=True,
    doc="Its inputs in the places of None among `parts`, written to a stream.",
)


def print_line(
    *inputs: Any,
    output_stream: Any = None,
    summarize: int = 3,
    sep: str = " ",
    end: str = "\n",
    name: str | None = None,
) -> Operation:
    """An operation that prints `inputs` (tensors, and anything else as text) when it runs, on
    standard error, or on `output_stream`: sys.stdout, sys.stderr or "file://PATH". Of long axes
    the first and last `summarize` elements, -1: all."""
    streams = {None: "stderr", sys.stderr: "stderr", sys.stdout: "stdout"}
    named = isinstance(output_stream, str) and output_stream.startswith("file://")
    if not named and output_stream not in streams:
        raise InvalidArgumentError(
            f"output_stream {output_stream!r} is not sys.stdout, sys.stderr or 'file://PATH'"
        )
    tensors = [x for x in inputs if isinstance(x, Operators)]
    parts: list[str | None] = []
    for at, item in enumerate(inputs):
        parts += [sep] if at else []
        parts.append(None if isinstance(item, Operators) else str(item))
    done: Operation = graph_of(tensors).apply(
        "print_line",
        *tensors,
        name=name or "PrintV2",
        parts=tuple(parts),
        stream=output_stream if named else streams[output_stream],
        summarize=int(summarize),
        end=end,
    )
    return done
