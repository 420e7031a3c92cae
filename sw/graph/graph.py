"""`Graph`: the operations of a computation, their names, scopes and collections.

Ops stand in creation order, which is a topological order because an op takes only tensors that
exist. The scopes (name, device, control, colocation) apply to ops made while they are open.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sw.graph import context
from sw.graph.device import DeviceSpec, parse
from sw.graph.dtypes import DType, to_array
from sw.graph.errors import (
    DTypeError,
    GraphError,
    InvalidArgumentError,
    NotFoundError,
    OpError,
)
from sw.graph.operation import Operation
from sw.graph.registry import OpDef, TensorType, lookup
from sw.graph.source import caller
from sw.graph.tensor import Operators, Tensor

_SCOPE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*\Z")


class GraphKeys:
    """Names of the standard collections."""

    GLOBAL_VARIABLES = "variables"
    VARIABLES = "variables"
    LOCAL_VARIABLES = "local_variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    REGULARIZATION_LOSSES = "regularization_losses"
    LOSSES = "losses"
    SUMMARIES = "summaries"
    UPDATE_OPS = "update_ops"
    TRAIN_OP = "train_op"
    GLOBAL_STEP = "global_step"
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    QUEUE_RUNNERS = "queue_runners"
    WEIGHTS = "weights"
    BIASES = "biases"
    ACTIVATIONS = "activations"
    METRIC_VARIABLES = "metric_variables"
    MODEL_VARIABLES = "model_variables"
    SAVERS = "savers"
    TABLE_INITIALIZERS = "table_initializer"


class Graph:
    """A dataflow graph. `seed` is the graph-level random seed; `finalized` forbids new ops.
    `inputs` and `outputs` name the tensors of an imported model (`st.import_onnx`)."""

    def __init__(self) -> None:
        self.seed: int | None = None
        self.finalized = False
        self._ops: dict[str, Operation] = {}
        self._names: dict[str, int] = {}
        self._scope = ""
        self._devices: list[Any] = []
        self._controls: list[tuple[Operation, ...] | None] = []
        self._collections: dict[str, list[Any]] = {}
        self._unfeedable: set[Tensor] = set()
        self._unfetchable: set[Tensor | Operation] = set()
        # what `variable_scope` keeps: variables by full name, open scopes
        self.variable_store: dict[str, Any] = {}
        self.variable_scopes: list[Any] = []
        # what an imported model calls its own: tensors to feed and to fetch, by name
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}

    # --- making ops ---------------------------------------------------------------------------

    def apply(self, op_type: str, *inputs: Any, name: str | None = None, **attrs: Any) -> Any:
        """Make an op and return its output: the Tensor, a list of them, or the Operation when
        it has none."""
        outputs = (op := self.create_op(op_type, inputs, attrs, name)).outputs
        return outputs[0] if len(outputs) == 1 else list(outputs) if outputs else op

    def create_op(
        self,
        op_type: str,
        inputs: Sequence[Any] = (),
        attrs: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Operation:
        """Make an op of the registered kind; values that are no tensors become constants.

        Raises `ShapeError` or `DTypeError` naming the op, its line and its inputs' types, and
        `GraphError` when the graph is finalised or an input belongs to another graph.
        """
        op_def = lookup(op_type)
        if self.finalized:
            raise GraphError(f"the graph is finalised: a {op_type!r} op cannot be added to it")
        tensors = self._convert_inputs(op_def, inputs)
        full_name = self.unique_name(name if name is not None else op_type)
        source = caller()
        try:
            given = op_def.resolve_attrs(attrs or {})
            types = op_def.infer(tensors, **given)
        except (OpError, TypeError, ValueError, IndexError) as error:
            shapes = ", ".join(f"{t.dtype}{t.shape}" for t in tensors) or "none"
            kind = error if isinstance(error, OpError) else InvalidArgumentError("")
            raise type(kind)(
                f"{op_type} op {full_name!r} ({source}): {error}; inputs: {shapes}"
            ) from None
        if isinstance(types, TensorType):
            types = (types,)
        op = Operation(
            self, full_name, op_def, tensors, given, types, self._active_controls(), "", source
        )
        op.device = self._device_of(op)
        self._ops[full_name] = op
        return op

    def add_operation(self, op: Operation) -> None:
        """Add an op that was made of stored data; its name is free."""
        if self.finalized:
            raise GraphError(f"the graph is finalised: {op.name!r} cannot be added to it")
        self._ops[op.name] = op

    def copy_op(
        self,
        op: Operation,
        inputs: tuple[Tensor, ...],
        control_inputs: tuple[Operation, ...] = (),
        device: str | None = None,
    ) -> Operation:
        """`op` of another graph with this graph's inputs, types and name kept: for passes."""
        if self.finalized:
            raise GraphError(f"the graph is finalised: {op.name!r} cannot be added to it")
        types = [TensorType(t.dtype, t.shape) for t in op.outputs]
        where = op.device if device is None else device
        new = Operation(
            self, op.name, op.op_def, inputs, op.attrs, types, control_inputs, where, op.source
        )
        self._ops[op.name] = new
        self._names[op.name.lower()] = 1
        return new

    def convert(self, value: Any, dtype: DType | None = None, name: str | None = None) -> Tensor:
        """`value` (tensor, variable, array, number or nested list) as a tensor of this graph."""
        if isinstance(value, Operators):
            tensor = value._operand()
            if tensor.op.graph is not self:
                tensor = self.adopt(tensor)
            if dtype is not None and tensor.dtype is not dtype:
                raise DTypeError(
                    f"tensor {tensor.name!r} ({tensor.op.source}) is {tensor.dtype} where "
                    f"{dtype} is needed; use st.cast"
                )
            return tensor
        if isinstance(value, Operation):
            raise InvalidArgumentError(f"{value!r} is an operation and has no value to use")
        if isinstance(value, (list, tuple)) and _holds_tensor(value):
            items = [self.convert(v, dtype) for v in value]
            kind = dtype or next(i.dtype for i in items if i.op.type != "const")
            return self.apply("stack", *[self.convert(v, kind) for v in value], axis=0)
        for _, base, conversion in _CONVERSIONS:
            if isinstance(value, base):
                made = conversion(value, dtype=dtype, name=name, as_ref=False)
                if made is not NotImplemented:
                    return self.convert(made, dtype, name)
        op = self.create_op("const", (), {"value": to_array(value, dtype)}, name or "Const")
        return op.outputs[0]

    def _convert_inputs(self, op_def: OpDef, inputs: Sequence[Any]) -> tuple[Tensor, ...]:
        dtype = None
        if op_def.share_dtype:
            dtype = next((v._operand().dtype for v in inputs if isinstance(v, Operators)), None)
        tensors = []
        for value in inputs:
            if isinstance(value, Operators):
                tensor = value._operand()
                tensors.append(tensor if tensor.op.graph is self else self.adopt(tensor))
            else:
                tensors.append(self.convert(value, dtype))
        if op_def.share_dtype and any(t.dtype is not tensors[0].dtype for t in tensors):
            raise DTypeError(
                f"the inputs of a {op_def.name!r} op ({caller()}) have different types: "
                + ", ".join(f"{t.name} {t.dtype}" for t in tensors)
                + "; use st.cast"
            )
        return tuple(tensors)

    # --- functions: graphs within graphs --------------------------------------------------

    @property
    def root(self) -> Graph:
        """The graph that a session runs: this one, or for a function's body the outermost."""
        return self

    def sees(self, other: Graph) -> bool:
        """Whether ops of this graph may use tensors of `other`."""
        return other is self

    def adopt(self, tensor: Tensor) -> Tensor:
        """The tensor of this graph that stands for one of another; raises `GraphError` here (the
        body of a function captures it)."""
        raise GraphError(f"tensor {tensor.name!r} ({tensor.op.source}) belongs to another graph")

    def building(self) -> Graph:
        """Where an op on this graph's tensors is made now: here, or in the function that is being
        traced and may capture them."""
        top = context.GRAPHS.top()
        return self if top is None or top is self or not top.sees(self) else top

    def op_seed(self) -> int:
        """The seed of a random op that is made now without one of its own."""
        return len(self._ops)

    # --- names --------------------------------------------------------------------------------

    def unique_name(self, name: str, scoped: bool = True) -> str:
        """`name` in the current scope, numbered when it is taken ("add", "add_1"). A name that
        ends in "/" is used as it is."""
        if not name or not _SCOPE.match(name.rstrip("/") or name):
            raise InvalidArgumentError(
                f"{name!r} is not a valid name: letters, digits, '.', '_', '-', '/', and not "
                "starting with '_' or '-'"
            )
        full = name[:-1] if name.endswith("/") else (self._scope if scoped else "") + name
        key = full.lower()
        count = self._names.get(key, 0)
        self._names[key] = count + 1
        if not count:
            return full
        while True:
            candidate = f"{full}_{count}"
            if candidate.lower() not in self._names:
                self._names[candidate.lower()] = 1
                self._names[key] = count + 1
                return candidate
            count += 1

    @contextlib.contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """Prefix the names of new ops; a name ending in "/" re-enters that scope, None leaves
        all scopes. Yields the scope ("a/b/")."""
        if not name:
            scope = ""
        elif name.endswith("/"):
            scope = name
        else:
            scope = self.unique_name(name) + "/"
        before, self._scope = self._scope, scope
        try:
            yield scope
        finally:
            self._scope = before

    # --- devices and order --------------------------------------------------------------------

    @contextlib.contextmanager
    def device(self, device: Any) -> Iterator[None]:
        """Ask for a device: a (partial) name, a function from Operation to one, or None to
        forget the outer scopes. Raises `InvalidArgumentError` for a malformed name."""
        entry = device if device is None or callable(device) else parse(device)
        self._devices.append(entry)
        try:
            yield
        finally:
            self._devices.pop()

    @contextlib.contextmanager
    def colocate_with(self, op: Any, ignore_existing: bool = False) -> Iterator[None]:
        """Ask for the device of another op (or tensor, or variable), whatever the outer scopes ask
        for; None changes nothing. An inner scope may add what that device leaves open, and is
        refused with `InvalidArgumentError` when it contradicts it."""
        if op is None:
            yield
            return
        self._devices.append(self._as_operation(op))
        try:
            yield
        finally:
            self._devices.pop()

    def _device_of(self, op: Operation) -> str:
        if not self._devices:
            return ""
        spec, beside = DeviceSpec(), None
        for entry in self._devices:
            if entry is None:
                spec, beside = DeviceSpec(), None
            elif isinstance(entry, Operation):
                spec, beside = parse(entry.device), entry
            elif callable(entry):
                op.device = str(spec)
                spec = spec.merge(parse(entry(op) or ""))
            else:
                spec = spec.merge(entry)
        if beside is not None and not parse(beside.device).matches(spec):
            raise InvalidArgumentError(
                f"op {op.where()} is to be colocated with {beside.where()} on {beside.device!r} "
                f"and to run on {str(spec)!r}"
            )
        return str(spec)

    @contextlib.contextmanager
    def control_dependencies(self, inputs: Iterable[Any] | None) -> Iterator[None]:
        """New ops run after all of `inputs` (ops, tensors, variables); None lifts outer ones."""
        entry = None if inputs is None else tuple(self._as_operation(i) for i in inputs)
        self._controls.append(entry)
        try:
            yield
        finally:
            self._controls.pop()

    def _as_operation(self, item: Any) -> Operation:
        op = item if isinstance(item, Operation) else getattr(item, "op", None)
        if not isinstance(op, Operation) or op.graph is not self:
            raise InvalidArgumentError(f"{item!r} is not an operation or tensor of this graph")
        return op

    def _active_controls(self) -> tuple[Operation, ...]:
        if not self._controls:
            return ()
        found: dict[Operation, None] = {}
        for entry in self._controls:
            if entry is None:
                found.clear()
            else:
                found.update(dict.fromkeys(entry))
        return tuple(found)

    @property
    def has_active_scopes(self) -> bool:
        """Whether control or device scopes are open (a new op would differ from an old one)."""
        return bool(self._controls or self._devices)

    # --- looking up ---------------------------------------------------------------------------

    def get_operations(self) -> list[Operation]:
        """All ops, in creation order."""
        return list(self._ops.values())

    def get_operation_by_name(self, name: str) -> Operation:
        """The op; raises `NotFoundError` with a similar name if there is one."""
        op = self._ops.get(name)
        if op is None:
            if ":" in name:
                raise InvalidArgumentError(f"{name!r} names a tensor, not an operation")
            raise NotFoundError(f"no operation {name!r} in the graph{self._similar(name)}")
        return op

    def get_tensor_by_name(self, name: str) -> Tensor:
        """The tensor `op:index`; raises `NotFoundError`."""
        op_name, colon, index = name.rpartition(":")
        if not colon or not index.isdigit():
            raise InvalidArgumentError(f"{name!r} is not a tensor's name, such as 'matmul:0'")
        op = self.get_operation_by_name(op_name)
        if int(index) >= len(op.outputs):
            raise NotFoundError(f"{name!r}: that operation has {len(op.outputs)} outputs")
        return op.outputs[int(index)]

    def as_graph_element(self, item: Any) -> Tensor | Operation:
        """The Tensor or Operation of this graph that `item` (or a name) stands for."""
        if isinstance(item, str):
            return (
                self.get_tensor_by_name(item) if ":" in item else self.get_operation_by_name(item)
            )
        if isinstance(item, Operators):
            item = item._operand()
        if not isinstance(item, (Tensor, Operation)):
            raise DTypeError(f"{item!r} ({type(item).__name__}) is not part of a graph")
        if item.graph is not self:
            raise InvalidArgumentError(f"{item!r} is not an element of this graph")
        return item

    def _similar(self, name: str) -> str:
        low = name.lower()
        near = [n for n in self._ops if low in n.lower() or n.lower() in low][:3]
        return f"; did you mean {', '.join(map(repr, near))}?" if near else ""

    # --- collections, lifetime ----------------------------------------------------------------

    def add_to_collection(self, name: str, value: Any) -> None:
        """Append to the named collection."""
        self._collections.setdefault(name, []).append(value)

    def get_collection(self, name: str, scope: str | None = None) -> list[Any]:
        """A copy of the collection, only the items whose name matches `scope` when given."""
        items = self._collections.get(name, [])
        if scope is None:
            return list(items)
        pattern = re.compile(scope)
        return [i for i in items if hasattr(i, "name") and pattern.match(i.name)]

    def collection_list(self, name: str) -> list[Any]:
        """The list behind a collection, made when it is not there."""
        return self._collections.setdefault(name, [])

    def get_all_collection_keys(self) -> list[str]:
        """Names of the collections that hold anything."""
        return [key for key, items in self._collections.items() if items]

    def prevent_feeding(self, tensor: Tensor) -> None:
        """Refuse feeds of a tensor."""
        self._unfeedable.add(tensor)

    def is_feedable(self, tensor: Tensor) -> bool:
        """Whether a tensor may be fed."""
        return tensor not in self._unfeedable

    def prevent_fetching(self, element: Tensor | Operation) -> None:
        """Refuse fetches of a tensor or an op."""
        self._unfetchable.add(element)

    def is_fetchable(self, element: Tensor | Operation) -> bool:
        """Whether a tensor or an op may be fetched."""
        return element not in self._unfetchable

    def finalize(self) -> None:
        """Forbid any further op."""
        self.finalized = True

    @contextlib.contextmanager
    def as_default(self) -> Iterator[Graph]:
        """Make this the graph in which new ops are made, in this thread."""
        with context.GRAPHS.entered(self):
            yield self

    def session_for(self, session: Any) -> Any:
        """`session`, or the default one; raises `InvalidArgumentError` when there is none."""
        found = session if session is not None else context.SESSIONS.top()
        if found is None:
            raise InvalidArgumentError(
                "no default session: use `with st.Session():`, st.InteractiveSession(), "
                "or give session="
            )
        return found

    def __len__(self) -> int:
        return len(self._ops)


_CONVERSIONS: list[tuple[int, type, Any]] = []  # a user's types: (priority, type, function)


def register_conversion(base: type, function: Any, priority: int) -> None:
    """Values of type `base` become tensors by `function(value, dtype=, name=, as_ref=)`."""
    _CONVERSIONS.append((priority, base, function))
    _CONVERSIONS.sort(key=lambda entry: entry[0])


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_holds_tensor(v) for v in value)
    return isinstance(value, Operators)


def get_default_graph() -> Graph:
    """The innermost `as_default()` graph of this thread, or the process's own."""
    graph = context.GRAPHS.top()
    if graph is None:
        graph = context.GRAPHS.base(Graph)
    return graph


def reset_default_graph() -> None:
    """Replace the process's own default graph by an empty one; not within `as_default()`."""
    if context.GRAPHS.top() is not None:
        raise GraphError("reset_default_graph cannot be used within Graph.as_default()")
    context.GRAPHS.reset()
