"""ONNX models as graphs.

`import_onnx` gives a `Graph` of our own ops. Its `inputs` and `outputs` map the model's names to
tensors: feed the former, fetch the latter.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TypeProto

from sw.graph.device import parse
from sw.graph.dtypes import sequence
from sw.graph.errors import ModelError, OpError
from sw.graph.graph import Graph
from sw.graph.onnx import families as _families  # noqa: F401 (registers every operator)
from sw.graph.onnx import types
from sw.graph.onnx.load import Loaded, initializer, load
from sw.graph.onnx.node import DynamicInputError, Node, clean
from sw.graph.onnx.registry import HANDLERS, KERNELS
from sw.graph.onnx.types import element_type
from sw.graph.onnx.value import Stored, Value
from sw.graph.shapes import Shape
from sw.graph.tensor import Tensor

MOST_NESTING = 16
"""Levels of subgraphs and functions within each other; the standard's own tests need five."""
MOST_NODES, MOST_PER_NODE = 20_000, 100
"""With its functions written out a model may have the former, and the latter for each node in the
file: a bound for functions that multiply."""

Source = str | os.PathLike[str] | bytes | ModelProto


def import_onnx(
    model: Source,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    device: str | None = None,
    folder: Any = None,
) -> Graph:
    """The graph of an ONNX model: a path, its bytes, or an `onnx.ModelProto`.

    `graph.inputs` and `graph.outputs` map the model's names of what is fed and fetched to
    tensors, in the model's order. `shapes` sets shapes of inputs by name where the model leaves
    them open ("batch": unknown). `device` asks for a device for every op ("/tpu:0"; what it does
    not take runs on the CPU). `folder` is where external data may lie (default: the model's
    folder; none for bytes). Raises `ModelError`, which names the node and what is wrong with it
    or not supported. Nothing of a model is ever executed during import beyond folding small
    constants.
    """
    loaded = load(model, folder)
    graph = Graph()
    try:
        with graph.device(device):
            return Importer(loaded, parse(device or "").kind == "tpu").run(
                graph, dict(shapes or {})
            )
    except ModelError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise ModelError(f"the model cannot be imported: {error}") from error


