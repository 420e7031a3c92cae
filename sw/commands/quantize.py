"""`quantize`: a float model to an int8 one, in the standard's QDQ form."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

import systolica as st
from sw.commands import models
from sw.commands.answer import Answer, CommandError, facts
from sw.compiler.qdq import not_quantised
from sw.graph.graph import Graph
from sw.runtime.export import export_onnx

LABELS = "labels"
BATCH = 32
"""Samples that run at once where the model lets us choose."""


@dataclass(frozen=True)
class Options:
    """How to quantise; `samples` bounds how many of the data are used (0: all)."""

    method: str = "minmax"
    percentile: float = 99.99
    equalize: bool = False
    bias_correction: bool = False
    samples: int = 0


def quantize(path: Path, data: Path, output: Path, options: Options) -> Answer:
    """Calibrate, quantise, write, and report what it cost."""
    graph = models.load(path)
    if models.is_quantised(graph):
        raise CommandError(f"{path}: this model is quantised already")
    if not output.parent.is_dir():
        raise CommandError(f"{output}: there is no folder {output.parent}")
    feeds, labels = read_data(graph, data, options.samples)
    with st.Session(graph=graph) as session:
        made = st.quantize(
            list(graph.outputs.values()), feeds, session=session, method=options.method,
            percentile=options.percentile, equalize=options.equalize,
            bias_correction=options.bias_correction,
        )  # fmt: skip
    export_onnx(made, output)
    report = st.quantization_report(made, feeds, labels)
    fallback = not_quantised(made)
    data_out = {
        **report.to_dict(),
        "outputs": {"model": str(output)},
        "method": options.method,
        "calibration_samples": sum(len(next(iter(feed.values()))) for feed in feeds),
        "fallback": [asdict(item) for item in fallback],
    }
    table = Table(box=None, pad_edge=False)
    for heading in ("layer", "op", "SNR (dB)", "largest error"):
        table.add_column(
            heading, justify="right" if "err" in heading or "SNR" in heading else "left"
        )
    for layer in report.layers:
        ratio = "exact" if layer.signal_to_noise is None else f"{layer.signal_to_noise:.1f}"
        table.add_row(layer.name, layer.op, ratio, f"{layer.largest_error:.2%}")
    shown: list[Any] = [table, facts(report.summary()), *models.fallback_table(fallback)]
    return Answer(data_out, [*shown, f"model: {output}"])


def read_data(
    graph: Graph, path: Path, most: int
) -> tuple[list[dict[str, NDArray[Any]]], list[NDArray[Any]] | None]:
    """Feeds by tensor name, in batches that the model takes, and the labels of each batch if the
    file has any."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, EOFError, AttributeError, TypeError):
        raise CommandError(f"{path}: not a .npz file of arrays") from None
    labels = arrays.pop(LABELS, None) if LABELS not in graph.inputs else None
    if len(graph.inputs) == 1 and len(arrays) == 1:  # then the name says nothing
        arrays = dict(zip(graph.inputs, arrays.values(), strict=True))
    if set(arrays) != set(graph.inputs):
        raise CommandError(
            f"{path} holds {sorted(arrays)}; the model's inputs are {sorted(graph.inputs)}"
        )
    counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    count = min(counts.values(), default=0)
    if len(set(counts.values())) != 1 or not count or labels is not None and len(labels) != count:
        known = counts if labels is None else {**counts, LABELS: len(labels)}
        raise CommandError(f"{path}: all arrays hold as many samples, at least one, not {known}")
    batch = _batch(graph) or BATCH
    count = min(count, most) if most else count
    if _batch(graph):
        count -= count % batch
    if not count:
        raise CommandError(f"{path}: the model takes {batch} samples at once, there are fewer")
    starts = range(0, count, batch)
    feeds = [
        {graph.inputs[n].name: a[i : min(i + batch, count)] for n, a in arrays.items()}
        for i in starts
    ]
    return feeds, None if labels is None else [labels[i : min(i + batch, count)] for i in starts]


def _batch(graph: Graph) -> int | None:
    """The first size that all inputs have, None if the model leaves it open."""
    sizes = {(t.shape.dims or (None,))[0] for t in graph.inputs.values()}
    size = sizes.pop() if len(sizes) == 1 else None
    return size
