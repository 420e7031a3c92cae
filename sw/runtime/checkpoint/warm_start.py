"""Variables that begin with the values of a checkpoint in place of their initialisers' ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from sw.graph.errors import InvalidArgumentError, NotFoundError, ShapeError
from sw.graph.graph import GraphKeys, get_default_graph
from sw.graph.ops.variables import Variable, trainable_variables
from sw.graph.partitioned import PartitionedVariable
from sw.runtime.checkpoint.bundle import CheckpointReader
from sw.runtime.checkpoint.inspect import load_checkpoint

Named = Mapping[str, Any] | Iterable[tuple[str, Any]]


def _names() -> dict[str, Variable]:
    found = get_default_graph().root.get_collection(GraphKeys.GLOBAL_VARIABLES)
    return {v.op.attrs["shared_name"]: v for v in found}


def _begin_with(variable: Variable, value: Any) -> None:
    """The variable's initialiser assigns `value` from now on."""
    name = variable.op.attrs["shared_name"]
    if not variable.shape.compatible(value.shape):
        raise ShapeError(
            f"{name!r} has shape {value.shape} in the checkpoint, the variable {variable.shape}"
        )
    graph = variable.graph
    with graph.control_dependencies(None), graph.name_scope(None):
        start = graph.convert(value.astype(variable.dtype.numpy), variable.dtype, "from_checkpoint")
        made = graph.apply("assign", variable.handle, start, name=f"{name}/restored_Assign")
    variable.initial_value, variable.initializer = start, made.op


def _set(reader: CheckpointReader, name: str, target: Any) -> None:
    value = reader.get_tensor(name)
    parts = list(target) if isinstance(target, (list, tuple, PartitionedVariable)) else [target]
    if not all(isinstance(p, Variable) for p in parts):
        raise InvalidArgumentError(f"{name!r} is mapped to {target!r}, which is no variable")
    if len(parts) == 1:
        _begin_with(parts[0], value)
        return
    sizes = [p.shape.sizes() for p in parts]
    cut = next((a for a in range(value.ndim) if sizes[0][a] != value.shape[a]), 0)
    ends = np.cumsum([s[cut] for s in sizes])
    if ends[-1] != value.shape[cut]:
        raise ShapeError(f"{name!r} has shape {value.shape}, its parts {sizes}")
    for part, values in zip(parts, np.split(value, ends[:-1], cut), strict=True):
        _begin_with(part, values)


def init_from_checkpoint(ckpt_dir_or_file: str, assignment_map: Named) -> None:
    """Make variables begin with values of a checkpoint (or of a directory's newest one). To be
    called after the variables are made and before the operation that initialises them.

    `assignment_map`: pairs of a name in the checkpoint and a variable (or its name, or the parts of
    one); or of a scope there and one here, both ending in "/" ("/" alone: all). Raises
    `NotFoundError` naming what is missing, and `ShapeError`.
    """
    reader = load_checkpoint(ckpt_dir_or_file)
    items = assignment_map.items() if isinstance(assignment_map, Mapping) else assignment_map
    every = _names()
    for name, target in items:
        if not isinstance(target, str):
            _set(reader, name.removesuffix(":0"), target)
        elif target.endswith("/"):
            _set_scope(reader, name, target, every)
        elif target in every:
            _set(reader, name, every[target])
        else:
            parts = _parts(target, every)
            if not parts:
                raise NotFoundError(f"no variable is named {target!r}")
            _set(reader, name, parts)


def _parts(name: str, every: Mapping[str, Variable]) -> list[Variable]:
    found: list[Variable] = []
    while (part := every.get(f"{name}/part_{len(found)}")) is not None:
        found.append(part)
    return found


def _set_scope(
    reader: CheckpointReader, source: str, target: str, every: Mapping[str, Variable]
) -> None:
    if not source.endswith("/"):
        raise InvalidArgumentError(f"{source!r} is mapped to the scope {target!r}: end it with '/'")
    here, there = ("" if s == "/" else s for s in (target, source))
    inside = [n for n in every if n.startswith(here)]
    if not inside:
        raise NotFoundError(f"no variable is in the scope {target!r}")
    done: set[str] = set()
    for name in inside:
        whole = re.sub(r"/part_\d+$", "", name)
        if whole in done:
            continue
        done.add(whole)
        parts = _parts(whole, every)
        tensor = there + whole[len(here) :]
        if parts and not reader.has_tensor(there + name[len(here) :]):
            _set(reader, tensor, parts)
        else:
            done.discard(whole)
            _set(reader, there + name[len(here) :], every[name])


def warm_start(
    ckpt_to_initialize_from: str,
    vars_to_warm_start: Any = ".*",
    var_name_to_vocab_info: Any = None,
    var_name_to_prev_var_name: Mapping[str, str] | None = None,
) -> None:
    """Make the trainable variables whose name begins with a match of the regular expression
    `vars_to_warm_start` (or is one of a list of names or variables) begin with the values of a
    checkpoint, where `var_name_to_prev_var_name` says under which name, if it is another. None:
    only those that this names."""
    if var_name_to_vocab_info:
        raise InvalidArgumentError("vocabularies are text, which graphs do not hold here")
    earlier = dict(var_name_to_prev_var_name or {})
    every = _names()
    chosen: dict[str, Variable]
    if vars_to_warm_start is None:
        chosen = {}
    elif isinstance(vars_to_warm_start, str):
        fits = [v for v in trainable_variables() if re.match(vars_to_warm_start, v.name)]
        chosen = {v.op.attrs["shared_name"]: v for v in fits}
    else:
        chosen = {}
        for item in vars_to_warm_start:
            name = item.op.attrs["shared_name"] if isinstance(item, Variable) else item
            if name not in every:
                raise NotFoundError(f"no variable is named {name!r}")
            chosen[name] = every[name]
    unknown = sorted(set(earlier) - set(every))
    if unknown:
        raise NotFoundError(f"no variable is named {unknown[0]!r}")
    chosen |= {name: every[name] for name in earlier}
    pairs = [(earlier.get(name, name), variable) for name, variable in chosen.items()]
    init_from_checkpoint(ckpt_to_initialize_from, pairs)
