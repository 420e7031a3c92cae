"""If, Loop and Scan as our own branches and loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, TypeProto

from sw.graph.build import register_op
from sw.graph.dtypes import DType, bool_, int64, sequence
from sw.graph.errors import ModelError
from sw.graph.function import Function, call_inputs
from sw.graph.onnx import types
from sw.graph.onnx.node import Node
from sw.graph.onnx.registry import handles
from sw.graph.onnx.value import Value
from sw.graph.ops.branches import joined
from sw.graph.registry import REQUIRED, TensorType
from sw.graph.shapes import SCALAR, Shape
from sw.graph.tensor import Tensor


def _stack(xp: Any, items: Any, axis: int, backwards: bool, dtype: DType, shape: Any) -> Any:
    values = items[::-1] if backwards else items
    if values:
        return np.stack(values, axis)
    sizes = [0 if d is None else d for d in shape or ()]
    sizes.insert(axis if axis >= 0 else len(sizes) + 1 + axis, 0)
    return np.zeros(sizes, dtype.numpy)


def _stack_type(inputs: Any, axis: int, backwards: bool, dtype: DType, shape: Any) -> TensorType:
    if shape is None:
        return TensorType(dtype, Shape(None))
    sizes: list[int | None] = list(shape)
    sizes.insert(axis if axis >= 0 else len(sizes) + 1 + axis, None)
    return TensorType(dtype, Shape(tuple(sizes)))


register_op(
    "sequence_stack",
    kernel=_stack,
    infer=_stack_type,
    attrs={"axis": 0, "backwards": False, "dtype": REQUIRED, "shape": None},
    host_only=True,
    doc="The arrays of a sequence along a new axis; an empty one gives none of that shape.",
)
register_op(
    "sequence_append",
    kernel=lambda xp, items, value: (*items, value),
    infer=lambda inputs: TensorType(sequence, SCALAR),
    host_only=True,
    doc="A sequence and one value more.",
)
register_op(
    "sequence_new",
    kernel=lambda xp: (),
    infer=lambda inputs: TensorType(sequence, SCALAR),
    host_only=True,
    doc="A sequence of nothing.",
)


def _branch(node: Node, part: str, body: GraphProto) -> tuple[Function, list[Value]]:
    function = Function(node.graph, node.graph.unique_name(f"{node.name}/{part}/", scoped=False))
    values = function.trace(lambda: node.importer.subgraph(function, body, node.scope, {}))
    function.finish([v.plain(function) for v in values])
    return function, values


@handles("If")
def branch(node: Node) -> Any:
    functions, values = [], []
    for name in ("then_branch", "else_branch"):
        body = node.attr(name)
        if not isinstance(body, GraphProto):
            raise ModelError(f"it has no {name}")
        function, found = _branch(node, name, body)
        functions.append(function)
        values.append(found)
    then, other = functions
    if len(then.results) != len(other.results):
        raise ModelError(f"its branches have {len(then.results)} and {len(other.results)} outputs")
    for a, b in zip(then.results, other.results, strict=True):
        if a.dtype is not b.dtype:
            raise ModelError(f"its branches give {a.dtype} and {b.dtype}")
    predicate = _flag(node, node.x(0))
    captures = call_inputs(functions)
    out = node.main("cond", predicate, *captures, then_branch=then, else_branch=other)
    kinds = [_declared(node, i, pair) for i, pair in enumerate(zip(*values, strict=True))]
    return [Value(t, type=k) for t, k in zip(out[:-1], kinds, strict=True)]


def _declared(node: Node, index: int, found: Sequence[Value]) -> TypeProto | None:
    """The ONNX type of an output that is no tensor."""
    if found[0].tensor.dtype is not sequence:
        return None
    known = node.scope.declared(node.proto.output[index]) if index < node.outputs else None
    return known or next((v.type for v in found if v.type is not None), None)


def _flag(node: Node, tensor: Tensor) -> Tensor:
    if tensor.dtype is not bool_:
        raise ModelError(f"a condition is bool, not {tensor.dtype}")
    if tensor.shape.rank == 0:
        return tensor
    out: Tensor = node.make("reshape", tensor, np.zeros(0, np.int64))
    return out


class Loop:
    """A loop under construction: `carried` values, the body's outputs, collected outputs."""

    def __init__(
        self,
        node: Node,
        body: Callable[[Function, list[Tensor]], tuple[list[Tensor], list[Tensor]]],
        goes_on: Callable[[Function, list[Tensor]], Tensor],
        initial: list[Tensor],
    ) -> None:
        self.node, self.body, self.goes_on = node, body, goes_on
        self.initial = initial

    def run(self, collected: int) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
        """The last carried values; for each collected output the sequence and a tensor of the
        elements' type. Shapes that change from turn to turn become unknown."""
        shapes = [t.shape for t in self.initial]
        for _ in range(4):
            functions, after, samples = self._trace(shapes, collected)
            merged = [joined(a, b.shape) for a, b in zip(shapes, after, strict=True)]
            if merged == shapes:
                break
            shapes = merged
        else:
            functions, after, samples = self._trace([Shape(None)] * len(shapes), collected)
        empty = [self.node.make("sequence_new") for _ in range(collected)]
        captures = call_inputs(functions)
        count = len(self.initial) + collected
        out = self.node.main(
            "while",
            *self.initial,
            *empty,
            *captures,
            predicate=functions[0],
            body=functions[1],
            carried=count,
        )
        carried, sequences = out[: len(self.initial)], out[len(self.initial) : count]
        return carried, list(zip(sequences, samples, strict=True))

    def _trace(self, shapes: list[Shape], collected: int) -> Any:
        graph, name = self.node.graph, self.node.name
        functions = [
            Function(graph, graph.unique_name(f"{name}/{part}/", scoped=False))
            for part in ("goes_on", "body")
        ]
        empty = self.node.make("sequence_new")
        for function in functions:
            for tensor, shape in zip(self.initial, shapes, strict=True):
                function.parameter(tensor, shape)
            for _ in range(collected):
                function.parameter(empty)
        test, turn = functions
        test.finish([test.trace(lambda: self.goes_on(test, test.arguments[: len(shapes)]))])
        n = len(shapes)
        after, made = turn.trace(lambda: self.body(turn, turn.arguments[:n]))
        for a, b in zip(after, self.initial, strict=True):
            if a.dtype is not b.dtype:
                raise ModelError(f"a loop carries {b.dtype} and gives {a.dtype}")
        with turn.as_default():
            longer = [
                turn.apply("sequence_append", items, turn.convert(value))
                for items, value in zip(turn.arguments[n : n + collected], made, strict=True)
            ]
        turn.finish([*after, *longer])
        return functions, after, made

    def stacked(self, pair: tuple[Tensor, Tensor], axis: int, backwards: bool) -> Tensor:
        """A collected output as one tensor."""
        items, sample = pair
        dims = sample.shape.dims
        out: Tensor = self.node.make(
            "sequence_stack", items, axis=axis, backwards=backwards, dtype=sample.dtype, shape=dims
        )
        return out


