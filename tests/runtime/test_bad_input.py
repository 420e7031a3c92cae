"""What users and files get wrong: every case is noticed, and named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import systolica as st
from docs import errors as page
from sw.runtime.checkpoint.bundle import files_of
from sw.runtime.checkpoint.files import seal, unseal


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


@pytest.mark.parametrize("case", page.FIVE, ids=lambda case: case.title)
def test_the_five_errors_name_place_and_remedy(case: page.Case) -> None:
    """Each says where in the user's program, what was wrong, and (in the page) the way out."""
    text = page.said(case.program)
    assert f"{page.FILE}:" in text and len(text) < 300
    assert any(word in text for word in ("(100, 10)", "int32", "'weights'", "'images:0'"))


def test_what_belongs_to_another_graph() -> None:
    """Neither fetched nor fed."""
    x = st.placeholder(st.float32, [], name="x")
    with st.Graph().as_default():
        other = st.placeholder(st.float32, [], name="other")
    with st.Session() as session:
        with pytest.raises(st.errors.InvalidArgumentError, match="cannot fetch.*other:0.*not an"):
            session.run(other)
        with pytest.raises(st.errors.InvalidArgumentError, match="cannot feed.*other:0.*not an"):
            session.run(x, {other: 1.0})


def test_what_may_not_be_fed_or_fetched(graph: st.Graph) -> None:
    """Operations, handles, and what the graph's maker protects."""
    x = st.placeholder(st.float32, [], name="x")
    y = st.identity(x * 2, name="y")
    graph.prevent_feeding(y)
    graph.prevent_fetching(x)
    with st.Session() as session:
        assert session.run(y, {x: 1.0}) == 2
        with pytest.raises(st.errors.InvalidArgumentError, match="cannot feed 'y:0'"):
            session.run(y, {y: 1.0})
        with pytest.raises(st.errors.InvalidArgumentError, match="cannot fetch 'x:0'"):
            session.run(x, {x: 1.0})
        assert session.run(y, {x: 2.0}) == 4
    assert graph.is_feedable(x) and not graph.is_feedable(y)


@pytest.mark.parametrize("device", ["/cpu:0", "/tpu:0"])
def test_the_first_nan_is_found(device: str) -> None:
    """Of several ops with NaNs the one that made it, on every device; plain runs do not look."""
    x = st.placeholder(st.float32, [2])
    with st.device(device):
        h = st.matmul(st.reshape(x, [1, 2]), st.ones([2, 1]))
    bad = st.log(h, name="maker")
    y = st.exp(bad * 2 + 1)
    find = st.RunOptions(find_nan=True)
    with st.Session() as session:
        assert np.isnan(session.run(y, {x: [-1, -1]}))
        with pytest.raises(st.errors.InvalidArgumentError, match=r"NaN at \(0, 0\).*'maker'"):
            session.run(y, {x: [-1, -1]}, find)
        assert np.isfinite(session.run(y, {x: [1, 1]}, find))


@pytest.mark.parametrize("device", ["", "/cpu:1"])
def test_the_first_nan_within_a_loop_is_found(device: str) -> None:
    """The op of the body that made it, not the loop."""
    x = st.placeholder(st.float32, [])

    def turn(i: Any, v: Any) -> Any:
        with st.device(device):
            return i + 1, st.log(v, name="maker")

    y = st.while_loop(lambda i, v: i < 4, turn, [0, x])[1]
    with st.Session(config=st.SessionConfig(device_count={"CPU": 2})) as session:
        assert np.isnan(session.run(y, {x: 2.0}))
        with pytest.raises(st.errors.InvalidArgumentError, match=r"is NaN.*'while/body/maker'"):
            session.run(y, {x: 2.0}, st.RunOptions(find_nan=True))


def stored(folder: Path) -> tuple[str, dict[str, Any]]:
    """A graph in a file, and what the file holds."""
    a = st.constant(1.0, name="a")
    st.identity(a + 1.0, name="b")
    path = str(folder / "g")
    st.train.export_meta_graph(path)
    return path, unseal(Path(path).read_bytes(), path)


