"""What surrounds graphs: extensions, later gradients, conversions, partitioned variables, tensors
that stay in the session, threads that loop, gradients by differences."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import systolica as st


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def test_collections_by_reference() -> None:
    st.get_collection_ref("mine").append(1)
    assert st.get_collection("mine") == [1]
    st.get_collection_ref("mine")[:] = []
    assert st.get_collection("mine") == []


def test_seeds() -> None:
    """As in TensorFlow: without any seed, none; the graph's seed makes ops' own."""
    assert st.get_seed(None) == (None, None) and st.get_seed(4)[1] == 4
    st.set_random_seed(7)
    assert st.get_seed(4) == (7, 4) and st.get_seed(None)[0] == 7


def test_slices_or_tensors() -> None:
    slices = st.IndexedSlices(st.constant([[1.0]]), st.constant([0]))
    assert st.convert_to_tensor_or_indexed_slices(slices) is slices
    assert isinstance(st.convert_to_tensor_or_indexed_slices([1.0]), st.Tensor)
    with pytest.raises(st.errors.InvalidArgumentError):
        st.convert_to_tensor_or_indexed_slices(slices, st.int32)


def test_a_users_type_becomes_a_tensor() -> None:
    class Angle:
        def __init__(self, degrees: float) -> None:
            self.degrees = degrees

    def convert(value: Any, dtype: Any = None, name: Any = None, as_ref: bool = False) -> Any:
        return np.float32(np.deg2rad(value.degrees))

    st.register_tensor_conversion_function(Angle, convert)
    with st.Session() as session:
        assert session.run(st.sin(Angle(90))) == pytest.approx(1)
        assert session.run(st.constant(1.0) + Angle(180)) == pytest.approx(1 + np.pi)


def test_ops_from_a_file_and_their_gradient(tmp_path: Path) -> None:
    """The file registers an op; its gradient is given later, once."""
    file = tmp_path / "cube.py"
    file.write_text(
        "import systolica as st\n"
        "cube = st.register_op('test_framework_cube', kernel=lambda xp, x: x * x * x)\n"
        "step = st.register_op('test_framework_step', kernel=lambda xp, x: x * 1)\n"
    )
    module = st.load_op_library(str(file))
    x = st.constant([2.0, 3.0])
    y = module.cube(x)
    with pytest.raises(st.errors.NotFoundError, match="no gradient is defined for op"):
        st.gradients(y, x)

    @st.RegisterGradient("test_framework_cube")
    def gradient(op: Any, grad: Any) -> Any:
        return [3.0 * st.square(op.inputs[0]) * grad]

    st.NotDifferentiable("test_framework_step")
    z = module.cube(x) + module.step(x)
    with st.Session() as session:
        assert session.run(st.gradients(z, x)[0]).tolist() == [12, 27]
    with pytest.raises(st.errors.AlreadyExistsError):
        st.RegisterGradient("test_framework_cube")(gradient)
    with pytest.raises(st.errors.AlreadyExistsError):
        st.NoGradient("test_framework_step")
    with pytest.raises(st.errors.NotFoundError, match="no file"):
        st.load_op_library(str(tmp_path / "none.py"))


def test_partitioners() -> None:
    """How many parts: a fixed number, by the largest part, by the smallest."""
    assert st.fixed_size_partitioner(3)(shape=st.TensorShape([10, 4])) == [3, 1]
    assert st.fixed_size_partitioner(3, axis=1)(shape=[10, 2]) == [1, 2]
    by_size = st.variable_axis_size_partitioner(64)
    assert by_size(shape=[16, 4], dtype=st.float32) == [4, 1]
    assert by_size(shape=[16, 400], dtype=st.float32) == [16, 1]
    smallest = st.min_max_variable_partitioner(8, min_slice_size=64)
    assert smallest(shape=[16, 4], dtype=st.float32) == [4, 1]
    assert smallest(shape=[100, 400], dtype=st.float32) == [8, 1]


def test_partitioned_variable_is_one_and_its_parts() -> None:
    """The parts are variables; used as a tensor they are joined; a lookup touches only its part."""
    whole = np.arange(10, dtype=np.float32).reshape(5, 2)
    with st.variable_scope("table", partitioner=st.fixed_size_partitioner(2)):
        v = st.get_variable("v", [5, 2], initializer=whole)
    assert [p.name for p in v] == ["table/v/part_0:0", "table/v/part_1:0"]
    assert [p.shape.as_list() for p in v] == [[3, 2], [2, 2]] and v.get_shape() == (5, 2)
    found = st.nn.embedding_lookup(v, [4, 0, 3])
    grads = st.gradients(found, list(v))
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        np.testing.assert_array_equal(session.run(v * 1.0), whole)
        np.testing.assert_array_equal(session.run(found), whole[[4, 0, 3]])
        first, second = session.run(grads)
        assert first.indices.tolist() == [0] and sorted(second.indices) == [0, 1]
    with pytest.raises(st.errors.InvalidArgumentError, match="along one axis"):
        st.get_variable("w", [4, 4], partitioner=lambda **_: [2, 2])


def test_tensors_stay_in_the_session() -> None:
    with st.Session() as session:
        handle = session.run(st.get_session_handle(st.constant([1.0, 2.0])))
        holder, tensor = st.get_session_tensor(handle)
        assert session.run(tensor * 3.0, {holder: handle.handle}).tolist() == [3, 6]
        place, delete = st.delete_session_tensor(handle)
        session.run(delete, {place: handle.handle})
        with pytest.raises(st.errors.NotFoundError, match="no tensor of handle"):
            session.run(tensor, {holder: handle.handle})


def test_tables_have_nothing_to_initialise() -> None:
    """Ops in the collection run."""
    v = st.Variable(1.0)
    st.add_to_collection(st.GraphKeys.TABLE_INITIALIZERS, v.initializer)
    with st.Session() as session:
        session.run(st.initialize_all_tables())
        assert session.run(v) == 1


def test_unit_scaling() -> None:
    """Variance one over the inputs."""
    x = st.uniform_unit_scaling_initializer(1.5, seed=1)([400, 50])
    with st.Session() as session:
        value = session.run(x)
    assert value.std() * np.sqrt(400) == pytest.approx(1.5, rel=0.02)
    assert np.abs(value).max() <= 1.5 * np.sqrt(3 / 400)


def test_looper_turns_until_it_is_stopped() -> None:
    """An exception in a turn stops the coordinator and is raised at the join."""
    coord, turns, enough = st.train.Coordinator(), [0], threading.Event()

    def turn(step: int) -> None:
        turns[0] += step
        if turns[0] >= 6:
            enough.set()

    st.train.LooperThread.loop(coord, 0.001, turn, (2,))
    assert enough.wait(5)
    coord.request_stop()
    coord.join()
    failing = st.train.Coordinator()
    st.train.LooperThread.loop(failing, None, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failing.join()


def test_dual_averaging_by_its_formula() -> None:
    """Three steps by hand; a strong l1 makes small weights exactly zero."""
    grads = np.asarray([[0.5, -0.02], [0.3, 0.01], [-0.1, 0.03]])
    feed = st.placeholder(st.float64, [2])
    step = st.Variable(np.int64(0), trainable=False)
    v = st.Variable(np.float64([1.0, 1.0]))
    opt = st.train.AdagradDAOptimizer(0.5, step, 0.1, 0.05, 0.02)
    train = opt.apply_gradients([(feed, v)], global_step=step)
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        total, squares = np.zeros(2), np.full(2, 0.1)
        for t, grad in enumerate(grads, 1):
            session.run(train, {feed: grad})
            total, squares = total + grad, squares + grad**2
            size = np.maximum(np.abs(total) - 0.05 * t, 0)
            want = -np.sign(total) * size / (0.02 * t + np.sqrt(squares) / 0.5)
            np.testing.assert_allclose(session.run(v), want)
        assert session.run(v)[1] == 0


def test_gradients_by_differences() -> None:
    """compute_gradient's two Jacobians agree for a right gradient and not for a wrong one."""
    x = st.placeholder(st.float64, [2])
    y = st.stack([x[0] * x[1], st.exp(x[0]), st.sin(x[1])])
    with st.Session():
        theory, numeric = st.test.compute_gradient(x, [2], y, [3], np.asarray([0.5, 2.0]))
        np.testing.assert_allclose(theory, [[2, np.exp(0.5), 0], [0.5, 0, np.cos(2)]])
        np.testing.assert_allclose(theory, numeric, atol=1e-5)
        assert st.test.compute_gradient_error(x, [2], y, [3]) < 1e-5
        wrong = st.stop_gradient(x) * x
        assert st.test.compute_gradient_error(x, [2], wrong, [2]) > 0.1
    with pytest.raises(st.errors.InvalidArgumentError, match="no default session"):
        st.test.compute_gradient(x, [2], y, [3])