def _body_values(
    node: Node, function: Function, body: GraphProto, given: list[Value]
) -> list[Value]:
    names = [i.name for i in body.input]
    if len(names) != len(given):
        raise ModelError(f"its body takes {len(names)} inputs, {len(given)} are given")
    found: list[Value] = node.importer.subgraph(
        function, body, node.scope, dict(zip(names, given, strict=True))
    )
    return found


@handles("Loop")
def loop(node: Node) -> Any:
    body = node.attr("body")
    if not isinstance(body, GraphProto):
        raise ModelError("it has no body")
    states = [node.value(i) for i in range(2, len(node))]
    collected = len(body.output) - 1 - len(states)
    if collected < 0:
        raise ModelError(f"its body has {len(body.output)} outputs for {len(states)} values")
    limit = node.make("reshape", node.x(0), np.zeros(0, np.int64)) if node.has(0) else None
    first = _flag(node, node.x(1)) if node.has(1) else node.constant(np.asarray(True))
    kinds: list[TypeProto | None] = [v.type for v in states]

    def goes_on(function: Function, carried: list[Tensor]) -> Tensor:
        if limit is None:
            return carried[1]
        less = function.apply("less", carried[0], limit)
        out: Tensor = function.apply("logical_and", less, carried[1])
        return out

    def turn(function: Function, carried: list[Tensor]) -> Any:
        given = [Value(t, type=k) for t, k in zip(carried, [None, None, *kinds], strict=True)]
        found = _body_values(node, function, body, given)
        tensors = [v.plain(function) for v in found]
        for index, value in enumerate(found[1 : 1 + len(states)]):
            if _is_optional(kinds[index]) and not _is_optional(value.type):
                # what is carried is an optional, which now holds the value
                none = function.apply("sequence_new")
                tensors[1 + index] = function.apply("sequence_append", none, tensors[1 + index])
            else:
                kinds[index] = value.type or kinds[index]
        following = function.apply("add", carried[0], np.int64(1))
        keep = tensors[0]
        if keep.shape.rank != 0:
            keep = function.apply("reshape", keep, np.zeros(0, np.int64))
        return [following, keep, *tensors[1 : 1 + len(states)]], tensors[1 + len(states) :]

    initial = [node.constant(np.int64(0)), first, *(v.plain(node.graph) for v in states)]
    made = Loop(node, turn, goes_on, initial)
    carried, sequences = made.run(collected)
    results = [
        _as_declared(node, i, Value(t, type=k))
        for i, (t, k) in enumerate(zip(carried[2:], kinds, strict=True))
    ]
    return results + [Value(made.stacked(pair, 0, False)) for pair in sequences]


