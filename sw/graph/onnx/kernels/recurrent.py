"""RNN, GRU and LSTM with every option of the standard."""

from __future__ import annotations

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


@kernel("RNN")
def rnn(
    x: Array,
    w: Array,
    r: Array,
    b: Array = None,
    lengths: Array = None,
    h: Array = None,
    *,
    activation_alpha: Any = None,
    activation_beta: Any = None,
    activations: Any = None,
    clip: Any = None,
    direction: str = "forward",
    hidden_size: Any = None,
    layout: int = 0,
    types: Any,
) -> Any:
    hidden = r.shape[-1]
    x, count, (h0,) = _prepare(x, layout, direction, [h], hidden)
    f = _functions(activations, activation_alpha, activation_beta, ("Tanh",), count)
    bias = np.zeros((count, 2 * hidden), x.dtype) if b is None else b
    cut = _clip(clip)

    def step(d: int, xt: Array, state: list[Array]) -> list[Array]:
        both = bias[d, :hidden] + bias[d, hidden:]
        return [f[d](cut(xt @ w[d].T + state[0] @ r[d].T + both))]

    y, finals = _run(step, x, [h0], lengths, count, direction == "reverse")
    return _results(y, finals, layout, types)


@kernel("GRU")
def gru(
    x: Array,
    w: Array,
    r: Array,
    b: Array = None,
    lengths: Array = None,
    h: Array = None,
    *,
    activation_alpha: Any = None,
    activation_beta: Any = None,
    activations: Any = None,
    clip: Any = None,
    direction: str = "forward",
    hidden_size: Any = None,
    layout: int = 0,
    linear_before_reset: int = 0,
    types: Any,
) -> Any:
    n = r.shape[-1]
    x, count, (h0,) = _prepare(x, layout, direction, [h], n)
    f = _functions(activations, activation_alpha, activation_beta, ("Sigmoid", "Tanh"), count)
    bias = np.zeros((count, 6 * n), x.dtype) if b is None else b
    cut = _clip(clip)

    def step(d: int, xt: Array, state: list[Array]) -> list[Array]:
        h, first, second = state[0], f[2 * d], f[2 * d + 1]
        wb, rb = bias[d, : 3 * n], bias[d, 3 * n :]
        gx = xt @ w[d].T + wb
        gh = h @ r[d][: 2 * n].T + rb[: 2 * n]
        z, reset = (
            first(cut(gx[:, i * n : (i + 1) * n] + gh[:, i * n : (i + 1) * n])) for i in (0, 1)
        )
        if linear_before_reset:
            inner = reset * (h @ r[d][2 * n :].T + rb[2 * n :])
        else:
            inner = (reset * h) @ r[d][2 * n :].T + rb[2 * n :]
        new = second(cut(gx[:, 2 * n :] + inner))
        return [(1 - z) * new + z * h]

    y, finals = _run(step, x, [h0], lengths, count, direction == "reverse")
    return _results(y, finals, layout, types)


@kernel("LSTM")
def lstm(
    x: Array,
    w: Array,
    r: Array,
    b: Array = None,
    lengths: Array = None,
    h: Array = None,
    c: Array = None,
    p: Array = None,
    *,
    activation_alpha: Any = None,
    activation_beta: Any = None,
    activations: Any = None,
    clip: Any = None,
    direction: str = "forward",
    hidden_size: Any = None,
    input_forget: int = 0,
    layout: int = 0,
    types: Any,
) -> Any:
    n = r.shape[-1]
    x, count, (h0, c0) = _prepare(x, layout, direction, [h, c], n)
    defaults = ("Sigmoid", "Tanh", "Tanh")
    f = _functions(activations, activation_alpha, activation_beta, defaults, count)
    bias = np.zeros((count, 8 * n), x.dtype) if b is None else b
    peep = np.zeros((count, 3 * n), x.dtype) if p is None else p
    cut = _clip(clip)

    def step(d: int, xt: Array, state: list[Array]) -> list[Array]:
        h, c = state
        gate, inner, outer = f[3 * d : 3 * d + 3]
        z = xt @ w[d].T + h @ r[d].T + bias[d, : 4 * n] + bias[d, 4 * n :]
        pi, po, pf = (peep[d, i * n : (i + 1) * n] for i in range(3))
        zi, zo, zf, zc = (z[:, i * n : (i + 1) * n] for i in range(4))
        i = gate(cut(zi + pi * c))
        forget = 1 - i if input_forget else gate(cut(zf + pf * c))
        new = forget * c + i * inner(cut(zc))
        o = gate(cut(zo + po * new))
        return [o * outer(new), new]

    y, finals = _run(step, x, [h0, c0], lengths, count, direction == "reverse")
    return _results(y, finals, layout, types)
