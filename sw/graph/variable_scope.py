"""Variables shared by name: `variable_scope` and `get_variable`.

A variable's full name is the path of the variable scopes and its own name; name scopes do not
count. Scopes also hold defaults (initialiser, regulariser, dtype) and whether variables are made or
found (`reuse`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from sw.graph.dtypes import as_dtype, float32
from sw.graph.errors import InvalidArgumentError, ShapeError
from sw.graph.graph import Graph, GraphKeys, get_default_graph
from sw.graph.initializers import Zeros, glorot_uniform
from sw.graph.ops.variables import Variable
from sw.graph.partitioned import PartitionedVariable, part_sizes
from sw.graph.shapes import Shape
from sw.graph.tensor import Operators


class _AutoReuse:
    def __repr__(self) -> str:
        return "AUTO_REUSE"


AUTO_REUSE: Any = _AutoReuse()


class VariableScope:
    """A path with defaults for the variables made under it."""

    def __init__(
        self,
        reuse: Any = None,
        name: str = "",
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        custom_getter: Callable[..., Any] | None = None,
        name_scope: str = "",
        dtype: Any = float32,
    ) -> None:
        self.name, self.reuse = name, reuse
        self.initializer, self.regularizer = initializer, regularizer
        self.caching_device, self.partitioner = caching_device, partitioner
        self.custom_getter = custom_getter
        self.original_name_scope = name_scope
        self.dtype = as_dtype(dtype)
        self.children: dict[str, int] = {}

    def reuse_variables(self) -> None:
        """From now on variables are found, not made, in this scope."""
        self.reuse = True

    def set_initializer(self, initializer: Any) -> None:
        """Set the default initialiser."""
        self.initializer = initializer

    def set_regularizer(self, regularizer: Any) -> None:
        """Set the default regulariser."""
        self.regularizer = regularizer

    def set_dtype(self, dtype: Any) -> None:
        """Set the default dtype."""
        self.dtype = as_dtype(dtype)

    def get_variable(self, name: str, *args: Any, **options: Any) -> Variable:
        """`get_variable` in this scope."""
        with variable_scope(self):
            return get_variable(name, *args, **options)

    def get_collection(self, name: str) -> list[Any]:
        """The items of a collection whose names begin with this scope."""
        return get_default_graph().root.get_collection(name, f"{self.name}/" if self.name else "")

    def global_variables(self) -> list[Any]:
        """The global variables of this scope."""
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def trainable_variables(self) -> list[Any]:
        """The trainable variables of this scope."""
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)


def _stack(graph: Graph) -> list[Any]:
    if not graph.variable_scopes:
        graph.variable_scopes.append(VariableScope())
    return graph.variable_scopes


def get_variable_scope() -> VariableScope:
    """The scope that is open now."""
    scope: VariableScope = _stack(get_default_graph().root)[-1]
    return scope


def _unique(parent: VariableScope, name: str) -> str:
    count = parent.children.get(name, 0)
    return f"{name}_{count}" if count else name


@contextlib.contextmanager
def variable_scope(
    name_or_scope: Any,
    default_name: str | None = None,
    values: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    custom_getter: Callable[..., Any] | None = None,
    reuse: Any = None,
    dtype: Any = None,
    auxiliary_name_scope: bool = True,
) -> Iterator[VariableScope]:
    """Open a variable scope and a name scope of the same name.

    `name_or_scope`: a name below the current scope, a `VariableScope` to open again (wherever it
    was), or None to make `default_name` unique. `reuse`: True (variables are found), None
    (inherited), `AUTO_REUSE` (made when missing).
    """
    if name_or_scope is None and default_name is None:
        raise InvalidArgumentError("variable_scope needs a name, a scope or default_name")
    graph = get_default_graph()
    stack = _stack(graph.root)
    outer: VariableScope = stack[-1]
    old = name_or_scope if isinstance(name_or_scope, VariableScope) else None
    if name_or_scope is None:
        if reuse:
            raise InvalidArgumentError("reuse needs the name of a scope, not default_name")
        short = _unique(outer, str(default_name))
    else:
        short = name_or_scope.name.split("/")[-1] if old is not None else str(name_or_scope)
    if old is None:
        outer.children[short] = outer.children.get(short, 0) + 1
        if name_or_scope is None and short != default_name:
            outer.children[str(default_name)] += 1
    with contextlib.ExitStack() as scopes:
        path = ""
        if auxiliary_name_scope and short:
            path = scopes.enter_context(graph.name_scope(short))
        base = old or outer
        opened = VariableScope(
            old.reuse if old is not None and reuse is None else reuse or outer.reuse,
            old.name if old is not None else f"{outer.name}/{short}" if outer.name else short,
            base.initializer if initializer is None else initializer,
            base.regularizer if regularizer is None else regularizer,
            base.caching_device if caching_device is None else caching_device,
            base.partitioner if partitioner is None else partitioner,
            _chained(base.custom_getter, custom_getter),
            old.original_name_scope if old is not None else path,
            base.dtype if dtype is None else dtype,
        )
        stack.append(opened)
        try:
            yield opened
        finally:
            stack.remove(opened)


def _chained(outer: Callable[..., Any] | None, inner: Callable[..., Any] | None) -> Any:
    """A getter that asks `inner` first and gives it `outer` to fall back on."""
    if outer is None or inner is None:
        return inner or outer

    def getter(real: Callable[..., Any], *args: Any, **options: Any) -> Any:
        def next_getter(*a: Any, **o: Any) -> Any:
            return outer(real, *a, **o)

        return inner(next_getter, *args, **options)

    return getter


def get_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool = True,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: Any = None,
    custom_getter: Callable[..., Any] | None = None,
) -> Any:
    """The variable `name` of the current scope: made, or found when the scope reuses. With a
    `partitioner` (given or the scope's) it is a `PartitionedVariable`.

    `initializer`: a callable of a shape, or a value (whose shape counts); default: the scope's,
    else Glorot uniform for floats and zeros for others. Raises `InvalidArgumentError` for a
    variable that exists already or, with reuse, does not; `ShapeError` for another shape.
    """
    scope = get_variable_scope()
    options = {
        "shape": shape,
        "dtype": scope.dtype if dtype is None else as_dtype(dtype),
        "initializer": scope.initializer if initializer is None else initializer,
        "regularizer": scope.regularizer if regularizer is None else regularizer,
        "trainable": trainable,
        "collections": collections,
        "caching_device": caching_device,
        "validate_shape": validate_shape,
        "reuse": scope.reuse,
    }
    full = f"{scope.name}/{name}" if scope.name else name
    cut = scope.partitioner if partitioner is None else partitioner
    if cut is not None and shape is not None and Shape(shape).known:
        return _get_parts(full, cut, options)
    getter = _chained(scope.custom_getter, custom_getter)
    if getter is not None:
        found: Variable = getter(_get, full, **options)
        return found
    return _get(full, **options)


def _get_parts(name: str, partitioner: Any, options: dict[str, Any]) -> Any:
    """The variable in the parts that `partitioner(shape=, dtype=)` says."""
    shape = Shape(options["shape"])
    counts = list(partitioner(shape=shape, dtype=options["dtype"]))
    axis, sizes = part_sizes(shape, counts, name)
    given = options["initializer"]
    whole = given is not None and not callable(given) and not isinstance(given, type)
    parts, start = [], 0
    for number, size in enumerate(sizes):
        dims = list(shape.sizes())
        dims[axis] = size
        own = dict(options, shape=dims)
        if whole:
            own["initializer"] = np.take(
                np.asarray(given), np.arange(start, start + size), axis
            ).astype(options["dtype"].numpy)
        parts.append(_get(f"{name}/part_{number}", **own))
        start += size
    return PartitionedVariable(name, shape, axis, parts)


def _get(
    name: str,
    shape: Any = None,
    dtype: Any = float32,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool = True,
    collections: Any = None,
    caching_device: Any = None,
    validate_shape: bool = True,
    reuse: Any = None,
) -> Variable:
    graph = get_default_graph().root
    found: Variable | None = graph.variable_store.get(name)
    if found is not None:
        if not reuse:
            raise InvalidArgumentError(
                f"variable {name!r} exists already (made at {found.op.source}); to share it, open "
                "its scope with reuse=True or reuse=st.AUTO_REUSE"
            )
        if shape is not None and not found.shape.compatible(shape):
            raise ShapeError(
                f"variable {name!r} has shape {found.shape}, asked for is {Shape(shape)}"
            )
        if found.dtype is not as_dtype(dtype):
            raise InvalidArgumentError(
                f"variable {name!r} is {found.dtype}, asked for is {as_dtype(dtype)}"
            )
        return found
    if reuse is True:
        raise InvalidArgumentError(
            f"variable {name!r} does not exist, and its scope has reuse=True; make it first, or "
            "use reuse=st.AUTO_REUSE"
        )
    variable = _make(graph, name, shape, dtype, initializer, trainable, collections, validate_shape)
    graph.variable_store[name] = variable
    if regularizer is not None:
        with graph.as_default(), graph.name_scope(f"{name}/Regularizer/"):
            loss = regularizer(variable)
        if loss is not None:
            graph.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)
    return variable


def _make(
    graph: Graph,
    name: str,
    shape: Any,
    dtype: Any,
    initializer: Any,
    trainable: bool,
    collections: Any,
    validate_shape: bool,
) -> Variable:
    kind = as_dtype(dtype)
    if initializer is None:
        initializer = glorot_uniform() if kind.is_floating else Zeros(kind)
    if isinstance(initializer, type):
        initializer = initializer()
    start: Any = initializer
    if callable(initializer) and not isinstance(initializer, Operators):
        if shape is None or not Shape(shape).known:
            raise ShapeError(f"variable {name!r} is new: its shape must be known, not {shape}")
        sizes = Shape(shape)

        def start() -> Any:
            return initializer(sizes, dtype=kind)

    with graph.as_default(), graph.name_scope(None):
        return Variable(
            start,
            trainable=trainable,
            collections=collections,
            validate_shape=validate_shape,
            name=name,
            dtype=kind if callable(start) else None,
        )


def get_local_variable(name: str, *args: Any, **options: Any) -> Variable:
    """`get_variable` of a local variable, which is not trained and not saved."""
    options["trainable"] = False
    options["collections"] = [GraphKeys.LOCAL_VARIABLES, *(options.get("collections") or ())]
    return get_variable(name, *args, **options)


def create_partitioned_variables(
    shape: Any,
    slicing: Any,
    initializer: Any,
    dtype: Any = float32,
    trainable: bool = True,
    collections: Any = None,
    name: str | None = None,
    reuse: Any = None,
) -> list[Variable]:
    """The variables that together are one of `shape`, in `slicing[i]` parts along axis i (one axis
    is cut); `initializer`: a callable of a shape, or the whole value."""
    options = {
        "shape": shape,
        "dtype": as_dtype(dtype),
        "initializer": initializer,
        "trainable": trainable,
        "collections": collections,
    }
    with variable_scope(name, "PartitionedVariable", reuse=reuse) as scope:
        options["reuse"] = scope.reuse
        return list(_get_parts(scope.name, lambda **about: list(slicing), options))


def no_regularizer(_: Any) -> None:
    """Use as regulariser to have none in a scope that sets one."""
    return None


def make_template(
    name_: str, func_: Callable[..., Any], create_scope_now_: bool = False, **options: Any
) -> Callable[..., Any]:
    """`func_` as a function whose variables are made in its first call and shared by the others."""
    scope: list[VariableScope] = []
    if create_scope_now_:
        with variable_scope(None, default_name=name_) as opened:
            scope.append(opened)
    called: list[bool] = []

    def template(*args: Any, **more: Any) -> Any:
        if not scope:
            with variable_scope(None, default_name=name_) as opened:
                scope.append(opened)
                called.append(True)
                return func_(*args, **options, **more)
        with variable_scope(scope[0], reuse=True if called else None):
            called.append(True)
            return func_(*args, **options, **more)

    template.__name__ = name_
    return template