def _is_optional(proto: TypeProto | None) -> bool:
    return proto is not None and proto.WhichOneof("value") == "optional_type"


def _as_declared(node: Node, index: int, value: Value) -> Value:
    """An optional as what it holds, where the model says that the output is that."""
    name = node.proto.output[index] if index < node.outputs else ""
    declared = node.scope.declared(name) if name else None
    if value.type is None or not _is_optional(value.type) or declared is None:
        return value
    if _is_optional(declared):
        return value
    kind = types.tensor_type(declared)
    out = node.make("sequence_only", value.tensor, dtype=kind.dtype, shape=kind.shape.dims)
    return Value(out, type=declared if kind.dtype is sequence else None)


MOST_ROWS = 64
"""Of a Scan of version 8, each written out."""


@handles("Scan")
def scan(node: Node) -> Any:
    if node.version < 9:
        return _batched_scan(node)
    inputs = [node.x(i) for i in range(len(node))]
    return [Value(t) for t in _scan(node, inputs, node.attrs)]


def _batched_scan(node: Node) -> Any:
    """Version 8: a first axis of independent rows; its size must be known."""
    if node.has(0):
        raise ModelError("sequence lengths of a Scan of version 8 are not supported")
    inputs = [node.x(i) for i in range(1, len(node))]
    rows = inputs[0].shape[0]
    if rows is None:
        raise ModelError("the batch size of a Scan of version 8 must be known")
    if rows > MOST_ROWS:
        raise ModelError(f"a Scan of version 8 over {rows} rows is written out {MOST_ROWS} at most")
    count = int(node.attr("num_scan_inputs"))
    if not 0 < count <= len(inputs):
        raise ModelError(f"num_scan_inputs {count} does not fit {len(inputs)} inputs")
    directions = node.attr("directions", (0,) * count)
    attrs = {**node.attrs, "scan_input_directions": directions}
    results = []
    for row in range(rows):
        cut = [node.make("strided_slice", t, spec=(row,)) for t in inputs]
        results.append(_scan(node, cut, attrs))
    return [Value(node.make("stack", *column, axis=0)) for column in zip(*results, strict=True)]


