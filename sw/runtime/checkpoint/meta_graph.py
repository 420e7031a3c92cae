"""MetaGraph: a graph with its variables and collections in a file, without code.

`FILE` is sealed JSON (see `files`), `FILE.safetensors` its constants. Reading one makes ops of
kinds that are registered in this process and nothing else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from sw.graph.dtypes import as_dtype
from sw.graph.errors import DataLossError
from sw.graph.graph import Graph, get_default_graph
from sw.graph.ops.variables import Variable
from sw.graph.serialise import VERSION, Reader, Writer, collections_data, variables_data
from sw.runtime.checkpoint.files import digest, read, seal, unseal, write_atomically

_BYTES = {"bfloat16": np.uint16, "complex64": np.uint64, "complex128": np.uint64}


def _as_plain(array: Any) -> tuple[Any, list[Any] | None]:
    kind = _BYTES.get(array.dtype.name)
    solid = np.ascontiguousarray(array).reshape(array.shape)
    if kind is None:
        return solid, None
    return np.atleast_1d(solid).view(kind), [array.dtype.name, list(array.shape)]


def export_meta_graph(
    filename: str, graph: Graph | None = None, collection_list: Any = None
) -> dict[str, Any]:
    """Write the graph (default: the default one); what was written. Raises `InvalidArgumentError`
    naming an attribute that cannot be stored, such as a Python function."""
    chosen = get_default_graph().root if graph is None else graph
    writer = Writer()
    body = writer.graph(chosen)
    collections = collections_data(chosen)
    if collection_list is not None:
        collections = {k: v for k, v in collections.items() if k in collection_list}
    plain, kinds = {}, {}
    for name, array in writer.arrays.items():
        plain[name], kind = _as_plain(array)
        if kind is not None:
            kinds[name] = kind
    data = save(plain)
    content = {
        "format": "systolica graph",
        "version": VERSION,
        "graph": body,
        "variables": variables_data(chosen),
        "collections": collections,
        "kinds": kinds,
        "sha256": digest(data),
    }
    write_atomically(f"{filename}.safetensors", data)
    write_atomically(filename, seal(content))
    return content


def _arrays(filename: str, content: Any) -> dict[str, Any]:
    path = f"{filename}.safetensors"
    data = read(path)
    if digest(data) != content["sha256"]:
        raise DataLossError(f"{path!r} is damaged, or belongs to another graph")
    try:
        arrays = load(data)
    except SafetensorError as error:
        raise DataLossError(f"{path!r}: {error}") from None
    for name, (kind, shape) in content["kinds"].items():
        arrays[name] = arrays[name].view(as_dtype(kind).numpy).reshape(shape)
    return arrays


def import_meta_graph(
    filename: str,
    clear_devices: bool = False,
    import_scope: str | None = None,
    input_map: Any = None,
) -> dict[str, Any]:
    """Add the stored graph to the default one, its names under `import_scope`; stored names to
    operations. `input_map`: tensors to use in place of stored ones, by name.

    Raises `DataLossError` for a damaged file, `NotFoundError` for an op that is not registered.
    """
    content = unseal(read(filename), filename)
    if not isinstance(content, dict) or content.get("format") != "systolica graph":
        raise DataLossError(f"{filename!r} is no stored graph")
    if content.get("version") != VERSION:
        raise DataLossError(
            f"{filename!r} is a graph of version {content.get('version')}; version {VERSION} can "
            "be read"
        )
    graph = get_default_graph().root
    scope = f"{import_scope}/" if import_scope else ""
    reader = Reader(_arrays(filename, content), import_scope or "", input_map)
    made = reader.ops(graph, content["graph"]["ops"], scope)
    if clear_devices:
        for op in made.values():
            op.device = ""
    if graph.seed is None:
        graph.seed = content["graph"]["seed"]

    def tensor(name: str) -> Any:
        op, _, index = name.rpartition(":")
        return made[op].outputs[int(index)]

    variables: dict[str, Any] = {}
    found: Any
    for entry in content["variables"]:
        variable = Variable.from_parts(
            made[entry["handle"]].outputs[0],
            tensor(entry["initial"]),
            made[entry["assign"]],
            tensor(entry["read"]),
            entry["trainable"],
        )
        variables[entry["handle"]] = variable
        if entry["scoped"]:
            graph.variable_store[variable.op.attrs["shared_name"]] = variable
    for key, items in content["collections"].items():
        for item in items:
            ((kind, value),) = item.items()
            if kind == "variable":
                found = variables[value]
            else:
                found = (
                    tensor(value) if kind == "tensor" else made[value] if kind == "op" else value
                )
            graph.add_to_collection(key, found)
    return made
