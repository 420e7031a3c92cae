"""Graph building: names, scopes, collections, errors that point at the user's line."""

from typing import Any

import numpy as np
import pytest

import systolica as st
from sw.graph.registry import all_ops


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


def test_names_are_unique_and_scoped() -> None:
    """As TensorFlow numbers them."""
    a, b = st.constant(1.0, name="a"), st.constant(1.0, name="a")
    with st.name_scope("s") as scope:
        c = st.add(a, b, name="sum")
    with st.name_scope("s"):
        d = st.add(a, b, name="sum")
    with st.name_scope(scope):
        e = st.add(a, b, name="sum")
    assert [t.op.name for t in (a, b, c, d, e)] == ["a", "a_1", "s/sum", "s_1/sum", "s/sum_1"]


def test_shape_error_names_op_line_and_shapes() -> None:
    """The user sees which call of theirs is wrong."""
    x, w = st.placeholder(st.float32, [None, 3]), st.zeros([4, 2])
    with pytest.raises(st.errors.ShapeError) as info:
        st.matmul(x, w, name="layer")
    for part in ("'layer'", "test_graph.py:", "(?, 3)", "(4, 2)"):
        assert part in str(info.value)


def test_dtype_mixture_is_an_error() -> None:
    """No silent promotion."""
    with pytest.raises(st.errors.DTypeError, match="float32.*int32.*st.cast"):
        st.constant(1.0) + st.constant(1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: st.reshape(st.zeros([4]), [3]),
        lambda: st.concat([st.zeros([2, 3]), st.zeros([3, 3])], 1),
        lambda: st.nn.conv2d(st.zeros([1, 4, 4, 3]), st.zeros([3, 3, 2, 1]), 1, "SAME"),
        lambda: st.nn.conv2d(st.zeros([1, 2, 2, 1]), st.zeros([3, 3, 1, 1]), 1, "VALID"),
        lambda: st.nn.max_pool(st.zeros([1, 2, 2, 1]), 2, 2, "MIDDLE"),
        lambda: st.split(st.zeros([5]), 2),
        lambda: st.reduce_sum(st.zeros([2]), 3),
        lambda: st.zeros([2])[5],
        lambda: st.logical_and(st.zeros([2]), st.zeros([2])),
        lambda: st.constant([1, 2, 3], shape=[2]),
        lambda: st.placeholder(st.float32, [-3]),
        lambda: st.exp(st.constant(3)),
        lambda: st.nn.softmax_cross_entropy_with_logits(
            labels=st.zeros([2, 3]), logits=st.zeros([2, 4])
        ),
        lambda: st.Variable(st.placeholder(st.float32, [None])),
        lambda: st.Variable([1.0]).assign([1.0, 2.0]),
        lambda: st.nn.dropout(st.zeros([2]), 0.0),
        lambda: st.constant("text"),
        lambda: st.constant([[1], [2, 3]]),
        lambda: st.Graph().apply("neg", st.zeros([1]).op),
        lambda: st.identity(st.zeros([1]), name="?!"),
    ],
)
def test_bad_uses_are_refused_at_build_time(make: Any) -> None:
    """And the graph still works afterwards."""
    with pytest.raises((st.errors.InvalidArgumentError, st.errors.GraphError)):
        make()
    with st.Session() as session:
        assert session.run(st.constant(2.0) * 3) == 6


def test_tensors_do_not_pretend_to_be_values() -> None:
    """A truth value or iteration would silently build the wrong graph."""
    x = st.zeros([3])
    with pytest.raises(st.errors.InvalidArgumentError):
        bool(x > 0)
    with pytest.raises(st.errors.InvalidArgumentError):
        list(x)


def test_finalised_and_foreign_graphs(graph: st.Graph) -> None:
    """A finalised graph takes no op; graphs do not mix."""
    x = st.zeros([1])
    with st.Graph().as_default():
        with pytest.raises(st.errors.GraphError, match="another graph"):
            st.zeros([1]) + x
    graph.finalize()
    with pytest.raises(st.errors.GraphError, match="finalised"):
        st.zeros([1])


def test_static_shapes_with_unknown_sizes() -> None:
    """What is known is kept."""
    x = st.placeholder("float", [None, 8, 8, 3])
    y = st.nn.max_pool(st.nn.conv2d(x, st.zeros([3, 3, 3, 5]), 1, "SAME"), 2, 2, "SAME")
    assert y.shape == [None, 4, 4, 5]
    assert st.reshape(y, [-1, 80]).shape == [None, 80]
    assert st.concat([x, x], 0).shape == [None, 8, 8, 3]
    assert st.reshape(x, st.stack([st.shape(x)[0], 192])).shape == [None, 192]
    assert st.reduce_mean(x, [1, 2]).get_shape().as_list() == [None, 3]
    assert st.placeholder(st.float32).shape.rank is None


def test_collections_and_lookup(graph: st.Graph) -> None:
    """By name, by scope."""
    with st.name_scope("net"):
        v = st.Variable([1.0], name="w")
    st.Variable([1.0], trainable=False, name="step")
    assert st.trainable_variables() == [v]
    assert len(st.global_variables()) == 2
    assert graph.get_collection(st.GraphKeys.GLOBAL_VARIABLES, "net/") == [v]
    assert graph.get_tensor_by_name("net/w/read:0") is v.value()
    with pytest.raises(st.errors.NotFoundError, match="did you mean 'net/w/read'"):
        graph.get_operation_by_name("w/read")


def test_own_op() -> None:
    """The same call that our ops use: kernel, gradient, type rule by default."""
    cube = st.register_op(
        "test_cube",
        kernel=lambda xp, x, scale: scale * x * x * x,
        gradient=lambda op, g: [3.0 * op.attrs["scale"] * op.inputs[0] * op.inputs[0] * g],
        attrs={"scale": 1.0},
    )
    x = st.constant([1.0, 2.0])
    y = cube(x, scale=2.0)
    with st.Session() as session:
        np.testing.assert_array_equal(session.run(y), [2, 16])
        np.testing.assert_array_equal(session.run(st.gradients(y, x)[0]), [6, 24])
    with pytest.raises(st.errors.AlreadyExistsError):
        st.register_op("test_cube", kernel="negative")
    with pytest.raises(st.errors.InvalidArgumentError, match="no attribute 'size'"):
        cube(x, size=3)


def test_every_op_is_documented() -> None:
    """The reference page is made from these lines."""
    for op_def in all_ops():
        assert op_def.doc or op_def.name.startswith("test_"), op_def.name