def _scan(node: Node, inputs: list[Tensor], attrs: dict[str, Any]) -> list[Tensor]:
    body, count = attrs.get("body"), int(attrs.get("num_scan_inputs", 0))
    if not isinstance(body, GraphProto) or not 0 < count <= len(inputs):
        raise ModelError(f"num_scan_inputs {count} does not fit {len(inputs)} inputs and its body")
    states, scanned = inputs[: len(inputs) - count], inputs[len(inputs) - count :]
    collected = len(body.output) - len(states)
    if collected < 0:
        raise ModelError(f"its body has {len(body.output)} outputs for {len(states)} states")
    axes = attrs.get("scan_input_axes", (0,) * count)
    backwards = attrs.get("scan_input_directions", (0,) * count)
    out_axes = attrs.get("scan_output_axes", (0,) * collected)
    out_backwards = attrs.get("scan_output_directions", (0,) * collected)
    ranks = [t.shape.rank for t in scanned]
    if None in ranks:
        raise ModelError("the rank of what a Scan goes through must be known")
    axes = [a % (r or 1) for a, r in zip(axes, ranks, strict=True)]
    length = _length(node, scanned[0], axes[0])

    def goes_on(function: Function, carried: list[Tensor]) -> Tensor:
        out: Tensor = function.apply("less", carried[0], length)
        return out

    def turn(function: Function, carried: list[Tensor]) -> Any:
        given = [Value(t) for t in carried[1:]]
        last = function.apply("sub", function.apply("sub", length, np.int64(1)), carried[0])
        for tensor, axis, back in zip(scanned, axes, backwards, strict=True):
            at = last if back else carried[0]
            given.append(Value(function.apply("gather", tensor, at, axis=axis)))
        found = [v.plain(function) for v in _body_values(node, function, body, given)]
        following = function.apply("add", carried[0], np.int64(1))
        return [following, *found[: len(states)]], found[len(states) :]

    made = Loop(node, turn, goes_on, [node.constant(np.int64(0)), *states])
    carried, sequences = made.run(collected)
    stacked = [
        made.stacked(pair, int(axis), bool(back))
        for pair, axis, back in zip(sequences, out_axes, out_backwards, strict=True)
    ]
    return carried[1:] + stacked


def _length(node: Node, tensor: Tensor, axis: int) -> Tensor:
    size = tensor.shape[axis]
    if size is not None:
        return node.constant(np.int64(size))
    sizes = node.make("shape", tensor, out_type=int64)
    out: Tensor = node.make("strided_slice", sizes, spec=(axis,))
    return out


# --- optionals --------------------------------------------------------------------------------


@handles("OptionalHasElement")
def has_element(node: Node) -> Any:
    if not node.has(0):
        return node.constant(np.asarray(False))
    kind = node.input_type(0).WhichOneof("value")
    if kind != "optional_type":
        return node.constant(np.asarray(True))
    return node.main("sequence_holds", node.x(0))


@handles("OptionalGetElement")
def get_element(node: Node) -> Any:
    proto = node.input_type(0)
    if proto.WhichOneof("value") != "optional_type":
        return node.value(0)
    inner = proto.optional_type.elem_type
    kind = types.tensor_type(inner)
    out = node.main("sequence_only", node.x(0), dtype=kind.dtype, shape=kind.shape.dims)
    return Value(out, type=inner if kind.dtype is sequence else None)


def _only(xp: Any, items: Any, dtype: DType, shape: Any) -> Any:
    if not items:
        raise ValueError("the optional holds nothing")
    return items[0]


register_op(
    "sequence_holds",
    kernel=lambda xp, items: np.asarray(len(items) > 0),
    infer=lambda inputs: TensorType(bool_, SCALAR),
    host_only=True,
    doc="Whether a sequence holds anything.",
)
register_op(
    "sequence_only",
    kernel=_only,
    infer=lambda inputs, dtype, shape: TensorType(dtype, Shape(shape)),
    attrs={"dtype": REQUIRED, "shape": None},
    host_only=True,
    doc="The value that an optional holds; an error if it holds none.",
)
