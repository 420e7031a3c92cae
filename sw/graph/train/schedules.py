"""Learning rates that follow a step counter. Each returns a scalar tensor for the optimiser."""

from __future__ import annotations

import math
from typing import Any

from sw.graph.build import apply, graph_of
from sw.graph.dtypes import float32
from sw.graph.errors import InvalidArgumentError
from sw.graph.ops.arithmetic import cast
from sw.graph.ops.random import random_normal
from sw.graph.tensor import Tensor


def _step(global_step: Any) -> Tensor:
    if global_step is None:
        raise InvalidArgumentError("a learning-rate schedule needs global_step")
    return cast(graph_of((global_step,)).convert(global_step), float32)


def _periods(global_step: Any, decay_steps: Any, staircase: bool) -> Tensor:
    ratio = _step(global_step) / decay_steps
    out: Tensor = apply("floor", ratio) if staircase else ratio
    return out


def exponential_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """`learning_rate * decay_rate ** (global_step / decay_steps)`; a `staircase` floors the
    exponent."""
    with graph_of((global_step,)).name_scope(name or "ExponentialDecay"):
        power = apply("pow", decay_rate, _periods(global_step, decay_steps, staircase))
        out: Tensor = learning_rate * power
        return out


def natural_exp_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """`learning_rate * exp(-decay_rate * global_step / decay_steps)`."""
    with graph_of((global_step,)).name_scope(name or "NaturalExpDecay"):
        power = apply("exp", -decay_rate * _periods(global_step, decay_steps, staircase))
        out: Tensor = learning_rate * power
        return out


def inverse_time_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """`learning_rate / (1 + decay_rate * global_step / decay_steps)`."""
    with graph_of((global_step,)).name_scope(name or "InverseTimeDecay"):
        out: Tensor = learning_rate / (
            1.0 + decay_rate * _periods(global_step, decay_steps, staircase)
        )
        return out


def piecewise_constant(x: Any, boundaries: Any, values: Any, name: str | None = None) -> Tensor:
    """`values[0]` for x <= boundaries[0], `values[1]` up to boundaries[1], ..., then the last.

    Raises `InvalidArgumentError` unless there is one value more than boundaries, in rising order.
    """
    if len(values) != len(boundaries) + 1:
        raise InvalidArgumentError(
            f"{len(boundaries)} boundaries need {len(boundaries) + 1} values"
        )
    if any(a >= b for a, b in zip(boundaries[:-1], boundaries[1:], strict=True)):
        raise InvalidArgumentError(f"boundaries {list(boundaries)} do not rise")
    graph = graph_of((x,))
    with graph.name_scope(name or "PiecewiseConstant"):
        step = graph.convert(x)
        rate: Tensor = graph.convert(values[-1])
        for bound, value in zip(reversed(boundaries), reversed(list(values[:-1])), strict=True):
            here = apply("less_equal", step, graph.convert(bound, step.dtype))
            rate = apply("where", here, graph.convert(value, rate.dtype), rate)
        return rate


piecewise_constant_decay = piecewise_constant


def polynomial_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    end_learning_rate: Any = 0.0001,
    power: Any = 1.0,
    cycle: bool = False,
    name: str | None = None,
) -> Tensor:
    """From `learning_rate` to `end_learning_rate` in `decay_steps`, as (1 - t)**power; with
    `cycle` it starts again over ever longer periods."""
    with graph_of((global_step,)).name_scope(name or "PolynomialDecay"):
        step = _step(global_step)
        steps: Any = graph_of((step,)).convert(float(decay_steps))
        if cycle:
            steps = steps * apply("maximum", apply("ceil", step / steps), 1.0)
        else:
            step = apply("minimum", step, steps)
        span = learning_rate - end_learning_rate
        out: Tensor = span * apply("pow", 1.0 - step / steps, power) + end_learning_rate
        return out


def cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    alpha: float = 0.0,
    name: str | None = None,
) -> Tensor:
    """Half a cosine from `learning_rate` to `alpha` times it (Loshchilov and Hutter, 2017)."""
    with graph_of((global_step,)).name_scope(name or "CosineDecay"):
        done = apply("minimum", _step(global_step) / float(decay_steps), 1.0)
        wave = 0.5 * (1.0 + apply("cos", math.pi * done))
        out: Tensor = learning_rate * ((1 - alpha) * wave + alpha)
        return out


def cosine_decay_restarts(
    learning_rate: Any,
    global_step: Any,
    first_decay_steps: Any,
    t_mul: float = 2.0,
    m_mul: float = 1.0,
    alpha: float = 0.0,
    name: str | None = None,
) -> Tensor:
    """Cosine decay that restarts; each period is `t_mul` times as long and starts `m_mul` times as
    high as the one before (Loshchilov and Hutter, "SGDR", ICLR 2017)."""
    with graph_of((global_step,)).name_scope(name or "SGDRDecay"):
        done = _step(global_step) / float(first_decay_steps)
        if t_mul == 1.0:
            period = apply("floor", done)
            inside = done - period
        else:
            # periods 1 + t + ... + t**(n-1) = (t**n - 1) / (t - 1) are over after n of them
            period = apply("floor", apply("log", 1.0 - done * (1.0 - t_mul)) / math.log(t_mul))
            length = apply("pow", t_mul, period)
            inside = (done - (1.0 - length) / (1.0 - t_mul)) / length
        height = apply("pow", m_mul, period)
        wave = 0.5 * height * (1.0 + apply("cos", math.pi * inside))
        out: Tensor = learning_rate * ((1 - alpha) * wave + alpha)
        return out


def _waves(global_step: Any, decay_steps: Any, num_periods: float) -> tuple[Tensor, Tensor, Tensor]:
    """(the step, at most `decay_steps`; what is left, from 1 to 0; a cosine from 1)."""
    step = apply("minimum", _step(global_step), float(decay_steps))
    left = (float(decay_steps) - step) / float(decay_steps)
    angle = 2 * math.pi * num_periods * step / float(decay_steps)
    return step, left, 0.5 * (1.0 + apply("cos", angle))


def linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    num_periods: float = 0.5,
    alpha: float = 0.0,
    beta: float = 0.001,
    name: str | None = None,
) -> Tensor:
    """`learning_rate * ((alpha + left) * cosine + beta)`: `left` falls from 1 to 0 while the cosine
    swings `num_periods` times (Bello et al., "Neural optimizer search", 2017)."""
    with graph_of((global_step,)).name_scope(name or "LinearCosineDecay"):
        _, left, wave = _waves(global_step, decay_steps, num_periods)
        out: Tensor = learning_rate * ((alpha + left) * wave + beta)
        return out


def noisy_linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    initial_variance: float = 1.0,
    variance_decay: float = 0.55,
    num_periods: float = 0.5,
    alpha: float = 0.0,
    beta: float = 0.001,
    name: str | None = None,
) -> Tensor:
    """`linear_cosine_decay` whose `left` has noise of variance `initial_variance / (1 + step) **
    variance_decay`."""
    with graph_of((global_step,)).name_scope(name or "NoisyLinearCosineDecay"):
        step, left, wave = _waves(global_step, decay_steps, num_periods)
        deviation = apply("sqrt", initial_variance / apply("pow", 1.0 + step, variance_decay))
        noisy = left + random_normal([]) * deviation
        out: Tensor = learning_rate * ((alpha + noisy) * wave + beta)
        return out
