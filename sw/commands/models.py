"""Model files on the command line: reading them, feeding them, saying what became of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

import systolica as st
from hw.tpu.config import TpuConfig
from sim.memory import MemoryTiming
from sw.commands.answer import CommandError
from sw.compiler.unit import Fallback
from sw.graph.graph import Graph
from sw.graph.onnx.importer import import_onnx
from sw.graph.tensor import Tensor
from sw.runtime.profiling.profile import random_value

INTEGER_OPS = ("dequantize_linear", "qlinear_conv", "qlinear_matmul")
MOST_NAMES = 4
"""Names of ops that are written out for one reason of a fallback."""


def load(path: Path, shapes: Iterable[str] = (), device: str | None = None) -> Graph:
    """The graph of an ONNX file; `shapes` are texts NAME=1x3x224x224."""
    given = {}
    for text in shapes:
        name, equals, sizes = text.rpartition("=")
        if not equals or not re.fullmatch(r"\d+([x,]\d+)*", sizes):
            raise CommandError(f"--shape {text}: want NAME=SIZExSIZE...")
        given[name] = tuple(int(size) for size in re.split("[x,]", sizes))
    return import_onnx(path, shapes=given, device=device)


def sized(graph: Graph) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """The shape of each input by tensor name, unknown sizes taken as 1; and notes that say so."""
    shapes, notes = {}, []
    for name, tensor in graph.inputs.items():
        dims = tensor.shape.dims
        if dims is None:
            raise CommandError(f"input {name!r} has no known rank: give --shape {name}=...")
        shapes[tensor.name] = tuple(1 if size is None else size for size in dims)
        if None in dims:
            notes.append(f"input {name!r} {tensor.shape}: unknown sizes are taken as 1 (--shape)")
    return shapes, notes


def is_quantised(graph: Graph) -> bool:
    """Whether the model computes with integers."""
    return any(op.type in INTEGER_OPS for op in graph.get_operations())


def quantised_at_random(graph: Graph) -> Graph:
    """An int8 graph for the cycles, which do not depend on the scales."""
    shapes, _ = sized(graph)
    rng = np.random.default_rng(0)
    feed: dict[Any, Any] = {}
    for tensor in graph.inputs.values():
        value = random_value(tensor, rng)
        feed[tensor.name] = np.resize(value, shapes[tensor.name])
    with st.Session(graph=graph) as session:
        return st.quantize(list(graph.outputs.values()), [feed], session=session)


def read_inputs(
    graph: Graph, texts: Iterable[str], random: int | None
) -> dict[Tensor, NDArray[Any]]:
    """What to feed: NAME=FILE.npy texts, random values for the rest if `random` is a seed."""
    feeds: dict[Tensor, NDArray[Any]] = {}
    for text in texts:
        name, equals, file = text.rpartition("=")
        if not equals or name not in graph.inputs:
            raise CommandError(
                f"--input {text}: want NAME=FILE.npy, NAME one of {sorted(graph.inputs)}"
            )
        feeds[graph.inputs[name]] = read_array(Path(file))
    rng = np.random.default_rng(random)
    for name, tensor in graph.inputs.items():
        if tensor in feeds:
            continue
        if random is None:
            raise CommandError(
                f"input {name!r}, {tensor.dtype} {tensor.shape}, is missing: give --input "
                f"{name}=FILE.npy, or --random SEED"
            )
        feeds[tensor] = random_value(tensor, rng)
    return feeds


def read_array(path: Path) -> NDArray[Any]:
    """A .npy file of numbers."""
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise CommandError(f"{path}: not a .npy file of numbers") from None
    if not isinstance(values, np.ndarray):
        raise CommandError(f"{path}: not a single array (.npz?)")
    return values


def write_arrays(arrays: Mapping[str, NDArray[Any]], folder: Path) -> dict[str, str]:
    """Name to file; file names keep only what every file system takes."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    for name, values in arrays.items():
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", name)
        while str(folder / f"{stem}.npy") in files.values():
            stem += "_"
        np.save(folder / f"{stem}.npy", values)
        files[name] = str(folder / f"{stem}.npy")
    return files


def dump_into(folder: Path | None) -> Callable[[str, str], None] | None:
    """Writes the text of each pass into a file of its own, numbered in order."""
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    count = 0

    def dump(name: str, text: str) -> None:
        nonlocal count
        (folder / f"{count:02d}-{name}.txt").write_text(text + "\n")
        count += 1

    return dump


def fallback_table(fallback: Sequence[Fallback]) -> list[Any]:
    """One row for each kind of op and reason; nothing if there is none."""
    if not fallback:
        return []
    groups: dict[tuple[str, str], list[str]] = {}
    for item in fallback:
        groups.setdefault((item.op, item.reason), []).append(item.name)
    table = Table(box=None, pad_edge=False, title="on the CPU", title_justify="left")
    for heading in ("op", "times", "why", "names"):
        table.add_column(heading, overflow="fold")
    for (op, reason), names in groups.items():
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        table.add_row(op, str(len(names)), reason, ", ".join(names[:MOST_NAMES]) + more)
    return [table]


def core(text: str) -> TpuConfig:
    """The core of a --config text."""
    return TpuConfig.parse(text)


def memory_timing(text: str) -> MemoryTiming:
    """The timing of a --memory text."""
    try:
        return MemoryTiming.parse(text)
    except (ValueError, TypeError) as error:
        raise CommandError(f"--memory: {error}") from None
