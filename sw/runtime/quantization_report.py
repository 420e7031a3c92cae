"""What quantisation cost: the noise that each layer has gained, and the change in accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sw.compiler.regions import chains
from sw.compiler.unit import Unit
from sw.graph.errors import InvalidArgumentError
from sw.graph.graph import Graph
from sw.runtime.quantize import QUANTIZED_FROM, Feeds, named_feeds, observe


@dataclass(frozen=True)
class LayerNoise:
    """A layer of `op`: the signal-to-noise ratio in decibels of its int8 result against the float
    network's, all noise of the layers before included (None: no difference), and the largest
    difference as a share of the largest value."""

    name: str
    op: str
    signal_to_noise: float | None
    largest_error: float


@dataclass(frozen=True)
class QuantizationReport:
    """`layers` in order; the last fetch's top-1 answers over `samples` rows: how many agree, and
    with labels how many are right. They are None where the last fetch has no classes."""

    layers: tuple[LayerNoise, ...]
    samples: int
    top1_agreement: float | None
    accuracy_float: float | None
    accuracy_int8: float | None

    def to_dict(self) -> dict[str, Any]:
        """As data for JSON."""
        return {**asdict(self), "layers": [asdict(layer) for layer in self.layers]}

    def __str__(self) -> str:
        width = max([5, *(len(layer.name) for layer in self.layers)])
        lines = [f"{'layer':<{width}}  {'op':<16}  SNR (dB)  largest error"]
        for layer in self.layers:
            ratio = "exact" if layer.signal_to_noise is None else f"{layer.signal_to_noise:.1f}"
            lines.append(
                f"{layer.name:<{width}}  {layer.op:<16}  {ratio:>8}  {layer.largest_error:>13.2%}"
            )
        return "\n".join([*lines, *(f"{what}: {value}" for what, value in self.summary())])

    def summary(self) -> list[tuple[str, str]]:
        """Accuracy in words."""
        rows = []
        if self.top1_agreement is not None:
            rows.append(("top-1 agreement", f"{self.top1_agreement:.2%} of {self.samples} samples"))
        if self.accuracy_float is not None and self.accuracy_int8 is not None:
            change = 100 * (self.accuracy_int8 - self.accuracy_float)
            rows.append(
                (
                    "accuracy",
                    f"float {self.accuracy_float:.2%}, int8 {self.accuracy_int8:.2%} "
                    f"({change:+.2f} points)",
                )
            )
        return rows


@dataclass
class _Sums:
    signal: float = 0.0
    noise: float = 0.0
    largest: float = 0.0
    error: float = 0.0

    def add(self, real: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> None:
        exact, wrong = real.astype(np.float64), found.astype(np.float64) - real
        self.signal += float(np.sum(exact**2))
        self.noise += float(np.sum(wrong**2))
        self.largest = max(self.largest, float(np.abs(exact).max(initial=0)))
        self.error = max(self.error, float(np.abs(wrong).max(initial=0)))

    def ratio(self) -> float | None:
        if not self.noise:
            return None
        return 10 * math.log10(self.signal / self.noise) if self.signal else -math.inf


def quantization_report(
    graph: Graph, data: Iterable[Feeds], labels: Iterable[Any] | None = None
) -> QuantizationReport:
    """Compare a graph that `st.quantize` made with the float network that it was made from.

    `data` yields feed dicts, `labels` (if given) an integer array for each of them. Both networks
    run: the float one on the CPU, the int8 one where it was put, on the functional simulator.
    Raises `InvalidArgumentError` for a graph that `st.quantize` did not make in this process,
    without data, or if data and labels do not match.
    """
    found = graph.get_collection(QUANTIZED_FROM)
    if not found:
        raise InvalidArgumentError("only a graph that st.quantize has made can be reported on")
    unit: Unit = found[0]
    feeds = list(named_feeds(graph, data))
    truth = None if labels is None else [np.asarray(item).ravel() for item in labels]
    if not feeds or truth is not None and len(truth) != len(feeds):
        raise InvalidArgumentError("one feed dict or more is needed, and labels for each of them")
    layers = {chain.end.outputs[0].name: chain.linear for chain in chains(unit)}
    last = unit.fetches[-1].name
    names = list(dict.fromkeys([*layers, last]))
    sums = {name: _Sums() for name in layers}
    answers: list[tuple[Any, Any]] = []
    both = zip(observe(unit.graph, names, feeds), observe(graph, names, feeds), strict=True)
    for real, int8 in both:
        for name in layers:
            sums[name].add(real[name], int8[name])
        if real[last].ndim == 2 and real[last].shape[1] > 1:
            answers.append((real[last].argmax(1), int8[last].argmax(1)))
    return QuantizationReport(
        tuple(
            LayerNoise(
                op.name.removesuffix("/float"),
                op.type,
                sums[name].ratio(),
                sums[name].error / (sums[name].largest or 1.0),
            )
            for name, op in layers.items()
        ),
        sum(len(real) for real, _ in answers),
        **_accuracy(answers, truth),
    )


def _accuracy(answers: list[tuple[Any, Any]], truth: list[Any] | None) -> Mapping[str, Any]:
    result: dict[str, float | None] = dict.fromkeys(
        ("top1_agreement", "accuracy_float", "accuracy_int8")
    )
    if not answers:
        return result
    real, int8 = (np.concatenate([pair[i] for pair in answers]) for i in (0, 1))
    result["top1_agreement"] = float((real == int8).mean())
    if truth is not None:
        known = np.concatenate(truth)
        if known.shape != real.shape:
            raise InvalidArgumentError(f"{len(known)} labels for {len(real)} samples")
        result["accuracy_float"] = float((real == known).mean())
        result["accuracy_int8"] = float((int8 == known).mean())
    return result
