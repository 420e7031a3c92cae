"""Graphs as plain data (numbers, strings, lists, dicts) beside a table of arrays, and back.

Only names of registered ops and plain attributes are stored, so that reading one never executes
code. Attributes of other kinds are tagged: {"dtype": "float32"}, {"array": key}, ...
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.device import parse
from sw.graph.dtypes import DType, as_dtype
from sw.graph.errors import AlreadyExistsError, DataLossError, InvalidArgumentError, OpError
from sw.graph.function import Function
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.ops.variables import Variable
from sw.graph.registry import TensorType, lookup
from sw.graph.shapes import Shape
from sw.graph.source import Source
from sw.graph.tensor import Tensor

VERSION = 1
Arrays = dict[str, Any]


class Writer:
    """Turns graphs into plain data, arrays into entries of `arrays`."""

    def __init__(self) -> None:
        self.arrays: Arrays = {}

    def graph(self, graph: Graph) -> dict[str, Any]:
        """The ops of a graph."""
        return {"seed": graph.seed, "ops": [self.op(op) for op in graph.get_operations()]}

    def op(self, op: Operation) -> dict[str, Any]:
        """One op."""
        return {
            "name": op.name,
            "type": op.type,
            "inputs": [t.name for t in op.inputs],
            "after": [c.name for c in op.control_inputs],
            "device": op.device,
            "source": [op.source.file.rsplit("/", 1)[-1], op.source.line],
            "attrs": {k: self.value(v, op, k) for k, v in op.attrs.items()},
            "outputs": [
                [t.dtype.name, None if t.shape.dims is None else list(t.shape.dims)]
                for t in op.outputs
            ],
        }

    def value(self, value: Any, op: Operation, key: str) -> Any:
        """An attribute."""
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, (np.ndarray, np.generic)):
            name = f"{len(self.arrays)}/{op.name}/{key}"
            self.arrays[name] = np.asarray(value)
            return {"array": name}
        if isinstance(value, DType):
            return {"dtype": value.name}
        if isinstance(value, Shape):
            return {"shape": None if value.dims is None else list(value.dims)}
        if isinstance(value, (tuple, list)):
            kind = "tuple" if isinstance(value, tuple) else "list"
            return {kind: [self.value(v, op, key) for v in value]}
        if isinstance(value, Function):
            return {
                "function": {
                    "name": value.name,
                    "body": self.graph(value),
                    "arguments": [a.op.name for a in value.arguments],
                    "results": [t.name for t in value.results],
                    "saved": [t.name for t in value.saved],
                }
            }
        raise InvalidArgumentError(
            f"attribute {key!r} of op {op.where()} is a {type(value).__name__} and cannot be stored"
        )


class Reader:
    """Turns plain data into ops of a graph, under `scope`."""

    def __init__(self, arrays: Arrays, scope: str = "", replace: Any = None) -> None:
        self.arrays, self.scope = arrays, f"{scope}/" if scope else ""
        self.replace: dict[str, Tensor] = dict(replace or {})

    def ops(self, graph: Graph, data: Any, scope: str) -> dict[str, Operation]:
        """Make the ops; a dict from their stored names. Raises `DataLossError` when what is stored
        contradicts itself, `NotFoundError` for an op that is not registered."""
        made: dict[str, Operation] = {}
        for entry in data:
            self._check_order(entry, made)
            made[entry["name"]] = self._op(graph, entry, made, scope)
        return made

    def _check_order(self, entry: Any, made: dict[str, Operation]) -> None:
        """Refuse an op that needs one which is not stored before it: there would be a cycle."""
        try:
            needs = [n for n in entry["inputs"] if n not in self.replace]
            missing = [n for n in needs if n.rpartition(":")[0] not in made]
            missing += [n for n in entry["after"] if n not in made]
        except (KeyError, TypeError, AttributeError) as error:
            raise DataLossError(f"stored op {str(entry)[:80]} is malformed: {error}") from None
        if missing:
            raise DataLossError(
                f"stored op {entry.get('name')!r} needs {missing[0]!r}, which does not come before "
                "it: the graph has a cycle, or a part is missing"
            )

    def _op(self, graph: Graph, entry: Any, made: dict[str, Operation], scope: str) -> Operation:
        try:
            inputs = tuple(self._tensor(name, made) for name in entry["inputs"])
            controls = tuple(made[name] for name in entry["after"])
            attrs = {k: self._value(v, graph, scope) for k, v in entry["attrs"].items()}
            if entry["type"] == "variable":
                attrs["shared_name"] = self._free(graph, scope + attrs["shared_name"])
            op_def = lookup(entry["type"])
            given = op_def.resolve_attrs(attrs)
            types = op_def.infer(inputs, **given)
            outputs = [types] if isinstance(types, TensorType) else list(types)
            stored = [TensorType(as_dtype(d), Shape(s)) for d, s in entry["outputs"]]
            merged = [
                TensorType(have.dtype, have.shape.merge(want.shape))
                for have, want in zip(outputs, stored, strict=True)
                if have.dtype is want.dtype
            ]
            if len(merged) != len(stored):
                raise InvalidArgumentError("its dtypes are others")
            file, line = entry["source"]
            device = str(parse(entry["device"]))
        except OpError as error:
            raise type(error)(f"stored op {entry.get('name')!r}: {error.message}") from None
        except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise DataLossError(f"stored op {entry.get('name')!r} is malformed: {error}") from None
        op = Operation(
            graph,
            graph.unique_name(f"{scope}{entry['name']}/"),
            op_def,
            inputs,
            given,
            merged,
            controls,
            device,
            Source(str(file), int(line)),
        )
        graph.add_operation(op)
        return op

    @staticmethod
    def _free(graph: Graph, name: str) -> str:
        for op in graph.get_operations():
            if op.type == "variable" and op.attrs["shared_name"] == name:
                raise AlreadyExistsError(
                    f"the graph has a variable {name!r} already; give an import_scope"
                )
        return name

    def _tensor(self, name: str, made: dict[str, Operation]) -> Tensor:
        if name in self.replace:
            return self.replace[name]
        op, _, index = name.rpartition(":")
        return made[op].outputs[int(index)]

    def _value(self, value: Any, graph: Graph, scope: str) -> Any:
        if isinstance(value, list):
            raise ValueError("a bare list")
        if not isinstance(value, dict):
            return value
        ((kind, inner),) = value.items()
        if kind == "array":
            return self.arrays[inner]
        if kind == "dtype":
            return as_dtype(inner)
        if kind == "shape":
            return Shape(inner)
        if kind in ("tuple", "list"):
            items = [self._value(v, graph, scope) for v in inner]
            return tuple(items) if kind == "tuple" else items
        if kind == "function":
            return self._function(inner, graph, scope)
        raise ValueError(f"an attribute of kind {kind!r}")

    def _function(self, data: Any, graph: Graph, scope: str) -> Function:
        function = Function(graph, scope + data["name"])
        made = Reader(self.arrays).ops(function, data["body"]["ops"], scope)

        def tensors(names: Any) -> list[Tensor]:
            return [made[n.rpartition(":")[0]].outputs[int(n.rpartition(":")[2])] for n in names]

        function.arguments = [made[name].outputs[0] for name in data["arguments"]]
        function.results, function.saved = tensors(data["results"]), tensors(data["saved"])
        function.closed = True
        return function


def collections_data(graph: Graph) -> dict[str, list[Any]]:
    """The collections' items that can be stored: variables, tensors, ops, plain values."""
    out: dict[str, list[Any]] = {}
    for key in graph.get_all_collection_keys():
        items: list[Any] = []
        for item in graph.get_collection(key):
            if isinstance(item, Variable):
                items.append({"variable": item.handle.op.name})
            elif isinstance(item, Tensor):
                items.append({"tensor": item.name})
            elif isinstance(item, Operation):
                items.append({"op": item.name})
            elif isinstance(item, (int, float, str)):
                items.append({"value": item})
        if items:
            out[key] = items
    return out


def variables_data(graph: Graph) -> list[dict[str, Any]]:
    """What makes up each variable of the graph's collections and scopes."""
    found: dict[Variable, None] = {}
    for key in graph.get_all_collection_keys():
        found.update({i: None for i in graph.get_collection(key) if isinstance(i, Variable)})
    found.update(dict.fromkeys(graph.variable_store.values()))
    return [
        {
            "handle": v.handle.op.name,
            "initial": v.initial_value.name,
            "assign": v.initializer.name,
            "read": v.value().name,
            "trainable": bool(v.trainable),
            "scoped": graph.variable_store.get(v.op.attrs["shared_name"]) is v,
        }
        for v in found
    ]
