"""Graph functions: calls, gradients, storing."""

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import systolica as st
from sw.graph import defun


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def kinds() -> list[str]:
    return [op.type for op in st.get_default_graph().get_operations()]


def test_doctest() -> None:
    """The example of the class."""
    assert doctest.testmod(defun).failed == 0


def test_calls_share_a_body_and_equal_the_ops_written_out() -> None:
    """Values and gradients, of the arguments and of a captured variable, for two calls and a call
    of a call."""
    w = st.Variable(np.float32([[2.0, 0.5], [-1.0, 3.0]]))

    def plain(x: Any, y: Any) -> Any:
        return {"product": st.tanh(st.matmul(x, w) * y), "sum": st.reduce_sum(x) + y}

    function = st.Defun(st.float32, st.float32)(plain)
    x, y = st.placeholder(st.float32, [3, 2]), st.placeholder(st.float32, [])
    results = []
    for f in (function, plain):
        first = f(x, y)
        second = f(first["product"], first["sum"])
        loss = st.reduce_sum(second["product"]) * second["sum"]
        results.append([loss, *st.gradients(loss, [x, y, w])])
    assert kinds().count("call") == 2
    bodies = {
        id(op.attrs["function"])
        for op in st.get_default_graph().get_operations()
        if op.type == "call"
    }
    assert len(bodies) == 1
    feeds = {x: np.random.default_rng(0).normal(size=(3, 2)), y: 0.7}
    with st.Session() as session:
        session.run(w.initializer)
        for called, written in zip(*session.run(results, feeds), strict=True):
            np.testing.assert_allclose(called, written, rtol=1e-5)


def test_second_gradients_branches_and_loops() -> None:
    """A function in a loop's body, a branch in a function; the gradient of its gradient."""

    @st.Defun(st.float32)
    def kinked(x: Any) -> Any:
        return st.cond(x > 0.0, lambda: x * x * x, lambda: -x)

    x = st.placeholder(st.float32, [])
    y = kinked(x)
    (slope,) = st.gradients(y, x)
    _, looped = st.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, kinked(v)), [0, x])
    (through,) = st.gradients(looped, x)
    with st.Session() as session:
        assert session.run([y, slope], {x: 2.0}) == [8.0, 12.0]
        assert session.run([y, slope], {x: -2.0}) == [2.0, -1.0]
        value, grad = session.run([looped, through], {x: 1.1})
    assert value == pytest.approx(1.1**27, rel=1e-4) and grad == pytest.approx(27 * 1.1**26, 1e-4)


def test_functions_are_stored_with_their_graph(tmp_path: Path) -> None:
    """A MetaGraph calls them in a new graph, which gives their gradients, too."""

    @st.Defun(st.float32, func_name="scaled")
    def scaled(x: Any) -> Any:
        return st.sin(x) * 3.0

    x = st.placeholder(st.float32, [2], name="x")
    st.identity(scaled(scaled(x)), name="y")
    st.train.export_meta_graph(str(tmp_path / "g.meta"))
    value = np.float32([0.3, -1.2])
    with st.Graph().as_default() as other, st.Session() as session:
        st.train.import_meta_graph(str(tmp_path / "g.meta"))
        x, y = other.get_tensor_by_name("x:0"), other.get_tensor_by_name("y:0")
        got, grad = session.run([y, st.gradients(y, x)[0]], {x: value})
    inner = 3 * np.sin(value)
    np.testing.assert_allclose(got, 3 * np.sin(inner), rtol=1e-5)
    np.testing.assert_allclose(grad, 9 * np.cos(inner) * np.cos(value), rtol=1e-5)


def test_bodies_over_devices() -> None:
    """A function is called from one device and works on another."""

    @st.Defun(st.float32)
    def far(x: Any) -> Any:
        with st.device("/cpu:1"):
            return st.exp(x)

    y = far(st.constant(0.0))
    with st.Session(config=st.SessionConfig(device_count={"CPU": 2})) as session:
        assert session.run(y) == 1
        assert [d.name[-5:] for d in session.devices.made()] == ["cpu:0", "cpu:1"]


def test_errors() -> None:
    """Numbers and types of arguments, results that are no tensors."""
    square = st.Defun(st.float32, func_name="square")(lambda x: x * x)
    with pytest.raises(st.errors.InvalidArgumentError, match="'square' takes 1 arguments, not 2"):
        square(1.0, 2.0)
    with pytest.raises(st.errors.DTypeError, match="float32 is needed"):
        square(st.constant(1))
    with pytest.raises(st.errors.InvalidArgumentError, match="gives None, not tensors"):
        st.Defun(st.float32)(lambda x: None)(1.0)
