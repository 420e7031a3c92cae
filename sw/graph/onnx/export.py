"""Graphs as models of the ONNX standard: the part that inference needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx
from onnx import helper

from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph
from sw.graph.onnx import write_images, write_values
from sw.graph.onnx.registry import KERNELS, ONNX
from sw.graph.onnx.writer import Rule, Writer, element_type
from sw.graph.operation import Operation
from sw.graph.tensor import Tensor

OPSET = 17
"""Runtimes of 2022 and later read it; newer only where an imported operator is."""
SOURCES = ("placeholder", "feed", "placeholder_with_default")
RULES: dict[str, Rule] = {**write_values.RULES, **write_images.RULES}


def rule_for(op: Operation) -> Rule | None:
    """How `op` is written, None if it cannot be."""
    operator = op.type.removeprefix(write_values.OWN)
    if operator != op.type and (ONNX, operator) in KERNELS:
        return write_values.own
    return RULES.get(op.type)


def to_model(
    graph: Graph, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
) -> onnx.ModelProto:
    """The model of a frozen graph: `inputs` are its sources and `outputs` what it computes, by
    the names that they get.

    Quantised graphs come out in QDQ form. Raises `UnimplementedError` naming the first op that a
    model cannot say, and `InvalidArgumentError` for inputs that are no placeholders.
    """
    users: dict[Tensor, list[Operation | None]] = {}
    for op in graph.get_operations():
        for tensor in op.inputs:
            users.setdefault(tensor, []).append(op)
    for tensor in outputs.values():
        users.setdefault(tensor, []).append(None)
    opset = max([OPSET, *(op.attrs.get("opset", 0) for op in graph.get_operations())])
    writer = Writer(users, rule_for, opset)
    writer.taken |= {*inputs, *outputs}
    for name, tensor in inputs.items():
        if tensor.op.type not in SOURCES:
            raise InvalidArgumentError(f"input {name!r}: {tensor.name!r} is no placeholder")
        writer.set(tensor, name)
    for name, tensor in outputs.items():
        if tensor.op.type not in (*SOURCES, "const"):
            writer.names.setdefault(tensor, name)
    for op in graph.get_operations():
        if op.type not in SOURCES:
            writer.write(op)
    for name, tensor in outputs.items():
        if writer.plain(tensor) != name:
            writer.raw("Identity", [writer.plain(tensor)], [name])
    nodes = _needed(writer.nodes, outputs)
    used = {name for node in nodes for name in node.input}
    proto = helper.make_graph(
        nodes,
        "systolica",
        [_info(name, tensor) for name, tensor in inputs.items()],
        [_info(name, tensor) for name, tensor in outputs.items()],
        [tensor for tensor in writer.initializers if tensor.name in used | set(outputs)],
    )
    opsets = [helper.make_opsetid("", opset)]
    version = helper.find_min_ir_version_for(opsets)
    return helper.make_model(
        proto, producer_name="systolica", opset_imports=opsets, ir_version=version
    )


def _needed(nodes: list[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes on which the outputs depend: a value may be there in a layout that nobody uses."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def _info(name: str, tensor: Tensor) -> onnx.ValueInfoProto:
    dims = tensor.shape.dims
    if dims is None:
        raise InvalidArgumentError(f"{tensor.name!r} cannot be a border: its rank is not known")
    sizes = [f"{name}_{axis}" if size is None else size for axis, size in enumerate(dims)]
    return helper.make_tensor_value_info(name, element_type(tensor.dtype), sizes)
