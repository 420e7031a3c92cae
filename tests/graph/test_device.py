"""Device names: parsing, merging, and errors that say what is wrong."""

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
