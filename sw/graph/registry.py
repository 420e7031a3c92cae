"""The table of operations: one `OpDef` says all that there is to know of an op.

    infer(inputs, **attrs)      static types: inputs are graph Tensors; returns a TensorType, or a
                                list of them for an op with several (or no) outputs
    kernel(xp, *inputs, **attrs)  values: `xp` is an array namespace (NumPy by default); returns an
                                array, or a tuple for several outputs. A string names a function
                                of `xp` that takes the inputs alone. A stateful op's kernel takes
                                `state` (sw.graph.state.OpState) after `xp`. Arrays are
                                immutable: a kernel never writes to an input or to old state.
    gradient(op, *grads)        graph: one Tensor or None per input, given one per output.
                                `NOT_DIFFERENTIABLE` stops the flow silently (comparisons,
                                shapes); None makes `gradients` fail and name the op.
    begin(state, done, *inputs, **attrs)  of an op that may wait for others: starts it and returns
                                a `sw.graph.waiting.Waiting`; `kernel` waits in its thread
    attrs                       names and defaults (`REQUIRED` has none); exactly these reach
                                `infer` and `kernel` as keywords and stand in `op.attrs`

The table belongs to the process; only `register` writes to it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sw.graph.dtypes import DType
from sw.graph.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from sw.graph.shapes import Shape


class TensorType(NamedTuple):
    """What is known of a value before it exists."""

    dtype: DType
    shape: Shape


class _Required:
    def __repr__(self) -> str:
        return "<required>"


REQUIRED: Any = _Required()


def NOT_DIFFERENTIABLE(op: Any, *grads: Any) -> list[None]:  # noqa: N802 (a constant that is callable)
    """The gradient of ops through which none flows: None for every input."""
    return [None] * len(op.inputs)


@dataclass(frozen=True, slots=True)
class OpDef:
    """One operation; see the module. `inline` is an expression over the inputs ("{0} + {1}") that
    a code generator may use in place of the kernel; `share_dtype`: all inputs have one dtype."""

    name: str
    infer: Callable[..., Any]
    kernel: Callable[..., Any] | str | None
    gradient: Callable[..., Any] | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    stateful: bool = False
    host_only: bool = False
    share_dtype: bool = False
    inline: str | None = None
    doc: str = ""
    begin: Callable[..., Any] | None = None

    def resolve_attrs(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """`given` completed by the defaults; raises for unknown and missing ones, by name."""
        unknown = sorted(set(given) - set(self.attrs))
        if unknown:
            raise InvalidArgumentError(
                f"op {self.name!r} has no attribute {unknown[0]!r}; it has {sorted(self.attrs)}"
            )
        attrs = {**self.attrs, **given}
        for key, value in attrs.items():
            if value is REQUIRED:
                raise InvalidArgumentError(f"op {self.name!r} needs its attribute {key!r}")
        return attrs

    def bind(self, xp: Any, attrs: Mapping[str, Any], state: Any = None) -> Callable[..., Any]:
        """The kernel as a function of the inputs alone."""
        if self.kernel is None:
            raise InvalidArgumentError(f"op {self.name!r} has no kernel: it only marks a place")
        if isinstance(self.kernel, str):
            return getattr(xp, self.kernel)
        first = (xp, state) if self.stateful else (xp,)
        return functools.partial(self.kernel, *first, **attrs)


_OPS: dict[str, OpDef] = {}


def register(op_def: OpDef) -> OpDef:
    """Add an op; raises `AlreadyExistsError` when its name is taken."""
    if op_def.name in _OPS:
        raise AlreadyExistsError(f"op {op_def.name!r} is registered already")
    _OPS[op_def.name] = op_def
    return op_def


def replace(op_def: OpDef) -> OpDef:
    """Put another definition in the place of a registered op's: for a gradient given later."""
    lookup(op_def.name)
    _OPS[op_def.name] = op_def
    return op_def


def lookup(name: str) -> OpDef:
    """The op of that name; raises `NotFoundError`."""
    try:
        return _OPS[name]
    except KeyError:
        raise NotFoundError(f"no op is named {name!r}; register it with st.register_op") from None


def all_ops() -> Iterable[OpDef]:
    """Every registered op, by name."""
    return [_OPS[name] for name in sorted(_OPS)]
