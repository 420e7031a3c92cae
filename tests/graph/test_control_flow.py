"""Branches and loops: values, what runs, gradients against finite differences, errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import systolica as st


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


def check_gradient(
    build: Callable[..., Any], *values: Any, feeds: dict[Any, Any] | None = None
) -> list[Any]:
    """The gradient of the sum of `build(*tensors)` equals central differences at `values`."""
    arrays = [np.asarray(v, np.float64) for v in values]
    tensors = [st.placeholder(st.float64, a.shape) for a in arrays]
    loss = st.reduce_sum(build(*tensors))
    grads = st.gradients(loss, tensors, unconnected_gradients="zero")
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        given = dict(zip(tensors, arrays, strict=True)) | (feeds or {})
        got: list[Any] = session.run(grads, given)
        for tensor, array, grad in zip(tensors, arrays, got, strict=True):
            for at in np.ndindex(array.shape):
                sides = []
                for step in (1e-6, -1e-6):
                    moved = array.copy()
                    moved[at] += step
                    sides.append(session.run(loss, given | {tensor: moved}))
                want = (sides[0] - sides[1]) / 2e-6
                np.testing.assert_allclose(grad[at], want, rtol=1e-5, atol=1e-7)
    return got


# --- cond -----------------------------------------------------------------------------------------


def test_only_the_taken_branch_runs() -> None:
    """Assignments inside a branch happen if it is taken; ops made outside always do."""
    v, w = st.Variable(0), st.Variable(0)
    p = st.placeholder(st.bool, [])
    outside = w.assign_add(1)

    def bump() -> Any:
        with st.control_dependencies([v.assign_add(1)]):
            return st.identity(outside) * 0 + v.read_value()

    out = st.cond(p, bump, lambda: st.constant(-1))
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        assert [session.run(out, {p: b}) for b in (True, False, True)] == [1, -1, 2]
        assert session.run([v, w]) == [2, 3]


def test_cond_structures_and_operations() -> None:
    """Lists, dicts, a list of one; operations give True once they have run."""
    v = st.Variable(1)
    p = st.placeholder(st.bool, [])
    x = st.constant(2.0)
    nested = st.cond(p, lambda: {"a": x, "b": [x, 3]}, lambda: {"a": -x, "b": [x, 4]})
    single = st.cond(p, lambda: [x], lambda: [-x])
    strict = st.cond(p, lambda: [x], lambda: [-x], strict=True)
    action = st.cond(p, lambda: st.group(v.assign(7)), st.no_op)
    with st.Session() as session:
        session.run(v.initializer)
        assert session.run(nested, {p: False}) == {"a": -2, "b": [2, 4]}
        assert session.run([single, strict], {p: True}) == [2, [2]]
        session.run(action, {p: False})
        assert session.run(v) == 1
        session.run(action, {p: True})
        assert session.run(v) == 7


@pytest.mark.parametrize("taken", [True, False])
def test_gradient_of_cond(taken: bool) -> None:
    """Through the taken branch alone: captured twice, in one branch, passed through, unused."""
    p = st.placeholder(st.bool, [])

    def build(x: Any, y: Any, z: Any) -> Any:
        a, b = st.cond(p, lambda: (st.sin(x) * y * y, x), lambda: (x * x, z))
        return st.reduce_sum(a) + 3.0 * st.reduce_sum(b * b)

    got = check_gradient(build, [0.3, 0.7], [1.1, -0.4], [2.0, 5.0], feeds={p: taken})
    assert (got[2] == 0).all() == taken


def test_gradient_of_cond_reaches_variables_inside() -> None:
    """A variable read in a branch is trained by it; the minimise op may itself be in a branch."""
    v = st.Variable([1.0, 2.0], dtype=st.float64)
    p = st.placeholder(st.bool, [])
    loss = st.cond(p, lambda: st.reduce_sum(v * v), lambda: st.constant(0.0, st.float64))
    (grad,) = st.gradients(loss, v)
    train = st.cond(
        p,
        lambda: st.train.AdamOptimizer(0.5).minimize(st.reduce_sum(v * 2.0)),
        st.no_op,
    )
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        np.testing.assert_array_equal(session.run(grad, {p: True}), [2, 4])
        np.testing.assert_array_equal(session.run(grad, {p: False}), [0, 0])
        session.run(train, {p: False})
        np.testing.assert_array_equal(session.run(v), [1, 2])
        session.run(train, {p: True})
        np.testing.assert_allclose(session.run(v), [0.5, 1.5], rtol=1e-6)


def test_nested_cond() -> None:
    """A branch in a branch captures from outside both, and has gradients."""
    p, q = st.placeholder(st.bool, []), st.placeholder(st.bool, [])

    def build(x: Any, y: Any) -> Any:
        inner = lambda: st.cond(q, lambda: x * y, lambda: y**3.0)  # noqa: E731
        return st.cond(p, inner, lambda: x / y)

    for a in (True, False):
        for b in (True, False):
            check_gradient(build, 1.5, 0.7, feeds={p: a, q: b})


def test_case() -> None:
    """The first true one; exclusive; no default."""
    x = st.placeholder(st.int32, [])
    pairs = [(x < 0, lambda: st.constant(-1)), (x < 10, lambda: st.constant(1))]
    out = st.case(pairs, lambda: st.constant(9))
    apart = st.case(pairs, lambda: st.constant(9), exclusive=True)
    sure = st.case(pairs)
    with st.Session() as session:
        assert [session.run(out, {x: v}) for v in (-5, 5, 50)] == [-1, 1, 9]
        assert session.run(apart, {x: 5}) == 1
        with pytest.raises(st.errors.InvalidArgumentError, match="assertion"):
            session.run(apart, {x: -5})
        assert session.run(sure, {x: -5}) == -1
        with pytest.raises(st.errors.InvalidArgumentError, match="assertion"):
            session.run(sure, {x: 50})


# --- while ----------------------------------------------------------------------------------------


def test_while_counts_and_carries() -> None:
    """Structures, zero turns, maxima (a number and a tensor), variables written in turns."""
    v = st.Variable(0)
    n = st.placeholder(st.int32, [])

    def body(i: Any, state: Any) -> Any:
        with st.control_dependencies([v.assign_add(2)]):
            return i + 1, {"sum": state["sum"] + i, "pair": (state["pair"][1], i)}

    start = [st.constant(0), {"sum": st.constant(0), "pair": (st.constant(-1), st.constant(-2))}]
    loop = st.while_loop(lambda i, _: i < n, body, start)
    most = st.while_loop(lambda i: i < 100, lambda i: i + 1, [st.constant(0)],
                         maximum_iterations=7)  # fmt: skip
    fed = st.while_loop(lambda i: i < 100, lambda i: i + 1, [0], maximum_iterations=n)
    with st.Session() as session:
        session.run(v.initializer)
        assert session.run(loop, {n: 5}) == [5, {"sum": 10, "pair": (3, 4)}]
        assert session.run(loop, {n: 0}) == [0, {"sum": 0, "pair": (-1, -2)}]
        assert session.run(v) == 10
        assert session.run([most, fed], {n: 4}) == [7, 4]


def test_shape_invariants() -> None:
    """A growing tensor needs them; without, the error names the variable and says what to do."""
    i, x = st.constant(0), st.constant([1.0])

    def grow(i: Any, x: Any) -> Any:
        return i + 1, st.concat([x, x], 0)

    with pytest.raises(st.errors.ShapeError, match="shape_invariants"):
        st.while_loop(lambda i, x: i < 3, grow, [i, x])
    _, out = st.while_loop(
        lambda i, x: i < 3, grow, [i, x], shape_invariants=[st.TensorShape([]), [None]]
    )
    assert out.shape.as_list() == [None]
    with st.Session() as session:
        assert session.run(out).shape == (8,)
    with pytest.raises(st.errors.ShapeError, match="does not cover"):
        st.while_loop(lambda x: True, lambda x: x, [x], shape_invariants=[[2]])


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_gradient_of_while(turns: int) -> None:
    """Of what it carries and what it captures, as often as it turned."""
    n = st.placeholder(st.int32, [])

    def build(x: Any, w: Any) -> Any:
        def body(i: Any, h: Any, s: Any) -> Any:
            h = st.tanh(st.matmul(h, w) + st.cast(i, st.float64) * 0.1)
            return i + 1, h, s + st.reduce_sum(h * h)

        zero = st.constant(0.0, st.float64)
        _, h, s = st.while_loop(lambda i, *_: i < n, body, [st.constant(0), x, zero])
        return st.reduce_sum(st.sin(h)) + s

    w = np.random.default_rng(0).standard_normal((2, 2))
    check_gradient(build, [[0.3, -0.8]], w, feeds={n: turns})


def test_gradient_of_while_in_while_in_cond() -> None:
    """All nestings, with an inner number of turns that differs from turn to turn."""
    p = st.placeholder(st.bool, [])

    def build(x: Any, w: Any) -> Any:
        def inner(i: Any, a: Any) -> Any:
            return st.while_loop(
                lambda j, _: j < i,
                lambda j, a: (j + 1, st.cond(j > 0, lambda: a * w, lambda: a + x * w)),
                [st.constant(0), a],
            )[1]

        loop = lambda: st.while_loop(  # noqa: E731
            lambda i, _: i < 4, lambda i, a: (i + 1, inner(i, a) + x), [st.constant(0), x]
        )[1]
        return st.cond(p, loop, lambda: w * w)

    check_gradient(build, 0.6, 0.8, feeds={p: True})
    with st.Graph().as_default():
        p = st.placeholder(st.bool, [])
        check_gradient(build, 0.6, 0.8, feeds={p: False})


def test_variable_in_a_loop_is_read_each_turn_and_trained() -> None:
    """Assignments of one turn are seen by the next; the gradient sums over turns."""
    v = st.Variable(2.0)

    def body(i: Any, s: Any) -> Any:
        with st.control_dependencies([v.assign_add(1.0)]):
            return i + 1, s + v.read_value()

    _, total = st.while_loop(lambda i, s: i < 3, body, [0, 0.0])
    _, power = st.while_loop(lambda i, s: i < 3, lambda i, s: (i + 1, s * v), [0, 1.0])
    (grad,) = st.gradients(power, v)
    with st.Session() as session:
        session.run(v.initializer)
        assert session.run(grad) == 12
        assert session.run(total) == 3 + 4 + 5


def test_random_numbers_differ_from_turn_to_turn() -> None:
    """And their use in the gradient is that of the same turn: dropout must not draw again."""
    x = st.constant(np.ones(50), st.float64)

    def body(i: Any, s: Any, kept: Any) -> Any:
        mask = st.nn.dropout(x, 0.5)
        return i + 1, s + st.reduce_sum(mask), kept.write(i, mask)

    _, total, masks = st.while_loop(
        lambda i, *_: i < 3, body, [0, st.constant(0.0, st.float64), st.TensorArray(st.float64, 3)]
    )
    (grad,) = st.gradients(total, x)
    with st.Session() as session:
        got, kept = session.run([grad, masks.stack()])
        np.testing.assert_array_equal(got, kept.sum(0))
        assert not (kept[0] == kept[1]).all()


def test_back_prop_off_stops_the_gradient() -> None:
    """As TensorFlow."""
    x = st.constant(2.0)
    _, y = st.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, y * y), [0, x], back_prop=False)
    assert st.gradients(y, x) == [None]


def test_loop_of_dependent_outside_order() -> None:
    """A control dependency on an op outside, named inside, runs it once, before."""
    v = st.Variable(0)
    bump = v.assign_add(1)

    def body(i: Any) -> Any:
        with st.control_dependencies([bump]):
            return st.identity(i) + 1

    out = st.while_loop(lambda i: i < 3, body, [0])
    with st.Session() as session:
        session.run(v.initializer)
        assert session.run(out) == 3 and session.run(v) == 1


# --- TensorArray and the loops made of it ---------------------------------------------------------


def test_tensor_array() -> None:
    """Every operation, and the errors of double writes, gaps and ends."""
    array = st.TensorArray(st.float32, 3, name="array")
    full = array.unstack([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    part = array.write(1, [7.0, 8.0])
    grown = st.TensorArray(st.float32, 0, dynamic_size=True).write(2, 5.0)
    pieces = st.TensorArray(st.float32, 2).split([1.0, 2.0, 3.0], [1, 2])
    with st.Session() as session:
        np.testing.assert_array_equal(session.run(full.gather([2, 0])), [[5, 6], [1, 2]])
        np.testing.assert_array_equal(session.run(part.stack())[1], [7, 8])
        np.testing.assert_array_equal(session.run(grown.stack()), [0, 0, 5])
        np.testing.assert_array_equal(session.run(pieces.read(1)), [2, 3])
        np.testing.assert_array_equal(session.run(pieces.concat()), [1, 2, 3])
        scattered = array.scatter([2, 0], [[1.0], [2.0]])
        np.testing.assert_array_equal(session.run(scattered.read(0)), [2])
        assert session.run([full.size(), grown.size()]) == [3, 3]
        for bad, match in (
            (part.write(1, [0.0, 0.0]).stack(), "written before"),
            (full.read(3), "outside"),
            (st.TensorArray(st.float32, 2, infer_shape=False).read(0), "not written"),
        ):
            with pytest.raises(st.errors.InvalidArgumentError, match=match):
                session.run(bad)
        with pytest.raises(st.errors.InvalidArgumentError, match="no array"):
            session.run(full.flow)


def test_gradients_of_tensor_array() -> None:
    """Write, read, stack, unstack, gather, scatter, split and concat."""

    def build(x: Any, y: Any) -> Any:
        a = st.TensorArray(st.float64, 3).unstack(x)
        b = st.TensorArray(st.float64, 4).write(1, y[0]).scatter([0, 3], y * a.read(1))
        c = st.TensorArray(st.float64, 2).split(x * x, [1, 2])
        return (
            st.reduce_sum(st.sin(b.stack()))
            + st.reduce_sum(a.gather([2, 2, 0]) ** 3.0)
            + st.reduce_sum(c.concat() * x)
            + st.reduce_sum(c.read(1))
        )

    rng = np.random.default_rng(2)
    check_gradient(build, rng.standard_normal((3, 2)), rng.standard_normal((2, 2)))


def test_map_scan_fold() -> None:
    """Against NumPy, static and dynamic numbers of rows, several inputs and dtypes."""
    x = np.arange(1.0, 7.0).reshape(3, 2)
    for shape in ([3, 2], [None, 2]):
        p = st.placeholder(st.float64, shape)
        mapped = st.map_fn(lambda r: r * r, p)
        two = st.map_fn(
            lambda r: (st.reduce_sum(r[0] + r[1]), st.constant(1)), (p, p), (st.float64, st.int32)
        )
        scanned = st.scan(lambda a, r: a * r, p)
        started = st.scan(lambda a, r: a + st.reduce_sum(r), p, st.constant(0.5, st.float64))
        left = st.foldl(lambda a, r: a - r, p)
        right = st.foldr(lambda a, r: a - r, p)
        assert mapped.shape.as_list() == shape and started.shape.as_list() == shape[:1]
        with st.Session() as session:
            got = session.run([mapped, two, scanned, started, left, right], {p: x})
        np.testing.assert_array_equal(got[0], x * x)
        np.testing.assert_array_equal(got[1][0], 2 * x.sum(1))
        np.testing.assert_array_equal(got[1][1], [1, 1, 1])
        np.testing.assert_array_equal(got[2], np.cumprod(x, 0))
        np.testing.assert_array_equal(got[3], 0.5 + np.cumsum(x.sum(1)))
        np.testing.assert_array_equal(got[4], x[0] - x[1] - x[2])
        np.testing.assert_array_equal(got[5], x[0] - x[1] - x[2] + 2 * (x[2] - x[0]))


def test_gradients_of_map_scan_fold() -> None:
    """With respect to the rows and what is captured."""

    def build(x: Any, w: Any) -> Any:
        return (
            st.reduce_sum(st.map_fn(lambda r: st.sin(r) * w, x))
            + st.reduce_sum(st.scan(lambda a, r: a * st.cos(r) + w, x) ** 2.0)
            + st.reduce_sum(st.foldr(lambda a, r: a * r, x))
        )

    check_gradient(build, np.random.default_rng(1).standard_normal((4, 2)), [0.4, -1.2])


# --- errors ---------------------------------------------------------------------------------------

ERRORS: list[tuple[Any, type[Exception], str]] = [
    (lambda: st.cond(True, lambda: 1, lambda: 2), st.errors.DTypeError, "Python bool"),
    (lambda: st.cond(st.constant([True]), lambda: 1, lambda: 2), st.errors.DTypeError, "scalar"),
    (lambda: st.cond(st.constant(True), lambda: 1.0, lambda: 2), st.errors.DTypeError, "true_fn"),
    (lambda: st.cond(st.constant(True), lambda: [1, 2], lambda: 2),
     st.errors.InvalidArgumentError, "nested alike"),
    (lambda: st.cond(st.constant(True), lambda: None, lambda: None),
     st.errors.InvalidArgumentError, "None"),
    (lambda: st.while_loop(lambda i: i < 3, lambda i: st.cast(i, st.float32), [0]),
     st.errors.DTypeError, "after a turn float32"),
    (lambda: st.while_loop(lambda i: i, lambda i: i, [0]), st.errors.DTypeError, "bool scalar"),
    (lambda: st.while_loop(lambda i: i < 3, lambda i: (i, i), [0]),
     st.errors.InvalidArgumentError, "nested unlike"),
    (lambda: st.while_loop(lambda: True, lambda: (), []), st.errors.InvalidArgumentError,
     "at least one"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "match"), ERRORS)
def test_errors_while_building(make: Any, kind: Any, match: str) -> None:
    """With what is wrong."""
    with pytest.raises(kind, match=match):
        make()


def test_what_is_inside_stays_inside() -> None:
    """A tensor of a branch used outside is an error that says so."""
    kept = []

    def branch() -> Any:
        kept.append(st.constant(1.0) + 1.0)
        return kept[0]

    st.cond(st.constant(True), branch, lambda: st.constant(0.0))
    with pytest.raises(st.errors.GraphError, match="another graph"):
        st.constant(1.0) + kept[0]
    with pytest.raises(st.errors.GraphError, match="branch or loop"):
        st.while_loop(lambda x: x < 3, lambda x: x + kept[0], [0.0])


def test_an_error_inside_names_the_inner_op() -> None:
    """With the user's line, from two levels down."""
    x = st.placeholder(st.int32, [])

    def body(i: Any) -> Any:
        return st.cond(i > 1, lambda: st.gather([1, 2], i + 5, name="lookup"), lambda: i + 1)

    out = st.while_loop(lambda i: i < 10, body, [x])
    with st.Session() as session:
        with pytest.raises(st.errors.InvalidArgumentError, match="lookup.*test_control_flow"):
            session.run(out, {x: 0})
