"""Variables: a handle, reads and assignments.

The `variable` op yields a handle (dtype resource, its value the variable's name) and
`read_variable` the value at the time it runs. A read that is made under control dependencies is
a new op and so sees what they wrote; otherwise one read is shared. Gradients of reads flow to the
handle.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of, register_op
from sw.graph.dtypes import DType, as_dtype, resource
from sw.graph.errors import InvalidArgumentError, OutOfRangeError, ShapeError
from sw.graph.graph import Graph, GraphKeys, get_default_graph
from sw.graph.operation import Operation
from sw.graph.registry import NOT_DIFFERENTIABLE, REQUIRED, TensorType
from sw.graph.shapes import SCALAR, Shape
from sw.graph.state import OpState
from sw.graph.tensor import Operators, Tensor


def value_type(handle: Tensor) -> TensorType:
    """The dtype and shape of the variable behind `handle`; raises if it is no handle."""
    if handle.dtype is not resource or "value_dtype" not in handle.op.attrs:
        raise InvalidArgumentError(f"{handle.name!r} is not a variable")
    return TensorType(handle.op.attrs["value_dtype"], handle.op.attrs["shape"])


def _handle_type(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    return TensorType(resource, SCALAR)


def _read_type(inputs: tuple[Tensor, ...]) -> TensorType:
    return value_type(inputs[0])


def written_type(inputs: tuple[Tensor, ...], **attrs: Any) -> TensorType:
    """Type rule of ops that write `inputs[1]` to the variable `inputs[0]`: yields its new value."""
    kind = value_type(inputs[0])
    if inputs[1].dtype is not kind.dtype:
        raise InvalidArgumentError(f"the variable is {kind.dtype}, the value {inputs[1].dtype}")
    if not kind.shape.compatible(inputs[1].shape):
        raise ShapeError(f"the variable has shape {kind.shape}, the value {inputs[1].shape}")
    return kind


def _initialised_type(inputs: tuple[Tensor, ...]) -> TensorType:
    value_type(inputs[0])
    return TensorType(as_dtype("bool"), SCALAR)


def _updater(function: str) -> Any:
    def kernel(xp: Any, state: OpState, handle: str, delta: Any) -> Any:
        container = state.container
        with container.lock:
            return container.write(handle, getattr(xp, function)(container.read(handle), delta))

    return kernel


register_op(
    "variable",
    kernel=lambda xp, state, shared_name, **attrs: shared_name,
    infer=_handle_type,
    gradient=NOT_DIFFERENTIABLE,
    attrs={"value_dtype": REQUIRED, "shape": REQUIRED, "shared_name": REQUIRED},
    stateful=True,
    host_only=True,
    doc="The handle of a variable.",
)
register_op(
    "read_variable",
    kernel=lambda xp, state, handle: state.container.read(handle),
    infer=_read_type,
    gradient=lambda op, g: [g],
    stateful=True,
    host_only=True,
    doc="The variable's value now.",
)
register_op(
    "variable_is_initialized",
    kernel=lambda xp, state, handle: xp.asarray(handle in state.container.values),
    infer=_initialised_type,
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
    host_only=True,
    doc="Whether the variable has a value.",
)
# An array that a caller fed may change later in the caller's hands, so an assignment copies.
register_op(
    "assign",
    kernel=lambda xp, state, handle, value: state.container.write(handle, xp.array(value)),
    infer=written_type,
    gradient=None,
    stateful=True,
    host_only=True,
    doc="Replace the variable's value.",
)
register_op(
    "assign_add",
    kernel=_updater("add"),
    infer=written_type,
    gradient=None,
    stateful=True,
    host_only=True,
    doc="Add to the variable.",
)
register_op(
    "assign_sub",
    kernel=_updater("subtract"),
    infer=written_type,
    gradient=None,
    stateful=True,
    host_only=True,
    doc="Subtract from the variable.",
)


def _count_up_to(xp: Any, state: OpState, handle: str, limit: int) -> Any:
    box = state.container
    with box.lock:
        value = box.read(handle)
        if value >= limit:
            raise OutOfRangeError(f"variable {handle!r} has reached its limit of {limit}")
        box.write(handle, value + value.dtype.type(1))
        return value


register_op(
    "count_up_to",
    kernel=_count_up_to,
    infer=lambda inputs, limit: value_type(inputs[0]),
    gradient=None,
    attrs={"limit": REQUIRED},
    stateful=True,
    host_only=True,
    doc="The variable's value before 1 is added; fails at `limit`.",
)


class Variable(Operators):
    """State that persists between runs of a session.

    `initial_value` is a value or a function that makes it; its static shape must be known unless
    `validate_shape` is False. The variable joins the collections `collections` (default: global
    variables) and, if `trainable`, the trainable variables.
    """

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool = True,
        collections: Any = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
    ) -> None:
        if initial_value is None:
            raise InvalidArgumentError("a Variable needs an initial value")
        start = () if callable(initial_value) else (initial_value,)
        graph = graph_of(start).root
        with (
            graph.as_default(),
            graph.control_dependencies(None),
            graph.name_scope(name or "Variable") as scope,
        ):
            full = scope[:-1]
            value = initial_value() if callable(initial_value) else initial_value
            with graph.name_scope("Initializer"):
                want = None if dtype is None else as_dtype(dtype)
                self.initial_value = graph.convert(value, want, "initial_value")
            if validate_shape and not self.initial_value.shape.known:
                raise ShapeError(
                    f"variable {full!r}: the initial value's shape {self.initial_value.shape} "
                    "must be fully known (or give validate_shape=False)"
                )
            self.dtype: DType = self.initial_value.dtype
            self.shape: Shape = self.initial_value.shape if validate_shape else Shape(None)
            self.handle: Tensor = graph.apply(
                "variable",
                name="handle",
                value_dtype=self.dtype,
                shape=self.shape,
                shared_name=full,
            )
            self.initializer: Operation = graph.apply(
                "assign", self.handle, self.initial_value, name="Assign"
            ).op
            self._snapshot: Tensor = graph.apply("read_variable", self.handle, name="read")
        self.trainable = trainable
        keys = [GraphKeys.GLOBAL_VARIABLES] if collections is None else list(collections)
        if trainable and GraphKeys.TRAINABLE_VARIABLES not in keys:
            keys.append(GraphKeys.TRAINABLE_VARIABLES)
        for key in keys:
            graph.add_to_collection(key, self)

    @classmethod
    def from_parts(
        cls, handle: Tensor, initial: Tensor, assign: Operation, read: Tensor, trainable: bool
    ) -> Variable:
        """The variable whose ops exist already, in a graph that was read from a file."""
        kind = value_type(handle)
        variable = cls.__new__(cls)
        variable.handle, variable.initial_value = handle, initial
        variable.initializer, variable._snapshot = assign, read
        variable.dtype, variable.shape = kind.dtype, Shape(kind.shape)
        variable.trainable = trainable
        return variable

    @property
    def op(self) -> Operation:
        """The variable's op."""
        return self.handle.op

    @property
    def graph(self) -> Graph:
        """The graph that the variable belongs to."""
        return self.handle.op.graph

    @property
    def name(self) -> str:
        """The variable's name with ":0" (TensorFlow's spelling)."""
        return f"{self.handle.op.attrs['shared_name']}:0"

    @property
    def device(self) -> str:
        """The device asked for."""
        return self.handle.op.device

    def get_shape(self) -> Shape:
        """Same as `shape`."""
        return self.shape

    def _operand(self) -> Tensor:
        fresh = self.graph.has_active_scopes or self.graph.building() is not self.graph
        return self.read_value() if fresh else self._snapshot

    def value(self) -> Tensor:
        """The shared read of this variable."""
        return self._snapshot

    def read_value(self) -> Tensor:
        """A new read, ordered by the active control dependencies."""
        tensor: Tensor = self.graph.building().apply("read_variable", self.handle)
        return tensor

    def initialized_value(self) -> Tensor:
        """The initial value, for use in other variables' initial values."""
        return self.initial_value

    def assign(self, value: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Replace the value when the returned tensor (the new value) is computed."""
        return self._write("assign", value, name)

    def assign_add(self, delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Add `delta` when the returned tensor (the new value) is computed."""
        return self._write("assign_add", delta, name)

    def assign_sub(self, delta: Any, use_locking: bool = False, name: str | None = None) -> Tensor:
        """Subtract `delta` when the returned tensor (the new value) is computed."""
        return self._write("assign_sub", delta, name)

    def _write(self, op: str, value: Any, name: str | None) -> Tensor:
        graph = self.graph.building()
        tensor: Tensor = graph.apply(op, self.handle, graph.convert(value, self.dtype), name=name)
        return tensor

    def eval(self, session: Any = None) -> np.ndarray[Any, Any]:
        """The value in `session` or the default session."""
        return self.graph.session_for(session).run(self._snapshot)

    def load(self, value: Any, session: Any = None) -> None:
        """Set the value in `session` or the default session."""
        initial = self.initializer.inputs[1]
        self.graph.session_for(session).run(self.initializer, {initial: value})

    def __repr__(self) -> str:
        return f"<st.Variable {self.name!r} shape={self.shape} dtype={self.dtype}>"


def assign(ref: Variable, value: Any, name: str | None = None) -> Tensor:
    """`ref.assign(value)`."""
    return ref.assign(value, name=name)


def assign_add(ref: Variable, value: Any, name: str | None = None) -> Tensor:
    """`ref.assign_add(value)`."""
    return ref.assign_add(value, name=name)


def assign_sub(ref: Variable, value: Any, name: str | None = None) -> Tensor:
    """`ref.assign_sub(value)`."""
    return ref.assign_sub(value, name=name)


def is_variable_initialized(variable: Variable, name: str | None = None) -> Tensor:
    """A bool tensor: whether the variable has a value."""
    tensor: Tensor = apply("variable_is_initialized", variable.handle, name=name)
    return tensor


def global_variables() -> list[Variable]:
    """All variables of the default graph."""
    return get_default_graph().root.get_collection(GraphKeys.GLOBAL_VARIABLES)


def trainable_variables() -> list[Variable]:
    """The variables of the default graph that optimisers train."""
    return get_default_graph().root.get_collection(GraphKeys.TRAINABLE_VARIABLES)


def variables_initializer(var_list: Any, name: str = "init") -> Operation:
    """An op that initialises the given variables."""
    graph = get_default_graph().root
    with graph.control_dependencies([v.initializer for v in var_list]):
        op: Operation = graph.apply("no_op", name=name)
    return op


def global_variables_initializer() -> Operation:
    """An op that initialises all variables that exist now."""
    return variables_initializer(global_variables())


def initialize_all_variables() -> Operation:
    """`global_variables_initializer`, by the name in the talk of 2016."""
    return global_variables_initializer()


def local_variables() -> list[Variable]:
    """The local variables of the default graph: neither trained nor saved."""
    return get_default_graph().root.get_collection(GraphKeys.LOCAL_VARIABLES)


def model_variables() -> list[Variable]:
    """The variables of the default graph that its layers marked as the model's."""
    return get_default_graph().root.get_collection(GraphKeys.MODEL_VARIABLES)


def moving_average_variables() -> list[Variable]:
    """The variables of the default graph that have a moving average."""
    return get_default_graph().root.get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES)


def local_variables_initializer() -> Operation:
    """An op that initialises all local variables that exist now."""
    return variables_initializer(local_variables(), "init_local")


def report_uninitialized_variables(
    var_list: Any = None, name: str = "report_uninitialized_variables"
) -> Tensor:
    """A bool vector: which of `var_list` (default: global and local variables) have no value yet.

    TensorFlow gives their names; there are no string tensors here, so it is one flag each.
    """
    chosen = global_variables() + local_variables() if var_list is None else list(var_list)
    flags = [apply("logical_not", is_variable_initialized(v)) for v in chosen]
    out: Tensor = (
        apply("stack", *flags, name=name, axis=0)
        if flags
        else apply("const", value=np.zeros(0, np.bool_), name=name)
    )
    return out


def count_up_to(ref: Variable, limit: int, name: str | None = None) -> Tensor:
    """The value before adding 1; raises `OutOfRangeError` at run time when it is `limit`."""
    tensor: Tensor = ref.graph.building().apply("count_up_to", ref.handle, name=name, limit=limit)
    return tensor
