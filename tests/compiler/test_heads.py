"""Heads of attention: breaks if a head gets another's weights, or if heads are cut and joined on
the CPU."""

import numpy as np
import pytest

import systolica as st
from sw.compiler.heads import separate_heads
from sw.runtime.quantize import frozen_unit
from tests.compiler.integer_reference import evaluate

ROWS, WIDTH, HEADS = 7, 24, 3


def attention(rng, turned, shown=False):
    """Several heads at once, as one writes it; `turned` transposes the keys on their way."""

    def dense(x, units):
        w = rng.normal(size=(x.shape.dims[-1], units)) / np.sqrt(units)
        return st.matmul(x, w.astype("f")) + rng.normal(size=units).astype("f") * 0.1

    def split(y, perm=(0, 2, 1, 3)):
        return st.transpose(st.reshape(y, [-1, ROWS, HEADS, WIDTH // HEADS]), perm)

    x = st.placeholder(st.float32, [None, ROWS, WIDTH], name="x")
    q, v = split(dense(x, WIDTH)), split(dense(x, WIDTH))
    if turned:
        scores = st.matmul(q, split(dense(x, WIDTH), (0, 2, 3, 1)))
    else:
        scores = st.matmul(q, split(dense(x, WIDTH)), transpose_b=True)
    shares = st.nn.softmax(scores * np.float32(0.3), name="shares")
    mixed = st.transpose(st.matmul(shares, v), [0, 2, 1, 3])
    y = dense(st.reshape(mixed, [-1, ROWS, WIDTH]), WIDTH)
    return x, st.identity(x + y, name="y"), [shares] if shown else []


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shown", [False, True])
def test_heads_apart_mean_the_same(rng, turned, shown):
    """Also where the shares of all heads are wanted together."""
    with st.Graph().as_default():
        x, y, more = attention(rng, turned, shown)
        values = rng.normal(size=(2, ROWS, WIDTH)).astype("f")
        with st.Session() as session:
            wanted = session.run([y, *more], {x: values})
            unit = separate_heads(frozen_unit([y, *more], session))
    assert "matmul/head2" in {op.name for op in unit.graph.get_operations()}
    with st.Session(graph=unit.graph) as session:
        for ours, theirs in zip(
            session.run(list(unit.fetches), {"x:0": values}), wanted, strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("turned", [False, True])
def test_only_the_softmax_leaves_the_tpu(rng, turned):
    with st.Graph().as_default():
        x, y, _ = attention(rng, turned)
        values = rng.normal(size=(2, ROWS, WIDTH)).astype("f")
        with st.Session() as session:
            wanted = session.run(y, {x: values})
            made = st.quantize(y, [{x: values}])
    left = {
        op.type
        for op in made.get_operations()
        if "tpu" not in op.device and op.type not in ("const", "placeholder")
    }
    assert left <= {"softmax", "mul", "identity", "reshape", "concat"}, left
    with st.Session(graph=made) as session:
        found = session.run("y:0", {"x:0": values})
        assert not session.fallback
        report = st.run_report(session)
    assert len(report.programs) == 2
    products = 2 * ROWS * WIDTH * WIDTH * 4 + 2 * 2 * ROWS * ROWS * WIDTH
    assert report.total().macs == products
    np.testing.assert_array_equal(found, evaluate(made, {"x:0": values}, ["y:0"])[0])
    assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()
