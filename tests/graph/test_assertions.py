"""Assertions: decided at once where constants allow it, when run otherwise; and check_numerics."""

from typing import Any

import numpy as np
import pytest

import systolica as st

TWO: list[tuple[Any, Any, Any]] = [
    (st.assert_equal, ([1, 2], [1, 2]), ([1, 3], [1, 2])),
    (st.assert_less, ([1, 2], 3), ([1, 3], 3)),
    (st.assert_less_equal, ([1, 3], 3), ([1, 4], 3)),
    (st.assert_greater, ([4.0], 3.0), ([3.0], 3.0)),
    (st.assert_greater_equal, ([3.0], 3.0), ([2.0], 3.0)),
]
ONE: list[tuple[Any, Any, Any]] = [
    (st.assert_negative, [-1, -2], [-1, 0]),
    (st.assert_positive, [1, 2], [0, 1]),
    (st.assert_non_negative, [0, 1], [-1, 1]),
    (st.assert_non_positive, [0, -1], [1, -1]),
]


@pytest.mark.parametrize(("check", "good", "bad"), TWO, ids=[t[0].__name__ for t in TWO])
def test_comparisons(check: Any, good: Any, bad: Any) -> None:
    """A constant that fails is told while building, with the user's line."""
    with st.Graph().as_default(), st.Session() as session:
        session.run(check(*good))
        with pytest.raises(st.errors.InvalidArgumentError, match="test_assertions.py"):
            check(*bad)
        fed = st.placeholder(st.as_dtype(np.asarray(good[0]).dtype), [None])
        op = check(fed, np.asarray(good[1], np.asarray(good[0]).dtype))
        session.run(op, {fed: good[0]})
        with pytest.raises(st.errors.InvalidArgumentError, match="assertion failed"):
            session.run(op, {fed: bad[0]})


@pytest.mark.parametrize(("check", "good", "bad"), ONE, ids=[t[0].__name__ for t in ONE])
def test_signs(check: Any, good: Any, bad: Any) -> None:
    with st.Graph().as_default(), st.Session() as session:
        fed = st.placeholder(st.int32, [None])
        op = check(fed)
        session.run(op, {fed: good})
        with pytest.raises(st.errors.InvalidArgumentError):
            session.run(op, {fed: bad})
        with pytest.raises(st.errors.InvalidArgumentError):
            check(bad)


def test_ranks_and_types() -> None:
    with st.Graph().as_default(), st.Session() as session:
        x = st.placeholder(st.float32, [2, None])
        session.run(
            [st.assert_rank(x, 2), st.assert_rank_at_least(x, 1), st.assert_type(x, "float32")]
        )
        session.run(st.assert_integer(st.constant(1)))
        assert st.assert_scalar(st.constant(1.0)).shape == ()
        with pytest.raises(st.errors.ShapeError, match="must have rank 3, it has shape"):
            st.assert_rank(x, 3)
        with pytest.raises(st.errors.ShapeError, match="rank at least 3"):
            st.assert_rank_at_least(x, 3)
        with pytest.raises(st.errors.DTypeError, match="must be int32, it is float32"):
            st.assert_type(x, st.int32)
        with pytest.raises(st.errors.DTypeError, match="must hold integers"):
            st.assert_integer(x)
        free = st.placeholder(st.float32)
        op = st.assert_rank(free, 1)
        session.run(op, {free: [1.0]})
        with pytest.raises(st.errors.InvalidArgumentError):
            session.run(op, {free: [[1.0]]})
        with pytest.raises(st.errors.DTypeError, match="list or tuple"):
            st.assert_proper_iterable(x)
        st.assert_proper_iterable([x])
        assert st.is_numeric_tensor(x) and not st.is_numeric_tensor(st.constant(True))
        assert not st.is_numeric_tensor(1.0)


def test_steps() -> None:
    with st.Graph().as_default(), st.Session() as session:
        rises = [
            st.is_non_decreasing([1, 1, 2]),
            st.is_strictly_increasing([1, 1, 2]),
            st.is_strictly_increasing([[1, 2], [3, 4]]),
            st.is_non_decreasing([2, 1]),
        ]
        assert session.run(rises) == [True, False, True, False]


def test_nan_is_named_with_the_first_op_that_made_one() -> None:
    """add_check_numerics_ops looks at every float of the graph, in order."""
    with st.Graph().as_default(), st.Session() as session:
        x = st.placeholder(st.float32, [2], name="x")
        root = st.log(x, name="logarithm")
        st.square(root, name="later")
        check = st.add_check_numerics_ops()
        session.run(check, {x: [1.0, 2.0]})
        with pytest.raises(
            st.errors.InvalidArgumentError, match=r"logarithm:0.*NaN.*\(1,\)"
        ) as error:
            session.run(check, {x: [1.0, -1.0]})
        assert "test_assertions.py" in str(error.value)
        finite = st.verify_tensor_all_finite(root, "the logs are bad")
        with pytest.raises(st.errors.InvalidArgumentError, match="the logs are bad.*Inf"):
            session.run(finite, {x: [0.0, 1.0]})


def test_uninitialised_variables() -> None:
    with st.Graph().as_default(), st.Session() as session:
        v, w = st.Variable(1.0), st.Variable(2.0, trainable=False)
        check = st.assert_variables_initialized()
        session.run(v.initializer)
        with pytest.raises(st.errors.InvalidArgumentError, match="assertion failed"):
            session.run(check)
        session.run(st.initialize_variables([w]))
        session.run(check)
