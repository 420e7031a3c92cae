"""Making ops in the default graph: scopes as free functions, `apply` and `register_op`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from sw.graph.dtypes import DType, as_dtype
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph, get_default_graph
from sw.graph.operation import Operation
from sw.graph.registry import OpDef, TensorType, register
from sw.graph.shapes import Shape
from sw.graph.tensor import Operators, Tensor


def graph_of(values: Iterable[Any]) -> Graph:
    """The graph of the first tensor among `values`, else the default graph."""
    for value in values:
        if isinstance(value, Operators):
            return value._operand().op.graph.building()
        if isinstance(value, Operation):
            return value.graph.building()
    return get_default_graph()


def apply(op_type: str, *inputs: Any, name: str | None = None, **attrs: Any) -> Any:
    """Make an op in its inputs' graph: its Tensor, a list of Tensors, or the Operation."""
    return graph_of(inputs).apply(op_type, *inputs, name=name, **attrs)


def convert_to_tensor(value: Any, dtype: Any = None, name: str | None = None) -> Tensor:
    """`value` as a Tensor; numbers, lists and arrays become constants."""
    want = None if dtype is None else as_dtype(dtype)
    return graph_of((value,)).convert(value, want, name)


def same_as_first(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    """Type rule: one output of the first input's type."""
    return TensorType(inputs[0].dtype, inputs[0].shape)


def register_op(
    name: str,
    kernel: Callable[..., Any] | str | None,
    infer: Callable[..., Any] = same_as_first,
    gradient: Callable[..., Any] | None = None,
    attrs: Mapping[str, Any] | None = None,
    stateful: bool = False,
    host_only: bool = False,
    share_dtype: bool = False,
    inline: str | None = None,
    doc: str = "",
    begin: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """Register an op and return the function that makes it: `f(*inputs, name=None, **attrs)`.

    The arguments are the fields of `OpDef` (see `sw.graph.registry`). Raises
    `AlreadyExistsError` when the name is taken.

        cube = st.register_op("cube", kernel=lambda xp, x: x * x * x,
                              gradient=lambda op, g: [3.0 * op.inputs[0] * op.inputs[0] * g])
    """
    op_def = OpDef(
        name,
        infer,
        kernel,
        gradient,
        dict(attrs or {}),
        stateful,
        host_only,
        share_dtype,
        inline,
        doc,
        begin,
    )
    register(op_def)

    def make(*inputs: Any, name: str | None = None, **attributes: Any) -> Any:
        return apply(op_def.name, *inputs, name=name, **attributes)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = doc or f"Make a {name!r} op: Tensors in, Tensor (or list of Tensors) out."
    return make


def constant_value(value: Any) -> np.ndarray[Any, Any] | None:
    """The array of a constant tensor (or of a static shape), None when it is not constant."""
    if not isinstance(value, Operators):
        return np.asarray(value)
    tensor = value._operand()
    if tensor.op.type == "const":
        array: np.ndarray[Any, Any] = tensor.op.attrs["value"]
        return array
    if tensor.op.type == "shape" and tensor.op.inputs[0].shape.known:
        return np.asarray(tensor.op.inputs[0].shape.sizes(), tensor.dtype.numpy)
    return None


def constant_shape(tensor: Tensor) -> Shape:
    """What is known of the shape that the integer vector `tensor` will hold."""
    value = constant_value(tensor)
    if value is not None:
        return Shape(tuple(int(v) for v in value.ravel()))
    op = tensor.op
    if op.type == "shape":
        return op.inputs[0].shape
    if op.type == "stack":
        return Shape(tuple(_constant_size(t) for t in op.inputs))
    length = tensor.shape.dims[0] if tensor.shape.rank == 1 and tensor.shape.dims else None
    return Shape(None if length is None else (None,) * length)


def _constant_size(tensor: Tensor) -> int | None:
    value = constant_value(tensor)
    if value is not None:
        return int(value)
    op = tensor.op
    if op.type == "strided_slice" and op.inputs[0].op.type == "shape":
        shape, spec = op.inputs[0].op.inputs[0].shape, op.attrs["spec"]
        if shape.dims is not None and len(spec) == 1 and isinstance(spec[0], int):
            return shape.dims[spec[0]]
    return None


def require_floating(tensor: Tensor, what: str) -> DType:
    """The dtype of `tensor`; raises `InvalidArgumentError` if it is not a floating-point one."""
    if not tensor.dtype.is_floating:
        raise InvalidArgumentError(f"{what} needs floating-point values, not {tensor.dtype}")
    return tensor.dtype


@contextlib.contextmanager
def name_scope(name: str | None, default_name: str | None = None, values: Any = ()) -> Any:
    """Prefix the names of new ops of the default graph (or of `values`' graph)."""
    with graph_of(values or ()).name_scope(name if name is not None else default_name) as scope:
        yield scope


def device(device_name_or_function: Any) -> Any:
    """Place new ops of the default graph; see `Graph.device`."""
    return get_default_graph().device(device_name_or_function)


def colocate_with(op: Any, ignore_existing: bool = False) -> Any:
    """Place new ops of the default graph beside `op`; see `Graph.colocate_with`."""
    return get_default_graph().colocate_with(op, ignore_existing)


def control_dependencies(control_inputs: Any) -> Any:
    """Order new ops of the default graph; see `Graph.control_dependencies`."""
    return get_default_graph().control_dependencies(control_inputs)


def add_to_collection(name: str, value: Any) -> None:
    """Append to a collection of the default graph."""
    get_default_graph().add_to_collection(name, value)


def add_to_collections(names: Any, value: Any) -> None:
    """Append to each of some collections of the default graph."""
    for name in [names] if isinstance(names, str) else names:
        add_to_collection(name, value)


def get_collection(key: str, scope: str | None = None) -> list[Any]:
    """A collection of the default graph; see `Graph.get_collection`."""
    return get_default_graph().get_collection(key, scope)


def set_random_seed(seed: int | None) -> None:
    """Set the default graph's random seed."""
    get_default_graph().seed = seed
