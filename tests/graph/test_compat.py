"""What programs for several versions of TensorFlow begin with, and the types beside."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import systolica as st


@pytest.fixture(autouse=True)
def graph() -> Any:
    with st.Graph().as_default() as g:
        yield g


def test_switches_to_what_is_so_already() -> None:
    """The graph is built as before after each of them."""
    for switch in (
        st.disable_eager_execution,
        st.disable_tensor_equality,
        st.disable_v2_behavior,
        st.enable_control_flow_v2,
        st.enable_resource_variables,
        st.enable_v2_tensorshape,
    ):
        assert switch() is None
    assert not st.executing_eagerly() and not st.executing_eagerly_outside_functions()
    assert st.resource_variables_enabled() and st.control_flow_v2_enabled()
    x = st.constant(3.0)
    assert (x == st.constant(3.0)) is False and x == x
    assert not hasattr(st, "enable_eager_execution")
    with st.Session() as session:
        assert session.run(x * 2) == 6


def test_sizes_are_ints() -> None:
    shape = st.placeholder(st.float32, [None, 4]).shape
    assert [st.dimension_value(d) for d in shape] == [None, 4]
    assert st.dimension_at_index(shape, 1) == 4
    assert st.dimension_at_index(st.TensorShape(None), 1) is None


def test_made_outside_of_a_branch(graph: Any) -> None:
    """Also without the control dependencies around it."""

    def branch() -> Any:
        with st.init_scope():
            outside = st.constant(5.0, name="outside") * 2.0
        return outside + 1.0

    failing = st.Assert(st.constant(False), [st.constant(1)])
    with st.control_dependencies([failing]), st.init_scope():
        free = st.constant(1.0) + 1.0
    out = st.cond(st.constant(True), branch, lambda: st.constant(0.0))
    assert graph.get_operation_by_name("outside").type == "const"
    with st.Session() as session:
        assert session.run([out, free]) == [11, 2]


@pytest.mark.parametrize("kind", ["uint32", "uint64"])
def test_wide_unsigned_numbers(kind: str) -> None:
    """Their arithmetic wraps as NumPy's does, and they keep their type."""
    dtype = getattr(st, kind)
    assert dtype in (st.uint32, st.uint64) and dtype.max == np.iinfo(kind).max
    x = np.asarray([0, 1, np.iinfo(kind).max], kind)
    with st.Session() as session:
        got = session.run([st.constant(x) + st.constant(x[1:2]), st.reduce_max(st.constant(x))])
    np.testing.assert_array_equal(got[0], x + x[1])
    assert got[0].dtype == kind and got[1] == x[2]
    with pytest.raises(st.errors.DTypeError):
        st.constant([-1], dtype)


def test_files_by_ops(tmp_path: Path) -> None:
    """Written and read when they run, each time anew."""
    path = str(tmp_path / "deep" / "file")
    data = st.placeholder(st.uint8, [None])
    write, read = st.write_file(path, data), st.read_file(path)
    with st.Session() as session:
        for text in (b"first", b"second"):
            session.run(write, {data: np.frombuffer(text, np.uint8)})
            assert Path(path).read_bytes() == text == session.run(read).tobytes()
        with pytest.raises(st.errors.NotFoundError, match="no/such"):
            session.run(st.read_file("no/such"))