def refused(path: str, content: Any) -> str:
    """The message with which a graph file with this (correctly sealed) content is refused."""
    Path(path).write_bytes(seal(content))
    with st.Graph().as_default() as g, pytest.raises(st.errors.OpError) as found:
        st.train.import_meta_graph(path)
    assert not any(op.type == "py_func" for op in g.get_operations())
    return found.value.message


def test_cycles_and_other_nonsense_in_stored_graphs(tmp_path: Path) -> None:
    """Files whose checksum is right and whose content is not: nothing but a clear error."""
    path, content = stored(tmp_path)
    ops = content["graph"]["ops"]
    by_name = {op["name"]: op for op in ops}
    original = json.dumps(content)

    by_name["add"]["inputs"][0] = "b:0"
    assert "'add' needs 'b:0', which does not come before it: the graph has a cycle" in refused(
        path, content
    )
    content = json.loads(original)
    content["graph"]["ops"][1]["after"] = ["b"]
    assert "cycle" in refused(path, content)
    for change, words in (
        ({"type": "nonsense"}, "no op is named 'nonsense'"),
        ({"inputs": 5}, "is malformed"),
        ({"inputs": ["a:7", "a:0"]}, "stored op 'add' is malformed"),
        ({"outputs": [["int32", []]]}, "dtypes are others"),
        ({"attrs": {"x": {"call": "os.system"}}}, "stored op 'add'"),
        ({"attrs": 5}, "malformed"),
        ({"device": "/cpu:zero"}, "malformed device name"),
    ):
        content = json.loads(original)
        entry = next(op for op in content["graph"]["ops"] if op["name"] == "add")
        entry.update(change)
        assert words in refused(path, content), change
    assert "no stored graph" in refused(path, [1, 2])
    assert "no stored graph" in refused(path, {"format": "other"})
    assert "version 99" in refused(path, {**json.loads(original), "version": 99})


def test_a_file_of_another_kind_is_no_checkpoint(tmp_path: Path) -> None:
    """A graph, a list, a newer version, an index that names what its shards do not hold."""
    v = st.Variable([1.0, 2.0], name="v")
    saver = st.train.Saver()
    prefix = str(tmp_path / "m")
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        saver.save(session, prefix, session_state=True)
        index = Path(f"{prefix}.index")
        content = unseal(index.read_bytes(), "")
        for wrong, words in (
            ([], "no index"),
            ({"format": "systolica graph", "version": 1}, "no index"),
            ({**content, "version": 7}, "version 7"),
            ({**content, "tensors": {"v": {**content["tensors"]["v"], "sha256": ""}}}, "'v'"),
        ):
            index.write_bytes(seal(wrong))
            with pytest.raises(st.errors.DataLossError, match=words):
                saver.restore(session, prefix)
            assert st.train.latest_checkpoint(str(tmp_path)) is None
        index.write_bytes(seal(content))
        saver.restore(session, prefix, session_state=True)
        np.testing.assert_array_equal(session.run(v), [1, 2])


def test_every_flipped_bit_of_saved_state_is_detected(tmp_path: Path) -> None:
    """The checkpoint of a session with a queue, a random op and a local variable: index, values
    and state."""
    queue = st.FIFOQueue(3, st.int32, [[]], name="q")
    v = st.Variable([1.5], name="v")
    prefix = str(tmp_path / "m")
    saver = st.train.Saver()
    with st.Session() as session:
        session.run([v.initializer, queue.enqueue_many([[1, 2]])])
        session.run(st.random_normal([1], seed=1))
        saver.save(session, prefix, write_meta_graph=False, session_state=True)
    reader = st.train.CheckpointReader(prefix)
    data, arrays = reader.get_session_state()
    assert data["counters"] and any(a.tolist() == [1, 2] for a in arrays.values())
    files, count = files_of(prefix), 0
    assert len(files) == 3
    for name in files:
        whole = Path(name).read_bytes()
        for bit in range(len(whole) * 8):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            with open(name, "r+b", buffering=0) as file:
                file.write(damaged)
            with pytest.raises(st.errors.DataLossError):
                st.train.CheckpointReader(prefix).verify()
            count += 1
        Path(name).write_bytes(whole)
    st.train.CheckpointReader(prefix).verify()
    assert count > 5000
