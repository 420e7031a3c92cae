"""Checkpoints and graphs in files: what comes back, what is kept, and every kind of damage."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import systolica as st
from sw.runtime.checkpoint import files
from sw.runtime.checkpoint.bundle import files_of, write


@pytest.fixture(autouse=True)
def graph() -> Any:
    """Each test builds in a graph of its own."""
    with st.Graph().as_default() as g:
        yield g


def model() -> tuple[Any, Any, Any]:
    """A step counter, weights, and an op that trains."""
    step = st.Variable(0, trainable=False, name="step")
    w = st.get_variable("layer/w", [3, 2], initializer=st.random_normal_initializer(seed=1))
    loss = st.reduce_sum(st.square(w - 1.0))
    return step, w, st.train.AdamOptimizer(0.1).minimize(loss, step)


def test_training_continues_bit_for_bit(tmp_path: Path) -> None:
    """Slots, counters and all dtypes come back; the rest of the run is the same."""
    _, w, train = model()
    half = st.Variable(np.asarray([1.5, -2], st.bfloat16.numpy), name="half")
    flag, scalar = st.Variable([True, False], name="flag"), st.Variable(7, name="scalar")
    empty = st.Variable(np.zeros((0, 3), np.float64), name="empty")
    saver = st.train.Saver()
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        session.run([half.assign(half * 2), scalar.assign_add(1)])
        for _ in range(3):
            session.run(train)
        path = saver.save(session, str(tmp_path / "model"), global_step=3)
        for _ in range(3):
            session.run(train)
        want = session.run([w, half, flag, scalar, empty])
    assert path == str(tmp_path / "model-3")
    with st.Session() as session:
        saver.restore(session, path)
        for _ in range(3):
            session.run(train)
        for a, b in zip(session.run([w, half, flag, scalar, empty]), want, strict=True):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_subset_and_other_names(tmp_path: Path) -> None:
    """A list, a dict of names, and what else is in the file is left alone."""
    a, b = st.Variable(1.0, name="a"), st.Variable(2.0, name="b")
    other = st.Variable(0.0, name="other")
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        path = st.train.Saver([a, b]).save(session, str(tmp_path / "m"))
        session.run([a.assign(9.0), b.assign(9.0)])
        st.train.Saver([b]).restore(session, path)
        st.train.Saver({"a": other}).restore(session, path)
        assert session.run([a, b, other]) == [9, 2, 1]
        with pytest.raises(st.errors.NotFoundError, match="no tensor 'other'"):
            st.train.Saver([other]).restore(session, path)


def test_what_does_not_fit_is_named_and_changes_nothing(tmp_path: Path) -> None:
    """Shape, dtype, no variables, no value, no file."""
    v = st.Variable([1.0, 2.0, 3.0, 4.0], name="v")
    with st.Session() as session:
        with pytest.raises(st.errors.FailedPreconditionError, match="'v' is not initialised"):
            st.train.Saver([v]).save(session, str(tmp_path / "m"))
        assert not os.listdir(tmp_path)
        session.run(v.initializer)
        path = st.train.Saver([v]).save(session, str(tmp_path / "m"))
        square = st.Variable(np.zeros((2, 2), np.float32), name="square")
        whole = st.Variable(np.zeros(4, np.int32), name="whole")
        with pytest.raises(st.errors.ShapeError, match=r"\(4,\).*\(2, 2\)"):
            st.train.Saver({"v": square}).restore(session, path)
        st.train.Saver({"v": square}, reshape=True).restore(session, path)
        np.testing.assert_array_equal(session.run(square), [[1, 2], [3, 4]])
        with pytest.raises(st.errors.DTypeError, match="float32.*int32"):
            st.train.Saver({"v": whole}).restore(session, path)
        with pytest.raises(st.errors.NotFoundError, match="nowhere"):
            st.train.Saver([v]).restore(session, str(tmp_path / "nowhere"))
    with st.Graph().as_default(), pytest.raises(st.errors.InvalidArgumentError, match="no var"):
        st.train.Saver([])


def test_variables_that_share_an_initial_value(tmp_path: Path) -> None:
    """Averages start from the very tensor that starts their variable."""
    v = st.Variable(1.0, name="v")
    ema = st.train.ExponentialMovingAverage(0.5)
    move = ema.apply([v])
    saver = st.train.Saver()
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        session.run(v.assign(3.0))
        session.run(move)
        path = saver.save(session, str(tmp_path / "m"))
    with st.Session() as session:
        saver.restore(session, path)
        assert session.run([v, ema.average(v)]) == [3, 2]
        st.train.Saver(ema.variables_to_restore()).restore(session, path)
        assert session.run(v) == 2


def test_old_checkpoints_go(tmp_path: Path) -> None:
    """`max_to_keep` newest stay, with a state that names them; the same step counts once."""
    step, _, train = model()
    saver = st.train.Saver(max_to_keep=2)
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        for _ in range(4):
            session.run(train)
            saver.save(session, str(tmp_path / "m"), step)
            saver.save(session, str(tmp_path / "m"), step)
        assert [os.path.basename(p) for p in saver.last_checkpoints] == ["m-3", "m-4"]
    state = st.train.get_checkpoint_state(str(tmp_path))
    assert state is not None
    assert [os.path.basename(p) for p in state.all_model_checkpoint_paths] == ["m-3", "m-4"]
    assert not any(name.startswith(("m-1", "m-2")) for name in os.listdir(tmp_path))
    assert st.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "m-4")
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    os.rename(tmp_path, moved)
    assert st.train.latest_checkpoint(str(moved)) == str(moved / "m-4")
    assert st.train.latest_checkpoint(str(tmp_path)) is None


def test_sharded_by_device(tmp_path: Path) -> None:
    """A file per device; the reader sees one checkpoint."""
    values = []
    for task in range(3):
        with st.device(f"/job:localhost/task:{task}"):
            values.append(st.Variable(float(task), name=f"v{task}"))
    write(str(tmp_path / "m"), [{f"v{i}": np.float32(i + 10)} for i in range(3)])
    assert len(files_of(str(tmp_path / "m"))) == 4
    saver = st.train.Saver(values, sharded=True)
    shards = saver._shards({f"v{i}": i for i in range(3)})
    assert shards == [{"v0": 0}, {"v1": 1}, {"v2": 2}]
    reader = st.train.CheckpointReader(str(tmp_path / "m"))
    assert [reader.get_tensor(f"v{i}") for i in range(3)] == [10, 11, 12]


def test_inspection(tmp_path: Path) -> None:
    """Names, shapes, dtypes, one line each."""
    write(str(tmp_path / "m"), [{"a": np.zeros((2, 3), np.float32), "b": np.int64(4)}])
    reader = st.train.NewCheckpointReader(str(tmp_path / "m"))
    assert reader.get_variable_to_shape_map() == {"a": [2, 3], "b": []}
    assert reader.get_variable_to_dtype_map() == {"a": st.float32, "b": st.int64}
    assert reader.has_tensor("a") and not reader.has_tensor("c")
    assert reader.debug_string() == "a  float32[2, 3]  24 bytes\nb  int64[]  8 bytes"


def test_every_flipped_bit_is_detected(tmp_path: Path) -> None:
    """In each file of a small checkpoint and of a small graph; so is every cut."""
    st.constant(np.float32([3, 4]), name="c")
    prefix, meta = str(tmp_path / "m"), str(tmp_path / "g")
    write(prefix, [{"a": np.float32([1, 2]), "b": np.asarray([True, False])}])
    st.train.export_meta_graph(meta)

    def check_checkpoint() -> None:
        st.train.CheckpointReader(prefix).verify()

    def check_graph() -> None:
        with st.Graph().as_default():
            st.train.import_meta_graph(meta)

    def named(check: Any) -> str:
        try:
            check()
        except st.errors.DataLossError as error:
            return error.message
        return "nothing was noticed"

    count = 0
    for check, names in (
        (check_checkpoint, files_of(prefix)),
        (check_graph, [meta, f"{meta}.safetensors"]),
    ):
        check()
        for name in names:
            data = Path(name).read_bytes()
            for bit in range(len(data) * 8):
                with open(name, "r+b", buffering=0) as file:
                    file.seek(bit // 8)
                    file.write(bytes([data[bit // 8] ^ 1 << bit % 8]))
                    assert os.path.basename(name) in named(check)
                    file.seek(bit // 8)
                    file.write(data[bit // 8 : bit // 8 + 1])
                count += 1
            for size in range(0, len(data), 17):
                Path(name).write_bytes(data[:size])
                assert os.path.basename(name) in named(check)
            Path(name).write_bytes(data)
        check()
    assert count > 4000


def test_damage_falls_back_to_the_last_good_one(tmp_path: Path) -> None:
    """The newest whole checkpoint is found whatever is broken: shard, index, state file."""
    v = st.Variable(0.0, name="v")
    saver = st.train.Saver()
    bump = v.assign_add(1.0)
    with st.Session() as session:
        session.run(v.initializer)
        for step in range(1, 5):
            session.run(bump)
            saver.save(session, str(tmp_path / "m"), step)
        os.truncate(next(f for f in files_of(str(tmp_path / "m-4")) if "data" in f), 10)
        assert st.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "m-3")
        os.unlink(tmp_path / "m-3.index")
        (tmp_path / "checkpoint").write_bytes(b"nonsense")
        assert saver.restore_latest(session, str(tmp_path)) == str(tmp_path / "m-2")
        assert session.run(v) == 2


def test_a_write_that_dies_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the rename nothing is visible; after a failure no temporary file stays."""
    path = str(tmp_path / "f")
    files.write_atomically(path, b"old")

    def dies(*_: Any) -> None:
        raise OSError("the power failed")

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(OSError, match="power"):
        files.write_atomically(path, b"new")
    assert Path(path).read_bytes() == b"old" and os.listdir(tmp_path) == ["f"]


