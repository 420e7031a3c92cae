"""What surrounds a graph in TensorFlow: extensions from a file, gradients given later, conversions
of a user's types, collections by reference."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sw.graph.build import graph_of
from sw.graph.dtypes import as_dtype
from sw.graph.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from sw.graph.graph import GraphKeys, get_default_graph, register_conversion
from sw.graph.indexed_slices import IndexedSlices
from sw.graph.operation import Operation
from sw.graph.ops.random import op_seeds
from sw.graph.registry import NOT_DIFFERENTIABLE, lookup, replace

Gradient = Callable[..., Any]


class AggregationMethod:
    """Accepted by `gradients` and ignored: gradients are added up in one op."""

    ADD_N = DEFAULT = 0
    EXPERIMENTAL_TREE, EXPERIMENTAL_ACCUMULATE_N = 1, 2


def get_collection_ref(key: str) -> list[Any]:
    """The list behind a collection of the default graph: changing it changes the collection."""
    found: list[Any] = get_default_graph().root.collection_list(key)
    return found


def get_seed(op_seed: int | None) -> tuple[int | None, int | None]:
    """(graph seed, op seed) of a random op made now with the seed `op_seed`; (None, None) asks for
    numbers that differ from session to session."""
    return op_seeds(op_seed)


def convert_to_tensor_or_indexed_slices(
    value: Any, dtype: Any = None, name: str | None = None
) -> Any:
    """`IndexedSlices` as they are, anything else as a tensor."""
    if isinstance(value, IndexedSlices):
        if dtype is not None and value.dtype is not as_dtype(dtype):
            raise InvalidArgumentError(f"{value!r} is not {as_dtype(dtype)}")
        return value
    kind = None if dtype is None else as_dtype(dtype)
    return graph_of((value,)).convert(value, kind, name)


def register_tensor_conversion_function(
    base_type: type, conversion_func: Callable[..., Any], priority: int = 100
) -> None:
    """From now on values of `base_type` become tensors (or arrays) by
    `conversion_func(value, dtype=, name=, as_ref=False)`; lower priorities are asked first."""
    register_conversion(base_type, conversion_func, priority)


def _set_gradient(op_type: str, gradient: Gradient) -> None:
    known = lookup(op_type)
    if known.gradient is not None:
        raise AlreadyExistsError(f"op {op_type!r} has a gradient already")
    replace(dataclasses.replace(known, gradient=gradient))


class RegisterGradient:
    """Decorator: `f(op, *grads)` is the gradient of the ops of that registered kind, which had
    none."""

    def __init__(self, op_type: str) -> None:
        if not isinstance(op_type, str):
            raise InvalidArgumentError(f"the name of an op is needed, not {op_type!r}")
        self._type = op_type

    def __call__(self, function: Gradient) -> Gradient:
        _set_gradient(self._type, function)
        return function


def NotDifferentiable(op_type: str) -> None:  # noqa: N802 (TensorFlow's name)
    """No gradient flows through ops of that kind; asking for one is no error."""
    _set_gradient(op_type, NOT_DIFFERENTIABLE)


NoGradient = NotDifferentiable


def load_op_library(library_filename: str) -> Any:
    """Run the Python file, which registers ops with `st.register_op`; its module.

    Raises `NotFoundError` when there is no such file.
    """
    path = Path(library_filename)
    if not path.is_file():
        raise NotFoundError(f"no file {library_filename!r}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InvalidArgumentError(f"{library_filename!r} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def initialize_all_tables(name: str = "init_all_tables") -> Operation:
    """An operation that runs the initialisers of the default graph's table collection."""
    graph = get_default_graph().root
    with graph.control_dependencies(graph.get_collection(GraphKeys.TABLE_INITIALIZERS)):
        done: Operation = graph.apply("no_op", name=name)
    return done


tables_initializer = initialize_all_tables
