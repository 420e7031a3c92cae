"""Session semantics: feeds, fetches, partial execution, state, order, and staying usable."""

import collections
from typing import Any

import numpy as np
import pytest

import systolica as st
from sw.graph.state import Container
from sw.runtime.devices.cpu import CpuExecutable

Point = collections.namedtuple("Point", "x y")


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


def test_fetch_structures() -> None:
    """Any nesting; an op gives None; names work; the same tensor may stand twice."""
    a, b = st.constant(2.0, name="a"), st.constant(3.0, name="b")
    v = st.Variable(4.0)
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        got = session.run({"s": a + b, "l": [a, ("b:0", v)], "p": Point(a, st.no_op()), "e": []})
        assert got == {"s": 5, "l": [2, (3, 4)], "p": Point(2, None), "e": []}
        assert session.run(()) == ()
        assert session.run("a") is None


def test_any_tensor_can_be_fed_and_what_is_not_needed_does_not_run() -> None:
    """Partial execution: the failing op is cut off by the feed."""
    x = st.placeholder(st.float32, [])
    with st.control_dependencies([st.Assert(x < 0, [x])]):
        mid = st.identity(x)
    y = mid * 2
    with st.Session() as session:
        assert session.run(y, {mid: 5.0}) == 10
        assert session.run(y, {x: -1.0}) == -2
        assert session.run([mid, y], {mid.name: 4.0}) == [4, 8]
        with pytest.raises(st.errors.InvalidArgumentError, match="assertion failed: 5.0"):
            session.run(y, {x: 5.0})


def test_variables_persist_and_sessions_are_apart_unless_shared() -> None:
    """A container is what sessions share."""
    v = st.Variable([1.0, 2.0], name="v")
    bump = v.assign_add([1.0, 1.0])
    box = Container()
    with st.Session(container=box) as one, st.Session(container=box) as two, st.Session() as other:
        one.run(v.initializer)
        one.run(bump)
        np.testing.assert_array_equal(two.run(bump), [3, 4])
        assert other.run(st.is_variable_initialized(v)) == np.False_
        with pytest.raises(st.errors.FailedPreconditionError, match="'v' is not initialised"):
            other.run(v)
        other.run(v.initializer)
        np.testing.assert_array_equal(v.eval(other), [1, 2])
        v.load([7.0, 8.0], other)
        np.testing.assert_array_equal(other.run(v - 1), [6, 7])


def test_state_is_not_changed_through_arrays_outside() -> None:
    """Neither by the fed array nor by what came back."""
    v = st.Variable([1.0, 2.0])
    p = st.placeholder(st.float32, [2])
    assign = v.assign(p)
    with st.Session() as session:
        mine = np.float32([5, 6])
        before = session.run(assign, {p: mine})
        mine[:] = 0
        np.testing.assert_array_equal(session.run(v), [5, 6])
        with pytest.raises(ValueError, match="read-only"):
            before[0] = 9


def test_control_dependencies_order_reads_after_writes() -> None:
    """A read under the assignment sees it, in one run."""
    v = st.Variable(1.0)
    add = v.assign_add(10.0)
    with st.control_dependencies([add]):
        after = v + 0.0
    with st.Session() as session:
        session.run(v.initializer)
        assert session.run(after) == 11
        both = st.group(v.assign_add(1.0), v.assign_sub(3.0))
        assert session.run(both) is None
        assert session.run(v) == 9


def test_graph_can_be_extended_after_a_run() -> None:
    """New ops run in the old session; plans are kept per signature."""
    x = st.placeholder(st.float32, [])
    with st.Session() as session:
        y = x + 1
        assert session.run(y, {x: 1}) == 2
        assert session.run(y * y, {x: 1}) == 4
        assert session.run(y, {x: 2}) == 3
        assert len(session._plans) == 2


BAD_RUNS = [
    (lambda x, v: ([x + 1], {}), st.errors.InvalidArgumentError, "must be fed"),
    (lambda x, v: ([x], {x: [[1.0]]}), st.errors.ShapeError, r"\(1, 1\).*'x:0'.*\(2,\)"),
    (lambda x, v: ([x], {x: ["a", "b"]}), st.errors.DTypeError, "x:0"),
    (lambda x, v: ([x], {x: x}), st.errors.DTypeError, "is a tensor"),
    (lambda x, v: ([x], {"q:0": 1}), st.errors.InvalidArgumentError, "q:0"),
    (lambda x, v: ([x], {x.op: 1}), st.errors.InvalidArgumentError, "operation"),
    (lambda x, v: ([v], {v.handle: 1}), st.errors.InvalidArgumentError, "handle"),
    (lambda x, v: ([v], {}), st.errors.FailedPreconditionError, "'weights'"),
    (lambda x, v: (["nope:0"], {}), st.errors.NotFoundError, "nope"),
    (lambda x, v: ([3], {}), st.errors.DTypeError, "3"),
    (lambda x, v: ([None], {}), st.errors.DTypeError, "None"),
    (lambda x, v: ([x], {x: [1, 2], "x:0": [1, 2]}), st.errors.InvalidArgumentError, "twice"),
    (lambda x, v: (st.gather(x, [9]), {x: [1, 2]}), st.errors.InvalidArgumentError, "index 9"),
    (lambda x, v: (st.check_numerics(x / 0.0, "loss"), {x: [1, 2]}),
     st.errors.InvalidArgumentError, "loss: tensor had Inf.*test_session.py"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "kind", "text"), BAD_RUNS)
