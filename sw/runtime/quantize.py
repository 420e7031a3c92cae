"""Post-training quantisation: `st.quantize`, from a trained float graph to an int8 one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from sw.compiler.absorb import absorb
from sw.compiler.freeze import freeze
from sw.compiler.prune import prune
from sw.compiler.qdq import Ranges, insert_qdq, measured
from sw.compiler.unit import Unit, rebuild
from sw.graph.device import parse
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph
from sw.graph.tensor import Tensor
from sw.runtime.session import Session, get_default_session
from sw.runtime.structure import leaves

METHODS = ("minmax",)
Feeds = Mapping[Any, Any]


def quantize(
    fetches: Any,
    calibration: Iterable[Feeds],
    *,
    session: Session | None = None,
    method: str = "minmax",
    device: str = "/tpu:0",
) -> Graph:
    """An int8 graph in QDQ form of what `fetches` (tensors or names, nested) need.

    `session` (default: the default one) holds the variables, which become constants.
    `calibration` yields feed dicts of typical values, for which the float graph is run on the CPU
    to learn the range of every activation. Activations become asymmetric int8 per tensor, weights
    symmetric int8 per output channel, biases int32. The quantised ops are put on `device`. The
    new graph is fed and fetched by the old names, except for what lies within a batch
    normalisation, which becomes part of the weights.

    Raises `InvalidArgumentError` without calibration data, for an unknown method and for values
    that are not finite.
    """
    if method not in METHODS:
        raise InvalidArgumentError(f"method {method!r}: should be one of {', '.join(METHODS)}")
    parse(device)
    run_in = session if session is not None else get_default_session()
    if run_in is None:
        raise InvalidArgumentError("quantize needs a session that holds the variables")
    graph = run_in.graph
    tensors = tuple(dict.fromkeys(_tensor(graph, item) for item in leaves(fetches)))
    unit = prune(Unit(graph, fetches=tensors))
    reads = [op.name for op in unit.graph.get_operations() if op.type == "read_variable"]
    values = run_in.run([f"{name}:0" for name in reads]) if reads else []
    frozen = absorb(freeze(unit, dict(zip(reads, values, strict=True))))
    ranges = calibrate(frozen, _named(graph, calibration))
    return insert_qdq(frozen, ranges, device).graph


def calibrate(unit: Unit, feeds: Iterable[Mapping[str, Any]]) -> Ranges:
    """The lowest and highest value of every tensor that quantisation needs, over all `feeds`
    (by tensor name), with every op on the CPU."""
    on_cpu = rebuild(
        unit, None, lambda op, graph, inputs, controls: graph.copy_op(op, inputs, controls, "")
    )
    names = [tensor.name for tensor in measured(on_cpu)]
    ranges: dict[str, tuple[float, float]] = {}
    runs = 0
    with Session(graph=on_cpu.graph) as session:
        for feed in feeds:
            runs += 1
            for name, value in zip(names, session.run(names, feed) if names else [], strict=True):
                if value.size:
                    low, high = float(np.min(value)), float(np.max(value))
                    known = ranges.get(name, (low, high))
                    # np.minimum, unlike min, lets NaN through, to be reported
                    ranges[name] = (
                        float(np.minimum(known[0], low)),
                        float(np.maximum(known[1], high)),
                    )
    missing = [name for name in names if name not in ranges]
    if not runs or missing:
        raise InvalidArgumentError("quantize needs at least one feed dict with values to calibrate")
    return ranges


def _tensor(graph: Graph, item: Any) -> Tensor:
    element = graph.as_graph_element(item)
    if not isinstance(element, Tensor):
        raise InvalidArgumentError(f"cannot quantise {element!r}: it is an operation")
    return element


def _named(graph: Graph, calibration: Iterable[Feeds]) -> Iterable[Mapping[str, Any]]:
    for feed in calibration:
        if not isinstance(feed, Mapping):
            raise InvalidArgumentError(f"calibration yields feed dicts, not {type(feed).__name__}")
        yield {_tensor(graph, key).name: value for key, value in feed.items()}
