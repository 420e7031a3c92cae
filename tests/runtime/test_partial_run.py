"""Partial runs: one step in several calls."""

from typing import Any

import numpy as np
import pytest

import systolica as st


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def test_the_documents_example() -> None:
    """TensorFlow's: r1 first, then r2 with c replaced by another value."""
    a, b, c = (st.placeholder(st.float32, []) for _ in range(3))
    r1 = st.add(a, b)
    r2 = st.multiply(r1, c)
    with st.Session() as session:
        step = session.partial_run_setup([r1, r2], [a, b, c])
        first = session.partial_run(step, r1, {a: 1, b: 2})
        assert session.partial_run(step, r2, {c: first}) == 9


def test_each_op_runs_once() -> None:
    """Random numbers, counters and Python functions are not drawn again for a later fetch."""
    calls = []

    def count(x: Any) -> Any:
        calls.append(float(x))
        return x

    a, b = st.placeholder(st.float32, []), st.placeholder(st.float32, [])
    noise = st.random_uniform([], seed=1)
    seen = st.py_func(count, [a + noise], st.float32)
    v = st.Variable(0.0)
    with st.control_dependencies([v.assign_add(1.0)]):
        middle = st.identity(seen)
    with st.control_dependencies([middle]):
        last = st.identity(b) * seen + v.read_value()
    with st.Session() as session:
        session.run(v.initializer)
        step = session.partial_run_setup([noise, middle, last], [a, b])
        drawn, value = session.partial_run(step, [noise, middle], {a: 2.0})
        assert value == pytest.approx(2 + drawn)
        assert session.partial_run(step, last, {b: 10.0}) == pytest.approx(10 * value + 1)
        assert len(calls) == 1 and session.run(v) == 1


def test_what_was_not_announced_is_refused() -> None:
    a, b = st.placeholder(st.float32, [], "a"), st.placeholder(st.float32, [], "b")
    total, other = st.add(a, b, "total"), st.square(a, name="other")
    with st.Session() as session:
        step = session.partial_run_setup([total], [a, b])
        for fetch, feed, why in (
            (other, {a: 1}, "'other:0' was not announced"),
            (total, {other: 1}, "'other:0' was not announced"),
            (total, {a: 1}, "'b:0' must be fed first"),
        ):
            with pytest.raises(st.errors.InvalidArgumentError, match=why):
                session.partial_run(step, fetch, feed)
        assert session.partial_run(step, total, {a: 1, b: 2}) == 3
        with pytest.raises(st.errors.InvalidArgumentError, match="'total:0' was fetched already"):
            session.partial_run(step, total)
        with pytest.raises(st.errors.InvalidArgumentError, match="'a:0' was fed already"):
            session.partial_run(step, [], {a: 5})


def test_operations_and_structures() -> None:
    """An op gives None; nesting comes back."""
    x = st.placeholder(st.float32, [2])
    v = st.Variable([0.0, 0.0])
    update = st.group(v.assign(x))
    with st.Session() as session:
        step = session.partial_run_setup([update, v.value(), x], [x])
        assert session.partial_run(step, {"op": update}, {x: [1, 2]}) == {"op": None}
        np.testing.assert_array_equal(session.partial_run(step, [v.value()])[0], [1, 2])
