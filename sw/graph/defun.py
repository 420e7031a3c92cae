"""`Defun`: a Python function as a graph function, traced once and called any number of times."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from sw.graph.build import graph_of
from sw.graph.dtypes import DType, as_dtype
from sw.graph.errors import InvalidArgumentError
from sw.graph.function import Function, call_inputs
from sw.graph.graph import Graph, get_default_graph
from sw.graph.nest import flatten, pack
from sw.graph.tensor import Tensor


class GraphFunction:
    """What `Defun` makes of a Python function. A call gives the function's structure of tensors;
    for calls with the same shapes the graph holds one body."""

    def __init__(self, body: Callable[..., Any], dtypes: tuple[DType, ...], name: str) -> None:
        functools.update_wrapper(self, body)
        self._body, self._dtypes, self.name = body, dtypes, name
        self._traced: dict[Any, tuple[Function, Any, list[Tensor]]] = {}

    def __call__(self, *args: Any, name: str | None = None) -> Any:
        """Raises `InvalidArgumentError` for another number of arguments, `DTypeError` for tensors
        of other types."""
        if len(args) != len(self._dtypes):
            raise InvalidArgumentError(
                f"function {self.name!r} takes {len(self._dtypes)} arguments, not {len(args)}"
            )
        graph = graph_of(args)
        if not graph.sees(get_default_graph()) and get_default_graph().sees(graph):
            graph = get_default_graph()
        given = [graph.convert(a, d) for a, d in zip(args, self._dtypes, strict=True)]
        key = (graph, *(str(t.shape) for t in given))
        if key not in self._traced:
            self._traced[key] = self._trace(graph, given)
        function, structure, captures = self._traced[key]
        with graph.control_dependencies(function.outer_controls):
            found = graph.apply(
                "call", *given, *captures, name=name or self.name, function=function
            )
        return pack(structure, found[:-1])

    def _trace(self, graph: Graph, given: list[Tensor]) -> tuple[Function, Any, list[Tensor]]:
        function = Function(graph, graph.unique_name(f"{self.name}/body"))
        arguments = [function.parameter(t) for t in given]
        structure = function.trace(self._body, *arguments)
        leaves = flatten(structure)
        if not leaves or any(leaf is None for leaf in leaves):
            raise InvalidArgumentError(f"function {self.name!r} gives {structure!r}, not tensors")
        function.finish(leaves)
        return function, structure, call_inputs([function])


class Defun:
    """Decorator: `@st.Defun(st.float32, st.float32)` makes a graph function of two tensors. What it
    uses from outside is captured; it has a gradient and is stored with its graph.

    >>> import systolica as st
    >>> @st.Defun(st.float32)
    ... def cube(x):
    ...     return x * x * x
    >>> x = st.constant(2.0)
    >>> with st.Session() as session:
    ...     [float(v) for v in session.run([cube(x), st.gradients(cube(x), x)[0]])]
    [8.0, 12.0]
    """

    def __init__(self, *input_types: Any, func_name: str | None = None) -> None:
        self._dtypes = tuple(as_dtype(t) for t in input_types)
        self._name = func_name

    def __call__(self, func: Callable[..., Any]) -> GraphFunction:
        own = func.__name__ if func.__name__.isidentifier() else "function"  # of a lambda
        return GraphFunction(func, self._dtypes, self._name or own)
