"""Names, sharing and defaults of `variable_scope` and `get_variable`."""

from typing import Any

import numpy as np
import pytest

import systolica as st


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


def test_names_follow_variable_scopes_only() -> None:
    """A name scope prefixes ops, not variables; a variable scope does both."""
    with st.name_scope("n"):
        with st.variable_scope("a"):
            with st.variable_scope("b"):
                v = st.get_variable("v", [2])
                assert st.identity(v, name="op").name == "n/a/b/op:0"
    assert v.name == "a/b/v:0"
    assert st.get_variable("top", []).name == "top:0"


def test_reuse_gives_the_same_variable() -> None:
    """By `reuse=True`, `reuse_variables`, AUTO_REUSE, and a scope object."""
    with st.variable_scope("s") as scope:
        v = st.get_variable("v", [3])
        scope.reuse_variables()
        assert st.get_variable("v", [3]) is v
    with st.variable_scope("s", reuse=True):
        assert st.get_variable("v", [3]) is v
        with st.variable_scope("inner"):
            with pytest.raises(st.errors.InvalidArgumentError, match="'s/inner/w' does not exist"):
                st.get_variable("w", [1])
    with st.variable_scope("elsewhere"), st.variable_scope(scope, reuse=True):
        assert st.get_variable("v") is v
    with st.variable_scope("t", reuse=st.AUTO_REUSE):
        first = st.get_variable("v", [1])
        assert st.get_variable("v", [1]) is first
    assert st.global_variables() == [v, first]


def test_errors_name_the_variable_and_its_line() -> None:
    """Made twice, other shape, other dtype, unknown shape."""
    st.get_variable("v", [3])
    with pytest.raises(st.errors.InvalidArgumentError, match="'v' exists .*test_variable_scope"):
        st.get_variable("v", [3])
    with st.variable_scope("", reuse=True):
        with pytest.raises(st.errors.ShapeError, match=r"\(3,\), asked for is \(4,\)"):
            st.get_variable("v", [4])
        with pytest.raises(st.errors.InvalidArgumentError, match="asked for is int32"):
            st.get_variable("v", [3], st.int32)
    with pytest.raises(st.errors.ShapeError, match="must be known"):
        st.get_variable("u", [None, 2])
    with pytest.raises(st.errors.InvalidArgumentError, match="default_name"):
        with st.variable_scope(None):
            pass


def test_default_names_are_unique() -> None:
    """As layers use them; entering a scope again starts over, to find the same ones."""
    names = []
    for _ in range(2):
        with st.variable_scope(None, "layer") as scope:
            names.append(scope.name)
    for _ in range(2):
        with st.variable_scope("outer"):
            for _ in range(2):
                with st.variable_scope(None, "layer") as scope:
                    names.append(scope.name)
    inner = ["outer/layer", "outer/layer_1"]
    assert names == ["layer", "layer_1", *inner, *inner]


def test_defaults_are_inherited() -> None:
    """Initialiser, regulariser, dtype; an inner scope overrides."""
    penalty = st.contrib.layers.l2_regularizer(1.0)
    with st.variable_scope(
        "a", initializer=st.constant_initializer(2.0), regularizer=penalty, dtype=st.float64
    ):
        v = st.get_variable("v", [2])
        with st.variable_scope("b", initializer=st.ones_initializer()):
            w = st.get_variable("w", [2], regularizer=st.no_regularizer)
    (loss,) = st.get_collection(st.GraphKeys.REGULARIZATION_LOSSES)
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        np.testing.assert_array_equal(session.run([v, w]), [[2, 2], [1, 1]])
        assert session.run(loss) == 4
    assert v.dtype is st.float64


def test_initial_value_instead_of_initializer() -> None:
    """A tensor or array gives the shape, too; integers start at zero."""
    v = st.get_variable("v", initializer=np.float32([1, 2]))
    n = st.get_variable("n", [2], st.int32)
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        np.testing.assert_array_equal(session.run(v), [1, 2])
        np.testing.assert_array_equal(session.run(n), [0, 0])


def test_custom_getter_wraps() -> None:
    """The inner getter comes first and may call the outer one."""
    seen = []

    def outer(getter: Any, name: str, *args: Any, **options: Any) -> Any:
        seen.append(("outer", name))
        return getter(name, *args, **options)

    def inner(getter: Any, name: str, *args: Any, **options: Any) -> Any:
        seen.append(("inner", name))
        return getter(name, *args, **options) * 2.0

    with st.variable_scope("a", custom_getter=outer), st.variable_scope("b", custom_getter=inner):
        assert isinstance(st.get_variable("v", [1]), st.Tensor)
    assert seen == [("inner", "a/b/v"), ("outer", "a/b/v")]


def test_local_variables_and_collections() -> None:
    """Local variables are initialised apart and not trained."""
    v = st.get_local_variable("v", [1], initializer=st.ones_initializer())
    with st.variable_scope("s") as scope:
        w = st.get_variable("w", [1], collections=["mine", st.GraphKeys.GLOBAL_VARIABLES])
    assert st.local_variables() == [v] and st.global_variables() == [w]
    assert st.trainable_variables() == [w] == st.get_collection("mine")
    assert scope.global_variables() == [w] and scope.trainable_variables() == [w]
    missing = st.report_uninitialized_variables()
    with st.Session() as session:
        assert list(session.run(missing)) == [True, True]
        session.run(st.local_variables_initializer())
        assert list(session.run(missing)) == [True, False]


def test_template_shares_variables() -> None:
    """Made in the first call, found in the next."""

    def scaled(x: Any, width: int) -> Any:
        return x * st.get_variable("w", [width], initializer=st.ones_initializer())

    layer = st.make_template("layer", scaled, width=2)
    layer(1.0), layer(2.0)
    assert [v.name for v in st.global_variables()] == ["layer/w:0"]
    other = st.make_template("layer", scaled, width=2)
    other(1.0)
    assert st.global_variables()[1].name == "layer_1/w:0"


def test_count_up_to() -> None:
    """Counts, then fails by its own kind of error."""
    v = st.Variable(0)
    count = st.count_up_to(v, 2)
    with st.Session() as session:
        session.run(v.initializer)
        assert [session.run(count), session.run(count)] == [0, 1]
        with pytest.raises(st.errors.OutOfRangeError, match="limit of 2"):
            session.run(count)
