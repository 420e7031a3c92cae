"""Graphs and traced runs in TensorBoard's terms: GraphDef with devices and shapes, StepStats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sw.graph.device import parse
from sw.graph.dtypes import DType
from sw.graph.errors import InvalidArgumentError
from sw.graph.function import Function
from sw.graph.graph import Graph
from sw.graph.operation import Operation
from sw.graph.shapes import Shape
from sw.graph.summaries import protos
from sw.graph.tensor import Tensor
from sw.runtime.session import RunMetadata
from sw.runtime.trace import OutputStats, wall

_HOST = parse("/job:localhost/replica:0/task:0/cpu:0")
_MOST_TEXT = 200  # characters of an attribute that is shown as text


def full_device(name: str) -> str:
    """A partial device name completed as a local session does (what is left open is the host's),
    as TensorBoard knows devices: "/job:localhost/replica:0/task:0/device:TPU:0"."""
    spec = _HOST.merge(parse(name))
    place = replace(spec, kind=None, index=None)
    return f"{place}/device:{str(spec.kind).upper()}:{spec.index or 0}"


def _enum(dtype: str) -> int:
    """TensorBoard's number of a dtype, DT_INVALID for what it does not know."""
    short = {"float32": "FLOAT", "float64": "DOUBLE", "float16": "HALF"}.get(dtype, dtype.upper())
    return int(getattr(protos().types, f"DT_{short}", 0))


def _set_shape(shape: Any, dims: Any) -> None:
    if dims is None:
        shape.unknown_rank = True
        return
    for size in dims:
        shape.dim.add(size=-1 if size is None else size)


def _attribute(value: Any, into: Any) -> None:
    """An attribute as a value that TensorBoard can show; arrays and the like as text."""
    if isinstance(value, bool):
        into.b = value
    elif isinstance(value, int) and abs(value) < 1 << 63:
        into.i = value
    elif isinstance(value, float):
        into.f = value
    elif isinstance(value, DType):
        into.type = _enum(value.name)
    elif isinstance(value, Shape):
        _set_shape(into.shape, value.dims)
    else:
        text = str(value).encode()
        into.s = text if len(text) <= _MOST_TEXT else text[:_MOST_TEXT] + b"..."


def _input(tensor: Tensor, scope: str) -> str:
    return scope + (tensor.op.name if tensor.index == 0 else tensor.name)


def _node(op: Operation, scope: str, into: Any) -> None:
    node = into.add(name=scope + op.name, op=op.type, device=full_device(op.device))
    node.input.extend(_input(t, scope) for t in op.inputs)
    node.input.extend(f"^{scope}{c.name}" for c in op.control_inputs)
    for key, value in op.attrs.items():
        if not isinstance(value, Function):
            _attribute(value, node.attr[key])
    for tensor in op.outputs:
        _set_shape(node.attr["_output_shapes"].list.shape.add(), tensor.shape.dims)


def graph_def(graph: Graph, scope: str = "") -> Any:
    """The graph as a GraphDef; bodies of branches and loops stand under their op's name."""
    made = protos().graph.GraphDef()
    made.versions.producer = 22  # the version that TensorFlow 1.x wrote
    for op in graph.get_operations():
        _node(op, scope, made.node)
        for value in op.attrs.values():
            if isinstance(value, Function):
                inner = f"{scope}{op.name}/{value.name.rpartition('/')[2]}/"
                made.node.extend(graph_def(value, inner).node)
    return made


def _described(output: OutputStats, slot: int, into: Any) -> None:
    made = into.add(slot=slot)
    description = made.tensor_description
    description.dtype = _enum(output.dtype)
    _set_shape(description.shape, output.shape)
    description.allocation_description.requested_bytes = output.bytes
    description.allocation_description.allocated_bytes = output.bytes
    description.allocation_description.allocator_name = "numpy"


def run_metadata_message(metadata: RunMetadata) -> Any:
    """A traced run as RunMetadata: time, memory, device and shapes of every node. Raises
    `InvalidArgumentError` when it was not traced."""
    stats = metadata.step_stats
    if not stats.nodes:
        raise InvalidArgumentError(
            "this RunMetadata holds no trace: run with "
            "options=st.RunOptions(trace_level=st.RunOptions.FULL_TRACE)"
        )
    made = protos().config.RunMetadata()
    for device in stats.devices:
        group = made.step_stats.dev_stats.add(device=full_device(device))
        for node in (n for n in stats.nodes if n.device == device):
            micros = max(1, round((node.end - node.start) * 1e6)) if node.end > node.start else 0
            one = group.node_stats.add(
                node_name=node.name,
                all_start_micros=round(wall(node.start) * 1e6),
                op_start_rel_micros=0,
                op_end_rel_micros=micros,
                all_end_rel_micros=micros,
                timeline_label=node.note or f"{node.name} = {node.type}",
            )
            one.memory.add(allocator_name="numpy", total_bytes=node.bytes, peak_bytes=node.bytes)
            for slot, output in enumerate(node.outputs):
                _described(output, slot, one.output)
    return made
