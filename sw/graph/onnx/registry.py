"""Which function imports which operator.

`handles("Conv")` registers a function from a `Node` to its outputs: a Tensor or `Value`, a list of
them, or NotImplemented where the form at hand is better served by the operator's kernel.
`kernel("Trilu")` registers a NumPy function as an op of ours with the operator's own semantics;
`sw.graph.onnx.node.Node.generic` makes it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from sw.graph.build import register_op
from sw.graph.registry import REQUIRED

ONNX = ""
ML = "ai.onnx.ml"
TRAINING = "ai.onnx.preview.training"


class Kernel(NamedTuple):
    """An operator's own op: its name in our registry and the attributes that it takes."""

    op_type: str
    attrs: frozenset[str]


HANDLERS: dict[tuple[str, str], Callable[[Any], Any]] = {}
KERNELS: dict[tuple[str, str], Kernel] = {}


def handles(*operators: str, domain: str = ONNX) -> Callable[[Any], Any]:
    """Register the decorated function for the operators."""

    def decorate(function: Any) -> Any:
        for operator in operators:
            HANDLERS[domain, operator] = function
        return function

    return decorate


def _types(inputs: Any, types: Any, **attrs: Any) -> Any:
    return list(types)


def _adapter(function: Any, wants: frozenset[str], stateful: bool) -> Any:
    def run(first: Any, arrays: Any, present: Any, types: Any, opset: int, attrs: Any) -> Any:
        given = iter(arrays)
        values = [next(given) if there else None for there in present]
        known = {"types": types, "opset": opset}
        attrs.update({k: known[k] for k in wants & set(known)})
        out = function(*first, *values, **attrs)
        return out if len(types) == 1 or isinstance(out, tuple) else tuple(out)

    def without(xp: Any, *arrays: Any, present: Any, types: Any, opset: int, **attrs: Any) -> Any:
        return run((), arrays, present, types, opset, attrs)

    def with_state(
        xp: Any, state: Any, *arrays: Any, present: Any, types: Any, opset: int, **attrs: Any
    ) -> Any:
        return run((state,), arrays, present, types, opset, attrs)

    return with_state if stateful else without


def kernel(*operators: str, domain: str = ONNX, stateful: bool = False) -> Callable[[Any], Any]:
    """Register the decorated function as the op of the operators. Its positional parameters are
    the operator's inputs (None where one is left out), its keyword-only ones the attributes;
    `types` (the outputs' types) and `opset` (the operator set's version) come if it names them.
    It returns an array, or a tuple for several outputs."""

    def decorate(function: Any) -> Any:
        parameters = inspect.signature(function).parameters.values()
        named = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        wants = frozenset(p.name for p in named)
        attrs = {
            p.name: REQUIRED if p.default is p.empty else p.default
            for p in named
            if p.name not in ("types", "opset")
        }
        for operator in operators:
            op_type = f"onnx_{operator}"
            register_op(
                op_type,
                kernel=_adapter(function, wants, stateful),
                infer=_types,
                attrs={**attrs, "types": REQUIRED, "present": REQUIRED, "opset": 0},
                stateful=stateful,
                host_only=True,
                doc=f"ONNX's {operator}",
            )
            KERNELS[domain, operator] = Kernel(op_type, frozenset(attrs))
        return function

    return decorate