def test_errors_name_what_is_wrong_and_leave_the_session_usable(
    make: Any, kind: Any, text: str
) -> None:
    """The next run of the same session succeeds."""
    x = st.placeholder(st.float32, [2], name="x")
    v = st.Variable([1.0], name="weights")
    with st.Session() as session:
        fetches, feeds = make(x, v)
        for _ in range(2):
            with pytest.raises(kind, match=text):
                session.run(fetches, feeds)
        np.testing.assert_array_equal(session.run(x * 2, {x: [1, 2]}), [2, 4])


def test_integer_placeholder_refuses_fractions_and_overflow() -> None:
    """No silent loss."""
    x = st.placeholder(st.int8, [])
    with st.Session() as session:
        assert session.run(x, {x: 100}) == 100
        for bad in (2.5, 300, np.float32(1.0)):
            with pytest.raises(st.errors.DTypeError, match="int8"):
                session.run(x, {x: bad})


@pytest.mark.parametrize("name", ["/gpu:7", "/job:worker/cpu:0", "/cpu:1", "/toaster:0"])
def test_unknown_device_lists_those_that_exist(name: str) -> None:
    """Said at the run, naming the op and its line."""
    x = st.constant(1.0)
    with st.device(name):
        y = st.exp(x, name="hot")
    with st.Session() as session:
        with pytest.raises(st.errors.InvalidArgumentError, match="'hot'.*session has .*cpu:0"):
            session.run(y)
        assert session.run(st.constant(1.0)) == 1


@pytest.mark.parametrize(
    "name", ["", "/cpu", "/cpu:*", "/job:localhost", "/task:0/device:CPU:0", "/replica:0"]
)
def test_partial_names_find_their_device(name: str) -> None:
    """What a name leaves open is the session's to choose."""
    x = st.placeholder(st.float32, [])
    with st.device(name or None):
        y = st.exp(x)
    metadata = st.RunMetadata()
    full = st.RunOptions(trace_level=st.RunOptions.FULL_TRACE)
    with st.Session() as session:
        assert session.run(y, {x: 0.0}, full, metadata) == 1
    assert metadata.step_stats.devices == ["/job:localhost/replica:0/task:0/cpu:0"]


def test_default_sessions() -> None:
    """eval and run without naming a session; closing ends it."""
    x = st.constant([1.0])
    with pytest.raises(st.errors.InvalidArgumentError, match="no default session"):
        x.eval()
    with st.Session() as session:
        assert st.get_default_session() is session
        assert x.eval() == 1
        st.no_op().run()
    with pytest.raises(st.errors.GraphError, match="closed"):
        session.run(x)
    interactive = st.InteractiveSession()
    assert x.eval() == 1
    interactive.close()
    assert st.get_default_session() is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: st.SessionConfig(tpu="quantum"),
        lambda: st.SessionConfig(tpu="fpga:"),
        lambda: st.SessionConfig(verify=1),  # type: ignore[arg-type]
        lambda: st.Session("grpc://x"),
        lambda: st.Session(config={"tpu": "rtl"}),  # type: ignore[arg-type]
    ],
)
def test_bad_configuration(make: Any) -> None:
    """Refused where it is written."""
    with pytest.raises(st.errors.InvalidArgumentError):
        make()


def test_values_are_dropped_after_their_last_use() -> None:
    """Memory: a chain of exps holds one array at a time."""
    x = st.placeholder(st.float32, [4])
    y = x
    for _ in range(5):
        y = st.exp(y)
    with st.Session() as session:
        session.run(y, {x: [0, 0, 0, 0]})
        (prepared,) = session._plans.values()
        executable = prepared.executor.executables[0]
        assert isinstance(executable, CpuExecutable)
        assert executable.source.count("= None") == 5


def test_run_metadata() -> None:
    """When each partition ran."""
    metadata = st.RunMetadata()
    with st.Session() as session:
        session.run(st.random_normal([2]), run_metadata=metadata)
    (part,) = metadata.partitions
    assert part.device.endswith("cpu:0") and part.end >= part.start


def test_thousand_scalar_adds_are_cheap() -> None:
    """The plan is generated code: well under a millisecond (loose, for a busy machine)."""
    x = st.placeholder(st.float32, [])
    y = x
    for _ in range(1000):
        y = y + x
    with st.Session() as session:
        run = session.make_callable(y, [x])
        assert run(1.0) == 1001
        prepared = next(iter(session._plans.values()))
        assert isinstance(prepared.executor.executables[0], CpuExecutable)
        assert " + " in prepared.executor.executables[0].source