def test_meta_graph_trains_on_in_a_new_graph(tmp_path: Path) -> None:
    """Ops, loops, variables, collections and slots; the step after is bit-identical."""
    step, w, train = model()
    x = st.placeholder(st.float32, [None], name="x")
    _, y = st.while_loop(
        lambda i, _: i < 3, lambda i, y: (i + 1, st.cond(i > 0, lambda: y * 2.0, lambda: y)), [0, x]
    )
    st.identity(y, name="y")
    st.identity(st.reverse(st.constant(np.float16([1, 2])), [0]), name="z")
    st.add_to_collection("tensors", x)
    st.add_to_collection("numbers", 3)
    saver = st.train.Saver()
    with st.Session() as session:
        session.run(st.global_variables_initializer())
        session.run(train)
        path = saver.save(session, str(tmp_path / "m"))
        session.run(train)
        want = session.run(w)
    with st.Graph().as_default() as other:
        st.train.import_meta_graph(f"{path}.meta")
        assert [v.name for v in st.trainable_variables()] == ["layer/w:0"]
        assert st.get_collection("tensors") == [other.get_tensor_by_name("x:0")]
        assert st.get_collection("numbers") == [3]
        (again,) = st.get_collection(st.GraphKeys.TRAIN_OP)
        with st.variable_scope("layer", reuse=True):
            v = st.get_variable("w")
        with st.Session() as session:
            st.train.Saver().restore(session, path)
            session.run(again)
            assert session.run(v).tobytes() == want.tobytes()
            np.testing.assert_array_equal(session.run("y:0", {"x:0": [1.0, 2.0]}), [4, 8])
            np.testing.assert_array_equal(session.run("z:0"), [2, 1])
        with pytest.raises(st.errors.AlreadyExistsError, match="import_scope"):
            st.train.import_meta_graph(f"{path}.meta")
        made = st.train.import_meta_graph(f"{path}.meta", import_scope="copy")
        assert made["x"].name == "copy/x"
        assert st.trainable_variables()[1].name == "copy/layer/w:0"


def test_a_function_of_python_is_not_stored() -> None:
    """Reading a graph must never run code, so what would need it is refused, by name."""
    st.register_op("test_callback", kernel=lambda xp, x, f: f(x), attrs={"f": None})
    st.get_default_graph().apply("test_callback", [1.0], f=len, name="odd")
    with pytest.raises(st.errors.InvalidArgumentError, match="'odd'"):
        st.train.export_meta_graph("unused")
