"""The optimisers of ai.onnx.preview.training: R, T, then X..., G..., state... for each tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw.graph.onnx.registry import TRAINING, kernel

Array = Any


def _columns(values: Any, width: int) -> list[tuple[Array, ...]]:
    """The operands of each optimised tensor: (x, gradient, state...)."""
    count = len(values) // width
    return [tuple(values[i + count * k] for k in range(width)) for i in range(count)]


def _results(rows: list[tuple[Array, ...]]) -> Any:
    kept = [np.asarray(v) for column in zip(*rows, strict=True) for v in column]
    return tuple(kept) if len(kept) > 1 else kept[0]


@kernel("Adagrad", domain=TRAINING)
def adagrad(
    rate: Array,
    step: Array,
    *values: Array,
    decay_factor: float = 0.0,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
) -> Any:
    r = rate / (1 + step * decay_factor)
    rows = []
    for x, g, h in _columns(values, 3):
        g = g + norm_coefficient * x
        total = h + g * g
        new = x - r * g / (np.sqrt(total) + epsilon)
        rows.append((new.astype(x.dtype), total.astype(h.dtype)))
    return _results(rows)


@kernel("Adam", domain=TRAINING)
def adam(
    rate: Array,
    step: Array,
    *values: Array,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> Any:
    t = int(step)
    r = rate * np.sqrt(1 - beta**t) / (1 - alpha**t) if t > 0 else rate
    rows = []
    for x, g, v, h in _columns(values, 4):
        g = g + norm_coefficient * x
        v_new = alpha * v + (1 - alpha) * g
        h_new = beta * h + (1 - beta) * g * g
        new = (1 - norm_coefficient_post) * (x - r * v_new / (np.sqrt(h_new) + epsilon))
        rows.append(tuple(a.astype(x.dtype) for a in (new, v_new, h_new)))
    return _results(rows)


@kernel("Momentum", domain=TRAINING)
def momentum(
    rate: Array,
    step: Array,
    *values: Array,
    alpha: float,
    beta: float,
    mode: str,
    norm_coefficient: float,
) -> Any:
    rows = []
    for x, g, v in _columns(values, 3):
        g = g + norm_coefficient * x
        v_new = alpha * v + (beta if int(step) > 0 else 1.0) * g
        change = g + alpha * v_new if mode == "nesterov" else v_new
        rows.append(tuple(a.astype(x.dtype) for a in (x - rate * change, v_new)))
    return _results(rows)
