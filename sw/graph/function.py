"""`Function`: a graph within a graph, the body of a branch or a loop.

While a function is traced it is the default graph. A tensor from outside that its ops use is
captured: inside stands an `argument` op in its place, and the op that calls the function gets it
as an input. Integer constants are copied instead, so that static shapes stay known. Variables made
inside belong to the outermost graph.

Ops that have functions as attributes get them in their kernel as callables, from arrays (one for
each of `arguments`) to a tuple of arrays (one for each of `results`, then of `saved`).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

from sw.graph.build import register_op
from sw.graph.dtypes import OF_HANDLES, DType, resource
from sw.graph.errors import GraphError, InternalError
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor


def _argument_type(inputs: tuple[Tensor, ...], dtype: DType, shape: Any, **rest: Any) -> TensorType:
    return TensorType(dtype, Shape(() if dtype is resource else shape))


register_op(
    "argument",
    kernel=None,
    infer=_argument_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"dtype": REQUIRED, **dict.fromkeys(OF_HANDLES), "shared_name": ""},
    stateful=True,
    host_only=True,
    doc="A value that a function is called with. For a handle, `shape` and `value_dtype` are its "
    "variable's, `dtypes` and `shapes` its queue's.",
)


class Function(Graph):
    """The body of a branch or a loop in `outer`. `arguments` are its inputs: first those made by
    `parameter`, then the captured ones; `captures` maps tensors of `outer` to the latter."""

    def __init__(self, outer: Graph, name: str) -> None:
        super().__init__()
        self.outer = outer
        self.name = name
        self.seed = outer.seed
        self._collections = outer._collections
        self._scope = f"{name}/"
        self.arguments: list[Tensor] = []
        self.captures: dict[Tensor, Tensor] = {}
        self.results: list[Tensor] = []
        self.saved: list[Tensor] = []
        self.closed = False  # an op calls it: its arguments are fixed
        self._copied: dict[Tensor, Tensor] = {}

    # --- what a graph within a graph does differently ------------------------------------------

    @property
    def root(self) -> Graph:
        return self.outer.root

    def sees(self, other: Graph) -> bool:
        return other is self or self.outer.sees(other)

    def op_seed(self) -> int:
        return zlib.crc32(self.name.encode()) + len(self._ops)

    def adopt(self, tensor: Tensor) -> Tensor:
        """The argument (or copied constant) that stands for a tensor from outside."""
        if not self.outer.sees(tensor.graph):
            raise GraphError(
                f"tensor {tensor.name!r} ({tensor.op.source}) belongs to another branch or loop, "
                "or to another graph: only what a branch or loop returns is visible outside"
            )
        if tensor.op.graph is not self.outer:
            tensor = self.outer.adopt(tensor)
        if tensor.op.type == "const" and not tensor.dtype.differentiable:
            if tensor not in self._copied:
                with self.lifted():
                    self._copied[tensor] = self.apply("const", value=tensor.op.attrs["value"])
            return self._copied[tensor]
        if tensor not in self.captures:
            if self.closed:
                raise InternalError(f"{self.name!r} is in use and cannot capture {tensor.name!r}")
            self.captures[tensor] = self._argument(tensor, tensor.shape, "capture")
        return self.captures[tensor]

    def _as_operation(self, item: Any) -> Operation:
        op = item if isinstance(item, Operation) else getattr(item, "op", None)
        if isinstance(op, Operation) and op.graph is not self and self.outer.sees(op.graph):
            # what is outside runs before the whole function anyway, once the function takes it
            self.outer_controls.append(op)
            with self.lifted():
                placeholder: Operation = self.apply("no_op", name="outside")
            return placeholder
        return super()._as_operation(item)

    @property
    def outer_controls(self) -> list[Operation]:
        """Ops outside that were named in control dependencies inside."""
        found: list[Operation] = self.__dict__.setdefault("_outer_controls", [])
        return found

    def lifted(self) -> Any:
        """No control dependencies of the body within this block."""
        return self.control_dependencies(None)

    def _argument(self, like: Tensor, shape: Any, name: str) -> Tensor:
        attrs: dict[str, Any] = {"dtype": like.dtype, "shape": shape}
        if like.dtype is resource:
            attrs.update((k, like.op.attrs[k]) for k in OF_HANDLES if k in like.op.attrs)
        with self.lifted():
            made: Tensor = self.apply("argument", name=name, **attrs)
        self.arguments.append(made)
        return made

    def parameter(self, like: Tensor, shape: Any = None) -> Tensor:
        """A further argument with the dtype of `like` and its shape, unless given."""
        return self._argument(like, like.shape if shape is None else shape, "parameter")

    # --- tracing -------------------------------------------------------------------------------

    def trace(self, body: Callable[..., Any], *values: Any) -> Any:
        """What `body(*values)` returns, its ops made here."""
        with self.as_default():
            return body(*values)

    def finish(self, results: Sequence[Any]) -> None:
        """Set the outputs; tensors from outside pass through the function."""
        with self.as_default():
            self.results = [self.convert(r) for r in results]

    def save(self, tensor: Tensor) -> int:
        """Add an output for the gradient's use; its position among `saved`."""
        if tensor not in self.saved:
            self.saved.append(tensor)
        return self.saved.index(tensor)


def call_inputs(functions: Sequence[Function]) -> list[Tensor]:
    """The captured tensors of all functions, and in each function an argument for every one: after
    this all take the same captures, in this order."""
    outside: dict[Tensor, None] = {}
    for function in functions:
        outside.update(dict.fromkeys(function.captures))
    for function in functions:
        own = [a for a in function.arguments if a not in set(function.captures.values())]
        for tensor in outside:
            function.adopt(tensor)
        function.closed = True
        function.arguments = own + [function.captures[t] for t in outside]
    return list(outside)