def test_graphs_are_compared() -> None:
    graphs = []
    for value in (1.0, 1.0, 2.0):
        with st.Graph().as_default() as g:
            st.square(st.constant(value, name="c"), name="s")
        graphs.append(g)
    st.test.assert_equal_graph_def(graphs[0], graphs[1])
    with pytest.raises(AssertionError, match="op 'c': attributes"):
        st.test.assert_equal_graph_def(graphs[0], graphs[2])
    with pytest.raises(AssertionError, match="only one graph has"):
        st.test.assert_equal_graph_def(graphs[0], st.Graph())
    assert Path(st.test.get_temp_dir()).is_dir() and not st.test.is_built_with_cuda()
    assert callable(st.test.main)


def test_errors_have_tensorflows_names() -> None:
    """All are OpErrors, and say what they were given."""
    for kind in (st.errors.PermissionDeniedError, st.errors.UnauthenticatedError,
                 st.errors.UnknownError, st.errors.UnavailableError,
                 st.errors.AbortedError, st.errors.ResourceExhaustedError,
                 st.errors.InternalError, st.errors.UnimplementedError):  # fmt: skip
        assert issubclass(kind, st.OpError) and kind("why").message == "why"


def test_aggregation_is_accepted() -> None:
    x = st.constant(2.0)
    with st.Session() as session:
        for how in (st.AggregationMethod.ADD_N, st.AggregationMethod.EXPERIMENTAL_TREE):
            (grad,) = st.gradients(x * x, x, aggregation_method=how)
            assert session.run(grad) == 4
