"""Post-training quantisation: `st.quantize`, from a trained float graph to an int8 one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw.compiler.absorb import absorb
from sw.compiler.calibration import Histogram, check
from sw.compiler.correct import correct_biases, measure_shifts
from sw.compiler.equalise import boundaries, channel_peaks, equalise
from sw.compiler.freeze import freeze
from sw.compiler.heads import separate_heads
from sw.compiler.prune import prune
from sw.compiler.qdq import Ranges, insert_qdq
from sw.compiler.regions import regions
from sw.compiler.regroup import regroup, unshuffle
from sw.compiler.unit import Unit, rebuild
from sw.compiler.unroll import unroll
from sw.graph.device import parse
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph
from sw.graph.tensor import Tensor
from sw.runtime.session import Session, get_default_session
from sw.runtime.structure import leaves

Feeds = Mapping[Any, Any]
NO_DATA = "quantize needs at least one feed dict with values to calibrate"
QUANTIZED_FROM = "quantized_from"
"""The collection that holds the float unit of a quantised graph, for its report."""


def quantize(
    fetches: Any,
    calibration: Iterable[Feeds],
    *,
    session: Session | None = None,
    method: str = "minmax",
    percentile: float = 99.99,
    equalize: bool = False,
    bias_correction: bool = False,
    device: str = "/tpu:0",
) -> Graph:
    """An int8 graph in QDQ form of what `fetches` (tensors or names, nested) need.

    `session` (default: the default one) holds the variables, which become constants.
    `calibration` yields feed dicts of typical values, for which the float graph is run on the CPU
    to learn the range of every activation: all of it (`method` "minmax"), what holds `percentile`
    per cent of its values ("percentile"), or the range with the least squared error ("mse").
    Activations become asymmetric int8 per tensor, weights symmetric int8 per output channel,
    biases int32.

    `equalize` first evens out the channels between layers (cross-layer equalisation, for
    depthwise networks above all); `bias_correction` takes the mean error of the rounded weights
    out of the biases.

    The quantised ops are put on `device`. The new graph is fed and fetched by the old names,
    except for what lies within a batch normalisation or a channel shuffle, which become part of
    the weights, within a grouped convolution, which becomes one with zeros between its groups, and
    between equalised layers, where values are scaled.

    Raises `InvalidArgumentError` without calibration data, for an unknown method and for values
    that are not finite.
    """
    check(method, percentile)
    parse(device)
    run_in = session if session is not None else get_default_session()
    if run_in is None:
        raise InvalidArgumentError("quantize needs a session that holds the variables")
    home = run_in.graph
    given = frozen_unit(fetches, run_in)
    frozen = unshuffle(separate_heads(absorb(regroup(unroll(given)))))
    feeds = list(named_feeds(home, calibration))
    if not feeds:
        raise InvalidArgumentError(NO_DATA)
    if equalize:
        frozen = equalise(frozen, _peaks(frozen, feeds))
    ranges = calibrate(frozen, feeds, method, percentile)
    corrected = correct_biases(frozen, _shifts(frozen, feeds)) if bias_correction else frozen
    graph = insert_qdq(corrected, ranges, device).graph
    graph.add_to_collection(QUANTIZED_FROM, _on_cpu(frozen))
    there = {tensor.name for op in graph.get_operations() for tensor in op.outputs}
    for ours, theirs in ((graph.inputs, home.inputs), (graph.outputs, home.outputs)):
        for name, tensor in theirs.items():
            if tensor.name in there:
                ours[name] = graph.get_tensor_by_name(tensor.name)
    return graph


def frozen_unit(fetches: Any, session: Session) -> Unit:
    """What `fetches` need, with the session's variables as constants."""
    graph = session.graph
    tensors = tuple(dict.fromkeys(_tensor(graph, item) for item in leaves(fetches)))
    unit = prune(Unit(graph, fetches=tensors))
    reads = [op.name for op in unit.graph.get_operations() if op.type == "read_variable"]
    values = session.run([f"{name}:0" for name in reads]) if reads else []
    return freeze(unit, dict(zip(reads, values, strict=True)))


def calibrate(
    unit: Unit,
    feeds: Iterable[Mapping[str, Any]],
    method: str = "minmax",
    percentile: float = 99.99,
) -> Ranges:
    """The range of every tensor that quantisation needs, over all `feeds` (by tensor name), with
    every op on the CPU."""
    names = [tensor.name for tensor in regions(unit).measured()]
    seen = {name: Histogram() for name in names}
    for values in observe(_on_cpu(unit).graph, names, feeds):
        for name, value in values.items():
            seen[name].add(value)
    if any(histogram.low > histogram.high for histogram in seen.values()):
        raise InvalidArgumentError(NO_DATA)
    return {name: histogram.range(method, percentile) for name, histogram in seen.items()}


def observe(
    graph: Graph, names: Sequence[str], feeds: Iterable[Mapping[str, Any]]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """The values of the named tensors for each of `feeds`."""
    with Session(graph=graph) as session:
        for feed in feeds:
            yield dict(zip(names, session.run(list(names), feed) if names else [], strict=True))


def named_feeds(graph: Graph, feeds: Iterable[Feeds]) -> Iterator[Mapping[str, Any]]:
    """The same feeds with tensors' names as keys."""
    for feed in feeds:
        if not isinstance(feed, Mapping):
            raise InvalidArgumentError(f"calibration yields feed dicts, not {type(feed).__name__}")
        yield {_tensor(graph, key).name: value for key, value in feed.items()}


def _on_cpu(unit: Unit) -> Unit:
    return rebuild(
        unit, None, lambda op, graph, inputs, controls: graph.copy_op(op, inputs, controls, "")
    )


def _peaks(unit: Unit, feeds: Iterable[Mapping[str, Any]]) -> dict[str, NDArray[np.float32]]:
    """The largest magnitude of each channel of what `equalise` asks for."""
    names = [at.tensor.name for at in boundaries(unit)]
    peaks: dict[str, NDArray[np.float32]] = {}
    for values in observe(_on_cpu(unit).graph, names, feeds):
        for name, value in values.items():
            known = [peaks[name]] if name in peaks else []
            peaks[name] = channel_peaks([value, *known])
    return peaks


def _shifts(unit: Unit, feeds: Iterable[Mapping[str, Any]]) -> dict[str, NDArray[np.float32]]:
    """What rounding its weights adds to the mean of each channel of each layer."""
    graph, names = measure_shifts(unit)
    runs = list(observe(graph, list(names.values()), feeds))
    return {layer: np.mean([run[name] for run in runs], axis=0) for layer, name in names.items()}


def _tensor(graph: Graph, item: Any) -> Tensor:
    element = graph.as_graph_element(item)
    if not isinstance(element, Tensor):
        raise InvalidArgumentError(f"cannot quantise {element!r}: it is an operation")
    return element
