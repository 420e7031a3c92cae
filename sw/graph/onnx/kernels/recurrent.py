"""RNN, GRU and LSTM with every option of the standard."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sw.graph.onnx.registry import kernel

Array = Any


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _activation(name: str, alpha: float | None, beta: float | None) -> Any:
    def a(default: float) -> float:
        return default if alpha is None else alpha

    def b(default: float) -> float:
        return default if beta is None else beta

    table = {
        "relu": lambda x: np.maximum(x, 0),
        "tanh": np.tanh,
        "sigmoid": _sigmoid,
        "affine": lambda x: a(1.0) * x + b(0.0),
        "leakyrelu": lambda x: np.where(x >= 0, x, a(0.01) * x),
        "thresholdedrelu": lambda x: np.where(x >= a(1.0), x, 0),
        "scaledtanh": lambda x: a(1.0) * np.tanh(b(1.0) * x),
        "hardsigmoid": lambda x: np.clip(a(0.2) * x + b(0.5), 0, 1),
        "elu": lambda x: np.where(x >= 0, x, a(1.0) * np.expm1(x)),
        "softsign": lambda x: x / (1 + np.abs(x)),
        "softplus": lambda x: np.log1p(np.exp(x)),
    }
    if name.lower() not in table:
        raise ValueError(f"activation {name!r} is not known")
    return table[name.lower()]


def _run(
    step: Any,
    x: Array,
    states: list[Array],
    lengths: Array | None,
    directions: int,
    reverse_first: bool,
) -> tuple[Array, list[Array]]:
    """Turns over time: `step(d, x_t, states)` gives the new states, the first being the output.
    x: [T, N, I]; states: [D, N, H] each. Gives Y [T, D, N, H] and the last states."""
    steps, batch = x.shape[:2]
    if lengths is None:
        lengths = np.full(batch, steps)
    y = np.zeros((steps, directions, batch, states[0].shape[-1]), x.dtype)
    finals = [np.array(s) for s in states]
    for d in range(directions):
        backwards = reverse_first or d == 1
        now = [s[d] for s in states]
        for turn in range(steps):
            # backwards, each row starts at its own end
            place = np.where(turn < lengths, lengths - 1 - turn if backwards else turn, 0)
            rows = np.arange(batch)
            alive = (turn < lengths)[:, None]
            new = step(d, x[place, rows], now)
            now = [np.where(alive, n, o) for n, o in zip(new, now, strict=True)]
            live = rows[alive[:, 0]]
            y[place[live], d, live] = now[0][live]
        for final, state in zip(finals, now, strict=True):
            final[d] = state
    return y, finals


def _prepare(
    x: Array, layout: int, direction: str, states: list[Array | None], hidden: int
) -> tuple[Array, int, list[Array]]:
    if layout:
        x = np.swapaxes(x, 0, 1)
    count = 2 if direction == "bidirectional" else 1
    zero = np.zeros((count, x.shape[1], hidden), x.dtype)
    given = [zero if s is None else np.swapaxes(s, 0, 1) if layout else s for s in states]
    return x, count, given


def _results(y: Array, finals: list[Array], layout: int, types: Any) -> Any:
    if layout:
        y = np.transpose(y, (2, 0, 1, 3))
        finals = [np.swapaxes(f, 0, 1) for f in finals]
    out = (y, *finals)[: len(types)]
    return out if len(types) > 1 else out[0]


def _functions(
    names: Any, alphas: Any, betas: Any, defaults: tuple[str, ...], directions: int
) -> list[Any]:
    names = list(names or defaults * directions)
    alphas, betas = list(alphas or ()), list(betas or ())
    takes_alpha = {"affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu"}
    takes_beta = {"affine", "scaledtanh", "hardsigmoid"}
    out = []
    for name in names:
        alpha = alphas.pop(0) if alphas and name.lower() in takes_alpha else None
        beta = betas.pop(0) if betas and name.lower() in takes_beta else None
        out.append(_activation(name, alpha, beta))
    return out


def _clip(limit: float | None) -> Any:
    if limit is None:
        return lambda x: x
    return lambda x: np.clip(x, -limit, limit)


@dataclass(frozen=True)
class Layer:
    """What a cell knows of its layer: by direction the weights of the input, of the output before,
    and the bias (input's, then output's); the activations in the standard's order; `cut` clips."""

    w: Array
    r: Array
    bias: Array
    functions: list[Any]
    cut: Any

    @property
    def units(self) -> int:
        size: int = self.r.shape[-1]
        return size

    def parts(self, values: Array, count: int) -> list[Array]:
        """The gates of `values`, side by side in the last axis."""
        return [values[..., i * self.units : (i + 1) * self.units] for i in range(count)]


