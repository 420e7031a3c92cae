"""Every differentiable op against central differences over random shapes, sizes and attributes."""

import zlib
from typing import Any

import numpy as np
import pytest

import systolica as st
from sw.graph.dtypes import as_dtype
from sw.graph.registry import NOT_DIFFERENTIABLE, all_ops
from tests.graph import random_cases, random_network_cases
from tests.graph.random_draw import DRAWS, Draw

assert random_cases and random_network_cases  # imported for what they add to DRAWS

# Its input is state, which no placeholder can move; see the last test.
STATE = {"read_variable"}
# Meant to differ from the differences of the steps that it makes; see test_fake_quant.
STRAIGHT_THROUGH = {"fake_quant"}
# The kernel makes float32 and is linear, so that a wide step is exact but for rounding.
STEPS = {"crop_and_resize": 0.5}


def test_every_differentiable_op_is_drawn() -> None:
    """Without this, a new op's gradient could hold at one shape alone."""
    names = {d.name for d in all_ops() if d.gradient not in (None, NOT_DIFFERENTIABLE)}
    ours = {n for n in names if not n.startswith("test_")}
    assert ours == {*DRAWS} | STATE | STRAIGHT_THROUGH


@pytest.mark.parametrize("name", sorted(DRAWS))
@pytest.mark.parametrize("number", range(8))
def test_gradient_over_random_shapes(name: str, number: int, seed: int) -> None:
    """float64 inputs are differentiated; odd numbers leave every axis of them unknown."""
    rng = np.random.default_rng([seed, number, zlib.crc32(name.encode())])
    inputs, build, *rest = DRAWS[name](Draw(rng), name)
    with st.Graph().as_default() as graph, st.Session() as session:
        tensors: list[Any] = []
        free: list[tuple[Any, Any]] = []
        for value in inputs:
            if isinstance(value, np.ndarray) and value.dtype == np.float64:
                known = number % 2 == 0
                tensors.append(
                    st.placeholder(st.float64, value.shape if known else [None] * value.ndim)
                )
                free.append((tensors[-1], value))
            else:
                tensors.append(st.constant(value, st.float64 if isinstance(value, list) else None))
        if callable(build):
            out = build(*tensors)
            assert name in {op.type for op in graph.get_operations()}
        else:
            attrs = {k: as_dtype(v) if k == "dtype" else v for k, v in build.items()}
            out = graph.apply(name, *tensors, **attrs)
        outs = list(out) if isinstance(out, list | tuple) else [out]
        outs = [outs[i] for i in rest[0]] if rest else outs
        weights = [rng.standard_normal(v.shape) for v in session.run(outs, dict(free))]
        loss: Any = st.add_n([st.reduce_sum(o * w) for o, w in zip(outs, weights, strict=True)])
        grads = [st.convert_to_tensor(g) for g in st.gradients(loss, [t for t, _ in free])]
        got = session.run(grads, dict(free))
        evaluate = session.make_callable(loss, [t for t, _ in free])
        step = STEPS.get(name, 1e-6)
        for position, (_, start) in enumerate(free):
            want = np.zeros(start.shape)
            for at in np.ndindex(start.shape):
                ends = []
                for move in (step, -step):
                    moved = [v.copy() for _, v in free]
                    moved[position][at] += move
                    ends.append(evaluate(*moved))
                want[at] = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(
                got[position], want, rtol=2e-5, atol=2e-6,
                err_msg=f"{name} of {[np.shape(v) for v in inputs]}, {build}",
            )  # fmt: skip


@pytest.mark.parametrize("number", range(4))
def test_gradient_of_variable_over_random_shapes(number: int, seed: int) -> None:
    """`read_variable`: by steps of the variable's value."""
    r = Draw(np.random.default_rng([seed, number]))
    start = r.normal(*r.shape())
    with st.Graph().as_default(), st.Session() as session:
        v = st.Variable(start)
        loss = st.reduce_sum(st.sin(v) * r.normal(*start.shape) * v.read_value())
        (grad,) = st.gradients(loss, [v])
        session.run(v.initializer)
        got, want = session.run(grad), np.zeros(start.shape)
        for at in np.ndindex(start.shape):
            for move in (1e-6, -1e-6):
                moved = start.copy()
                moved[at] += move
                v.load(moved, session)
                want[at] += session.run(loss) / (2 * move)
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)
