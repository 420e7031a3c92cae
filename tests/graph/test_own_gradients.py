"""Gradients by the user's rule, computed again, second derivatives, and functions over rows and
numbered branches."""

from typing import Any

import numpy as np
import pytest

import systolica as st

RNG = np.random.default_rng(5)
X = RNG.standard_normal((2, 3))


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def test_rule_takes_the_place_of_the_gradient() -> None:
    """log(1 + e^x), whose automatic gradient is NaN for large x: TensorFlow's own example."""

    @st.custom_gradient
    def log1pexp(x: Any) -> Any:
        e = st.exp(x)
        return st.log(1 + e), lambda dy: dy * (1 - 1 / (1 + e))

    x = st.constant([0.5, 100.0], st.float64)
    (grad,) = st.gradients(log1pexp(x) * [2.0, 3.0], x)
    with st.Session() as session, np.errstate(all="ignore"):
        np.testing.assert_allclose(session.run(grad), [2 / (1 + np.exp(-0.5)), 3.0])


def test_rule_of_several_outputs_and_variables() -> None:
    """What the function reads is told to the rule, and gets its gradient from it."""
    v = st.Variable(3.0, dtype=st.float64)

    @st.custom_gradient
    def function(x: Any, y: Any) -> Any:
        def rule(da: Any, db: Any, variables: Any = None) -> Any:
            assert [h.op for h in variables] == [v.op]
            return [da * 10, db * 100], [da * 1000 + db]

        return {"a": x * v, "b": y}, rule

    x, y = st.constant(2.0, st.float64), st.constant(5.0, st.float64)
    out = function(x, y)
    grads = st.gradients([out["a"], out["b"]], [x, y, v])
    with st.Session() as session:
        session.run(v.initializer)
        assert session.run([out["a"], out["b"], *grads]) == [6, 5, 10, 100, 1001]


def test_rules_that_do_not_fit_are_refused() -> None:
    v = st.Variable(3.0)
    with pytest.raises(st.errors.InvalidArgumentError, match="variables="):
        st.custom_gradient(lambda x: (x * v, lambda g: g))(1.0)
    x = st.constant(1.0)
    y = st.custom_gradient(lambda a: (a, lambda g: (g, g)))(x)
    with pytest.raises(st.errors.InvalidArgumentError, match="2 values for 1 tensors"):
        st.gradients(y, x)


def test_gradient_straight_through() -> None:
    """Rounding has no gradient of its own."""
    x = st.constant([0.4, 1.6])
    y = st.grad_pass_through(st.ceil)(x)
    (grad,) = st.gradients(y * [2.0, 3.0], x)
    with st.Session() as session:
        np.testing.assert_array_equal(session.run(y), [1, 2])
        np.testing.assert_array_equal(session.run(grad), [2, 3])


def test_values_are_computed_again(capfd: Any) -> None:
    """Twice with the gradient, once without; the gradients are those of the function."""
    v = st.Variable(X)

    def function(x: Any) -> Any:
        return st.tanh(st.Print(x * v, [st.constant(1)], "computed "))

    x = st.constant(2 * X)
    plain, again = function(x), st.recompute_grad(function)(x)
    want, got = (st.gradients(st.reduce_sum(y * y), [x, v]) for y in (plain, again))
    with st.Session() as session:
        session.run(v.initializer)
        expected = session.run(want)
        capfd.readouterr()
        session.run(again)
        assert capfd.readouterr().err.count("computed") == 1
        for a, b in zip(session.run(got), expected, strict=True):
            np.testing.assert_allclose(a, b)
        assert capfd.readouterr().err.count("computed") == 2


def test_hessians() -> None:
    """Of a quadratic form its matrix; of a sum of cubes a diagonal; by name of the option too."""
    a = RNG.standard_normal((3, 3))
    x, z = st.constant(X[0]), st.constant(X)
    form = st.reduce_sum(st.matmul(x[None], st.matmul(a, x[:, None])))
    first, second = st.hessians(form, x)[0], st.hessians(st.reduce_sum(z**3), [z])[0]
    unused = st.gradients(form, z, unconnected_gradients=st.UnconnectedGradients.ZERO)
    with st.Session() as session:
        np.testing.assert_allclose(session.run(first), a + a.T)
        np.testing.assert_allclose(session.run(second).reshape(6, 6), np.diag(6 * X.ravel()))
        np.testing.assert_array_equal(session.run(unused)[0], np.zeros((2, 3)))
    assert st.gradients(form, z, unconnected_gradients=st.UnconnectedGradients.NONE) == [None]
    with pytest.raises(st.errors.ShapeError, match="shape"):
        st.hessians(form, st.placeholder(st.float64, [None]))


def test_function_of_each_row() -> None:
    """Results of another dtype and structure than the rows, found without being told."""
    pairs = st.vectorized_map(
        lambda row: {"sum": st.reduce_sum(row[0]), "big": row[0] > row[1]}, (X, X[:, ::-1] * 2)
    )
    with st.Session() as session:
        got = session.run(pairs)
    np.testing.assert_allclose(got["sum"], X.sum(1))
    np.testing.assert_array_equal(got["big"], X[:, ::-1] * 2 < X)


def test_numbered_branches() -> None:
    """Only the chosen one; a number that is not there takes the default, or the last."""
    index = st.placeholder(st.int32, [])
    functions = [lambda: st.constant(10), lambda: st.constant(20)]
    listed = st.switch_case(index, functions)
    mapped = st.switch_case(
        index, {7: functions[0], 3: functions[1]}, default=lambda: st.constant(0)
    )
    paired = st.switch_case(index, [(3, functions[1]), (7, functions[0])])
    with st.Session() as session:
        found = {i: session.run([listed, mapped, paired], {index: i}) for i in (0, 1, 3, 7, -2)}
    assert found == {
        0: [10, 0, 10], 1: [20, 0, 10], 3: [20, 20, 20], 7: [20, 10, 10], -2: [20, 0, 10]
    }  # fmt: skip
    with pytest.raises(st.errors.DTypeError, match="branch_index"):
        st.switch_case(st.constant(1.0), functions)
    with pytest.raises(st.errors.InvalidArgumentError, match="not different"):
        st.switch_case(index, [(3, functions[1]), (3, functions[0])])
