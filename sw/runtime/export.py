"""`st.export_onnx`: an inference graph with its variables' values as an ONNX file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from sw.compiler.freeze import freeze
from sw.compiler.prune import prune
from sw.compiler.unit import Unit
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph
from sw.graph.onnx.export import SOURCES, to_model
from sw.graph.operation import Operation
from sw.graph.tensor import Operators, Tensor
from sw.runtime.session import Session, get_default_session
from sw.runtime.structure import leaves


def export_onnx(
    fetches: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    session: Session | None = None,
    graph: Graph | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> onnx.ModelProto:
    """The ONNX model of what `fetches` (tensors or names, nested) need, written to
    `path` if that is given. For a `Graph` in their place, its `outputs` are fetched.

    Variables become constants with the values that they have in `session` (default: the default
    one). Placeholders become the inputs, in the order of their making; they and the outputs keep
    the names of their ops unless `input_names` and `output_names` give others. Quantised graphs
    come out in the standard's QDQ form. Images stay as they are at the borders (a model that was
    imported keeps NCHW) and are NCHW inside. The opset is 17, or that of imported operators.

    Raises `UnimplementedError` naming the first op that ONNX, or this exporter, cannot say.
    """
    home = _home(fetches, graph, session)
    given: dict[str, Any] = {}
    if isinstance(fetches, Graph):
        given = dict(fetches.outputs)
        if not given:
            raise InvalidArgumentError("the graph names no outputs: give the tensors to fetch")
    items = list(given.values()) if given else leaves(fetches)
    wanted = tuple(dict.fromkeys(_tensor(home, item) for item in items))
    unit = prune(Unit(home, fetches=wanted))
    reads = [op.name for op in unit.graph.get_operations() if op.type == "read_variable"]
    values: list[Any] = []
    if reads:
        values = _session(session, home).run([f"{name}:0" for name in reads])
    unit = freeze(unit, dict(zip(reads, values, strict=True)))
    sources = [op.outputs[0] for op in unit.graph.get_operations() if op.type in SOURCES]
    ours = {tensor.name: name for name, tensor in home.inputs.items()}
    default = [ours.get(tensor.name, tensor.op.name) for tensor in sources]
    inputs = _named("input_names", input_names, default, sources)
    default = list(given) if len(given) == len(wanted) else [_default(tensor) for tensor in wanted]
    outputs = _named("output_names", output_names, default, unit.fetches)
    model = to_model(unit.graph, inputs, outputs)
    if path is not None:
        _write(model, Path(path))
    return model


def _home(fetches: Any, graph: Graph | None, session: Session | None) -> Graph:
    if isinstance(fetches, Graph):
        return fetches
    if graph is not None:
        return graph
    for item in leaves(fetches):
        if isinstance(item, Operators):
            return item._operand().op.graph
    return _session(session, None).graph


def _session(session: Session | None, graph: Graph | None) -> Session:
    found = session if session is not None else get_default_session()
    if found is None or graph is not None and found.graph is not graph:
        raise InvalidArgumentError("export_onnx needs a session that holds the variables")
    return found


def _tensor(graph: Graph, item: Any) -> Tensor:
    element = graph.as_graph_element(item)
    if isinstance(element, Operation):
        raise InvalidArgumentError(f"cannot export {element!r}: it is an operation")
    return element


def _default(tensor: Tensor) -> str:
    return tensor.op.name if not tensor.index else tensor.name


def _named(
    what: str, names: Sequence[str] | None, default: Sequence[str], tensors: Sequence[Tensor]
) -> dict[str, Tensor]:
    chosen = list(default if names is None else names)
    if len(chosen) != len(tensors) or len(set(chosen)) != len(chosen):
        raise InvalidArgumentError(
            f"{what} {chosen}: {len(tensors)} different names are needed, for "
            f"{[tensor.name for tensor in tensors]}"
        )
    return dict(zip(chosen, tensors, strict=True))


def _write(model: onnx.ModelProto, path: Path) -> None:
    """A crash leaves the old file or the new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(model.SerializeToString())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