def _layer(
    cell: Any, defaults: tuple[str, ...], gates: int, arrays: tuple[Array, ...],
    states: list[Array | None], given: dict[str, Any],
) -> Any:  # fmt: skip
    """A layer whose `cell(layer, d, x, states)` gives the new states of direction `d`; `arrays` are
    input, weights, bias and lengths, `given` the operator's attributes."""
    x, w, r, b, lengths = arrays
    direction, layout = given["direction"], given["layout"]
    x, count, first = _prepare(x, layout, direction, states, r.shape[-1])
    names = given["activations"], given["activation_alpha"], given["activation_beta"]
    functions = _functions(*names, defaults, count)
    bias = np.zeros((count, 2 * gates * r.shape[-1]), x.dtype) if b is None else b
    layer = Layer(w, r, bias, functions, _clip(given["clip"]))
    y, finals = _run(
        lambda d, xt, now: cell(layer, d, xt, now), x, first, lengths, count, direction == "reverse"
    )
    return _results(y, finals, layout, given["types"])


def _rnn(layer: Layer, d: int, x: Array, state: list[Array]) -> list[Array]:
    both = sum(layer.parts(layer.bias[d], 2))
    return [layer.functions[d](layer.cut(x @ layer.w[d].T + state[0] @ layer.r[d].T + both))]


def _gru(
    layer: Layer, d: int, x: Array, state: list[Array], linear_before_reset: int
) -> list[Array]:
    h, n, cut, r = state[0], layer.units, layer.cut, layer.r[d]
    first, second = layer.functions[2 * d : 2 * d + 2]
    wb, rb = layer.bias[d, : 3 * n], layer.bias[d, 3 * n :]
    gx = layer.parts(x @ layer.w[d].T + wb, 3)
    gh = layer.parts(h @ r[: 2 * n].T + rb[: 2 * n], 2)
    z, reset = (first(cut(a + b)) for a, b in zip(gx[:2], gh, strict=True))
    if linear_before_reset:
        inner = reset * (h @ r[2 * n :].T + rb[2 * n :])
    else:
        inner = (reset * h) @ r[2 * n :].T + rb[2 * n :]
    return [(1 - z) * second(cut(gx[2] + inner)) + z * h]


def _lstm(
    layer: Layer, d: int, x: Array, state: list[Array], peep: Array, input_forget: int
) -> list[Array]:
    h, c = state
    cut = layer.cut
    gate, inner, outer = layer.functions[3 * d : 3 * d + 3]
    half = layer.bias.shape[1] // 2
    z = x @ layer.w[d].T + h @ layer.r[d].T + layer.bias[d, :half] + layer.bias[d, half:]
    zi, zo, zf, zc = layer.parts(z, 4)
    pi, po, pf = layer.parts(peep[d], 3)
    i = gate(cut(zi + pi * c))
    forget = 1 - i if input_forget else gate(cut(zf + pf * c))
    new = forget * c + i * inner(cut(zc))
    return [gate(cut(zo + po * new)) * outer(new), new]


@kernel("RNN")
def rnn(
    x: Array, w: Array, r: Array, b: Array = None, lengths: Array = None, h: Array = None, *,
    activation_alpha: Any = None, activation_beta: Any = None, activations: Any = None,
    clip: Any = None, direction: str = "forward", hidden_size: Any = None, layout: int = 0,
    types: Any,
) -> Any:  # fmt: skip
    return _layer(_rnn, ("Tanh",), 1, (x, w, r, b, lengths), [h], locals())


@kernel("GRU")
def gru(
    x: Array, w: Array, r: Array, b: Array = None, lengths: Array = None, h: Array = None, *,
    activation_alpha: Any = None, activation_beta: Any = None, activations: Any = None,
    clip: Any = None, direction: str = "forward", hidden_size: Any = None, layout: int = 0,
    linear_before_reset: int = 0, types: Any,
) -> Any:  # fmt: skip
    cell = partial(_gru, linear_before_reset=linear_before_reset)
    return _layer(cell, ("Sigmoid", "Tanh"), 3, (x, w, r, b, lengths), [h], locals())


@kernel("LSTM")
def lstm(
    x: Array, w: Array, r: Array, b: Array = None, lengths: Array = None, h: Array = None,
    c: Array = None, p: Array = None, *,
    activation_alpha: Any = None, activation_beta: Any = None, activations: Any = None,
    clip: Any = None, direction: str = "forward", hidden_size: Any = None, input_forget: int = 0,
    layout: int = 0, types: Any,
) -> Any:  # fmt: skip
    peep = np.zeros((len(r), 3 * r.shape[-1]), x.dtype) if p is None else p
    cell = partial(_lstm, peep=peep, input_forget=input_forget)
    defaults = ("Sigmoid", "Tanh", "Tanh")
    return _layer(cell, defaults, 4, (x, w, r, b, lengths), [h, c], locals())
