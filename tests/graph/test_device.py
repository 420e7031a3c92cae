"""Device names: parsing, merging, and errors that say what is wrong."""

import numpy as np
import pytest

import systolica as st
from sw.graph.device import DeviceSpec, parse

GOOD = [
    ("", DeviceSpec()),
    ("/cpu:0", DeviceSpec(kind="cpu", index=0)),
    ("/TPU:1", DeviceSpec(kind="tpu", index=1)),
    ("gpu:*", DeviceSpec(kind="gpu")),
    ("/device:GPU:3", DeviceSpec(kind="gpu", index=3)),
    ("/job:worker/task:17/device:gpu:3", DeviceSpec("worker", None, 17, "gpu", 3)),
    ("/job:ps/replica:2/task:0", DeviceSpec("ps", 2, 0)),
]


@pytest.mark.parametrize(("text", "spec"), GOOD)
def test_parse(text: str, spec: DeviceSpec) -> None:
    """Every form that the talk and the papers use; printing gives the same name again."""
    assert parse(text) == spec
    assert parse(str(spec)) == spec


@pytest.mark.parametrize(
    "text",
    ["/", "//", "/cpu:x", "/cpu:0/gpu:1", "/job:", "/job:9x", "/task:-1", "/a:b:c", "cpu 0",
     "/job:a/job:b", "/device:", "/cpu:0/", "/task:1:2"],
)  # fmt: skip
def test_malformed(text: str) -> None:
    """The error shows the name and a right form."""
    with pytest.raises(st.errors.InvalidArgumentError, match="malformed device name.*looks like"):
        parse(text)


def test_scopes_merge_part_by_part() -> None:
    """Inner wins; None forgets; functions see the op."""
    with st.Graph().as_default() as graph:
        with st.device("/job:worker/gpu:1"):
            a = st.constant(1.0)
            with st.device("/task:2"):
                b = st.constant(1.0)
            with st.device("/cpu:0"):
                c = st.constant(1.0)
            with st.device(None):
                d = st.constant(1.0)
        with st.device(lambda op: "/tpu:0" if op.type == "neg" else ""):
            e = -a
            f = st.exp(a)
        assert [t.device for t in (a, b, c, d, e, f)] == [
            "/job:worker/gpu:1", "/job:worker/task:2/gpu:1", "/job:worker/cpu:0", "", "/tpu:0", "",
        ]  # fmt: skip
        assert graph.get_operations()


def test_malformed_scope_is_refused_at_once() -> None:
    """Where it is written, not when it runs."""
    with pytest.raises(st.errors.InvalidArgumentError, match="/cpu:zero"):
        with st.device("/cpu:zero"):
            pass


def test_functions_and_partial_names_nest() -> None:
    """A function sees what the outer scopes ask for; what it leaves open stays."""
    seen = []

    def spread(op: st.Operation) -> str:
        seen.append(op.device)
        return f"/task:{len(seen) - 1}"

    with st.Graph().as_default():
        with st.device("/job:worker/cpu:0"), st.device(spread):
            a, b = st.constant(1.0), st.constant(2.0)
            with st.device("/gpu:1"):
                c = a + b
    assert seen == ["/job:worker/cpu:0"] * 3
    assert [t.device for t in (a, b)] == ["/job:worker/task:0/cpu:0", "/job:worker/task:1/cpu:0"]
    assert c.device == "/job:worker/task:2/gpu:1"


def test_colocation() -> None:
    """The other op's device and nothing of the outer scopes; what contradicts it is refused."""
    with st.Graph().as_default() as graph:
        with st.device("/job:ps/task:1"):
            v = st.Variable(1.0, name="v")
        with st.device("/job:worker/gpu:0"):
            with st.colocate_with(v):
                beside = st.constant(1.0)
                with st.device("/cpu:0"):
                    nearer = st.constant(2.0)
                with graph.colocate_with(None):
                    same = st.constant(3.0)
                with st.device("/job:worker"):
                    with pytest.raises(
                        st.errors.InvalidArgumentError, match="'far'.*colocated with 'v/handle'"
                    ):
                        st.constant(4.0, name="far")
            outside = st.constant(5.0)
    assert beside.device == same.device == "/job:ps/task:1"
    assert nearer.device == "/job:ps/task:1/cpu:0" and outside.device == "/job:worker/gpu:0"


def test_gradients_stand_beside_their_ops() -> None:
    """On request, whatever scope is open."""
    with st.Graph().as_default() as graph:
        x = st.constant([[1.0, 2.0]])
        with st.device("/tpu:0"):
            y = st.matmul(x, st.constant([[1.0], [2.0]]), name="y")
        with st.device("/job:worker"):
            st.gradients(y, [x], colocate_gradients_with_ops=True)
        made = [op for op in graph.get_operations() if "y_grad" in op.name and op.type == "matmul"]
        assert made and all(op.device == "/tpu:0" for op in made)


def test_variables_on_parameter_servers() -> None:
    """In turn; slots and updates beside their variables; the rest on the worker."""
    cluster = {"ps": ["a:1", "b:1"], "worker": ["c:1"]}
    with st.Graph().as_default() as graph:
        setter = st.train.replica_device_setter(cluster=cluster, worker_device="/job:worker/task:0")
        with st.device(setter):
            w = [st.Variable(np.ones(3, np.float32), name=f"w{i}") for i in range(3)]
            with st.device("/cpu:0"):
                near = st.Variable(1.0, name="near")
            loss = st.add_n([st.reduce_sum(v) for v in w]) * near
            st.train.AdamOptimizer().minimize(loss)
        updates = {
            op.inputs[0].op.attrs["shared_name"]: op.device
            for op in graph.get_operations()
            if op.type == "apply_adam"
        }
    assert [v.device for v in w] == [f"/job:ps/task:{i % 2}" for i in range(3)]
    assert near.device == "/job:ps/task:1/cpu:0" and loss.device == "/job:worker/task:0"
    for variable in w:
        assert parse(variable.device).matches(parse(updates[variable.op.attrs["shared_name"]]))
    assert st.train.replica_device_setter(0) is None
