"""`cond`, `case` and `while_loop`, with the semantics of TensorFlow 1.x.

What is made inside a branch or a body runs only when the branch is taken or the turn happens; what
is made outside and used inside runs always, before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sw.graph.build import apply, graph_of
from sw.graph.dtypes import as_dtype, variant
from sw.graph.errors import DTypeError, InvalidArgumentError, ShapeError
from sw.graph.function import Function, call_inputs
from sw.graph.graph import Graph, get_default_graph
from sw.graph.nest import flatten, is_nested, pack, same_structure
from sw.graph.operation import Operation
from sw.graph.shapes import Shape
from sw.graph.tensor import Operators, Tensor
from sw.graph.tensor_array import TensorArray


def _tensor(graph: Graph, value: Any, what: str) -> Tensor:
    """A leaf as a tensor of `graph`: an operation gives True when it has run."""
    if isinstance(value, TensorArray):
        return graph.convert(value.flow)
    if isinstance(value, Operation):
        with graph.control_dependencies([value]):
            done: Tensor = graph.apply("identity", True)
        return done
    if value is None:
        raise InvalidArgumentError(f"{what} gives None where a tensor is needed")
    return graph.convert(value)


def _like(template: Any, tensor: Tensor) -> Any:
    return template.with_flow(tensor) if isinstance(template, TensorArray) else tensor


def _call(
    graph: Graph, op: str, functions: list[Function], inputs: Any, name: str, **attrs: Any
) -> Any:
    """Make the op that calls the functions, after what their bodies named from outside."""
    captures = call_inputs(functions)
    before = list(dict.fromkeys(o for f in functions for o in f.outer_controls))
    with graph.control_dependencies(before):
        return graph.apply(op, *inputs, *captures, name=name, **attrs)


def _branch(graph: Graph, name: str, body: Callable[[], Any]) -> tuple[Function, Any]:
    function = Function(graph, name)

    def traced() -> Any:
        structure = body()
        leaves = [_tensor(function, v, f"branch {name!r}") for v in flatten(structure)]
        return structure, leaves

    structure, leaves = function.trace(traced)
    function.finish(leaves)
    return function, structure


def cond(
    pred: Any,
    true_fn: Callable[[], Any] | None = None,
    false_fn: Callable[[], Any] | None = None,
    strict: bool = False,
    name: str | None = None,
    fn1: Callable[[], Any] | None = None,
    fn2: Callable[[], Any] | None = None,
) -> Any:
    """`true_fn()` if the scalar bool `pred` is true, else `false_fn()`; only one of them runs.

    Both return the same structure of tensors with the same dtypes; a list of one is given as its
    only element unless `strict`. Raises `InvalidArgumentError` when the structures differ, and
    `DTypeError` when the dtypes do.
    """
    then, other = fn1 if true_fn is None else true_fn, fn2 if false_fn is None else false_fn
    if not callable(then) or not callable(other):
        raise InvalidArgumentError("cond needs two functions, true_fn and false_fn")
    if isinstance(pred, bool):
        raise DTypeError(f"pred is the Python bool {pred}; use if, or a bool tensor")
    graph = graph_of((pred,))
    if not graph.sees(get_default_graph()) and get_default_graph().sees(graph):
        graph = get_default_graph()
    test = graph.convert(pred)
    if not test.dtype.is_bool or test.shape.rank not in (None, 0):
        raise DTypeError(f"pred should be a bool scalar, not {test.dtype}{test.shape}")
    title = graph.unique_name(name or "cond")
    first, structure = _branch(graph, f"{title}/then", then)
    second, other_structure = _branch(graph, f"{title}/else", other)
    if not same_structure(structure, other_structure):
        raise InvalidArgumentError(
            f"cond {title!r}: true_fn returns {structure!r}, false_fn {other_structure!r}: they "
            "must be nested alike"
        )
    for a, b in zip(first.results, second.results, strict=True):
        if a.dtype is not b.dtype:
            raise DTypeError(f"cond {title!r}: true_fn returns {a!r}, false_fn {b!r}")
    found = _call(
        graph, "cond", [first, second], [test], f"{title}/", then_branch=first, else_branch=second
    )
    leaves = [_like(t, out) for t, out in zip(flatten(structure), found[:-1], strict=True)]
    packed = pack(structure, leaves)
    single = isinstance(packed, (list, tuple)) and len(packed) == 1 and not strict
    return packed[0] if single else packed


def case(
    pred_fn_pairs: Any,
    default: Callable[[], Any] | None = None,
    exclusive: bool = False,
    strict: bool = False,
    name: str = "case",
) -> Any:
    """The function of the first true predicate of (predicate, function) pairs, else `default`.

    `exclusive`: more than one true predicate is an error at run time. Without a `default` one of
    the predicates must be true.
    """
    pairs = list(pred_fn_pairs.items() if isinstance(pred_fn_pairs, Mapping) else pred_fn_pairs)
    if not pairs:
        raise InvalidArgumentError("case needs at least one (predicate, function) pair")
    graph = graph_of(p for p, _ in pairs)
    checks = []
    with graph.name_scope(name):
        flags = apply("stack", *(p for p, _ in pairs), axis=0)
        count = apply("reduce_sum", apply("cast", flags, dtype=as_dtype("int32")))
        if exclusive:
            checks.append(apply("assert", apply("less_equal", count, 1), flags, summarize=9))
        if default is None:
            checks.append(apply("assert", apply("greater_equal", count, 1), flags, summarize=9))
        with graph.control_dependencies(checks):
            gated = [graph.apply("identity", p) for p, _ in pairs]

    def choose(index: int) -> Any:
        if index == len(pairs) - 1 and default is None:
            return pairs[index][1]()
        if index == len(pairs):
            return default() if default is not None else None
        return cond(gated[index], pairs[index][1], lambda: choose(index + 1), strict, name=name)

    if len(pairs) == 1 and default is None:
        with graph.control_dependencies(checks):
            return pairs[0][1]()
    return choose(0)


def switch_case(
    branch_index: Any, branch_fns: Any, default: Callable[[], Any] | None = None, name: str = ""
) -> Any:
    """The function number `branch_index` (an integer scalar) of `branch_fns`: a list of functions,
    or of (number, function), or a dict. Any other number: `default`, or the function of the
    highest number."""
    if isinstance(branch_fns, Mapping):
        numbered = sorted(branch_fns.items())
    elif branch_fns and all(callable(f) for f in branch_fns):
        numbered = list(enumerate(branch_fns))
    else:
        numbered = sorted(branch_fns, key=lambda pair: pair[0])
    if not numbered or not all(callable(f) for _, f in numbered):
        raise InvalidArgumentError(f"branch_fns {branch_fns!r} are no functions")
    numbers = [int(n) for n, _ in numbered]
    if len(set(numbers)) != len(numbers):
        raise InvalidArgumentError(f"the numbers {numbers} of branch_fns are not different")
    graph = graph_of((branch_index,))
    index = graph.convert(branch_index)
    if not index.dtype.is_integer or index.shape.rank not in (None, 0):
        raise DTypeError(f"branch_index should be an integer scalar, not {index!r}")
    last = numbered[-1][1] if default is None else default

    def choose(position: int) -> Any:
        if position == len(numbered):
            return last()
        number, function = numbered[position]
        here = apply("equal", index, np.asarray(number, index.dtype.numpy))
        return cond(here, function, lambda: choose(position + 1), name=name or "switch_case")

    return choose(0)


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    shape_invariants: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
    maximum_iterations: Any = None,
    return_same_structure: bool = False,
) -> Any:
    """`loop_vars = body(*loop_vars)` while `cond(*loop_vars)`; the last `loop_vars`.

    `loop_vars`: a list of tensors, TensorArrays or nested structures of them. The shape of one must
    not change from turn to turn, unless `shape_invariants` (the same structure, of shapes) says
    what of it stays. `maximum_iterations` (a number or an int32 scalar) ends the loop at the
    latest then. Turns run one after the other whatever `parallel_iterations` says. Without
    `back_prop` no gradient flows. Raises `ShapeError` or `DTypeError` naming the loop variable.
    """
    if not callable(cond) or not callable(body):
        raise InvalidArgumentError("while_loop needs two functions, cond and body")
    start = list(loop_vars) if isinstance(loop_vars, (list, tuple)) else [loop_vars]
    if not start:
        raise InvalidArgumentError("while_loop needs at least one loop variable")
    leaves = flatten(start)
    graph = graph_of(v.flow if isinstance(v, TensorArray) else v for v in leaves)
    if get_default_graph().sees(graph):
        graph = get_default_graph()
    title = graph.unique_name(name or "while")
    with graph.name_scope(f"{title}/"):
        initial = [_tensor(graph, v, "loop_vars") for v in leaves]
    shapes = _invariants(shape_invariants, start, initial)
    limit = maximum_iterations
    dynamic = isinstance(limit, Operators)
    if dynamic:
        initial, shapes = [*initial, graph.convert(np.int32(0))], [*shapes, Shape(())]

    functions = [Function(graph, f"{title}/{part}") for part in ("cond", "body")]
    for function in functions:
        for tensor, shape in zip(initial, shapes, strict=True):
            function.parameter(tensor, shape)

    def packed(function: Function) -> Any:
        given = function.arguments[: len(leaves)]
        return pack(start, [_like(v, t) for v, t in zip(leaves, given, strict=True)])

    def test() -> list[Any]:
        answer = functions[0].convert(cond(*packed(functions[0])))
        if not answer.dtype.is_bool or answer.shape.rank not in (None, 0):
            raise DTypeError(f"cond of {title!r} should give a bool scalar, not {answer!r}")
        if dynamic:
            count = functions[0].arguments[len(leaves)]
            bound = functions[0].convert(limit)
            answer = apply("logical_and", answer, apply("less", count, bound))
        return [answer]

    def turn() -> list[Tensor]:
        result = body(*packed(functions[1]))
        if not is_nested(result) or len(start) == 1 and not same_structure(result, start):
            result = [result]
        if not same_structure(list(result), start):
            raise InvalidArgumentError(
                f"the body of {title!r} returns {result!r}, nested unlike loop_vars {start!r}"
            )
        values = [_tensor(functions[1], v, f"the body of {title!r}") for v in flatten(result)]
        if dynamic:
            values.append(functions[1].arguments[len(leaves)] + 1)
        for value, first, shape in zip(values, initial, shapes, strict=True):
            _check_turn(title, value, first, shape)
        return values

    functions[0].finish(functions[0].trace(test))
    functions[1].finish(functions[1].trace(turn))
    found = _call(
        graph,
        "while",
        functions,
        initial,
        f"{title}/",
        predicate=functions[0],
        body=functions[1],
        carried=len(initial),
        limit=None if dynamic or limit is None else int(limit),
    )[: len(leaves)]
    if not back_prop:
        found = [t if t.dtype is variant else apply("stop_gradient", t) for t in found]
    result = pack(start, [_like(v, t) for v, t in zip(leaves, found, strict=True)])
    return result[0] if len(result) == 1 and not return_same_structure else result


def _invariants(given: Any, start: list[Any], initial: list[Tensor]) -> list[Shape]:
    if given is None:
        return [t.shape for t in initial]
    parts: list[Any] = []

    def collect(template: Any, shape: Any) -> None:
        if is_nested(template):
            items = template.values() if isinstance(template, Mapping) else template
            shapes = shape.values() if isinstance(shape, Mapping) else shape
            for a, b in zip(items, shapes, strict=True):
                collect(a, b)
        else:
            parts.append(Shape(shape))

    collect(start, list(given) if isinstance(given, (list, tuple)) else [given])
    for shape, tensor in zip(parts, initial, strict=True):
        if tensor.dtype is not variant and not _covers(shape, tensor.shape):
            raise ShapeError(f"shape invariant {shape} does not cover {tensor!r}")
    return [t.shape if t.dtype is variant else s for s, t in zip(parts, initial, strict=True)]


def _covers(invariant: Shape, shape: Shape) -> bool:
    """Whether every array of `shape` has the shape `invariant`."""
    if invariant.dims is None:
        return True
    if shape.dims is None or len(shape.dims) != len(invariant.dims):
        return False
    return all(i in (None, s) for i, s in zip(invariant.dims, shape.dims, strict=True))


def _check_turn(title: str, value: Tensor, first: Tensor, shape: Shape) -> None:
    if value.dtype is not first.dtype:
        raise DTypeError(
            f"loop {title!r}: the loop variable {first.name!r} is {first.dtype}, after a turn "
            f"{value.dtype}"
        )
    if value.dtype is not variant and not _covers(shape, value.shape):
        raise ShapeError(
            f"loop {title!r}: the loop variable {first.name!r} has shape {shape}, after a turn "
            f"{value.shape}; say what stays with shape_invariants, or use set_shape"
        )


def with_dependencies(dependencies: Any, output_tensor: Any, name: str | None = None) -> Tensor:
    """`output_tensor`, available only when `dependencies` have run."""
    graph = graph_of((output_tensor,))
    with graph.control_dependencies(dependencies):
        out: Tensor = graph.apply("identity", output_tensor, name=name)
    return out