class Scope:
    """The names of one graph, with those around it."""

    def __init__(self, outer: Scope | None, info: Any = ()) -> None:
        self.outer = outer
        self.values: dict[str, Value] = {}
        self._info = {v.name: v.type for v in info}

    def find(self, name: str) -> Value:
        """The value; raises `ModelError`."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.outer
        raise ModelError(f"{name!r} is used before anything gives it a value")

    def declared(self, name: str) -> TypeProto | None:
        """The type that the file declares for a name."""
        found = self._info.get(name)
        return found if found is not None and found.WhichOneof("value") else None


class Importer:
    """One import: the model, what is known of constants, and how deep the nesting is."""

    def __init__(self, loaded: Loaded, for_tpu: bool = False) -> None:
        self.loaded, self.model, self.for_tpu = loaded, loaded.model, for_tpu
        model = loaded.model
        self.known: dict[Tensor, Any] = {}
        self.opsets = {o.domain: int(o.version) for o in model.opset_import}
        self.opsets.setdefault("", self.opsets.get("ai.onnx", 1))
        self.functions = {(f.domain, f.name): f for f in model.functions}
        self._depth = 0
        self._left = MOST_NODES + MOST_PER_NODE * (
            len(model.graph.node) + sum(len(f.node) for f in model.functions)
        )

    def run(self, graph: Graph, shapes: dict[str, Any]) -> Graph:
        """Build the graph."""
        proto = self.model.graph
        scope = Scope(None, [*proto.value_info, *proto.output, *proto.input])
        with graph.as_default():
            self.initializers(graph, proto, scope)
            for info in proto.input:
                if info.name in scope.values:
                    continue  # an initialiser with a default: it stays a constant
                scope.values[info.name] = self._input(graph, info, shapes.pop(info.name, None))
                graph.inputs[info.name] = scope.values[info.name].tensor
            if shapes:
                raise ModelError(
                    f"the model has no input {next(iter(shapes))!r}; it has {list(graph.inputs)}"
                )
            self.nodes(graph, proto.node, scope, self.opsets)
            for info in proto.output:
                graph.outputs[info.name] = self._output(graph, info, scope)
        return graph

    def _input(self, graph: Graph, info: Any, shape: Any) -> Value:
        try:
            kind = types.tensor_type(info.type)
            wanted = kind.shape if shape is None else kind.shape.merge(Shape(tuple(shape)))
        except OpError as error:
            raise ModelError(f"input {info.name!r}: {error}") from None
        tensor = graph.apply(
            "placeholder", name=clean(info.name), dtype=kind.dtype, shape=wanted.dims
        )
        return Value(tensor, type=info.type if kind.dtype is sequence else None)

    def _output(self, graph: Graph, info: Any, scope: Scope) -> Tensor:
        try:
            value = scope.find(info.name)
        except ModelError as error:
            raise ModelError(f"output {info.name!r}: {error}") from None
        tensor = value.plain(graph)
        if types.is_tensor(info.type):
            have, want = tensor.shape, types.shape_of_proto(info.type)
            if not have.known and have.compatible(want) and have.rank in (None, want.rank):
                tensor = graph.apply("identity", tensor, name=f"{clean(info.name)}")
                if have.dims is None:
                    tensor.set_shape(Shape((None,) * len(want)) if want.dims is not None else want)
        return tensor

    def initializers(self, graph: Graph, proto: GraphProto, scope: Scope) -> None:
        """Constants of a graph; the large ones of the main graph are read when they are needed."""
        main = proto is self.model.graph
        for index, tensor in enumerate(proto.initializer):
            name = clean(tensor.name)
            try:
                if main and index in self.loaded.spans:
                    kind = element_type(tensor.data_type)
                    read = functools.partial(self.loaded.read, index)
                    shape = Shape(tuple(tensor.dims))
                    scope.values[tensor.name] = Stored(graph, name, kind, shape, read)
                    continue
                array = initializer(tensor, self.loaded.folder)
            except (OpError, ValueError, TypeError, OverflowError, OSError) as error:
                raise ModelError(f"initialiser {tensor.name!r}: {error}") from None
            scope.values[tensor.name] = Value(graph.apply("const", name=name, value=array))
        for sparse in proto.sparse_initializer:
            raise ModelError(f"sparse initialiser {sparse.values.name!r} is not supported")

    def nodes(self, graph: Graph, nodes: Any, scope: Scope, opsets: Mapping[str, int]) -> None:
        """Import nodes in order into `graph`, their results into `scope`."""
        self._depth += 1
        before, self.opsets = self.opsets, dict(opsets)
        if self._depth > MOST_NESTING:
            raise ModelError(f"subgraphs are nested more than {MOST_NESTING} deep")
        for node in nodes:
            self._left -= 1
            if self._left < 0:
                raise ModelError("written out, its functions are far larger than the model")
            where = f"node {node.name or '->'.join(node.output)!r} ({node.op_type})"
            try:
                outputs = self._node(graph, node, scope, opsets)
            except ModelError as error:
                if error.message.startswith("node "):  # name the outermost and the innermost
                    inner = error.message.rsplit(", node ", 1)[-1].removeprefix("node ")
                    raise ModelError(f"{where}, node {inner}") from error.__cause__
                raise ModelError(f"{where}: {error}") from error
            except Exception as error:
                # whatever a malformed node makes our code raise, its author must be told the node
                raise ModelError(f"{where}: {type(error).__name__}: {error}") from error
            for name, value in zip(node.output, outputs, strict=False):
                if name and value is not None:
                    scope.values[name] = value
        self.opsets = before
        self._depth -= 1

    def _node(
        self, graph: Graph, proto: NodeProto, scope: Scope, opsets: Mapping[str, int]
    ) -> list[Value]:
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        version = opsets.get(domain)
        function = self.functions.get((proto.domain, proto.op_type))
        if version is None and function is None:
            raise ModelError(f"the model does not import the operator set {domain!r}")
        inputs = [scope.find(name) if name else None for name in proto.input]
        while inputs and inputs[-1] is None:
            inputs.pop()
        node = Node(self, graph, proto, inputs, version or 1, scope)
        if function is not None:
            return self._call(node, function, scope)
        handler = HANDLERS.get((domain, proto.op_type))
        result = NotImplemented
        if handler is not None:
            try:
                result = handler(node)
            except DynamicInputError as error:
                if (domain, proto.op_type) not in KERNELS:
                    raise ModelError(str(error)) from None
        if result is NotImplemented:
            if (domain, proto.op_type) in KERNELS:
                result = node.generic()
            else:
                body = self._schema_function(node, domain)
                if body is None:
                    kind = f"of domain {domain!r} " if domain else ""
                    raise ModelError(f"the operator {kind}is not supported")
                return self._call(node, body, scope)
        items = result if isinstance(result, (list, tuple)) else [result]
        values = [item if isinstance(item, Value) else Value(item) for item in items]
        if len(values) < sum(map(bool, proto.output)):
            raise ModelError(f"it has {len(proto.output)} outputs, {len(values)} are supported")
        return values

    def subgraph(
        self, graph: Graph, proto: GraphProto, outer: Scope, given: Mapping[str, Value]
    ) -> list[Value]:
        """The outputs of a branch's or loop's body, its nodes made in `graph`."""
        scope = Scope(outer, [*proto.value_info, *proto.output, *proto.input])
        self.initializers(graph, proto, scope)
        scope.values.update(given)
        self.nodes(graph, proto.node, scope, self.opsets)
        return [scope.find(info.name) for info in proto.output]

    # --- functions -----------------------------------------------------------------------------

    def _schema_function(self, node: Node, domain: str) -> onnx.FunctionProto | None:
        """The standard's own definition of an operator by others, if it has one."""
        try:
            # Any: the package's stubs lack what its schemas tell of functions
            schema: Any = onnx.defs.get_schema(node.proto.op_type, node.version, domain)
        except onnx.defs.SchemaError:
            return None
        text = b""
        if schema.has_function:
            # written with a later set's operators, it still means the same
            versions = schema.function_opset_versions
            usable = [v for v in versions if v <= node.version] or [min(versions)]
            text = schema.get_function_with_opset_version(max(usable))
        if not text and schema.has_context_dependent_function:
            versions = schema.context_dependent_function_opset_versions
            usable = [v for v in versions if v <= node.version] or [min(versions)]
            kinds = [
                node.input_type(i).SerializeToString() if node.has(i) else b""
                for i in range(len(node.inputs))
            ]
            text = schema.get_context_dependent_function_with_opset_version(
                max(usable), node.proto.SerializeToString(), kinds
            )
        if not text:
            return None
        body = onnx.FunctionProto()
        body.ParseFromString(text)
        for name, attribute in schema.attributes.items():
            if attribute.default_value.type:
                body.attribute_proto.append(attribute.default_value)
                body.attribute_proto[-1].name = name
        return body

    def _call(self, node: Node, body: onnx.FunctionProto, scope: Scope) -> list[Any]:
        """Write a function's body out in the place of its call: its outputs, None for one that
        nobody wants and the body does not give."""
        inner = Scope(None, body.value_info)
        given = {a.name: a for a in node.proto.attribute}
        for default in body.attribute_proto:
            given.setdefault(default.name, default)
        for index, name in enumerate(body.input):
            if node.has(index):
                inner.values[name] = node.value(index)
        nodes = []
        for item in body.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(item)
            _bind(copy, given)
            copy.name = f"{node.name}/{item.name or item.op_type}"
            absent = [n for n in copy.input if n in body.input and n not in inner.values]
            for position, name in enumerate(copy.input):
                if name in absent:
                    copy.input[position] = ""
            nodes.append(copy)
        opsets = {o.domain: int(o.version) for o in body.opset_import} or self.opsets
        self.nodes(node.graph, nodes, inner, {**self.opsets, **opsets})
        wanted = dict(zip(body.output, node.proto.output, strict=False))
        return [inner.find(n) if wanted.get(n) else inner.values.get(n) for n in body.output]

    # --- help for nodes ------------------------------------------------------------------------

    def infer(
        self, proto: NodeProto, named: Mapping[str, TypeProto], data: Mapping[str, Any]
    ) -> dict[str, TypeProto]:
        """Types of a node's outputs by the standard's inference, as far as it goes."""
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        version = self.opsets.get(domain, 1)
        try:
            schema = onnx.defs.get_schema(proto.op_type, version, domain)
        except onnx.defs.SchemaError:
            return {}
        imports = [onnx.helper.make_opsetid(k, v) for k, v in self.opsets.items()]
        try:
            return dict(
                onnx.shape_inference.infer_node_outputs(
                    schema, proto, dict(named), dict(data), None, imports, self.model.ir_version
                )
            )
        except onnx.shape_inference.InferenceError as error:
            raise ModelError(str(error).strip()) from None


def _bind(node: NodeProto, given: Mapping[str, Any]) -> None:
    """Replace references to a function's attributes by what the call gives."""
    kept = []
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            if attribute.ref_attr_name in given:
                made = onnx.AttributeProto()
                made.CopyFrom(given[attribute.ref_attr_name])
                made.name = attribute.name
                kept.append(made)
            continue
        if attribute.type == onnx.AttributeProto.GRAPH:
            for item in attribute.g.node:
                _bind(item, given)
        kept.append(attribute)
    copies = []
    for attribute in kept:
        copy = onnx.AttributeProto()
        copy.CopyFrom(attribute)
        copies.append(copy)
    del node.attribute[:]
    node.attribute.extend(copies)
